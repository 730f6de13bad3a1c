//! Paired devices: rotation, revocation, removal, and what may never change them.

use crate::wire::{ADMIN, Device, Home, Offer, READ, Server, get, items, json, number, text};
use miniserde::json::Value;

/// The record of a device, as an administrator sees it.
fn record(server: &Server, device: &Device) -> Value {
    let list = server.admin().ok("device.pair.list", "{}");
    let found = items(&list, "paired").into_iter().find(|d| text(d, "deviceId") == device.id());
    let found = found.unwrap_or_else(|| panic!("{} is not paired: {}", device.id(), json(&list)));
    miniserde::json::from_str(&json(found)).unwrap()
}

fn of(device: &Device) -> String {
    format!(r#"{{"deviceId":"{}","role":"operator"}}"#, device.id())
}

#[test]
fn a8_rotated_by_another() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    let rotated = server.admin().ok("device.token.rotate", &of(&device));
    assert_eq!(text(&rotated, "tokenDelivery"), "withheld-cross-device");
    assert!(get(&rotated, "token").is_none());
    let client = server.connect(&Offer::device(&device).device_token(device.token()));
    let new = client.device_token();
    assert_ne!(new, device.token());
    // Both clients of the device get the same.
    assert_eq!(server.connect(&Offer::device(&device).token("T1")).device_token(), new);
    server.connect(&Offer::device(&device).device_token(&new));
}

#[test]
fn narrowed_by_an_operator() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, ADMIN);
    let mut live = server.connect(&Offer::device(&device).scopes(ADMIN).remote());
    let narrow = format!(r#"{{"deviceId":"{}","role":"operator","scopes":["operator.read"]}}"#, device.id());
    server.admin().ok("device.token.rotate", &narrow);
    // At once, on the open connection too; and a request is answered when it is overtaken.
    live.ok("health", "{}");
    assert_eq!(text(&live.err("device.pair.list", "{}"), "details.code"), "MISSING_SCOPE");
    let mut admin = server.admin();
    server.connect(&Offer::device(&device).scopes(ADMIN).remote());
    let asked = admin.event("device.pair.requested");
    server.connect(&Offer::device(&device).token("T1").scopes(ADMIN));
    let resolved = admin.event("device.pair.resolved");
    assert_eq!(text(&resolved, "payload.requestId"), text(&asked, "payload.requestId"));
}

#[test]
fn a92_killed_after_a_rotation() {
    let home = Home::empty();
    home.auth(r#"{mode:"token",token:"T1",deviceKeyProof:false}"#);
    let server = home.start();
    let device = Device::pair(&server, READ);
    server.admin().ok("device.token.rotate", &of(&device));
    server.kill();
    // The new token never reached it: the old one is good until it did.
    let server = home.start();
    let new = server.connect(&Offer::device(&device).device_token(device.token())).device_token();
    server.connect(&Offer::device(&device).device_token(&new));
    server.wait_log(&["uses its new token"]);
    server.refuse(&Offer::device(&device).device_token(device.token())).expect("AUTH_DEVICE_TOKEN_MISMATCH");
}

#[test]
fn a72_answers_before_consequences() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, ADMIN);
    let mut own = server.connect(&Offer::device(&device).device_token(device.token()).scopes(ADMIN));
    let rotated = own.ok("device.token.rotate", &of(&device));
    assert_eq!(text(&rotated, "tokenDelivery"), "in-band");
    own.ok("health", "{}");
    server.connect(&Offer::device(&device).device_token(&text(&rotated, "token")));
    let mut other = server.connect(&Offer::device(&device));
    let revoked = own.ok("device.token.revoke", &of(&device));
    assert!(number(&revoked, "revokedAtMs") > 0);
    for client in [&mut own, &mut other] {
        let (code, reason) = client.closed();
        assert_eq!(code, 1008);
        assert!(reason.contains("revoked"), "{reason}");
    }
    // It waits for an operator now, shared token or not.
    let refused = server.refuse(&Offer::device(&device).token("T1"));
    refused.expect("PAIRING_REQUIRED");
    let refused = server.refuse(&Offer::device(&device).device_token(&text(&rotated, "token")));
    refused.expect("AUTH_DEVICE_TOKEN_MISMATCH");
    let request = refused.get("details.requestId");
    server.admin().ok("device.pair.approve", &format!(r#"{{"requestId":"{request}"}}"#));
    let client = server.connect(&Offer::device(&device));
    assert_ne!(client.device_token(), text(&rotated, "token"), "the revoked token came back to life");
}

#[test]
fn a45_a132_narrow_connect_narrows_nothing() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, ADMIN);
    let before = json(get(&record(&server, &device), "scopes").unwrap());
    for scopes in [READ, &["operator.admin"], &["operator.write"], ADMIN, &[]] {
        let client = server.connect(&Offer::device(&device).token(device.token()).scopes(scopes).remote());
        assert_eq!(client.device_token(), device.token());
        assert_eq!(client.scopes(), scopes.join(" "));
        assert_eq!(json(get(&record(&server, &device), "scopes").unwrap()), before);
    }
}

/// A page of the Control UI on this host.
fn page(device: &Device) -> Offer<'_> {
    Offer::device(device).client("openclaw-control-ui", "webchat").header("Origin", "http://localhost:5173")
}

#[test]
fn a73_a122_browser_after_a_new_shared_token() {
    let home = Home::fix();
    let server = home.start();
    let mut device = Device::new();
    device.token = Some(server.connect(&page(&device).token("T1").scopes(ADMIN)).device_token());
    server.stop();
    home.auth(r#"{mode:"token",token:"T2"}"#);
    let server = home.start();
    let client = server.connect(&page(&device).device_token(device.token()).scopes(ADMIN));
    assert_eq!(client.scopes(), ADMIN.join(" "));
}

#[test]
fn a112_removed_may_ask_again() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    let mut live = server.connect(&Offer::device(&device));
    server.admin().ok("device.pair.remove", &format!(r#"{{"deviceId":"{}"}}"#, device.id()));
    assert_eq!(live.closed().0, 1008);
    let refused = server.refuse(&Offer::device(&device).device_token(device.token()));
    refused.expect("PAIRING_REQUIRED");
    assert!(refused.get("message").contains("removed on"), "{}", refused.get("message"));
    let request = refused.get("details.requestId");
    server.admin().ok("device.pair.approve", &format!(r#"{{"requestId":"{request}"}}"#));
    let client = server.connect(&Offer::device(&device));
    assert_ne!(client.device_token(), device.token(), "the removed device's token came back to life");
}

#[test]
fn a114_unknown_device_with_a_token() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    drop(server);
    std::fs::remove_file(home.tokens()).unwrap();
    let _ = std::fs::remove_file(home.store().join("tokens.bin.prev"));
    let server = home.start();
    let refused = server.refuse(&Offer::device(&device).device_token(device.token()).remote());
    refused.expect("PAIRING_REQUIRED");
    assert!(!refused.get("details.requestId").is_empty());
}

#[test]
fn a107_approval_keeps_the_token() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    let mut live = server.connect(&Offer::device(&device).scopes(ADMIN).remote());
    assert_eq!(live.scopes(), "operator.read");
    let error = live.err("device.pair.list", "{}");
    assert_eq!(text(&error, "details.missingScope"), "operator.pairing");
    assert!(text(&error, "details.hint").contains("barnacle devices approve"));
    let mut admin = server.admin();
    let pending = admin.ok("device.pair.list", "{}");
    let request = text(&pending, "pending.0.requestId");
    admin.ok("device.pair.approve", &format!(r#"{{"requestId":"{request}"}}"#));
    // Its live connection may now too, and its token is the one it holds.
    live.ok("device.pair.list", "{}");
    let client = server.connect(&Offer::device(&device).device_token(device.token()).scopes(ADMIN).remote());
    assert_eq!(client.device_token(), device.token());
    assert_eq!(client.scopes(), ADMIN.join(" "));
}

#[test]
fn a102_two_writers() {
    let home = Home::fix();
    let server = home.start();
    let (one, two) = (Device::new(), Device::new());
    let refused = server.refuse(&Offer::device(&one).token("T1").remote());
    // The command line goes through the running gateway, so that there is one writer.
    let (code, out, err) = home.run(&["devices", "approve", &refused.get("details.requestId")]);
    assert_eq!(code, 0, "{out}{err}");
    server.connect(&Offer::device(&two).token("T1"));
    server.kill();
    let server = home.start();
    server.connect(&Offer::device(&one));
    server.connect(&Offer::device(&two));
}
