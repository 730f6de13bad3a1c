//! The power goes at every call that touches a file while models answer: one lists sessions and sends messages with tools,
//! one takes in a message that came meanwhile, and one waits behind it.
//!
//! After each cut no accepted message is lost, every accepted run ends once, and what a tool did is not done again.

use crate::{
    crash_model::{Step, Tree, first_loss},
    model::Model,
    power_cut::recorded,
    wire::{Client, Home, flag, items, json, text},
};
use miniserde::json::Value;
use std::{collections::BTreeMap, fs};

/// The messages, each accepted before the next one is sent; the third is taken in by the run of the second.
const MESSAGES: [(&str, &str); 4] =
    [("K1", "mail inbox one"), ("K2", "held call nothing {}"), ("K3", "mail inbox two"), ("K4", "say last")];
/// What was answered before the first message is: the hello, and the session that the tools send to.
const BEFORE: u32 = 2;

fn params(n: usize) -> String {
    let (id, text) = MESSAGES[n];
    let mode = if n == 3 { "followup" } else { "steer" };
    format!(r#"{{"sessionKey":"main","message":"{text}","idempotencyKey":"{id}","queueMode":"{mode}"}}"#)
}

fn home(model: &Model) -> Home {
    let home = Home::empty();
    home.config(&model.config_with(home.port, "\"stand-in/echo\"", ""));
    home
}

/// Waits until no run of the session is open.
fn settle(client: &mut Client) {
    loop {
        let row = client.ok("sessions.describe", r#"{"key":"main"}"#);
        let active = text(&row, "session.activeRunIds.0");
        if !active.is_empty() {
            client.ok("agent.wait", &format!(r#"{{"runId":"{active}"}}"#));
        } else if text(&row, "session.status") != "running" {
            return;
        }
    }
}

/// The entries of a session's transcript, as they stand in its file.
fn entries(home: &Home, client: &mut Client, key: &str) -> Vec<Value> {
    let row = client.ok("sessions.describe", &format!(r#"{{"key":"{key}"}}"#));
    let path = home.store().join(format!("agents/main/sessions/{}.jsonl", text(&row, "session.sessionId")));
    let lines = fs::read_to_string(path).unwrap_or_default();
    lines.lines().filter_map(|line| miniserde::json::from_str(line).ok()).collect()
}

/// Starts a gateway on what the power cut left, and says what is wrong there with the first `accepted` messages.
fn loss(tree: &Tree, accepted: usize) -> Option<String> {
    let model = Model::start();
    // Nothing is held any more.
    (0..100).for_each(|_| model.release());
    let home = home(&model);
    let agents = home.store().join("agents");
    fs::create_dir_all(&agents).unwrap();
    tree.build(&agents);
    let server = home.start();
    let mut client = server.admin();
    settle(&mut client);
    // Who was not told that it is accepted sends it again.
    for (n, (id, _)) in MESSAGES.iter().enumerate().take(accepted + 1) {
        if let Err(e) = client.call("chat.send", &params(n)) {
            return Some(format!("{id}: {}", json(&e)));
        }
        settle(&mut client);
    }
    let (mut users, mut ends, mut took) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut results = 0;
    for entry in entries(&home, &mut client, "main") {
        let run = text(&entry, "runId");
        let reason = text(&entry, "message.stopReason");
        match &*text(&entry, "message.role") {
            "user" => *users.entry(run).or_insert(0) += 1,
            "assistant" if reason != "toolUse" => *ends.entry(run).or_insert(0) += 1,
            "toolResult" => results += usize::from(text(&entry, "message.content.0.text").contains("\"ok\"")),
            _ if text(&entry, "customType") == "barnacle.took-in" => {
                took.insert(text(&entry, "data.run"), run);
            }
            _ => {}
        }
    }
    for (id, _) in MESSAGES.iter().take(accepted + 1) {
        let by = took.get(*id).map_or(*id, String::as_str);
        let counts = (users.get(*id).copied().unwrap_or(0), ends.get(by).copied().unwrap_or(0));
        if counts != (1, 1) || (by != *id && ends.contains_key(*id)) {
            return Some(format!("{id} stands there and ended {counts:?} times, taken in by {by}"));
        }
    }
    let sent: Vec<String> = entries(&home, &mut client, "inbox")
        .iter()
        .filter(|entry| text(entry, "type") == "message")
        .map(|entry| text(entry, "message.content.0.text"))
        .collect();
    let mut once = sent.clone();
    once.sort_unstable();
    once.dedup();
    if once.len() != sent.len() || sent.len() < results {
        return Some(format!("{sent:?} was sent, and {results} results say so"));
    }
    let list = client.ok("sessions.list", "{}");
    let waits = items(&list, "sessions").iter().any(|row| flag(row, "hasActiveRun"));
    waits.then(|| "a run is open".into())
}

#[test]
fn whenever_the_power_goes_a_run_with_tools_is_neither_lost_nor_done_twice() {
    let model = Model::start();
    let home = home(&model);
    let run = recorded(&home, |server| {
        let (mut client, mut listener) = (server.admin(), server.admin());
        listener.ok("health", "{}");
        client.ok("sessions.create", r#"{"key":"inbox"}"#);
        client.ok("chat.send", &params(0));
        crate::runs::until_end(&mut listener, "K1");
        client.ok("chat.send", &params(1));
        model.wait(3);
        client.ok("chat.send", &params(2));
        client.ok("chat.send", &params(3));
        model.release();
        crate::runs::until_end(&mut listener, "K4");
    });
    let accepted = run.steps.iter().filter(|(step, _)| matches!(step, Step::Ack)).count();
    // Two hellos and `health`, then the session and the messages.
    assert_eq!(accepted, 4 + MESSAGES.len());
    let check = |tree: &Tree, acks: u32| {
        acks.checked_sub(BEFORE + 2).and_then(|accepted| loss(tree, accepted as usize))
    };
    let (trees, lost) = first_loss(&run, check);
    println!("{} steps, {trees} trees", run.steps.len());
    assert_eq!(lost, None);
    assert!(trees > 80, "only {trees} trees from {} steps", run.steps.len());
    // Without its syncs something is lost, or done twice: the model can tell.
    let without = run.without(|step| matches!(step, Step::Sync { directory: false, .. }));
    assert!(first_loss(&without, check).1.is_some());
}
