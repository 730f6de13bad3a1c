//! HTTP of a gateway that stands alone: the Control UI's pages, and the APIs that OpenClaw has over plain HTTP.
//!
//! Where a gateway stands behind this one, all of it is that one's (see `proxy`). What may wait for a disk is done by
//! worker threads; no answer is larger in memory than a chunk of it.

pub(crate) mod caller;
pub(crate) mod join;
mod openai;
mod tools;
mod ui;

pub(crate) use openai::{CHAT, MODELS, forget_temporary};
pub(crate) use tools::INVOKE;
pub(crate) use ui::Site;

use crate::{
    app::App,
    net::http::{Body, Call, Handler, Page, Route},
};
use hyper::{
    Method, Response,
    header::{CONNECTION, HeaderValue},
};
use std::time::Duration;

/// Every path that no row has, with any method.
pub(crate) static REST: Route<App> = Route {
    method: Method::GET,
    path: "",
    // None of it is read.
    body: usize::MAX,
    time: Duration::ZERO,
    handler: Handler::Call(|app, call| {
        Box::pin(async move {
            let model = call.head.method == Method::GET && call.head.uri.path().starts_with(openai::MODEL);
            let joined = join::found(&app, &call).or_else(|| join::missing(&call));
            let response = match joined {
                Some(response) => response,
                None if model => openai::models(&app, &call),
                None => ui::answer(&app, &call).await,
            };
            Ok(unread(&call, response))
        })
    }),
};

/// An answer that says what is wrong, as JSON in the shape of OpenAI's and OpenClaw's.
fn problem(status: u16, kind: &str, message: &str) -> Response<Body> {
    Page::problem(status, kind, message).into()
}

/// Ends the connection after the answer to a request with a body that nobody reads.
fn unread(call: &Call, mut response: Response<Body>) -> Response<Body> {
    if call.body.declared() != Some(0) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
