//! A request under way while the gateway hands over to another process image: finished within the bound, or answered
//! 503, and never dropped without a word.

use crate::{
    server::{Http, post},
    wire::{Home, LONG, Server, number, signal},
};
use std::time::Instant;

/// A request whose body is half there.
fn half_sent(server: &Server) -> Http {
    let mut http = Http::dial(server);
    // The gateway asks for the body once the request is under way.
    http.send(&post("/debug/count", "Content-Length: 8\r\nExpect: 100-continue\r\n"));
    assert_eq!(http.head().0, 100);
    http.send("half");
    http
}

/// An answer that is streamed, and not at its end.
fn streamed(server: &Server) -> Http {
    let mut http = Http::dial(server);
    http.send(&(post("/debug/echo", "Transfer-Encoding: chunked\r\n") + "5\r\nfirst\r\n"));
    assert_eq!(http.head().0, 200);
    assert_eq!(http.chunk(), "first");
    http
}

#[track_caller]
fn restarted(server: &Server) {
    let mut admin = server.admin();
    let end = Instant::now() + LONG;
    while number(&admin.ok("status", "{}"), "barnacle.restarts") == 0 {
        assert!(Instant::now() < end, "it does not restart:\n{}", server.log());
    }
}

#[test]
fn an_upload_is_finished_before_the_restart() {
    let home = Home::fix();
    let server = home.start();
    let mut http = half_sent(&server);
    signal(server.pid(), "USR1");
    server.wait_log(&["waiting for 1 HTTP requests under way"]);
    http.send("half");
    assert_eq!(http.answer().body, "8\n");
    restarted(&server);
    // The connection is there in the next process image, too.
    http.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(http.answer().status, 200);
    assert!(!server.log().contains("not done in time"), "{}", server.log());
}

#[test]
fn an_upload_that_never_ends_is_answered_503() {
    let home = Home::fix();
    let server = home.start();
    let mut client = server.admin();
    let mut http = half_sent(&server);
    let mut other = Http::dial(&server);
    let (code, out, err) = std::thread::scope(|scope| {
        let command = scope.spawn(|| home.run(&["gateway", "restart"]));
        server.wait_log(&["waiting for 1 HTTP requests under way"]);
        // What comes now waits for the next process image, which answers it.
        other.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
        command.join().unwrap()
    });
    assert_eq!(code, 0, "{out}{err}");
    let answer = http.answer();
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.head.contains("retry-after: 1\r\n"), "{}", answer.head);
    assert!(answer.body.contains("ask again"), "{}", answer.body);
    assert_eq!(http.rest(), "");
    assert_eq!(other.answer().status, 200);
    server.wait_log(&["1 HTTP requests were not done in time: answered 503"]);
    client.ok("health", "{}");
}

#[test]
fn a_streamed_answer_is_finished_before_the_restart() {
    let home = Home::fix();
    let server = home.start();
    let mut http = streamed(&server);
    let mut client = server.admin();
    signal(server.pid(), "USR1");
    server.wait_log(&["waiting for 1 HTTP requests under way"]);
    // Who is attached is served meanwhile: were they held, this answer would come once the stream is cut.
    client.ok("health", "{}");
    http.send("4\r\nlast\r\n0\r\n\r\n");
    assert_eq!((http.chunk().as_str(), http.chunk().as_str()), ("last", ""));
    restarted(&server);
    assert!(!server.log().contains("not done in time"), "{}", server.log());
}

#[test]
fn a_streamed_answer_that_never_ends_is_seen_to_be_cut() {
    let home = Home::fix();
    let server = home.start();
    let mut http = streamed(&server);
    signal(server.pid(), "USR1");
    restarted(&server);
    // No last chunk: the reader sees that this was not all.
    assert_eq!(http.rest(), "");
    server.wait_log(&["1 HTTP answers were not done in time: cut"]);
}

#[cfg(feature = "tls")]
#[test]
fn by_tls_it_is_answered_before_the_connection_ends() {
    use barnacle::internals::tls::{Certificate, Trust, secure};
    use std::{
        io::{Read, Write},
        net::TcpStream,
    };
    let home = Home::empty();
    home.gateway(r#"auth:{mode:"token",token:"T1"},tls:{enabled:true}"#);
    let server = home.start();
    let cert = home.dir.join(".openclaw/gateway/tls/gateway-cert.pem");
    let trust = Trust::Only(Certificate::fingerprint_in(&cert).unwrap());
    let socket = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    let mut http = secure(socket, "127.0.0.1", &trust).unwrap();
    http.write_all(post("/debug/count", "Content-Length: 8\r\nExpect: 100-continue\r\n").as_bytes()).unwrap();
    let mut answer = vec![0; 25];
    http.read_exact(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 100 "), "{}", String::from_utf8_lossy(&answer));
    http.write_all(b"half").unwrap();
    signal(server.pid(), "USR1");
    let mut answer = String::new();
    http.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 1\r\n"), "{answer}");
    server.wait_log(&["restarted (SIGUSR1)"]);
}

#[test]
fn a_stop_answers_too() {
    let home = Home::fix();
    let server = home.start();
    let mut http = half_sent(&server);
    signal(server.pid(), "TERM");
    let answer = http.answer();
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.head.contains("retry-after: 1\r\n"), "{}", answer.head);
    server.stop();
}
