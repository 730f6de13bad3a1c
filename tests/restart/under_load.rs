//! Restarts under load, in the middle of frames and with bytes unsent.

use crate::wire::{ADMIN, Client, Device, Home, Offer, READ, Server, free_port, json, number, text};
use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

/// How many restarts the gateway has handed over.
fn restarts(client: &mut Client) -> u64 {
    number(&client.ok("status", "{}"), "barnacle.restarts")
}

#[test]
fn a_client_continues_unaware() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::new();
    let offer = Offer::device(&device).token("T1").client("openclaw-tui", "ui").scopes(ADMIN);
    let mut client = server.connect(&offer);
    assert_eq!(number(&client.event("presence"), "seq"), 1);
    let before = client.ok("status", "{}");
    let cursor = number(&client.ok("logs.tail", "{}"), "cursor");
    server.restart(&mut client);
    let after = client.ok("status", "{}");
    for same in ["pid", "bootId", "startedAtMs", "port", "connections", "devices"] {
        let of = |status| crate::wire::json(crate::wire::get(status, &format!("barnacle.{same}")).unwrap());
        assert_eq!(of(&before), of(&after), "{same}");
    }
    assert_eq!(number(&after, "barnacle.restarts"), 1);
    assert_eq!(text(&after, "barnacle.lastRestart.reason"), "SIGUSR1");
    assert_eq!(number(&after, "barnacle.lastRestart.carried"), 1);
    // The journal continues where the reader was.
    let tail = client.ok("logs.tail", &format!(r#"{{"cursor":{cursor}}}"#));
    assert!(!crate::wire::flag(&tail, "reset"));
    assert!(crate::wire::json(&tail).contains("restarted (SIGUSR1)"), "{}", crate::wire::json(&tail));
    // So does the sequence of events, and whoever comes next is another connection.
    let mut other = server.connect(&Offer::new().token("T1").client("openclaw-tui", "ui").scopes(READ));
    assert_eq!(number(&client.event("presence"), "seq"), 2);
    assert_ne!(text(&other.hello, "server.connId"), text(&client.hello, "server.connId"));
    assert_eq!(text(&other.hello, "server.bootId"), text(&client.hello, "server.bootId"));
    other.ok("health", "{}");
}

/// What a load of clients saw.
#[derive(Default)]
struct Seen {
    answered: AtomicU64,
    connects: AtomicU64,
    refused: AtomicU64,
    longest_us: AtomicU64,
}

#[test]
fn nobody_sees_a_hundred_restarts_under_load() {
    let home = Home::fix();
    let server = home.start();
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, home.port));
    let (seen, done) = (Seen::default(), AtomicBool::new(false));
    let mut admin = server.admin();
    thread::scope(|scope| {
        for n in 0..40 {
            let (seen, done, server) = (&seen, &done, &server);
            scope.spawn(move || {
                let device = Device::new();
                let offer = match n % 2 {
                    0 => Offer::device(&device).token("T1").client("openclaw-tui", "ui"),
                    _ => Offer::new().token("T1"),
                };
                let mut client = server.connect(&offer.scopes(READ));
                while !done.load(SeqCst) {
                    let began = Instant::now();
                    client.ok("health", "{}");
                    seen.longest_us.fetch_max(began.elapsed().as_micros() as u64, SeqCst);
                    seen.answered.fetch_add(1, SeqCst);
                    thread::sleep(Duration::from_millis(2));
                }
            });
        }
        scope.spawn(|| {
            while !done.load(SeqCst) {
                let asked = TcpStream::connect(at).and_then(|mut socket| {
                    socket.set_read_timeout(Some(crate::wire::LONG))?;
                    socket.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
                    let mut text = String::new();
                    socket.read_to_string(&mut text)?;
                    Ok(text.contains("\"ok\":true"))
                });
                seen.connects.fetch_add(1, SeqCst);
                if !matches!(asked, Ok(true)) {
                    seen.refused.fetch_add(1, SeqCst);
                }
                thread::sleep(Duration::from_millis(2));
            }
        });
        for _ in 0..100 {
            server.restart(&mut admin);
        }
        done.store(true, SeqCst);
    });
    assert_eq!(restarts(&mut admin), 100);
    assert_eq!(seen.refused.load(SeqCst), 0);
    println!(
        "100 restarts: {} calls answered, 0 lost, 0 closed; {} connects, 0 refused; longest call {:.1} ms",
        seen.answered.load(SeqCst),
        seen.connects.load(SeqCst),
        seen.longest_us.load(SeqCst) as f64 / 1000.0
    );
}

#[test]
fn files_removed_before_a_restart_lock_nobody_out() {
    let home = Home::fix();
    let server = home.start();
    let paired: Vec<_> = (0..2).map(|_| Device::pair(&server, ADMIN)).collect();
    let attach = |server: &Server, devices: &[Device], how: &str| {
        for device in devices {
            let offer = Offer::device(device).device_token(device.token()).remote();
            let client = server.try_connect(&offer).unwrap_or_else(|r| panic!("{how}: {}", json(&r.error)));
            assert_eq!(client.device_token(), device.token(), "{how}");
        }
    };
    let mut client = server.connect(&Offer::device(&paired[0]).scopes(ADMIN));
    // At once, since the gateway may be writing there.
    let remove = |n: u32| fs::rename(home.store(), home.dir.join(format!("removed-{n}"))).unwrap();
    let files = ["tokens.bin", "tokens.bin.prev", "key"];
    for gone in [&files[..1], &files[..2], &files[2..], &files[..]] {
        gone.iter().for_each(|name| _ = fs::remove_file(home.store().join(name)));
        server.restart(&mut client);
        attach(&server, &paired, &format!("{gone:?} removed, restarted"));
    }
    remove(1);
    server.restart(&mut client);
    attach(&server, &paired, "the directory removed, restarted");
    // A change makes the directory anew, and nobody else may have it then.
    remove(2);
    let more = [Device::pair(&server, READ)];
    let (code, _, output) = home.run(&["gateway", "--port", &free_port().to_string()]);
    assert!(code != 0 && output.contains(&server.pid().to_string()), "{output}");
    assert!(server.log().contains("was gone, and is written again"), "{}", server.log());
    assert_eq!(home.run(&["devices", "list", "--token", "T1"]).0, 0);
    server.kill();
    let server = home.start();
    attach(&server, &paired, "a change, then killed");
    attach(&server, &more, "the change, then killed");
    remove(3);
    server.stop();
    attach(&home.start(), &paired, "the directory removed, stopped");
}
