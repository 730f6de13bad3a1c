//! The keys that Barnacle acts on; everything else in the file is let be. Those under `gateway` decide who
//! gets in and where.
//!
//! Names and defaults are OpenClaw's (`docs/gateway/config-gateway.md`), but for
//! `auth.deviceKeyProof` and `auth.revokeOnRotate`, which are Barnacle's own.

pub mod agents;
pub mod logging;
pub mod tls;
pub mod tree;

use super::{
    cidr::Cidr,
    credentials::{
        reference::Resolver,
        secret::{Credential, Kind},
    },
    model::{agents::Agents, logging::Levels, tls::TlsKeys, tree::Section},
    text::node::Value,
};
use crate::auth::limiter::Limits;
use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// How long a changed file must be left alone before it is read, unless `gateway.reload.debounceMs` says so.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// Where the gateway that this file speaks of runs: `gateway.mode`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// On this host.
    Local,
    /// Elsewhere: this host is a client of it.
    Remote,
}

/// Where to listen: `gateway.bind`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bind {
    /// Both loopbacks.
    Loopback,
    /// Every address.
    Lan,
    /// The tailnet's address, and loopback.
    Tailnet,
    /// Every address in a container, else loopback.
    Auto,
    /// One address, and loopback.
    Custom(IpAddr),
}

impl Bind {
    /// The words, for a message.
    pub const WORDS: &str = "\"loopback\", \"lan\", \"tailnet\", \"auto\", \"custom\" (with \
                             gateway.customBindHost) or an IP address";

    /// Reads a word or an address; `custom` is what the word of that name means.
    pub fn parse(word: &str, custom: Option<IpAddr>) -> Option<Self> {
        let bind = match word {
            "loopback" => Self::Loopback,
            "lan" => Self::Lan,
            "tailnet" => Self::Tailnet,
            "auto" => Self::Auto,
            "custom" => Self::Custom(custom?),
            address => Self::Custom(address.parse().ok()?),
        };
        Some(if bind.is_loopback() { Self::Loopback } else { bind })
    }

    /// Whether no other host can reach it. `auto` may turn out to be, and does not count.
    pub fn is_loopback(self) -> bool {
        match self {
            Self::Loopback => true,
            Self::Custom(ip) => ip == IpAddr::V4(Ipv4Addr::LOCALHOST) || ip.to_canonical().is_loopback(),
            _ => false,
        }
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback => f.write_str("loopback"),
            Self::Lan => f.write_str("lan"),
            Self::Tailnet => f.write_str("tailnet"),
            Self::Auto => f.write_str("auto"),
            Self::Custom(ip) => ip.fmt(f),
        }
    }
}

/// How a client without a paired device is let in: `gateway.auth.mode`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuthMode {
    /// Without a credential.
    None,
    /// By the shared token.
    Token,
    /// By the shared password.
    Password,
    /// By the word of a proxy in front.
    TrustedProxy,
}

impl AuthMode {
    const WORDS: [(&str, Self); 4] = [
        ("none", Self::None),
        ("token", Self::Token),
        ("password", Self::Password),
        ("trusted-proxy", Self::TrustedProxy),
    ];

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::WORDS.into_iter().find(|(w, _)| *w == word).map(|(_, mode)| mode)
    }

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Token => "token",
            Self::Password => "password",
            Self::TrustedProxy => "trusted-proxy",
        }
    }
}

/// What happens when the file changes: `gateway.reload.mode`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReloadMode {
    /// It is read, and told of; it takes effect at the next restart.
    Off,
    /// It is applied. OpenClaw's `hot` and `hybrid` differ in what needs a restart; here nothing does.
    Hot,
    /// It is applied by a restart, which nobody who is connected sees.
    Restart,
}

/// `gateway.reload`.
pub struct Reload {
    /// What happens when the file changes.
    pub mode: ReloadMode,
    /// How long the file must be left alone before it is read.
    pub debounce: Duration,
}

impl Reload {
    fn decode(gateway: &Section<'_>) -> Self {
        let reload = gateway.section("reload");
        let modes = [
            ("hybrid", ReloadMode::Hot),
            ("hot", ReloadMode::Hot),
            ("off", ReloadMode::Off),
            ("restart", ReloadMode::Restart),
        ];
        Self {
            mode: reload.word("mode", &modes, "\"hybrid\"").ok().flatten().unwrap_or(ReloadMode::Hot),
            debounce: reload.number("debounceMs", 0..=60_000).map_or(DEBOUNCE, Duration::from_millis),
        }
    }
}

/// Which device tokens a change of the shared token kills: `gateway.auth.revokeOnRotate`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RevokeOnRotate {
    /// None.
    Nothing,
    /// Those of browsers, as OpenClaw does.
    Browsers,
}

/// `gateway.auth`.
pub struct Auth {
    /// The mode; `None` where the file leaves it to what else is set.
    pub mode: Option<AuthMode>,
    /// The shared token.
    pub token: Credential,
    /// The shared password.
    pub password: Credential,
    /// Whether a paired device's key alone lets it in.
    pub device_key_proof: bool,
    /// What a change of the shared token revokes.
    pub revoke_on_rotate: RevokeOnRotate,
    /// The limiter's numbers.
    pub rate_limit: Limits,
    /// Whether Tailscale Serve's identity headers count.
    pub allow_tailscale: bool,
}

/// `gateway.remote`: what this host's clients use.
pub struct Remote {
    /// The token they send.
    pub token: Credential,
    /// The gateway they call.
    pub url: Option<String>,
    /// The certificate they trust.
    pub tls_fingerprint: Option<String>,
}

/// `gateway.controlUi`.
pub struct ControlUi {
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

/// What the file says, mostly under `gateway`.
pub struct GatewayConfig {
    /// Where the gateway runs.
    pub mode: Option<Mode>,
    /// The port.
    pub port: Option<u16>,
    /// Where to listen.
    pub bind: Bind,
    /// What `custom` means.
    pub custom_bind_host: Option<IpAddr>,
    /// Who gets in.
    pub auth: Auth,
    /// For clients on this host.
    pub remote: Remote,
    /// Proxies whose forwarding headers count.
    pub trusted_proxies: Vec<Cidr>,
    /// What new connections speak.
    pub tls: TlsKeys,
    /// Browsers.
    pub control_ui: ControlUi,
    /// Nodes.
    pub nodes: Nodes,
    /// Changes of the file.
    pub reload: Reload,
    /// How long a client may take to connect (a key of OpenClaw's until 2026.8).
    pub handshake_timeout: Option<Duration>,
    /// `gateway.http.securityHeaders.strictTransportSecurity`: the header of that name.
    pub strict_transport_security: Option<String>,
    /// `logging`.
    pub levels: Levels,
    /// `agents`, `session` and `channels`.
    pub agents: Agents,
}

impl GatewayConfig {
    /// Reads the keys out of `root`. What is wrong is noted there, and holds its closed value.
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
        let modes = [("local", Mode::Local), ("remote", Mode::Remote)];
        Self {
            mode: gateway.word("mode", &modes, "as if it were not there").ok().flatten(),
            port: gateway.number("port", 1..=65535).and_then(|n| n.try_into().ok()),
            bind: bind(&gateway, custom_bind_host),
            custom_bind_host,
            auth: Auth::decode(&gateway, resolver),
            remote: Remote {
                token: resolver.credential(&gateway.section("remote"), "token", "gateway.remote.token"),
                url: gateway.section("remote").text("url").map(Cow::into_owned),
                tls_fingerprint: gateway.section("remote").text("tlsFingerprint").map(Cow::into_owned),
            },
            trusted_proxies: trusted_proxies(&gateway),
            tls: TlsKeys::decode(&gateway),
            control_ui: ControlUi {
                allowed_origins: ui.list("allowedOrigins", "it admits no origin").items,
                allow_insecure_auth: ui.flag("allowInsecureAuth", false, false),
                disable_device_auth: ui.flag("dangerouslyDisableDeviceAuth", false, false),
                host_header_origin_fallback: ui.flag(
                    "dangerouslyAllowHostHeaderOriginFallback",
                    false,
                    false,
                ),
            },
            nodes: Nodes {
                auto_approve_local: pairing.flag("autoApproveLocal", true, false),
                deny: deny.whole.then_some(deny.items),
            },
            reload: Reload::decode(&gateway),
            handshake_timeout: gateway.number("handshakeTimeoutMs", 1..=600_000).map(Duration::from_millis),
            strict_transport_security: strict_transport_security(&gateway),
            levels: Levels::decode(root),
            agents: Agents::decode(root),
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
        let usual = Limits::default();
        let millis = |name| limit.number(name, 1..=86_400_000).map(Duration::from_millis);
        let rotate = [("none", RevokeOnRotate::Nothing), ("browsers", RevokeOnRotate::Browsers)];
        let revoke =
            auth.word("revokeOnRotate", &rotate, "\"browsers\"").unwrap_or(Some(RevokeOnRotate::Browsers));
        let credential = |name: &str| resolver.credential(&auth, name, &format!("gateway.auth.{name}"));
        let mode = auth.word("mode", &AuthMode::WORDS, "\"token\"");
        Self {
            mode: mode.unwrap_or(Some(AuthMode::Token)),
            token: credential("token"),
            password: credential("password"),
            // A wrong value may have meant "off". A file that cannot be read at all says nothing of it.
            device_key_proof: auth.flag("deviceKeyProof", true, auth.is_broken()),
            revoke_on_rotate: revoke.unwrap_or(RevokeOnRotate::Nothing),
            rate_limit: Limits {
                attempts: limit.number("maxAttempts", 1..=1_000_000).map_or(usual.attempts, |n| n as u32),
                window: millis("windowMs").unwrap_or(usual.window),
                lockout: millis("lockoutMs").unwrap_or(usual.lockout),
                gentle_loopback: limit.flag("exemptLoopback", usual.gentle_loopback, false),
            },
            allow_tailscale: auth.flag("allowTailscale", serves_tailscale(gateway), false),
        }
    }
}

fn serves_tailscale(gateway: &Section<'_>) -> bool {
    gateway.section("tailscale").text("mode").as_deref() == Some("serve")
}

fn custom_bind_host(gateway: &Section<'_>) -> Option<IpAddr> {
    let value = gateway.value("customBindHost")?;
    let address = gateway.text("customBindHost")?;
    let parsed = address.parse().ok();
    if parsed.is_none() {
        gateway.fault(
            "customBindHost",
            value,
            format!("{address:?}"),
            "an IP address",
            "as if it were not there",
        );
    }
    parsed
}

fn bind(gateway: &Section<'_>, custom: Option<IpAddr>) -> Bind {
    let (Some(value), Some(word)) = (gateway.value("bind"), gateway.text("bind")) else {
        return Bind::Loopback;
    };
    Bind::parse(&word, custom).unwrap_or_else(|| {
        let found = match &*word {
            "custom" => "\"custom\" without gateway.customBindHost".into(),
            other => format!("{other:?}"),
        };
        gateway.fault("bind", value, found, &format!("one of {}", Bind::WORDS), "\"loopback\"");
        Bind::Loopback
    })
}

/// The header's value; `false` says that there is none.
fn strict_transport_security(gateway: &Section<'_>) -> Option<String> {
    const NAME: &str = "strictTransportSecurity";
    let headers = gateway.section("http").section("securityHeaders");
    let value = headers.value(NAME).filter(|node| !matches!(node.value, Value::Bool(false)))?;
    let text = headers.text(NAME)?;
    if text.chars().all(|c| matches!(c, ' '..='~')) {
        return Some(text.into_owned());
    }
    let instead = "as if it were not there";
    headers.fault(NAME, value, "no value of a header".into(), "like \"max-age=31536000\"", instead);
    None
}

fn trusted_proxies(gateway: &Section<'_>) -> Vec<Cidr> {
    let mut proxies = Vec::new();
    for text in gateway.list("trustedProxies", "it is trusted with nothing").items {
        match (Cidr::parse(&text), gateway.value("trustedProxies")) {
            (Some(cidr), _) => proxies.push(cidr),
            (None, Some(list)) => {
                let expected = "a list of addresses (10.0.0.1) and ranges (10.0.0.0/8)";
                gateway.fault(
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
