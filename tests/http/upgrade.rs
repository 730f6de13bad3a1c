//! WebSockets that are plain data: the upgrade, and what goes through the wire after it, each with a real peer.

use crate::{
    peer::{Made, Peer, SHORT, Socket, patient, request},
    wire::{Home, LONG},
};
use async_tungstenite::tungstenite::{self, handshake::derive_accept_key, protocol::WebSocketConfig};
use barnacle::internals::{
    net::{
        Wire,
        message::{Message, ReadError},
    },
    outbound::{Limits, Url, WebSocketError, open_wire},
    reactor::{Async, block_on},
    tls::Trust,
};
use std::{
    future::poll_fn,
    io::{Read, Write},
    rc::Rc,
    sync::mpsc,
    task::Poll,
    thread,
    time::{Duration, Instant},
};

/// Takes messages of up to so many bytes.
const LIMIT: usize = 2 << 20;

async fn open(url: &Url, trust: &Trust) -> Rc<Wire> {
    open_wire(url, trust, &patient(), &[], LIMIT).await.unwrap()
}

/// The next message, while what is unsent goes out.
async fn next(wire: &Wire) -> Result<Message, ReadError> {
    poll_fn(|cx| match wire.poll_drain(cx) {
        Poll::Ready(Err(_)) => Poll::Ready(Err(ReadError::Gone)),
        _ => wire.poll_message(cx),
    })
    .await
}

/// Opens a wire to `peer` and hands on what comes of it.
fn refused(peer: &Peer, limits: &Limits, headers: &[(&str, &str)]) -> WebSocketError {
    let url = peer.url("ws", "/");
    let opened = block_on(open_wire(&url, &Trust::Authorities, limits, headers, LIMIT)).unwrap();
    opened.map(drop).unwrap_err()
}

/// Sends every message back.
fn echo(socket: &mut dyn Socket) {
    let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
    let Ok(mut socket) = tungstenite::accept_with_config(socket, Some(config)) else { return };
    while let Ok(message) = socket.read() {
        if message.is_text() {
            let _ = socket.send(message);
        }
    }
}

/// Answers an upgrade as it is to be, with `more` in the same write; the head of the request.
fn upgrade(socket: &mut (impl Read + Write + ?Sized), more: &[u8]) -> String {
    let head = request(socket);
    let mut answer = answer(&head, "").into_bytes();
    answer.extend_from_slice(more);
    socket.write_all(&answer).unwrap();
    head
}

/// The answer that accepts this upgrade, with more headers.
fn answer(head: &str, more: &str) -> String {
    let accept = derive_accept_key(header(head, "sec-websocket-key")[0].as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
    )
}

/// The values of a header in the head of a request.
fn header<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
}

/// Reads a short frame of a client: its first byte, its mask and what it says.
fn frame(socket: &mut impl Read) -> (u8, [u8; 4], Vec<u8>) {
    let mut head = [0; 6];
    socket.read_exact(&mut head).unwrap();
    let [first, length, mask @ ..] = head;
    assert!((128..128 + 126).contains(&length), "masked and short: {length}");
    let mut payload = vec![0; usize::from(length - 128)];
    socket.read_exact(&mut payload).unwrap();
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    (first, mask, payload)
}

/// Has every message echoed, large ones too, and leaves in good order.
fn echoes(url: &Url, trust: &Trust) {
    block_on(async {
        let wire = open(url, trust).await;
        assert_eq!(wire.is_tls(), url.is_tls());
        for length in [0, 1, 125, 126, 65_535, 65_536, 70_000, LIMIT] {
            let text: String = ('a'..='z').cycle().take(length).collect();
            wire.send_text(&text);
            assert!(next(&wire).await == Ok(Message::Text(text)), "{length} bytes");
        }
        assert_eq!(wire.unsent(), 0);
        wire.send_ping();
        assert_eq!(next(&wire).await, Ok(Message::Pong));
        wire.close(4003, "done");
        assert_eq!(next(&wire).await, Ok(Message::Close(Some(4003))));
        // The peer may have been faster.
        let _ = wire.end();
        assert_eq!(next(&wire).await, Err(ReadError::Gone));
    })
    .unwrap();
}

#[test]
fn messages_of_all_sizes_both_ways() {
    let peer = Peer::plain(|mut socket| echo(&mut socket));
    echoes(&peer.url("ws", "/"), &Trust::Authorities);
}

#[test]
fn messages_of_all_sizes_both_ways_by_tls() {
    let made = Made::new();
    let peer = Peer::tls(&made.files, echo);
    echoes(&peer.url("wss", "/"), &made.ca());
    echoes(&peer.url("wss", "/"), &Trust::Only(made.fingerprint.clone()));
    let e = block_on(open_wire(&peer.url("wss", "/"), &Trust::Authorities, &patient(), &[], LIMIT)).unwrap();
    assert!(matches!(e.map(drop), Err(WebSocketError::Dial(_))));
}

#[test]
fn a_gateway_challenges_a_wire() {
    let home = Home::fix();
    let gateway = home.start();
    let url = Url::parse(&format!("ws://127.0.0.1:{}", gateway.port)).unwrap();
    block_on(async {
        let wire = open(&url, &Trust::Authorities).await;
        let Ok(Message::Text(challenge)) = next(&wire).await else { panic!("no challenge") };
        assert!(challenge.contains("connect.challenge"), "{challenge}");
        wire.send_text(r#"{"type":"req","id":"1","method":"health","params":{}}"#);
        let Ok(Message::Text(refused)) = next(&wire).await else { panic!("no answer") };
        assert!(refused.contains(r#""ok":false"#), "{refused}");
        assert_eq!(next(&wire).await, Ok(Message::Close(Some(1008))));
    })
    .unwrap();
}

#[test]
fn what_comes_in_pieces_and_with_the_head() {
    let (seen, said) = mpsc::channel();
    let peer = Peer::plain(move |mut socket| {
        socket.set_nodelay(true).unwrap();
        upgrade(&mut socket, b"\x81\x05first\x01\x02tw");
        for byte in b"\x89\x04ping\x00\x00\x80\x01o\x82\x01\xff\x8a\x00" {
            socket.write_all(&[*byte]).unwrap();
            thread::sleep(Duration::from_millis(2));
        }
        seen.send(frame(&mut socket)).unwrap();
        socket.write_all(b"\x88\x06\x0f\xa1late").unwrap();
        seen.send(frame(&mut socket)).unwrap();
    });
    block_on(async {
        let wire = open(&peer.url("ws", "/"), &Trust::Authorities).await;
        assert_eq!(next(&wire).await, Ok(Message::Text("first".into())));
        let ping = next(&wire).await;
        assert_eq!(ping, Ok(Message::Ping(b"ping".to_vec())));
        assert_eq!(next(&wire).await, Ok(Message::Text("two".into())));
        assert_eq!(next(&wire).await, Ok(Message::Binary(vec![0xff])));
        assert_eq!(next(&wire).await, Ok(Message::Pong));
        wire.send_pong(b"ping");
        assert_eq!(next(&wire).await, Ok(Message::Close(Some(4001))));
        wire.close(4001, "");
        assert_eq!(next(&wire).await, Err(ReadError::Gone));
    })
    .unwrap();
    let (first, _, payload) = said.recv().unwrap();
    assert_eq!((first, &payload[..]), (0x8a, &b"ping"[..]));
    let (first, _, payload) = said.recv().unwrap();
    assert_eq!((first, &payload[..]), (0x88, &b"\x0f\xa1"[..]));
}

#[test]
fn each_frame_has_a_mask_of_its_own() {
    let (seen, said) = mpsc::channel();
    let peer = Peer::plain(move |mut socket| {
        upgrade(&mut socket, b"");
        (0..200).for_each(|_| seen.send(frame(&mut socket)).unwrap());
    });
    block_on(async {
        let wire = open(&peer.url("ws", "/"), &Trust::Authorities).await;
        (0..200).for_each(|_| wire.send_text("the same"));
        assert_eq!(next(&wire).await, Err(ReadError::Gone));
    })
    .unwrap();
    let frames: Vec<_> = said.iter().take(200).collect();
    assert_eq!(frames.len(), 200);
    assert!(frames.iter().all(|(first, _, payload)| *first == 0x81 && payload == b"the same"));
    let mut masks: Vec<_> = frames.iter().map(|(_, mask, _)| *mask).collect();
    masks.sort_unstable();
    masks.dedup();
    assert!(masks.len() > 195, "{}", masks.len());
}

#[test]
fn a_peer_that_breaks_the_protocol() {
    for (bytes, error) in [
        (&b"\x81\x81\x01\x02\x03\x04y"[..], ReadError::Protocol("a masked frame")),
        (&b"\xc1\x01x"[..], ReadError::Protocol("a reserved bit is set")),
        (&b"\x81\x02\xc3\x28"[..], ReadError::NotUtf8),
        (&b"\x81\x7f\0\0\0\0\0\x20\0\x01"[..], ReadError::TooLarge(LIMIT)),
        (&b"\x81\x05cut"[..], ReadError::Gone),
    ] {
        let (seen, said) = mpsc::channel();
        let peer = Peer::plain(move |mut socket| {
            upgrade(&mut socket, bytes);
            let _ = socket.shutdown(std::net::Shutdown::Write);
            seen.send(frame(&mut socket)).unwrap();
        });
        block_on(async {
            let wire = open(&peer.url("ws", "/"), &Trust::Authorities).await;
            assert_eq!(next(&wire).await, Err(error));
            wire.close(error.code(), "why");
        })
        .unwrap();
        let (first, _, payload) = said.recv().unwrap();
        assert_eq!(
            (first, &payload[..2], &payload[2..]),
            (0x88, &error.code().to_be_bytes()[..], &b"why"[..])
        );
    }
}

#[test]
fn a_wire_goes_on_where_another_ended() {
    let (go, gone) = mpsc::channel::<()>();
    let (seen, said) = mpsc::channel();
    let peer = Peer::plain(move |mut socket| {
        upgrade(&mut socket, b"\x01\x02on\x80\x06e, t");
        gone.recv().unwrap();
        socket.write_all(b"wo\x81\x01x").unwrap();
        seen.send([frame(&mut socket), frame(&mut socket)]).unwrap();
    });
    block_on(async {
        let wire = open(&peer.url("ws", "/"), &Trust::Authorities).await;
        assert_eq!(smol::future::poll_once(next(&wire)).await, None);
        let mut output = b"\x81\x82\x01\x02\x03\x04".to_vec();
        output.extend([b'u' ^ 1, b'n' ^ 2]);
        let (input, unsent) = wire.copy();
        assert_eq!((&input[..], &unsent[..]), (&b"\x01\x02on\x80\x06e, t"[..], &b""[..]));
        let socket = Async::new(wire.socket().get_ref().try_clone().unwrap()).unwrap();
        drop(wire);
        let wire = Wire::client(socket, None, input, output, LIMIT);
        go.send(()).unwrap();
        assert_eq!(next(&wire).await, Ok(Message::Text("one, two".into())));
        assert_eq!(next(&wire).await, Ok(Message::Text("x".into())));
        wire.send_text("sent");
        assert_eq!(next(&wire).await, Err(ReadError::Gone));
    })
    .unwrap();
    let [(_, _, first), (_, _, second)] = said.recv().unwrap();
    assert_eq!((&first[..], &second[..]), (&b"un"[..], &b"sent"[..]));
}

#[test]
fn the_request_and_the_headers_that_replace_its_own() {
    let (seen, heads) = mpsc::channel();
    let peer = Peer::plain(move |mut socket| seen.send(upgrade(&mut socket, b"")).unwrap());
    let authority = format!("127.0.0.1:{}", peer.at.port());
    let ask = |headers: &[(&str, &str)]| {
        let url = peer.url("ws", "/gateway?x=y");
        block_on(open_wire(&url, &Trust::Authorities, &patient(), headers, LIMIT)).unwrap().unwrap();
        heads.recv().unwrap()
    };
    let head = ask(&[]);
    assert!(head.starts_with("GET /gateway?x=y HTTP/1.1\r\n"), "{head}");
    assert_eq!(header(&head, "host"), [&authority]);
    assert_eq!(header(&head, "upgrade"), ["websocket"]);
    assert_eq!(header(&head, "connection"), ["Upgrade"]);
    assert_eq!(header(&head, "sec-websocket-version"), ["13"]);
    assert!(header(&head, "origin").is_empty(), "{head}");
    let other = ask(&[("hOST", "pi.example:1"), ("Origin", "http://pi.example"), ("X-A", "1"), ("x-a", "2")]);
    assert_eq!(header(&other, "host"), ["pi.example:1"]);
    assert_eq!(header(&other, "origin"), ["http://pi.example"]);
    assert_eq!(header(&other, "x-a"), ["1", "2"]);
    let key = |head: &str| header(head, "sec-websocket-key")[0].to_owned();
    assert!(key(&head).len() == 24 && key(&head) != key(&other), "{head}{other}");
    for wrong in [
        &[("Host", "a"), ("host", "b")][..],
        &[("Upgrade", "h2c")],
        &[("Sec-WebSocket-Key", "x")],
        &[("X", "a\r\nY: b")],
        &[("X Y", "a")],
    ] {
        let e = refused(&peer, &patient(), wrong);
        assert!(matches!(&e, WebSocketError::BadRequest(_)), "{wrong:?}: {e:?}");
    }
}

/// Whoever answers an upgrade with what `answer` makes of the request, and closes.
fn answers(answer: impl Fn(&str) -> String + Send + 'static) -> WebSocketError {
    let peer = Peer::plain(move |mut socket| {
        let head = request(&mut socket);
        let _ = socket.write_all(answer(&head).as_bytes());
        // The client closes first: what it did not read yet is not lost by a reset.
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let _ = socket.read(&mut [0]);
    });
    refused(&peer, &patient(), &[("Sec-WebSocket-Protocol", "v1, v2")])
}

#[test]
fn answers_that_accept_nothing() {
    let changed = |from: &'static str, to: &'static str| {
        let e = answers(move |head| {
            let right = answer(head, "");
            let wrong = right.replace(from, to);
            assert_ne!(right, wrong);
            wrong
        });
        assert!(matches!(&e, WebSocketError::NotWebSocket(_)), "{to}: {e:?}");
        e.to_string()
    };
    changed("upgrade: WebSocket", "upgrade: h2c");
    changed("keep-alive, Upgrade", "keep-alive");
    assert!(changed("Sec-WebSocket-Accept: ", "Sec-WebSocket-Accept: x").contains("Accept"));
    assert!(changed("Sec-WebSocket-Accept: ", "X-Other: ").contains("Accept"));
    assert!(changed("\r\n\r\n", "\r\nSec-WebSocket-Accept: x\r\n\r\n").contains("Accept"));
    assert!(
        changed("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n").contains("deflate")
    );
    assert!(changed("\r\n\r\n", "\r\nSec-WebSocket-Protocol: v3\r\n\r\n").contains("v3"));
    changed("HTTP/1.1 101", "SSH-2.0-OpenSSH");
    let e = answers(|head| answer(head, &format!("X-Long: {}\r\n", "x".repeat(16 << 10))));
    assert!(matches!(&e, WebSocketError::NotWebSocket(why) if why.contains("16384")), "{e:?}");
    let e = answers(|_| format!("HTTP/1.1 101 Switching Protocols\r\nX-Endless: {}", "x".repeat(20 << 10)));
    assert!(matches!(&e, WebSocketError::NotWebSocket(why) if why.contains("16384")), "{e:?}");
    assert!(matches!(answers(|_| "HTTP/1.1 101 Swi".into()), WebSocketError::Cut));
    let chosen = Peer::plain(|mut socket| {
        let head = request(&mut socket);
        socket.write_all(answer(&head, "Sec-WebSocket-Protocol: v2\r\n").as_bytes()).unwrap();
    });
    let headers = [("sec-websocket-protocol", "v1, v2")];
    let url = chosen.url("ws", "/");
    assert!(block_on(open_wire(&url, &Trust::Authorities, &patient(), &headers, LIMIT)).unwrap().is_ok());
}

#[test]
fn refusals_say_why() {
    for (answer, status, line) in [
        ("401 No\r\nContent-Length: 18\r\n\r\nno such key\nfor you", 401, "no such key"),
        ("403 No\r\nContent-Length: 7\r\n\r\nno, you", 403, "no, you"),
        ("503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nlater\r\n0\r\n\r\n", 503, "later"),
        ("404 Not Found\r\nContent-Length: 0\r\n\r\n", 404, ""),
    ] {
        let peer = Peer::plain(move |mut socket| {
            request(&mut socket);
            write!(socket, "HTTP/1.1 {answer}").unwrap();
            // The client closes first: it knows where the body ends.
            let _ = socket.read(&mut [0]);
        });
        let before = Instant::now();
        let e = refused(&peer, &patient(), &[]);
        assert!(matches!(&e, WebSocketError::Refused(s, l) if (*s, &l[..]) == (status, line)), "{e:?}");
        assert!(before.elapsed() < LONG, "{status}");
    }
    let e = answers(|_| "HTTP/1.1 200 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello".into());
    assert!(matches!(&e, WebSocketError::Refused(200, line) if line == "hello"), "{e:?}");
}

#[test]
fn peers_that_take_their_time() {
    let limits = Limits { idle: Some(SHORT), ..patient() };
    let mute = Peer::plain(|mut socket| while !request(&mut socket).is_empty() {});
    assert!(matches!(refused(&mute, &limits, &[]), WebSocketError::Idle(SHORT)));
    let deadline = Limits { deadline: Some(SHORT), ..patient() };
    assert!(matches!(refused(&mute, &deadline, &[]), WebSocketError::Deadline(SHORT)));
    // One that never falls silent, and never comes to the end.
    let dribble = Peer::plain(|mut socket| {
        request(&mut socket);
        let mut bytes = b"HTTP/1.1 101 Switching Protocols\r\nX: ".iter().chain(std::iter::repeat(&b'x'));
        while bytes.next().is_some_and(|byte| socket.write_all(&[*byte]).is_ok()) {
            thread::sleep(SHORT / 5);
        }
    });
    assert!(matches!(refused(&dribble, &limits, &[]), WebSocketError::Deadline(SHORT)));
}
