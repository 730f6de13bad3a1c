//! The API of OpenAI: `POST /v1/chat/completions` and `GET /v1/models`, each model an agent of this gateway.
//!
//! A request is a run as any other ([`run`]), in a session of its own that leaves nothing behind, unless `user` or
//! `x-openclaw-session-key` names one that lasts. Off unless `gateway.http.endpoints.chatCompletions.enabled`.
//!
//! Source: OpenClaw's `docs/gateway/openai-http-api.md`, and what a running one says.

mod hear;
mod request;
mod run;
mod transcript;

use super::{caller::admit, problem, unread};
use crate::{
    app::App,
    net::http::{Body, Call, Handler, Page, Route, UploadError},
    protocol::{Json, RequestFrame, Scope},
};
use hyper::{
    Method, Response,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};
use nanoserde::SerJson;
pub(crate) use run::forget_temporary;

use request::Asked;
use run::{Completion, Place};
use std::{rc::Rc, time::Duration};

/// Most bytes of a request: a conversation, of text.
const BODY: usize = 2 << 20;

/// The row of `POST /v1/chat/completions`.
pub(crate) const CHAT: Route<App> = Route {
    method: Method::POST,
    path: "/v1/chat/completions",
    body: BODY,
    time: Duration::from_secs(15),
    handler: Handler::Call(|app, mut call| Box::pin(async move { chat(&app, &mut call).await })),
};

/// The row of `GET /v1/models`.
pub(crate) const MODELS: Route<App> = Route {
    method: Method::GET,
    path: "/v1/models",
    body: 0,
    time: Duration::ZERO,
    handler: Handler::Call(|app, call| Box::pin(async move { Ok(unread(&call, models(&app, &call))) })),
};

/// Path before the name of one model.
pub(super) const MODEL: &str = "/v1/models/";

/// The answer while the endpoint is off, if it is.
fn off(app: &App) -> Option<Response<Body>> {
    let message =
        "this endpoint is off; set gateway.http.endpoints.chatCompletions.enabled to true in openclaw.json";
    (!app.settings().config.chat_completions).then(|| problem(404, "not_found", message))
}

/// An error of the request itself.
fn invalid(message: &str) -> Response<Body> {
    problem(400, "invalid_request_error", message)
}

/// `GET /v1/models`, or one of them.
pub(super) fn models(app: &Rc<App>, call: &Call) -> Response<Body> {
    if let Some(off) = off(app) {
        return off;
    }
    if let Err(refusal) = admit(app, &call.wire, &call.head.uri, &call.head.headers, Scope::Read) {
        return refusal.into();
    }
    let settings = app.settings();
    let agents = settings.config.agents.ids.iter().map(|id| format!("openclaw/{id}"));
    let ids: Vec<String> =
        ["openclaw".to_owned(), "openclaw/default".to_owned()].into_iter().chain(agents).collect();
    let row = |id: &String| {
        let id = id.serialize_json();
        format!(r#"{{"id":{id},"object":"model","created":0,"owned_by":"openclaw","permission":[]}}"#)
    };
    match call.head.uri.path().strip_prefix(MODEL) {
        None => {
            let rows: Vec<String> = ids.iter().map(row).collect();
            Page::json(200, &format!(r#"{{"object":"list","data":[{}]}}"#, rows.join(","))).into()
        }
        Some(name) => match ids.iter().find(|id| **id == name.replace("%2F", "/").replace("%2f", "/")) {
            Some(id) => Page::json(200, &row(id)).into(),
            None => {
                problem(404, "invalid_request_error", "there is no such model; GET /v1/models lists them")
            }
        },
    }
}

/// `POST /v1/chat/completions`.
async fn chat(app: &Rc<App>, call: &mut Call) -> Result<Response<Body>, UploadError> {
    if let Some(off) = off(app) {
        return Ok(unread(call, off));
    }
    let scopes = match admit(app, &call.wire, &call.head.uri, &call.head.headers, Scope::Write) {
        Ok(scopes) => scopes,
        Err(refusal) => return Ok(unread(call, refusal.into())),
    };
    let bytes = call.body.bytes().await?;
    let header = |name: &str| call.head.headers.get(name)?.to_str().ok();
    if let Some(model) = header("x-openclaw-model") {
        if !scopes.allows(Scope::Admin) {
            return Ok(problem(403, "forbidden", "missing scope: operator.admin"));
        }
        if app.settings().config.agents.model.as_deref() != Some(model) {
            let message = "x-openclaw-model names another model than agents.defaults.model, which is the only one that \
                           answers in this version of Barnacle";
            return Ok(invalid(message));
        }
    }
    let read = read(bytes).and_then(|asked| {
        let agent = header("x-openclaw-agent-id").or(asked.agent.as_deref());
        let place = Place::of(app, agent, header("x-openclaw-session-key"), asked.user.as_deref())?;
        Ok((place, asked))
    });
    let (place, asked) = match read {
        Ok(read) => read,
        Err(message) => return Ok(invalid(&message)),
    };
    let (stream, usage) = (asked.stream, asked.usage);
    let completion = match Completion::begin(app, place, asked).await {
        Ok(completion) => completion,
        Err(response) => return Ok(response),
    };
    if !stream {
        return Ok(completion.whole().await);
    }
    let mut response = Response::new(completion.stream(usage));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// Reads the body of a request.
fn read(bytes: Vec<u8>) -> Result<Asked, String> {
    let text = String::from_utf8(bytes).map_err(|_| "the body is not UTF-8".to_owned())?;
    let frame = RequestFrame::of_params("chat.completions", text).ok_or("the body is not a JSON object")?;
    let params = frame.params().map_err(|e| e.to_string())?;
    Asked::read(&params)
}

/// The JSON of a text.
fn quoted(text: &str) -> Json {
    Json(text.to_owned().serialize_json())
}
