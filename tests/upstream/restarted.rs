//! A restart of this gateway with requests in flight behind it: neither side sees anything of it.

use crate::{
    stand_in::{Link, StandIn, chat},
    wire::{ADMIN, Client, Home, Offer, get, json, number, text},
};

/// The `seq` of events that a client was sent, in order.
fn seqs(client: &Client) -> Vec<u64> {
    client
        .events
        .iter()
        .filter(|event| get(event, "seq").is_some())
        .map(|event| number(event, "seq"))
        .collect()
}

#[test]
fn a_restart_closes_neither_side() {
    let (home, behind) = (Home::fix(), StandIn::new());
    let front = behind.front(&home);
    let mut by = front.admin();
    by.ok("agents.list", "{}");
    let mut pages: Vec<Client> = (0..5)
        .map(|_| front.connect(&Offer::new().token("T1").scopes(ADMIN).client("gateway-client", "ui")))
        .collect();
    let mut asked = Vec::new();
    for page in &mut pages {
        page.ok("agents.list", "{}");
        let list = page.ask("sessions.list", "{}");
        let patch = page.ask("sessions.patch", r#"{"key":"main"}"#);
        let run = page.ask("agent", r#"{"sessionKey":"main","idempotencyKey":"k","message":"hi"}"#);
        let in_flight = ["sessions.list", "sessions.patch", "agent"].map(|method| behind.request(method));
        in_flight[2].ok(r#"{"runId":"k","status":"accepted"}"#);
        assert_eq!(text(&page.answer(&run).unwrap(), "status"), "accepted");
        asked.push(([list, patch, run], in_flight));
    }
    let links: Vec<Link> = asked.iter().map(|(_, in_flight)| in_flight[0].link.clone()).collect();
    for link in &links {
        link.event("chat", &chat(0, "x"));
    }
    for times in 1..=2 {
        front.restart(&mut by);
        assert!(links.iter().all(|link| behind.is_open(link)), "a connection was closed behind");
        for link in &links {
            link.event("chat", &chat(times, "x"));
        }
    }
    let methods = ["sessions.list", "sessions.patch", "agent"];
    for (page, (ids, in_flight)) in pages.iter_mut().zip(&asked) {
        for (id, request) in ids.iter().zip(in_flight) {
            request.ok(&format!(r#"{{"late":"{}"}}"#, request.method));
            assert_eq!(text(&page.answer(id).unwrap(), "late"), request.method);
        }
        page.ok("agents.list", "{}");
        let chats: Vec<u64> = page
            .events
            .iter()
            .filter(|event| text(event, "event") == "chat")
            .map(|event| number(event, "payload.seq"))
            .collect();
        assert_eq!(chats, [0, 1, 2]);
        let seqs = seqs(page);
        assert_eq!(seqs, (seqs[0]..).take(seqs.len()).collect::<Vec<_>>());
    }
    for method in methods {
        assert_eq!(behind.count(method), pages.len(), "{method} was sent again");
    }
    assert!(links.iter().all(|link| behind.is_open(link)));
    // Also one that was carried over is told of both gateways.
    let status = by.ok("status", "{}");
    assert_eq!(
        (text(&status, "runtimeVersion"), number(&status, "barnacle.restarts")),
        ("2026.9.6".into(), 2)
    );
}

#[test]
fn what_waits_and_what_is_subscribed_survives() {
    let (home, behind) = (Home::fix(), StandIn::new());
    let front = behind.front(&home);
    let mut client = front.admin();
    client.ok("sessions.subscribe", "{}");
    let lines = front.log().lines().count();
    behind.leave(|link| link.close(1012));
    front.wait_new(lines, &["is away"]);
    let list = client.ask("sessions.list", "{}");
    let patch = client.ask("sessions.patch", "{}");
    let mut by = front.admin();
    front.restart(&mut by);
    behind.back();
    let request = behind.request("sessions.list");
    request.ok(r#"{"n":1}"#);
    behind.request("sessions.patch").ok(r#"{"n":2}"#);
    assert_eq!(json(&client.answer(&list).unwrap()), r#"{"n":1}"#);
    assert_eq!(json(&client.answer(&patch).unwrap()), r#"{"n":2}"#);
    assert_eq!(
        behind.seen_by(request.link.number),
        ["sessions.subscribe", "sessions.list", "sessions.patch"]
    );
}

#[test]
fn half_an_answer_survives() {
    let (home, behind) = (Home::fix(), StandIn::new());
    let front = behind.front(&home);
    let mut client = front.admin();
    let asked = client.ask("sessions.list", "{}");
    let request = behind.request("sessions.list");
    let answer = format!(
        r#"{{"type":"res","id":"{asked}","ok":true,"payload":{{"text":"{}"}}}}"#,
        "y".repeat(300_000)
    );
    let frame = crate::stand_in::frame(0x81, answer.as_bytes());
    let (first, rest) = frame.split_at(100_000);
    request.link.bytes(first);
    let mut by = front.admin();
    front.restart(&mut by);
    assert!(behind.is_open(&request.link));
    request.link.bytes(rest);
    assert_eq!(text(&client.answer(&asked).unwrap(), "text").len(), 300_000);
    client.ok("agents.list", "{}");
    assert_eq!(behind.count("sessions.list"), 1);
}
