//! `POST /tools/invoke`: a tool, used over plain HTTP as the agent of a session would.

use super::{caller::admit, unread};
use crate::{
    app::App,
    methods::tools::http::{self, Answered},
    net::http::{Handler, Page, Route},
};
use hyper::Method;
use std::time::Duration;

/// The row of this endpoint.
pub(crate) const INVOKE: Route<App> = Route {
    method: Method::POST,
    path: "/tools/invoke",
    body: http::BODY,
    time: Duration::from_secs(15),
    handler: Handler::Call(|app, mut call| {
        Box::pin(async move {
            let (uri, headers) = (&call.head.uri, &call.head.headers);
            let scopes = match admit(&app, &call.wire, uri, headers, http::NEEDS) {
                Ok(scopes) => scopes,
                Err(refusal) => return Ok(unread(&call, refusal.into())),
            };
            let body = call.body.bytes().await?;
            let Answered { status, body, after } = http::answer(&app, scopes, &body).await;
            if let Some(after) = after {
                // A task of its own, which runs once this answer is on its way.
                app.spawn(async move { after() });
            }
            Ok(Page::json(status, &body.0).into())
        })
    }),
};
