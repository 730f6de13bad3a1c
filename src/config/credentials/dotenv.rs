//! `.env` files, read as the npm package `dotenv` reads them, which is what OpenClaw uses.
//!
//! `KEY=value` and `KEY: value`, an optional `export`; values bare (up to `#`) or in one of three
//! quotes, then over several lines if need be. Nothing is expanded but `\n` and `\r` in double quotes.

use std::collections::BTreeMap;

/// The variables of a `.env` file. A line that is no assignment is passed over; the last of equal
/// names counts.
pub fn parse(text: &str) -> BTreeMap<String, String> {
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n").replace('\r', "\n");
    let mut vars = BTreeMap::new();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let line_end = rest.find('\n').map_or(rest.len(), |at| at + 1);
        let (line, after_line) = rest.split_at(line_end);
        rest = after_line;
        let Some((key, value)) = assignment(line) else { continue };
        let quoted_from = text.len() - after_line.len() - value.len();
        let value = match quoted(&text[quoted_from..]) {
            Some((value, after)) => {
                rest = after;
                value
            }
            None => value.split('#').next().unwrap_or_default().trim().to_owned(),
        };
        vars.insert(key.to_owned(), value);
    }
    vars
}

/// The key of a line, and what follows the `=`.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start();
    let line = match line.strip_prefix("export") {
        Some(rest) if rest.starts_with([' ', '\t']) => rest.trim_start(),
        _ => line,
    };
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')))?;
    let (key, rest) = line.split_at(end);
    let value = match rest.trim_start().strip_prefix('=') {
        Some(value) => value,
        None => rest.strip_prefix(':').filter(|v| v.starts_with([' ', '\t']))?,
    };
    (!key.is_empty()).then_some((key, value))
}

/// A quoted value at the start of `text`, and what follows its line. `None` where the quote does not
/// close, or something but a comment follows it: then the value is a bare one.
fn quoted(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start_matches([' ', '\t']);
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\'' | '`'))?;
    let body = &text[1..];
    let mut escaped = false;
    let end = body.find(|c: char| {
        let ends = c == quote && !escaped;
        escaped = c == '\\';
        ends
    })?;
    let (line, rest) = body[end + 1..].split_once('\n').unwrap_or((&body[end + 1..], ""));
    if !line.trim().is_empty() && !line.trim_start().starts_with('#') {
        return None;
    }
    let value = &body[..end];
    let value = if quote == '"' { value.replace("\\n", "\n").replace("\\r", "\r") } else { value.to_owned() };
    Some((value, rest))
}
