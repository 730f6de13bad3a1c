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
    tls::Tls,
};
use nanoserde::SerJson;
use std::net::IpAddr;

/// Parameters of `device.pair.setupCode`.
const KNOWN: &[&str] = &["publicUrl", "preferRemoteUrl", "includeQr", "bootstrapProfile", "joinUrl"];

/// Most codes kept; the oldest go first.
const MOST: usize = 32;

#[derive(SerJson)]
#[allow(non_snake_case)]
struct Code {
    setupId: String,
    setupCode: String,
    joinUrl: Option<String>,
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
    let joins = match params.opt_bool("joinUrl")? {
        None => false,
        Some(false) => return Err(params.invalid("joinUrl", "equal to constant").into()),
        Some(true) => true,
    };
    let access = match params.opt_str("bootstrapProfile")? {
        None | Some("node") if joins => Access::Node,
        Some(_) if joins => return Err(ErrorShape::invalid("Join URLs require bootstrapProfile=node.")),
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
    let scheme = if matches!(settings.tls, Tls::Off) { "ws" } else { "wss" };
    let (url, source) = match params.opt_str("publicUrl")? {
        Some(url) => {
            let url = address(url, scheme).ok_or_else(|| {
                params.invalid("publicUrl", "a URL such as wss://gateway.example, without a user or a query")
            })?;
            (url, "publicUrl")
        }
        None => match settings.reachable_at() {
            Some(ip) => {
                (format!("{scheme}://{}", std::net::SocketAddr::new(ip, settings.port)), "gateway.bind")
            }
            None => (settings.local_url(), "loopback"),
        },
    };
    let base = joins.then(|| join_base(&url)).transpose().map_err(ErrorShape::invalid)?;
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
    let join_url = match base {
        None => None,
        Some(base) => {
            let code = app.joins.add(content.0.clone(), uptime, made.left_ms).map_err(no_randomness)?;
            Some(format!("{base}/j/{code}"))
        }
    };
    let payload = Json::of(&Code {
        setupId: made.id.to_string(),
        setupCode: base64url_encode(content.0.as_bytes()),
        joinUrl: join_url,
        gatewayUrl: url,
        auth: if settings.auth == crate::config::AuthMode::Password { "password" } else { "token" },
        urlSource: source,
        access: access.as_str(),
        expiresAtMs: wall_ms() + SETUP_CODE_MS,
    });
    Ok(payload.into())
}

/// The address of a gateway as its clients write it, from a URL of a person; `scheme` is the usual one.
fn address(url: &str, scheme: &str) -> Option<String> {
    let lower = url.trim().to_ascii_lowercase();
    let (scheme, at) = match lower.split_once("://") {
        None => (scheme, 0),
        Some((named, _)) => {
            let scheme = match named {
                "ws" | "http" => "ws",
                "wss" | "https" => "wss",
                _ => return None,
            };
            (scheme, named.len() + 3)
        }
    };
    let rest = url.trim()[at..].trim_end_matches('/');
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let port = if scheme == "wss" { ":443" } else { ":80" };
    let host = host.to_ascii_lowercase();
    let host = host.strip_suffix(port).unwrap_or(&host);
    let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '@' | '?' | '#' | '\\' | '"' | '%');
    let fits = !host.is_empty() && !host.starts_with(':') && rest.chars().all(is_plain);
    fits.then(|| format!("{scheme}://{host}{path}"))
}

/// Where a join URL begins. It is a secret, so it goes over TLS or stays on this host.
fn join_base(url: &str) -> Result<String, &'static str> {
    if let Some(rest) = url.strip_prefix("wss://") {
        return Ok(format!("https://{rest}"));
    }
    let rest = url.strip_prefix("ws://").unwrap_or(url);
    let host = rest.split('/').next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(host) => host.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    is_here.then(|| format!("http://{rest}")).ok_or(
        "Join URLs require TLS (gateway.tls, or a publicUrl of https:// before the gateway), except on this host. Without \
         it, give the node the setupCode: `openclaw node run --pair <code>`.",
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_where_join_urls_begin() {
        for (url, expected, base) in [
            ("wss://Gateway.example/", Some("wss://gateway.example"), Some("https://gateway.example")),
            (
                "https://gateway.example:443/a/",
                Some("wss://gateway.example/a"),
                Some("https://gateway.example/a"),
            ),
            (
                "gateway.example:8443",
                Some("wss://gateway.example:8443"),
                Some("https://gateway.example:8443"),
            ),
            ("http://127.0.0.1:18789", Some("ws://127.0.0.1:18789"), Some("http://127.0.0.1:18789")),
            ("ws://[::1]:18789/x", Some("ws://[::1]:18789/x"), Some("http://[::1]:18789/x")),
            ("ws://localhost", Some("ws://localhost"), Some("http://localhost")),
            ("ws://192.168.1.2:18789", Some("ws://192.168.1.2:18789"), None),
            ("ws://localhost.example", Some("ws://localhost.example"), None),
            ("ftp://x", None, None),
            ("wss://", None, None),
            ("wss://:1", None, None),
            ("wss://u@x", None, None),
            ("wss://x?y", None, None),
            ("wss://x y", None, None),
        ] {
            let found = address(url, "wss");
            assert_eq!(found.as_deref(), expected, "{url}");
            assert_eq!(found.and_then(|url| join_base(&url).ok()).as_deref(), base, "{url}");
        }
    }
}
