//! Which keys Barnacle acts on.

/// Their paths: each is meant with all that stands below it.
const ACTED_ON: &[&str] = &[
    "agents.defaults.contextTokens",
    "agents.defaults.heartbeat.every",
    "agents.defaults.model",
    "agents.entries.*.default",
    "agents.list.[].default",
    "agents.list.[].id",
    "env",
    "gateway.auth.allowTailscale",
    "gateway.auth.deviceKeyProof",
    "gateway.auth.mode",
    "gateway.auth.password",
    "gateway.auth.rateLimit.exemptLoopback",
    "gateway.auth.rateLimit.lockoutMs",
    "gateway.auth.rateLimit.maxAttempts",
    "gateway.auth.rateLimit.windowMs",
    "gateway.auth.revokeOnRotate",
    "gateway.auth.token",
    "gateway.bind",
    "gateway.controlUi.allowInsecureAuth",
    "gateway.controlUi.allowedOrigins",
    "gateway.controlUi.dangerouslyAllowHostHeaderOriginFallback",
    "gateway.controlUi.dangerouslyDisableDeviceAuth",
    "gateway.customBindHost",
    "gateway.handshakeTimeoutMs",
    "gateway.http.securityHeaders.strictTransportSecurity",
    "gateway.mode",
    "gateway.nodes.allowCommands",
    "gateway.nodes.commands.allow",
    "gateway.nodes.commands.deny",
    "gateway.nodes.denyCommands",
    "gateway.nodes.pairing.autoApproveLocal",
    "gateway.port",
    "gateway.reload.debounceMs",
    "gateway.reload.mode",
    "gateway.remote.token",
    "gateway.remote.url",
    "gateway.tailscale.mode",
    "gateway.tls.enabled",
    "gateway.trustedProxies",
    "logging.consoleLevel",
    "logging.level",
    "secrets.defaults",
    "secrets.providers",
    "session.mainKey",
    "session.scope",
];

/// Whether the key at `path` is one, or stands below one.
pub fn is(path: &[&str]) -> bool {
    ACTED_ON.iter().any(|known| {
        let mut steps = path.iter();
        known.split('.').all(|step| steps.next().is_some_and(|name| step == "*" || step == *name))
    })
}
