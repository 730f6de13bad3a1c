//! Keys under `gateway.auth`: credentials, auth mode, and limits for guesses.

use super::{
    Effect::*,
    Key, Kind,
    Visibility::*,
    flag, key, number, one_of,
    own::{DEVICE_KEY_PROOF, REVOKE_ON_ROTATE},
    section,
    words::AuthMode,
};
use crate::auth::limiter;

const DAY_MS: u64 = 86_400_000;
const LIMITS: limiter::Limits = limiter::Limits::DEFAULT;

#[rustfmt::skip]
pub(super) static KEYS: &[Key] = &[
    key("gateway.auth.mode", one_of::<AuthMode>(None, Some("token")), Credentials, Public,
        "Gateway Auth Mode", "What a client without a paired device has to show; without the key: what is set, else a token."),
    key("gateway.auth.token", Kind::Secret, Credentials, Secret,
        "Gateway Token", "The shared token. It pairs new devices."),
    key("gateway.auth.password", Kind::Secret, Credentials, Secret,
        "Gateway Password", "The shared password."),
    section("gateway.auth.rateLimit", Limits),
    key("gateway.auth.rateLimit.maxAttempts", number(1, 1_000_000, Some(LIMITS.attempts as u64)), Limits, Public,
        "Wrong Guesses", "Different wrong secrets from one address before it is locked out."),
    key("gateway.auth.rateLimit.windowMs", number(1, DAY_MS, Some(LIMITS.window.as_millis() as u64)), Limits, Public,
        "Window (ms)", "How long a wrong guess counts."),
    key("gateway.auth.rateLimit.lockoutMs", number(1, DAY_MS, Some(LIMITS.lockout.as_millis() as u64)), Limits, Public,
        "Lockout (ms)", "The longest lockout; the first is a tenth of it."),
    key("gateway.auth.rateLimit.exemptLoopback", flag(LIMITS.gentle_loopback, false), Limits, Public,
        "Gentle to Loopback", "Whether this host may guess ten times as often, with lockouts of at most five seconds."),
    key("gateway.auth.deviceKeyProof", DEVICE_KEY_PROOF, NextConnect, Public,
        "Device Key Proof", "As auth.deviceKeyProof in Barnacle's own file, which counts where both are there. OpenClaw refuses a file that has it."),
    key("gateway.auth.revokeOnRotate", REVOKE_ON_ROTATE, Credentials, Public,
        "Revoke on Rotate", "As auth.revokeOnRotate in Barnacle's own file, which counts where both are there. OpenClaw refuses a file that has it."),
    key("gateway.auth.allowTailscale", flag(false, false), Unsupported, Public,
        "Allow Tailscale", "Whether Tailscale Serve's identity headers count."),
    section("gateway.auth.trustedProxy", Unsupported),
    section("gateway.auth.identityScopes", Unsupported),
];
