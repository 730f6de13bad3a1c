//! `gateway.tls`: the port speaks TLS and nothing else while the configuration asks for it, with the certificate that
//! is on disk; a change closes no connection. What it costs is in `benches/`.

#![cfg(feature = "tls")]

use crate::wire::{
    ADMIN, Client, Device, Home, LONG, Offer, READ, Server, flag, json, list, number, signal, text,
};
use barnacle::internals::tls::{Certificate, Files, Trust};
use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::Instant,
};

/// A home whose gateway has this `gateway.tls`.
fn home(tls: &str) -> Home {
    let home = Home::empty();
    tells(&home, tls);
    home
}

fn tells(home: &Home, tls: &str) {
    home.gateway(&format!(r#"auth:{{mode:"token",token:"T1"}},tls:{tls}"#));
}

fn at(server: &Server) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], server.port))
}

/// A certificate and its key, made in `dir` of the home.
fn certificate(home: &Home, dir: &str) -> (PathBuf, PathBuf, Trust) {
    let dir = home.dir.join(dir);
    let files = Files { cert: dir.join("cert.pem"), key: dir.join("key.pem"), generate: true };
    let made = Certificate::make(&files).unwrap();
    (files.cert, files.key, Trust::Only(made.fingerprint().into()))
}

/// What the gateway has made at OpenClaw's own place.
fn made(home: &Home) -> Trust {
    let file = home.dir.join(".openclaw/gateway/tls/gateway-cert.pem");
    Trust::Only(Certificate::fingerprint_in(&file).expect("a certificate"))
}

#[track_caller]
fn by_tls(server: &Server, trust: &Trust, offer: &Offer<'_>) -> Client {
    Client::connect_tls(at(server), trust, offer)
        .unwrap_or_else(|r| panic!("{} {:?}\n{}", json(&r.error), r.close, server.log()))
}

fn admin(server: &Server, trust: &Trust) -> Client {
    by_tls(server, trust, &Offer::new().token("T1").scopes(ADMIN))
}

/// Waits until `wanted` is so.
#[track_caller]
fn wait(server: &Server, wanted: impl Fn() -> bool) {
    let end = Instant::now() + LONG;
    while !wanted() {
        assert!(Instant::now() < end, "{}", server.log());
    }
}

#[test]
fn a_certificate_is_made_once() {
    let home = home("{enabled:true}");
    let server = home.start();
    let dir = home.dir.join(".openclaw/gateway/tls");
    for name in ["gateway-cert.pem", "gateway-key.pem"] {
        assert_eq!(fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    let trust = made(&home);
    let Trust::Only(fingerprint) = &trust else { panic!() };
    assert!(server.log().contains(&format!("SHA-256 fingerprint {fingerprint}")), "{}", server.log());
    let mut device = Device::new();
    let mut client = by_tls(&server, &trust, &Offer::device(&device).token("T1").scopes(ADMIN));
    device.token = Some(client.device_token());
    // More than a record, and more than the socket takes at once, both ways.
    let long = "x".repeat(3 << 20);
    let output = client.err(&format!("no.{long}"), "{}");
    assert!(json(&output).len() > 3 << 20 || !text(&output, "code").is_empty(), "{}", json(&output));
    let status = client.ok("status", "{}");
    assert_eq!(text(&status, "barnacle.tls.fingerprintSha256"), *fingerprint);
    let before = fs::read(dir.join("gateway-cert.pem")).unwrap();
    drop(client);
    server.stop();
    let server = home.start();
    by_tls(&server, &trust, &Offer::device(&device));
    assert_eq!(fs::read(dir.join("gateway-cert.pem")).unwrap(), before);
    // Of two that belong together one is no reason to make another.
    server.stop();
    fs::rename(dir.join("gateway-cert.pem"), dir.join("mine")).unwrap();
    let server = home.start();
    assert_eq!(server.get("/health").0, 503);
    assert!(server.log().contains("gateway-key.pem exists and"), "{}", server.log());
    fs::rename(dir.join("mine"), dir.join("gateway-cert.pem")).unwrap();
    wait(&server, || Client::connect_tls(at(&server), &trust, &Offer::device(&device)).is_ok());
    // The power went between the two.
    server.kill();
    fs::rename(dir.join("gateway-cert.pem"), dir.join("gateway-cert.pem.new")).unwrap();
    let server = home.start();
    by_tls(&server, &trust, &Offer::device(&device));
    assert_eq!(fs::read(dir.join("gateway-cert.pem")).unwrap(), before);
}

#[test]
fn plain_text_on_a_tls_port_is_answered() {
    let home = home("{enabled:true}");
    let server = home.start_with(&[], &[("OPENCLAW_HANDSHAKE_TIMEOUT_MS", "300")]);
    let (status, body) = server.get("/");
    assert_eq!(status, 400);
    assert!(body.contains("wss://"), "{body}");
    let refused = server.try_connect(&Offer::new().token("T1")).err().expect("no TLS, no connection");
    assert!(json(&refused.error).contains("400"), "{}", json(&refused.error));
    // Another certificate than the one that is trusted.
    let wrong = Trust::Only("ab".repeat(32));
    let refused = Client::connect_tls(at(&server), &wrong, &Offer::new().token("T1")).err().unwrap();
    assert!(json(&refused.error).contains("fingerprint"), "{}", json(&refused.error));
    // Who says nothing, half a word, or too much of it, is closed; nobody waits for them.
    let hello = [0x16, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc];
    let mut closed: Vec<_> = [&b""[..], &hello[..3], &[hello.as_slice(), &vec![0; 40 << 10]].concat()]
        .into_iter()
        .map(|output| {
            let mut socket = TcpStream::connect(at(&server)).unwrap();
            socket.set_read_timeout(Some(LONG)).unwrap();
            let _ = socket.write_all(output);
            socket
        })
        .collect();
    let trust = made(&home);
    admin(&server, &trust).ok("health", "{}");
    for socket in &mut closed {
        match socket.read_to_end(&mut Vec::new()) {
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => panic!("it is not closed"),
            _ => {}
        }
    }
    admin(&server, &trust).ok("health", "{}");
}

#[test]
fn switching_tls_closes_no_connection() {
    let home = home("{enabled:false}");
    let server = home.start();
    let devices: Vec<_> = (0..5).map(|_| Device::pair(&server, READ)).collect();
    let mut plain: Vec<_> = devices.iter().map(|device| server.connect(&Offer::device(device))).collect();
    let mut watch = server.admin();
    let planned = watch.ok("config.plan", &raw(&home, "{enabled:true}"));
    assert_eq!(
        (text(&planned, "applies"), list(&planned, "closes").len()),
        ("TLS of new connections".into(), 0)
    );
    tells(&home, "{enabled:true}");
    server.wait_log(&["applied: TLS of new connections"]);
    let trust = made(&home);
    let mut secured: Vec<_> =
        devices.iter().map(|device| by_tls(&server, &trust, &Offer::device(device))).collect();
    assert_eq!(server.get("/health").0, 400);
    plain.iter_mut().chain(&mut secured).for_each(|client| drop(client.ok("health", "{}")));
    tells(&home, "{enabled:false}");
    wait(&server, || server.log().matches("applied: TLS of new connections").count() == 2);
    assert_eq!(server.get("/health").0, 200);
    plain.iter_mut().chain(&mut secured).for_each(|client| drop(client.ok("health", "{}")));
    assert_eq!(server.log().matches("0 connections closed").count(), 2, "{}", server.log());
    assert!(!flag(&watch.ok("status", "{}"), "barnacle.tls.enabled"));
}

/// The parameters of `config.plan` for this `gateway.tls`.
fn raw(home: &Home, tls: &str) -> String {
    let text = format!(
        r#"{{gateway:{{mode:\"local\",bind:\"loopback\",port:{},auth:{{mode:\"token\",token:\"T1\"}},tls:{tls}}}}}"#,
        home.port
    );
    format!(r#"{{"raw":"{text}"}}"#)
}

#[test]
fn a_renewed_certificate_is_used_for_new_connections() {
    let home = home("{}");
    let (cert, key, first) = certificate(&home, "a");
    let (new_cert, new_key, second) = certificate(&home, "b");
    tells(&home, &format!("{{enabled:true,certPath:{cert:?},keyPath:{key:?}}}"));
    let server = home.start();
    let mut early = admin(&server, &first);
    // One of the two is not yet the other's: what was shown before still is.
    fs::copy(&new_cert, &cert).unwrap();
    let line = server.wait_log(&["is not the key of the certificate"]);
    assert!(line.contains("gateway.tls.keyPath") && line.contains(key.to_str().unwrap()), "{line}");
    admin(&server, &first);
    assert!(json(&early.ok("status", "{}")).contains("is not the key of the certificate"));
    fs::copy(&new_key, &key).unwrap();
    server
        .wait_log(&["configuration reloaded: ~ gateway.tls.certPath", "gateway.tls.certPath · applied: TLS"]);
    let mut late = admin(&server, &second);
    assert!(Client::connect_tls(at(&server), &first, &Offer::new().token("T1")).is_err());
    let status = early.ok("status", "{}");
    assert!(!json(&status).contains("is not the key of the certificate"), "{}", json(&status));
    // Gone: none is made in its place, and the next process image is not given one that has none.
    fs::remove_file(&cert).unwrap();
    fs::remove_file(&key).unwrap();
    server.wait_log(&["cert.pem is gone; until it is fixed"]);
    admin(&server, &second);
    let refused = late.err("gateway.restart.request", "{}");
    assert!(text(&refused, "message").contains("cert.pem is gone"), "{}", json(&refused));
    assert!(!cert.exists() && !key.exists());
    early.ok("health", "{}");
}

#[test]
fn a_start_without_certificate_files_refuses_everybody() {
    let home = home("{}");
    let (cert, key, trust) = certificate(&home, "a");
    let (_, other, _) = certificate(&home, "b");
    let nothing = home.dir.join("nothing");
    let garbage = home.dir.join("garbage");
    fs::write(&garbage, "-----BEGIN CERTIFICATE-----\n").unwrap();
    for (cert, key, generate, report) in [
        (&cert, &nothing, true, "nothing is missing. Put it there"),
        (&nothing, &nothing, false, "gateway.tls.autoGenerate is false"),
        (&garbage, &key, true, "gateway.tls.certPath: "),
        (&cert, &garbage, true, "gateway.tls.keyPath: "),
        (&home.dir, &key, true, "it is no file"),
        (&cert, &other, true, "is not the key of the certificate"),
    ] {
        tells(&home, &format!("{{enabled:true,autoGenerate:{generate},certPath:{cert:?},keyPath:{key:?}}}"));
        let server = home.start();
        let (status, body) = server.get("/health");
        assert_eq!(status, 503, "{report}");
        assert!(body.contains(report), "{report}: {body}");
        assert!(server.log().contains("nobody is let in"), "{}", server.log());
        assert!(server.try_connect(&Offer::new().token("T1")).is_err());
        server.stop();
    }
    tells(&home, "{enabled:\"true\"}");
    let server = home.start();
    assert_eq!(server.get("/health").0, 503);
    // Fixed, and nothing has to be restarted for it.
    tells(&home, &format!("{{enabled:true,certPath:{cert:?},keyPath:{key:?}}}"));
    wait(&server, || Client::connect_tls(at(&server), &trust, &Offer::new().token("T1")).is_ok());
    // Without TLS before, and it cannot be had: as before.
    tells(&home, "{enabled:false}");
    wait(&server, || server.get("/health").0 == 200);
    tells(&home, &format!("{{enabled:true,certPath:{cert:?},keyPath:{other:?}}}"));
    server.wait_log(&["the gateway goes on with ws:// as before"]);
    server.admin().ok("health", "{}");
}

#[test]
fn a_restart_closes_tls_connections_with_notice() {
    let home = home("{enabled:false}");
    let server = home.start();
    let device = Device::pair(&server, READ);
    let mut plain = server.connect(&Offer::device(&device).scopes(READ));
    tells(&home, "{enabled:true}");
    server.wait_log(&["applied: TLS of new connections"]);
    let trust = made(&home);
    let mut secured: Vec<_> = (0..3).map(|_| admin(&server, &trust)).collect();
    // One that has not attached, and one that reads nothing.
    let challenged = Client::open_over(at(&server), Some(&trust), "/", &[]).unwrap();
    signal(server.pid(), "USR1");
    for client in &mut secured {
        let event = client.event("shutdown");
        assert_eq!(number(&event, "payload.restartExpectedMs"), 500);
        assert_eq!(client.closed(), (1012, "gateway restarting".into()));
        // At once: it waits in the backlog for the next process image.
        let mut again = admin(&server, &trust);
        assert_eq!(number(&again.ok("status", "{}"), "barnacle.restarts"), 1);
    }
    plain.ok("health", "{}");
    drop(challenged);
    assert!(server.log().contains("3 TLS connections cannot be handed over"), "{}", server.log());
    // The command says how many it closed; its own is one of them.
    let (code, out, err) = home.run(&["gateway", "restart"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("1 connection kept") && out.contains("1 TLS connection closed"), "{out}");
    plain.ok("health", "{}");
    // Where nothing comes of it, everybody is let in again.
    let mut own = admin(&server, &trust);
    let closes = own.ok("gateway.restart.request", r#"{"reason":"test"}"#);
    assert_eq!(number(&closes, "closes"), 1);
    assert_eq!(own.closed().0, 1012);
}

#[test]
fn the_command_line_trusts_the_certificate_of_its_own_gateway() {
    let home = home("{enabled:true}");
    let server = home.start();
    let Trust::Only(fingerprint) = made(&home) else { panic!() };
    let (code, out, err) = home.run(&["status"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("wss://127.0.0.1") && out.contains(&fingerprint), "{out}");
    let (code, out, err) = home.run(&["gateway", "status", "--require-rpc"]);
    assert!(code == 0 && out.contains(&format!("TLS: fingerprint {fingerprint}")), "{out}{err}");
    let url = format!("wss://127.0.0.1:{}", server.port);
    let elsewhere = Home::empty();
    let run = |more: &[&str]| elsewhere.run(&[&["health", "--url", &url, "--token", "T1"], more].concat());
    let upper = fingerprint.to_uppercase();
    let pairs = upper.as_bytes().chunks(2).map(|b| String::from_utf8_lossy(b).into_owned());
    let colons = pairs.collect::<Vec<_>>().join(":");
    assert_eq!(run(&["--tls-fingerprint", &colons]).0, 0);
    let (code, _, err) = run(&["--tls-fingerprint", &"0".repeat(64)]);
    assert!(code == 3 && err.contains(&fingerprint), "{code} {err}");
    assert_eq!(run(&["--tls-fingerprint", "0"]).0, 2);
    assert_eq!(run(&[]).0, 3, "nobody vouches for it");
    elsewhere.config(&format!(
        r#"{{gateway:{{mode:"remote",remote:{{url:"{url}",token:"T1",tlsFingerprint:"sha256:{fingerprint}"}}}}}}"#
    ));
    let (code, _, err) = elsewhere.run(&["health"]);
    assert_eq!(code, 0, "{err}");
}
