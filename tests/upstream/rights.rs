//! Who may call what behind this gateway: it is judged here, and a revocation here holds there.

use crate::{
    stand_in::{StandIn, answer, chat},
    wire::{ADMIN, Device, Home, Offer, READ, Server, json, list, text},
};

#[test]
fn a_refused_request_is_never_seen_behind() {
    let (home, behind) = (Home::fix(), StandIn::new());
    let front = behind.front(&home);
    let mut reader = front.connect(&Offer::new().token("T1").scopes(READ));
    for (method, scope) in [
        ("chat.send", "operator.write"),
        ("agent.wait", "operator.write"),
        ("tools.invoke", "operator.write"),
        ("cron.add", "operator.admin"),
        ("exec.approval.list", "operator.approvals"),
        ("a.method.of.tomorrow", "operator.admin"),
        ("sessions.list ", "operator.admin"),
        ("SESSIONS.LIST", "operator.admin"),
    ] {
        let error = reader.err(method, "{}");
        assert_eq!(text(&error, "details.missingScope"), scope, "{method}: {}", json(&error));
        // One that is allowed comes after it, so it would have been seen.
        reader.ok("agents.list", "{}");
        assert_eq!(behind.count(method), 0, "{method}");
    }
    let mut writer = front.connect(&Offer::new().token("T1").scopes(&["operator.read", "operator.write"]));
    let error = writer.err("a.method.of.tomorrow", "{}");
    assert_eq!(text(&error, "details.missingScope"), "operator.admin");
    let mut admin = front.admin();
    let asked = admin.ask("a.method.of.tomorrow", "{}");
    behind.request("a.method.of.tomorrow").ok(r#"{"tomorrow":true}"#);
    assert_eq!(text(&admin.answer(&asked).unwrap(), "tomorrow"), "true");
}

#[test]
fn nodes_call_what_is_for_nodes() {
    let (home, behind) = (Home::fix(), StandIn::new());
    behind.answers("node.event", answer("node.event"));
    let front = behind.front(&home);
    let device = Device::new();
    let mut node = front.connect(&Offer::node(&device, &["camera.snap"]).token("T1"));
    assert!(text(&node.err("sessions.list", "{}"), "message").contains("for operators"));
    node.ok("node.event", r#"{"event":"x"}"#);
    let connect = behind.link_after(0).connect();
    assert_eq!((text(&connect, "role"), text(&connect, "commands.0")), ("node".into(), "camera.snap".into()));
    assert!(text(&front.admin().err("node.event", "{}"), "message").contains("for nodes"));
    assert_eq!(behind.count("sessions.list"), 0);
    assert_eq!(behind.count("node.event"), 1);
}

#[test]
fn devices_and_tokens_are_never_a_matter_of_the_gateway_behind() {
    let (home, behind) = (Home::fix(), StandIn::new());
    let front = behind.front(&home);
    let mut admin = front.admin();
    admin.ok("agents.list", "{}");
    for method in ["device.pair.list", "health", "system-presence", "gateway.identity.get"] {
        admin.ok(method, "{}");
        assert_eq!(behind.count(method), 0, "{method}");
    }
}

/// A paired device that is attached behind, and how it is taken away.
fn ends(take_away: impl Fn(&Server, &Device)) {
    let (home, behind) = (Home::fix(), StandIn::new());
    let front = behind.front(&home);
    let (device, other) = (Device::pair(&front, READ), Device::pair(&front, READ));
    let mut client = front.connect(&Offer::device(&device).device_token(device.token()));
    client.ok("agents.list", "{}");
    let link = behind.link_after(0);
    let mut bystander = front.connect(&Offer::device(&other).device_token(other.token()));
    bystander.ok("agents.list", "{}");
    let kept = behind.last_link();
    let pending = client.ask("sessions.list", "{}");
    let request = behind.request("sessions.list");
    assert_eq!(request.link.number, link.number);
    take_away(&front, &device);
    client.closed();
    behind.gone(link.number);
    // The answer that comes too late is nobody's.
    request.ok(r#"{"late":true}"#);
    assert!(!client.events.iter().any(|event| text(event, "id") == pending));
    bystander.ok("agents.list", "{}");
    assert!(behind.is_open(&kept));
    front.refuse(&Offer::device(&device).device_token(device.token()));
}

#[test]
fn a_removed_device_is_gone_behind() {
    ends(|front, device| {
        front.admin().ok("device.pair.remove", &format!(r#"{{"deviceId":"{}"}}"#, device.id()));
    });
}

#[test]
fn a_revoked_device_is_gone_behind() {
    ends(|front, device| {
        let params = format!(r#"{{"deviceId":"{}","role":"operator"}}"#, device.id());
        front.admin().ok("device.token.revoke", &params);
    });
}

#[test]
fn a_client_that_leaves_is_gone_behind() {
    let (home, behind) = (Home::fix(), StandIn::new());
    let front = behind.front(&home);
    let mut client = front.admin();
    client.ok("agents.list", "{}");
    let link = behind.link_after(0);
    drop(client);
    behind.gone(link.number);
}

#[test]
fn a_narrowed_device_hears_no_more_than_it_may() {
    let (home, behind) = (Home::fix(), StandIn::new());
    let front = behind.front(&home);
    let device = Device::pair(&front, ADMIN);
    // A page, which hears without asking.
    let offer = Offer::device(&device).device_token(device.token()).scopes(ADMIN);
    let mut page = front.connect(&offer.client("gateway-client", "ui"));
    let link = behind.link_after(0);
    assert!(list(&link.connect(), "scopes").contains(&"operator.admin".into()));
    link.event("chat", &chat(0, "x"));
    page.event("chat");
    let before = behind.links();
    let params = format!(r#"{{"deviceId":"{}","role":"operator","scopes":["operator.read"]}}"#, device.id());
    front.admin().ok("device.token.rotate", &params);
    behind.gone(link.number);
    let narrowed = behind.link_after(before);
    assert_eq!(list(&narrowed.connect(), "scopes"), READ);
    narrowed.event("cron", "{}");
    page.event("cron");
}
