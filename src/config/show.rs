//! The configuration file as it may be shown: as JSON, without its secrets.
//!
//! What could be a secret is left out rather than what surely is one: every text under a key that sounds
//! like it, everything under `env`, and addresses with a password in them. References (`${VAR}`, SecretRef
//! objects) are no secrets and stay.

use super::file::{self, Read};
use jsonc_parser::ast::{Object, Value};
use nanoserde::{SerJson, SerJsonState};
use sha2::{Digest, Sha256};
use std::path::Path;

/// What stands in a secret's place; OpenClaw's clients know it.
pub const REDACTED: &str = "__OPENCLAW_REDACTED__";

/// A file as it may be shown.
pub struct Shown {
    /// Whether it is there.
    pub exists: bool,
    /// Its content as JSON, without secrets; an empty object where it cannot be read.
    pub json: String,
    /// What is wrong with it, if it cannot be read.
    pub issue: Option<String>,
    /// SHA-256 of its bytes, hexadecimal.
    pub hash: Option<String>,
}

/// Reads the file at `path`.
pub fn show(path: &Path) -> Shown {
    let nothing = |exists, issue| Shown { exists, json: "{}".into(), issue, hash: None };
    let document = match file::read(path) {
        Read::Missing => return nothing(false, None),
        Read::Unreadable(why) => return nothing(true, Some(why.to_string())),
        Read::Text(document) => document,
    };
    let hash = Some(crate::protocol::hex(&Sha256::digest(document.text.as_bytes())));
    match document.parse() {
        Err(why) => Shown { hash, ..nothing(true, Some(why.to_string())) },
        Ok(root) => {
            let mut out = SerJsonState::new(String::with_capacity(document.text.len()));
            object(&root, false, &mut out);
            Shown { exists: true, json: out.out, issue: None, hash }
        }
    }
}

fn object(object: &Object<'_>, secret: bool, out: &mut SerJsonState) {
    out.out.push('{');
    for (n, property) in object.properties.iter().enumerate() {
        if n > 0 {
            out.out.push(',');
        }
        let name = property.name.as_str();
        name.ser_json(0, out);
        out.out.push(':');
        let reference = secret && matches!(name, "source" | "provider" | "id");
        value(&property.value, !reference && (secret || sounds_secret(name)), out);
    }
    out.out.push('}');
}

fn value(it: &Value<'_>, secret: bool, out: &mut SerJsonState) {
    match it {
        Value::StringLit(text) if secret && !is_reference(&text.value) => REDACTED.ser_json(0, out),
        Value::StringLit(text) if holds_password(&text.value) => REDACTED.ser_json(0, out),
        Value::StringLit(text) => text.value.ser_json(0, out),
        Value::NumberLit(_) if secret => REDACTED.ser_json(0, out),
        Value::NumberLit(number) => self::number(number.value, out),
        Value::BooleanLit(on) => on.value.ser_json(0, out),
        Value::NullKeyword(_) => out.out.push_str("null"),
        Value::Object(inner) => object(inner, secret, out),
        Value::Array(list) => {
            out.out.push('[');
            for (n, item) in list.elements.iter().enumerate() {
                if n > 0 {
                    out.out.push(',');
                }
                value(item, secret, out);
            }
            out.out.push(']');
        }
    }
}

/// JSON5's numbers in JSON: hexadecimal, a plus sign or a bare point are not in it, nor is infinity.
fn number(text: &str, out: &mut SerJsonState) {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |t| ("-", t));
    let digits = digits.strip_prefix('+').unwrap_or(digits);
    if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        let n = u64::from_str_radix(hex, 16).unwrap_or_default();
        out.out.push_str(&format!("{sign}{n}"));
    } else if miniserde::json::from_str::<miniserde::json::Number>(text).is_ok() {
        out.out.push_str(text);
    } else {
        match text.parse::<f64>().ok().filter(|n| n.is_finite()) {
            Some(n) => out.out.push_str(&n.to_string()),
            None => out.out.push_str("null"),
        }
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
