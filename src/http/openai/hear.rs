//! What is heard of a run: its `chat` events, as text and an end.

use crate::{
    agents::conversation::{Call, calls_of, text_of},
    app::App,
    hub::Listener,
    protocol::{Event, json},
};
use std::{
    cell::RefCell,
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};

/// End of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// All was said; with the calls of tools that are the client's.
    Said(Vec<Call>),
    /// It failed, or was aborted, with these words.
    Failed(String),
}

/// What comes next of a run.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// A piece of the answer.
    Text(String),
    /// There is no more.
    End(End),
}

/// A run that is listened to.
pub(super) struct Heard {
    said: Rc<RefCell<Said>>,
    /// Whether nothing is told before the end is known.
    held: bool,
    _listener: Listener,
}

/// What was said so far: one message behind another where tools were used in between.
#[derive(Default)]
struct Said {
    text: String,
    /// Where the last message begins.
    begin: usize,
    /// Whether what comes next is another message.
    parted: bool,
    /// Bytes that were taken.
    taken: usize,
    end: Option<End>,
    waker: Option<Waker>,
}

impl Heard {
    /// Listens to run `id` from now on; where `held`, to be told once it has ended well.
    pub fn of(app: &App, id: &str, held: bool) -> Self {
        let said: Rc<RefCell<Said>> = Rc::default();
        let (heard, id) = (said.clone(), format!("\"{id}\""));
        let listener = app.hub.events.listen(move |event, payload| match event {
            Event::Chat => heard.borrow_mut().hear(&id, &payload.0),
            Event::Agent => heard.borrow_mut().hear_of_tools(&id, &payload.0),
            _ => {}
        });
        Self { said, held, _listener: listener }
    }

    /// The next piece, or the end.
    pub async fn next(&self) -> Next {
        self.until(|said| {
            let is_told = !self.held || matches!(said.end, Some(End::Said(_)));
            if is_told && said.taken < said.text.len() {
                let piece = said.text[said.taken..].to_owned();
                said.taken = said.text.len();
                return Some(Next::Text(piece));
            }
            said.end.clone().map(Next::End)
        })
        .await
    }

    /// The last message, and the end.
    pub async fn last(&self) -> (String, End) {
        self.until(|said| Some((said.text[said.begin..].to_owned(), said.end.clone()?))).await
    }

    async fn until<T>(&self, ready: impl Fn(&mut Said) -> Option<T>) -> T {
        poll_fn(|cx| {
            let mut said = self.said.borrow_mut();
            match ready(&mut said) {
                Some(value) => Poll::Ready(value),
                None => {
                    said.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl Said {
    /// Takes a `chat` event, if it is of run `id`, which is JSON.
    fn hear(&mut self, id: &str, payload: &str) {
        let member = |wanted: &str| json::member(payload, wanted);
        if self.end.is_some() || member("runId") != Some(id) {
            return;
        }
        let text = |name: &str| Some(json::text(member(name)?)?.into_owned());
        match member("state") {
            Some("\"delta\"") => {
                let delta = text("deltaText").unwrap_or_default();
                match member("replace") {
                    Some("true") => self.replace(&delta),
                    _ => {
                        self.part(&delta);
                        self.text.push_str(&delta);
                    }
                }
            }
            Some("\"final\"") => {
                let content = member("message").and_then(|message| json::member(message, "content"));
                if let Some(content) = content {
                    self.replace(&text_of(content));
                }
                self.end =
                    self.end.take().or_else(|| Some(End::Said(content.map(calls_of).unwrap_or_default())));
            }
            Some("\"error\"") => {
                self.end = Some(End::Failed(text("errorMessage").unwrap_or_else(|| "the run failed".into())));
            }
            Some("\"aborted\"") => self.end = Some(End::Failed("the run was aborted".into())),
            _ => {}
        }
        self.waker.take().into_iter().for_each(Waker::wake);
    }

    /// Takes an `agent` event, if it is of run `id`: what is said behind a tool is another message.
    fn hear_of_tools(&mut self, id: &str, payload: &str) {
        let is_tool =
            json::member(payload, "runId") == Some(id) && json::member(payload, "stream") == Some("\"tool\"");
        self.parted |= is_tool;
    }

    /// Begins another message, if that is due and something is said in it.
    fn part(&mut self, text: &str) {
        if !text.is_empty() && std::mem::take(&mut self.parted) {
            if !self.text.is_empty() {
                self.text.push_str("\n\n");
            }
            self.begin = self.text.len();
        }
    }

    /// Puts `text` in the place of the last message. What was taken cannot be taken back.
    fn replace(&mut self, text: &str) {
        if text.is_empty() && self.parted {
            self.begin = self.text.len();
            return;
        }
        self.part(text);
        let taken = self.text.get(self.begin..self.taken).unwrap_or_default();
        if text.starts_with(taken) {
            self.text.truncate(self.begin);
            self.text.push_str(text);
        } else {
            let why = "the model began anew after a part of its answer was sent";
            self.end = Some(End::Failed(why.into()));
            self.text.truncate(self.taken);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is heard of events, each taken at once where `eager`.
    fn heard(events: &[&str], eager: bool) -> (String, Option<End>) {
        let mut said = Said::default();
        for event in events {
            match event.contains("\"stream\"") {
                true => said.hear_of_tools("\"A\"", event),
                false => said.hear("\"A\"", event),
            }
            if eager {
                said.taken = said.text.len();
            }
        }
        (said.text, said.end)
    }

    #[test]
    fn events_become_text_and_an_end() {
        let one = r#"{"runId":"A","state":"delta","deltaText":"a\n"}"#;
        let two = r#"{"runId":"A","state":"delta","deltaText":"b"}"#;
        let other = r#"{"runId":"B","state":"delta","deltaText":"x"}"#;
        let anew = r#"{"runId":"A","state":"delta","deltaText":"c","replace":true}"#;
        let done = r#"{"runId":"A","state":"final","message":{"content":[{"type":"text","text":"a\nbc"}]}}"#;
        let error = r#"{"runId":"A","state":"error","errorMessage":"no"}"#;
        let aborted = r#"{"runId":"A","state":"aborted"}"#;
        let tool = r#"{"runId":"A","stream":"tool","data":{"phase":"start"}}"#;
        let calling = r#"{"runId":"A","state":"final","message":{"content":[{"type":"text","text":""},{"type":"toolCall","id":"c","name":"t","arguments":{"x":1}}]}}"#;
        let call = Call { id: "c".into(), name: "t".into(), arguments: r#"{"x":1}"#.into() };
        let failed = |why: &str| Some(End::Failed(why.into()));
        let late = failed("the model began anew after a part of its answer was sent");
        for (events, eager, expected) in [
            (vec![one, other, two], true, ("a\nb", None)),
            (vec![one, two, done], true, ("a\nbc", Some(End::Said(vec![])))),
            (vec![done, two], true, ("a\nbc", Some(End::Said(vec![])))),
            (vec![one, anew], false, ("c", None)),
            (vec![one, anew], true, ("a\n", late)),
            (vec![one, error], true, ("a\n", failed("no"))),
            // Another message behind a tool, which the end does not repeat.
            (vec![one, tool, anew], true, ("a\n\n\nc", None)),
            (vec![one, tool, anew, tool], false, ("a\n\n\nc", None)),
            (vec![tool, anew, two], true, ("cb", None)),
            (vec![one, tool, calling], true, ("a\n", Some(End::Said(vec![call.clone()])))),
            (vec![calling], true, ("", Some(End::Said(vec![call])))),
            (vec![aborted], true, ("", failed("the run was aborted"))),
        ] {
            let (text, end) = heard(&events, eager);
            assert_eq!((&*text, end), expected, "{events:?} {eager}");
        }
    }
}
