//! Keys of Barnacle's own file, `barnacle.json`: the gateway behind this one, and what OpenClaw's `gateway.auth`
//! has no key for.

use super::{
    Effect::*, Key, Kind, Table, Visibility::*, flag_unless_wrong, key, number, one_of, words::RevokeOnRotate,
};
use crate::config::Upstream;

/// Longest time that a request may wait for the gateway behind this one.
const LONGEST_WAIT_MS: u64 = 600_000;

/// More tokens than anybody means.
const MOST_TOKENS: u64 = 1_000_000_000_000;

pub(super) const DEVICE_KEY_PROOF: Kind = flag_unless_wrong(true, false);
pub(super) const REVOKE_ON_ROTATE: Kind = one_of::<RevokeOnRotate>(Some("none"), Some("browsers"));

/// Keys of `barnacle.json`.
pub(crate) static OWN: Table = Table(&[KEYS]);

/// Keys of it that stood in `openclaw.json` before, in the object `gateway`, and are still read there.
pub(crate) const MOVED: [&str; 2] = ["auth.deviceKeyProof", "auth.revokeOnRotate"];

/// Whether `path` is the path of such a key in `openclaw.json`.
pub(crate) fn is_moved(path: &str) -> bool {
    path.strip_prefix("gateway.").is_some_and(|own| MOVED.contains(&own))
}

#[rustfmt::skip]
static KEYS: &[Key] = &[
    key("upstream.url", Kind::Text, Upstreams, Public,
        "Upstream URL", "The OpenClaw gateway to stand in front of: ws:// on this host, wss:// elsewhere; `--upstream` overrides it."),
    key("upstream.allowCleartext", flag_unless_wrong(false, false), Upstreams, Public,
        "Allow Cleartext", "Whether `upstream.url` may be ws:// to another host: only through a network that encrypts by itself, as WireGuard does."),
    key("upstream.token", Kind::Secret, Upstreams, Secret,
        "Upstream Token", "The shared token for it; without the key: the file of upstream.tokenFile, else for one on this host the shared secret of the same `openclaw.json`."),
    key("upstream.tokenFile", Kind::Text, Upstreams, Public,
        "Upstream Token File", "A file that holds that token and nothing else."),
    key("upstream.scopes", Kind::Texts, Upstreams, Public,
        "Upstream Scopes", "What Barnacle asks for as a device of a gateway on another host; without the key: every operator scope. No client there has more, nor more than it has here."),
    key("upstream.tlsFingerprint", Kind::Text, Upstreams, Public,
        "Upstream TLS Fingerprint", "SHA-256 of the one certificate to trust there."),
    key("upstream.caFile", Kind::Text, Upstreams, Public,
        "Upstream Authorities", "Certificates of the authorities to trust there, PEM; without both keys: those that this host trusts."),
    key("upstream.waitMs", number(0, LONGEST_WAIT_MS, Some(Upstream::WAIT.as_millis() as u64)), NextRequest, Public,
        "Wait (ms)", "How long a request waits while it is away."),
    key("upstream.waitRequests", number(1, 4096, Some(Upstream::WAITING as u64)), NextRequest, Public,
        "Waiting Requests", "Most requests of one client that wait."),
    key("upstream.waitBytes", number(1024, 256 << 20, Some(Upstream::WAITING_BYTES as u64)), NextRequest, Public,
        "Waiting Bytes", "Most bytes of one client's requests that wait."),
    key("upstream.webSocketPaths", Kind::Texts, NextConnect, Public,
        "WebSocket Paths", "Paths whose WebSockets are passed on, and all below them: those of plugins. Any other is a client's that attaches here."),
    key("auth.deviceKeyProof", DEVICE_KEY_PROOF, NextConnect, Public,
        "Device Key Proof", "Whether a paired device's key alone lets it in."),
    key("auth.revokeOnRotate", REVOKE_ON_ROTATE, Credentials, Public,
        "Revoke on Rotate", "Whose device tokens a new shared secret revokes."),
    key("budget.perRun", number(0, MOST_TOKENS, Some(4_000_000)), NextRun, Public,
        "Tokens a Run", "Most tokens that one run may use; 0 is without a limit, as below."),
    key("budget.perDay", number(0, MOST_TOKENS, Some(20_000_000)), NextRun, Public,
        "Tokens a Day", "Most tokens that all agents may use in a day of UTC, as their models count them."),
    key("budget.perAgentDay", number(0, MOST_TOKENS, Some(0)), NextRun, Public,
        "Tokens an Agent and Day", "Most tokens that each agent may use in a day."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::OPENCLAW;

    #[test]
    fn moved_keys_have_a_row_in_both_files() {
        for path in MOVED {
            let old = OPENCLAW.row(&format!("gateway.{path}"));
            assert!(OWN.row(path).zip(old).is_some_and(|(new, old)| new.effect == old.effect), "{path}");
        }
    }
}
