//! A request as a run: the session that it has, the answer as it is said, and what is left of it afterwards.
//!
//! Where the client leaves, its run is aborted; a run over WebSocket goes on then. The session of a request that names
//! none is removed with its transcript when the run has ended, and at the next start if a crash came before.
//!
//! A run that calls a tool of the client ends with that; the request that brings what the tool gave is the next run.

use super::{
    hear::{End, Heard, Next},
    problem, quoted,
    request::Asked,
    transcript,
};
use crate::{
    agents::{conversation::Call, model::Choice},
    app::App,
    clock::wall_ms,
    methods::{admit_message, forget_session},
    net::http::{Body, Page},
    protocol::{ErrorShape, Json, Object, json},
    sessions::{SessionId, SessionKey, Transcript},
};
use hyper::{Response, body::Bytes, header::RETRY_AFTER};
use smol::stream;
use std::{
    cell::Cell,
    collections::VecDeque,
    future::poll_fn,
    io,
    ops::ControlFlow,
    rc::Rc,
    task::{Poll, Waker},
};

/// Beginnings of session keys that are not an application's to name.
const RESERVED: [&str; 3] = ["subagent:", "cron:", "acp:"];
/// Beginning of the keys of sessions that leave nothing behind.
const TEMPORARY: &str = "openai:";
/// Beginning of the keys of sessions that `user` names.
const OF_USER: &str = "openai-user:";

/// The session of a request.
#[derive(Clone)]
pub(super) struct Place {
    key: SessionKey,
    /// Whether nothing of it remains.
    temporary: bool,
}

impl Place {
    /// The session that the headers and `user` name, or one for this request alone.
    pub fn of(
        app: &App,
        agent: Option<&str>,
        named: Option<&str>,
        user: Option<&str>,
    ) -> Result<Self, String> {
        let settings = app.settings();
        let agents = &settings.config.agents;
        let agent = match agent {
            Some("default") | None => None,
            named => named,
        };
        let (name, temporary) = match (named, user) {
            (Some(named), _) => (named.to_owned(), false),
            (None, Some(user)) => (format!("{OF_USER}{user}"), false),
            (None, None) => {
                let id = SessionId::random().map_err(|e| format!("no randomness: {e}"))?;
                (format!("{TEMPORARY}{id}"), true)
            }
        };
        let key = SessionKey::parse(&name, agent, agents).map_err(|e| e.to_string())?;
        if !agents.ids.iter().any(|id| id == key.agent()) {
            return Err(format!("Unknown agent '{}'.", key.agent()));
        }
        let reserved = RESERVED.iter().any(|begin| own_name(&key).starts_with(begin));
        if named.is_some() && (reserved || own_name(&key).starts_with(TEMPORARY)) {
            return Err("`x-openclaw-session-key` cannot use reserved internal session namespaces.".into());
        }
        Ok(Self { key, temporary })
    }
}

/// What stands in a key after the agent.
fn own_name(key: &SessionKey) -> &str {
    key.as_str().splitn(3, ':').nth(2).unwrap_or_default()
}

/// Removes the sessions that a crash left of requests which had none of their own.
pub(crate) async fn forget_temporary(app: &Rc<App>) {
    if app.sessions.ready().await.is_err() {
        return;
    }
    let left: Vec<SessionKey> = app.sessions.index().map_or(Vec::new(), |index| {
        index.all().map(|(key, _)| key).filter(|key| own_name(key).starts_with(TEMPORARY)).collect()
    });
    for key in left {
        forget(app, &key).await;
    }
}

async fn forget(app: &Rc<App>, key: &SessionKey) {
    if let Err(e) = forget_session(app, key).await {
        log::warn!("{}: a temporary session cannot be removed yet: {}", key.wire(), e.message());
    }
}

/// A request that is being answered.
pub(super) struct Completion {
    app: Rc<App>,
    heard: Heard,
    id: String,
    model: String,
    created: u64,
    fate: Rc<Fate>,
}

impl Drop for Completion {
    /// The client left, or has its answer: the run has nobody to answer any more.
    fn drop(&mut self) {
        self.fate.left.set(true);
        if let Some((_, run)) = self.app.runs.find(&self.id) {
            run.abort();
        }
    }
}

/// What became of a request, for who waits for it.
#[derive(Default)]
struct Fate {
    /// Whether its run was accepted.
    admitted: Cell<Option<Result<(), ErrorShape>>>,
    /// Once its run has ended and nothing is left that is not to be: tokens that went in and came out.
    ended: Cell<Option<(u64, u64)>>,
    /// Whether nobody waits any more.
    left: Cell<bool>,
    waiting: Cell<Option<Waker>>,
}

impl Fate {
    fn set<T>(&self, cell: &Cell<Option<T>>, value: T) {
        cell.set(Some(value));
        self.waiting.take().into_iter().for_each(Waker::wake);
    }

    async fn get<T>(&self, cell: &Cell<Option<T>>) -> T {
        poll_fn(|cx| match cell.take() {
            Some(value) => Poll::Ready(value),
            None => {
                self.waiting.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }
}

/// Has a request accepted as run `id`, and leaves of it what is to be left. A task of its own: what was begun on the disk
/// is brought to its end, whether the client stays or not.
async fn run(app: Rc<App>, place: Place, id: String, asked: Asked, fate: Rc<Fate>) {
    let admitted = admit(&app, &place.key, &id, asked).await;
    let is_run = admitted.is_ok();
    fate.set(&fate.admitted, admitted);
    let mut tokens = (0, 0);
    if is_run {
        if let Some((_, run)) = app.runs.find(&id).filter(|_| fate.left.get()) {
            run.abort();
        }
        app.runs.wait(&id).await;
        tokens = counted(&app, &place.key).await;
    }
    if place.temporary {
        forget(&app, &place.key).await;
    }
    fate.set(&fate.ended, tokens);
}

async fn admit(app: &Rc<App>, key: &SessionKey, id: &str, mut asked: Asked) -> Result<(), ErrorShape> {
    app.sessions.ready().await?;
    let tools = std::mem::take(&mut asked.tools);
    let text = transcript::write(app, key, id, asked).await?;
    if let Some(after) = admit_message(app, key, id, text.as_deref(), tools).await? {
        after(app);
    }
    Ok(())
}

/// Counts the tokens that went in and came out for the last answer of a session.
async fn counted(app: &Rc<App>, key: &SessionKey) -> (u64, u64) {
    let Some(row) = app.sessions.row(key) else { return (0, 0) };
    let read = |transcript: Option<Transcript>| {
        let mut tokens = (0, 0);
        let Some(transcript) = transcript else { return Ok(tokens) };
        transcript.entries(transcript.last(), |entry| {
            let usage = entry.message.and_then(|message| json::member(message, "usage"));
            let Some(usage) = usage else { return ControlFlow::Continue(()) };
            let count = |name: &str| json::member(usage, name).and_then(|n| n.parse().ok()).unwrap_or(0);
            tokens = (count("input"), count("output"));
            ControlFlow::Break(())
        })?;
        Ok(tokens)
    };
    app.sessions.read(key, &row.id, read).await.unwrap_or_default()
}

/// The answer to a request that could not be begun.
fn refused(e: &ErrorShape) -> Response<Body> {
    let (status, kind) = match (e.is_invalid(), e.retry_after_ms()) {
        (true, _) => (400, "invalid_request_error"),
        (false, Some(_)) => (503, "service_unavailable"),
        // Without a model there is no answer, now or later.
        (false, None) => (501, "not_configured"),
    };
    let mut response = problem(status, kind, e.message());
    if let Some(ms) = e.retry_after_ms() {
        response.headers_mut().insert(RETRY_AFTER, ms.div_ceil(1000).into());
    }
    response
}

impl Completion {
    /// Has a request accepted as a run.
    pub async fn begin(app: &Rc<App>, place: Place, asked: Asked) -> Result<Self, Response<Body>> {
        let random = SessionId::random()
            .map_err(|e| refused(&ErrorShape::later(format!("no randomness: {e}"), 1000)))?;
        let id = format!("chatcmpl_{random}");
        let completion = Self {
            app: app.clone(),
            heard: Heard::of(app, &id, asked.tools.choice != Choice::Free),
            id: id.clone(),
            model: asked.model.clone(),
            created: wall_ms() / 1000,
            fate: Rc::default(),
        };
        let fate = completion.fate.clone();
        app.spawn(run(app.clone(), place, id, asked, fate.clone()));
        match fate.get(&fate.admitted).await {
            Ok(()) => Ok(completion),
            Err(e) => Err(refused(&e)),
        }
    }

    /// Tokens that went in and came out, once nothing is left that is not to be.
    async fn ended(&self) -> (u64, u64) {
        self.fate.get(&self.fate.ended).await
    }

    /// The beginning of an answer, or of a part of it.
    fn head(&self, object: &str) -> String {
        let (id, model) = (&self.id, quoted(&self.model).0);
        format!(r#"{{"id":"{id}","object":"{object}","created":{},"model":{model}"#, self.created)
    }

    /// The answer as one.
    pub async fn whole(self) -> Response<Body> {
        let (text, end) = self.heard.last().await;
        let (input, output) = self.ended().await;
        match end {
            End::Failed(why) => problem(502, "api_error", &why),
            End::Said(calls) => {
                let head = self.head("chat.completion");
                let usage = tokens(input, output).0;
                let content = if text.is_empty() && !calls.is_empty() { Json::null() } else { quoted(&text) };
                let message = Object::new().put("role", "assistant").put("content", &content);
                let called: Vec<Json> =
                    calls.iter().map(|call| called(call, &call.arguments).json()).collect();
                let message = if calls.is_empty() { message } else { message.put("tool_calls", &called) };
                let (message, finish) = (message.json().0, finish(&calls));
                let choice = format!(r#"{{"index":0,"message":{message},"finish_reason":{finish}}}"#);
                Page::json(200, &format!(r#"{head},"choices":[{choice}],"usage":{usage}}}"#)).into()
            }
        }
    }

    /// The answer as it is said; `usage` has the count of tokens at its end.
    pub fn stream(self, usage: bool) -> Body {
        let role = self.chunk(r#"{"role":"assistant"}"#, "null");
        let first = VecDeque::from([role]);
        Body::stream(stream::try_unfold(Some((self, first)), move |state| async move {
            let Some((completion, mut waiting)) = state else { return Ok(None) };
            if let Some(next) = waiting.pop_front() {
                return Ok::<_, io::Error>(Some((event(&next), Some((completion, waiting)))));
            }
            let end = match completion.heard.next().await {
                Next::Text(piece) => {
                    let delta = format!(r#"{{"content":{}}}"#, quoted(&piece).0);
                    let chunk = completion.chunk(&delta, "null");
                    return Ok(Some((event(&chunk), Some((completion, waiting)))));
                }
                Next::End(end) => end,
            };
            let counted = completion.ended().await;
            let mut last = String::new();
            match end {
                End::Failed(why) => last.push_str(&line(&Page::problem(502, "api_error", &why).body)),
                End::Said(calls) => {
                    for (n, call) in calls.iter().enumerate() {
                        for part in parts(n, call) {
                            let delta = format!(r#"{{"tool_calls":[{}]}}"#, part.0);
                            last.push_str(&line(&completion.chunk(&delta, "null")));
                        }
                    }
                    last.push_str(&line(&completion.chunk("{}", finish(&calls))));
                    if usage {
                        let head = completion.head("chat.completion.chunk");
                        let usage = tokens(counted.0, counted.1).0;
                        last.push_str(&line(&format!(r#"{head},"choices":[],"usage":{usage}}}"#)));
                    }
                }
            }
            last.push_str(&line("[DONE]"));
            Ok(Some((Bytes::from(last), None)))
        }))
    }

    fn chunk(&self, delta: &str, finish: &str) -> String {
        let head = self.head("chat.completion.chunk");
        format!(r#"{head},"choices":[{{"index":0,"delta":{delta},"finish_reason":{finish}}}]}}"#)
    }
}

/// Why an answer ends, as JSON.
fn finish(calls: &[Call]) -> &'static str {
    if calls.is_empty() { r#""stop""# } else { r#""tool_calls""# }
}

/// A call with a text as its arguments.
fn called(call: &Call, arguments: &str) -> Object {
    let function = Object::new().put("name", &call.name).put("arguments", arguments).json();
    Object::new().put("id", &call.id).put("type", "function").put("function", &function)
}

/// A call in the pieces of a stream: what it is, and its arguments.
fn parts(n: usize, call: &Call) -> [Json; 2] {
    let arguments = Object::new().put("arguments", &call.arguments).json();
    let second = Object::new().put("index", &n).put("function", &arguments).json();
    [called(call, "").put("index", &n).json(), second]
}

fn line(data: &str) -> String {
    format!("data: {data}\n\n")
}

fn event(data: &str) -> Bytes {
    line(data).into()
}

fn tokens(input: u64, output: u64) -> Json {
    let total = input + output;
    Json(format!(r#"{{"prompt_tokens":{input},"completion_tokens":{output},"total_tokens":{total}}}"#))
}
