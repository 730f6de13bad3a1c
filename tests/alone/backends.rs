//! Backends, as the report has them: each lists sessions and sends messages without a pause.

use crate::{
    attached::{Attached, World},
    disturb::Stage,
    wire::{flag, items, json, text},
};
use miniserde::json::Value;
use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

const BACKENDS: usize = 10;

/// What was sent to an inbox.
pub struct Inbox {
    pub key: String,
    /// Each text, and whether it was answered.
    pub sent: Vec<(String, bool)>,
}

/// Begins all of them.
pub fn begin(stage: &Stage, world: &Arc<World>) -> Vec<JoinHandle<Inbox>> {
    let begin = |n| {
        let mut attached = Attached::new(stage.at(), stage.pair(), world);
        let world = world.clone();
        thread::spawn(move || work(&mut attached, n, &world))
    };
    (0..BACKENDS).map(begin).collect()
}

fn work(attached: &mut Attached, n: usize, world: &World) -> Inbox {
    let key = format!("agent:main:inbox-{n}");
    attached.ok("sessions.create", &format!(r#"{{"key":"{key}"}}"#));
    let mut inbox = Inbox { key: key.clone(), sent: Vec::new() };
    let invoke = |name: &str, args: &str| format!(r#"{{"name":"{name}","args":{args}}}"#);
    while !world.is_calm() {
        let listed = attached.once("tools.invoke", &invoke("sessions_list", r#"{"search":"inbox"}"#));
        if let Some(listed) = listed {
            let output = text(&listed, "output.content.0.text");
            let rows = miniserde::json::from_str::<Value>(&output).unwrap_or(Value::Null);
            let has = items(&rows, "sessions").iter().any(|row| text(row, "key") == key);
            if !flag(&listed, "ok") || !has {
                world.fail(format!("sessions_list without {key}: {}", json(&listed)));
            }
        }
        let said = format!("{n}-{}", inbox.sent.len());
        let args = format!(r#"{{"target":"{key}","message":"{said}"}}"#);
        let sent = attached.once("tools.invoke", &invoke("message", &args));
        if let Some(sent) = &sent
            && !flag(sent, "ok")
        {
            world.fail(format!("message: {}", json(sent)));
        }
        inbox.sent.push((said, sent.is_some()));
        attached.once("sessions.list", r#"{"limit":20}"#);
        // The pace of an agent's tool calls, each at its own.
        thread::sleep(Duration::from_millis(10 + 3 * n as u64));
    }
    inbox
}
