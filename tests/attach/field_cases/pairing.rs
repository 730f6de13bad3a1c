//! Pairing and wider scopes: which device waits for approval, and under which request id.

use crate::wire::{ADMIN, Device, Home, Offer, READ, bootstrap_token, items, list, text};

#[test]
fn a15_restart_then_silent_upgrade() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    server.stop();
    let server = home.start();
    server.connect(&Offer::device(&device).token("T1"));
    let client = server.connect(&Offer::device(&device).token("T1").scopes(&["operator.write"]));
    assert_eq!(client.scopes(), "operator.write");
}

#[test]
fn a16_a18_a75_backend_without_device() {
    let home = Home::empty();
    home.auth(r#"{mode:"token"}"#);
    let server = home.start_with(&[], &[("OPENCLAW_GATEWAY_TOKEN", "T1")]);
    let mut client =
        server.connect(&Offer::new().token("T1").client("gateway-client", "backend").scopes(ADMIN));
    assert_eq!(client.scopes(), ADMIN.join(" "));
    client.ok("device.pair.list", "{}");
}

#[test]
fn a17_first_pairing_pins_nothing() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::new();
    server.connect(&Offer::device(&device).token("T1").client("openclaw-probe", "probe"));
    let client =
        server.connect(&Offer::device(&device).token("T1").client("openclaw-tui", "ui").scopes(ADMIN));
    assert_eq!(client.scopes(), ADMIN.join(" "));
}

#[test]
fn a19_a101_a101b_a111_wider_keeps_what_it_has() {
    let home = Home::fix();
    let server = home.start();
    let three = &["operator.read", "operator.write", "operator.approvals"];
    let device = Device::pair(&server, three);
    for offer in [
        Offer::device(&device).token("T1").scopes(ADMIN).remote(),
        Offer::device(&device).device_token(device.token()).scopes(ADMIN).remote(),
        Offer::device(&device).device_token(device.token()).scopes(ADMIN),
    ] {
        let mut client = server.connect(&offer);
        assert_eq!(client.scopes(), three.join(" "));
        assert_eq!(client.device_token(), device.token());
        client.ok("status", "{}");
        let error = client.err("device.pair.list", "{}");
        assert_eq!(list(&error, "details.requiredScopes"), ["operator.pairing"]);
    }
    let pending = server.admin().ok("device.pair.list", "{}");
    assert_eq!(items(&pending, "pending").len(), 1, "one request a device and role");
    assert_eq!(text(&pending, "pending.0.isRepair"), "true");
}

#[test]
fn a20_a_device_cannot_approve_its_own_upgrade() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, &["operator.pairing"]);
    let mut client = server.connect(&Offer::device(&device).scopes(ADMIN).remote());
    let pending = client.ok("device.pair.list", "{}");
    let request = text(&pending, "pending.0.requestId");
    let params = format!(r#"{{"requestId":"{request}"}}"#);
    let error = client.err("device.pair.approve", &params);
    assert!(
        text(&error, "message").contains("device pairing approval denied"),
        "{}",
        text(&error, "message")
    );
    // On this host, with the owner's token, it may.
    let mut owner = server.connect(&Offer::device(&device).token("T1").scopes(ADMIN));
    assert_eq!(owner.scopes(), ADMIN.join(" "));
    owner.ok("device.pair.list", "{}");
}

#[test]
fn a21_a89_request_id_is_stable() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::new();
    let ask = |server: &crate::wire::Server, scopes: &[&'static str]| {
        let refused = server.refuse(&Offer::device(&device).token("T1").scopes(scopes).remote());
        refused.expect("PAIRING_REQUIRED");
        assert!(refused.close.1.contains("(requestId: "), "{:?}", refused.close);
        refused.get("details.requestId")
    };
    let first = ask(&server, READ);
    assert_eq!(ask(&server, &["operator.write"]), first);
    assert_eq!(ask(&server, READ), first);
    server.kill();
    let server = home.start();
    assert_eq!(ask(&server, &["operator.read", "operator.approvals"]), first);
    server.admin().ok("device.pair.approve", &format!(r#"{{"requestId":"{first}"}}"#));
    let wide = &["operator.read", "operator.write", "operator.approvals"];
    assert_eq!(server.connect(&Offer::device(&device).scopes(wide).remote()).scopes(), wide.join(" "));
    // By the device's id too.
    for name in ["requestId", "deviceId"] {
        let other = Device::new();
        server.refuse(&Offer::device(&other).token("T1").remote()).expect("PAIRING_REQUIRED");
        server.admin().ok("device.pair.approve", &format!(r#"{{"{name}":"{}"}}"#, other.id()));
        server.connect(&Offer::device(&other).remote());
    }
}

#[test]
fn a22_strongest_proof_decides() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    let asks = &["operator.approvals"];
    let client =
        server.connect(&Offer::device(&device).token("T1").client("gateway-client", "backend").scopes(asks));
    assert_eq!(client.scopes(), "operator.approvals");
}

#[test]
fn a43_b106_forwarded_is_not_local() {
    let home = Home::fix();
    let server = home.start();
    for (name, value) in [
        ("X-Forwarded-For", "127.0.0.1"),
        ("Forwarded", "for=127.0.0.1"),
        ("X-Real-IP", "127.0.0.1"),
        ("X-Forwarded-Proto", "https"),
    ] {
        let device = Device::new();
        server.refuse(&Offer::device(&device).token("T1").header(name, value)).expect("PAIRING_REQUIRED");
        let client = server.connect(&Offer::new().token("T1").scopes(ADMIN).header(name, value));
        assert_eq!(client.scopes(), "", "{name}: a stranger without a device has no scopes");
    }
    // Unless the proxy is trusted, and says so.
    drop(server);
    home.gateway(r#"auth:{mode:"token",token:"T1"},trustedProxies:["127.0.0.1"]"#);
    let server = home.start();
    let device = Device::new();
    let refused =
        server.refuse(&Offer::device(&device).token("T1").header("X-Forwarded-For", "198.51.100.1"));
    refused.expect("PAIRING_REQUIRED");
    server.wait_log(&["refused 198.51.100.1"]);
}

#[test]
fn a44_admin_implies_read() {
    let home = Home::fix();
    let server = home.start();
    let mut client = server.connect(&Offer::new().token("T1").scopes(&["operator.admin"]));
    assert_eq!(client.scopes(), "operator.admin");
    for method in ["status", "device.pair.list", "node.list"] {
        client.ok(method, "{}");
    }
    // Without a device and from elsewhere there are none, and each call says why.
    let mut stranger = server.connect(&Offer::new().token("T1").scopes(ADMIN).remote());
    let error = stranger.err("status", "{}");
    assert_eq!(text(&error, "details.code"), "MISSING_SCOPE");
    assert!(text(&error, "details.hint").contains("no device"), "{}", text(&error, "details.hint"));
}

#[test]
fn a46_implied_is_no_upgrade() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, &["operator.admin", "operator.approvals", "operator.pairing"]);
    let client = server.connect(&Offer::device(&device).remote());
    assert_eq!(client.scopes(), "operator.read");
    assert!(items(&server.admin().ok("device.pair.list", "{}"), "pending").is_empty());
}

#[test]
fn a53_a99_approve_on_the_host() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::new();
    let refused = server.refuse(&Offer::device(&device).token("T1").remote());
    refused.expect("PAIRING_REQUIRED");
    let request = refused.get("details.requestId");
    let command = format!("barnacle devices approve {request}");
    assert!(refused.get("details.hint").contains(&command), "{}", refused.get("details.hint"));
    server.wait_log(&[&command]);
    // As printed; and also with no gateway, so with no socket.
    let (code, out, err) = home.run(&["devices", "approve", &request]);
    assert_eq!(code, 0, "{out}{err}");
    server.connect(&Offer::device(&device).remote());
    let other = Device::new();
    let request = server.refuse(&Offer::device(&other).token("T1").remote()).get("details.requestId");
    server.stop();
    let (code, out, err) = home.run(&["devices", "approve", &request]);
    assert_eq!(code, 0, "{out}{err}");
    home.start().connect(&Offer::device(&other).remote());
}

#[test]
fn a81_setup_codes_survive_a_restart() {
    let home = Home::fix();
    let server = home.start();
    let made = server.admin().ok("device.pair.setupCode", r#"{"bootstrapProfile":"limited"}"#);
    let bootstrap = bootstrap_token(&made);
    let phone = Device::new();
    let offer = || Offer::node(&phone, &["camera.snap"]).bootstrap(&bootstrap).remote();
    let first = server.connect(&offer());
    assert_eq!(text(&first.hello, "auth.role"), "node");
    assert_eq!(text(&first.hello, "auth.deviceTokens.0.role"), "operator");
    let scopes = list(&first.hello, "auth.deviceTokens.0.scopes");
    assert!(!scopes.contains(&"operator.admin".into()) && !scopes.contains(&"operator.pairing".into()));
    // The answer may have got lost: the same key may spend it again, and no other, restart or not.
    server.connect(&offer());
    server.kill();
    let server = home.start();
    let again = server.connect(&offer());
    assert_eq!(again.device_token(), first.device_token());
    let thief = Device::new();
    server
        .refuse(&Offer::node(&thief, &[]).bootstrap(&bootstrap).remote())
        .expect("AUTH_BOOTSTRAP_TOKEN_INVALID");
    let status = format!(r#"{{"setupId":"{}"}}"#, text(&made, "setupId"));
    let status = server.admin().ok("device.pair.setupStatus", &status);
    assert_eq!(text(&status, "completion.deviceId"), phone.id());
}

#[test]
fn a91_behind_serve() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    let through = |d| {
        Offer::device(d).header("X-Forwarded-For", "100.64.0.7").header("Tailscale-User-Login", "me@example")
    };
    server.connect(&through(&device).device_token(device.token()));
    server.connect(&through(&device));
    let new = Device::new();
    let refused = server.refuse(&through(&new).token("T1"));
    refused.expect("PAIRING_REQUIRED");
    let pending = server.admin().ok("device.pair.list", "{}");
    assert_eq!(
        text(&pending, "pending.0.requestId"),
        refused.get("details.requestId"),
        "it is there to approve"
    );
}
