//! A message to an agent, and its answer up to the end, whatever becomes of the connection meanwhile.
//!
//! The gateway keeps what it accepted, and the same request begins one run whenever it comes again: so where a connection
//! ends, another one asks the same, and listens on.

use crate::{
    cli::Failure,
    client::{CallError, Client, Target},
    protocol::{Fields, Scope},
    sessions::SessionId,
};
use miniserde::json::Value;
use nanoserde::SerJson;
use std::{
    thread,
    time::{Duration, Instant},
};

/// Between two attempts to attach.
const PAUSE: Duration = Duration::from_millis(250);
/// Messages of a history in which an answer is looked for.
const LOOKED_THROUGH: u32 = 50;

/// A session, as the command line names it.
#[derive(Clone)]
pub(super) struct Place {
    /// `--session`.
    pub session: String,
    /// `--agent`.
    pub agent: Option<String>,
}

impl Place {
    /// Parameters of a call about it, to which `more` is added; `name` is what the method calls its key.
    pub fn params(&self, name: &str, more: &[(&str, &str)]) -> String {
        let agent = self.agent.as_deref().map(|agent| ("agentId", agent));
        let fields = [(name, self.session.as_str())].into_iter().chain(agent).chain(more.iter().copied());
        let field = |(name, text): (&str, &str)| format!(r#""{name}":{}"#, text.to_owned().serialize_json());
        format!("{{{}}}", fields.map(field).collect::<Vec<_>>().join(","))
    }
}

/// How a run ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// It was answered.
    Answered,
    /// Somebody aborted it.
    Aborted,
    /// It failed; why.
    Failed(String),
}

/// What is heard of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Heard {
    /// All of the answer so far.
    So(String),
    /// It has ended; all of the answer, if that is said.
    End(End, Option<String>),
    /// Something else.
    Nothing,
}

/// A message and its run.
pub(super) struct Turn<'a> {
    pub place: &'a Place,
    pub text: &'a str,
    /// Id of the run.
    pub id: String,
    /// When nobody waits for it any more.
    pub until: Option<Instant>,
}

/// A new id of a run.
pub(super) fn run_id() -> Result<String, Failure> {
    SessionId::random().map(|id| id.to_string()).map_err(|e| Failure::new(1, format!("no randomness: {e}")))
}

/// Attaches, to send and to listen.
pub(super) fn attach(target: &Target) -> Result<Client<'_>, CallError> {
    let mut client = Client::connect(target, [Scope::Read, Scope::Write].into_iter().collect())?;
    client.listen("chat");
    Ok(client)
}

impl Turn<'_> {
    /// Sends the message and listens to its end; `each` is given the answer so far. `client` is the connection, and
    /// another one where it ends.
    ///
    /// # Errors
    /// The gateway refuses the message, or nobody waits for it any more.
    pub fn run<'t>(
        &self,
        target: &'t Target,
        client: &mut Option<Client<'t>>,
        mut each: impl FnMut(&str),
    ) -> Result<(End, String), Failure> {
        let mut said = String::new();
        let mut told = false;
        loop {
            let attached = match client {
                Some(client) => Ok(client),
                None => attach(target).map(|new| client.insert(new)),
            };
            let ended = attached.and_then(|client| self.listen(client, &mut said, &mut each));
            match ended {
                Ok(Some(end)) => return Ok((end, said)),
                Ok(None) => return Err(self.late()),
                Err(e) if !e.is_passing() && !matches!(e, CallError::TimedOut(..)) => {
                    return Err(Failure::of(e, target));
                }
                Err(e) => {
                    *client = None;
                    if self.until.is_some_and(|until| Instant::now() + PAUSE > until) {
                        return Err(self.late());
                    }
                    if !std::mem::replace(&mut told, true) {
                        eprintln!("barnacle: {e}; attaching again");
                    }
                    thread::sleep(PAUSE);
                }
            }
        }
    }

    fn late(&self) -> Failure {
        let session = &self.place.session;
        Failure::new(
            1,
            format!(
                "no answer yet, and the gateway goes on with it (run {}): barnacle sessions show {session}",
                self.id
            ),
        )
    }

    /// One connection's part of it; `None` where it takes too long.
    fn listen(
        &self,
        client: &mut Client<'_>,
        said: &mut String,
        each: &mut impl FnMut(&str),
    ) -> Result<Option<End>, CallError> {
        client.renew_deadline();
        let params = self.place.params("sessionKey", &[("message", self.text), ("idempotencyKey", &self.id)]);
        let answer = client.call("chat.send", &params)?;
        let answer: Value = miniserde::json::from_str(&answer).unwrap_or_default();
        let status = Fields::of(&answer).map_or("", |answer| answer.text("status"));
        let mut take = |text: String| {
            *said = text;
            each(said);
        };
        if status == "ok" {
            // It has ended before, or was a command.
            let (end, text) = self.in_history(client)?;
            text.into_iter().for_each(take);
            return Ok(Some(end));
        }
        loop {
            let Some(event) = client.event(self.until)? else { return Ok(None) };
            match Fields::of(&event).and_then(|event| event.object("payload")) {
                Some(chat) if chat.str("runId") == Some(&self.id) => match heard(chat) {
                    Heard::So(text) => take(text),
                    Heard::Nothing => {}
                    // Its answer is another's too, or a tool has sent it already.
                    Heard::End(End::Answered, None) => {
                        let (end, text) = self.in_history(client)?;
                        text.into_iter().for_each(take);
                        return Ok(Some(end));
                    }
                    Heard::End(end, text) => {
                        text.into_iter().for_each(take);
                        return Ok(Some(end));
                    }
                },
                _ => {}
            }
        }
    }

    /// How it ended, as the session's history has it.
    fn in_history(&self, client: &mut Client<'_>) -> Result<(End, Option<String>), CallError> {
        let params = self.place.params("sessionKey", &[]);
        let params = format!(r#"{},"limit":{LOOKED_THROUGH}}}"#, params.trim_end_matches('}'));
        let page = client.call("chat.history", &params)?;
        let page: Value = miniserde::json::from_str(&page).unwrap_or_default();
        Ok(Fields::of(&page).map_or((End::Answered, None), |page| answer_of(page, &self.id)))
    }
}

/// What an event `chat` says of its run.
fn heard(chat: Fields<'_>) -> Heard {
    let text = chat.object("message").map(text_of);
    match chat.text("state") {
        "delta" => text.map_or(Heard::Nothing, Heard::So),
        "final" => Heard::End(End::Answered, text),
        "aborted" => Heard::End(End::Aborted, text),
        "error" => {
            let why = chat.str("errorMessage").unwrap_or("the run failed, and nobody says why");
            Heard::End(End::Failed(why.to_owned()), text)
        }
        _ => Heard::Nothing,
    }
}

/// What a message says of its place, or of itself.
fn member<'a>(message: Fields<'a>, name: &str) -> Option<&'a str> {
    message.object("__openclaw").and_then(|place| place.str(name)).or_else(|| message.str(name))
}

/// The answer of run `id` in a page of history: what came last of it, or else what came after its message.
fn answer_of(page: Fields<'_>, id: &str) -> (End, Option<String>) {
    let messages: Vec<Fields<'_>> = page.objects("messages").collect();
    let is_answer = |message: &&Fields<'_>| message.text("role") == "assistant";
    let by_run = messages.iter().filter(is_answer).rfind(|message| member(**message, "runId") == Some(id));
    let asked = format!("{id}:user");
    // One that only called tools says nothing itself.
    let speaks = |message: &&Fields<'_>| message.str("stopReason") != Some("toolUse");
    let found = by_run.filter(speaks).or_else(|| {
        let at = messages.iter().position(|message| member(*message, "idempotencyKey") == Some(&asked))?;
        messages[at + 1..].iter().filter(speaks).find(is_answer)
    });
    let Some(message) = found else { return (End::Answered, None) };
    let end = match (message.text("stopReason"), message.str("errorMessage")) {
        ("aborted", _) => End::Aborted,
        ("error", why) => End::Failed(why.unwrap_or("the run failed").to_owned()),
        _ => End::Answered,
    };
    (end, Some(text_of(*message)))
}

/// The text of a message.
pub(super) fn text_of(message: Fields<'_>) -> String {
    // As it was written: indents and ends of lines are part of it.
    let text = |fields: Fields<'_>, name: &str| match fields.0.get(name) {
        Some(Value::String(text)) => Some(text.clone()),
        _ => None,
    };
    let parts = || message.objects("content").filter_map(|part| text(part, "text")).collect::<Vec<_>>();
    text(message, "content").unwrap_or_else(|| parts().join("\n"))
}

/// Removes from a text what a terminal would obey; lines stay.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|c| matches!(c, '\n' | '\t') || !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        miniserde::json::from_str(text).unwrap()
    }

    #[test]
    fn what_is_heard_of_a_run() {
        let message = r#""message":{"role":"assistant","content":[{"type":"text","text":"a"},{"type":"x"},{"text":"b"}]}"#;
        let rows = [
            (format!(r#"{{"state":"delta",{message}}}"#), Heard::So("a\nb".into())),
            (r#"{"state":"delta","deltaText":"x"}"#.into(), Heard::Nothing),
            (r#"{"state":"status","phase":"x"}"#.into(), Heard::Nothing),
            (format!(r#"{{"state":"final",{message}}}"#), Heard::End(End::Answered, Some("a\nb".into()))),
            (r#"{"state":"final"}"#.into(), Heard::End(End::Answered, None)),
            (r#"{"state":"aborted"}"#.into(), Heard::End(End::Aborted, None)),
            (r#"{"state":"error","errorMessage":"no"}"#.into(), Heard::End(End::Failed("no".into()), None)),
        ];
        for (event, expected) in rows {
            let event_value = value(&event);
            assert_eq!(heard(Fields::of(&event_value).unwrap()), expected, "{event}");
        }
    }

    #[test]
    fn an_answer_is_found_in_a_history() {
        let asked = |key: &str| {
            format!(r#"{{"role":"user","content":"q","__openclaw":{{"idempotencyKey":"{key}:user"}}}}"#)
        };
        let said = |run: &str, text: &str, more: &str| {
            format!(r#"{{"role":"assistant","content":"{text}"{more},"__openclaw":{{"runId":"{run}"}}}}"#)
        };
        let rows = [
            (vec![asked("A"), said("A", "one", "")], (End::Answered, Some("one"))),
            // Two that wait, and are answered in turn.
            (
                vec![asked("A"), asked("B"), said("A", "a", ""), said("B", "b", "")],
                (End::Answered, Some("a")),
            ),
            (
                vec![asked("A"), said("A", "", r#","stopReason":"error","errorMessage":"why""#)],
                (End::Failed("why".into()), Some("")),
            ),
            (vec![asked("A"), said("A", "x", r#","stopReason":"aborted""#)], (End::Aborted, Some("x"))),
            // A gateway that names no run.
            (vec![asked("A"), r#"{"role":"assistant","content":"it"}"#.into()], (End::Answered, Some("it"))),
            (vec![asked("B")], (End::Answered, None)),
            // A tool has sent it, or the run that was going took the message in.
            (
                vec![asked("A"), said("A", "", r#","stopReason":"toolUse""#), said("", "sent", "")],
                (End::Answered, Some("sent")),
            ),
            (
                vec![said("B", "", r#","stopReason":"toolUse""#), asked("A"), said("B", "both", "")],
                (End::Answered, Some("both")),
            ),
        ];
        for (messages, (end, text)) in rows {
            let page = format!(r#"{{"messages":[{}]}}"#, messages.join(","));
            let page_value = value(&page);
            let found = answer_of(Fields::of(&page_value).unwrap(), "A");
            assert_eq!(found, (end, text.map(String::from)), "{page}");
        }
    }

    #[test]
    fn parameters_are_json_whatever_is_in_them() {
        let place = Place { session: "a\"b".into(), agent: Some("work".into()) };
        assert_eq!(place.params("key", &[("x", "\n")]), r#"{"key":"a\"b","agentId":"work","x":"\n"}"#);
    }
}
