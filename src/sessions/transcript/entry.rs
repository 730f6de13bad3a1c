//! An entry of a transcript: one line, and its place among the others.
//!
//! ```text
//! {"type":"session","id":<session>,"timestamp":…}                                              the first line
//! {"type":"message","id":…,"parentId":…,"timestamp":…,"seq":5,"shown":2,"since":3,"message":{…}}
//! {"type":"reset",…}   {"type":"compaction",…,"firstKeptEntryId":…,"tokensBefore":…}   {"type":"custom",…}
//! ```
//!
//! `seq` counts the entries, `since` is the `seq` of the reset that the entry comes after (0 if none), and `shown` counts
//! what a history shows from there on. By them any part of a transcript is found by halving the file, and nothing of it
//! need be in memory. Source of the types: OpenClaw's `docs/reference/session-management-compaction/schema.md`.

use crate::{
    clock::timestamp,
    protocol::json,
    sessions::{SessionId, line},
};
use nanoserde::SerJson;

/// Place of an entry in its transcript.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Place {
    /// Number of the entry, from 1.
    pub seq: u64,
    /// Number of what is shown up to it, since the last reset.
    pub shown: u64,
    /// Number of the last reset, or 0.
    pub since: u64,
}

/// An entry to be appended.
#[derive(Clone, Debug)]
pub struct NewEntry {
    kind: Kind,
    at_ms: u64,
    /// More members, each with a comma before it.
    members: String,
}

/// Kinds of entries that this gateway writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Message,
    Reset,
    Compaction,
    Custom,
}

impl NewEntry {
    /// A message, JSON, with what the entry says of it besides.
    pub fn message(at_ms: u64, message: &str, run: Option<&str>, key: Option<&str>) -> Self {
        let more = |name: &str, value: Option<&str>| {
            value.map_or(String::new(), |value| format!(r#","{name}":{}"#, value.to_owned().serialize_json()))
        };
        let members = format!(r#"{}{},"message":{message}"#, more("runId", run), more("idempotencyKey", key));
        Self { kind: Kind::Message, at_ms, members }
    }

    /// A message that is a command, or the reply to one: a history shows it, and no model is sent it.
    pub fn command(at_ms: u64, message: &str, run: &str, key: Option<&str>) -> Self {
        let mut entry = Self::message(at_ms, message, Some(run), key);
        entry.members.insert_str(0, r#","command":true"#);
        entry
    }

    /// A message of another gateway, JSON, where it had the id `there`.
    pub fn imported(at_ms: u64, message: &str, there: &str) -> Self {
        let there = there.to_owned().serialize_json();
        Self { kind: Kind::Message, at_ms, members: format!(r#","importedId":{there},"message":{message}"#) }
    }

    /// A compaction of another gateway, where it had the id `there`, with its summary as JSON.
    pub fn imported_compaction(
        at_ms: u64,
        first_kept: &str,
        tokens: u64,
        summary: &str,
        there: &str,
    ) -> Self {
        let mut entry = Self::compaction(at_ms, first_kept, tokens);
        let there = there.to_owned().serialize_json();
        entry.members.push_str(&format!(r#","summary":{summary},"importedId":{there}"#));
        entry
    }

    /// A reset: what is before it is history of another conversation.
    pub fn reset(at_ms: u64) -> Self {
        Self { kind: Kind::Reset, at_ms, members: String::new() }
    }

    /// A compaction: the model is told only what comes from the entry `first_kept` on.
    pub fn compaction(at_ms: u64, first_kept: &str, tokens_before: u64) -> Self {
        let first = first_kept.to_owned().serialize_json();
        let members = format!(r#","firstKeptEntryId":{first},"tokensBefore":{tokens_before}"#);
        Self { kind: Kind::Compaction, at_ms, members }
    }

    /// The same with a summary of what is before, and why it is no model's.
    pub fn summed_up(mut self, summary: &str, why: Option<&str>) -> Self {
        self.members.push_str(&format!(r#","summary":{}"#, summary.serialize_json()));
        if let Some(why) = why {
            self.members.push_str(&format!(r#","note":{}"#, why.serialize_json()));
        }
        self
    }

    /// Shows it as it is read again.
    #[cfg(test)]
    pub(crate) fn shown_to(&self, see: impl FnOnce(&Entry<'_>)) {
        if let Ok((line, ..)) = self.line(&Place::default(), None)
            && let Some(object) = line::open(line.trim_end().as_bytes())
        {
            see(&Entry::read(object));
        }
    }

    /// A note of this gateway's own, which neither a history shows nor a model is told.
    pub fn custom(at_ms: u64, custom_type: &str, run: &str, data: &str) -> Self {
        let (kind, run) = (custom_type.serialize_json(), run.serialize_json());
        let members = format!(r#","customType":{kind},"runId":{run},"data":{data}"#);
        Self { kind: Kind::Custom, at_ms, members }
    }

    /// The entry's line after `last`, whose id is `parent`; with its own id and place.
    ///
    /// # Errors
    /// When the kernel has no randomness to give.
    pub(in crate::sessions) fn line(
        &self,
        last: &Place,
        parent: Option<&str>,
    ) -> Result<(String, String, Place), getrandom::Error> {
        let seq = last.seq + 1;
        let place = match self.kind {
            Kind::Reset => Place { seq, shown: 1, since: seq },
            Kind::Message | Kind::Compaction => Place { seq, shown: last.shown + 1, ..*last },
            Kind::Custom => Place { seq, ..*last },
        };
        let id = entry_id(seq)?;
        let kind = match self.kind {
            Kind::Message => "message",
            Kind::Reset => "reset",
            Kind::Compaction => "compaction",
            Kind::Custom => "custom",
        };
        let parent = parent.map_or("null".into(), |id| format!("\"{id}\""));
        let Place { seq, shown, since } = place;
        let object = format!(
            r#"{{"type":"{kind}","id":"{id}","parentId":{parent},"timestamp":"{}","seq":{seq},"shown":{shown},"since":{since}{}"#,
            timestamp(self.at_ms),
            self.members,
        );
        Ok((line::seal(object), id, place))
    }
}

/// The first line of a transcript.
pub(in crate::sessions) fn header(id: &SessionId, at_ms: u64) -> String {
    line::seal(format!(r#"{{"type":"session","version":1,"id":"{id}","timestamp":"{}""#, timestamp(at_ms)))
}

/// An id for entry `seq`: a UUID that begins with the number, so that the entry is found by its id.
fn entry_id(seq: u64) -> Result<String, getrandom::Error> {
    let SessionId(mut bytes) = SessionId::random()?;
    bytes[..4].copy_from_slice(&(seq as u32).to_be_bytes());
    Ok(SessionId(bytes).to_string())
}

/// The number in an entry's id.
pub(in crate::sessions) fn seq_of(id: &str) -> Option<u64> {
    let SessionId(bytes) = SessionId::parse(id)?;
    Some(u64::from(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])))
}

/// An entry as it stands in the file.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// `type`.
    pub kind: &'a str,
    /// Its id; empty if it has none.
    pub id: &'a str,
    /// Its place; all 0 in a line that another program wrote.
    pub place: Place,
    /// The message, JSON.
    pub message: Option<&'a str>,
    object: &'a str,
}

impl<'a> Entry<'a> {
    /// The entry of a message that was just appended; `object` has its other members.
    pub fn of_message(id: &'a str, place: Place, message: &'a str, object: &'a str) -> Self {
        Self { kind: "message", id, place, message: Some(message), object }
    }

    /// Reads a line's object.
    pub(in crate::sessions) fn read(object: &'a str) -> Self {
        let mut entry = Self { kind: "", id: "", place: Place::default(), message: None, object };
        for (name, value) in json::members(object) {
            let text = || value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or_default();
            let number = || value.parse().unwrap_or_default();
            match name {
                "type" => entry.kind = text(),
                "id" => entry.id = text(),
                "seq" => entry.place.seq = number(),
                "shown" => entry.place.shown = number(),
                "since" => entry.place.since = number(),
                "message" => {
                    entry.message = Some(value);
                    // What comes after it is only the checksum.
                    if entry.place.seq > 0 {
                        break;
                    }
                }
                _ => {}
            }
        }
        entry
    }

    /// A member of the entry, JSON.
    pub fn member(&self, name: &str) -> Option<&'a str> {
        json::members(self.object).find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Whether it is a command, or the reply to one.
    pub fn is_command(&self) -> bool {
        self.member("command") == Some("true")
    }

    /// Whether it was brought from another gateway.
    pub(in crate::sessions) fn is_imported(&self) -> bool {
        self.member("importedId").is_some()
    }

    /// Whether a history shows it.
    pub fn is_shown(&self) -> bool {
        match self.kind {
            "message" => self.message.is_some(),
            "reset" | "compaction" => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_follow_each_other() {
        let entries = [
            NewEntry::message(1, r#"{"role":"user","content":"a"}"#, None, Some("k\"1")),
            NewEntry::compaction(2, "x", 7),
            NewEntry::reset(3),
            NewEntry::message(4, r#"{"role":"assistant","content":"}{"}"#, Some("r"), None),
        ];
        let expected = [(1, 1, 0), (2, 2, 0), (3, 1, 3), (4, 2, 3)];
        let (mut last, mut parent) = (Place::default(), None);
        for (new, (seq, shown, since)) in entries.iter().zip(expected) {
            let (line, id, place) = new.line(&last, parent.as_deref()).unwrap();
            assert_eq!(place, Place { seq, shown, since });
            let object = line::open(line.trim_end().as_bytes()).unwrap();
            let entry = Entry::read(object);
            assert_eq!((&entry.place, entry.id, seq_of(entry.id)), (&place, &*id, Some(seq)));
            assert!(entry.is_shown());
            let before = parent.map_or("null".into(), |id| format!("\"{id}\""));
            assert_eq!(entry.member("parentId"), Some(before.as_str()));
            (last, parent) = (place, Some(id));
        }
    }

    #[test]
    fn a_line_of_another_program_has_no_place() {
        let entry = Entry::read(r#"{"type":"message","message":{"role":"user","content":"x"},"id":"abc"}"#);
        assert_eq!((entry.kind, entry.id, entry.place.seq), ("message", "abc", 0));
        assert_eq!(entry.message, Some(r#"{"role":"user","content":"x"}"#));
        assert!(!Entry::read(r#"{"type":"custom"}"#).is_shown());
    }
}
