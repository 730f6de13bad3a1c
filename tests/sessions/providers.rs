//! Models of several servers: another dialect, others that stand in, and what a model does that is no good.

use crate::{
    runs::{gateway, gateway_with, pairs, said, send, until_end},
    wire::{get, items, json, number, text},
};
use miniserde::json::Value;

fn messages(body: &str) -> Vec<String> {
    let body: Value = miniserde::json::from_str(body).unwrap();
    items(&body, "messages").iter().map(|message| json(message)).collect()
}

#[test]
fn a_server_of_anthropic_messages_is_asked_in_its_own_way() {
    let (model, _home, server) = gateway_with("\"messages/echo\"", "");
    let mut client = server.admin();
    send(&mut client, "say hello", "K1").unwrap();
    let (state, last) = until_end(&mut client, "K1").pop().unwrap();
    assert_eq!((&*state, text(&last, "payload.message.content.0.text")), ("final", "hello".into()));
    send(&mut client, "call nothing {\\\"a\\\":1}", "K2").unwrap();
    let (state, last) = until_end(&mut client, "K2").pop().unwrap();
    let words = text(&last, "payload.message.content.0.text");
    assert!(state == "final" && words.starts_with("got ") && words.contains("no tool"), "{}", json(&last));
    let asked = model.asked();
    assert_eq!(asked.len(), 3);
    let all = messages(&asked[2]);
    assert_eq!(all.len(), 5, "{all:#?}");
    assert!(all[0].contains(r#""type":"text""#) && all[0].contains(r#""role":"user""#), "{}", all[0]);
    assert!(all[3].contains(r#""type":"tool_use""#) && all[3].contains(r#""input":{"a":1}"#), "{}", all[3]);
    assert!(
        all[4].contains(r#""type":"tool_result""#) && all[4].contains(r#""is_error":true"#),
        "{}",
        all[4]
    );
    let page = client.ok("chat.history", r#"{"sessionKey":"main"}"#);
    let first = items(&page, "messages")[1];
    assert_eq!(
        (text(first, "api"), text(first, "provider")),
        ("anthropic-messages".into(), "messages".into())
    );
    send(&mut client, "refuse 401", "K3").unwrap();
    let (_, last) = until_end(&mut client, "K3").pop().unwrap();
    assert!(
        text(&last, "payload.errorMessage").starts_with("messages/echo: the server refuses the key"),
        "{}",
        json(&last)
    );
}

#[test]
fn g27_a_model_that_has_had_enough_is_left_alone_and_another_one_answers() {
    let primary = "{primary:\"stand-in/busy\",fallbacks:[\"nowhere/x\",\"messages/echo\"]}";
    let (model, _home, server) = gateway_with(primary, "");
    let mut client = server.admin();
    let models = |asked: &[String]| -> Vec<String> {
        asked.iter().map(|body| text(&miniserde::json::from_str(body).unwrap(), "model")).collect()
    };
    send(&mut client, "say hello", "K1").unwrap();
    assert_eq!(until_end(&mut client, "K1").pop().unwrap().0, "final");
    assert_eq!(models(&model.asked()), ["busy", "busy", "echo"]);
    assert!(server.log().contains("nowhere/x cannot stand in"), "{}", server.log());
    // Whose account is the fault is not asked twice.
    let (model, _home, server) =
        gateway_with("{primary:\"stand-in/broke\",fallbacks:[\"messages/echo\"]}", "");
    let mut client = server.admin();
    for key in ["K1", "K2"] {
        send(&mut client, "say hello", key).unwrap();
        let (state, last) = until_end(&mut client, key).pop().unwrap();
        assert_eq!((&*state, text(&last, "payload.message.content.0.text")), ("final", "hello".into()));
    }
    assert_eq!(models(&model.asked()), ["broke", "echo", "echo"]);
    let page = client.ok("chat.history", r#"{"sessionKey":"main"}"#);
    assert_eq!(text(items(&page, "messages")[1], "provider"), "messages");
}

#[test]
fn what_a_hostile_model_does_wrong_is_a_result_that_it_can_read() {
    let (_model, _home, server) = gateway();
    let mut client = server.admin();
    // A tool that is not there, and arguments that are no JSON: results that it can read.
    for (n, message) in
        ["call nothing {}", "call nothing {\\\"a\\\":", "calls nothing [1,2]"].iter().enumerate()
    {
        let key = format!("K{n}");
        send(&mut client, message, &key).unwrap();
        let (state, last) = until_end(&mut client, &key).pop().unwrap();
        assert_eq!(state, "final", "{message}: {}", json(&last));
        assert!(text(&last, "payload.message.content.0.text").starts_with("got "), "{}", json(&last));
    }
    let page = client.ok("chat.history", r#"{"sessionKey":"main"}"#);
    let roles: Vec<_> = items(&page, "messages").iter().map(|message| text(message, "role")).collect();
    let one = ["user", "assistant", "toolResult", "assistant"];
    let twice = ["user", "assistant", "toolResult", "toolResult", "assistant"];
    assert_eq!(roles, [&one[..], &one, &twice].concat());
    assert!(get(items(&page, "messages")[2], "isError").is_some());
}

/// One that goes round in a circle.
#[test]
fn g11_the_same_call_with_the_same_result_ends_the_run() {
    let (model, _home, server) = gateway();
    let mut client = server.admin();
    let before = model.asked().len();
    send(&mut client, "loop nothing", "L").unwrap();
    let (state, last) = until_end(&mut client, "L").pop().unwrap();
    assert_eq!(state, "error");
    let why = text(&last, "payload.errorMessage");
    assert_eq!(why, "stopped: nothing was called 6 times with the same arguments and the same result");
    assert_eq!(model.asked().len() - before, 6);
    assert!(model.asked().last().unwrap().contains("You made this call before"));
    // And the conversation goes on.
    send(&mut client, "say on", "N").unwrap();
    assert_eq!(until_end(&mut client, "N").pop().unwrap().0, "final");
    assert_eq!(said(&mut client).last(), pairs(&[("assistant", "on")]).last());
}

#[test]
fn g6_a_call_that_broke_off_leaves_nothing() {
    let (model, _home, server) = gateway();
    let mut client = server.admin();
    let mut asked = 0;
    // The last is longer than the call: only the end of the stream is missing.
    for at in (1..400).step_by(57).chain([10_000]) {
        let key = format!("K{at}");
        send(&mut client, &format!(r#"cutat {at} nothing {{\"deep\":{{\"a\":[1,2,\"}}\"]}}}}"#), &key)
            .unwrap();
        let (state, last) = until_end(&mut client, &key).pop().unwrap();
        assert_eq!(state, "final", "{at}: {}", json(&last));
        asked += 3;
        assert_eq!(model.asked().len(), asked, "{at}: cut, called, and asked with the result");
        let page = client.ok("chat.history", r#"{"sessionKey":"main"}"#);
        let messages = items(&page, "messages");
        let own = &messages[messages.len() - 4..];
        let roles: Vec<_> = own.iter().map(|message| text(message, "role")).collect();
        assert_eq!(roles, ["user", "assistant", "toolResult", "assistant"], "{at}");
        assert_eq!(items(own[1], "content").len(), 1, "{at}: one call, whole");
    }
}

#[test]
fn a_budget_for_the_day_is_kept_across_a_kill_and_said() {
    let (model, home, server) = gateway();
    let own = home.store().join("barnacle.json");
    let write = |keys: &str| std::fs::write(&own, format!("{{budget:{{{keys}}}}}")).unwrap();
    let mut client = server.admin();
    // The stand-in counts ten tokens an answer.
    send(&mut client, "say one", "K1").unwrap();
    until_end(&mut client, "K1");
    write("perDay:20");
    server.wait_log(&["budget.perDay"]);
    let status = client.ok("usage.status", "{}");
    assert_eq!(number(&status, "providers.0.windows.0.usedPercent"), 50, "{}", json(&status));
    send(&mut client, "say two", "K2").unwrap();
    assert_eq!(until_end(&mut client, "K2").pop().unwrap().0, "final");
    server.kill();
    let server = home.start();
    let mut client = server.admin();
    send(&mut client, "say three", "K3").unwrap();
    let (state, last) = until_end(&mut client, "K3").pop().unwrap();
    assert_eq!((&*state, text(&last, "payload.errorKind")), ("error", "rate_limit".into()));
    let why = text(&last, "payload.errorMessage");
    assert!(why.contains("today's budget of 20 tokens is used up (20 were used)"), "{why}");
    assert!(why.contains("budget.perDay"), "{why}");
    assert_eq!(model.asked().len(), 2);
    // Of one agent, and of one run, which ends at the next step.
    write("perAgentDay:25,perRun:10");
    server.wait_log(&["budget.perAgentDay"]);
    send(&mut client, "call nothing {}", "K4").unwrap();
    let (state, last) = until_end(&mut client, "K4").pop().unwrap();
    let why = text(&last, "payload.errorMessage");
    assert!(state == "error" && why.contains("has used 10 tokens, and may use 10"), "{why}");
    send(&mut client, "say five", "K5").unwrap();
    let (_, last) = until_end(&mut client, "K5").pop().unwrap();
    let why = text(&last, "payload.errorMessage");
    assert!(why.contains("agent main's budget of 25 tokens for today is used up (30 were used)"), "{why}");
    assert_eq!(model.asked().len(), 3);
}

#[test]
fn a_server_is_asked_what_its_model_takes_and_the_log_says_it() {
    for (name, said, kept) in [
        ("told", " takes 6000 tokens, as its server says", 1),
        ("untold", ": its server does not say how many tokens it takes, so 8192 it is", 2),
    ] {
        let (model, _home, server) = gateway_with(&format!("{{primary:\"stand-in/{name}\"}}"), "");
        let mut client = server.admin();
        let long = "word ".repeat(600);
        for n in 0..2 {
            send(&mut client, &format!("say {n} {long}"), &format!("K{n}")).unwrap();
            assert_eq!(until_end(&mut client, &format!("K{n}")).pop().unwrap().0, "final");
        }
        server.wait_log(&[&format!("stand-in/{name}{said}")]);
        // Three thousand bytes asked and as many answered: what is too much for the one fits the other.
        let users = model.asked()[1].matches(r#""role":"user""#).count();
        assert_eq!(users, kept, "{name}");
    }
}
