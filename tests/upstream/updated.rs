//! OpenClaw seen for the first time, updated, or with another shared secret, while clients are attached: pages learn it in
//! the way in which they look for it, nobody is closed, and the journal has no more than it needs.

use crate::{
    stand_in::{Link, Manner, StandIn, hello},
    wire::{ADMIN, Client, Device, Home, LONG, Offer, Server, get, list, number, text},
};
use miniserde::json::Value;
use std::{sync::Arc, time::Instant};

fn page(front: &Server) -> Client {
    front.connect(&Offer::new().token("T1").scopes(ADMIN).client("gateway-client", "ui"))
}

/// Whether the numbers of the events that a client was sent so far have a gap.
fn has_a_gap(client: &Client) -> bool {
    let numbered = client.events.iter().filter(|event| get(event, "seq").is_some());
    let seqs: Vec<u64> = numbered.map(|event| number(event, "seq")).collect();
    seqs.windows(2).any(|two| two[1] != two[0] + 1)
}

/// Waits for the gap, as a page looks for it: between two numbered events.
#[track_caller]
fn expect_gap(client: &mut Client) {
    let end = Instant::now() + LONG;
    while !has_a_gap(client) {
        assert!(Instant::now() < end, "no gap");
        let frame = client.frame().unwrap_or_else(|close| panic!("closed: {close:?}"));
        client.events.push(frame);
    }
}

#[test]
fn a_page_that_came_before_openclaw_was_ever_seen_is_told_to_look_again() {
    let (home, behind) = (Home::fix(), StandIn::new());
    behind.leave(Link::end);
    let front = behind.front_anyhow(&home);
    let (mut early, mut agent) = (page(&front), front.admin());
    let methods = |client: &Client| list(&client.hello, "features.methods");
    assert!(!methods(&early).contains(&"cron.add".into()));
    behind.back();
    expect_gap(&mut early);
    // It connects again by itself, and has everything; nothing is said to it twice.
    let mut again = page(&front);
    assert!(methods(&again).contains(&"cron.add".into()), "{:?}", methods(&again));
    for client in [&mut again, &mut agent] {
        client.ok("agents.list", "{}");
        assert!(!has_a_gap(client), "{:?}", client.hello);
    }
    early.ok("agents.list", "{}");
}

#[test]
fn pages_learn_that_openclaw_was_updated() {
    let (home, behind) = (Home::fix(), StandIn::new());
    let front = behind.front(&home);
    let (mut old, mut agent) = (page(&front), front.admin());
    old.ok("agents.list", "{}");
    let lines = front.log().lines().count();
    behind.leave(|link| link.close(1012));
    front.wait_new(lines, &["is away"]);
    let asked = old.ask("sessions.list", "{}");
    behind.behaves(|number, _| Manner::Hello(hello(2, number).replace("2026.9.6", "2026.10.1")));
    behind.back();
    behind.request("sessions.list").ok("{}");
    old.answer(&asked).unwrap();
    expect_gap(&mut old);
    let again = page(&front);
    assert_eq!(text(&again.hello, "server.buildId"), "2026.10.1-stand-in");
    agent.ok("agents.list", "{}");
    assert!(!has_a_gap(&agent));
    old.ok("agents.list", "{}");
}

#[test]
fn a_page_that_openclaw_refuses_as_too_old_hears_that_at_once() {
    let (home, behind) = (Home::fix(), StandIn::new());
    let front = behind.front(&home);
    let mut old = page(&front);
    old.ok("agents.list", "{}");
    let lines = front.log().lines().count();
    behind.leave(|link| link.close(1012));
    front.wait_new(lines, &["is away"]);
    let asked = old.ask("sessions.list", "{}");
    // The gateway's own connection says no Host of a client's.
    let at = format!("Host: 127.0.0.1:{}", front.port);
    behind.behaves(move |number, head| match head.contains(&at) {
        true => Manner::Refuse(
            r#"{"code":"UNAVAILABLE","message":"protocol mismatch: Control UI updated; reload this page to continue","retryable":false,"details":{"code":"PROTOCOL_MISMATCH","gatewayBuildId":"2026.10.1-stand-in","reloadRequired":true}}"#,
        ),
        false => Manner::Hello(hello(2, number).replace("2026.9.6", "2026.10.1")),
    });
    behind.back();
    // OpenClaw's own words, and not after the two minutes for which it would wait for one that is away.
    let error = old.answer(&asked).unwrap_err();
    assert_eq!(text(&error, "details.reloadRequired"), "true");
    expect_gap(&mut old);
    // One that does not reload is not told again and again.
    let mut again = page(&front);
    assert_eq!(text(&again.hello, "server.buildId"), "2026.10.1-stand-in");
    assert_eq!(text(&again.err("sessions.list", "{}"), "details.reloadRequired"), "true");
    again.ok("health", "{}");
    assert!(!has_a_gap(&again));
    old.ok("health", "{}");
}

#[test]
fn a_secret_that_is_being_changed_makes_two_lines() {
    let (home, behind) = (Home::fix(), StandIn::new());
    let front = behind.front(&home);
    let (mut one, mut agent) = (page(&front), front.admin());
    for client in [&mut one, &mut agent] {
        client.ok("agents.list", "{}");
    }
    let lines = front.log().lines().count();
    // For a while the two have read different secrets; the first connections are the gateway's own.
    let begun = behind.links();
    behind.behaves(move |number, _| match number - begun < 6 {
        true => Manner::Refuse(MISMATCH),
        false => Manner::Well,
    });
    for link in behind.all_links() {
        link.close(4001);
    }
    behind.watcher().close(4001);
    front.wait_new(lines, &["is back"]);
    for client in [&mut one, &mut agent] {
        client.ok("agents.list", "{}");
    }
    // And towards clients alone.
    let begun = behind.links();
    behind.behaves(move |number, _| match number - begun < 3 {
        true => Manner::Refuse(MISMATCH),
        false => Manner::Well,
    });
    behind.last_link().close(4001);
    behind.more_links_than(begun + 3);
    for client in [&mut one, &mut agent] {
        client.ok("agents.list", "{}");
    }
    let log = front.log();
    let said: Vec<&str> = log.lines().skip(lines).filter(|line| line.contains("OpenClaw")).collect();
    assert_eq!(said.len(), 2, "{said:#?}");
    assert!(said[0].contains("is away: its gateway.auth was changed; requests for it wait"), "{said:#?}");
    assert!(said[1].contains("is back after"), "{said:#?}");
    // As itself, not as some backend.
    assert!(behind.all_links().iter().all(|link| text(&link.connect(), "client.mode") != "backend"));
}

#[test]
fn an_openclaw_that_keeps_the_secret_before_is_attached_to_by_that() {
    let (home, behind) = (Home::fix(), StandIn::new());
    behind.behaves(|_, _| {
        Manner::Judge(Arc::new(|connect: &Value, link| match text(connect, "auth.token").as_str() {
            "T1" => Ok(hello(1, link)),
            _ => Err(MISMATCH.into()),
        }))
    });
    let front = behind.front(&home);
    let mut client = front.connect(&Offer::device(&Device::pair(&front, ADMIN)).scopes(ADMIN));
    client.ok("agents.list", "{}");
    let lines = front.log().lines().count();
    home.auth(r#"{mode:"token",token:"T2"}"#);
    front.wait_new(lines, &["gateway.auth.token"]);
    for _ in 0..2 {
        for link in behind.all_links() {
            link.close(4001);
        }
        behind.watcher().close(4001);
        front.wait_new(lines, &["still goes by the shared secret that it had before"]);
        client.ok("agents.list", "{}");
    }
    // It reads the new one.
    behind.behaves(|_, _| {
        Manner::Judge(Arc::new(|connect: &Value, link| match text(connect, "auth.token").as_str() {
            "T2" => Ok(hello(2, link)),
            _ => Err(MISMATCH.into()),
        }))
    });
    for link in behind.all_links() {
        link.close(1012);
    }
    behind.watcher().close(1012);
    client.ok("agents.list", "{}");
    assert_eq!(text(&behind.last_link().connect(), "auth.token"), "T2");
}

const MISMATCH: &str = r#"{"code":"INVALID_REQUEST","message":"unauthorized: gateway token mismatch","details":{"code":"AUTH_TOKEN_MISMATCH"}}"#;
