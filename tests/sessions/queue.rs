//! Messages that come while a run of their session is going: taken in by it, or in its place, or after it.

use crate::{
    model::Model,
    runs::{gateway, gateway_with, pairs, said, send, until_end},
    wire::{Client, items, json, text},
};
use miniserde::json::Value;

/// What was sent to the model in request `n`: roles and texts.
fn sent(model: &Model, n: usize) -> Vec<(String, String)> {
    let body: Value = miniserde::json::from_str(&model.asked()[n]).unwrap();
    let messages = items(&body, "messages");
    let all = messages.iter().map(|m| (text(m, "role"), text(m, "content")));
    all.filter(|(role, _)| role != "system").collect()
}

/// The state and `stopReason` of the event that ended a run.
fn end(client: &mut Client, run: &str) -> (String, String) {
    let (state, last) = until_end(client, run).pop().unwrap();
    (state, text(&last, "payload.stopReason"))
}

fn ends(state: &str, why: &str) -> (String, String) {
    (state.to_owned(), why.to_owned())
}

#[test]
fn a_message_steers_the_run_at_its_next_tool() {
    let (model, home, server) = gateway();
    let (mut client, mut other) = (server.admin(), server.admin());
    send(&mut client, "held calls nothing {}", "K1").unwrap();
    model.wait(1);
    assert_eq!(text(&send(&mut other, "say both", "K2").unwrap(), "status"), "started");
    model.release();
    assert_eq!(end(&mut client, "K1"), ends("final", "stop"));
    assert_eq!(end(&mut other, "K2"), ends("final", "superseded"));
    // Calls that had not begun are skipped, each with its result, and the message comes behind them.
    let expected = [
        ("user", "held calls nothing {}"),
        ("assistant", ""),
        ("tool", "Skipped to process an incoming message."),
        ("tool", "Skipped to process an incoming message."),
        ("user", "say both"),
    ];
    assert_eq!(sent(&model, 1), pairs(&expected));
    assert_eq!(said(&mut client).last(), pairs(&[("assistant", "both")]).last());
    let waited = client.ok("agent.wait", r#"{"runId":"K2"}"#);
    assert_eq!(text(&waited, "status"), "ok");
    let row = client.ok("sessions.describe", r#"{"key":"main"}"#);
    assert_eq!(text(&row, "session.status"), "done", "{}", json(&row));
    // It stands there for later runs too, and after a kill.
    server.kill();
    let server = home.start();
    let mut client = server.admin();
    send(&mut client, "say three", "K3").unwrap();
    assert_eq!(end(&mut client, "K3"), ends("final", "stop"));
    let later = sent(&model, 2);
    assert_eq!(later[..5], pairs(&expected)[..]);
    assert_eq!(later[5..], pairs(&[("assistant", "both"), ("user", "say three")])[..]);
    assert_eq!(text(&send(&mut client, "say both", "K2").unwrap(), "status"), "ok", "accepted once");
    assert_eq!(model.asked().len(), 3);
}

#[test]
fn a_run_that_took_a_message_in_goes_on_with_it_after_a_kill() {
    let (model, home, server) = gateway();
    let mut client = server.admin();
    send(&mut client, "held call nothing {}", "K1").unwrap();
    model.wait(1);
    send(&mut client, "hang on", "K2").unwrap();
    model.release();
    model.wait(2);
    server.kill();
    let server = home.start();
    model.wait(3);
    let mut client = server.admin();
    assert_eq!(sent(&model, 2), sent(&model, 1), "the same is asked again");
    assert_eq!(text(&send(&mut client, "hang on", "K2").unwrap(), "status"), "in_flight");
    let aborted = client.ok("chat.abort", r#"{"sessionKey":"main","runId":"K1"}"#);
    assert_eq!(items(&aborted, "runIds").len(), 1);
    assert_eq!(text(&client.ok("agent.wait", r#"{"runId":"K2"}"#), "status"), "aborted");
    let users = said(&mut client).into_iter().filter(|(role, _)| role == "user").count();
    assert_eq!(users, 2);
}

#[test]
fn a_message_interrupts_the_run_where_it_is_to() {
    let (model, _home, server) = gateway();
    let mut client = server.admin();
    send(&mut client, "hang on and on", "K1").unwrap();
    model.wait(1);
    send(&mut client, "waits", "K2").unwrap();
    let params = r#"{"sessionKey":"main","message":"say now","idempotencyKey":"K3","queueMode":"interrupt"}"#;
    client.ok("chat.send", params);
    for (run, expected) in [("K1", "aborted"), ("K2", "aborted"), ("K3", "final")] {
        assert_eq!(end(&mut client, run).0, expected, "{run}");
    }
    assert_eq!(model.asked().len(), 2);
    let wrong = r#"{"sessionKey":"main","message":"x","idempotencyKey":"K4","queueMode":"later"}"#;
    let wrong = client.call("chat.send", wrong).unwrap_err();
    assert!(text(&wrong, "message").contains("queueMode"), "{}", json(&wrong));
}

#[test]
fn messages_are_collected_or_follow_each_other_as_the_configuration_says() {
    let (model, home, server) = gateway_with("\"stand-in/echo\"", "messages:{queue:{mode:\"collect\"}},");
    let mut client = server.admin();
    send(&mut client, "held call nothing {}", "K1").unwrap();
    model.wait(1);
    for (message, key) in [("one", "K2"), ("say two", "K3")] {
        send(&mut client, message, key).unwrap();
    }
    model.release();
    assert_eq!(end(&mut client, "K1"), ends("final", "stop"));
    assert_eq!(end(&mut client, "K2"), ends("final", "stop"));
    assert_eq!(end(&mut client, "K3"), ends("final", "superseded"));
    assert_eq!(model.asked().len(), 3, "one answer to both");
    assert_eq!(sent(&model, 2).last(), pairs(&[("user", "one\n\nsay two")]).last());

    let lines = server.log().lines().count();
    home.config(&model.config_with(home.port, "\"stand-in/echo\"", "messages:{queue:{mode:\"followup\"}},"));
    server.wait_new(lines, &["messages.queue.mode"]);
    send(&mut client, "held call nothing {}", "K4").unwrap();
    model.wait(4);
    for (message, key) in [("say one", "K5"), ("say two", "K6")] {
        send(&mut client, message, key).unwrap();
    }
    model.release();
    for run in ["K4", "K5", "K6"] {
        assert_eq!(end(&mut client, run), ends("final", "stop"), "{run}");
    }
    assert_eq!(model.asked().len(), 7, "two for the call, one for each of the others");
}

#[test]
fn g2_g3_whoever_comes_back_hears_each_answer_once() {
    let (model, home, server) = gateway();
    let mut client = server.admin();
    send(&mut client, "held say one", "K1").unwrap();
    model.wait(1);
    let behind = r#"{"sessionKey":"main","message":"say two","idempotencyKey":"K2","queueMode":"followup"}"#;
    client.ok("chat.send", behind);
    server.kill();
    let server = home.start();
    let (mut client, mut other) = (server.admin(), server.admin());
    model.wait(2);
    // Whoever asked before the kill is let go, too.
    (0..2).for_each(|_| model.release());
    for client in [&mut client, &mut other] {
        for (run, said) in [("K1", "one"), ("K2", "two")] {
            let (state, last) = until_end(client, run).pop().unwrap();
            assert_eq!((state, text(&last, "payload.message.content.0.text")), ("final".into(), said.into()));
        }
    }
    // One that is under way while the gateway is restarted in place, and those attached hear it from the next.
    send(&mut client, "held say three", "K3").unwrap();
    model.wait(4);
    server.restart(&mut client);
    model.wait(5);
    (0..2).for_each(|_| model.release());
    assert_eq!(end(&mut client, "K3"), ends("final", "stop"));
    assert_eq!(end(&mut other, "K3"), ends("final", "stop"));
    server.restart(&mut client);
    client.ok("health", "{}");
    let again = |event: &Value| text(event, "payload.state") == "final";
    assert!(!client.events.iter().any(again), "an answer is heard twice");
    drop((client, other));
    server.kill();
    let server = home.start();
    let mut client = server.admin();
    let texts: Vec<String> = said(&mut client).into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["held say one", "say two", "one", "two", "held say three", "three"]);
    assert!(!server.log().contains("going on with run"), "{}", server.log());
    assert_eq!(model.asked().len(), 5);
}
