//! What a transcript tells of a run: how far a gateway before this one came with it.
//!
//! The transcript is the truth. The session's row may be older than it after a crash: a run that has ended there is not run
//! again, and a message that it took in is answered with it.

use super::{Answer, Outcome, record, steer};
use crate::{
    agents::{Run, conversation::text_of, model::Reply},
    app::App,
    protocol::{ErrorShape, json},
    sessions::{Entry, Row, SessionKey, Transcript},
    tools,
};
use std::{io, ops::ControlFlow, rc::Rc};

/// How far back the message of a run is looked for.
#[derive(Clone, Copy)]
pub(in crate::methods::chat) struct Reach {
    entries: usize,
    bytes: usize,
}

/// Of a run that is open.
const FAR: Reach = Reach { entries: 2000, bytes: 256 << 20 };
/// Of one that a client asks for.
pub(in crate::methods::chat) const NEAR: Reach = Reach { entries: 400, bytes: 4 << 20 };

/// How a run ended.
#[derive(Clone, PartialEq, Eq, Debug)]
enum End {
    /// With these words of the model.
    Said(String, record::By),
    /// Without any: a tool had sent them.
    Sent,
    /// For this reason.
    Failed(String),
    Aborted,
}

/// What stands in a transcript of a run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(in crate::methods::chat) struct Past {
    /// The message that it began with.
    pub(in crate::methods::chat) text: Option<String>,
    /// Whether another run took that message in.
    pub(in crate::methods::chat) superseded: bool,
    end: Option<End>,
    /// The runs whose messages it took in, the oldest first.
    took: Vec<String>,
    /// What its tools sent to its own session.
    sent: Vec<String>,
}

impl Past {
    /// Whether it has ended, or another one answers its message.
    pub(in crate::methods::chat) fn is_over(&self) -> bool {
        self.end.is_some() || self.superseded
    }

    /// What the transcript of the session `key` has of run `id`, within `reach`.
    pub(in crate::methods::chat) async fn of(
        app: &Rc<App>,
        key: &SessionKey,
        row: &Row,
        id: &str,
        reach: Reach,
    ) -> Result<Self, ErrorShape> {
        let (wire, id) = (key.wire().to_owned(), id.to_owned());
        let read = move |transcript: Option<Transcript>| {
            transcript.map_or(Ok(Self::default()), |transcript| Self::read(&transcript, &wire, &id, reach))
        };
        app.sessions.read(key, &row.id, read).await
    }

    fn read(transcript: &Transcript, key: &str, id: &str, reach: Reach) -> io::Result<Self> {
        let (mut past, mut left) = (Self::default(), reach);
        let mut results: Vec<(String, String)> = Vec::new();
        transcript.entries(transcript.last(), |entry| {
            if left.entries == 0 || left.bytes == 0 {
                return ControlFlow::Break(());
            }
            left.entries -= 1;
            left.bytes = left.bytes.saturating_sub(entry.message.map_or(0, str::len));
            past.add(entry, key, id, &mut results);
            if past.text.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        past.took.reverse();
        Ok(past)
    }

    /// Adds an entry, which comes before those that were added; `results` has what tools gave to calls behind it.
    fn add(&mut self, entry: &Entry<'_>, key: &str, id: &str, results: &mut Vec<(String, String)>) {
        let text = |value: Option<&str>| Some(json::text(value?)?.into_owned());
        let is_own = text(entry.member("runId")).as_deref() == Some(id);
        if entry.kind == "custom" {
            let data = entry.member("data").unwrap_or("{}");
            match text(entry.member("customType")).as_deref() {
                Some(steer::TOOK_IN) => match text(json::member(data, "run")) {
                    Some(other) if is_own => self.took.push(other),
                    other => self.superseded |= other.as_deref() == Some(id),
                },
                Some(record::ENDED) if is_own => {
                    let done = json::member(data, "status") == Some("\"done\"");
                    self.end = Some(if done { End::Sent } else { End::Aborted });
                }
                _ => {}
            }
            return;
        }
        let Some(message) = entry.message.filter(|_| is_own) else { return };
        let member = |name| json::member(message, name);
        let content = member("content").unwrap_or("[]");
        match text(member("role")).as_deref() {
            Some("user") => self.text = Some(text_of(content)),
            Some("toolResult") => {
                let id = text(member("toolCallId")).unwrap_or_default();
                results.push((id, text_of(content)));
            }
            Some("assistant") => match text(member("stopReason")).as_deref() {
                Some("toolUse") => {
                    let sent =
                        crate::agents::conversation::calls_of(content).into_iter().filter_map(|call| {
                            let (_, result) = results.iter().find(|(id, _)| *id == call.id)?;
                            tools::sent_to(key, &call.name, &call.arguments, result)
                        });
                    self.sent.extend(sent);
                    results.clear();
                }
                Some("error") => {
                    self.end = Some(End::Failed(text(member("errorMessage")).unwrap_or_default()))
                }
                Some("aborted") => self.end = Some(End::Aborted),
                _ => self.end = Some(End::Said(text_of(content), record::By::of(message))),
            },
            _ => {}
        }
    }
}

/// Takes up what a gateway before this one has done of a run; how it ended, if it did.
pub(super) async fn take_up(app: &Rc<App>, key: &SessionKey, run: &Rc<Run>) -> Option<Outcome> {
    let row = app.sessions.row(key)?;
    let past = match Past::of(app, key, &row, &run.id, FAR).await {
        Ok(past) => past,
        Err(e) => return Some(Outcome::Failed(e.message().to_owned(), "unknown")),
    };
    let waiting: Vec<Rc<Run>> =
        app.runs.of(key).into_iter().filter(|other| past.took.contains(&other.id)).collect();
    app.runs.take_in(key, run, waiting);
    let last = past.sent.first().cloned().unwrap_or_default();
    *run.sent.borrow_mut() = past.sent;
    let said = |text, by| Outcome::Said(Answer { reply: Reply { text, ..Reply::default() }, by });
    Some(match past.end? {
        End::Said(text, by) => said(text, by),
        End::Sent => said(last, record::By::default()),
        End::Failed(why) => Outcome::Failed(why, "unknown"),
        End::Aborted => Outcome::Aborted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sessions::NewEntry;

    fn past(lines: &[(&str, &str)]) -> Past {
        let mut past = Past::default();
        let mut results = Vec::new();
        for (run, what) in lines.iter().rev() {
            let entry = match what.strip_prefix('+') {
                Some(other) => NewEntry::custom(1, steer::TOOK_IN, run, &format!(r#"{{"run":"{other}"}}"#)),
                None if what.starts_with("{\"status") => NewEntry::custom(1, record::ENDED, run, what),
                None => NewEntry::message(1, what, Some(run), None),
            };
            entry.shown_to(|entry| past.add(entry, "agent:main:main", "a", &mut results));
        }
        past.took.reverse();
        past
    }

    #[test]
    fn how_far_a_run_came() {
        const USER: (&str, &str) = ("a", r#"{"role":"user","content":"hi"}"#);
        const OTHER: (&str, &str) = ("b", r#"{"role":"assistant","content":"x","stopReason":"stop"}"#);
        const CALL: (&str, &str) = (
            "a",
            r#"{"role":"assistant","stopReason":"toolUse","content":[{"type":"toolCall","id":"c","name":"message","arguments":{"message":"hey"}}]}"#,
        );
        const RESULT: (&str, &str) = (
            "a",
            r#"{"role":"toolResult","toolCallId":"c","content":"{\"status\":\"ok\",\"target\":\"agent:main:main\"}"}"#,
        );
        let said = |text: &str| Some(End::Said(text.into(), record::By::default()));
        let answer = ("a", r#"{"role":"assistant","content":"yes","stopReason":"stop"}"#);
        let error = ("a", r#"{"role":"assistant","content":[],"stopReason":"error","errorMessage":"no"}"#);
        let aborted = ("a", r#"{"role":"assistant","content":"ye","stopReason":"aborted"}"#);
        type Row<'a> = (Vec<(&'a str, &'a str)>, Option<End>, &'a [&'a str], bool);
        let rows: Vec<Row<'_>> = vec![
            (vec![USER, OTHER], None, &[], false),
            (vec![USER, OTHER, answer], said("yes"), &[], false),
            (vec![USER, error], Some(End::Failed("no".into())), &[], false),
            (vec![USER, aborted], Some(End::Aborted), &[], false),
            (vec![USER, CALL], None, &[], false),
            (vec![USER, CALL, RESULT], None, &["hey"], false),
            (vec![USER, CALL, RESULT, ("a", r#"{"status":"done"}"#)], Some(End::Sent), &["hey"], false),
            (vec![USER, ("a", r#"{"status":"killed"}"#)], Some(End::Aborted), &[], false),
            (vec![USER, ("b", r#"{"status":"done"}"#)], None, &[], false),
            (vec![USER, ("b", "+a")], None, &[], true),
        ];
        for (n, (lines, end, sent, superseded)) in rows.into_iter().enumerate() {
            let past = past(&lines);
            assert_eq!((past.end, past.superseded), (end, superseded), "row {n}");
            assert_eq!(past.sent, sent, "row {n}");
            assert_eq!(past.text.as_deref(), Some("hi"), "row {n}");
        }
        assert_eq!(past(&[USER, ("a", "+b"), ("a", "+c")]).took, ["b", "c"]);
    }
}
