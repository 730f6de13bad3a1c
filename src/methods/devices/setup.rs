//! Setup codes: one-time credentials for a device that is to be paired by QR or by hand.
//!
//! The code is base64url of `{"url", "bootstrapToken"}`, as OpenClaw's clients read it. It lasts ten
//! minutes and belongs to the first key that spends it, which may spend it again: an answer may get
//! lost. Source: `docs/gateway/protocol/rpc-devices-nodes-and-approvals.md`.

use crate::{
    clock::wall_ms,
    methods::{Answer, Call},
    protocol::{ErrorShape, Json, RequestId, TokenHash, base64url_encode},
    store::{Access, SETUP_CODE_MS, SetupCode},
};
use nanoserde::SerJson;

/// Parameters of `device.pair.setupCode`.
const KNOWN: &[&str] = &["publicUrl", "preferRemoteUrl", "includeQr", "bootstrapProfile", "joinUrl"];

/// Most codes kept; the oldest go first.
const MOST: usize = 32;

#[derive(SerJson)]
#[allow(non_snake_case)]
struct Code {
    setupId: String,
    setupCode: String,
    gatewayUrl: String,
    auth: &'static str,
    urlSource: &'static str,
    access: &'static str,
    expiresAtMs: u64,
}

#[derive(SerJson)]
#[allow(non_snake_case)]
struct Content {
    url: String,
    bootstrapToken: String,
}

/// `device.pair.setupCode`.
pub(super) async fn code(call: Call) -> Answer {
    let (app, params) = (&call.app, call.params()?);
    // A field that is not heeded would be a code of other rights than was meant.
    if let Some((name, _)) = params.entries().find(|(name, _)| !KNOWN.contains(name)) {
        return Err(ErrorShape::invalid(format!(
            "invalid device.pair.setupCode params: at root: unexpected property '{name}'"
        )));
    }
    match params.opt_bool("joinUrl")? {
        None => {}
        Some(false) => return Err(params.invalid("joinUrl", "equal to constant").into()),
        Some(true) if params.opt_str("bootstrapProfile")? != Some("node") => {
            return Err(ErrorShape::invalid("Join URLs require bootstrapProfile=node."));
        }
        Some(true) => {
            return Err(ErrorShape::never(
                "join URLs are not in this version of Barnacle; ask without joinUrl, and give the node the setupCode",
            ));
        }
    }
    let access = match params.opt_str("bootstrapProfile")? {
        None => Access::Full,
        Some("limited") => Access::Limited,
        Some("node") => Access::Node,
        Some(other) => {
            return Err(ErrorShape::invalid(format!(
                "invalid device.pair.setupCode params: at /bootstrapProfile: must be limited or node, not {other}"
            )));
        }
    };
    let settings = app.settings();
    let (url, source) = match params.opt_str("publicUrl")? {
        Some(url) => (url.to_owned(), "publicUrl"),
        None => match settings.reachable_at() {
            Some(ip) => (format!("ws://{}", std::net::SocketAddr::new(ip, settings.port)), "gateway.bind"),
            None => (format!("ws://127.0.0.1:{}", settings.port), "loopback"),
        },
    };
    let no_randomness = |e: getrandom::Error| ErrorShape::later(format!("no randomness: {e}"), 1000);
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(no_randomness)?;
    let token = base64url_encode(&secret);
    let made = SetupCode {
        id: RequestId::random().map_err(no_randomness)?,
        hash: TokenHash::of(&token),
        access,
        spent: None,
        left_ms: app.boot.clock.uptime_ms() + SETUP_CODE_MS,
    };
    let uptime = app.boot.clock.uptime_ms();
    let kept = made.clone();
    app.devices
        .change(|registry| {
            let codes = registry.setup_codes_mut();
            codes.retain(|c| c.spent.is_some() || uptime < c.left_ms);
            codes.push(kept);
            let over = codes.len().saturating_sub(MOST);
            codes.drain(..over);
            Ok(())
        })
        .await?;
    let content = Json::of(&Content { url: url.clone(), bootstrapToken: token });
    let payload = Json::of(&Code {
        setupId: made.id.to_string(),
        setupCode: base64url_encode(content.0.as_bytes()),
        gatewayUrl: url,
        auth: if settings.auth == crate::config::AuthMode::Password { "password" } else { "token" },
        urlSource: source,
        access: access.as_str(),
        expiresAtMs: wall_ms() + SETUP_CODE_MS,
    });
    Ok(payload.into())
}

/// `device.pair.setupStatus`.
pub(super) fn status(call: &Call) -> Answer {
    let params = call.params()?;
    let id = params.str("setupId")?;
    let registry = call.app.devices.registry();
    let spent = registry.setup_codes().iter().find(|c| c.id.0 == id).filter(|c| c.spent.is_some());
    let payload = spent.map_or_else(
        || Json("{}".into()),
        |code| {
            let device = code.spent.and_then(|(id, _)| registry.device(&id));
            let display = device.map(|d| d.display.clone()).unwrap_or_default();
            Json(format!(r#"{{"completion":{}}}"#, super::shapes::setup_completed(code, &display).0))
        },
    );
    Ok(payload.into())
}
