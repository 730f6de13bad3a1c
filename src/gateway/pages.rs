//! Pages of plain HTTP: one row for each method and path.

#[cfg(debug_assertions)]
mod debug;

use crate::{
    app::App,
    http, methods,
    net::http::{Handler, Page, Route, Routes},
    proxy,
};
use hyper::Method;
use std::time::Duration;

/// Body of `/health`.
pub(super) const LIVE: &str = r#"{"ok":true,"status":"live"}"#;

/// Table of plain HTTP. Pages are cheap to make, since they are polled. The first [`ALONE`] are those of a gateway which
/// has none behind it.
static ROUTES: &[Route<App>] = &[
    http::CHAT,
    http::MODELS,
    http::INVOKE,
    Route::page("/health", health),
    Route::page("/healthz", health),
    Route::page("/readyz", ready),
    #[cfg(debug_assertions)]
    debug::ECHO,
    #[cfg(debug_assertions)]
    debug::COUNT,
    #[cfg(debug_assertions)]
    debug::HURRY,
];

/// Rows that are the other's where a gateway stands behind this one.
const ALONE: usize = 3;

/// Everything that is not a page here, where there is a gateway behind this one.
static BEHIND: Route<App> = Route {
    method: Method::GET,
    path: "",
    body: proxy::BODY,
    time: Duration::from_secs(15),
    handler: Handler::Call(|app, call| match http::join::found(&app, &call) {
        Some(response) => Box::pin(async move { Ok(response) }),
        None => proxy::forward(app, call),
    }),
};

/// The routes as they are now.
pub(super) fn routes(app: &App) -> Routes<App> {
    match app.settings().upstream {
        Some(_) => Routes { rows: &ROUTES[ALONE..], rest: Some(&BEHIND) },
        None => Routes { rows: ROUTES, rest: Some(&http::REST) },
    }
}

fn health(_: &App) -> Page {
    Page::json(200, LIVE)
}

fn ready(app: &App) -> Page {
    match app.hub.is_stopping() {
        true => Page::json(503, r#"{"ready":false,"reason":"gateway stopping"}"#),
        false => Page::json(200, &methods::ready(app)),
    }
}
