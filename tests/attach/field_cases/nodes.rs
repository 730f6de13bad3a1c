//! Nodes: pairing, the approval of their commands, and requests that outlive restarts.

use crate::wire::{Client, Device, Home, Offer, Server, list, text};

/// A node that is paired on this host; its commands wait.
fn node(server: &Server, device: &mut Device, commands: &[&'static str]) -> Client {
    let client = server.connect(&Offer::node(device, commands).token("T1"));
    device.token = Some(client.device_token());
    client
}

fn approve(server: &Server, device: &Device) {
    let pending = server.admin().ok("node.pair.list", "{}");
    let request = text(&pending, "pending.0.requestId");
    assert_eq!(text(&pending, "pending.0.nodeId"), device.id());
    server.admin().ok("node.pair.approve", &format!(r#"{{"requestId":"{request}"}}"#));
}

fn invoke(server: &Server, device: &Device, node: &mut Client, command: &str) -> String {
    let mut admin = server.admin();
    let params = format!(
        r#"{{"nodeId":"{}","command":"{command}","params":{{"n":7}},"idempotencyKey":"k"}}"#,
        device.id()
    );
    let id = admin.ask("node.invoke", &params);
    let asked = node.event("node.invoke.request");
    assert_eq!(text(&asked, "payload.command"), command);
    assert_eq!(text(&asked, "payload.paramsJSON"), r#"{"n":7}"#);
    let result = format!(
        r#"{{"id":"{}","nodeId":"{}","ok":true,"payloadJSON":"{{\"done\":true}}"}}"#,
        text(&asked, "payload.id"),
        device.id()
    );
    node.ok("node.invoke.result", &result);
    let answer = admin.answer(&id).unwrap();
    text(&answer, "payload.done")
}

#[test]
fn a55_a100_silent_pairing_is_durable() {
    let home = Home::fix();
    let server = home.start();
    let mut device = Device::new();
    let first = node(&server, &mut device, &[]);
    assert_eq!(text(&first.hello, "auth.role"), "node");
    assert!(list(&first.hello, "auth.scopes").is_empty());
    server.kill();
    let server = home.start();
    let client = server.connect(&Offer::node(&device, &[]).device_token(device.token()));
    assert_eq!(client.device_token(), device.token());
    let nodes = server.admin().ok("node.list", "{}");
    assert_eq!(text(&nodes, "nodes.0.paired"), "true");
    assert_eq!(text(&nodes, "nodes.0.connected"), "true");
}

#[test]
fn a57_a113_more_commands_wait() {
    let home = Home::fix();
    let server = home.start();
    let mut device = Device::new();
    let mut client = node(&server, &mut device, &["camera.snap"]);
    approve(&server, &device);
    assert_eq!(invoke(&server, &device, &mut client, "camera.snap"), "true");
    // It learns a new command: what it had stays in use while that waits.
    let mut wider =
        server.connect(&Offer::node(&device, &["camera.snap", "system.run"]).device_token(device.token()));
    drop(client);
    assert_eq!(invoke(&server, &device, &mut wider, "camera.snap"), "true");
    let nodes = server.admin().ok("node.list", "{}");
    assert_eq!(list(&nodes, "nodes.0.commands"), ["camera.snap"]);
    assert_eq!(text(&nodes, "nodes.0.connected"), "true", "the older socket took its successor down");
    let request = text(&nodes, "nodes.0.pendingRequestId");
    let params = format!(r#"{{"nodeId":"{}","command":"system.run","idempotencyKey":"k"}}"#, device.id());
    let error = server.admin().err("node.invoke", &params);
    assert!(text(&error, "message").contains(&request), "{}", text(&error, "message"));
    // Only an administrator may expose a shell.
    let mut writer =
        server.connect(&Offer::new().token("T1").scopes(&["operator.pairing", "operator.write"]));
    let error = writer.err("node.pair.approve", &format!(r#"{{"requestId":"{request}"}}"#));
    assert_eq!(text(&error, "details.missingScope"), "operator.admin");
    approve(&server, &device);
    assert_eq!(invoke(&server, &device, &mut wider, "system.run"), "true");
}

#[test]
fn a90_requests_outlive_restarts() {
    let home = Home::fix();
    let server = home.start();
    let mut device = Device::new();
    let _client = node(&server, &mut device, &["camera.snap"]);
    let pending = server.admin().ok("node.pair.list", "{}");
    let request = text(&pending, "pending.0.requestId");
    server.kill();
    let server = home.start();
    let _client = server.connect(&Offer::node(&device, &["camera.snap"]));
    let pending = server.admin().ok("node.pair.list", "{}");
    assert_eq!(text(&pending, "pending.0.requestId"), request);
    server.admin().ok("node.pair.approve", &format!(r#"{{"requestId":"{request}"}}"#));
}

#[test]
fn a82_a_node_without_a_credential() {
    let home = Home::fix();
    let server = home.start();
    let phone = Device::new();
    let offer = || Offer::node(&phone, &["camera.snap"]).client("openclaw-android", "node").remote();
    let refused = server.refuse(&offer());
    refused.expect("PAIRING_REQUIRED");
    assert_eq!(refused.close.0, 1008);
    let request = refused.get("details.requestId");
    server.admin().ok("device.pair.approve", &format!(r#"{{"requestId":"{request}"}}"#));
    server.connect(&offer());
}
