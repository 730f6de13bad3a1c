//! The HTTP client with peers that behave.

use crate::{
    peer::{Made, Peer, patient, request},
    wire::{Home, LONG},
};
use barnacle::internals::{
    outbound::{
        Body, RequestError,
        http::{self, Answer, Connection},
    },
    reactor::block_on,
    tls::Trust,
};
use hyper::{Request, body::Bytes};
use smol::{channel, stream};
use std::{
    io::{self, Read, Write},
    sync::mpsc,
};

fn get() -> Request<Body> {
    Request::new(Body::Empty)
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_request_and_its_answer() {
    let (seen, head) = mpsc::channel();
    let peer = Peer::plain(move |mut socket| {
        seen.send(request(&mut socket)).unwrap();
        socket.write_all(b"HTTP/1.1 201 Created\r\nX-Kind: t\r\nContent-Length: 5\r\n\r\nhello").unwrap();
    });
    let url = peer.url("http", "/v1/x?y=z#none");
    let mut asked = get();
    asked.headers_mut().insert("authorization", "Bearer b".parse().unwrap());
    let (status, kind, body) = block_on(async {
        let mut answer = http::request(&url, &Trust::Authorities, &patient(), asked).await.unwrap();
        let body = answer.bytes(5).await.unwrap();
        (answer.status.as_u16(), answer.headers["x-kind"].clone(), body)
    })
    .unwrap();
    assert_eq!((status, kind.as_bytes(), &body[..]), (201, &b"t"[..], &b"hello"[..]));
    let head = head.recv().unwrap();
    assert!(head.starts_with("GET /v1/x?y=z HTTP/1.1\r\n"), "{head}");
    let lower = head.to_ascii_lowercase();
    assert!(lower.contains(&format!("host: 127.0.0.1:{}\r\n", peer.at.port())), "{head}");
    assert!(lower.contains("authorization: bearer b\r\n") && !lower.contains("accept-encoding"), "{head}");
}

#[test]
fn by_tls_with_a_ca_file_or_a_pin() {
    let made = Made::new();
    let peer = Peer::tls(&made.files, |socket| {
        request(socket);
        let body = "x".repeat(200_000);
        let _ = write!(socket, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        // The client closes first.
        let _ = socket.read(&mut [0]);
    });
    for (trust, url) in [
        (made.ca(), format!("https://localhost:{}/", peer.at.port())),
        (made.ca(), format!("https://127.0.0.1:{}/", peer.at.port())),
        // A pin holds whatever the name is.
        (Trust::Only(made.fingerprint.clone()), format!("https://127.0.0.2:{}/", peer.at.port())),
    ] {
        let url = barnacle::internals::outbound::Url::parse(&url).unwrap();
        let body = block_on(async {
            let mut answer = http::request(&url, &trust, &patient(), get()).await.unwrap();
            answer.bytes(200_000).await.unwrap()
        });
        assert_eq!(body.unwrap().len(), 200_000, "{url}");
    }
}

/// Sends events, each once the client says that it has seen the one before.
fn trickle(socket: &mut (impl Write + ?Sized), seen: &mpsc::Receiver<()>) {
    socket
        .write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        )
        .unwrap();
    for n in 0..5 {
        let event = format!("data: {n}\n\n");
        write!(socket, "{:x}\r\n{event}\r\n", event.len()).unwrap();
        socket.flush().unwrap();
        seen.recv_timeout(LONG).unwrap();
    }
    socket.write_all(b"0\r\n\r\n").unwrap();
}

async fn events(mut answer: Answer, see: mpsc::Sender<()>) -> String {
    let mut all = Vec::new();
    while let Some(chunk) = answer.chunk().await.unwrap() {
        all.extend_from_slice(&chunk);
        see.send(()).unwrap();
    }
    text(all)
}

#[test]
fn a_stream_of_events_arrives_event_by_event() {
    let expected: String = (0..5).map(|n| format!("data: {n}\n\n")).collect();
    let (see, seen) = mpsc::channel();
    let peer = Peer::plain(move |mut socket| {
        request(&mut socket);
        trickle(&mut socket, &seen);
    });
    let url = peer.url("http", "/");
    let answer = async {
        events(http::request(&url, &Trust::Authorities, &patient(), get()).await.unwrap(), see).await
    };
    assert_eq!(block_on(answer).unwrap(), expected);
    let made = Made::new();
    let (see, seen) = mpsc::channel();
    let peer = Peer::tls(&made.files, move |socket| {
        request(socket);
        trickle(socket, &seen);
    });
    let url = peer.url("https", "/");
    let answer =
        async { events(http::request(&url, &made.ca(), &patient(), get()).await.unwrap(), see).await };
    assert_eq!(block_on(answer).unwrap(), expected);
}

#[test]
fn a_body_is_sent_as_it_is_made() {
    let (took, taken) = channel::unbounded();
    let peer = Peer::plain(move |mut socket| {
        let mut all = request(&mut socket);
        let _ = took.send_blocking(());
        let mut chunk = [0; 64];
        while !all.ends_with("0\r\n\r\n") {
            let n = socket.read(&mut chunk).unwrap();
            assert!(n > 0, "{all}");
            all.push_str(std::str::from_utf8(&chunk[..n]).unwrap());
            let _ = took.send_blocking(());
        }
        assert!(all.to_ascii_lowercase().contains("transfer-encoding: chunked"), "{all}");
        let body = all.split_once("\r\n\r\n").unwrap().1.replace("\r\n", " ");
        write!(socket, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    });
    // Each chunk is made once the peer has something of what came before.
    let chunks = stream::unfold(0, move |n| {
        let taken = taken.clone();
        async move {
            taken.recv().await.unwrap();
            (n < 3).then(|| (Ok::<_, io::Error>(Bytes::from(format!("chunk{n}"))), n + 1))
        }
    });
    let mut asked = Request::new(Body::stream(chunks));
    *asked.method_mut() = hyper::Method::POST;
    let url = peer.url("http", "/");
    let body = block_on(async {
        let mut answer = http::request(&url, &Trust::Authorities, &patient(), asked).await.unwrap();
        text(answer.bytes(1000).await.unwrap())
    });
    assert_eq!(body.unwrap(), "6 chunk0 6 chunk1 6 chunk2 0  ");
}

#[test]
fn a_connection_takes_the_next_request() {
    let peer = Peer::plain(|mut socket| {
        for n in 0..3 {
            if request(&mut socket).is_empty() {
                return;
            }
            let close = if n == 2 { "Connection: close\r\n" } else { "" };
            write!(socket, "HTTP/1.1 200 OK\r\n{close}Content-Length: 1\r\n\r\n{n}").unwrap();
        }
    });
    let url = peer.url("http", "/");
    let (bodies, last) = block_on(async {
        let mut connection = Some(Connection::open(&url, &Trust::Authorities, &patient()).await.unwrap());
        let mut bodies = String::new();
        while let Some(open) = connection.take() {
            let mut answer = open.send(get()).await.unwrap();
            bodies.push_str(&text(answer.bytes(1).await.unwrap()));
            connection = answer.into_connection().await;
        }
        (bodies, connection.is_none())
    })
    .unwrap();
    assert!(last);
    assert_eq!(bodies, "012");
}

#[test]
fn what_is_not_taken_is_not_read() {
    let (full, is_full) = channel::bounded(1);
    let peer = Peer::plain(move |mut socket| {
        request(&mut socket);
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").unwrap();
        socket.set_nonblocking(true).unwrap();
        // Until the socket takes no more, and again no more after the client had its turn.
        let (mut sent, mut refusals) = (0, 0);
        while refusals < 200 {
            match socket.write(&[b'x'; 1 << 16]) {
                Ok(n) => (sent, refusals) = (sent + n, 0),
                Err(_) => {
                    refusals += 1;
                    std::thread::yield_now();
                }
            }
        }
        full.send_blocking(sent).unwrap();
    });
    let url = peer.url("http", "/");
    let (sent, e) = block_on(async {
        let mut answer = http::request(&url, &Trust::Authorities, &patient(), get()).await.unwrap();
        answer.chunk().await.unwrap();
        let sent = is_full.recv().await.unwrap();
        let e = loop {
            match answer.chunk().await {
                Ok(chunk) => assert!(chunk.is_some()),
                Err(e) => break e,
            }
        };
        (sent, e)
    })
    .unwrap();
    assert!(sent < 64 << 20, "{sent} of 1000000000 bytes were taken though nobody asked for them");
    assert!(matches!(e, RequestError::Cut), "{e}");
}

#[test]
fn the_gateway_itself() {
    let home = Home::fix();
    let server = home.start();
    let url = barnacle::internals::outbound::Url::parse(&format!("http://localhost:{}/health", server.port))
        .unwrap();
    let body = block_on(async {
        let mut answer = http::request(&url, &Trust::Authorities, &patient(), get()).await.unwrap();
        text(answer.bytes(100).await.unwrap())
    });
    assert_eq!(body.unwrap(), r#"{"ok":true,"status":"live"}"#);
}
