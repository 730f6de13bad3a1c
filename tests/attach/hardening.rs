//! What an attached or waiting device cannot do to the gateway or to others: hardening cases, by their ids.

use crate::wire::{Client, Device, Home, Offer, READ, Server, items, list, text};

/// The scopes that an administrator is shown under a request's id; nothing if there is no such request.
fn listed(admin: &mut Client, request: &str) -> Option<Vec<String>> {
    let pending = admin.ok("device.pair.list", "{}");
    let found = items(&pending, "pending").into_iter().find(|r| text(r, "requestId") == request);
    found.map(|r| list(r, "scopes"))
}

fn approve(admin: &mut Client, request: &str) {
    admin.ok("device.pair.approve", &format!(r#"{{"requestId":"{request}"}}"#));
}

/// The pairing events that `client` is sent up to one of `name`.
fn pairing_events(client: &mut Client, name: &str) -> Vec<(String, String)> {
    let mut events = Vec::new();
    loop {
        let frame = client.frame().unwrap();
        let event = text(&frame, "event");
        if event.contains(".pair.") {
            events.push((event.clone(), text(&frame, "payload.deviceId")));
        }
        if event == name {
            return events;
        }
    }
}

#[test]
fn h1_scope_and_size_are_judged_before_params() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    let mut reader = server.connect(&Offer::device(&device));
    let large = format!(r#"{{"x":"{}"}}"#, "x".repeat(100 << 10));
    let error = reader.err("health", &large);
    assert_eq!(text(&error, "code"), "INVALID_REQUEST");
    let message = text(&error, "message");
    assert!(message.contains("health") && message.contains("65536"), "{message}");
    // What is not asked for its parameters is not asked at all.
    let error = reader.err("config.set", &large);
    assert_eq!(text(&error, "details.missingScope"), "operator.admin");
    let error = reader.err("config.set", "[1]");
    assert_eq!(text(&error, "details.missingScope"), "operator.admin");
    let error = reader.err("node.event", &large);
    assert!(text(&error, "message").contains("is for nodes"), "{}", text(&error, "message"));
    let error = reader.err("no.such.method", &large);
    assert_eq!(text(&error, "message"), "unknown method: no.such.method");
    let error = reader.err("logs.tail", "[1]");
    assert!(text(&error, "message").contains("must be object"), "{}", text(&error, "message"));
    // The connection stays, and a method that carries content takes as much as before.
    reader.ok("health", "{}");
    let raw = format!("{{\"raw\":\"// {}\"}}", "x".repeat(100 << 10));
    let error = server.admin().err("config.set", &raw);
    assert!(!text(&error, "message").contains("bytes"), "{}", text(&error, "message"));
}

#[test]
fn h10_a_waiting_device_that_asks_for_more_makes_a_second_request() {
    let home = Home::fix();
    let server = home.start();
    let mut admin = server.admin();
    let device = Device::new();
    let ask = |scopes: &[&'static str]| {
        let refused = server.refuse(&Offer::device(&device).token("T1").remote().scopes(scopes));
        refused.expect("PAIRING_REQUIRED");
        refused.get("details.requestId")
    };
    let read = ask(READ);
    assert_eq!(ask(READ), read);
    let wider = ask(&["operator.admin"]);
    assert_ne!(wider, read);
    // Less than one of them asks for keeps that one's id.
    assert_eq!(ask(&["operator.write"]), wider);
    assert_eq!(ask(READ), read);
    for request in [&read, &wider] {
        let event = admin.event("device.pair.requested");
        assert_eq!(text(&event, "payload.requestId"), *request);
    }
    assert_eq!(listed(&mut admin, &read).unwrap(), ["operator.read"]);
    assert_eq!(listed(&mut admin, &wider).unwrap(), ["operator.admin"]);
    // By the device's id it is not said which is meant.
    let error = admin.err("device.pair.approve", &format!(r#"{{"deviceId":"{}"}}"#, device.id()));
    assert!(text(&error, "message").contains(&wider), "{}", text(&error, "message"));
    approve(&mut admin, &read);
    let client = server.connect(&Offer::device(&device).remote().scopes(&["operator.admin"]));
    assert_eq!(client.scopes(), "operator.read");
    assert_eq!(listed(&mut admin, &wider).unwrap(), ["operator.admin"]);
    assert!(listed(&mut admin, &read).is_none());
}

#[test]
fn h10_a_paired_device_that_asks_for_more_makes_a_second_request() {
    let home = Home::fix();
    let server = home.start();
    let mut admin = server.admin();
    let device = Device::pair(&server, READ);
    let ask = |admin: &mut Client, scope: &'static str| {
        let client = server.connect(&Offer::device(&device).scopes(&[scope]));
        assert!(!client.scopes().contains(scope), "{}", client.scopes());
        text(&admin.event("device.pair.requested"), "payload.requestId")
    };
    let pairing = ask(&mut admin, "operator.pairing");
    let wider = ask(&mut admin, "operator.admin");
    assert_ne!(wider, pairing);
    assert_eq!(listed(&mut admin, &pairing).unwrap(), ["operator.pairing"]);
    approve(&mut admin, &pairing);
    let client = server.connect(&Offer::device(&device).scopes(&["operator.admin"]));
    assert!(!client.scopes().contains("operator.admin"), "{}", client.scopes());
    assert_eq!(listed(&mut admin, &wider).unwrap(), ["operator.admin"]);
    // The wider one is granted by its own id alone, and answers all that is left.
    approve(&mut admin, &wider);
    let client = server.connect(&Offer::device(&device).scopes(&["operator.admin"]));
    assert_eq!(client.scopes(), "operator.admin");
}

/// A paired node, whose wider surface waits; returns its request.
fn waiting_node(server: &Server, device: &Device) -> (Client, String) {
    let client = server.connect(&Offer::node(device, &["camera.snap"]).token("T1"));
    let pending = server.admin().ok("node.pair.list", "{}");
    (client, text(&pending, "pending.0.requestId"))
}

#[test]
fn h12_a_device_with_pairing_alone_manages_no_other_node() {
    let home = Home::fix();
    let server = home.start();
    let node = Device::new();
    let (_node, request) = waiting_node(&server, &node);
    let device = Device::pair(&server, &["operator.pairing"]);
    let mut client = server.connect(&Offer::device(&device).scopes(&["operator.pairing"]));
    let id = node.id();
    for (method, params) in [
        ("node.rename", format!(r#"{{"nodeId":"{id}","displayName":"mine"}}"#)),
        ("node.pair.reject", format!(r#"{{"requestId":"{request}"}}"#)),
        ("node.pair.remove", format!(r#"{{"nodeId":"{id}"}}"#)),
    ] {
        let error = client.err(method, &params);
        let message = text(&error, "message");
        assert!(message.contains("manages only itself"), "{method}: {message}");
    }
    let seen = client.ok("node.pair.list", "{}");
    assert!(items(&seen, "pending").is_empty() && items(&seen, "paired").is_empty());
    let pending = server.admin().ok("node.pair.list", "{}");
    assert_eq!(text(&pending, "pending.0.requestId"), request);
    // Who manages others may.
    server.admin().ok("node.rename", &format!(r#"{{"nodeId":"{id}","displayName":"Kitchen"}}"#));
    server.admin().ok("node.pair.remove", &format!(r#"{{"nodeId":"{id}"}}"#));
}

#[test]
fn h12_a_device_with_pairing_alone_hears_of_itself_only() {
    let home = Home::fix();
    let server = home.start();
    let mut admin = server.admin();
    let device = Device::pair(&server, &["operator.pairing"]);
    let offer = || Offer::device(&device).scopes(&["operator.pairing"]);
    let mut client = server.connect(&offer());
    let other = Device::new();
    server.refuse(&Offer::device(&other).token("T1").remote()).expect("PAIRING_REQUIRED");
    assert_eq!(text(&admin.event("device.pair.requested"), "payload.deviceId"), other.id());
    // Its own request, after the other's.
    let _wider = server.connect(&offer().scopes(&["operator.admin"]));
    let heard = pairing_events(&mut client, "device.pair.requested");
    assert_eq!(heard, [("device.pair.requested".to_owned(), device.id())]);
    assert_eq!(text(&admin.event("device.pair.requested"), "payload.deviceId"), device.id());
}

#[test]
fn h36_a_node_that_waits_for_its_pairing_is_in_both_lists() {
    let home = Home::fix();
    let server = home.start();
    let mut admin = server.admin();
    let node = Device::new();
    let offer = || Offer::node(&node, &["camera.snap"]).remote();
    let refused = server.refuse(&offer().token("T1"));
    refused.expect("PAIRING_REQUIRED");
    let request = refused.get("details.requestId");
    for (method, id) in [("device.pair.list", "deviceId"), ("node.pair.list", "nodeId")] {
        let pending = admin.ok(method, "{}");
        assert_eq!(text(&pending, "pending.0.requestId"), request, "{method}");
        assert_eq!(text(&pending, &format!("pending.0.{id}")), node.id(), "{method}");
    }
    // And can be approved where it is seen, by who may pair it.
    let mut pairing = server.connect(&Offer::new().token("T1").scopes(&["operator.pairing"]));
    let params = format!(r#"{{"requestId":"{request}"}}"#);
    let error = pairing.err("node.pair.approve", &params);
    assert!(text(&error, "message").contains("operator.admin"), "{}", text(&error, "message"));
    let approved = admin.ok("node.pair.approve", &params);
    assert_eq!(text(&approved, "nodeId"), node.id());
    assert_eq!(text(&approved, "node.paired"), "true");
    let _client = server.connect(&offer());
}
