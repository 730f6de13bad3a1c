//! What was said, without the credentials in it: for a model, or whoever else reads along.
//!
//! Other than in the configuration, most of a text is no secret and is to stay readable: a hash or an id stays, and only what
//! has the form of a credential goes, or what a word before it calls one.

use super::{REDACTED, shape};
use std::borrow::Cow;

/// Characters that end a word.
fn ends_word(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '"' | '\'' | '`' | ',' | ';' | '(' | ')' | '[' | ']' | '{' | '}' | '<' | '>' | '|')
}

/// Whether a word could be a credential, where one is expected.
fn could_be(word: &str) -> bool {
    let has = |class: fn(&u8) -> bool| word.as_bytes().iter().any(class);
    word.len() >= 8 && has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic) && !word.starts_with("${")
}

/// Whether a name speaks of a credential.
fn speaks(name: &str) -> bool {
    shape::names_secret(name) && !shape::counts(name)
}

/// Whether `text`, which stands under `name`, is a credential by that name: an argument or a result of a tool, say.
pub fn is_credential_of(name: &str, text: &str) -> bool {
    speaks(name) && name != "idempotencyKey" && could_be(text) && !text.contains(char::is_whitespace)
}

/// `text` with each credential replaced.
pub fn without_credentials(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let (mut copied, mut changed) = (0, false);
    // What the words before lead to expect.
    let (mut before, mut expected) = ("", false);
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("-----BEGIN") {
            let end = text[at..].find("-----END").map_or(text.len(), |found| {
                let end = at + found + 8;
                text[end..].find("-----").map_or(text.len(), |dashes| end + dashes + 5)
            });
            out.push_str(&text[copied..at]);
            out.push_str(REDACTED);
            (at, copied, changed) = (end, end, true);
            continue;
        }
        let length = text[at..].find(ends_word).unwrap_or(text.len() - at);
        if length == 0 {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
            continue;
        }
        let word = &text[at..at + length];
        let hidden = hidden(word, before, expected);
        if let Some(from) = hidden {
            out.push_str(&text[copied..at + from]);
            out.push_str(REDACTED);
            (copied, changed) = (at + length, true);
        }
        let name = word.trim_end_matches([':', '=']);
        expected = match name.len() < word.len() {
            true => speaks(if name.is_empty() { before } else { name }),
            false => false,
        };
        before = word;
        at += length;
    }
    if !changed {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

/// Where in a word a credential begins.
fn hidden(word: &str, before: &str, expected: bool) -> Option<usize> {
    let scheme = ["bearer", "basic"].iter().any(|scheme| before.eq_ignore_ascii_case(scheme));
    if (expected || scheme) && could_be(word) {
        return Some(0);
    }
    if let Some((name, value)) = word.split_once(['=', ':'])
        && !value.starts_with("//")
        && speaks(name)
        && could_be(value)
    {
        return Some(name.len() + 1);
    }
    shape::is_credential(word).then_some(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_of_what_stands_under_them() {
        let rows = [
            ("token", "abcd1234efgh", true),
            ("apiKey", "abcd1234efgh", true),
            ("apiKey", "${API_KEY_1}", false),
            ("sessionKey", "agent:main:one1", false),
            ("idempotencyKey", "abcd1234efgh", false),
            ("text", "abcd1234efgh", false),
            ("maxTokens", "abcd1234efgh", false),
            ("password", "what was it in 1984", false),
        ];
        for (name, text, expected) in rows {
            assert_eq!(is_credential_of(name, text), expected, "{name} {text}");
        }
    }

    #[test]
    fn credentials_go_and_the_rest_stays() {
        let hidden = [
            ("my key is sk-abcdef0123456789, ok?", "my key is __OPENCLAW_REDACTED__, ok?"),
            ("Authorization: Bearer abc12345xyz end", "Authorization: Bearer __OPENCLAW_REDACTED__ end"),
            ("password=hunter2222 x", "password=__OPENCLAW_REDACTED__ x"),
            ("api_key: abcd1234efgh", "api_key: __OPENCLAW_REDACTED__"),
            (r#"{"token":"abcd1234efgh","n":1}"#, r#"{"token":"__OPENCLAW_REDACTED__","n":1}"#),
            ("postgres://me:pa55word@host/db ok", "__OPENCLAW_REDACTED__ ok"),
            ("a -----BEGIN KEY-----\nxyz\n-----END KEY----- b", "a __OPENCLAW_REDACTED__ b"),
            ("ä ghp_0123456789abcdef ö", "ä __OPENCLAW_REDACTED__ ö"),
            ("-----BEGIN KEY-----", "__OPENCLAW_REDACTED__"),
        ];
        for (text, expected) in hidden {
            assert_eq!(without_credentials(text), expected);
        }
        let plain = [
            "see agent:main:main and 3f2b0c6e-8f7a-4d19-9a7e-2f3b1c5d7e9f",
            "commit f264846aa0bb11cc22dd33ee44ff5566778899aa",
            "the token: please tell me which",
            "password is wrong",
            "https://example.org/a?b=c1234567",
            "tokens: 12345678901 of maxTokens=16000000",
            "",
        ];
        plain.into_iter().for_each(|text| assert_eq!(without_credentials(text), text));
    }
}
