//! A transcript's entry as clients see it: the message, and where it stands.

use crate::{
    methods::shape::Object,
    protocol::{Json, json},
    sessions::{Entry, SessionId},
};
use nanoserde::SerJson;

/// Characters of a text in a history, where the client does not say.
pub(super) const CHARS: usize = 8000;
const LEFT_OUT: &str = "\n…(shortened; chat.message.get has all of it)…";

/// The message of an entry, with texts of `most` characters at most.
pub(super) fn message(entry: &Entry<'_>, session: &SessionId, most: usize) -> String {
    let position = Object::new().put("source", &session.to_string()).put("rawSeq", &entry.place.seq);
    let mut place = Object::new();
    let is_message = entry.kind == "message";
    if !is_message {
        place = place.put("kind", entry.kind);
    }
    place =
        place.put("id", entry.id).put("transcriptPosition", &position.json()).put("seq", &entry.place.shown);
    if is_message {
        for name in ["runId", "idempotencyKey"] {
            place = place.opt(name, before_message(entry, name).map(|value| Json(value.into())).as_ref());
        }
    }
    let place = place.json().0;
    let message = match entry.message.filter(|_| is_message) {
        Some(message) => shortened(message, most),
        None => {
            let why = entry.member("note").and_then(json::text);
            let name = match (entry.kind, why) {
                ("reset", _) => "Reset".to_owned(),
                (_, None) => "Compaction".to_owned(),
                (_, Some(why)) => format!("Compaction, with an outline for a summary: {why}"),
            };
            let text = Object::new().put("type", "text").put("text", &name).json();
            Object::new().put("role", "system").put("content", &vec![text]).json().0
        }
    };
    let object = message.trim_end().strip_suffix('}').unwrap_or("{").trim_end();
    let comma = if object.ends_with('{') { "" } else { "," };
    format!(r#"{object}{comma}"__openclaw":{place}}}"#)
}

/// A member of an entry beside its message.
fn before_message<'a>(entry: &Entry<'a>, name: &str) -> Option<&'a str> {
    entry.member(name)
}

/// The message with its texts shortened to `most` characters, and other large parts named instead of shown.
fn shortened(message: &str, most: usize) -> String {
    let members: Vec<(&str, &str)> = json::members(message).collect();
    // A message of another gateway may say where it stood there.
    let foreign = members.iter().any(|(name, _)| *name == "__openclaw");
    if message.len() <= most && !foreign {
        return message.to_owned();
    }
    let mut object = Object::new();
    for (name, value) in members.into_iter().filter(|(name, _)| *name != "__openclaw") {
        let value = match name {
            "content" if value.starts_with('[') => {
                Json::of(&json::items(value).map(|part| Json(part_shortened(part, most))).collect::<Vec<_>>())
            }
            "content" | "errorMessage" => Json(text_shortened(value, most)),
            _ => Json(value.to_owned()),
        };
        object = object.put(name, &value);
    }
    object.json().0
}

/// A part of a message's content.
fn part_shortened(part: &str, most: usize) -> String {
    if part.len() <= most {
        return part.to_owned();
    }
    let mut object = Object::new();
    for (name, value) in json::members(part) {
        object = object.put(name, &Json(text_shortened(value, most)));
    }
    object.json().0
}

/// A value: a text is cut, anything else that is as large is left out.
fn text_shortened(value: &str, most: usize) -> String {
    if value.len() <= most {
        return value.to_owned();
    }
    match value.strip_prefix('"').and_then(|v| v.strip_suffix('"')) {
        None => "null".into(),
        Some(raw) => {
            let text = json::unescape(raw);
            match text.char_indices().nth(most) {
                None => value.to_owned(),
                Some((end, _)) => format!("{}{LEFT_OUT}", &text[..end]).serialize_json(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_large_is_shortened_and_stays_json() {
        let long = "ä\\n".repeat(40);
        let rows = [
            (
                r#"{"role":"user","content":"short"}"#.to_owned(),
                r#"{"role":"user","content":"short"}"#.to_owned(),
            ),
            (
                format!(r#"{{"role":"user","content":"{long}"}}"#),
                format!(r#"{{"role":"user","content":"{}\n…"#, "ä\\n".repeat(20)),
            ),
            (
                format!(
                    r#"{{"content":[{{"type":"text","text":"{long}"}},{{"type":"image","data":{{"a":"{long}"}}}}]}}"#
                ),
                format!(r#"{{"content":[{{"type":"text","text":"{}\n…"#, "ä\\n".repeat(20)),
            ),
            (r#"{"a":1,"__openclaw":{"id":"x"}}"#.to_owned(), r#"{"a":1}"#.to_owned()),
        ];
        for (message, begins) in rows {
            let short = shortened(&message, 40);
            assert!(short.starts_with(&begins), "{short}");
            assert!(Json::passed_on(&short).is_some(), "{short}");
        }
    }
}
