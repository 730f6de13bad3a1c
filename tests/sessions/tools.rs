//! What agents may do, done by clients with `tools.invoke`.

use crate::wire::{Client, Home, Server, flag, get, items, json, number, text};
use miniserde::json::Value;

/// A gateway with the agents `main` and `work`, and `more` in its configuration.
fn gateway(more: &str) -> (Home, Server) {
    let home = Home::empty();
    home.config(&format!(
        "{{gateway:{{mode:\"local\",bind:\"loopback\",port:{},auth:{{mode:\"token\",token:\"T1\"}}}},\
         agents:{{entries:{{main:{{}},work:{{}}}}}}{more}}}",
        home.port
    ));
    let server = home.start();
    (home, server)
}

fn invoke(client: &mut Client, name: &str, args: &str, beside: &str) -> Value {
    client.ok("tools.invoke", &format!(r#"{{"name":"{name}","args":{args}{beside}}}"#))
}

/// What a model would read.
#[track_caller]
fn used(client: &mut Client, name: &str, args: &str, beside: &str) -> Value {
    let answer = invoke(client, name, args, beside);
    assert!(flag(&answer, "ok"), "{}", json(&answer));
    miniserde::json::from_str(&text(&answer, "output.content.0.text")).unwrap()
}

fn keys(list: &Value) -> Vec<String> {
    let mut keys: Vec<String> = items(list, "sessions").iter().map(|row| text(row, "key")).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn a_message_is_sent_and_the_list_shows_its_session() {
    let (_home, server) = gateway("");
    let (mut client, mut listener) = (server.admin(), server.admin());
    client.ok("sessions.create", r#"{"key":"one","label":"First"}"#);
    client.ok("sessions.create", r#"{"key":"agent:work:two"}"#);
    let list = used(&mut client, "sessions_list", "{}", "");
    assert_eq!(keys(&list), ["agent:main:one", "agent:work:two"]);
    assert_eq!((number(&list, "count"), flag(&list, "hasMore")), (2, false));
    assert!(get(&list, "visibility").is_none());
    listener.ok("sessions.messages.subscribe", r#"{"key":"one"}"#);
    let sent =
        used(&mut client, "message", r#"{"action":"send","target":"one","message":"good morning"}"#, "");
    assert_eq!((text(&sent, "status"), text(&sent, "target")), ("ok".into(), "agent:main:one".into()));
    assert_eq!(text(&listener.event("chat"), "payload.message.content.0.text"), "good morning");
    assert_eq!(text(&listener.event("session.message"), "payload.messageId"), text(&sent, "messageId"));
    let page = client.ok("chat.history", r#"{"sessionKey":"one"}"#);
    assert_eq!(text(&page, "messages.0.content.0.text"), "good morning");
}
