//! The WebSocket client: with the gateway itself, and with peers that do not behave.

use crate::{
    peer::{Peer, SHORT, patient, request},
    wire::{Home, json, text},
};
use async_tungstenite::tungstenite::{self, Message, protocol::WebSocketConfig};
use barnacle::internals::{
    outbound::{Limits, Url, WebSocketError, websocket::WebSocket},
    reactor::block_on,
    tls::{Certificate, Trust},
};
use smol::future;
use std::net::TcpStream;

/// Takes messages of up to so many bytes.
const LIMIT: usize = 64 << 10;

async fn open(url: &Url, trust: &Trust, limits: &Limits) -> Result<WebSocket, WebSocketError> {
    WebSocket::open(url, trust, limits, &[("Origin", "http://localhost:1")], LIMIT).await
}

/// What a peer's WebSocket does.
fn peer(serve: impl Fn(&mut tungstenite::WebSocket<TcpStream>) + Send + 'static) -> Peer {
    Peer::plain(move |socket| {
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let mut socket = tungstenite::accept_with_config(socket, Some(config)).unwrap();
        serve(&mut socket);
    })
}

fn next(peer: &Peer, limits: &Limits) -> Result<Message, WebSocketError> {
    let url = peer.url("ws", "/");
    block_on(async { open(&url, &Trust::Authorities, limits).await?.next().await }).unwrap()
}

#[test]
fn a_gateway_challenges() {
    let home = Home::empty();
    home.gateway(r#"auth:{mode:"token",token:"T1"},tls:{enabled:true}"#);
    let by_tls = home.start();
    let cert = home.dir.join(".openclaw/gateway/tls/gateway-cert.pem");
    let pin = Trust::Only(Certificate::fingerprint_in(&cert).unwrap());
    let plain_home = Home::fix();
    let plain = plain_home.start();
    for (url, trust) in [
        (format!("ws://localhost:{}/", plain.port), Trust::Authorities),
        (format!("wss://127.0.0.1:{}/", by_tls.port), pin),
        (format!("wss://127.0.0.1:{}/", by_tls.port), Trust::CaFile(cert)),
    ] {
        let url = Url::parse(&url).unwrap();
        block_on(async {
            let mut socket = open(&url, &trust, &patient()).await.unwrap();
            let challenge = socket.next().await.unwrap().into_text().unwrap();
            let challenge = miniserde::json::from_str(&challenge).unwrap();
            assert_eq!(text(&challenge, "event"), "connect.challenge", "{}", json(&challenge));
            let frame = r#"{"type":"req","id":"1","method":"health","params":{}}"#;
            socket.send(Message::text(frame)).await.unwrap();
            let refused = socket.next().await.unwrap().into_text().unwrap();
            assert!(refused.contains(r#""ok":false"#), "{refused}");
            match socket.next().await {
                Err(WebSocketError::Closed(1008, reason)) => assert!(!reason.is_empty()),
                other => panic!("{other:?}"),
            }
        })
        .unwrap();
    }
}

#[test]
fn messages_both_ways_and_pings_between() {
    let peer = peer(|socket| {
        socket.send(Message::Ping(vec![1].into())).unwrap();
        assert_eq!(socket.read().unwrap(), Message::Pong(vec![1].into()));
        socket.send(Message::text("first")).unwrap();
        assert_eq!(socket.read().unwrap().len(), 1 << 20);
        socket.send(Message::binary(vec![7; LIMIT])).unwrap();
        let close = socket.read().unwrap();
        assert!(matches!(&close, Message::Close(Some(f)) if f.reason == "done"), "{close:?}");
        let _ = socket.flush();
    });
    let url = peer.url("ws", "/");
    block_on(async {
        let mut socket = open(&url, &Trust::Authorities, &patient()).await.unwrap();
        // One that is given up on again and again loses nothing.
        let first = loop {
            match future::poll_once(socket.next()).await {
                Some(first) => break first.unwrap(),
                None => future::yield_now().await,
            }
        };
        assert_eq!(first, Message::text("first"));
        socket.send(Message::text("x".repeat(1 << 20))).await.unwrap();
        assert_eq!(socket.next().await.unwrap().len(), LIMIT);
        socket.close(1000, "done").await.unwrap();
    })
    .unwrap();
}

#[test]
fn an_upgrade_that_is_refused() {
    let peer = Peer::says("HTTP/1.1 401 Unauthorized\r\nContent-Length: 12\r\n\r\nno such key\n");
    let e = next(&peer, &patient()).unwrap_err();
    assert!(matches!(&e, WebSocketError::Refused(401, _)), "{e:?}");
    assert!(e.to_string().contains("401"), "{e}");
    let e = next(&Peer::says("SSH-2.0-OpenSSH\r\n\r\n"), &patient()).unwrap_err();
    assert!(matches!(&e, WebSocketError::NotWebSocket(_)), "{e:?}");
    let e = next(&Peer::says("HTTP/1.1 101"), &patient()).unwrap_err();
    assert!(matches!(&e, WebSocketError::Cut), "{e:?}");
}

#[test]
fn a_peer_that_falls_silent() {
    let limits = Limits { idle: Some(SHORT), ..patient() };
    // Before the upgrade, and after it.
    let mut open_sockets = Vec::new();
    let mute = Peer::plain(move |mut socket| {
        request(&mut socket);
        open_sockets.push(socket);
    });
    let upgraded = peer(|socket| {
        // Until the client is gone.
        let _ = socket.read();
    });
    for peer in [mute, upgraded] {
        let e = next(&peer, &limits).unwrap_err();
        assert!(matches!(e, WebSocketError::Idle(SHORT)), "{e:?}");
        assert!(e.to_string().contains("Connect again"), "{e}");
    }
}

#[test]
fn what_the_client_sends_is_no_sign_of_life_of_the_peer() {
    let deaf = peer(|socket| while socket.read().is_ok() {});
    let url = deaf.url("ws", "/");
    let e = block_on(async {
        let limits = Limits { idle: Some(SHORT), ..patient() };
        let mut socket = open(&url, &Trust::Authorities, &limits).await.unwrap();
        loop {
            if let Err(e) = socket.send(Message::text("hello")).await {
                return e;
            }
            if let Some(Err(e)) = future::poll_once(socket.next()).await {
                return e;
            }
            future::yield_now().await;
        }
    });
    assert!(matches!(e.unwrap(), WebSocketError::Idle(SHORT)));
}

#[test]
fn a_message_that_is_too_large() {
    let peer = peer(|socket| {
        let _ = socket.send(Message::binary(vec![7; LIMIT + 1]));
        let _ = socket.read();
    });
    let e = next(&peer, &patient()).unwrap_err();
    assert!(matches!(e, WebSocketError::TooLarge(LIMIT)), "{e:?}");
}

#[test]
fn a_connection_that_is_cut() {
    let e = next(&peer(|_| {}), &patient()).unwrap_err();
    assert!(matches!(e, WebSocketError::Cut), "{e:?}");
}
