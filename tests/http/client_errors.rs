//! The HTTP client with peers that do not behave: each error is one of its own, and its text says what to do.

use crate::{
    peer::{Made, Peer, SHORT, patient, request},
    wire::free_port,
};
use barnacle::internals::{
    outbound::{Body, DialError, Limits, RequestError, TlsError, Url, http},
    reactor::block_on,
    tls::{Files, Trust},
};
use hyper::Request;
use smol::stream;
use std::{
    io::{self, Write},
    net::TcpListener,
    path::PathBuf,
};

/// The error of a request whose whole body is asked for.
#[track_caller]
fn error(url: &Url, trust: &Trust, limits: &Limits) -> RequestError {
    let answered = block_on(async {
        http::request(url, trust, limits, Request::new(Body::Empty)).await?.bytes(1 << 20).await
    });
    answered.unwrap().map(|body| String::from_utf8_lossy(&body).into_owned()).expect_err("an error")
}

#[track_caller]
fn tls_error(url: &Url, trust: &Trust) -> TlsError {
    match error(url, trust, &patient()) {
        RequestError::Dial(DialError::Tls(peer, e)) => {
            assert!(peer.starts_with("127.0.0."), "{peer}");
            e
        }
        e => panic!("{e:?}"),
    }
}

#[track_caller]
fn tells(e: &dyn std::fmt::Display, words: &[&str]) {
    let text = e.to_string();
    words.iter().for_each(|word| assert!(text.contains(word), "{word:?} is not in {text:?}"));
}

/// The error of a peer that says this, and closes the connection.
#[track_caller]
fn said(bytes: impl Into<Vec<u8>>) -> RequestError {
    error(&Peer::says(bytes).url("http", "/"), &Trust::Authorities, &patient())
}

#[test]
fn no_such_host() {
    let url = Url::parse("http://no-such-host.invalid:1/").unwrap();
    let e = error(&url, &Trust::Authorities, &patient());
    assert!(matches!(e, RequestError::Dial(DialError::NoAddress(..))), "{e:?}");
    tells(&e, &["no-such-host.invalid", "DNS"]);
}

#[test]
fn nobody_listens() {
    let url = Url::parse(&format!("http://localhost:{}/", free_port())).unwrap();
    let e = error(&url, &Trust::Authorities, &patient());
    assert!(matches!(e, RequestError::Dial(DialError::Refused(_))), "{e:?}");
    tells(&e, &["refused", "correct host and port"]);
}

#[test]
fn a_peer_that_never_shakes_hands() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("https://127.0.0.1:{}/", listener.local_addr().unwrap().port())).unwrap();
    let e = error(&url, &Trust::Authorities, &Limits { connect: SHORT, ..patient() });
    assert!(matches!(e, RequestError::Dial(DialError::Slow(_, SHORT))), "{e:?}");
    tells(&e, &["no connection within 100ms", "firewall"]);
}

#[test]
fn a_peer_that_falls_silent() {
    let heads = ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"];
    for head in heads {
        let mut open = Vec::new();
        let peer = Peer::plain(move |mut socket| {
            request(&mut socket);
            socket.write_all(head.as_bytes()).unwrap();
            open.push(socket);
        });
        let limits = Limits { idle: Some(SHORT), ..patient() };
        let e = error(&peer.url("http", "/"), &Trust::Authorities, &limits);
        assert!(matches!(e, RequestError::Idle(SHORT)), "{head:?}: {e:?}");
        tells(&e, &["nothing came for 100ms", "Try again"]);
    }
}

#[test]
fn a_peer_that_never_ends() {
    let peer = Peer::plain(|mut socket| {
        request(&mut socket);
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        // So much that there is always something to read.
        while socket.write_all(&[b'x'; 1 << 16]).is_ok() {}
    });
    let answered = block_on(async {
        let limits = Limits { deadline: Some(SHORT), ..patient() };
        let url = peer.url("http", "/");
        let mut answer = http::request(&url, &Trust::Authorities, &limits, Request::new(Body::Empty)).await?;
        while answer.chunk().await?.is_some() {}
        Ok::<_, RequestError>(())
    });
    let e = answered.unwrap().unwrap_err();
    assert!(matches!(e, RequestError::Deadline(SHORT)), "{e:?}");
    tells(&e, &["100ms", "more time"]);
}

#[test]
fn a_head_that_is_too_large() {
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(100 << 10));
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(100 << 10));
    for head in [long, format!("HTTP/1.1 200 OK\r\n{many}\r\n"), endless] {
        let start = head[..30].to_owned();
        let e = said(head);
        assert!(matches!(e, RequestError::HeadTooLarge(_)), "{start:?}: {e:?}");
        tells(&e, &["65536 bytes"]);
    }
}

#[test]
fn an_answer_that_is_cut() {
    for head in [
        "",
        "HTTP/1.1 200 OK\r\nContent-",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
    ] {
        let e = said(head);
        assert!(matches!(e, RequestError::Cut), "{head:?}: {e:?}");
        tells(&e, &["closed the connection", "try again"]);
    }
}

#[test]
fn a_body_that_ends_with_the_connection_is_whole_only_if_tls_says_so() {
    let made = Made::new();
    let whole = Peer::tls(&made.files, |socket| {
        request(socket);
        socket.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall").unwrap();
    });
    let body = block_on(async {
        let url = whole.url("https", "/");
        http::request(&url, &made.ca(), &patient(), Request::new(Body::Empty)).await?.bytes(9).await
    });
    assert_eq!(body.unwrap().unwrap(), b"all");
    // The same, and the peer's last word of TLS is missing.
    let config = made.files.clone();
    let cut = Peer::tls(&config, |socket| {
        request(socket);
        socket.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall").unwrap();
        socket.flush().unwrap();
        panic!("gone without close_notify");
    });
    let e = error(&cut.url("https", "/"), &made.ca(), &patient());
    assert!(matches!(e, RequestError::Cut), "{e:?}");
}

#[test]
fn an_answer_that_is_no_http() {
    for bytes in
        ["SSH-2.0-OpenSSH_9.9\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "\x15\x03\x03\x00\x02\x02\x46\r\n\r\n"]
    {
        let e = said(bytes);
        assert!(matches!(e, RequestError::NotHttp(_)), "{bytes:?}: {e:?}");
        tells(&e, &["no HTTP/1.1", "https://"]);
    }
}

#[test]
fn a_body_that_is_larger_than_asked_for() {
    let peer = Peer::says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let answered = block_on(async {
        let url = peer.url("http", "/");
        http::request(&url, &Trust::Authorities, &patient(), Request::new(Body::Empty)).await?.bytes(4).await
    });
    let e = answered.unwrap().unwrap_err();
    assert!(matches!(e, RequestError::BodyTooLarge(4)), "{e:?}");
}

#[test]
fn a_body_whose_source_fails() {
    let peer = Peer::says("");
    let failing = stream::once(Err(io::Error::other("the disk is gone")));
    let mut asked = Request::new(Body::stream(failing));
    *asked.method_mut() = hyper::Method::POST;
    let url = peer.url("http", "/");
    let e = block_on(http::request(&url, &Trust::Authorities, &patient(), asked)).unwrap().err().unwrap();
    assert!(matches!(e, RequestError::Source(_)), "{e:?}");
    tells(&e, &["the disk is gone"]);
}

#[test]
fn a_certificate_of_nobody_who_is_trusted() {
    let made = Made::new();
    let peer = Peer::tls(&made.files, |socket| drop(request(socket)));
    let other = Made::new();
    // Another key of the same name, and this host's own authorities.
    for trust in [other.ca(), Trust::Authorities] {
        let e = tls_error(&peer.url("https", "/"), &trust);
        assert!(matches!(e, TlsError::UnknownIssuer | TlsError::BadCertificate(_)), "{e:?}");
        tells(&e, &["certificate", "fingerprint"]);
    }
}

#[test]
fn a_certificate_for_another_name() {
    let made = Made::new();
    let peer = Peer::tls(&made.files, |socket| drop(request(socket)));
    let url = Url::parse(&format!("https://127.0.0.2:{}/", peer.at.port())).unwrap();
    let e = tls_error(&url, &made.ca());
    assert!(matches!(e, TlsError::WrongName(..)), "{e:?}");
    tells(&e, &["not for 127.0.0.2", "localhost", "use one of its names"]);
}

#[test]
fn a_certificate_that_is_not_the_pinned_one() {
    let made = Made::new();
    let peer = Peer::tls(&made.files, |socket| drop(request(socket)));
    let expected = "ab".repeat(32);
    let e = tls_error(&peer.url("https", "/"), &Trust::Only(expected.clone()));
    assert_eq!(e, TlsError::WrongFingerprint(made.fingerprint.clone(), expected.clone()));
    tells(&e, &[&made.fingerprint, &expected, "pin the new"]);
}

#[test]
fn a_certificate_that_has_expired() {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/http");
    let files =
        Files { cert: here.join("expired-cert.pem"), key: here.join("expired-key.pem"), generate: false };
    let peer = Peer::tls(&files, |socket| drop(request(socket)));
    let e = tls_error(&peer.url("https", "/"), &Trust::CaFile(files.cert));
    assert_eq!(e, TlsError::Expired);
    tells(&e, &["expired", "clock"]);
}

#[test]
fn a_file_of_authorities_that_cannot_be_used() {
    let made = Made::new();
    let url = Url::parse(&format!("https://127.0.0.1:{}/", free_port())).unwrap();
    for file in [made.files.cert.with_extension("none"), made.files.key.clone()] {
        let e = tls_error(&url, &Trust::CaFile(file.clone()));
        assert!(matches!(&e, TlsError::Roots(path, _) if *path == file), "{e:?}");
        tells(&e, &[file.to_str().unwrap(), "PEM"]);
    }
}

#[test]
fn a_port_without_tls() {
    let peer = Peer::says("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    // It answers what it takes for a request once it sees the end of a head; or at once.
    let eager = Peer::plain(|mut socket| drop(socket.write_all(b"220 mail.example ESMTP\r\n")));
    let _ = peer;
    let e = tls_error(&eager.url("https", "/"), &Trust::Authorities);
    assert_eq!(e, TlsError::NotTls);
    tells(&e, &["no TLS", "http://"]);
}

#[test]
fn a_peer_that_speaks_older_tls_only() {
    // The alert protocol_version, as such a peer answers (RFC 8446 §6.2).
    let peer = Peer::plain(|mut socket| {
        let mut hello = [0; 5];
        io::Read::read_exact(&mut socket, &mut hello).unwrap();
        let mut rest = vec![0; usize::from(u16::from_be_bytes([hello[3], hello[4]]))];
        io::Read::read_exact(&mut socket, &mut rest).unwrap();
        socket.write_all(&[0x15, 3, 3, 0, 2, 2, 70]).unwrap();
    });
    let e = tls_error(&peer.url("https", "/"), &Trust::Authorities);
    assert_eq!(e, TlsError::TooOld);
    tells(&e, &["TLS 1.3"]);
}
