//! The path of a key, as it is typed: `agents.list[0].id`, `channels.discord.guilds["1.2"].name`.
//!
//! A number in brackets is a key like any other: what it stands in decides whether it counts items or
//! names one. Source: OpenClaw's `docs/cli/config.md`.

use crate::config::change::diff::KeyPath;
use std::fmt;

/// A text that is no path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadPath {
    text: String,
    why: &'static str,
}

impl fmt::Display for BadPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, why } = self;
        write!(f, "{text:?} is no path of a key: {why}; write it like agents.list[0].id or a[\"b.c\"]")
    }
}

impl std::error::Error for BadPath {}

impl KeyPath {
    /// Placeholder for any item of a list.
    pub const ITEM: &str = "[]";

    /// Reads a path.
    ///
    /// # Errors
    /// [`BadPath`].
    pub fn parse(text: &str) -> Result<Self, BadPath> {
        let bad = |why| BadPath { text: text.into(), why };
        let mut keys = Vec::new();
        let mut rest = text.trim();
        loop {
            if let Some(inner) = rest.strip_prefix('[') {
                let (key, after) = bracket(inner).ok_or_else(|| bad("a bracket does not close"))?;
                keys.push(key);
                rest = after;
            } else {
                let end = rest.find(['.', '[']).unwrap_or(rest.len());
                let (key, after) = rest.split_at(end);
                if key.is_empty() {
                    return Err(bad("a key is missing"));
                }
                keys.push(key.into());
                rest = after;
            }
            rest = match rest.strip_prefix('.') {
                Some(after) => after,
                None if rest.is_empty() => return Ok(Self(keys)),
                None if rest.starts_with('[') => continue,
                None => return Err(bad("a dot is missing after a bracket")),
            };
        }
    }
}

/// The key that begins after `[`, and what follows its `]`.
fn bracket(inner: &str) -> Option<(String, &str)> {
    let Some(quote) = inner.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        let (key, after) = inner.split_once(']')?;
        return Some((if key.is_empty() { KeyPath::ITEM.into() } else { key.trim().to_owned() }, after));
    };
    let (mut key, mut escaped) = (String::new(), false);
    for (at, c) in inner.char_indices().skip(1) {
        if !escaped && c == quote {
            return Some((key, inner[at + 1..].strip_prefix(']')?));
        }
        escaped = !escaped && c == '\\';
        if !escaped {
            key.push(c);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let rows: [(&str, &[&str], &str); 7] = [
            ("gateway.port", &["gateway", "port"], "gateway.port"),
            ("a.b[0].c", &["a", "b", "0", "c"], "a.b.0.c"),
            ("a[\"b.c\"].d", &["a", "b.c", "d"], "a[\"b.c\"].d"),
            ("a['x\\'y'][1]", &["a", "x'y", "1"], "a[\"x'y\"].1"),
            ("models[].input", &["models", "[]", "input"], "models[].input"),
            ("[\"\"].b", &["", "b"], "[\"\"].b"),
            (" one ", &["one"], "one"),
        ];
        for (text, keys, shown) in rows {
            let path = KeyPath::parse(text).unwrap();
            assert_eq!(path.0, keys, "{text}");
            assert_eq!(path.to_string(), shown);
            assert_eq!(KeyPath::parse(shown), Ok(path));
        }
        for text in ["", ".", "a.", ".a", "a..b", "a[", "a[\"x", "a[\"x\"b", "a[0]b"] {
            assert!(KeyPath::parse(text).is_err(), "{text}");
        }
    }
}
