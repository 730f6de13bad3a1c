//! People who chat: each message is sent until it is accepted, and its run waited for.

use crate::{
    attached::{Attached, World, ends_a_run},
    dice::Dice,
    disturb::Stage,
    wire::{flag, text},
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    thread::{self, JoinHandle},
};

const CHATS: u64 = 4;
/// Messages of a session before another one is begun.
const MESSAGES: usize = 40;

/// What somebody said in a session.
pub struct Chat {
    pub key: String,
    pub messages: Vec<Message>,
}

/// A message that was accepted, the run of which is its own id.
pub struct Message {
    pub id: String,
    pub text: String,
    /// What its model says to it.
    pub answer: Answer,
}

/// What a model says to a message.
pub enum Answer {
    /// This text.
    Text(String),
    /// What comes of a tool that changes nothing.
    Listed,
    /// It sends this text to that session with a tool, once.
    Sends(String, String),
}

/// Begins all of them.
pub fn begin(stage: &Stage, world: &Arc<World>, seed: u64) -> Vec<JoinHandle<Vec<Chat>>> {
    let begin = |n| {
        let mut attached = Attached::new(stage.at(), stage.pair(), world);
        let (world, dice) = (world.clone(), Dice::new(seed.wrapping_mul(31) + n));
        thread::spawn(move || work(&mut attached, n, dice, &world))
    };
    (0..CHATS).map(begin).collect()
}

fn work(attached: &mut Attached, n: u64, mut dice: Dice, world: &World) -> Vec<Chat> {
    let mut chats: Vec<Chat> = Vec::new();
    let mailbox = format!("agent:main:mailbox-{n}");
    attached.ok("sessions.create", &format!(r#"{{"key":"{mailbox}"}}"#));
    while !world.is_calm() {
        if chats.last().is_none_or(|chat| chat.messages.len() >= MESSAGES) {
            let agent = ["main", "work"][dice.roll(2) as usize];
            chats.push(Chat { key: format!("agent:{agent}:chat-{n}-{}", chats.len()), messages: Vec::new() });
        }
        let number = chats.len();
        let chat = chats.last_mut().unwrap();
        // One, or a few at once: the others wait, or are taken in.
        let several = 1 + dice.roll(4).saturating_sub(1);
        let mut open = Vec::new();
        for _ in 0..several {
            let message =
                message(&mut dice, &format!("{n}.{number}.{}", chat.messages.len() + open.len()), &mailbox);
            open.push(message);
        }
        let before = attached.connection();
        accept(attached, &chat.key, &open, world);
        for message in &open {
            let has_ended = wait(attached, &chat.key, &message.id);
            let heard = attached.heard(&message.id);
            // Who was there from before it was accepted has heard it.
            if has_ended && attached.connection() == before && heard != 1 {
                world.fail(format!("{} ended, and that was heard {heard} times", message.id));
            }
        }
        chat.messages.extend(open);
    }
    chats
}

fn message(dice: &mut Dice, id: &str, mailbox: &str) -> Message {
    let (text, answer) = match dice.roll(6) {
        0 => (format!("say well {id}"), Answer::Text(format!("well {id}"))),
        1 => ("call sessions_list {\"limit\":3}".into(), Answer::Listed),
        2 => {
            let said = format!("mail {id}");
            let args = format!("{{\"target\":\"{mailbox}\",\"message\":\"{said}\"}}");
            (format!("call message {args}"), Answer::Sends(mailbox.into(), said))
        }
        3 => (format!("tell news {id}"), Answer::Text(format!("news {id}"))),
        _ => {
            let words: String = (0..5 + dice.roll(25)).map(|word| format!("w{word} ")).collect();
            (format!("slow {words}{id}"), Answer::Text(format!("{words}{id}")))
        }
    };
    Message { id: format!("run-{id}"), text, answer }
}

/// Sends messages, all at once, until each is accepted.
fn accept(attached: &mut Attached, key: &str, messages: &[Message], world: &World) {
    let mut left: Vec<&Message> = messages.iter().collect();
    while !left.is_empty() {
        let asked: Vec<String> = left
            .iter()
            .map(|message| {
                let quoted = message.text.replace('"', "\\\"");
                let params = format!(
                    r#"{{"sessionKey":"{key}","message":"{quoted}","idempotencyKey":"{}"}}"#,
                    message.id
                );
                attached.ask("chat.send", &params)
            })
            .collect();
        let mut accepted = 0;
        for id in asked {
            match attached.answer(&id, "chat.send") {
                Some(answer) => {
                    accepted += 1;
                    if !["started", "in_flight", "ok"].contains(&&*text(&answer, "status")) {
                        world.fail(format!("chat.send: {}", crate::wire::json(&answer)));
                    }
                }
                // What was asked by the connection before is asked again, in the same order.
                None => break,
            }
        }
        if accepted < left.len() && accepted > 0 {
            world.count("batches accepted in part");
        }
        left.drain(..accepted);
    }
}

/// Waits until a run has ended, and whether that was said: what ended before it was started a gateway does not remember.
fn wait(attached: &mut Attached, key: &str, id: &str) -> bool {
    loop {
        let waited = attached.ok("agent.wait", &format!(r#"{{"runId":"{id}","timeoutMs":300}}"#));
        if text(&waited, "status") != "timeout" {
            return true;
        }
        let row = attached.ok("sessions.describe", &format!(r#"{{"key":"{key}"}}"#));
        if !flag(&row, "session.hasActiveRun") {
            return false;
        }
    }
}

/// The events that ended each run, as one sees them who is always there.
pub type Ends = BTreeMap<String, Vec<String>>;

/// Begins to listen; what came until the session `last` has something said in it.
pub fn listen(stage: &Stage, world: &Arc<World>) -> JoinHandle<Ends> {
    let mut attached = Attached::new(stage.at(), stage.pair(), world);
    thread::spawn(move || {
        let mut ends = Ends::new();
        loop {
            let Some(frame) = attached.frame() else { continue };
            if text(&frame, "event") != "chat" {
                continue;
            }
            if ends_a_run(&frame) {
                let state = text(&frame, "payload.state");
                ends.entry(text(&frame, "payload.runId")).or_default().push(state);
            } else if text(&frame, "payload.sessionKey") == LAST {
                return ends;
            }
        }
    })
}

/// The session in which something is said when all is over.
pub const LAST: &str = "agent:main:the-last";
