//! Keys under `gateway`, but for `auth` and `tls`.

use super::{
    Effect::*,
    Key,
    Kind::{Any, Text, Texts, Words},
    Visibility::*,
    flag, key, number, one_of, section,
    words::{Bind, Mode, ReloadMode},
};
use std::time::Duration;

/// Port of the default profile, OpenClaw's.
pub const DEFAULT_PORT: u16 = 18_789;
/// Time that a client has to connect; a Raspberry Pi's Node CLI takes 7 to 8 s before its first byte.
pub const DEFAULT_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

const HANDSHAKE_TIMEOUT_MS: u64 = DEFAULT_HANDSHAKE_TIMEOUT.as_millis() as u64;
const BIND: super::Kind = Words { words: Bind::words, default: Some("loopback"), wrong: Some("loopback") };

#[rustfmt::skip]
pub(super) static KEYS: &[Key] = &[
    section("gateway", Unused),
    key("gateway.mode", one_of::<Mode>(None, None), Commands, Public,
        "Gateway Mode", "Whether the gateway runs on this host or elsewhere."),
    key("gateway.port", number(1, 65_535, Some(DEFAULT_PORT as u64)), Listen, Public,
        "Gateway Port", "TCP port for everything; a named profile has a port of its own."),
    key("gateway.bind", BIND, Listen, Public,
        "Gateway Bind", "Where to listen: this host alone (also \"localhost\"), every address, the tailnet's, or an IP address."),
    key("gateway.customBindHost", Text, Listen, Public,
        "Custom Bind Host", "IP address that \"custom\" listens on."),
    key("gateway.trustedProxies", Texts, NextConnect, Public,
        "Trusted Proxies", "Addresses and ranges whose forwarding headers count."),
    key("gateway.handshakeTimeoutMs", number(1, 600_000, Some(HANDSHAKE_TIMEOUT_MS)), NextConnect, Public,
        "Handshake Timeout (ms)", "How long a connect may take."),
    key("gateway.controlUi.enabled", flag(true, true), NextPage, Public,
        "Control UI Enabled", "Whether the Control UI's pages are served."),
    key("gateway.controlUi.root", Text, NextPage, Public,
        "Control UI Folder", "Folder of the Control UI's built files; without the key those of an installed OpenClaw."),
    key("gateway.controlUi.basePath", Text, NextPage, Public,
        "Control UI Base Path", "Path below which the pages are, as \"/openclaw\"; without the key there is none before them."),
    key("gateway.controlUi.allowedOrigins", Texts, NextConnect, Public,
        "Allowed Origins", "Origins that a browser's page may come from."),
    key("gateway.controlUi.allowInsecureAuth", flag(false, false), NextConnect, Public,
        "Allow Insecure Auth", "Whether pages over plain HTTP get in without a device, by the shared secret."),
    key("gateway.controlUi.dangerouslyDisableDeviceAuth", flag(false, false), NextConnect, Public,
        "No Device Auth", "Whether pages get in without any device, by the shared secret."),
    key("gateway.controlUi.dangerouslyAllowHostHeaderOriginFallback", flag(false, false), NextConnect, Public,
        "Host Header Fallback", "Whether the Host header may vouch for a page's origin."),
    key("gateway.nodes.pairing.autoApproveLocal", flag(true, false), NextConnect, Public,
        "Pair Local Devices", "Whether devices on this host that know the shared secret pair without approval."),
    key("gateway.nodes.commands.deny", Texts, NextCall, Public,
        "Node Commands Denied", "Commands that no node is asked to run, whatever allows them."),
    key("gateway.nodes.denyCommands", Texts, NextCall, Public,
        "Node Commands Denied (2026.2)", "The same as OpenClaw 2026.2 wrote it; read where the newer key is absent."),
    key("gateway.http.endpoints.chatCompletions.enabled", flag(false, false), NextPage, Public,
        "Chat Completions Endpoint", "Whether POST /v1/chat/completions and GET /v1/models are served."),
    key("gateway.http.securityHeaders.strictTransportSecurity", Any, NextAnswer, Public,
        "Strict-Transport-Security", "Value of that HTTP header, or false for none."),
    key("gateway.reload.mode", one_of::<ReloadMode>(Some("hybrid"), Some("hybrid")), Reload, Public,
        "Config Reload Mode", "Whether a changed file is applied at once (\"hybrid\", \"hot\"), by a restart, or at the next start (\"off\")."),
    key("gateway.reload.debounceMs", number(0, 60_000, Some(200)), Reload, Public,
        "Reload Debounce (ms)", "How long a changed file must rest before it is read."),
    section("gateway.remote", Commands),
    key("gateway.remote.url", Text, Commands, Unknown,
        "Remote Gateway URL", "The gateway that this host's commands call."),
    key("gateway.remote.tlsFingerprint", Text, Commands, Public,
        "Remote Gateway TLS Fingerprint", "SHA-256 of the one certificate that they trust."),
    key("gateway.remote.token", super::Kind::Secret, Commands, Secret,
        "Remote Gateway Token", "The token that they send."),
    section("gateway.tailscale", Unsupported),
];
