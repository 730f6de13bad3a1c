//! The head of a request: what is accepted, and what is refused with a reason.

use crate::wire::{Home, LONG, Server};
use std::{
    io::{Read, Write},
    net::TcpStream,
};

const UPGRADE: &str = "Upgrade: websocket\r\n";
const CONNECTION: &str = "Connection: Upgrade\r\n";
const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const NGINX: &str = "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";";

fn dial(server: &Server) -> TcpStream {
    let socket = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    socket
}

/// The whole answer to a GET with these headers, up to the end of the connection.
fn answer(server: &Server, headers: &str) -> String {
    let mut socket = dial(server);
    // A refusal may come before all is sent.
    let _ = socket.write_all(format!("GET / HTTP/1.1\r\nHost: x\r\n{headers}\r\n").as_bytes());
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn h34_an_upgrade_that_cannot_be_one_is_told_what_is_missing() {
    let home = Home::fix();
    let server = home.start();
    for (headers, status, words) in [
        (format!("{UPGRADE}{CONNECTION}{KEY}Sec-WebSocket-Version: 8\r\n"), 426, "13 (RFC 6455)"),
        (format!("{UPGRADE}{CONNECTION}{KEY}"), 426, "13 (RFC 6455)"),
        (format!("Connection: close\r\n{VERSION}{KEY}"), 426, "lacks the header Upgrade: websocket"),
        (
            format!("{UPGRADE}Connection: close\r\n{VERSION}{KEY}"),
            426,
            "lacks the header Connection: Upgrade",
        ),
    ] {
        let lines = server.log().lines().count();
        let answer = answer(&server, &headers);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{headers}: {answer}");
        assert!(answer.contains(words), "{headers}: {answer}");
        match words.contains("13") {
            true => assert!(answer.contains("\r\nSec-WebSocket-Version: 13\r\n"), "{answer}"),
            false => assert!(answer.contains(NGINX), "{answer}"),
        }
        let line = server.wait_new(lines, &["refused an HTTP request"]);
        assert!(line.contains("127.0.0.1") && line.contains(words), "{line}");
        assert_eq!(server.log().lines().skip(lines).count(), 1, "{}", server.log());
    }
}

#[test]
fn h35_long_heads_are_accepted_and_longer_ones_refused_with_a_text() {
    let home = Home::fix();
    let server = home.start();
    let upgrade = format!("{UPGRADE}{CONNECTION}{VERSION}{KEY}");
    let cookie = |bytes: usize| format!("Cookie: {}\r\n", "c".repeat(bytes));
    let many = |n: usize| (0..n).map(|n| format!("X-{n}: y\r\n")).collect::<String>();
    for headers in [cookie(32_000), many(120)] {
        let plain = answer(&server, &format!("{headers}Connection: close\r\n"));
        assert!(plain.starts_with("HTTP/1.1 200 "), "{plain}");
        let mut socket = dial(&server);
        write!(socket, "GET / HTTP/1.1\r\nHost: x\r\n{headers}{upgrade}\r\n").unwrap();
        let mut first = [0; 12];
        socket.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 101");
    }
    for headers in [cookie(33 << 10), many(200), cookie(200 << 10)] {
        for headers in [headers.clone(), headers + &upgrade] {
            let answer = answer(&server, &headers);
            assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
            assert!(answer.contains("32 KiB") && answer.contains("cookies"), "{answer}");
        }
    }
    assert!(server.wait_log(&["refused an HTTP request from 127.0.0.1"]).contains("32 KiB"));
    // Later on a connection, too.
    let mut socket = dial(&server);
    let lines = server.log().lines().count();
    write!(socket, "GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n{}\r\n", many(200))
        .unwrap();
    let mut both = String::new();
    socket.read_to_string(&mut both).unwrap();
    assert!(both.starts_with("HTTP/1.1 200 ") && both.contains("HTTP/1.1 431 "), "{both}");
    server.wait_new(lines, &["refused an HTTP request"]);
}

#[test]
fn what_is_no_http_is_told_so() {
    let home = Home::fix();
    let server = home.start();
    let mut socket = dial(&server);
    socket.write_all(b"SSH-2.0-OpenSSH_9.9\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("no HTTP/1.1 request"), "{answer}");
}

#[test]
fn h7_silence_between_two_requests_ends_the_connection() {
    let home = Home::fix();
    let server = home.start();
    // LONG is less than what it once was, 60 s.
    let mut sockets = [dial(&server), dial(&server)];
    for (socket, more) in sockets.iter_mut().zip(["", "GET /heal"]) {
        write!(socket, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n{more}").unwrap();
    }
    for socket in &mut sockets {
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    }
}
