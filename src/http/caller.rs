//! The caller of a request: what it offers, and whether that is enough.

use crate::{
    app::App,
    auth::limiter::Origin,
    config::{AuthMode, Settings},
    journal::PEER,
    net::{
        Peer, Wire,
        http::{self, Body, Page},
    },
    protocol::{Scope, Scopes},
};
use hyper::{
    Response, Uri,
    header::{AUTHORIZATION, HeaderMap},
};
use std::time::{Duration, Instant};

/// Authorization that a request offers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Offered {
    /// Nothing.
    Nothing,
    /// Another scheme than `Bearer`, or a signed token (RFC 7519) of another issuer: a plugin's business.
    Foreign,
    /// The shared secret.
    Shared,
    /// The operator token of a paired device that has these scopes.
    Device(Scopes),
    /// Neither.
    Wrong,
}

/// Why a request is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Denied {
    /// No authorization at all.
    Nothing,
    /// Neither the shared secret nor the token of a paired device.
    Wrong,
    /// The device lacks this scope.
    Scope(Scope),
    /// Too many guesses from its address.
    Locked(Duration),
    /// The page that asks comes from elsewhere.
    Origin,
}

/// The one path where a token may stand in the query, in place of the header.
pub(crate) const MEDIA: &str = "/__openclaw__/assistant-media";

/// Whether `path` ends in `end`, whatever the case of its letters.
pub(crate) fn ends(path: &str, end: &str) -> bool {
    let at = path.len().checked_sub(end.len());
    at.and_then(|at| path.get(at..)).is_some_and(|tail| tail.eq_ignore_ascii_case(end))
}

/// A refusal.
pub(crate) struct Refusal {
    /// Name and value of a header that belongs to the status.
    pub header: Option<(&'static str, String)>,
    /// Status and body, which is JSON as OpenClaw's.
    pub page: Page,
}

impl From<Refusal> for Response<Body> {
    fn from(refusal: Refusal) -> Self {
        let mut response = Self::from(refusal.page);
        if let Some((name, value)) = refusal.header
            && let Ok(value) = value.try_into()
        {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// A caller as its request shows it.
pub(crate) struct Caller {
    /// What it offers.
    pub offered: Offered,
    /// Where it asks from, if that matters.
    pub origin: Option<Origin>,
    /// Time for which guesses of the shared secret from its address stay refused.
    pub locked: Option<Duration>,
    bearer: Option<String>,
}

impl Caller {
    /// Reads what a request offers.
    ///
    /// # Errors
    /// [`Refusal`]: the caller left.
    pub fn of(
        app: &App,
        settings: &Settings,
        wire: &Wire,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Self, Refusal> {
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
        let locked = origin.and_then(|origin| app.handshakes.locked(origin));
        Ok(Self { offered, origin, locked, bearer })
    }

    /// Refuses it: counts a guess of the shared secret, and logs.
    pub fn refuse(&self, app: &App, settings: &Settings, wire: &Wire, denied: Denied) -> Refusal {
        if let (Denied::Wrong, Some(origin), Some(bearer)) = (denied, self.origin, &self.bearer) {
            app.handshakes.count_guess(origin, bearer);
        }
        if app.admission.refusals.admit(wire.source(), word(denied), Instant::now()) {
            let from = self.origin.map_or(String::new(), |origin| format!(" {}", origin.ip));
            log::warn!(target: PEER, "refused{from} an HTTP request: {}", word(denied));
        }
        refusal(settings, denied)
    }
}

/// The decision about a request for what this gateway serves itself, which needs `scope`. While guesses of an address
/// are locked out, a right shared secret is refused as a wrong one is; a device's token is no guess.
fn judge(offered: Offered, locked: Option<Duration>, open: bool, scope: Scope) -> Result<Scopes, Denied> {
    let all = || Scope::ALL.into_iter().collect();
    match (offered, locked) {
        (Offered::Device(scopes), _) if scopes.allows(scope) => Ok(scopes),
        (Offered::Device(_), _) if !open => Err(Denied::Scope(scope)),
        _ if open => Ok(all()),
        (Offered::Nothing | Offered::Foreign, _) => Err(Denied::Nothing),
        (_, Some(left)) => Err(Denied::Locked(left)),
        (Offered::Shared, None) => Ok(all()),
        (Offered::Wrong | Offered::Device(_), None) => Err(Denied::Wrong),
    }
}

/// Admits a request for what this gateway serves itself, which needs `scope`: the scopes of the caller.
///
/// # Errors
/// [`Refusal`].
pub(crate) fn admit(
    app: &App,
    wire: &Wire,
    uri: &Uri,
    headers: &HeaderMap,
    scope: Scope,
) -> Result<Scopes, Refusal> {
    let settings = app.settings();
    let caller = Caller::of(app, &settings, wire, uri, headers)?;
    let open = settings.auth == AuthMode::None;
    let judged = judge(caller.offered, caller.locked, open, scope).and_then(|scopes| {
        if !open {
            return Ok(scopes);
        }
        // Nothing is asked for, and so any page could ask that a browser of this host has open.
        let ui = &settings.config.control_ui;
        let peer = peer(&settings, wire, headers).ok_or(Denied::Origin)?;
        let allowed = peer.origin_allowed(&ui.allowed_origins, ui.host_header_origin_fallback);
        if allowed { Ok(scopes) } else { Err(Denied::Origin) }
    });
    judged.map_err(|denied| caller.refuse(app, &settings, wire, denied))
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

/// The peer of a request; `None` if it left.
fn peer(settings: &Settings, wire: &Wire, headers: &HeaderMap) -> Option<Peer> {
    let socket = wire.socket().get_ref();
    let remote = socket.peer_addr().ok()?;
    let head = http::facts_of(headers);
    Some(Peer::new(remote, || socket.local_addr().ok(), head, |ip| settings.config.trusts(ip)))
}

fn origin(settings: &Settings, wire: &Wire, headers: &HeaderMap) -> Result<Origin, Refusal> {
    let peer = peer(settings, wire, headers).ok_or_else(unsendable)?;
    Ok(Origin { ip: peer.ip, loopback: peer.loopback })
}

fn word(denied: Denied) -> &'static str {
    match denied {
        Denied::Nothing => "no bearer token",
        Denied::Origin => "a page of another origin",
        Denied::Wrong => "wrong bearer token",
        Denied::Scope(_) => "the device's token lacks a scope",
        Denied::Locked(_) => "too many guesses",
    }
}

fn refusal(settings: &Settings, denied: Denied) -> Refusal {
    let secret = settings.auth.secret_kind().word();
    let (status, header, kind, message) = match denied {
        Denied::Nothing => {
            let message = format!(
                "this request has no bearer token; send Authorization: Bearer with this gateway's shared {secret}, or \
                 with the token of a paired device"
            );
            (401, Some(("www-authenticate", "Bearer".to_owned())), "unauthorized", message)
        }
        Denied::Origin => {
            let message = "the page that asks comes from an origin that is not listed; add it to \
                           gateway.controlUi.allowedOrigins in openclaw.json";
            (403, None, "forbidden", message.to_owned())
        }
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
    Refusal { header, page: Page::problem(status, kind, &message) }
}

/// The refusal of a request that cannot be passed on.
pub(crate) fn unsendable() -> Refusal {
    let page = Page::problem(400, "invalid_request", "this request cannot be passed on");
    Refusal { header: None, page }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn who_may() {
        let of = |scope| Offered::Device([scope].into_iter().collect());
        let left = Duration::from_secs(9);
        for (offered, locked, open, expected) in [
            (Offered::Nothing, None, false, Err(Denied::Nothing)),
            (Offered::Foreign, None, false, Err(Denied::Nothing)),
            (Offered::Nothing, None, true, Ok(())),
            (Offered::Shared, None, false, Ok(())),
            (Offered::Shared, Some(left), false, Err(Denied::Locked(left))),
            (Offered::Wrong, None, false, Err(Denied::Wrong)),
            (Offered::Wrong, Some(left), false, Err(Denied::Locked(left))),
            (Offered::Wrong, None, true, Ok(())),
            (of(Scope::Write), Some(left), false, Ok(())),
            (of(Scope::Admin), None, false, Ok(())),
            (of(Scope::Read), None, false, Err(Denied::Scope(Scope::Write))),
            (of(Scope::Read), None, true, Ok(())),
        ] {
            let judged = judge(offered, locked, open, Scope::Write).map(|_| ());
            assert_eq!(judged, expected, "{offered:?} {locked:?} {open}");
        }
    }

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
