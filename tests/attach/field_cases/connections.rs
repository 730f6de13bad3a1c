//! Starts, stops, the network, and slow clients.

use crate::wire::{Client, Device, Home, LONG, Offer, READ, Server, json, number, own_address, text};
use std::{
    fs,
    net::SocketAddr,
    time::{Duration, Instant},
};

#[test]
fn a13_a52_second_start() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    let before = fs::read(home.tokens()).unwrap();
    home.auth(r#"{mode:"token",token:"T2"}"#);
    let port = home.port.to_string();
    let (code, _, err) = home.run(&["gateway", "--port", &port]);
    assert_eq!(code, 78, "{err}");
    assert!(err.contains(&format!("port {port} is in use by process {} (", server.pid())), "{err}");
    // On another port it is the state directory that is taken, and by whom.
    let other = crate::wire::free_port().to_string();
    let (code, _, err) = home.run(&["gateway", "--port", &other]);
    assert_eq!(code, 78, "{err}");
    assert!(err.contains(&format!("process {}", server.pid())), "{err}");
    assert_eq!(fs::read(home.tokens()).unwrap(), before, "the loser wrote to the store");
    server.connect(&Offer::device(&device)).ok("health", "{}");
}

#[test]
fn a51_killed_and_started() {
    let home = Home::fix();
    let mut server = home.start();
    let device = Device::pair(&server, READ);
    for _ in 0..5 {
        server.kill();
        server = home.start();
        server.connect(&Offer::device(&device));
    }
}

#[test]
fn a33_reconnects_write_nothing_to_disk() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    let commits = |server: &Server| {
        let status = server.admin().ok("status", "{}");
        number(&status, "barnacle.storeCommits")
    };
    let (before, file) = (commits(&server), fs::read(home.tokens()).unwrap());
    for n in 0..100 {
        let scopes: &[&str] = if n % 2 == 0 { READ } else { &[] };
        server.connect(&Offer::device(&device).token(device.token()).scopes(scopes));
    }
    assert_eq!(commits(&server), before);
    assert_eq!(fs::read(home.tokens()).unwrap(), file);
}

#[test]
fn a56_a109_refusals_close_no_other_connection() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    let new = Device::new();
    for offer in [
        Offer::new().token("wrong"),
        Offer::device(&new).remote(),
        Offer::node(&new, &["x"]).remote(),
        Offer { protocol: (1, 2), ..Offer::new() },
        Offer::new().role("king").token("T1"),
        Offer { signature: Some("!".into()), ..Offer::device(&new) },
    ] {
        server.refuse(&offer);
        assert_eq!(server.get("/health").0, 200);
        assert_eq!(server.get("/readyz"), (200, r#"{"ready":true}"#.into()));
    }
    server.connect(&Offer::device(&device)).ok("health", "{}");
}

#[test]
fn a69_b5_b101_slow_clients() {
    let home = Home::fix();
    let server = home.start();
    // What a Pi 5 takes to load the Node CLI, and more: the case itself, not a wait for something else.
    let slow = server.socket();
    std::thread::sleep(Duration::from_secs(12));
    slow.offer(&Offer::new().token("T1")).unwrap();
    drop(server);
    let server = home.start_with(&[], &[("OPENCLAW_HANDSHAKE_TIMEOUT_MS", "300")]);
    let (code, reason) = server.socket().closed();
    assert_eq!(code, 1008);
    assert!(reason.contains("handshake timeout"), "{reason}");
}

#[test]
fn a70_a108_connecting_over_a_restart() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    let at = SocketAddr::from(([127, 0, 0, 1], home.port));
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let knocking = scope.spawn(|| {
            let mut admitted = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                match Client::connect(at, &Offer::device(&device).token(device.token())) {
                    Ok(_) => admitted += 1,
                    Err(refused) => {
                        let code = refused.code();
                        assert!(code.is_empty(), "a restart answered with {code}: {}", json(&refused.error));
                        let known = ["", "UNAVAILABLE"].contains(&refused.get("code").as_str());
                        assert!(known, "{}", json(&refused.error));
                    }
                }
            }
            admitted
        });
        let mut server = server;
        for round in 0..6 {
            if round % 2 == 0 {
                server.stop()
            } else {
                server.kill()
            }
            server = home.start();
            server.connect(&Offer::device(&device));
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(knocking.join().unwrap() > 0);
    });
}

#[test]
fn a80_b65_b147_no_network() {
    let home = Home::fix();
    let server = home.start_unshared(&["-n"], "ip link set lo up", &["--bind", "lan"]);
    server.wait_log(&["0.0.0.0:"]);
}

fn lan(home: &Home) -> Server {
    home.config(&format!(
        "{{gateway:{{mode:\"local\",bind:\"lan\",port:{},auth:{{mode:\"token\",token:\"T1\"}}}}}}",
        home.port
    ));
    home.start()
}

#[test]
fn a85_b71_lan_keeps_loopback() {
    let home = Home::empty();
    let server = lan(&home);
    server.connect(&Offer::new().token("T1"));
    Client::connect(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], home.port)), &Offer::new().token("T1"))
        .unwrap();
}

#[test]
fn a86_a110_b72_own_address_is_local() {
    let home = Home::empty();
    let server = lan(&home);
    // 127.0.0.2 stands in where the host has no network at all.
    let ip = own_address().unwrap_or_else(|| [127, 0, 0, 2].into());
    let device = Device::new();
    let client = Client::connect(SocketAddr::new(ip, home.port), &Offer::device(&device).token("T1"));
    client.unwrap_or_else(|r| panic!("{}", json(&r.error)));
    drop(server);
    // And a loopback bind stays one.
    home.auth(r#"{mode:"token",token:"T1"}"#);
    let _server = home.start();
    if let Some(ip) = own_address() {
        assert!(Client::open(SocketAddr::new(ip, home.port), &[]).is_err());
    }
}

#[test]
fn a115_slow_readers_and_large_frames() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    let mut large = server.connect(&Offer::device(&device));
    let most = number(&large.hello, "policy.maxPayload") as usize;
    // Exactly as announced is taken, one byte more is not.
    let frame = |bytes: usize| {
        let head = r#"{"type":"req","id":"big","method":"health","params":{"pad":""#;
        format!("{head}{}\"}}}}", "x".repeat(bytes - head.len() - 3))
    };
    large.send(&frame(most));
    let message = text(&large.answer("big").unwrap_err(), "message");
    assert!(message.contains("65536"), "{message}");
    large.send(&frame(most + 1));
    let (code, reason) = large.closed();
    assert_eq!(code, 1009);
    assert!(reason.contains(&most.to_string()), "{reason}");
    // One that asks and never reads is closed, with words, and nobody else notices.
    let mut deaf = server.connect(&Offer::device(&device));
    let mut other = server.connect(&Offer::device(&device));
    deaf.raw().set_write_timeout(Some(LONG)).unwrap();
    let begin = Instant::now();
    while !server.log().contains("it does not read what it is sent") {
        for _ in 0..500 {
            deaf.ask("logs.tail", "{}");
        }
        other.ok("health", "{}");
        assert!(begin.elapsed() < LONG, "a client that never reads is kept");
    }
}

#[test]
fn revoked_while_it_connects() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    server.stop();
    let server = home.start_on_slow_disk(Duration::from_secs(1));
    let (mut first, mut second) = (server.admin(), server.admin());
    // A change that is under way, so that the next two go to disk together.
    let params = format!(r#"{{"deviceId":"{}","label":"x"}}"#, device.id());
    let rename = first.ask("device.pair.rename", &params);
    first.ok("health", "{}");
    let of = format!(r#"{{"deviceId":"{}","role":"operator"}}"#, device.id());
    let revoke = second.ask("device.token.revoke", &of);
    second.ok("health", "{}");
    // It asks for more than it has, so it has to wait for the disk too; and then it is revoked.
    let wider = Offer::device(&device).scopes(&["operator.read", "operator.write"]).remote();
    match server.try_connect(&wider) {
        Ok(mut client) => assert_eq!(client.closed().0, 1008, "a revoked device is attached"),
        Err(refused) => assert!(!refused.get("code").is_empty()),
    }
    first.answer(&rename).unwrap();
    second.answer(&revoke).unwrap();
    let list = second.ok("device.pair.list", "{}");
    assert_eq!(text(&list, "paired.0.connected"), "false", "{}", json(&list));
    second.terminate();
}

#[test]
fn a117_b112_a_slow_disk_holds_nobody_up() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    server.stop();
    let server = home.start_on_slow_disk(Duration::from_secs(1));
    let mut admin = server.admin();
    let mut other = server.connect(&Offer::device(&device));
    let rename =
        admin.ask("device.pair.rename", &format!(r#"{{"deviceId":"{}","label":"Kitchen"}}"#, device.id()));
    let begin = Instant::now();
    let mut answered = 0;
    while begin.elapsed() < Duration::from_millis(500) {
        other.ok("health", "{}");
        answered += 1;
    }
    assert!(answered > 10, "{answered} answers while the disk was busy");
    // The connection that waits is answered too, out of order.
    let health = admin.ask("health", "{}");
    let first = admin.frame().unwrap();
    assert_eq!(text(&first, "id"), health, "the rename was acknowledged before it was on disk");
    admin.answer(&rename).unwrap();
    other.terminate();
}
