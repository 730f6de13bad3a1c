//! Plain HTTP as the gateway serves it: pages, bodies with limits, streamed answers.

use crate::wire::{Home, LONG, Server};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
};

/// A connection that reads one answer after the other.
pub struct Http {
    pub socket: BufReader<TcpStream>,
}

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Http {
    pub fn dial(server: &Server) -> Self {
        let socket = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        socket.set_nodelay(true).unwrap();
        Self { socket: BufReader::new(socket) }
    }

    pub fn send(&mut self, text: &str) {
        self.socket.get_mut().write_all(text.as_bytes()).unwrap();
    }

    pub fn head(&mut self) -> (u16, String) {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(self.socket.read_line(&mut head).unwrap() > 0, "ended after {head:?}");
        }
        (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_ascii_lowercase())
    }

    /// The next answer, whose length is declared.
    pub fn answer(&mut self) -> Answer {
        let (status, head) = self.head();
        let length = head.split("content-length: ").nth(1).unwrap_or_else(|| panic!("{head}"));
        let mut body = vec![0; length.split("\r\n").next().unwrap().parse().unwrap()];
        self.socket.read_exact(&mut body).unwrap();
        Answer { status, head, body: String::from_utf8(body).unwrap() }
    }

    /// The next chunk of a chunked body; an empty one is the last.
    pub fn chunk(&mut self) -> String {
        let mut size = String::new();
        assert!(self.socket.read_line(&mut size).unwrap() > 0, "the body is cut");
        let mut data = vec![0; usize::from_str_radix(size.trim(), 16).unwrap() + 2];
        self.socket.read_exact(&mut data).unwrap();
        String::from_utf8(data).unwrap().trim_end_matches("\r\n").into()
    }

    /// Whatever comes until the connection ends.
    pub fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.socket.read_to_string(&mut rest).unwrap();
        rest
    }
}

/// A row of which only builds with `debug_assertions` have any: what else could show a body is not served yet.
pub fn post(path: &str, headers: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n")
}

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

#[test]
fn pages_on_one_connection() {
    let home = Home::fix();
    let server = home.start();
    let mut http = Http::dial(&server);
    for (method, path, status, body) in [
        ("GET", "/health", 200, r#"{"ok":true,"status":"live"}"#),
        ("GET", "/healthz?x", 200, r#"{"ok":true,"status":"live"}"#),
        ("GET", "/readyz", 200, r#"{"ready":true}"#),
        (
            "GET",
            "/api/x",
            404,
            r#"{"error":{"message":"GET /api/x: a path of OpenClaw's that this version of Barnacle does not serve","type":"not_found"}}"#,
        ),
        (
            "POST",
            "/health",
            405,
            r#"{"error":{"message":"/health takes GET alone","type":"method_not_allowed"}}"#,
        ),
    ] {
        http.send(&format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        let answer = http.answer();
        assert_eq!((answer.status, answer.body.as_str()), (status, body), "{method} {path}");
        assert!(answer.head.contains("cache-control: no-store"), "{}", answer.head);
    }
    assert_eq!(http.rest(), "", "a request that may have a body ends the connection");
    let mut http = Http::dial(&server);
    http.send("HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n");
    let (status, head) = http.head();
    assert!(status == 200 && head.contains("content-length: 27"), "{head}");
    http.send("GET /health HTTP/1.0\r\n\r\n");
    assert_eq!(http.answer().status, 200);
    assert_eq!(http.rest(), "");
}

#[test]
fn bodies_and_pages_pipelined() {
    let home = Home::fix();
    let server = home.start();
    let mut http = Http::dial(&server);
    let body = "b".repeat(100_000);
    let long = post("/debug/count", &format!("Content-Length: {}\r\n", body.len()));
    let short = post("/debug/count", "Content-Length: 3\r\n");
    let get = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    // A page reads no body, and what is sent as one is no request either.
    http.send("GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(http.answer().status, 200);
    http.send(&format!("{short}abc{get}{long}{body}{get}{short}abc"));
    for expected in
        ["3\n", r#"{"ok":true,"status":"live"}"#, "100000\n", r#"{"ok":true,"status":"live"}"#, "3\n"]
    {
        let answer = http.answer();
        assert_eq!((answer.status, answer.body.as_str()), (200, expected));
    }
    // One of unknown length is the last.
    http.send(&format!("{}3\r\nabc\r\n0\r\n\r\n", post("/debug/count", CHUNKED)));
    assert_eq!(http.answer().body, "3\n");
    assert_eq!(http.rest(), "");
}

#[test]
fn a_body_over_the_limit_is_refused_at_once_if_it_is_declared() {
    let home = Home::fix();
    let server = home.start();
    let mut http = Http::dial(&server);
    // Nothing of it is sent.
    http.send(&post("/debug/count", "Content-Length: 1048577\r\n"));
    let answer = http.answer();
    assert_eq!(answer.status, 413);
    assert!(answer.body.contains("larger than 1048576 bytes"), "{}", answer.body);
    assert!(answer.head.contains("connection: close"), "{}", answer.head);
    assert_eq!(http.rest(), "");
    // One that just fits.
    let mut http = Http::dial(&server);
    http.send(&post("/debug/count", "Content-Length: 1048576\r\n"));
    http.send(&"x".repeat(1 << 20));
    assert_eq!(http.answer().body, "1048576\n");
}

#[test]
fn a_body_over_the_limit_is_refused_when_it_gets_there() {
    let home = Home::fix();
    let server = home.start();
    let mut http = Http::dial(&server);
    http.send(&post("/debug/count", CHUNKED));
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 16, "x".repeat(1 << 16));
    for _ in 0..17 {
        http.send(&chunk);
    }
    let answer = http.answer();
    assert_eq!(answer.status, 413);
    assert!(answer.body.contains("larger than 1048576 bytes"), "{}", answer.body);
    assert_eq!(http.rest(), "");
}

#[test]
fn a_body_that_comes_too_slowly_is_given_up() {
    let home = Home::fix();
    let server = home.start();
    for half in [post("/debug/hurry", "Content-Length: 9\r\n"), post("/debug/hurry", CHUNKED) + "9\r\nhalf"] {
        let mut http = Http::dial(&server);
        http.send(&half);
        let answer = http.answer();
        assert_eq!(answer.status, 408);
        assert!(answer.body.contains("too slowly: 100ms"), "{}", answer.body);
        assert_eq!(http.rest(), "");
    }
}

#[test]
fn a_body_that_is_cut_leaves_nothing_behind() {
    let home = Home::fix();
    let server = home.start();
    for _ in 0..20 {
        Http::dial(&server).send(&(post("/debug/count", "Content-Length: 9\r\n") + "half"));
    }
    // Where a request was still under way, a restart would wait for it, and say so.
    server.restart(&mut server.admin());
    assert!(!server.log().contains("HTTP requests"), "{}", server.log());
}

#[test]
fn an_answer_is_streamed_while_the_body_comes() {
    let home = Home::fix();
    let server = home.start();
    let mut http = Http::dial(&server);
    http.send(&post("/debug/echo", CHUNKED));
    let (status, head) = http.head();
    assert!(status == 200 && head.contains("transfer-encoding: chunked"), "{head}");
    for n in 0..10 {
        http.send(&format!("6\r\nchunk{n}\r\n"));
        assert_eq!(http.chunk(), format!("chunk{n}"));
    }
    http.send("0\r\n\r\n");
    assert_eq!(http.chunk(), "");
    assert_eq!(http.rest(), "");
}

#[test]
fn a_long_answer_to_a_long_body_comes_whole() {
    let home = Home::fix();
    let server = home.start();
    let mut http = Http::dial(&server);
    http.send(&post("/debug/echo", "Content-Length: 1048576\r\n"));
    let mut writer = http.socket.get_ref().try_clone().unwrap();
    let sender = std::thread::spawn(move || writer.write_all(&[b'x'; 1 << 20]));
    let (status, _) = http.head();
    assert_eq!(status, 200);
    let mut bytes = 0;
    loop {
        match http.chunk().len() {
            0 => break,
            n => bytes += n,
        }
    }
    assert_eq!(bytes, 1 << 20);
    sender.join().unwrap().unwrap();
    // The connection stays open.
    http.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(http.answer().status, 200);
}
