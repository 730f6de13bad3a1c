//! Rows for the tests of bodies, streams and hand-overs, until an API has rows that stream. Only in builds with
//! `debug_assertions`: a release has none of them.

use crate::{
    app::App,
    net::http::{Body, Call, Handler, Page, Route, route::Answer},
};
use hyper::{Method, Response, header::CONTENT_TYPE};
use smol::stream;
use std::{io, time::Duration};

/// Most bytes of a body.
const LIMIT: usize = 1 << 20;

const fn row(path: &'static str, time: Duration, call: fn(std::rc::Rc<App>, Call) -> Answer) -> Route<App> {
    Route { method: Method::POST, path, body: LIMIT, time, handler: Handler::Call(call) }
}

/// Sends each chunk of the body back as it comes, under its `Content-Type`.
pub(super) const ECHO: Route<App> = row("/debug/echo", Duration::from_secs(15), |_, call| {
    Box::pin(async move {
        let chunks = stream::try_unfold(call.body, |mut body| async move {
            let chunk = body.chunk().await.map_err(|e| io::Error::other(e.to_string()))?;
            Ok(chunk.map(|chunk| (chunk, body)))
        });
        let mut response = Response::new(Body::stream(chunks));
        if let Some(kind) = call.head.headers.get(CONTENT_TYPE) {
            response.headers_mut().insert(CONTENT_TYPE, kind.clone());
        }
        Ok(response)
    })
});

/// Reads the whole body, and says how many bytes it had.
pub(super) const COUNT: Route<App> = row("/debug/count", Duration::from_secs(15), count);

/// The same, and in a hurry.
pub(super) const HURRY: Route<App> = row("/debug/hurry", Duration::from_millis(100), count);

fn count(_: std::rc::Rc<App>, mut call: Call) -> Answer {
    Box::pin(async move { Ok(Page::text(200, format!("{}\n", call.body.bytes().await?.len())).into()) })
}
