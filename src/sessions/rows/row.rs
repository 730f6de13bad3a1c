//! A session's row: what is known of a conversation beside its transcript.
//!
//! One that is worked with; thousands are in memory [`AtRest`](super::at_rest::AtRest).

use super::fields::{FIELDS, place};
use crate::{
    protocol::{hex, json},
    sessions::{key::SessionKey, line},
};
use nanoserde::SerJson;
use std::fmt;

/// Id of a session: names its transcript.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub [u8; 16]);

impl SessionId {
    /// A new random id (RFC 9562 version 4).
    ///
    /// # Errors
    /// When the kernel has no randomness to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Ok(Self(bytes))
    }

    /// Reads a UUID.
    pub fn parse(text: &str) -> Option<Self> {
        let dashes = text.bytes().enumerate().filter(|(_, b)| *b == b'-').map(|(at, _)| at);
        if text.len() != 36 || !dashes.eq([8, 13, 18, 23]) {
            return None;
        }
        let mut digits = text.bytes().filter(|b| *b != b'-').map(|b| char::from(b).to_digit(16));
        let mut bytes = [0; 16];
        for byte in &mut bytes {
            *byte = (digits.next()?? << 4 | digits.next()??) as u8;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let h = hex(&self.0);
        write!(f, "{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Times of a session, wall-clock milliseconds; 0 where there is none.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Times {
    /// Creation of the row.
    pub created: u64,
    /// Last change of the row.
    pub updated: u64,
    /// Start of the conversation, or its last reset.
    pub started: u64,
    /// Last message of a person.
    pub interaction: u64,
    /// End of the last run.
    pub activity: u64,
    /// Last time that a person read it.
    pub read: u64,
}

/// Where a time stands.
pub(in crate::sessions) type Time = fn(&mut Times) -> &mut u64;

impl Times {
    /// The names of the times in the log, and where each stands.
    pub(in crate::sessions) const NAMES: [(&'static str, Time); 6] = [
        ("created", |t| &mut t.created),
        ("updated", |t| &mut t.updated),
        ("started", |t| &mut t.started),
        ("interaction", |t| &mut t.interaction),
        ("activity", |t| &mut t.activity),
        ("read", |t| &mut t.read),
    ];
}

/// A session's row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// Id of the conversation.
    pub id: SessionId,
    /// Its times.
    pub times: Times,
    /// Fields that were set, by their place in [`FIELDS`], as JSON.
    fields: Box<[(u8, Box<str>)]>,
}

impl Row {
    /// A row that is made at `now`.
    ///
    /// # Errors
    /// When the kernel has no randomness to give.
    pub fn new(now: u64) -> Result<Self, getrandom::Error> {
        let times = Times { created: now, updated: now, started: now, ..Times::default() };
        Ok(Self { id: SessionId::random()?, times, fields: Box::default() })
    }

    /// A row of the conversation `id`, of which nothing else is known.
    pub fn of(id: SessionId) -> Self {
        Self { id, times: Times::default(), fields: Box::default() }
    }

    /// Value of a field, JSON.
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = place(name)?;
        self.fields.iter().find(|(place, _)| *place == at).map(|(_, value)| &**value)
    }

    /// Value of a field that is a text.
    pub fn text(&self, name: &str) -> Option<String> {
        let raw = self.get(name)?.strip_prefix('"')?.strip_suffix('"')?;
        Some(json::unescape(raw).into_owned())
    }

    /// Sets a field to a JSON value, or clears it.
    pub fn set(&mut self, name: &str, value: Option<&str>) {
        let Some(at) = place(name) else { return };
        let others = std::mem::take(&mut self.fields).into_iter().filter(|(place, _)| *place != at);
        self.fields = others.chain(value.map(|value| (at, value.into()))).collect();
    }

    /// Value of a field that is a time, milliseconds; 0 if it is not set.
    pub fn time(&self, name: &str) -> u64 {
        self.get(name).and_then(|value| value.parse().ok()).unwrap_or_default()
    }

    /// The fields that are set: names, and values as JSON.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.fields.iter().map(|(at, value)| (FIELDS[usize::from(*at)].name, &**value))
    }

    /// The fields that are set: their places in [`FIELDS`], and values as JSON.
    pub(in crate::sessions) fn placed(&self) -> impl Iterator<Item = (u8, &str)> {
        self.fields.iter().map(|(at, value)| (*at, &**value))
    }

    /// A row of these parts.
    pub(in crate::sessions) fn placing(
        id: SessionId,
        times: Times,
        fields: impl Iterator<Item = (u8, Box<str>)>,
    ) -> Self {
        Self { id, times, fields: fields.collect() }
    }

    /// Whether there is something in it that nobody has read.
    pub fn is_unread(&self) -> bool {
        self.time("markedUnreadAt") > 0 || self.times.activity > self.times.read
    }

    /// The line of the log that says that `key` has this row, or has none any more.
    pub(in crate::sessions) fn line(key: &SessionKey, row: Option<&Self>) -> String {
        let mut out = format!(r#"{{"key":{}"#, key.as_str().to_owned().serialize_json());
        let Some(row) = row else {
            out.push_str(r#","deleted":true"#);
            return line::seal(out);
        };
        out.push_str(&format!(r#","id":"{}""#, row.id));
        let mut times = row.times;
        for (name, time) in Times::NAMES {
            match *time(&mut times) {
                0 => {}
                ms => out.push_str(&format!(r#","{name}":{ms}"#)),
            }
        }
        if !row.fields.is_empty() {
            let fields: Vec<String> =
                row.fields().map(|(name, value)| format!(r#""{name}":{value}"#)).collect();
            out.push_str(&format!(r#","fields":{{{}}}"#, fields.join(",")));
        }
        line::seal(out)
    }

    /// Reads a line's object; `None` if it is none of this log. What a later version added is ignored.
    pub(in crate::sessions) fn read(object: &str) -> Option<(SessionKey, Option<Self>)> {
        let (mut key, mut id, mut deleted, mut times, mut fields) =
            (None, None, false, Times::default(), Box::default());
        for (name, value) in json::members(object) {
            let text = || Some(json::unescape(value.strip_prefix('"')?.strip_suffix('"')?));
            match name {
                "key" => key = text().map(|text| SessionKey::stored(&text)),
                "id" => id = text().and_then(|text| SessionId::parse(&text)),
                "deleted" => deleted = value == "true",
                "fields" => {
                    let known =
                        json::members(value).filter_map(|(name, value)| Some((place(name)?, value.into())));
                    fields = known.collect();
                }
                _ => {
                    if let Some((_, time)) = Times::NAMES.iter().find(|(known, _)| *known == name) {
                        *time(&mut times) = value.parse().unwrap_or_default();
                    }
                }
            }
        }
        let row = if deleted { None } else { Some(Self { id: id?, times, fields }) };
        Some((key?, row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let mut row = Row::new(1_796_063_021_466).unwrap();
        row.set("label", Some(r#""a \"b\" ä""#));
        row.set("category", Some(r#""d""#));
        row.set("label", Some(r#""c""#));
        row.set("icon", Some(r#""x""#));
        row.set("icon", None);
        row.times.read = 7;
        row.set("pinnedAt", Some("9"));
        let key = SessionKey::stored("agent:main:\"odd\"");
        let line = Row::line(&key, Some(&row));
        let object = line::open(line.trim_end().as_bytes()).unwrap();
        assert_eq!(Row::read(object), Some((key.clone(), Some(row.clone()))));
        assert_eq!((row.text("label"), row.get("icon"), row.time("pinnedAt")), (Some("c".into()), None, 9));
        let gone = Row::line(&key, None);
        assert_eq!(Row::read(gone.trim_end()), Some((key, None)));
        // Of a later version: a field and a time more.
        let later = r#"{"key":"k","id":"00000000-0000-4000-8000-000000000001","created":1,"moved":2,"fields":{"mood":"x","label":"l"}}"#;
        let (_, row) = Row::read(later).unwrap();
        assert_eq!(row.unwrap().fields().collect::<Vec<_>>(), [("label", "\"l\"")]);
        assert_eq!(Row::read(r#"{"key":"k"}"#), None);
        assert_eq!(Row::read("{}"), None);
    }

    #[test]
    fn ids() {
        let id = SessionId::random().unwrap();
        assert_eq!(SessionId::parse(&id.to_string()), Some(id));
        for text in [
            "",
            "00000000-0000-4000-8000-00000000000",
            "00000000_0000-4000-8000-000000000001",
            "../../../../../../../../etc/passwd000",
        ] {
            assert_eq!(SessionId::parse(text), None, "{text}");
        }
    }
}
