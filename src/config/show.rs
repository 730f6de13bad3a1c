//! The configuration as it may be shown: as JSON, without its secrets.
//!
//! What could be a secret is left out rather than what surely is one: every text under a key that sounds
//! like it, everything under `env`, and addresses with a password in them. References (`${VAR}`, SecretRef
//! objects) are no secrets and stay.

use super::node::{Node, Value};
use nanoserde::SerJsonState;

/// What stands in a secret's place; OpenClaw's clients know it.
pub const REDACTED: &str = "__OPENCLAW_REDACTED__";

/// `root` as JSON, without secrets.
pub fn redacted(root: &Node) -> String {
    let mut out = SerJsonState::new(String::new());
    root.write_json(&mut out, &mut |path, node| is_secret(path, node).then(|| REDACTED.into()));
    out.out
}

/// Whether the text or number `node`, whose keys from the root are `path`, may be a secret.
pub fn is_secret(path: &[&str], node: &Node) -> bool {
    // A reference names a secret and is none: {source, provider, id}.
    let (last, above) = path.split_last().map_or(("", path), |(last, above)| (*last, above));
    let reference = matches!(last, "source" | "provider" | "id");
    let secret = above.iter().any(|key| sounds_secret(key)) && !reference || sounds_secret(last);
    match &node.value {
        Value::Text(text) => secret && !is_reference(text) || holds_password(text),
        Value::Number(_) => secret,
        _ => false,
    }
}

fn sounds_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let words = ["token", "password", "passwd", "passphrase", "secret", "credential", "cookie", "webhook"];
    // Names of sessions, not of locks.
    let harmless = ["mainkey", "sessionkey"];
    words.iter().any(|w| key.contains(w))
        || (key.ends_with("key") && !harmless.contains(&key.as_str()))
        || matches!(key.as_str(), "env" | "headers" | "auth_header" | "authorization" | "pin")
}

fn is_reference(text: &str) -> bool {
    let name = text.strip_prefix("${").and_then(|t| t.strip_suffix('}'));
    name.is_some_and(|n| n.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
}

/// `scheme://user:password@host`.
fn holds_password(text: &str) -> bool {
    let authority =
        text.split_once("://").map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or(rest));
    authority.is_some_and(|a| a.contains('@'))
}
