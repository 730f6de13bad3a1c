//! `POST /tools/invoke`: a tool, called over plain HTTP. Tools do not run in this version, and the answer says so.

use super::{caller::admit, problem, unread};
use crate::{
    app::App,
    net::http::{Handler, Route},
    protocol::Scope,
};
use hyper::Method;
use std::time::Duration;

/// Most bytes of a request.
const BODY: usize = 2 << 20;

/// The row of this endpoint.
pub(crate) const INVOKE: Route<App> = Route {
    method: Method::POST,
    path: "/tools/invoke",
    body: BODY,
    time: Duration::from_secs(15),
    handler: Handler::Call(|app, call| {
        Box::pin(async move {
            let response = match admit(&app, &call.wire, &call.head.uri, &call.head.headers, Scope::Write) {
                Ok(_) => problem(501, "not_supported", "tools do not run in this version of Barnacle"),
                Err(refusal) => refusal.into(),
            };
            Ok(unread(&call, response))
        })
    }),
};
