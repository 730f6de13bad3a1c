//! The caller of a request: what it offers, and whether that is enough.

use super::access::{Denied, Facts, Kind, MEDIA, Offered, Verdict, authorise, ends};
use crate::{
    app::App,
    auth::limiter::Origin,
    config::{AuthMode, Settings},
    journal::PEER,
    net::{Peer, Wire, http},
};
use hyper::{
    Uri,
    header::{AUTHORIZATION, HeaderMap, HeaderValue},
};
use nanoserde::SerJson;
use std::time::Instant;

/// A refusal: status, header besides the usual, and body.
pub(super) struct Refusal {
    /// Status code.
    pub status: u16,
    /// Name and value of a header that belongs to the status.
    pub header: Option<(&'static str, String)>,
    /// Body, JSON as OpenClaw's.
    pub body: String,
}

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
    let bearer = bearer(uri, headers);
    let offered = match &bearer {
        None if headers.contains_key(AUTHORIZATION) => Offered::Foreign,
        None => Offered::Nothing,
        Some(bearer) => offered(app, settings, bearer),
    };
    let origin = match offered {
        Offered::Nothing | Offered::Foreign => None,
        _ => Some(origin(settings, wire, headers)?),
    };
    let hooks = settings.source.root.find(["hooks", "path"]).and_then(|node| node.text());
    let facts = Facts {
        path: uri.path(),
        kind,
        offered,
        locked: origin.and_then(|origin| app.handshakes.locked(origin)),
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
        Verdict::Refuse(denied) => {
            if let (Denied::Wrong, Some(origin), Some(bearer)) = (denied, origin, &bearer) {
                app.handshakes.count_guess(origin, bearer);
            }
            if app.admission.refusals.admit(wire.source(), word(denied), Instant::now()) {
                let from = origin.map_or(String::new(), |origin| format!(" {}", origin.ip));
                log::warn!(target: PEER, "refused{from} an HTTP request: {}", word(denied));
            }
            return Err(refusal(settings, denied));
        }
    }
    // Where there are several, the first is the one that was judged.
    if let Some(first) = headers.get(AUTHORIZATION).cloned() {
        headers.insert(AUTHORIZATION, first);
    }
    Ok(())
}

/// The bearer token of a request; that of the query, where OpenClaw reads one there.
fn bearer(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let header = headers.get(AUTHORIZATION).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let bearer = header.as_ref().and_then(|value| {
        let (scheme, token) = value.trim().split_once(' ')?;
        let token = token.trim();
        (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
    });
    if header.is_some() || !ends(uri.path(), MEDIA) {
        return bearer;
    }
    let query = uri.query()?.split('&').find_map(|pair| pair.strip_prefix("token="))?;
    Some(decoded(query).trim().to_owned()).filter(|token| !token.is_empty())
}

/// The value of a query's parameter.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) if first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(if first == b'+' { b' ' } else { first });
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn offered(app: &App, settings: &Settings, bearer: &str) -> Offered {
    if settings.credentials.admits(bearer) {
        return Offered::Shared;
    }
    if let Some((device, scopes)) = app.devices.operator(bearer) {
        app.devices.saw(device, None);
        return Offered::Device(scopes);
    }
    if is_signed(bearer) { Offered::Foreign } else { Offered::Wrong }
}

/// Whether `bearer` is a signed token (RFC 7519): no shared secret looks so, nor any device's token.
fn is_signed(bearer: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    bearer.starts_with("eyJ") && bearer.split('.').count() == 3 && bearer.split('.').all(part)
}

fn origin(settings: &Settings, wire: &Wire, headers: &HeaderMap) -> Result<Origin, Refusal> {
    let socket = wire.socket().get_ref();
    // It left.
    let remote = socket.peer_addr().map_err(|_| unsendable())?;
    let head = http::facts_of(headers);
    let peer = Peer::new(remote, || socket.local_addr().ok(), &head, |ip| settings.config.trusts(ip));
    Ok(Origin { ip: peer.ip, loopback: peer.loopback })
}

fn word(denied: Denied) -> &'static str {
    match denied {
        Denied::Wrong => "wrong bearer token",
        Denied::Scope(_) => "the device's token lacks a scope",
        Denied::Locked(_) => "too many guesses",
    }
}

fn refusal(settings: &Settings, denied: Denied) -> Refusal {
    let secret = settings.auth.secret_kind().word();
    let (status, header, kind, message) = match denied {
        Denied::Wrong => {
            let place = settings.credentials.active.as_ref().map(|(_, place)| place.to_string());
            let place = place.unwrap_or_else(|| format!("gateway.auth.{secret} in openclaw.json"));
            let message = format!(
                "the bearer token is neither this gateway's shared {secret} nor the token of a paired device; send \
                 the {secret}, which is {place}, or pair the device and send its token"
            );
            (401, Some(("www-authenticate", "Bearer".to_owned())), "unauthorized", message)
        }
        Denied::Scope(scope) => {
            let scope = scope.as_str();
            let message = format!(
                "this request needs {scope}, which the device is not granted; have the device ask for {scope} when it \
                 connects, and approve that on the gateway's host: barnacle devices approve <requestId>"
            );
            (403, None, "forbidden", message)
        }
        Denied::Locked(left) => {
            let seconds = left.as_millis().div_ceil(1000);
            let message = format!(
                "too many different wrong secrets came from this address; try again in {seconds} s, or send the token \
                 of a paired device"
            );
            (429, Some(("retry-after", seconds.to_string())), "rate_limited", message)
        }
    };
    Refusal { status, header, body: body(kind, &message) }
}

fn unsendable() -> Refusal {
    Refusal { status: 400, header: None, body: body("invalid_request", "this request cannot be passed on") }
}

fn body(kind: &str, message: &str) -> String {
    let message = message.to_owned().serialize_json();
    format!(r#"{{"error":{{"message":{message},"type":"{kind}"}}}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearers() {
        for (header, uri, expected) in [
            (None, "/", None),
            (Some("Bearer T1"), "/", Some("T1")),
            (Some("bearer  T1 "), "/", Some("T1")),
            (Some("Bearer "), "/", None),
            (Some("Basic T1"), "/", None),
            (None, "/?token=T1", None),
            (None, "/__openclaw__/assistant-media?a=b&token=T%31+", Some("T1")),
            (None, "/ui/__openclaw__/assistant-media?token=%", Some("%")),
            (Some("Bearer T2"), "/__openclaw__/assistant-media?token=T1", Some("T2")),
            (Some("Basic T2"), "/__openclaw__/assistant-media?token=T1", None),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(value) = header {
                headers.insert(AUTHORIZATION, HeaderValue::from_static(value));
            }
            let found = bearer(&Uri::from_static(uri), &headers);
            assert_eq!(found.as_deref(), expected, "{header:?} {uri}");
        }
    }

    #[test]
    fn signed_tokens() {
        for (bearer, signed) in
            [("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln_-", true), ("eyJ.x", false), ("a.b.c", false)]
        {
            assert_eq!(is_signed(bearer), signed, "{bearer}");
        }
    }
}
