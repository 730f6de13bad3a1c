//! Messages are answered by a model, here a labelled stand-in: streamed, kept, aborted, tried again, and gone on with.

use crate::{
    model::Model,
    wire::{Client, Home, Server, flag, get, items, json, number, text},
};
use miniserde::json::Value;
use std::sync::atomic::Ordering;

pub fn gateway() -> (Model, Home, Server) {
    gateway_with("{primary:\"stand-in/echo\"}", "")
}

/// A gateway whose default agent has this `model`, and with `more` in its configuration.
pub fn gateway_with(primary: &str, more: &str) -> (Model, Home, Server) {
    let model = Model::start();
    let home = Home::empty();
    home.config(&model.config_with(home.port, primary, more));
    let server = home.start();
    (model, home, server)
}

pub fn send(client: &mut Client, message: &str, key: &str) -> Result<Value, Value> {
    client.call(
        "chat.send",
        &format!(r#"{{"sessionKey":"main","message":"{message}","idempotencyKey":"{key}"}}"#),
    )
}

/// The events of a run up to the one that ends it: states, with the text of each.
#[track_caller]
pub fn until_end(client: &mut Client, run: &str) -> Vec<(String, Value)> {
    let mut events = Vec::new();
    loop {
        let event = client.event("chat");
        if text(&event, "payload.runId") != run {
            continue;
        }
        let state = text(&event, "payload.state");
        let ends = matches!(&*state, "final" | "aborted" | "error");
        events.push((state, event));
        if ends {
            return events;
        }
    }
}

pub fn said(client: &mut Client) -> Vec<(String, String)> {
    let page = client.ok("chat.history", r#"{"sessionKey":"main"}"#);
    let said = |message: &&Value| match text(message, "content") {
        content if content.is_empty() => text(message, "content.0.text"),
        content => content,
    };
    items(&page, "messages").iter().map(|message| (text(message, "role"), said(message))).collect()
}

pub fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(role, text)| ((*role).to_owned(), (*text).to_owned())).collect()
}

#[test]
fn a_message_is_answered_as_it_is_said() {
    let (model, _home, server) = gateway();
    let (mut client, mut listener) = (server.admin(), server.admin());
    listener.ok("sessions.messages.subscribe", r#"{"key":"main"}"#);
    let started = send(&mut client, "say hello there", "K1").unwrap();
    assert_eq!((text(&started, "runId"), text(&started, "status")), ("K1".into(), "started".into()));
    let events = until_end(&mut client, "K1");
    let states: Vec<&str> = events.iter().map(|(state, _)| state.as_str()).collect();
    assert_eq!(states, ["status", "status", "delta", "delta", "final"]);
    let deltas: String = events.iter().map(|(_, event)| text(event, "payload.deltaText")).collect();
    assert_eq!(deltas, "hello there");
    let last = &events.last().unwrap().1;
    assert_eq!(text(last, "payload.message.content.0.text"), "hello there");
    let seqs: Vec<u64> = events.iter().map(|(_, event)| number(event, "payload.seq")).collect();
    assert!(seqs.is_sorted() && seqs.windows(2).all(|pair| pair[0] != pair[1]), "{seqs:?}");
    assert_eq!(said(&mut client), pairs(&[("user", "say hello there"), ("assistant", "hello there")]));
    for role in ["user", "assistant"] {
        assert_eq!(text(&listener.event("session.message"), "payload.message.role"), role);
    }
    let wait = client.ok("agent.wait", r#"{"runId":"K1"}"#);
    assert_eq!(text(&wait, "status"), "ok");

    // The same once more is the same run; another message under its key is refused.
    assert_eq!(text(&send(&mut client, "say hello there", "K1").unwrap(), "status"), "ok");
    let other = send(&mut client, "say another", "K1").unwrap_err();
    assert!(text(&other, "message").contains("with another message"), "{}", json(&other));
    send(&mut client, "and then?", "K2").unwrap();
    until_end(&mut client, "K2");
    let asked = model.asked();
    assert_eq!(asked.len(), 2, "one request a run");
    let sent: Value = miniserde::json::from_str(&asked[1]).unwrap();
    let messages: Vec<_> =
        items(&sent, "messages").iter().map(|m| (text(m, "role"), text(m, "content"))).collect();
    let expected = [("user", "say hello there"), ("assistant", "hello there"), ("user", "and then?")];
    assert_eq!(messages[0].0, "system");
    assert_eq!(messages[1..], pairs(&expected)[..]);
    assert_eq!(text(&sent, "model"), "echo");
    let row = client.ok("sessions.describe", r#"{"key":"main"}"#);
    assert_eq!((text(&row, "session.status"), flag(&row, "session.hasActiveRun")), ("done".into(), false));
    assert!(get(&row, "session.openRuns").is_none());
    let models = client.ok("models.list", "{}");
    assert_eq!(
        (text(&models, "models.0.id"), text(&models, "models.0.provider")),
        ("echo".into(), "stand-in".into())
    );
    client.ok("sessions.reset", r#"{"key":"main"}"#);
    send(&mut client, "fresh", "K3").unwrap();
    until_end(&mut client, "K3");
    assert!(!model.asked()[2].contains("hello there"), "what was before a reset is told to no model");
}

#[test]
fn a_message_that_was_accepted_is_known_without_a_model_too() {
    let (_model, home, server) = gateway();
    let mut client = server.admin();
    send(&mut client, "say hello", "K1").unwrap();
    until_end(&mut client, "K1");
    let lines = server.log().lines().count();
    home.auth(r#"{mode:"token",token:"T1"}"#);
    server.wait_new(lines, &["agents.defaults.model"]);
    assert_eq!(text(&send(&mut client, "say hello", "K1").unwrap(), "status"), "ok");
    let refused = send(&mut client, "say hello", "K2").unwrap_err();
    assert!(text(&refused, "message").contains("no model is configured"), "{}", json(&refused));
}

#[test]
fn an_abort_ends_the_run_and_keeps_what_was_said() {
    let (model, _home, server) = gateway();
    let mut client = server.admin();
    send(&mut client, "hang on and on", "K1").unwrap();
    loop {
        if text(&client.event("chat"), "payload.state") == "delta" {
            break;
        }
    }
    let row = client.ok("sessions.describe", r#"{"key":"main"}"#);
    assert_eq!(items(&row, "session.activeRunIds").len(), 1);
    // One that waits behind it, and is withdrawn alone.
    send(&mut client, "waits", "K2").unwrap();
    assert_eq!(text(&send(&mut client, "waits", "K2").unwrap(), "status"), "in_flight");
    let timeout = client.ok("agent.wait", r#"{"runId":"K2","timeoutMs":1}"#);
    assert_eq!(text(&timeout, "status"), "timeout");
    let aborted = client.ok("chat.abort", r#"{"sessionKey":"main","runId":"K1"}"#);
    assert_eq!((flag(&aborted, "aborted"), items(&aborted, "runIds").len()), (true, 1));
    assert_eq!(until_end(&mut client, "K1").last().unwrap().0, "aborted");
    until_end(&mut client, "K2");
    // The connection to the model is closed with it.
    while model.open.load(Ordering::SeqCst) > 0 {
        std::thread::yield_now();
    }
    let said = said(&mut client);
    let expected = [
        ("user", "hang on and on"),
        ("user", "waits"),
        ("assistant", "on a"),
        ("assistant", "you said: waits"),
    ];
    assert_eq!(said, pairs(&expected));
    let none = client.ok("chat.abort", r#"{"sessionKey":"main"}"#);
    assert!(!flag(&none, "aborted"));
    let asked = model.asked();
    assert_eq!(asked.len(), 2);
    let sent: Value = miniserde::json::from_str(&asked[1]).unwrap();
    let roles: Vec<_> = items(&sent, "messages").iter().map(|m| text(m, "role")).collect();
    assert_eq!(roles, ["system", "user", "assistant", "user"], "each answer behind what it answers");
}

#[test]
fn what_fails_is_tried_again_or_said_in_words() {
    let (model, home, server) = gateway();
    let mut client = server.admin();
    let mut run = 0;
    let mut end = |client: &mut Client, message: &str| {
        run += 1;
        let id = format!("K{run}");
        send(client, message, &id).unwrap();
        until_end(client, &id)
    };
    for message in ["refuse once 429", "refuse once 503", "cut"] {
        let before = model.asked().len();
        let events = end(&mut client, message);
        let (state, last) = events.last().unwrap();
        assert_eq!(state, "final", "{message}: {}", json(last));
        assert_eq!(text(last, "payload.message.content.0.text"), format!("you said: {message}"));
        assert_eq!(model.asked().len(), before + 2, "{message}");
        if message == "cut" {
            let replaced = events.iter().filter(|(_, event)| flag(event, "payload.replace")).count();
            assert_eq!(replaced, 1, "what was said before is replaced");
        }
    }
    for (message, why, kind) in [
        ("refuse 401", "stand-in/echo: the server refuses the key (refused with 401); see apiKey", "unknown"),
        ("refuse 404", "stand-in/echo: the server has no such model or path (refused with 404)", "unknown"),
        ("garbage", "stand-in/echo: the answer is no stream of openai-completions: <html>hello", "unknown"),
        ("nothing", "stand-in/echo: the model said nothing", "unknown"),
    ] {
        let events = end(&mut client, message);
        let (state, last) = events.last().unwrap();
        assert_eq!((state.as_str(), text(last, "payload.errorKind")), ("error", kind.into()), "{message}");
        assert!(text(last, "payload.errorMessage").starts_with(why), "{}", json(last));
    }
    let row = client.ok("sessions.describe", r#"{"key":"main"}"#);
    assert_eq!(text(&row, "session.status"), "failed");
    // And goes on after it.
    assert_eq!(end(&mut client, "say on").last().unwrap().0, "final");
    assert!(!server.log().contains("sk-test-0123"), "the key is in no log");
    // Without a model the answer is what to write.
    home.config(&format!(
        "{{gateway:{{mode:\"local\",bind:\"loopback\",port:{},auth:{{mode:\"token\",token:\"T1\"}}}}}}",
        home.port
    ));
    server.wait_log(&["applied"]);
    let refused = send(&mut client, "x", "K99").unwrap_err();
    assert!(text(&refused, "message").contains("set agents.defaults.model to"), "{}", json(&refused));
    assert!(!flag(&refused, "retryable"));
    assert!(!said(&mut client).iter().any(|(_, text)| text == "x"), "nothing was accepted");
}

#[test]
fn g1_a_run_goes_on_after_a_kill_and_after_a_restart() {
    let (model, home, server) = gateway();
    let mut client = server.admin();
    send(&mut client, "hang in there", "K1").unwrap();
    loop {
        if text(&client.event("chat"), "payload.state") == "delta" {
            break;
        }
    }
    server.kill();
    let server = home.start();
    server.wait_log(&["going on with run K1"]);
    model.wait(2);
    let mut client = server.admin();
    // Accepted once, before the kill.
    assert_eq!(text(&send(&mut client, "hang in there", "K1").unwrap(), "status"), "in_flight");
    // A restart in place goes on with it too.
    server.restart(&mut client);
    model.wait(3);
    let aborted = client.ok("chat.abort", r#"{"sessionKey":"main"}"#);
    assert!(flag(&aborted, "aborted"));
    let said_now = said(&mut client);
    assert_eq!(said_now.iter().filter(|(role, _)| role == "user").count(), 1, "{said_now:?}");
    drop(client);
    server.kill();
    // What has ended is not begun again.
    let server = home.start();
    let mut client = server.admin();
    send(&mut client, "say done", "K2").unwrap();
    assert_eq!(until_end(&mut client, "K2").last().unwrap().0, "final");
    assert_eq!(model.asked().len(), 4);
    // One that ended with the gateway three times is given up, in words.
    send(&mut client, "hang again", "K3").unwrap();
    model.wait(5);
    drop(client);
    server.kill();
    for count in [6, 7] {
        let server = home.start();
        model.wait(count);
        server.kill();
    }
    let server = home.start();
    let mut client = server.admin();
    let wait = client.ok("agent.wait", r#"{"runId":"K3"}"#);
    assert_eq!(text(&wait, "status"), "error", "{}", json(&wait));
    assert!(text(&wait, "error").contains("the gateway ended 3 times"), "{}", json(&wait));
    assert_eq!(model.asked().len(), 7);
}

#[test]
fn agent_is_answered_when_it_is_accepted_and_when_it_has_ended() {
    let (_model, _home, server) = gateway();
    let mut client = server.admin();
    let id = client.ask("agent", r#"{"message":"say yes","idempotencyKey":"A1"}"#);
    let accepted = client.answer(&id).unwrap();
    assert_eq!(
        (text(&accepted, "status"), text(&accepted, "sessionKey")),
        ("accepted".into(), "agent:main:main".into())
    );
    let ended = client.answer(&id).unwrap();
    assert_eq!((text(&ended, "runId"), text(&ended, "status")), ("A1".into(), "ok".into()));
    assert_eq!(text(&ended, "result.payloads.0.text"), "yes");
    let failing = client.ask("agent", r#"{"message":"refuse 401","idempotencyKey":"A2"}"#);
    client.answer(&failing).unwrap();
    let why = client.answer(&failing).unwrap_err();
    assert!(text(&why, "message").contains("refuses the key"), "{}", json(&why));
    let mut reader = server.connect(&crate::wire::Offer::new().token("T1"));
    for (method, params) in [
        ("chat.send", r#"{"sessionKey":"main","message":"x","idempotencyKey":"R"}"#),
        ("chat.abort", r#"{"sessionKey":"main"}"#),
        ("agent", r#"{"message":"x","idempotencyKey":"R"}"#),
    ] {
        assert_eq!(text(&reader.err(method, params), "details.missingScope"), "operator.write", "{method}");
    }
}

#[test]
fn tokens_are_counted_by_day_model_and_session() {
    let (_model, _home, server) = gateway();
    let mut client = server.admin();
    for run in ["K1", "K2"] {
        send(&mut client, &format!("say hello {run}"), run).unwrap();
        until_end(&mut client, run);
    }
    let usage = client.ok("sessions.usage", r#"{"range":"7d"}"#);
    let total = number(&usage, "totals.totalTokens");
    assert!(total > 0 && number(&usage, "totals.missingCostEntries") == 2, "{}", json(&usage));
    assert_eq!(text(&usage, "aggregates.byModel.0.model"), "echo");
    assert_eq!(number(&usage, "aggregates.messages.total"), 4);
    let row = items(&usage, "sessions")[0];
    assert_eq!((text(row, "key"), number(row, "usage.totalTokens")), ("agent:main:main".into(), total));
    let cost = client.ok("usage.cost", r#"{"days":3}"#);
    assert_eq!(number(&cost, "totals.totalTokens"), total);
    let days = items(&cost, "daily");
    assert_eq!((days.len(), number(days.last().unwrap(), "totalTokens")), (3, total));
    let before = client.ok("sessions.usage", r#"{"startDate":"2020-01-01","endDate":"2020-01-31"}"#);
    assert_eq!(number(&before, "totals.totalTokens"), 0);
}

#[test]
fn g8_g10_one_key_is_one_run_whenever_it_comes_and_stands_in_the_history() {
    let (model, home, server) = gateway();
    let mut client = server.admin();
    let first = client.ask("chat.send", r#"{"sessionKey":"main","message":"say one","idempotencyKey":"K1"}"#);
    let second =
        client.ask("chat.send", r#"{"sessionKey":"main","message":"say one","idempotencyKey":"K1"}"#);
    for id in [first, second] {
        assert_eq!(text(&client.answer(&id).unwrap(), "runId"), "K1");
    }
    until_end(&mut client, "K1");
    server.kill();
    let server = home.start();
    let mut client = server.admin();
    assert_eq!(text(&send(&mut client, "say one", "K1").unwrap(), "status"), "ok");
    let other = send(&mut client, "say two", "K1").unwrap_err();
    assert_eq!(text(&other, "code"), "INVALID_REQUEST");
    assert_eq!((model.asked().len(), said(&mut client).len()), (1, 2));
    let page = client.ok("chat.history", r#"{"sessionKey":"main"}"#);
    let place = |n: usize, name: &str| text(items(&page, "messages")[n], &format!("__openclaw.{name}"));
    assert_eq!((place(0, "idempotencyKey"), place(0, "runId")), ("K1:user".into(), "K1".into()));
    assert_eq!(place(1, "runId"), "K1");
}
