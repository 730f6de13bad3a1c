//! OpenClaw away, and back: nobody is closed, nothing is done twice, and what may wait waits, within bounds.

use crate::{
    stand_in::{Link, Manner, StandIn, answer, chat, upstream_state, waits},
    wire::{ADMIN, Client, Home, LONG, Offer, Server, json, number, text},
};
use miniserde::json::Value;
use std::time::{Duration, Instant};

/// Goes away by `end`, and waits until the gateway has seen it.
fn leaves(behind: &StandIn, front: &Server, end: impl Fn(&Link)) {
    let lines = front.log().lines().count();
    behind.leave(end);
    front.wait_new(lines, &["is away"]);
}

fn returns(behind: &StandIn, front: &Server) {
    let lines = front.log().lines().count();
    behind.back();
    front.wait_new(lines, &["is back"]);
}

#[track_caller]
fn expect_later(error: &Value) {
    assert_eq!(text(error, "code"), "UNAVAILABLE", "{}", json(error));
    assert_eq!(text(error, "retryable"), "true", "{}", json(error));
    assert!(number(error, "retryAfterMs") > 0, "{}", json(error));
}

/// What is in flight while OpenClaw ends by `end`.
fn lost_in_flight(end: impl Fn(&Link)) {
    let (home, behind) = (Home::fix(), StandIn::new());
    let front = behind.front(&home);
    let mut client = front.admin();
    let list = client.ask("sessions.list", r#"{"limit":3}"#);
    let patch = client.ask("sessions.patch", r#"{"key":"main","label":"x"}"#);
    let before = behind.request("sessions.list");
    behind.request("sessions.patch");
    leaves(&behind, &front, end);
    expect_later(&client.answer(&patch).unwrap_err());
    assert_eq!(upstream_state(&front, &mut client), "away");
    let status = client.ok("status", "{}");
    assert_eq!(text(&status, "upstream.state"), "away", "{}", json(&status));
    assert!(!text(&status, "upstream.why").is_empty());
    assert_eq!(number(&status, "upstream.waiting"), 1);
    returns(&behind, &front);
    let again = behind.request("sessions.list");
    assert_eq!(again.raw, before.raw);
    again.ok(r#"{"sessions":[]}"#);
    assert_eq!(json(&client.answer(&list).unwrap()), r#"{"sessions":[]}"#);
    assert_eq!(upstream_state(&front, &mut client), "connected");
    client.ok("agents.list", "{}");
    assert_eq!((behind.count("sessions.list"), behind.count("sessions.patch")), (2, 1));
    assert_eq!(number(&client.ok("health", "{}"), "upstream.timesAway"), 1);
}

#[test]
fn in_flight_when_openclaw_restarts() {
    lost_in_flight(|link| link.close(1012));
}

#[test]
fn in_flight_when_openclaw_is_killed() {
    lost_in_flight(Link::reset);
}

#[test]
fn in_flight_when_openclaw_ends_without_a_word() {
    lost_in_flight(Link::end);
}

#[test]
fn what_openclaw_did_not_begin_is_sent_again() {
    let (home, behind) = (Home::fix(), StandIn::new());
    let front = behind.front(&home);
    let mut client = front.admin();
    for reason in ["gateway-restarting", "startup-sidecars"] {
        // Not begun, so this holds also for what must not be done twice.
        for method in ["sessions.list", "sessions.patch", "chat.send"] {
            let asked = client.ask(method, r#"{"sessionKey":"main"}"#);
            let first = behind.request(method);
            first.err(&format!(
                r#"{{"code":"UNAVAILABLE","message":"not now","retryable":true,"retryAfterMs":200,"details":{{"reason":"{reason}"}}}}"#
            ));
            let again = behind.request(method);
            assert_eq!(again.raw, first.raw);
            again.ok(r#"{"done":true}"#);
            assert_eq!(text(&client.answer(&asked).unwrap(), "done"), "true");
        }
    }
    // This may have been begun.
    let error = r#"{"code":"UNAVAILABLE","message":"broke","retryable":true,"retryAfterMs":200}"#;
    let asked = client.ask("sessions.patch", "{}");
    behind.request("sessions.patch").err(error);
    assert_eq!(text(&client.answer(&asked).unwrap_err(), "message"), "broke");
    let asked = client.ask("sessions.list", "{}");
    behind.request("sessions.list").err(error);
    behind.request("sessions.list").ok(r#"{"sessions":[]}"#);
    client.answer(&asked).unwrap();
}

/// A message in flight when OpenClaw is killed; the client, and the first request after that.
fn lost_message(method: &str, behind: &StandIn, front: &Server) -> (Client, String) {
    let mut client = front.admin();
    let params = r#"{"sessionKey":"main","message":"hi","idempotencyKey":"key-1"}"#;
    let asked = client.ask(method, params);
    behind.request(method);
    leaves(behind, front, Link::reset);
    returns(behind, front);
    (client, asked)
}

#[test]
fn a_lost_message_that_the_session_has_is_not_sent_again() {
    for method in ["chat.send", "agent"] {
        let (home, behind) = (Home::fix(), StandIn::new());
        let front = behind.front(&home);
        let (mut client, asked) = lost_message(method, &behind, &front);
        let look = behind.next();
        assert_eq!((look.method.as_str(), look.param("sessionKey").as_str()), ("chat.history", "main"));
        look.ok(r#"{"messages":[{"role":"user","content":"hi","idempotencyKey":"key-1:user"}]}"#);
        let answer = client.answer(&asked).unwrap();
        assert_eq!((text(&answer, "runId"), text(&answer, "status")), ("key-1".into(), "started".into()));
        client.ok("agents.list", "{}");
        assert_eq!(behind.count(method), 1);
    }
}

#[test]
fn a_lost_message_that_the_session_does_not_have_is_sent_again_once() {
    let (home, behind) = (Home::fix(), StandIn::new());
    let front = behind.front(&home);
    let (mut client, asked) = lost_message("chat.send", &behind, &front);
    // What came later waits behind it.
    let list = client.ask("sessions.list", "{}");
    let look = behind.next();
    assert_eq!(look.method, "chat.history");
    look.ok(r#"{"messages":[{"role":"user","idempotencyKey":"key-2:user"},{"text":"key-1:user, said somebody"}]}"#);
    let again = behind.next();
    assert_eq!((again.method.as_str(), again.param("idempotencyKey").as_str()), ("chat.send", "key-1"));
    again.ok(r#"{"runId":"key-1","status":"started"}"#);
    assert_eq!(text(&client.answer(&asked).unwrap(), "status"), "started");
    let next = behind.next();
    assert_eq!(next.method, "sessions.list");
    next.ok("{}");
    client.answer(&list).unwrap();
    assert_eq!(behind.count("chat.send"), 2);
}

#[test]
fn a_look_that_is_not_answered_yet_is_taken_again() {
    let (home, behind) = (Home::fix(), StandIn::new());
    let front = behind.front(&home);
    let (mut client, asked) = lost_message("chat.send", &behind, &front);
    behind.request("chat.history").err(
        r#"{"code":"UNAVAILABLE","message":"starting","retryable":true,"retryAfterMs":200,"details":{"reason":"startup-sidecars"}}"#,
    );
    behind.request("chat.history").ok(r#"{"messages":[{"idempotencyKey":"key-1:user"}]}"#);
    assert_eq!(text(&client.answer(&asked).unwrap(), "runId"), "key-1");
    client.ok("agents.list", "{}");
    assert_eq!(behind.count("chat.send"), 1);
}

#[test]
fn a_run_that_openclaw_lost_is_ended() {
    let (home, behind) = (Home::fix(), StandIn::new());
    let front = behind.front(&home);
    let mut client = front.admin();
    for key in ["lost", "kept"] {
        let params = format!(r#"{{"sessionKey":"{key}","message":"hi","idempotencyKey":"run-{key}"}}"#);
        let asked = client.ask("chat.send", &params);
        let run = format!(r#"{{"runId":"run-{key}","status":"started"}}"#);
        behind.request("chat.send").ok(&run);
        client.answer(&asked).unwrap();
    }
    let wait = client.ask("agent.wait", r#"{"runId":"run-lost"}"#);
    behind.request("agent.wait");
    leaves(&behind, &front, Link::reset);
    returns(&behind, &front);
    let runs = behind.next();
    assert_eq!(runs.method, "sessions.list");
    runs.ok(
        r#"{"sessions":[{"key":"agent:main:kept","hasActiveRun":true,"activeRunIds":["run-kept"]},{"key":"agent:main:lost","hasActiveRun":false}]}"#,
    );
    let ended = client.event("chat");
    assert_eq!(
        (text(&ended, "payload.runId"), text(&ended, "payload.state")),
        ("run-lost".into(), "error".into())
    );
    assert_eq!(text(&client.answer(&wait).unwrap(), "status"), "error");
    client.ok("agents.list", "{}");
    assert!(!client.events.iter().any(|event| text(event, "payload.runId") == "run-kept"));
    assert_eq!(behind.count("agent.wait"), 1);
}

#[test]
fn who_watches_a_lost_run_or_asks_for_it_later_is_told() {
    let (home, behind) = (Home::fix(), StandIn::new());
    let front = behind.front(&home);
    let (mut starts, mut watches, mut waits) = (front.admin(), front.admin(), front.admin());
    for client in [&mut watches, &mut waits] {
        client.ok("sessions.subscribe", "{}");
    }
    let asked = starts.ask("chat.send", r#"{"sessionKey":"main","message":"hi","idempotencyKey":"run-1"}"#);
    let send = behind.request("chat.send");
    send.ok(r#"{"runId":"run-1","status":"started"}"#);
    starts.answer(&asked).unwrap();
    let waited = waits.ask("agent.wait", r#"{"runId":"run-1"}"#);
    let wait = behind.request("agent.wait");
    let links = behind.all_links();
    let watching = links.iter().find(|l| ![&send.link, &wait.link].iter().any(|b| b.number == l.number));
    watching.unwrap().event("chat", &chat(0, "x"));
    watches.event("chat");
    leaves(&behind, &front, Link::reset);
    behind.answers("sessions.list", r#"{"sessions":[]}"#);
    returns(&behind, &front);
    for client in [&mut starts, &mut watches] {
        let ended = client.event("chat");
        let said = ["runId", "state"].map(|name| text(&ended, &format!("payload.{name}")));
        assert_eq!(said, ["run-1", "error"], "{}", json(&ended));
    }
    assert_eq!(text(&waits.answer(&waited).unwrap(), "status"), "error");
    // Also who attaches later, and after a restart of this gateway.
    let mut later = front.admin();
    for _ in 0..2 {
        let answer = later.ok("agent.wait", r#"{"runId":"run-1"}"#);
        assert_eq!(text(&answer, "status"), "error", "{}", json(&answer));
        front.restart(&mut later);
    }
    assert_eq!(behind.count("agent.wait"), 1);
    // The same key again is a new run.
    let asked = starts.ask("chat.send", r#"{"sessionKey":"main","message":"hi","idempotencyKey":"run-1"}"#);
    behind.request("chat.send").ok(r#"{"runId":"run-1","status":"started"}"#);
    starts.answer(&asked).unwrap();
    let waited = later.ask("agent.wait", r#"{"runId":"run-1"}"#);
    behind.request("agent.wait").ok(r#"{"runId":"run-1","status":"ok"}"#);
    assert_eq!(text(&later.answer(&waited).unwrap(), "status"), "ok");
}

#[test]
fn new_requests_wait_in_their_order() {
    let (home, behind) = (Home::fix(), StandIn::new());
    let front = behind.front(&home);
    let mut client = front.admin();
    let old = client.ask("sessions.list", r#"{"n":-1}"#);
    behind.request("sessions.list");
    leaves(&behind, &front, |link| link.close(1012));
    let methods = ["cron.add", "sessions.list", "chat.send", "sessions.patch", "a.method.of.tomorrow"];
    let asked: Vec<String> =
        (0..20).map(|n| client.ask(methods[n % methods.len()], &format!(r#"{{"n":{n}}}"#))).collect();
    // Of other clients, others wait.
    let mut other = front.admin();
    let others = other.ask("cron.list", "{}");
    // It is answered itself meanwhile.
    assert_eq!(upstream_state(&front, &mut client), "away");
    returns(&behind, &front);
    behind.request("cron.list").ok("{}");
    other.answer(&others).unwrap();
    for (n, asked) in [&old].into_iter().chain(&asked).enumerate() {
        let request = behind.next();
        assert_eq!((&request.id, request.param("n")), (asked, (n as i64 - 1).to_string()));
        request.ok(answer(&request.method));
        client.answer(asked).unwrap();
    }
}

#[test]
fn the_wait_has_an_end() {
    let (home, behind) = (Home::fix(), StandIn::new());
    waits(&home, "waitMs:400");
    let front = behind.front(&home);
    let mut client = front.admin();
    leaves(&behind, &front, |link| link.close(1012));
    for method in ["sessions.list", "chat.send", "cron.add"] {
        let begun = Instant::now();
        expect_later(&client.err(method, "{}"));
        assert!(begun.elapsed() >= Duration::from_millis(400), "{method} did not wait");
    }
    returns(&behind, &front);
    client.ok("agents.list", "{}");
    for method in ["sessions.list", "chat.send", "cron.add"] {
        assert_eq!(behind.count(method), 0, "{method} was answered and sent nevertheless");
    }
}

#[test]
fn so_many_wait_and_no_more() {
    let (home, behind) = (Home::fix(), StandIn::new());
    waits(&home, "waitRequests:4");
    let front = behind.front(&home);
    let (mut client, mut other) = (front.admin(), front.admin());
    leaves(&behind, &front, |link| link.close(1012));
    let asked: Vec<String> = (0..4).map(|_| client.ask("agents.list", "{}")).collect();
    for _ in 0..10 {
        expect_later(&client.err("sessions.list", "{}"));
    }
    // The bound is of one client.
    let others = other.ask("agents.list", "{}");
    returns(&behind, &front);
    for asked in &asked {
        client.answer(asked).unwrap();
    }
    other.answer(&others).unwrap();
    assert_eq!((behind.count("agents.list"), behind.count("sessions.list")), (5, 0));
}

#[test]
fn so_many_bytes_wait_and_no_more() {
    let (home, behind) = (Home::fix(), StandIn::new());
    waits(&home, "waitBytes:4096");
    let front = behind.front(&home);
    let mut client = front.admin();
    leaves(&behind, &front, |link| link.close(1012));
    let large = format!(r#"{{"x":"{}"}}"#, "x".repeat(3000));
    let first = client.ask("agents.list", &large);
    expect_later(&client.err("sessions.list", &large));
    let small = client.ask("agents.list", "{}");
    returns(&behind, &front);
    client.answer(&first).unwrap();
    client.answer(&small).unwrap();
    assert_eq!((behind.count("agents.list"), behind.count("sessions.list")), (2, 0));
}

#[test]
fn subscriptions_are_made_again_before_what_waits() {
    let (home, behind) = (Home::fix(), StandIn::new());
    behind.answers("sessions.messages.unsubscribe", "{}");
    let front = behind.front(&home);
    let (mut client, mut other) = (front.admin(), front.admin());
    other.ok("agents.list", "{}");
    client.ok("sessions.subscribe", r#"{"a":1}"#);
    for key in ["one", "two"] {
        let asked = client.ask("sessions.messages.subscribe", &format!(r#"{{"key":"{key}"}}"#));
        behind.request("sessions.messages.subscribe").ok("{}");
        client.answer(&asked).unwrap();
    }
    client.ok("sessions.messages.unsubscribe", r#"{"key":"one"}"#);
    leaves(&behind, &front, |link| link.close(1012));
    let list = client.ask("sessions.list", "{}");
    returns(&behind, &front);
    let replayed = behind.request("sessions.messages.subscribe");
    assert_eq!(replayed.param("key"), "two");
    other.ok("agents.list", "{}");
    assert_eq!(behind.count("sessions.list"), 0, "what waits goes after the subscriptions");
    replayed.err(r#"{"code":"UNAVAILABLE","message":"PAIRING_CHANGED","retryable":true,"retryAfterMs":200}"#);
    let replayed = behind.request("sessions.messages.subscribe");
    other.ok("agents.list", "{}");
    assert_eq!(behind.count("sessions.list"), 0, "one that is refused for now is made again first");
    replayed.ok("{}");
    let request = behind.request("sessions.list");
    request.ok("{}");
    client.answer(&list).unwrap();
    let seen = behind.seen_by(request.link.number);
    assert_eq!(
        seen,
        ["sessions.messages.subscribe", "sessions.subscribe", "sessions.messages.subscribe", "sessions.list"]
    );
    // Nobody asked for the answers of the replays.
    client.ok("agents.list", "{}");
}

#[test]
fn clients_attach_while_openclaw_is_away() {
    let (home, behind) = (Home::fix(), StandIn::new());
    let front = behind.front(&home);
    leaves(&behind, &front, |link| link.close(1012));
    let mut client = front.admin();
    // What OpenClaw said of itself is remembered, also by the next process.
    for _ in 0..2 {
        let methods = crate::wire::list(&client.hello, "features.methods");
        assert!(methods.contains(&"cron.add".into()), "{methods:?}");
        assert_eq!(text(&client.hello, "server.version"), "2026.9.6");
        front.restart(&mut client);
        client = front.admin();
    }
    let asked = client.ask("sessions.list", "{}");
    returns(&behind, &front);
    behind.request("sessions.list").ok("{}");
    client.answer(&asked).unwrap();
}

#[test]
fn started_before_openclaw() {
    let (home, behind) = (Home::fix(), StandIn::new());
    behind.leave(Link::end);
    let front = behind.front_anyhow(&home);
    let mut client = front.admin();
    let asked = client.ask("sessions.list", "{}");
    assert_eq!(upstream_state(&front, &mut client), "away");
    behind.back();
    behind.request("sessions.list").ok("{}");
    client.answer(&asked).unwrap();
    assert_eq!(upstream_state(&front, &mut client), "connected");
}

#[test]
fn announcements_of_a_restart_stay_here() {
    let (home, behind) = (Home::fix(), StandIn::new());
    let front = behind.front(&home);
    let mut client = front.connect(&Offer::new().token("T1").scopes(ADMIN).client("gateway-client", "ui"));
    let link = behind.link_after(0);
    let lines = front.log().lines().count();
    link.event("shutdown", r#"{"reason":"restart"}"#);
    behind.watcher().event("shutdown", r#"{"reason":"restart"}"#);
    front.wait_new(lines, &["is away"]);
    // One connection alone that goes is made again.
    let before = behind.links();
    link.close(1012);
    behind.link_after(before);
    client.ok("agents.list", "{}");
    assert!(!client.events.iter().any(|event| text(event, "event") == "shutdown"));
}

#[test]
fn a_503_is_away() {
    let (home, behind) = (Home::fix(), StandIn::new());
    behind.behaves(|_, _| Manner::Http("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"));
    let front = behind.front_anyhow(&home);
    front.wait_log(&["is away"]);
    let mut client = front.admin();
    let asked = client.ask("agents.list", "{}");
    let begun = Instant::now();
    // Several are tried.
    behind.more_links_than(2);
    assert!(begun.elapsed() < LONG);
    assert_eq!(upstream_state(&front, &mut client), "away");
    behind.behaves(|_, _| Manner::Well);
    client.answer(&asked).unwrap();
}
