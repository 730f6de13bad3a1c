//! The configuration as it may be shown: as JSON or as its own text, without its secrets.
//!
//! What could be a secret is left out rather than what surely is one: every text under a key that sounds
//! like it, everything under `env`, and addresses with a password in them. References (`${VAR}`, SecretRef
//! objects) are no secrets and stay.

use super::text::{
    edit::edited,
    file::Document,
    node::{Entry, Node, Value},
};
use nanoserde::SerJsonState;

/// What stands in a secret's place; OpenClaw's clients know it.
pub const REDACTED: &str = "__OPENCLAW_REDACTED__";

/// `root` as JSON, without secrets.
pub fn redacted(root: &Node) -> String {
    let mut out = SerJsonState::new(String::new());
    root.write_json(&mut out, &mut |path, node| is_secret(path, node).then(|| REDACTED.into()));
    out.out
}

/// The text of `document` with placeholders in the place of its secrets. `None` where more than its tree
/// may hold one: a comment that names a secret, or a key that stands there twice.
pub fn redacted_text(document: &Document) -> Option<String> {
    let root = document.parse().map(|root| Node::of(&root, 0)).ok()?;
    if document.comments().any(names_secret) {
        return None;
    }
    let mut secrets = Vec::new();
    let text = edited(document, &hidden(&root, &mut Vec::new(), &mut secrets))?;
    let left = secrets.iter().any(|secret| secret.len() >= SHORT && text.contains(secret));
    let bom = if document.bom { "\u{feff}" } else { "" };
    (!left).then(|| format!("{bom}{text}"))
}

/// A secret this short may stand anywhere by chance, bytes.
const SHORT: usize = 4;

/// `node` with its secrets replaced, which are added to `secrets`.
fn hidden<'n>(node: &'n Node, path: &mut Vec<&'n str>, secrets: &mut Vec<&'n str>) -> Node {
    let value = match &node.value {
        Value::Text(text) | Value::Number(text) if is_secret(path, node) => {
            secrets.push(text);
            Value::Text(REDACTED.into())
        }
        Value::Object(entries) => {
            let entry = |Entry { name, at, node }: &'n Entry| {
                path.push(name);
                let node = hidden(node, path, secrets);
                path.pop();
                Entry { name: name.clone(), at: *at, node }
            };
            Value::Object(entries.iter().map(entry).collect())
        }
        Value::List(items) => Value::List(items.iter().map(|item| hidden(item, path, secrets)).collect()),
        plain => plain.clone(),
    };
    Node { at: node.at, value }
}

/// Whether a comment has a key in it that sounds secret: a line that was commented out, say.
fn names_secret(comment: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let keys = comment.match_indices([':', '=']).map(|(at, _)| {
        let before = comment[..at].trim_end_matches(|c: char| !word(c));
        &before[before.rfind(|c: char| !word(c)).map_or(0, |n| n + 1)..]
    });
    keys.into_iter().any(sounds_secret)
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
