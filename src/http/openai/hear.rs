//! What is heard of a run: its `chat` events, as text and an end.

use crate::{
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
    /// All was said.
    Said,
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
    _listener: Listener,
}

/// What was said so far.
#[derive(Default)]
struct Said {
    text: String,
    /// Bytes of it that were taken.
    taken: usize,
    end: Option<End>,
    waker: Option<Waker>,
}

impl Heard {
    /// Listens to run `id` from now on.
    pub fn of(app: &App, id: &str) -> Self {
        let said: Rc<RefCell<Said>> = Rc::default();
        let (heard, id) = (said.clone(), format!("\"{id}\""));
        let listener = app.hub.events.listen(move |event, payload| {
            if event == Event::Chat {
                heard.borrow_mut().hear(&id, &payload.0);
            }
        });
        Self { said, _listener: listener }
    }

    /// The next piece, or the end.
    pub async fn next(&self) -> Next {
        poll_fn(|cx| {
            let mut said = self.said.borrow_mut();
            if said.taken < said.text.len() {
                let piece = said.text[said.taken..].to_owned();
                said.taken = said.text.len();
                return Poll::Ready(Next::Text(piece));
            }
            match said.end.clone() {
                Some(end) => Poll::Ready(Next::End(end)),
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
        let member =
            |wanted: &str| json::members(payload).find(|(name, _)| *name == wanted).map(|(_, value)| value);
        if self.end.is_some() || member("runId") != Some(id) {
            return;
        }
        let text = |name: &str| {
            let raw = member(name)?.strip_prefix('"')?.strip_suffix('"')?;
            Some(json::unescape(raw).into_owned())
        };
        match member("state") {
            Some("\"delta\"") => {
                let delta = text("deltaText").unwrap_or_default();
                match member("replace") {
                    Some("true") => self.replace(delta),
                    _ => self.text.push_str(&delta),
                }
            }
            Some("\"final\"") => {
                let message = member("message").unwrap_or("{}");
                let content =
                    json::members(message).find(|(name, _)| *name == "content").map(|(_, value)| value);
                if let Some(content) = content {
                    self.replace(crate::agents::conversation::text_of(content));
                }
                self.end = self.end.take().or(Some(End::Said));
            }
            Some("\"error\"") => {
                self.end = Some(End::Failed(text("errorMessage").unwrap_or_else(|| "the run failed".into())));
            }
            Some("\"aborted\"") => self.end = Some(End::Failed("the run was aborted".into())),
            _ => {}
        }
        self.waker.take().into_iter().for_each(Waker::wake);
    }

    /// Puts `text` in the place of what was said. What was taken cannot be taken back.
    fn replace(&mut self, text: String) {
        match text.as_bytes().starts_with(&self.text.as_bytes()[..self.taken]) {
            true => self.text = text,
            false => {
                let why = "the model began anew after a part of its answer was sent";
                self.end = Some(End::Failed(why.into()));
                self.text.truncate(self.taken);
            }
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
            said.hear("\"A\"", event);
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
        let failed = |why: &str| Some(End::Failed(why.into()));
        let late = failed("the model began anew after a part of its answer was sent");
        for (events, eager, expected) in [
            (vec![one, other, two], true, ("a\nb", None)),
            (vec![one, two, done], true, ("a\nbc", Some(End::Said))),
            (vec![done, two], true, ("a\nbc", Some(End::Said))),
            (vec![one, anew], false, ("c", None)),
            (vec![one, anew], true, ("a\n", late)),
            (vec![one, error], true, ("a\n", failed("no"))),
            (vec![aborted], true, ("", failed("the run was aborted"))),
        ] {
            let (text, end) = heard(&events, eager);
            assert_eq!((&*text, end), expected, "{events:?} {eager}");
        }
    }
}
