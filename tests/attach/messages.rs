//! Messages of any size and shape: what they cost, whom they close, and what a peer that never reads may hold; a test for
//! each row by its id.

use super::budgets::{budget, head, resident, until};
use crate::wire::{Client, Device, Home, LONG, Offer, READ, Server, json, text};
use async_tungstenite::tungstenite::Message;
use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

#[test]
fn h1_a_frame_of_many_values_costs_its_bytes() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    let mut admin = server.admin();
    let mut reader = server.connect(&Offer::device(&device));
    let before = resident(&mut admin);
    let values = [r#"[0,0]"#, r#"{"a":{}}"#, r#""x""#];
    for (n, value) in values.into_iter().enumerate() {
        let start = format!(r#"{{"type":"req","id":"big{n}","method":"health","params":{{"x":["#);
        let many = format!("{value},").repeat((25 << 20) / (value.len() + 1) - 64);
        reader.send(&format!("{start}{many}{value}]}}}}"));
        let error = reader.answer(&format!("big{n}")).unwrap_err();
        assert!(text(&error, "message").contains("65536"), "{}", json(&error));
        reader.ok("health", "{}");
    }
    let high = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let high = high.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let high: u64 = high.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(high - before < 2 * (25 << 10), "{} KiB at most for a frame of 25 MiB", high - before);
    assert!(resident(&mut admin) < before + (4 << 10), "{} KiB kept", resident(&mut admin) - before);
}

#[test]
fn h1_scope_and_method_are_judged_before_params_are() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    let mut reader = server.connect(&Offer::device(&device));
    let large = format!(r#"{{"x":"{}"}}"#, "x".repeat(1 << 20));
    let message = |error| text(&error, "message");
    assert!(message(reader.err("device.pair.list", &large)).contains("missing scope"));
    assert!(message(reader.err("no.such.method", &large)).contains("unknown method"));
    assert!(message(reader.err("node.event", &large)).contains("is for nodes"));
    assert!(message(reader.err("status", &large)).contains("more than the"));
    reader.ok("status", "{}");
}

#[test]
fn h2_unfinished_messages_share_a_budget() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    let mut admin = server.admin();
    let before = resident(&mut admin);
    let mut clients: Vec<_> = (0..10).map(|_| server.connect(&Offer::device(&device))).collect();
    let half = vec![b' '; 8 << 20];
    for client in &mut clients {
        let raw = client.raw();
        raw.set_write_timeout(Some(LONG)).unwrap();
        // One that was closed meanwhile takes no more.
        let _ = raw.write_all(&head(24 << 20)).and_then(|()| raw.write_all(&half));
    }
    until("some were closed", || budget(&mut admin, "unfinished messages", "used") < 33 << 20);
    let grown = resident(&mut admin).saturating_sub(before);
    assert!(grown < 56 << 10, "{grown} KiB more for one device");
    let closed = clients.iter_mut().filter_map(|client| {
        client.raw().set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        match client.message() {
            Ok(Message::Close(Some(frame))) => Some((u16::from(frame.code), frame.reason.to_string())),
            _ => None,
        }
    });
    let closed: Vec<_> = closed.collect();
    assert!(closed.len() >= 5, "{} of 10 were closed", closed.len());
    for (code, reason) in closed {
        assert!(code == 1008 && reason.contains("unfinished messages"), "{code} {reason}");
    }
    // One other device's message of any size is still taken.
    let other = Device::pair(&server, READ);
    let mut other = server.connect(&Offer::device(&other));
    other.send(&format!(
        r#"{{"type":"req","id":"large","method":"health","params":{{"x":"{}"}}}}"#,
        "x".repeat(20 << 20)
    ));
    assert!(text(&other.answer("large").unwrap_err(), "message").contains("more than the"));
    drop(clients);
    until("the memory is free again", || resident(&mut admin) < before + (8 << 10));
}

/// A node that may do `camera.snap`, and its id.
fn camera(server: &Server) -> (Client, String) {
    let device = Device::new();
    let node = server.connect(&Offer::node(&device, &["camera.snap"]).token("T1"));
    let mut admin = server.admin();
    let request = text(&admin.ok("node.pair.list", "{}"), "pending.0.requestId");
    admin.ok("node.pair.approve", &format!(r#"{{"requestId":"{request}"}}"#));
    (node, device.id())
}

#[test]
fn h8_a_picture_and_large_params_are_delivered() {
    let home = Home::fix();
    let server = home.start();
    let (mut node, id) = camera(&server);
    let mut operator = server.admin();
    let large = "p".repeat(9 << 20);
    let invoke = |extra: &str| {
        format!(
            r#"{{"nodeId":"{id}","command":"camera.snap","idempotencyKey":"k"{extra},"timeoutMs":60000}}"#
        )
    };
    let asked = operator.ask("node.invoke", &invoke(&format!(r#","params":{{"x":"{large}"}}"#)));
    let event = node.event("node.invoke.request");
    assert_eq!(text(&event, "payload.paramsJSON").len(), large.len() + 8);
    // The operator reads nothing until the picture is on its way, as a slow line does.
    let picture = "j".repeat(9 << 19);
    let result = format!(
        r#"{{"id":"{}","nodeId":"{id}","ok":true,"payloadJSON":"{{\"image\":\"{picture}\"}}"}}"#,
        text(&event, "payload.id")
    );
    node.ok("node.invoke.result", &result);
    node.ok("node.event", r#"{"event":"x"}"#);
    let answer = operator.answer(&asked).unwrap();
    assert_eq!(text(&answer, "payload.image").len(), picture.len());
    operator.ok("health", "{}");
    node.ok("node.event", r#"{"event":"y"}"#);
}

#[test]
fn h8_what_is_not_delivered_is_answered_to_its_sender() {
    let home = Home::fix();
    let server = home.start();
    let (mut node, id) = camera(&server);
    let mut operator = server.admin();
    let mut invoke = |n: usize| {
        let params = format!(
            r#"{{"nodeId":"{id}","command":"camera.snap","idempotencyKey":"k{n}","timeoutMs":60000,"params":{{"x":"{}"}}}}"#,
            "p".repeat(9 << 20)
        );
        operator.ask("node.invoke", &params)
    };
    // The node reads none of them; the second one does not fit behind the first.
    let (_first, second) = (invoke(1), invoke(2));
    let error = operator.answer(&second).unwrap_err();
    assert_eq!(text(&error, "details.code"), "NOT_DELIVERED", "{}", json(&error));
    operator.ok("health", "{}");
    // And the node was not closed for it.
    assert_eq!(text(&node.event("node.invoke.request"), "payload.idempotencyKey"), "k1");
    node.ok("node.event", r#"{"event":"x"}"#);
}

#[test]
fn h23_half_an_emoji_costs_no_connection() {
    let home = Home::fix();
    let server = home.start();
    let mut admin = server.admin();
    admin.send(r#"{"type":"req","id":"half\ud83e","method":"health","params":{"x":"\udd80"}}"#);
    admin.answer("half\u{fffd}").unwrap();
    let device = Device::pair(&server, READ);
    let rename = format!(r#"{{"deviceId":"{}","label":"crab \ud83e"}}"#, device.id());
    admin.ok("device.pair.rename", &rename);
    let listed = json(&admin.ok("device.pair.list", "{}"));
    assert!(listed.contains("crab \u{fffd}"), "{listed}");
    // A node's answer is passed on in whole characters.
    let (mut node, id) = camera(&server);
    let invoke = format!(
        r#"{{"nodeId":"{id}","command":"camera.snap","idempotencyKey":"k","params":{{"x":"\ud83e"}}}}"#
    );
    let asked = admin.ask("node.invoke", &invoke);
    let event = node.event("node.invoke.request");
    let result = format!(
        r#"{{"id":"{}","nodeId":"{id}","ok":true,"payload":{{"y":"\udd80"}}}}"#,
        text(&event, "payload.id")
    );
    node.ok("node.invoke.result", &result);
    assert_eq!(text(&admin.answer(&asked).unwrap(), "payload.y"), "\u{fffd}");
}

#[test]
fn h37_a_text_that_is_not_utf8_is_closed_with_1007() {
    let home = Home::fix();
    let server = home.start();
    let mut admin = server.admin();
    let mut bytes = vec![0x81, 0x82, 0, 0, 0, 0];
    bytes.extend([0xc3, 0x28]);
    admin.raw().write_all(&bytes).unwrap();
    assert_eq!(admin.closed().0, 1007);
    // Before it has attached, too.
    let mut stranger = server.socket();
    stranger.raw().write_all(&bytes).unwrap();
    assert_eq!(stranger.closed().0, 1007);
}

#[test]
fn h37_a_broken_frame_is_closed_with_1002() {
    let home = Home::fix();
    let server = home.start();
    for bytes in [
        &[0x81, 1, b'x'][..],
        &[0x83, 0x80, 0, 0, 0, 0],
        &[0xc1, 0x80, 0, 0, 0, 0],
        &[0x80, 0x80, 0, 0, 0, 0],
    ] {
        let mut admin = server.admin();
        admin.raw().write_all(bytes).unwrap();
        assert_eq!(admin.closed().0, 1002, "{bytes:?}");
    }
    let mut left = String::new();
    let mut plain = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).unwrap();
    plain.set_read_timeout(Some(LONG)).unwrap();
    plain.write_all(b"\x81\x80nonsense\r\n\r\n").unwrap();
    match plain.read_to_string(&mut left) {
        Ok(_) => {}
        Err(e) => assert_eq!(e.kind(), ErrorKind::ConnectionReset),
    }
}

#[test]
fn h43_those_who_never_read_share_a_budget() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    let mut admin = server.admin();
    let before = resident(&mut admin);
    // The kernel takes some 5 MiB of it; what is left is within what may wait for one client, and not for all.
    let size = json(&admin.ok("config.schema", "{}")).len();
    let requests = (12 << 20) / size;
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let mut client = server.connect(&Offer::device(&device));
            (0..requests).for_each(|_| _ = client.ask("config.schema", "{}"));
            client
        })
        .collect();
    server.wait_log(&["all together have"]);
    let grown = resident(&mut admin).saturating_sub(before);
    assert!(grown < 72 << 10, "{grown} KiB more for one device that never reads");
    drop(clients);
    until("the memory is free again", || resident(&mut admin) < before + (8 << 10));
}
