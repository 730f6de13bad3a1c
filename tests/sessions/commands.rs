//! Messages that are commands: answered by the gateway, and sent to no model.

use crate::{
    model::Model,
    runs::{gateway, gateway_with, pairs, said, send, until_end},
    wire::{Client, Offer, flag, get, items, json, list, text},
};
use miniserde::json::Value;

/// Sends a command, and gives what it says.
#[track_caller]
fn command(client: &mut Client, message: &str, key: &str) -> String {
    let started = send(client, message, key).unwrap();
    assert_eq!(text(&started, "status"), "started", "{}", json(&started));
    let (state, last) = until_end(client, key).pop().unwrap();
    assert_eq!(state, "final", "{}", json(&last));
    text(&last, "payload.message.content.0.text")
}

fn row(client: &mut Client, key: &str) -> Value {
    client.ok("sessions.describe", &format!(r#"{{"key":"{key}"}}"#))
}

/// The model that request `n` was for.
fn model_of(model: &Model, n: usize) -> String {
    text(&miniserde::json::from_str(&model.asked()[n]).unwrap(), "model")
}

#[test]
fn what_is_asked_of_the_gateway_no_model_hears_of() {
    let (model, home, server) = gateway();
    let (mut client, mut listener) = (server.admin(), server.admin());
    listener.ok("sessions.messages.subscribe", r#"{"key":"main"}"#);
    let status = command(&mut client, "/status", "C1");
    for part in [
        "Barnacle ",
        "Session agent:main:main",
        "Model stand-in/echo (the agent's, 32000 tokens)",
        "queue steer",
    ] {
        assert!(status.contains(part), "{part}: {status}");
    }
    let said_by = [text(&listener.event("session.message"), "payload.message.role"), {
        text(&listener.event("session.message"), "payload.message.role")
    }];
    assert_eq!(said_by, ["user", "assistant"]);
    assert!(command(&mut client, "/help", "C2").contains("/model [name]: "));
    assert!(command(&mut client, "/whoami", "C3").contains("operator.admin"));
    assert!(command(&mut client, "/models", "C4").contains("- messages/echo"));
    let not_here = command(&mut client, "/think high", "C5");
    assert!(not_here.contains("/think is a command of OpenClaw that this version of Barnacle does not have"));
    assert_eq!(model.asked().len(), 0);
    // The same again does nothing, after a kill neither.
    assert_eq!(text(&send(&mut client, "/status", "C1").unwrap(), "status"), "ok");
    server.kill();
    let server = home.start();
    let mut client = server.admin();
    assert_eq!(text(&send(&mut client, "/status", "C1").unwrap(), "status"), "ok");
    assert!(send(&mut client, "/help", "C1").is_err(), "another message under its key");
    assert_eq!(said(&mut client).len(), 10, "each stands in the history once, with its reply");
    // What only looks like one is a message.
    send(&mut client, "/etc/passwd is a file", "M").unwrap();
    until_end(&mut client, "M");
    let body = &model.asked()[0];
    assert!(body.contains("/etc/passwd is a file") && !body.contains("/status"), "{body}");
    // By `agent` it is answered twice, as any message.
    let id = client.ask("agent", r#"{"message":"/status","idempotencyKey":"A","sessionKey":"main"}"#);
    assert_eq!(text(&client.answer(&id).unwrap(), "status"), "accepted");
    let second = client.answer(&id).unwrap();
    assert!(text(&second, "result.payloads.0.text").starts_with("Barnacle "), "{}", json(&second));
    // The title of a session is what was said in it.
    let list = client.ok("sessions.list", r#"{"includeDerivedTitles":true}"#);
    assert_eq!(text(&list, "sessions.0.derivedTitle"), "/etc/passwd is a file", "{}", json(&list));
}

#[test]
fn a_conversation_begins_anew() {
    let (model, home, server) = gateway();
    let mut client = server.admin();
    send(&mut client, "say old", "K1").unwrap();
    until_end(&mut client, "K1");
    let id = text(&row(&mut client, "main"), "session.sessionId");
    let reply = command(&mut client, "/reset", "C1");
    let expected = [("system", "Reset"), ("user", "/reset"), ("assistant", &*reply)];
    assert_eq!(said(&mut client), pairs(&expected));
    assert_eq!(text(&row(&mut client, "main"), "session.sessionId"), id, "the session stays");
    // With a message, which alone the model hears; the same again begins nothing.
    send(&mut client, "/new say first", "C2").unwrap();
    until_end(&mut client, "C2");
    assert_eq!(text(&send(&mut client, "/new say first", "C2").unwrap(), "status"), "ok");
    server.kill();
    let server = home.start();
    let mut client = server.admin();
    assert_eq!(text(&send(&mut client, "/new say first", "C2").unwrap(), "status"), "ok");
    let expected = [("system", "Reset"), ("user", "say first"), ("assistant", "first")];
    assert_eq!(said(&mut client), pairs(&expected));
    let body = &model.asked()[1];
    assert!(!body.contains("say old") && !body.contains("/new"), "{body}");
    // What is under way is stopped for it.
    send(&mut client, "hang here", "H").unwrap();
    model.wait(3);
    let reply = command(&mut client, "/new messages/echo", "C3");
    assert!(reply.contains("messages/echo answers it"), "{reply}");
    assert_eq!(text(&client.ok("agent.wait", r#"{"runId":"H"}"#), "status"), "aborted");
    assert_eq!(text(&row(&mut client, "main"), "session.modelProvider"), "messages");
    assert_eq!(
        text(&send(&mut client, "say old", "K1").unwrap(), "status"),
        "ok",
        "before two resets, and a kill"
    );
    let before = said(&mut client).len();
    // Only an owner may; others are told.
    let mut writer = server.connect(&Offer::new().token("T1").scopes(&["operator.write"]));
    for (n, name) in ["/new", "/reset say x", "/compact"].into_iter().enumerate() {
        let reply = command(&mut writer, name, &format!("W{n}"));
        assert!(reply.contains("needs operator.admin"), "{name}: {reply}");
    }
    let after = said(&mut client);
    assert!(
        after.len() == before + 6 && after[before..].iter().all(|(role, _)| role != "system"),
        "{after:?}"
    );
}

#[test]
fn a_model_is_chosen_for_a_session() {
    let primary = "{primary:\"stand-in/echo\",fallbacks:[\"messages/echo\"]}";
    let (model, home, server) = gateway_with(primary, "");
    let mut client = server.admin();
    assert!(command(&mut client, "/model", "C1").starts_with("Model stand-in/echo (the agent's"));
    let unknown = command(&mut client, "/model nosuch", "C2");
    assert!(
        unknown.contains("there is no model \"nosuch\"") && unknown.contains("messages/echo"),
        "{unknown}"
    );
    assert!(command(&mut client, "/model echo", "C3").contains("say stand-in/echo or messages/echo"));
    command(&mut client, "/model stand-in/other", "C4");
    let now = row(&mut client, "main");
    assert_eq!(
        (text(&now, "session.model"), text(&now, "session.modelOverrideSource")),
        ("other".into(), "user".into())
    );
    server.kill();
    let server = home.start();
    let mut client = server.admin();
    send(&mut client, "say one", "K1").unwrap();
    until_end(&mut client, "K1");
    assert_eq!(model_of(&model, 0), "other");
    // What a person chose has nobody to stand in for it.
    command(&mut client, "/model stand-in/broke", "C5");
    send(&mut client, "say two", "K2").unwrap();
    let (state, last) = until_end(&mut client, "K2").pop().unwrap();
    assert_eq!(state, "error", "{}", json(&last));
    assert_eq!(model.asked().len(), 2);
    // A server that is taken out of the configuration is said, with the way out.
    client.ok("sessions.patch", r#"{"key":"main","model":"messages/echo"}"#);
    let config = std::fs::read_to_string(home.config_path()).unwrap();
    home.config(
        &config.replace("messages:{baseUrl", "gone:{baseUrl").replace(",fallbacks:[\"messages/echo\"]", ""),
    );
    server.wait_log(&["configuration reloaded"]);
    let refused = send(&mut client, "say three", "K3").unwrap_err();
    assert!(text(&refused, "message").contains("/model default"), "{}", json(&refused));
    let back = command(&mut client, "/model default", "C6");
    assert_eq!(back, "The agent's model answers this session: stand-in/echo.");
    assert!(get(&row(&mut client, "main"), "session.modelOverride").is_none());
    send(&mut client, "say four", "K4").unwrap();
    until_end(&mut client, "K4");
    assert_eq!(model_of(&model, 2), "echo");
    // By the methods too.
    let bad = client.err("sessions.patch", r#"{"key":"main","model":"nosuch"}"#);
    assert!(text(&bad, "message").contains("there is no model"), "{}", json(&bad));
    let made = client.ok("sessions.create", r#"{"key":"own","model":"stand-in/other"}"#);
    assert_eq!(text(&made, "resolved.model"), "other", "{}", json(&made));
    let cleared = client.ok("sessions.patch", r#"{"key":"own","model":null}"#);
    assert_eq!(text(&cleared, "resolved.model"), "echo", "{}", json(&cleared));
}

#[test]
fn a_session_has_a_name_and_a_way_to_queue() {
    let (model, _home, server) = gateway();
    let mut client = server.admin();
    assert!(command(&mut client, "/name", "C1").contains("has no name"));
    command(&mut client, "/name The \\\"Pump\\\"", "C2");
    assert_eq!(text(&row(&mut client, "main"), "session.label"), "The \"Pump\"");
    client.ok("sessions.create", r#"{"key":"other","label":"taken"}"#);
    assert!(text(&send(&mut client, "/name taken", "C3").unwrap_err(), "message").contains("already in use"));
    assert!(command(&mut client, "/queue never", "C4").contains("There is no mode"));
    command(&mut client, "/queue followup", "C5");
    assert_eq!(text(&row(&mut client, "main"), "session.effectiveQueueMode"), "followup");
    send(&mut client, "held call nothing {}", "K1").unwrap();
    model.wait(1);
    send(&mut client, "say later", "K2").unwrap();
    send(&mut client, "/steer say now", "K3").unwrap();
    assert!(
        command(&mut client, "/status", "C6").contains("Answering K1"),
        "answered while a run is under way"
    );
    model.release();
    for key in ["K1", "K2", "K3"] {
        assert_eq!(until_end(&mut client, key).pop().unwrap().0, "final");
    }
    assert!(said(&mut client).contains(&("assistant".into(), "later".into())), "it had an answer of its own");
    command(&mut client, "/queue default", "C7");
    assert_eq!(text(&row(&mut client, "main"), "session.effectiveQueueMode"), "steer");
    // To stop is answered at once, and waits for nothing.
    send(&mut client, "hang here", "H").unwrap();
    let stopped = send(&mut client, "/stop", "S").unwrap();
    assert_eq!((text(&stopped, "status"), list(&stopped, "aborted")), ("ok".into(), vec!["H".to_owned()]));
    assert_eq!(until_end(&mut client, "H").pop().unwrap().0, "aborted");
}

#[test]
fn commands_are_listed() {
    let (_model, _home, server) = gateway();
    let mut client = server.admin();
    let all = client.ok("commands.list", r#"{"scope":"text"}"#);
    let names: Vec<String> = items(&all, "commands").iter().map(|row| text(row, "name")).collect();
    for name in ["new", "reset", "stop", "status", "model", "compact"] {
        assert!(names.iter().any(|known| known == name), "{name}");
    }
    assert_eq!(list(items(&all, "commands")[0], "textAliases"), ["/new"]);
    assert!(flag(items(&all, "commands")[0], "acceptsArgs") && get(&all, "commands.0.args.0.name").is_some());
    let short = client.ok("commands.list", r#"{"includeArgs":false}"#);
    assert!(get(&short, "commands.0.args").is_none());
    let metadata = client.ok("chat.metadata", r#"{"sessionKey":"main"}"#);
    assert_eq!(items(&metadata, "commands").len(), names.len());
    client.err("commands.list", r#"{"scope":"no"}"#);
}

#[test]
fn a_command_comes_between_the_messages_that_it_was_sent_between() {
    let (_model, _home, server) = gateway();
    let mut client = server.admin();
    for round in 0..10 {
        let ids = ["say before", "/new", "say behind"].map(|message| {
            let key = format!("{message} {round}");
            client.ask(
                "chat.send",
                &format!(r#"{{"sessionKey":"main","message":"{message}","idempotencyKey":"{key}"}}"#),
            )
        });
        for id in ids {
            client.answer(&id).unwrap();
        }
        until_end(&mut client, &format!("say behind {round}"));
        let said = said(&mut client);
        let users: Vec<&str> =
            said.iter().filter(|(role, _)| role == "user").map(|(_, text)| text.as_str()).collect();
        assert_eq!(users, ["/new", "say behind"], "round {round}: {said:?}");
    }
}
