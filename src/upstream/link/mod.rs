//! A link: the relay between one client and its connection to the gateway behind this one, as a state machine without
//! I/O.
//!
//! ```text
//! client's request ─ waits while the other gateway is away ─ sent ─ answered
//! connection lost  ─ harmless requests wait again; a keyed one is looked for in its session first; of the rest the
//!                    client hears that it has to decide
//! connection back  ─ subscriptions again, then lost runs, then what waits, in the order in which it came
//! ```
//!
//! The client's ids go through as they are: the connection is its own. This gateway's own requests have ids that begin
//! with random digits, which no client knows.

mod restore;
pub(super) mod runs;
mod subscriptions;

use self::runs::Run;
use super::{
    frame::{self, Frame, Refused},
    ownership,
    repeat::Repeat,
};
use crate::protocol::{ErrorShape, Json, refusal, response};
use nanoserde::{DeBin, SerBin, SerJson};
use std::{collections::BTreeMap, ops::Range};

/// A request of the client.
#[derive(Clone, PartialEq, Debug, SerBin, DeBin)]
pub struct Request {
    /// Its number, by which the order is kept.
    number: u64,
    id: String,
    method: String,
    repeat: Repeat,
    /// The frame; empty once it is not to be sent again.
    text: String,
    /// Until when it waits, nanoseconds of the monotonic clock.
    until_ns: u64,
    /// Not to be sent before, nanoseconds of the monotonic clock.
    not_before_ns: u64,
    state: State,
}

/// What is known of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, SerBin, DeBin)]
enum State {
    /// It was not begun, or does no harm a second time.
    Fresh,
    /// It was sent and the connection lost: its session is to be looked at first, or its run asked for.
    Unsure,
    /// It was answered once, with `accepted`; the second answer is to come.
    Accepted,
}

/// A request of this gateway's own.
#[derive(Clone, PartialEq, Debug, SerBin, DeBin)]
enum Purpose {
    /// The subscription of this name is made again.
    Replay(String),
    /// Whether the session has the request of this number.
    Look(u64),
    /// Which of the runs are still going.
    Runs,
    /// The outcome of the run that the request of this number began.
    Outcome(u64),
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, SerBin, DeBin)]
enum Phase {
    /// There is no connection.
    #[default]
    Closed,
    /// There is one, and what was before is being restored.
    Restoring,
    /// Requests go through.
    Open,
}

/// Effects of an input, in order.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Effect {
    /// A frame to the gateway behind this one.
    Send(String),
    /// A frame to the client.
    Answer(String),
    /// A frame to the client, after this gateway's part was added at the place: within `payload`, which is an object.
    Merge(String, usize),
    /// A run that OpenClaw no longer knows: who asks for its end later is told so.
    Lost(String),
    /// An event to the client, and the place of its `seq`, which is to be the client's next.
    Event(String, Option<Range<usize>>),
}

/// Bounds of what waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Bounds {
    /// Time for which a request waits, nanoseconds.
    pub wait_ns: u64,
    /// Most requests that wait, or are kept to be sent again.
    pub requests: usize,
    /// Most bytes of them.
    pub bytes: usize,
}

/// See the module.
#[derive(Clone, Default, Debug, SerBin, DeBin)]
pub struct Link {
    phase: Phase,
    /// Start of the ids of this gateway's own requests.
    prefix: String,
    next: u64,
    /// Boot id of the gateway behind this one, as of the last connection.
    boot: String,
    waiting: Vec<Request>,
    sent: Vec<Request>,
    own: BTreeMap<String, Purpose>,
    /// Requests of this gateway's own that were refused for now: not before that time of the monotonic clock, nanoseconds.
    again: Vec<(u64, Purpose)>,
    /// Until when what was before is restored, nanoseconds of the monotonic clock: what is refused then waits no longer.
    restore_until_ns: u64,
    /// Subscriptions in force, by name: the frame's `method` and `params`.
    subscriptions: BTreeMap<String, (String, String)>,
    runs: Vec<Run>,
    /// Why there is no connection.
    why: String,
}

/// Time after which a client is to ask again, milliseconds.
const ASK_AGAIN_MS: u64 = 1000;

impl Link {
    /// A link of a client; `prefix` is random.
    pub fn new(prefix: String) -> Self {
        Self { prefix, ..Self::default() }
    }

    /// Whether a connection is wanted: something waits, or something is to be heard.
    pub fn wants_connection(&self) -> bool {
        !self.waiting.is_empty()
            || !self.sent.is_empty()
            || !self.subscriptions.is_empty()
            || !self.runs.is_empty()
    }

    /// The number of requests that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Bytes of the requests that wait, or may have to be sent again.
    pub fn kept_bytes(&self) -> usize {
        self.waiting.iter().chain(&self.sent).map(|request| request.text.len()).sum()
    }

    /// Takes a request of the client.
    ///
    /// # Errors
    /// When too many wait already.
    pub fn request(
        &mut self,
        (id, method, text): (&str, &str, &str),
        repeat: Repeat,
        now_ns: u64,
        bounds: &Bounds,
    ) -> Result<Vec<Effect>, ErrorShape> {
        self.next += 1;
        let full = self.waiting.len() >= bounds.requests || self.kept_bytes() + text.len() > bounds.bytes;
        let mut request = Request {
            number: self.next,
            id: id.into(),
            method: method.into(),
            repeat,
            text: text.into(),
            until_ns: now_ns.saturating_add(bounds.wait_ns),
            not_before_ns: 0,
            state: State::Fresh,
        };
        if self.phase == Phase::Open && !self.waiting.iter().any(|waiting| waiting.not_before_ns == 0) {
            if full || self.sent.len() >= bounds.requests {
                (request.text, request.repeat) = (String::new(), Repeat::ChangesTwice);
            }
            self.sent.push(request);
            return Ok(vec![Effect::Send(text.into())]);
        }
        if full {
            return Err(ErrorShape::later(
                format!("too much waits for OpenClaw: {}", self.away()),
                ASK_AGAIN_MS,
            ));
        }
        self.waiting.push(request);
        Ok(Vec::new())
    }

    fn away(&self) -> String {
        if self.why.is_empty() { "it is not connected yet".into() } else { self.why.clone() }
    }

    /// The connection is gone, or could not be made.
    pub fn closed(&mut self, why: &str) -> Vec<Effect> {
        self.why = why.into();
        self.phase = Phase::Closed;
        self.own.clear();
        self.again.clear();
        let mut effects = Vec::new();
        for mut request in std::mem::take(&mut self.sent) {
            match request.repeat {
                Repeat::Harmless => {
                    if request.method == "agent.wait" {
                        request.state = State::Unsure;
                    }
                    self.waiting.push(request);
                }
                // The run is going, or lost: that is asked once the connection is back.
                Repeat::Keyed { .. } if request.state == State::Accepted => self.sent.push(request),
                Repeat::Keyed { .. } => {
                    request.state = State::Unsure;
                    self.waiting.push(request);
                }
                Repeat::ChangesTwice => effects.push(later(&request.id, &format!(
                    "OpenClaw was lost before it answered {}, and sending it again may do it twice: {why}",
                    request.method
                ))),
            }
        }
        self.waiting.sort_by_key(|request| request.number);
        effects
    }

    /// Answers what waits, since waiting does not help: `why`.
    pub fn refuse_waiting(&mut self, why: &str) -> Vec<Effect> {
        self.why = why.into();
        let refuse = |link: &mut Self, request: Request| {
            link.note_for_later(&request.method, &request.text);
            later(&request.id, &format!("OpenClaw does not let it in yet: {why}"))
        };
        std::mem::take(&mut self.waiting).into_iter().map(|request| refuse(self, request)).collect()
    }

    /// The gateway behind this one does not let the client in: everything that waits is answered with its `error`, JSON.
    pub fn refused(&mut self, error: &str) -> Vec<Effect> {
        let answer = |request: Request| {
            let id = request.id.serialize_json();
            Effect::Answer(format!(r#"{{"type":"res","id":{id},"ok":false,"error":{error}}}"#))
        };
        std::mem::take(&mut self.waiting).into_iter().map(answer).collect()
    }

    /// Ends what has waited for too long, and sends what may go now.
    pub fn tick(&mut self, now_ns: u64) -> Vec<Effect> {
        let away = self.away();
        let (late, waiting) =
            std::mem::take(&mut self.waiting).into_iter().partition(|r| r.until_ns <= now_ns);
        self.waiting = waiting;
        let late: Vec<Request> = late;
        let mut effects: Vec<Effect> = late
            .iter()
            .map(|request| {
                later(&request.id, &format!("{} waited for OpenClaw, which is away: {away}", request.method))
            })
            .collect();
        let (due, again) = std::mem::take(&mut self.again).into_iter().partition(|(at, _)| *at <= now_ns);
        self.again = again;
        let due: Vec<(u64, Purpose)> = due;
        effects.extend(due.into_iter().filter_map(|(_, purpose)| self.ask(purpose)));
        effects.extend(self.go_on(now_ns));
        effects
    }

    /// When [`tick`](Self::tick) is next due.
    pub fn due_ns(&self) -> Option<u64> {
        let open = self.phase == Phase::Open;
        let waiting =
            self.waiting.iter().map(|r| if open { r.until_ns.min(r.not_before_ns) } else { r.until_ns });
        waiting.chain(self.again.iter().map(|(at, _)| *at)).min()
    }

    /// Takes a frame of the gateway behind this one.
    pub fn frame(&mut self, text: String, now_ns: u64) -> Vec<Effect> {
        match frame::read(&text) {
            Frame::Event { name, payload, seq } => {
                if !ownership::passes(&name) {
                    return Vec::new();
                }
                self.note_run_event(&name, payload);
                vec![Effect::Event(text, seq)]
            }
            Frame::Response { id, outcome } => {
                if let Some(purpose) = self.own.get(&*id).cloned() {
                    let id = id.into_owned();
                    return self.own_answer(&id, purpose, outcome, now_ns);
                }
                let Some(at) = self.sent.iter().position(|request| request.id == id) else {
                    return Vec::new();
                };
                let merged = ownership::is_merged(&self.sent[at].method).then(|| merged(&text, &id, outcome));
                self.answer(at, outcome, now_ns)
                    .unwrap_or_else(|| vec![merged.flatten().unwrap_or(Effect::Answer(text))])
            }
            Frame::Other => Vec::new(),
        }
    }

    /// Takes the answer to the request at `at` of those sent; `None` to pass it on.
    fn answer(&mut self, at: usize, outcome: Result<&str, &str>, now_ns: u64) -> Option<Vec<Effect>> {
        let request = &mut self.sent[at];
        match outcome {
            Ok(payload) => {
                let accepted = request.method == "agent"
                    && frame::text_at(payload, &["status"]).as_deref() == Some("accepted");
                if accepted && request.state != State::Accepted {
                    request.state = State::Accepted;
                    let (session, method) =
                        (session_of(&request.text, &request.repeat), request.method.clone());
                    self.note_run(&method, payload, session);
                    return None;
                }
                let request = self.sent.remove(at);
                let failed = frame::at(payload, &["ok"]) == Some("false");
                if failed && request.repeat == Repeat::Harmless && inner_failure(payload) {
                    self.wait_again(request, 500, now_ns);
                    return Some(Vec::new());
                }
                self.note_subscription(&request);
                if request.method == "chat.send" {
                    let session = session_of(&request.text, &request.repeat);
                    self.note_run(&request.method, payload, session);
                }
                None
            }
            Err(error) => {
                let request = self.sent.remove(at);
                let again = match frame::refused(error) {
                    Refused::NotReady { after_ms } if !request.text.is_empty() => after_ms,
                    Refused::Later { after_ms } if request.repeat == Repeat::Harmless => after_ms,
                    _ => return None,
                };
                // The client waits no longer than it would for a gateway that is away.
                if request.until_ns <= now_ns {
                    return None;
                }
                self.wait_again(request, again, now_ns);
                Some(Vec::new())
            }
        }
    }

    fn wait_again(&mut self, mut request: Request, after_ms: u64, now_ns: u64) {
        request.not_before_ns = now_ns + after_ms * 1_000_000;
        self.waiting.push(request);
        self.waiting.sort_by_key(|request| request.number);
    }
}

fn params_of(text: &str) -> &str {
    frame::at(text, &["params"]).filter(|params| params.starts_with('{')).unwrap_or("{}")
}

fn session_of(text: &str, repeat: &Repeat) -> String {
    match repeat {
        Repeat::Keyed { session, .. } => session.clone(),
        _ => frame::text_at(params_of(text), &["sessionKey"]).unwrap_or_default().into_owned(),
    }
}

/// Whether a tool failed for a reason of the gateway's own, as when a reload blocks it.
fn inner_failure(payload: &str) -> bool {
    let code =
        frame::text_at(payload, &["error", "code"]).or_else(|| frame::text_at(payload, &["error", "type"]));
    code.as_deref() == Some("internal_error")
}

/// The answer that this gateway adds its part to; with OpenClaw's error in place of its part, if it has one.
fn merged(text: &str, id: &str, outcome: Result<&str, &str>) -> Option<Effect> {
    let failed = |error| response(id, &Json(format!(r#"{{"error":{error}}}"#)));
    let (text, end) = match outcome {
        Ok(payload) if payload.len() > 2 && payload.ends_with('}') => {
            (text.to_owned(), payload.as_ptr() as usize - text.as_ptr() as usize + payload.len() - 1)
        }
        Ok(_) => return None,
        Err(error) => {
            let text = failed(error);
            let end = text.len() - 2;
            (text, end)
        }
    };
    Some(Effect::Merge(text, end))
}

fn later(id: &str, why: &str) -> Effect {
    Effect::Answer(refusal(id, &ErrorShape::later(why, ASK_AGAIN_MS)))
}

fn started(id: &str, run: &str) -> String {
    let payload = format!(r#"{{"runId":{},"status":"started"}}"#, run.serialize_json());
    response(id, &Json(payload))
}

#[cfg(test)]
mod tests;
