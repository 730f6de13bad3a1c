//! Restarts in the middle of something: a frame, a fragmented message, megabytes unsent, a handshake, a plain HTTP
//! request, an invocation, a close.

use crate::wire::{ADMIN, Client, Device, Home, LONG, Offer, READ, Server, flag, json, number, text};
use async_tungstenite::tungstenite::{
    Message,
    protocol::frame::{
        Frame,
        coding::{Control, Data, OpCode},
    },
};
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
};

/// The bytes of a frame that a client sends.
fn bytes(payload: &[u8], opcode: OpCode, last: bool) -> Vec<u8> {
    let mut frame = match opcode {
        OpCode::Control(_) => Frame::ping(payload.to_vec()),
        data => Frame::message(payload.to_vec(), data, last),
    };
    frame.header_mut().mask = Some([1, 2, 3, 4]);
    let mut bytes = Vec::new();
    frame.format(&mut bytes).unwrap();
    bytes
}

fn request(id: &str, method: &str, params: &str) -> String {
    format!(r#"{{"type":"req","id":"{id}","method":"{method}","params":{params}}}"#)
}

const TEXT: OpCode = OpCode::Data(Data::Text);
const MORE: OpCode = OpCode::Data(Data::Continue);

/// A socket that has sent nothing yet.
fn dial(server: &Server) -> TcpStream {
    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    socket
}

#[test]
fn frames_cut_anywhere_and_fragmented_messages() {
    let home = Home::fix();
    let server = home.start();
    let mut admin = server.admin();
    let mut client = server.connect(&Offer::new().token("T1").scopes(READ));
    // A whole one that will be answered tells that the half after it is in the gateway's hands.
    let frame = bytes(request("half", "health", "{}").as_bytes(), TEXT, true);
    for (n, cut) in [1, 2, 5, 6, 7, frame.len() / 2, frame.len() - 1].into_iter().enumerate() {
        let whole = bytes(request(&format!("w{n}"), "health", "{}").as_bytes(), TEXT, true);
        client.raw().write_all(&[&whole[..], &frame[..cut]].concat()).unwrap();
        client.answer(&format!("w{n}")).unwrap();
        server.restart(&mut admin);
        client.raw().write_all(&frame[cut..]).unwrap();
        client.answer("half").unwrap();
    }
    // Three fragments, a ping within, a restart after each.
    let message = request("pieces", "health", "{}");
    let (a, b, c) = (&message.as_bytes()[..9], &message.as_bytes()[9..20], &message.as_bytes()[20..]);
    let ping = bytes(b"are you there", OpCode::Control(Control::Ping), true);
    for piece in [bytes(a, TEXT, false), bytes(b, MORE, false), ping, bytes(c, MORE, true)] {
        client.raw().write_all(&piece).unwrap();
        server.restart(&mut admin);
    }
    let mut pongs = 0;
    loop {
        match client.message().unwrap() {
            Message::Pong(data) => {
                assert_eq!(&data[..], b"are you there");
                pongs += 1;
            }
            Message::Text(answer) if answer.contains(r#""id":"pieces""#) => break,
            _ => {}
        }
    }
    assert_eq!(pongs, 1);
    // A ping alone, and the restart right behind it.
    for _ in 0..20 {
        client.send_ping();
        server.restart(&mut admin);
        while !matches!(client.message().unwrap(), Message::Pong(_)) {}
    }
}

#[test]
fn megabytes_unsent_to_a_slow_reader() {
    let home = Home::fix();
    let server = home.start();
    let mut admin = server.admin();
    // What the journal keeps about peers filled up, so that each answer is large.
    for _ in 0..200 {
        server.admin();
    }
    let mut slow = server.connect(&Offer::new().token("T1").scopes(READ));
    let asked: Vec<String> = (0..350).map(|_| slow.ask("logs.tail", r#"{"limit":5000}"#)).collect();
    for _ in 0..4 {
        server.restart(&mut admin);
    }
    let mut bytes = 0;
    for id in &asked {
        let answer = slow.answer(id).unwrap();
        bytes += json(&answer).len();
    }
    slow.ok("health", "{}");
    println!("{} answers, {:.1} MB, in order, through 4 restarts", asked.len(), bytes as f64 / 1e6);
    assert!(bytes > 5 << 20, "{bytes}");
}

#[test]
fn a_handshake_at_every_stage() {
    let home = Home::fix();
    let server = home.start();
    let mut admin = server.admin();
    let head = format!(
        "GET / HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        home.port
    );
    // The head of the request in two halves.
    let mut socket = dial(&server);
    socket.write_all(&head.as_bytes()[..40]).unwrap();
    server.restart(&mut admin);
    socket.write_all(&head.as_bytes()[40..]).unwrap();
    let mut answer = vec![0; 12];
    socket.read_exact(&mut answer).unwrap();
    assert_eq!(answer, b"HTTP/1.1 101");
    // Connected, and nothing said yet.
    let mut silent = dial(&server);
    server.restart(&mut admin);
    silent.write_all(head.as_bytes()).unwrap();
    silent.read_exact(&mut answer).unwrap();
    assert_eq!(answer, b"HTTP/1.1 101");
    // Challenged; then its connect in two halves.
    let device = Device::new();
    let offer = Offer::device(&device).token("T1").scopes(READ);
    let mut client = server.socket();
    server.restart(&mut admin);
    let frame = bytes(client.connect_frame(&offer).as_bytes(), TEXT, true);
    client.raw().write_all(&frame[..frame.len() / 2]).unwrap();
    server.restart(&mut admin);
    client.raw().write_all(&frame[frame.len() / 2..]).unwrap();
    let hello = client.frame().unwrap();
    assert_eq!(text(&hello, "payload.type"), "hello-ok", "{}", json(&hello));
    client.ok("health", "{}");
    // Attached only once.
    let status = admin.ok("status", "{}");
    assert_eq!(number(&status, "barnacle.connections"), 2);
}

#[test]
fn plain_http_keeps_its_connection() {
    let home = Home::fix();
    let server = home.start();
    let mut admin = server.admin();
    let mut socket = dial(&server);
    let get = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut ask = |cut: usize, admin: &mut Client| {
        socket.write_all(&get.as_bytes()[..cut]).unwrap();
        server.restart(admin);
        socket.write_all(&get.as_bytes()[cut..]).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(br#"{"ok":true,"status":"live"}"#) {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    };
    for cut in [0, 1, 10, get.len() - 1, get.len()] {
        ask(cut, &mut admin);
    }
}

#[test]
fn an_invocation_continues() {
    let home = Home::fix();
    let server = home.start();
    // The caller's answers may come whenever; it asks for nothing else.
    let (mut admin, mut caller) = (server.admin(), server.admin());
    let device = Device::new();
    let mut node = server.connect(&Offer::node(&device, &["camera"]).token("T1"));
    admin.ok("node.pair.approve", &format!(r#"{{"requestId":"{}"}}"#, device.id()));
    let invoke = |ms: u64, key: &str| {
        format!(
            r#"{{"nodeId":"{}","command":"camera","timeoutMs":{ms},"idempotencyKey":"{key}"}}"#,
            device.id()
        )
    };
    let ids: Vec<String> =
        (0..3).map(|n| caller.ask("node.invoke", &invoke(60_000, &n.to_string()))).collect();
    let late = caller.ask("node.invoke", &invoke(1500, "late"));
    server.restart(&mut admin);
    server.restart(&mut admin);
    for n in 0..3 {
        let asked = node.event("node.invoke.request");
        let id = text(&asked, "payload.id");
        let done = format!(r#"{{"id":"{id}","nodeId":"{}","ok":true,"payload":"picture {n}"}}"#, device.id());
        assert!(!flag(&node.ok("node.invoke.result", &done), "ignored"));
        server.restart(&mut admin);
    }
    for (n, id) in ids.iter().enumerate() {
        let answer = caller.answer(id).unwrap();
        assert_eq!(text(&answer, "payload"), format!("picture {n}"));
    }
    // Its time limit still counts.
    let error = caller.answer(&late).unwrap_err();
    assert_eq!(text(&error, "details.code"), "TIMEOUT");
    // A caller waits for a node that leaves after the restart.
    let gone = caller.ask("node.invoke", &invoke(60_000, "gone"));
    node.event("node.invoke.request");
    server.restart(&mut admin);
    drop(node);
    let error = caller.answer(&gone).unwrap_err();
    assert_eq!(text(&error, "details.code"), "NOT_CONNECTED");
}

#[test]
fn frames_before_a_close_are_read() {
    let home = Home::fix();
    let server = home.start();
    let mut admin = server.admin();
    let device = Device::new();
    let mut client = server.connect(&Offer::device(&device).token("T1").scopes(READ));
    // It has much to read before them, and reads nothing yet.
    let asked: Vec<String> = (0..2000).map(|_| client.ask("logs.tail", r#"{"limit":5000}"#)).collect();
    client.ask("health", "{}");
    admin.ok("device.pair.remove", &format!(r#"{{"deviceId":"{}"}}"#, device.id()));
    server.restart(&mut admin);
    let mut answered = 0;
    let close = loop {
        match client.frame() {
            Ok(frame) if text(&frame, "type") == "res" => answered += 1,
            Ok(_) => {}
            Err(close) => break close,
        }
    };
    assert_eq!(close.0, 1008, "after {answered} of {} answers", asked.len());
    assert!(close.1.starts_with("device removed"), "{close:?}");
    // A refused connect, too.
    let client = server.socket();
    let refused = client.offer(&Offer::new().token("wrong").scopes(ADMIN)).err().unwrap();
    server.restart(&mut admin);
    assert_eq!(refused.code(), "AUTH_TOKEN_MISMATCH");
}
