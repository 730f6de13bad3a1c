//! The model: values of the keys that Barnacle acts on, decoded from the source. Everything else in the file is
//! ignored. Keys under `gateway` decide who gets in and where.
//!
//! Ranges, words and defaults stand in the rows of [`super::keys`]; names and defaults are OpenClaw's
//! (`docs/gateway/config-gateway.md`), but for `auth.deviceKeyProof` and `auth.revokeOnRotate`, which belong into
//! Barnacle's own file ([`super::own`]).

pub(crate) mod agents;
pub(crate) mod logging;
pub(crate) mod models;
pub(crate) mod tls;
pub(crate) mod tools;
pub(crate) mod tree;
pub(crate) mod upkeep;

use super::{
    cidr::Cidr,
    credentials::{
        reference::Resolver,
        secret::{Credential, Kind},
    },
    keys::words::{AuthMode, Bind, Mode, ReloadMode, RevokeOnRotate},
    model::{agents::Agents, tls::TlsKeys, tree::Section, upkeep::Upkeep},
    text::node::Value,
};
use crate::{auth::limiter::Limits, journal::Levels};
use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

/// `gateway.reload`.
pub struct Reload {
    /// Reaction to a change of the file.
    pub mode: ReloadMode,
    /// Time for which the file must be unchanged before it is read.
    pub debounce: Duration,
}

impl Reload {
    fn decode(gateway: &Section<'_>) -> Self {
        let reload = gateway.section("reload");
        Self {
            mode: reload.word("mode").unwrap_or(ReloadMode::Hot),
            debounce: Duration::from_millis(reload.number_or_default("debounceMs")),
        }
    }
}

/// `gateway.auth`.
pub struct Auth {
    /// The mode; `None` where the file leaves it to what else is set.
    pub mode: Option<AuthMode>,
    pub token: Credential,
    pub password: Credential,
    /// Whether a paired device's key alone lets it in.
    pub device_key_proof: bool,
    /// Device tokens that a change of the shared token revokes.
    pub revoke_on_rotate: RevokeOnRotate,
    /// Limits for guesses of the shared secret.
    pub rate_limit: Limits,
    /// Whether Tailscale Serve's identity headers count.
    pub allow_tailscale: bool,
}

/// `gateway.remote`: what this host's clients use.
pub struct Remote {
    /// Token that clients of this host send.
    pub token: Credential,
    /// URL of the gateway that clients of this host call.
    pub url: Option<String>,
    /// Fingerprint of the certificate that clients of this host trust.
    pub tls_fingerprint: Option<String>,
}

/// `gateway.controlUi`.
pub struct ControlUi {
    /// Whether its pages are served.
    pub enabled: bool,
    /// Folder of its files, as it was typed.
    pub root: Option<String>,
    /// Path below which it is: empty, or beginning with a slash and not ending with one.
    pub base: String,
    /// Origins a browser may come from.
    pub allowed_origins: Vec<String>,
    /// Whether a Control UI without device identity is let in over plain HTTP.
    pub allow_insecure_auth: bool,
    /// Whether a Control UI needs no device at all.
    pub disable_device_auth: bool,
    /// Whether the Host header may vouch for the origin.
    pub host_header_origin_fallback: bool,
}

/// `gateway.nodes`.
pub struct Nodes {
    /// Whether local clients with the shared credential pair silently.
    pub auto_approve_local: bool,
    /// Commands denied whatever allows them; `None` where the list cannot be read: then all are.
    pub deny: Option<Vec<String>>,
}

/// Decoded values of all keys that Barnacle acts on.
pub struct GatewayConfig {
    /// `gateway.mode`: whether the gateway runs here or elsewhere.
    pub mode: Option<Mode>,
    /// `gateway.port`.
    pub port: Option<u16>,
    /// `gateway.bind`: the addresses to listen on.
    pub bind: Bind,
    /// `gateway.customBindHost`: the address for `bind: "custom"`.
    pub custom_bind_host: Option<IpAddr>,
    /// `gateway.auth`: credentials and the auth mode.
    pub auth: Auth,
    /// For clients on this host.
    pub remote: Remote,
    /// Proxies whose forwarding headers count.
    pub(crate) trusted_proxies: Vec<Cidr>,
    /// `gateway.tls`.
    pub tls: TlsKeys,
    /// `gateway.controlUi`: rules for browsers.
    pub control_ui: ControlUi,
    /// `gateway.nodes`: rules for nodes.
    pub nodes: Nodes,
    /// `gateway.reload`: reaction to changes of the file.
    pub reload: Reload,
    /// Time-out of the handshake (a key of OpenClaw's until 2026.8).
    pub handshake_timeout: Option<Duration>,
    /// `gateway.http.endpoints.chatCompletions.enabled`: whether the API of OpenAI is spoken.
    pub chat_completions: bool,
    /// `gateway.http.securityHeaders.strictTransportSecurity`: the header of that name.
    pub strict_transport_security: Option<String>,
    /// `logging`: log levels.
    pub levels: Levels,
    /// `agents`, `session` and `channels`.
    pub agents: Agents,
    /// `session.maintenance`.
    pub upkeep: Upkeep,
    /// `models.providers`.
    pub(crate) providers: Vec<models::Provider>,
    /// `tools`, of all agents and of each, and `gateway.tools`.
    pub(crate) tools: tools::Tools,
}

impl GatewayConfig {
    /// Decodes the keys below `root`. A wrong value is noted there, and its row says what holds instead.
    pub fn decode(root: &Section<'_>, resolver: &Resolver<'_>) -> Self {
        let gateway = root.section("gateway");
        let custom_bind_host = custom_bind_host(&gateway);
        let nodes = gateway.section("nodes");
        let pairing = nodes.section("pairing");
        let commands = nodes.section("commands");
        // OpenClaw's older names for them count where the newer are not there.
        let either = |new, old, instead| match commands.value(new).is_some() || commands.is_broken() {
            true => commands.list(new, instead),
            false => nodes.list(old, instead),
        };
        let deny = either("deny", "denyCommands", "every command is denied");
        let ui = gateway.section("controlUi");
        Self {
            mode: gateway.word("mode"),
            port: gateway.number("port").and_then(|n| n.try_into().ok()),
            bind: bind(&gateway, custom_bind_host),
            custom_bind_host,
            auth: Auth::decode(&gateway, resolver),
            remote: Remote {
                token: resolver.credential(
                    &gateway.section("remote"),
                    "token",
                    "gateway.remote.token",
                    "it lets no one in",
                ),
                url: gateway.section("remote").text("url").map(Cow::into_owned),
                tls_fingerprint: gateway.section("remote").text("tlsFingerprint").map(Cow::into_owned),
            },
            trusted_proxies: trusted_proxies(&gateway),
            tls: TlsKeys::decode(&gateway),
            control_ui: ControlUi {
                enabled: ui.flag("enabled"),
                root: ui.text("root").map(Cow::into_owned).filter(|root| !root.trim().is_empty()),
                base: base_path(&ui),
                allowed_origins: ui.list("allowedOrigins", "it admits no origin").items,
                allow_insecure_auth: ui.flag("allowInsecureAuth"),
                disable_device_auth: ui.flag("dangerouslyDisableDeviceAuth"),
                host_header_origin_fallback: ui.flag("dangerouslyAllowHostHeaderOriginFallback"),
            },
            nodes: Nodes {
                auto_approve_local: pairing.flag("autoApproveLocal"),
                deny: deny.whole.then_some(deny.items),
            },
            reload: Reload::decode(&gateway),
            handshake_timeout: gateway.number("handshakeTimeoutMs").map(Duration::from_millis),
            chat_completions: gateway
                .section("http")
                .section("endpoints")
                .section("chatCompletions")
                .flag("enabled"),
            strict_transport_security: strict_transport_security(&gateway),
            levels: Levels::decode(root),
            agents: Agents::decode(root),
            upkeep: Upkeep::decode(&root.section("session")),
            providers: models::decode(root, resolver),
            tools: tools::Tools::decode(root),
        }
    }
}

impl GatewayConfig {
    /// Whether the forwarding headers of a proxy at `address` count.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|range| range.contains(address))
    }
}

impl Auth {
    /// The token or the password.
    pub fn credential(&self, kind: Kind) -> &Credential {
        match kind {
            Kind::Token => &self.token,
            Kind::Password => &self.password,
        }
    }

    fn decode(gateway: &Section<'_>, resolver: &Resolver<'_>) -> Self {
        let auth = gateway.section("auth");
        let limit = auth.section("rateLimit");
        let millis = |name| Duration::from_millis(limit.number_or_default(name));
        let credential = |name: &str| {
            resolver.credential(&auth, name, &format!("gateway.auth.{name}"), "it lets no one in")
        };
        Self {
            mode: auth.word("mode"),
            token: credential("token"),
            password: credential("password"),
            device_key_proof: auth.flag("deviceKeyProof"),
            revoke_on_rotate: auth.word("revokeOnRotate").unwrap_or(RevokeOnRotate::Browsers),
            rate_limit: Limits {
                attempts: limit.number_or_default("maxAttempts").try_into().unwrap_or(u32::MAX),
                window: millis("windowMs"),
                lockout: millis("lockoutMs"),
                gentle_loopback: limit.flag("exemptLoopback"),
            },
            allow_tailscale: auth.flag_with_default("allowTailscale", serves_tailscale(gateway)),
        }
    }
}

fn serves_tailscale(gateway: &Section<'_>) -> bool {
    gateway.section("tailscale").text("mode").as_deref() == Some("serve")
}

fn custom_bind_host(gateway: &Section<'_>) -> Option<IpAddr> {
    let value = gateway.value("customBindHost")?;
    let address = gateway.text("customBindHost")?;
    let parsed = address.parse::<IpAddr>().ok();
    if parsed.is_none() {
        let found = format!("{address:?}");
        gateway.error("customBindHost", value, found, "an IP address", "as if it were not there");
    }
    parsed.map(|ip| ip.to_canonical())
}

fn bind(gateway: &Section<'_>, custom: Option<IpAddr>) -> Bind {
    let Some(value) = gateway.value("bind") else { return Bind::Loopback };
    // A wrong value never listens wider than this host.
    let wrong = |found: String| {
        gateway.error("bind", value, found, &format!("one of {}", Bind::expected()), "\"loopback\"");
        Bind::Loopback
    };
    if value.text().is_none() {
        return wrong(value.kind().into());
    }
    let Some(word) = gateway.text("bind") else { return Bind::Loopback };
    Bind::parse(&word, custom).unwrap_or_else(|| match word.eq_ignore_ascii_case("custom") {
        true => wrong("\"custom\" without gateway.customBindHost".into()),
        false => wrong(format!("{word:?}")),
    })
}

/// Value of the header, `false` for none.
fn strict_transport_security(gateway: &Section<'_>) -> Option<String> {
    const NAME: &str = "strictTransportSecurity";
    let headers = gateway.section("http").section("securityHeaders");
    let value = headers.value(NAME).filter(|node| !matches!(node.value, Value::Bool(false)))?;
    let text = headers.text(NAME)?;
    if text.chars().all(|c| matches!(c, ' '..='~')) {
        return Some(text.into_owned());
    }
    let instead = "as if it were not there";
    headers.error(NAME, value, "no value of a header".into(), "like \"max-age=31536000\"", instead);
    None
}

/// `gateway.controlUi.basePath`, with a slash before it and none behind it.
fn base_path(ui: &Section<'_>) -> String {
    let (Some(text), Some(value)) = (ui.text("basePath"), ui.value("basePath")) else { return String::new() };
    let base = text.trim().trim_matches('/');
    let fits = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
    };
    match base {
        "" => String::new(),
        base if base.split('/').all(fits) => format!("/{base}"),
        _ => {
            let expected = "a path of letters, digits and -._~, like \"/openclaw\"";
            ui.error("basePath", value, format!("{text:?}"), expected, "no path before the pages");
            String::new()
        }
    }
}

fn trusted_proxies(gateway: &Section<'_>) -> Vec<Cidr> {
    let mut proxies = Vec::new();
    for text in gateway.list("trustedProxies", "it is trusted with nothing").items {
        match (Cidr::parse(&text), gateway.value("trustedProxies")) {
            (Some(cidr), _) => proxies.push(cidr),
            (None, Some(list)) => {
                let expected = "a list of addresses (10.0.0.1) and ranges (10.0.0.0/8)";
                gateway.error(
                    "trustedProxies",
                    list,
                    format!("{text:?}"),
                    expected,
                    "it is trusted with nothing",
                );
            }
            (None, None) => {}
        }
    }
    proxies
}
