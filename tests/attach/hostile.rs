//! Hostile clients: a removed device that tries other credentials, connections that hold memory or descriptors,
//! and ones that try to keep everybody else out.

use crate::wire::{ADMIN, Client, Device, Home, LONG, Offer, READ, Server, bootstrap_token, number, text};
use async_tungstenite::tungstenite::{Error, Message};
use std::{
    io::{ErrorKind, Write},
    time::{Duration, Instant},
};

/// The bootstrap token of a new setup code.
fn setup_code(server: &Server, params: &str) -> String {
    let made = server.admin().ok("device.pair.setupCode", params);
    bootstrap_token(&made)
}

fn device_params(device: &Device) -> String {
    format!(r#"{{"deviceId":"{}"}}"#, device.id())
}

#[test]
fn a_removed_device_does_not_come_back_by_its_spent_code() {
    let home = Home::fix();
    let server = home.start();
    let bootstrap = setup_code(&server, "{}");
    let phone = Device::new();
    let offer = || Offer::device(&phone).scopes(ADMIN).bootstrap(&bootstrap).remote();
    assert!(server.connect(&offer()).scopes().contains("operator.admin"));
    server.admin().ok("device.pair.remove", &device_params(&phone));
    let refused = server.refuse(&offer());
    refused.expect("AUTH_BOOTSTRAP_TOKEN_INVALID");
}

#[test]
fn a_code_does_not_wait_for_a_role_that_was_revoked() {
    let home = Home::fix();
    let server = home.start();
    let phone = Device::pair(&server, READ);
    let operator = format!(r#"{{"deviceId":"{}","role":"operator"}}"#, phone.id());
    server.admin().ok("device.token.revoke", &operator);
    let bootstrap = setup_code(&server, "{}");
    let node = server.connect(&Offer::node(&phone, &[]).bootstrap(&bootstrap).remote());
    assert_eq!(text(&node.hello, "auth.role"), "node");
    server.refuse(&Offer::device(&phone).bootstrap(&bootstrap).remote());
}

#[test]
fn a_device_revoked_while_it_connects_is_not_let_in() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    server.stop();
    let server = home.start_on_slow_disk(Duration::from_millis(300));
    let mut admin = server.admin();
    let pid = number(&admin.ok("status", "{}"), "barnacle.pid") as u32;
    let revoke =
        admin.ask("device.token.revoke", &format!(r#"{{"deviceId":"{}","role":"operator"}}"#, device.id()));
    // The gateway has read it, and waits for the disk: the device is still good, and asks for more, which
    // is to be written down after the revocation.
    admin.ok("health", "{}");
    let connected = server.try_connect(&Offer::device(&device).scopes(ADMIN).remote());
    admin.answer(&revoke).unwrap();
    let ended = connected.is_err_and(|refused| refused.get("code") == "UNAVAILABLE");
    crate::wire::signal(pid, "TERM");
    assert!(ended, "it was let in: {}", server.log());
}

/// A connection that has sent `size` bytes of a masked text frame which claims 200 KiB.
fn half_frame(server: &Server, size: usize) -> Client {
    let mut socket = server.socket();
    let mut bytes = vec![0x81, 0xff];
    bytes.extend((200u64 << 10).to_be_bytes());
    bytes.resize(size, 0);
    // One that had to make room takes no more.
    let _ = socket.raw().write_all(&bytes);
    socket
}

/// The answer of a connection that had to make room; `None` of one that is held.
fn refusal(socket: &mut Client) -> Option<String> {
    socket.raw().set_nonblocking(true).unwrap();
    let message = socket.message();
    let _ = socket.raw().set_nonblocking(false);
    match message {
        Err(Error::Io(e)) if e.kind() == ErrorKind::WouldBlock => None,
        Ok(Message::Close(Some(close))) => Some(close.reason.to_string()),
        other => panic!("neither held nor refused: {other:?}"),
    }
}

#[test]
fn half_frames_before_attaching_keep_nobody_out() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    let mut admin = server.admin();
    // Four times what they may hold together: the largest make room.
    let mut all: Vec<_> = (0..128).map(|_| half_frame(&server, 128 << 10)).collect();
    let refused = |all: &mut Vec<Client>| -> Vec<String> { all.iter_mut().filter_map(refusal).collect() };
    let begin = Instant::now();
    let mut answers = refused(&mut all);
    while answers.is_empty() {
        assert!(begin.elapsed() < LONG, "{} connections hold all they like", all.len());
        answers = refused(&mut all);
    }
    assert!(answers.iter().all(|answer| answer == "too many connects under way"), "{answers:?}");
    // An ordinary `connect` is not charged, so nobody is refused one: neither these nor the device.
    let mut small: Vec<_> = [4 << 10, 1 << 10, 256].map(|size| half_frame(&server, size)).into();
    admin.ok("health", "{}");
    assert_eq!(refused(&mut small), Vec::<String>::new());
    server.connect(&Offer::device(&device));
}

/// Sends pings of 125 bytes, so many megabytes of them or until the gateway closes, and reads no pong.
fn flood(raw: &mut std::net::TcpStream, megabytes: usize) {
    raw.set_write_timeout(Some(LONG)).unwrap();
    let mut ping = vec![0x89, 0x80 | 125, 0, 0, 0, 0];
    ping.extend([7; 125]);
    let chunk = ping.repeat(8000);
    let sent = (0..megabytes).take_while(|_| raw.write_all(&chunk).is_ok()).count();
    assert!(sent > 0, "not a megabyte was taken");
}

#[test]
fn unread_pongs_are_not_kept() {
    let home = Home::fix();
    let server = home.start();
    let mut admin = server.admin();
    let mut stranger = server.socket();
    flood(stranger.raw(), 48);
    let mut paired = server.connect(&Offer::new().token("T1"));
    flood(paired.raw(), 48);
    let resident = number(&admin.ok("status", "{}"), "barnacle.residentKb");
    assert!(resident < 24 << 10, "{resident} KiB resident");
}

#[test]
fn a_caller_that_left_is_released() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::new();
    let node = Offer::node(&device, &["camera.snap"]).token("T1");
    let mut node = server.connect(&node);
    let mut admin = server.admin();
    let pending = admin.ok("node.pair.list", "{}");
    let request = text(&pending, "pending.0.requestId");
    admin.ok("node.pair.approve", &format!(r#"{{"requestId":"{request}"}}"#));
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count();
    let before = descriptors();
    let mut caller = server.admin();
    caller.ask(
        "node.invoke",
        &format!(
            r#"{{"nodeId":"{}","command":"camera.snap","idempotencyKey":"k","timeoutMs":600000}}"#,
            device.id()
        ),
    );
    node.event("node.invoke.request");
    caller.raw().shutdown(std::net::Shutdown::Both).unwrap();
    drop(caller);
    let begin = Instant::now();
    while descriptors() > before {
        assert!(begin.elapsed() < LONG / 2, "the caller's socket is still held");
        admin.ok("health", "{}");
    }
}

#[test]
fn two_nodes_of_one_name_are_not_mistaken_for_each_other() {
    let home = Home::fix();
    let server = home.start();
    let (one, two) = (Device::new(), Device::new());
    let mut admin = server.admin();
    for device in [&one, &two] {
        server.connect(&Offer::node(device, &["camera.snap"]).token("T1"));
        let rename = format!(r#"{{"nodeId":"{}","displayName":"kitchen"}}"#, device.id());
        admin.ok("node.rename", &rename);
    }
    let error = admin.err("node.pair.remove", r#"{"nodeId":"kitchen"}"#);
    assert!(text(&error, "message").contains(&one.id()), "{}", text(&error, "message"));
    let long = format!(r#"{{"nodeId":"{}","displayName":"{}"}}"#, one.id(), "x".repeat(100_000));
    admin.err("node.rename", &long);
}
