//! An agent that uses its tools: what its model is offered, what a tool does, and what is kept of it.

use crate::{
    runs::{gateway, gateway_with, said, send, until_end},
    wire::{Device, Offer, get, items, json, text},
};
use miniserde::json::Value;

#[test]
fn an_agent_lists_sessions_and_sends_a_message() {
    let (model, _home, server) = gateway();
    let mut client = server.admin();
    client.ok("sessions.create", r#"{"key":"other","label":"Other one"}"#);
    send(&mut client, r#"call sessions_list {\"limit\":5}"#, "K1").unwrap();
    let (_, last) = until_end(&mut client, "K1").pop().unwrap();
    let mut phases = Vec::new();
    loop {
        let event = client.event("agent");
        match &*text(&event, "payload.stream") {
            "tool" => {
                assert_eq!(text(&event, "payload.data.name"), "sessions_list");
                assert_eq!(text(&event, "payload.data.toolCallId"), "call_0");
                phases.push(text(&event, "payload.data.phase"));
            }
            "lifecycle" if text(&event, "payload.data.phase") == "end" => break,
            _ => {}
        }
    }
    assert_eq!(phases, ["start", "result"]);
    let words = text(&last, "payload.message.content.0.text");
    assert!(words.starts_with("got ") && words.contains("agent:main:other"), "{words}");
    // Said before the call, and replaced by what is said after it.
    assert_eq!(said(&mut client)[1].1, "let me see");
    let offered: Value = miniserde::json::from_str(&model.asked()[0]).unwrap();
    let names: Vec<String> =
        items(&offered, "tools").iter().map(|tool| text(tool, "function.name")).collect();
    for tool in ["sessions_list", "message"] {
        assert!(names.iter().any(|name| name == tool), "{names:?}");
    }

    // To another session: it is there, and heard by who listens there.
    let mut listener = server.admin();
    listener.ok("sessions.messages.subscribe", r#"{"key":"other"}"#);
    let message = r#"call message {\"target\":\"other\",\"message\":\"the pump is on\"}"#;
    send(&mut client, message, "K2").unwrap();
    assert_eq!(until_end(&mut client, "K2").pop().unwrap().0, "final");
    assert_eq!(text(&listener.event("session.message"), "payload.message.content.0.text"), "the pump is on");
    let page = client.ok("chat.history", r#"{"sessionKey":"other"}"#);
    assert_eq!(text(items(&page, "messages")[0], "content.0.text"), "the pump is on");
}

#[test]
fn g20_what_a_tool_has_sent_to_its_own_session_is_not_said_again() {
    let (_model, _home, server) = gateway();
    let mut client = server.admin();
    send(&mut client, "tell got it", "K3").unwrap();
    let (state, last) = until_end(&mut client, "K3").pop().unwrap();
    assert!(state == "final" && get(&last, "payload.message").is_none(), "{}", json(&last));
    let now = said(&mut client);
    assert_eq!(
        now.iter().filter(|(role, text)| role == "assistant" && text == "got it").count(),
        1,
        "{now:?}"
    );
    assert_eq!(now.len(), 4, "{now:?}");
}

#[test]
fn an_agent_is_told_who_it_is_by_its_workspace_and_has_a_model_of_its_own() {
    let helper = "helper:{model:\"messages/echo\",workspace:\"~/helper\"}";
    // What closes agents.defaults closes agents.entries.
    let primary = format!("\"stand-in/busy\"}},entries:{{main:{{default:true}},{helper}");
    let (model, home, server) = gateway_with(&primary, "");
    let mut client = server.admin();
    let write = |path: &str, text: &str| {
        let path = home.dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("helper/AGENTS.md", "Always be kind to the pump.");
    write("helper/SOUL.md", "You are a gardener.");
    let params = r#"{"sessionKey":"agent:helper:main","message":"say hello","idempotencyKey":"K1"}"#;
    client.ok("chat.send", params);
    assert_eq!(until_end(&mut client, "K1").pop().unwrap().0, "final");
    let asked: Value = miniserde::json::from_str(&model.asked()[0]).unwrap();
    let system = text(&asked, "system");
    let places = ["\"helper\"", "## AGENTS.md", "kind to the pump", "## SOUL.md", "You are a gardener"];
    let places: Vec<usize> = places.iter().map(|part| system.find(part).expect(part)).collect();
    assert!(places.is_sorted(), "{system}");
    // A file that is changed holds from the next run on.
    write("helper/SOUL.md", "You are a plumber.");
    client.ok("chat.send", &params.replace("K1", "K2"));
    until_end(&mut client, "K2");
    assert!(model.asked()[1].contains("You are a plumber."));
}

#[test]
fn what_an_agent_may_not_do_is_neither_offered_nor_done() {
    let (model, _home, server) = gateway_with("\"stand-in/echo\"", "tools:{deny:[\"message\"]},");
    let mut client = server.admin();
    send(&mut client, r#"call message {\"message\":\"x\"}"#, "K1").unwrap();
    let (_, last) = until_end(&mut client, "K1").pop().unwrap();
    assert!(
        text(&last, "payload.message.content.0.text").contains("is not available here"),
        "{}",
        json(&last)
    );
    let offered: Value = miniserde::json::from_str(&model.asked()[0]).unwrap();
    assert!(items(&offered, "tools").iter().all(|tool| text(tool, "function.name") != "message"));
}

#[test]
fn a_tool_that_was_at_work_when_the_gateway_ended_is_not_used_again_unless_it_is_harmless() {
    let (model, home, server) = gateway();
    let mut client = server.admin();
    let device = Device::new();
    let mut node = server.connect(&Offer::node(&device, &["pump.on"]).token("T1"));
    let request = client.ok("node.pair.list", "{}");
    for pending in items(&request, "pending") {
        client.ok("node.pair.approve", &format!(r#"{{"requestId":"{}"}}"#, text(pending, "requestId")));
    }
    let arguments =
        format!(r#"{{\"action\":\"invoke\",\"node\":\"{}\",\"command\":\"pump.on\"}}"#, device.id());
    send(&mut client, &format!("call nodes {arguments}"), "K1").unwrap();
    node.event("node.invoke.request");
    server.kill();
    let server = home.start();
    server.wait_log(&["going on with run K1"]);
    let mut client = server.admin();
    // It may have been carried out, and is not done again.
    let waited = client.ok("agent.wait", r#"{"runId":"K1"}"#);
    assert_eq!(text(&waited, "status"), "ok", "{}", json(&waited));
    let asked = model.asked();
    assert_eq!(asked.len(), 2, "the model was asked once for the calls, and once with their results");
    let last: Value = miniserde::json::from_str(&asked[1]).unwrap();
    let results: Vec<String> = items(&last, "messages")
        .iter()
        .filter(|message| text(message, "role") == "tool")
        .map(|message| text(message, "content"))
        .collect();
    assert!(results.len() == 1 && results[0].contains("outcome is unknown"), "{results:?}");
}

#[test]
fn g5_a_run_that_restarts_the_gateway_goes_on_with_the_result() {
    let (model, _home, server) = gateway();
    let mut client = server.admin();
    send(&mut client, r#"call gateway {\"action\":\"restart\"}"#, "K1").unwrap();
    let (state, last) = until_end(&mut client, "K1").pop().unwrap();
    assert_eq!(state, "final", "{}", json(&last));
    assert!(text(&last, "payload.message.content.0.text").contains("scheduled"), "{}", json(&last));
    let page = client.ok("chat.history", r#"{"sessionKey":"main"}"#);
    let results = items(&page, "messages").iter().filter(|m| text(m, "role") == "toolResult").count();
    assert_eq!(results, 1, "it is restarted once");
    assert!(model.asked().len() >= 2);
    // The same connection, another process image.
    server.wait_log(&["restart"]);
    assert_eq!(text(&client.ok("agent.wait", r#"{"runId":"K1"}"#), "status"), "ok");
}

#[test]
fn g16_after_an_abort_no_tool_begins_and_no_model_is_asked() {
    let (model, _home, server) = gateway();
    let mut client = server.admin();
    client.ok("sessions.create", r#"{"key":"other"}"#);
    send(&mut client, r#"held call message {\"target\":\"other\",\"message\":\"too late\"}"#, "K1").unwrap();
    model.wait(1);
    client.ok("chat.abort", r#"{"sessionKey":"main"}"#);
    model.release();
    assert_eq!(until_end(&mut client, "K1").pop().unwrap().0, "aborted");
    send(&mut client, "say on", "K2").unwrap();
    assert_eq!(until_end(&mut client, "K2").pop().unwrap().0, "final");
    assert_eq!(model.asked().len(), 2);
    let page = client.ok("chat.history", r#"{"sessionKey":"other"}"#);
    assert_eq!(items(&page, "messages").len(), 0);
}
