//! What stands in the transcripts when all is over.

use crate::{
    attached::World,
    backends::Inbox,
    chats::{Answer, Chat, Ends},
    disturb::Stage,
    wire::{get, number, text},
};
use miniserde::json::Value;
use std::{collections::BTreeMap, fs, path::Path};

/// How a run ended, as its transcript has it.
struct End {
    reason: String,
    text: String,
}

/// What a transcript has.
#[derive(Default)]
struct Transcript {
    /// The ids of runs, in the order of their messages.
    users: Vec<String>,
    ends: BTreeMap<String, Vec<End>>,
    /// The run that took the message of another in.
    took: BTreeMap<String, String>,
    /// Results of tools by run.
    results: BTreeMap<String, Vec<String>>,
    /// What tools sent to it.
    sent: Vec<String>,
}

/// Checks all of them against what was sent and accepted.
pub fn check(stage: &mut Stage, world: &World, inboxes: &[Inbox], chats: &[Chat], ends: &Ends) {
    let rows = stage.sessions();
    stage.stop();
    let agents = stage.home.store().join("agents");
    let mut all = BTreeMap::new();
    for agent in
        fs::read_dir(&agents).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir())
    {
        for file in fs::read_dir(agent.join("sessions")).unwrap().map(|entry| entry.unwrap().path()) {
            let id = file.file_stem().unwrap().to_string_lossy().into_owned();
            let transcript = read(&file, world);
            match rows.iter().find(|(_, other)| *other == id) {
                Some((key, _)) => _ = all.insert(key.clone(), transcript),
                // Begun for a message that was not accepted.
                None => world.count("transcripts without a row"),
            }
        }
    }
    whole_lines(&agents.join("sessions.log"), world);
    let none = Transcript::default();
    let of = |key: &str| all.get(key).unwrap_or(&none);
    for inbox in inboxes {
        in_order(&of(&inbox.key).sent, &inbox.sent, &inbox.key, world);
    }
    for chat in chats {
        let transcript = of(&chat.key);
        let accepted: Vec<(String, bool)> =
            chat.messages.iter().map(|message| (message.id.clone(), true)).collect();
        in_order(&transcript.users, &accepted, &chat.key, world);
        for message in &chat.messages {
            world.count("messages accepted");
            ended_once(transcript, &message.id, &chat.key, ends, world);
            let results = transcript.results.get(&message.id);
            let is_sent =
                results.is_some_and(|all| all.iter().any(|result| result.contains("\"status\":\"ok\"")));
            let Some([end]) = transcript.ends.get(&message.id).map(Vec::as_slice) else { continue };
            match &message.answer {
                Answer::Sends(mailbox, said) => {
                    let times = of(mailbox).sent.iter().filter(|sent| *sent == said).count();
                    if times > 1 || (is_sent && times != 1 && !takes(transcript, &message.id)) {
                        world.fail(format!("{said:?} was sent {times} times by {}", message.id));
                    }
                }
                Answer::Text(said) if message.text.starts_with("tell") => {
                    let times = transcript.sent.iter().filter(|sent| *sent == said).count();
                    let again = usize::from(end.text == *said);
                    if times > 1 || (is_sent && times + again != 1 && !takes(transcript, &message.id)) {
                        world.fail(format!("{said:?} was sent {times} times, and said {again} times"));
                    }
                }
                Answer::Text(said)
                    if end.reason == "stop" && end.text != *said && !takes(transcript, &message.id) =>
                {
                    world.fail(format!("{} was answered {:?}, and not {said:?}", message.id, end.text));
                }
                Answer::Text(_) | Answer::Listed => {}
            }
        }
    }
    for (run, states) in ends.iter().filter(|(_, states)| states.len() > 1) {
        world.fail(format!("{run} ended {states:?}"));
    }
}

fn takes(transcript: &Transcript, run: &str) -> bool {
    transcript.took.values().any(|by| by == run)
}

/// An accepted run has one end in the transcript, its own or that of the run that took its message in.
fn ended_once(transcript: &Transcript, run: &str, key: &str, ends: &Ends, world: &World) {
    let by = transcript.took.get(run);
    let own = transcript.ends.get(run).map_or(0, Vec::len);
    let end = transcript.ends.get(by.map_or(run, String::as_str)).map(Vec::as_slice).unwrap_or_default();
    if end.len() != 1 || (by.is_some() && own > 0) {
        let reasons: Vec<&str> = end.iter().map(|end| end.reason.as_str()).collect();
        world.fail(format!("{run} of {key} ended {reasons:?}, taken in by {by:?}"));
        return;
    }
    match (&*end[0].reason, by) {
        ("error", _) if end[0].text.contains("the gateway ended 3 times") => world.count("runs given up"),
        ("error", _) => world.fail(format!("{run} of {key} failed: {}", end[0].text)),
        (_, Some(_)) => world.count("runs taken in"),
        (_, None) => world.count("runs answered"),
    }
    if ends.get(run).is_some() {
        world.count("ends heard");
    }
}

/// What was answered stands there once and in its order; what was not, once at most.
fn in_order(there: &[String], sent: &[(String, bool)], key: &str, world: &World) {
    for (text, answered) in sent {
        match there.iter().filter(|other| *other == text).count() {
            0 if !answered => world.count("calls cut off without an effect"),
            0 => world.fail(format!("{key}: {text} is lost")),
            1 => {}
            more => world.fail(format!("{key}: {text} stands there {more} times")),
        }
    }
    let known: Vec<&String> =
        there.iter().filter(|other| sent.iter().any(|(text, _)| text == *other)).collect();
    let expected = sent.iter().map(|(text, _)| text).filter(|text| there.contains(text));
    if let Some((one, other)) = known.iter().zip(expected).find(|(one, other)| **one != *other) {
        world.fail(format!("{key}: {one} stands where {other} belongs"));
    }
}

fn read(path: &Path, world: &World) -> Transcript {
    let mut transcript = Transcript::default();
    let (mut seq, mut parent) = (0, String::new());
    for entry in whole_lines(path, world) {
        if text(&entry, "type") == "session" {
            continue;
        }
        seq += 1;
        if number(&entry, "seq") != seq || text(&entry, "parentId") != parent {
            world.fail(format!("{}: entry {seq} is {}", path.display(), text(&entry, "seq")));
        }
        parent = text(&entry, "id");
        let run = text(&entry, "runId");
        let said = Some(text(&entry, "message.content.0.text")).filter(|text| !text.is_empty());
        let said = said.unwrap_or_else(|| text(&entry, "message.content"));
        match (
            &*text(&entry, "customType"),
            &*text(&entry, "message.role"),
            &*text(&entry, "message.stopReason"),
        ) {
            ("barnacle.took-in", ..) => _ = transcript.took.insert(text(&entry, "data.run"), run),
            ("barnacle.ended", ..) => {
                let end = End { reason: text(&entry, "data.status"), text: String::new() };
                transcript.ends.entry(run).or_default().push(end);
            }
            (_, "user", _) => {
                if text(&entry, "idempotencyKey") != format!("{run}:user") {
                    world.fail(format!("{}: the message of {run} has no key", path.display()));
                }
                transcript.users.push(run);
            }
            (_, "toolResult", _) => transcript.results.entry(run).or_default().push(said),
            (_, "assistant", "toolUse") => {}
            (_, "assistant", _) if run.is_empty() => transcript.sent.push(said),
            (_, "assistant", reason) => {
                let said = if reason == "error" { text(&entry, "message.errorMessage") } else { said };
                transcript.ends.entry(run).or_default().push(End { reason: reason.into(), text: said });
            }
            _ => world.fail(format!("{}: {}", path.display(), crate::wire::json(&entry))),
        }
    }
    transcript
}

/// The lines of a log, each of which is JSON with the right checksum.
fn whole_lines(path: &Path, world: &World) -> Vec<Value> {
    let bytes = fs::read(path).unwrap();
    let mut all = Vec::new();
    for (n, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        world.count("lines");
        match whole(line) {
            Some(value) => all.push(value),
            None => {
                let shown = String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned();
                world.fail(format!("{}:{}: {shown}", path.display(), n + 1));
            }
        }
    }
    all
}

fn whole(line: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let value: Value = miniserde::json::from_str(text).ok()?;
    let content = text.rsplit_once(r#","crc":""#)?.0;
    let crc = content.bytes().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    });
    get(&value, "crc").is_some_and(|_| self::text(&value, "crc") == format!("{:08x}", !crc)).then_some(value)
}
