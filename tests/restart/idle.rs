//! Ten thousand idle connections through a restart: its pause and its memory. Then two restarts in the middle of a
//! reload's events.

use crate::wire::{Home, Offer, READ, get, number, signal, text};
use rustix::process::{Resource, getrlimit, setrlimit};

#[test]
fn ten_thousand_idle_connections() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let wanted = limit.maximum.unwrap_or(1 << 20).saturating_sub(200).min(10_000);
    let home = Home::fix();
    let server = home.start();
    let mut admin = server.admin();
    let mut idle: Vec<_> =
        (0..wanted).map(|_| server.connect(&Offer::new().token("T1").scopes(READ))).collect();
    let before = number(&admin.ok("status", "{}"), "barnacle.residentKb");
    server.restart(&mut admin);
    let status = admin.ok("status", "{}");
    let (after, us) =
        (number(&status, "barnacle.residentKb"), number(&status, "barnacle.lastRestart.unservedUs"));
    assert_eq!(number(&status, "barnacle.connections"), wanted + 1);
    assert_eq!(number(&status, "barnacle.lastRestart.carried"), wanted + 1);
    for edit in 1..=2 {
        home.gateway(&format!(r#"auth:{{mode:"token",token:"T1"}},trustedProxies:["203.0.113.{edit}"]"#));
        signal(server.pid(), "HUP");
        server.restart(&mut admin);
    }
    for client in &mut idle {
        client.ok("health", "{}");
        // Each heard of each edit once, and of everything in its turn.
        let events = &client.events;
        let edits = events.iter().filter(|event| text(event, "event") == "config.reloaded").count();
        let seqs: Vec<_> =
            events.iter().filter(|e| get(e, "seq").is_some()).map(|e| number(e, "seq")).collect();
        assert_eq!(edits, 2);
        assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    }
    println!(
        "{wanted} idle connections kept: paused {:.1} ms; {:.1} MB resident before, {:.1} MB after",
        us as f64 / 1000.0,
        before as f64 / 1024.0,
        after as f64 / 1024.0
    );
}
