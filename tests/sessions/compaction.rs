//! A conversation that has grown is summed up; where the model gives no summary, the next message is answered all the same.

use crate::{
    model::Model,
    runs::{gateway_with, said, send, until_end},
    wire::{Client, get, items, json, number, text},
};
use miniserde::json::Value;
use std::sync::atomic::Ordering;

/// One of some kilobytes, which is answered by as much.
fn long(n: usize) -> String {
    format!("say number {n} {}", "word ".repeat(700))
}

/// The standing instructions and the users' messages of request `n`.
fn asked(model: &Model, n: usize) -> (String, String) {
    let body: Value = miniserde::json::from_str(&model.asked()[n]).unwrap();
    let of = |role: &str| {
        let messages = items(&body, "messages").into_iter().filter(|m| text(m, "role") == role);
        messages.map(|m| text(m, "content")).collect::<Vec<_>>().join("\n")
    };
    (of("system"), of("user"))
}

/// How many requests were for a summary.
fn summaries(model: &Model) -> usize {
    (0..model.asked().len()).filter(|n| asked(model, *n).0.starts_with("You sum up")).count()
}

/// Sends messages until the session is summed up after one.
fn grow(client: &mut Client) {
    client.ok("sessions.subscribe", "{}");
    for n in 0..2 {
        send(client, &long(n), &format!("L{n}")).unwrap();
        assert_eq!(until_end(client, &format!("L{n}")).pop().unwrap().0, "final");
    }
    while text(&client.event("sessions.changed"), "payload.reason") != "compact" {}
}

/// The message of the transcript that says of the compaction.
fn marks(client: &mut Client) -> Vec<String> {
    let page = client.ok("chat.history", r#"{"sessionKey":"main"}"#);
    let all = items(&page, "messages").into_iter();
    let marks = all.filter(|message| text(message, "__openclaw.kind") == "compaction");
    marks.map(|message| text(message, "content.0.text")).collect()
}

#[test]
fn what_has_grown_is_summed_up_and_stays_in_the_history() {
    let (model, home, server) = gateway_with("{primary:\"stand-in/small\"}", "");
    let mut client = server.admin();
    grow(&mut client);
    assert_eq!(summaries(&model), 1);
    let (_, request) = asked(&model, model.asked().len() - 1);
    assert!(request.contains("User: say number 0") && !request.contains("number 1"), "{request}");
    let before = said(&mut client);
    assert!(before[0].1.starts_with("say number 0"), "all of it is shown");
    assert_eq!(marks(&mut client), ["Compaction"]);
    // Told in its place from then on, after a kill too.
    server.kill();
    let server = home.start();
    let mut client = server.admin();
    send(&mut client, "say next", "N").unwrap();
    assert_eq!(until_end(&mut client, "N").pop().unwrap().0, "final");
    let (system, users) = asked(&model, model.asked().len() - 1);
    assert!(
        system.contains("## Earlier in this conversation\n") && system.ends_with("\n\nSUMMARY\n"),
        "{system}"
    );
    assert!(users.contains("number 1") && !users.contains("number 0"), "{users}");
    assert_eq!(summaries(&model), 1, "once for one length");
}

#[test]
fn g18_whatever_a_summary_comes_to_the_next_message_is_answered() {
    for (name, requests) in [("sum-hang", 1), ("sum-refuse", 1), ("sum-long", 1), ("sum-overflow", 4)] {
        let more = "";
        let primary = format!("{{primary:\"stand-in/{name}\"}},compaction:{{timeoutSeconds:1}}");
        let (model, _home, server) = gateway_with(&primary, more);
        let mut client = server.admin();
        grow(&mut client);
        assert_eq!(summaries(&model), requests, "{name}");
        let marks = marks(&mut client);
        assert!(marks.len() == 1 && marks[0].starts_with("Compaction, with an outline"), "{name}: {marks:?}");
        send(&mut client, "say next", "N").unwrap();
        let (state, last) = until_end(&mut client, "N").pop().unwrap();
        assert_eq!(state, "final", "{name}: {}", json(&last));
        let (system, users) = asked(&model, model.asked().len() - 1);
        assert!(system.contains("- say number 0 word") && users.contains("number 1"), "{name}: {system}");
        assert_eq!(summaries(&model), requests, "{name}: not again at every turn");
    }
}

#[test]
fn g18_a_message_need_not_wait_for_a_summary() {
    let (model, _home, server) = gateway_with("{primary:\"stand-in/sum-hang\"}", "");
    let mut client = server.admin();
    for n in 0..2 {
        send(&mut client, &long(n), &format!("L{n}")).unwrap();
        until_end(&mut client, &format!("L{n}"));
    }
    model.wait(3);
    send(&mut client, "say next", "N").unwrap();
    assert_eq!(until_end(&mut client, "N").pop().unwrap().0, "final");
    let (_, users) = asked(&model, 3);
    assert!(users.ends_with("say next"), "{users}");
    // The stream of the summary is closed, and the one that is asked for after that answer hangs.
    model.wait(5);
    assert_eq!((summaries(&model), model.open.load(Ordering::SeqCst)), (2, 1));
}

#[test]
fn a_summary_is_asked_for() {
    let (model, _home, server) =
        gateway_with("{primary:\"stand-in/echo\"},compaction:{keepRecentTokens:10,enabled:false}", "");
    let mut client = server.admin();
    let nothing = client.ok("sessions.compact", r#"{"key":"main"}"#);
    assert_eq!(text(&nothing, "reason"), "nothing was said yet");
    for n in 0..3 {
        send(&mut client, &long(n), &format!("L{n}")).unwrap();
        until_end(&mut client, &format!("L{n}"));
    }
    let done = client.ok("sessions.compact", r#"{"key":"main"}"#);
    assert_eq!(text(&done, "result.summary"), "SUMMARY", "{}", json(&done));
    assert!(
        number(&done, "result.tokensBefore") > 2 * number(&done, "result.tokensAfter"),
        "{}",
        json(&done)
    );
    let again = client.ok("sessions.compact", r#"{"key":"main"}"#);
    assert_eq!(text(&again, "reason"), "there is nothing to sum up yet", "{}", json(&again));
    // By a message, with what is not to be left out; the summary before goes into it.
    send(&mut client, &long(3), "L3").unwrap();
    until_end(&mut client, "L3");
    send(&mut client, "/compact the pump", "C").unwrap();
    let (_, last) = until_end(&mut client, "C").pop().unwrap();
    let reply = text(&last, "payload.message.content.0.text");
    assert!(reply.starts_with("Summed up: about ") && !reply.contains("outline"), "{reply}");
    let (_, request) = asked(&model, model.asked().len() - 1);
    assert!(
        request.contains("summed up:\nSUMMARY\n") && request.ends_with("Do not leave out: the pump"),
        "{request}"
    );
    // While a run is under way it is refused, and nothing changes.
    send(&mut client, "wait here", "W").unwrap();
    let refused = client.ok("sessions.compact", r#"{"key":"main"}"#);
    assert!(text(&refused, "reason").contains("is being answered"), "{}", json(&refused));
    model.release();
    until_end(&mut client, "W");
    // A conversation that begins anew knows of no summary.
    client.ok("sessions.reset", r#"{"key":"main"}"#);
    send(&mut client, "say fresh", "F").unwrap();
    until_end(&mut client, "F");
    assert!(!asked(&model, model.asked().len() - 1).0.contains("SUMMARY"));
    assert!(get(&done, "result.firstKeptEntryId").is_some());
}
