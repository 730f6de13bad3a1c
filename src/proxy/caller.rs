//! The caller of a request that is passed on: judged here, and shown to OpenClaw as one that it knows.

use super::access::{Facts, Kind, Verdict, authorise};
use crate::{
    app::App,
    config::{AuthMode, Settings},
    http::caller::{Caller, Refusal, unsendable},
    net::Wire,
};
use hyper::{
    Uri,
    header::{AUTHORIZATION, HeaderMap, HeaderValue},
};

/// Judges a request, and puts OpenClaw's secret in the place of an authorization that is enough.
///
/// # Errors
/// [`Refusal`].
pub(super) fn authorise_headers(
    app: &App,
    settings: &Settings,
    wire: &Wire,
    kind: Kind,
    uri: &Uri,
    headers: &mut HeaderMap,
) -> Result<(), Refusal> {
    let caller = Caller::of(app, settings, wire, uri, headers)?;
    let hooks = settings.source.root.find(["hooks", "path"]).and_then(|node| node.text());
    let facts = Facts {
        path: uri.path(),
        kind,
        offered: caller.offered,
        locked: caller.locked,
        open: settings.auth == AuthMode::None,
        hooks: hooks.unwrap_or("/hooks"),
    };
    match authorise(&facts) {
        Verdict::AsItIs => {}
        Verdict::WithSecret => {
            let secret = app.relay.secret(settings);
            let secret = secret.as_ref().and_then(|secret| secret.reveal());
            let value = secret.map(|secret| HeaderValue::try_from(format!("Bearer {secret}")));
            // What got the caller in here is not for the gateway behind this one.
            headers.remove(AUTHORIZATION);
            if let Some(mut value) = value.transpose().map_err(|_| unsendable())? {
                value.set_sensitive(true);
                headers.insert(AUTHORIZATION, value);
            }
            return Ok(());
        }
        Verdict::Refuse(denied) => return Err(caller.refuse(app, settings, wire, denied)),
    }
    // Where there are several, the first is the one that was judged.
    if let Some(first) = headers.get(AUTHORIZATION).cloned() {
        headers.insert(AUTHORIZATION, first);
    }
    Ok(())
}
