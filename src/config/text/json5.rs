//! JSON5 that the parser refuses: `{key/* here */: 1}`, `{\u006bey: 1}`, `{key: "\ud83e"}`.
//!
//! A comment right behind a name without quotes, an escape within one, and half a surrogate pair. The parser is given
//! a text that reads the same, with everything in the same place: the comment blanked out, the name's escape
//! replaced and the name padded, the half pair replaced by U+FFFD. Source: spec.json5.org sections 3 (Objects),
//! 2.1 and 5.1; ECMAScript 5.1 section 7.6.

use super::trivia::{comment, trivia};
use std::ops::Range;

/// `text` as the parser reads it, of as many bytes, if it does not read it as it is.
pub(crate) fn readable(text: &str) -> Option<String> {
    let mut readable: Option<String> = None;
    let mut behind_word = false;
    for (piece, range) in pieces(text) {
        let part = &text[range.clone()];
        let name = || text[range.end + trivia(&text[range.end..])..].starts_with(':');
        let other = match piece {
            Piece::Comment if behind_word => {
                Some(part.bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }).collect())
            }
            Piece::Word if part.contains('\\') && name() => {
                unescaped(part).map(|name| format!("{name}{}", " ".repeat(part.len() - name.len())))
            }
            Piece::Text => paired(part),
            _ => None,
        };
        if let Some(other) = other {
            let at = range.start..range.end;
            readable.get_or_insert_with(|| text.to_owned()).replace_range(at, &other);
        }
        behind_word = matches!(piece, Piece::Word);
    }
    readable
}

/// The comments of `text`, with their marks.
pub(crate) fn comments(text: &str) -> impl Iterator<Item = &str> {
    pieces(text).filter_map(|(piece, range)| matches!(piece, Piece::Comment).then(|| &text[range]))
}

enum Piece {
    Comment,
    /// A bare name, a number, `true`.
    Word,
    /// A string with its quotes.
    Text,
    Other,
}

fn pieces(text: &str) -> impl Iterator<Item = (Piece, Range<usize>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = &text[at..];
        let (piece, length) = match rest.chars().next()? {
            '/' if comment(rest) > 0 => (Piece::Comment, comment(rest)),
            quote @ ('"' | '\'') => (Piece::Text, literal(rest, quote)),
            c if of_word(c) => (Piece::Word, rest.find(|c| !of_word(c)).unwrap_or(rest.len())),
            c => (Piece::Other, c.len_utf8()),
        };
        at += length;
        Some((piece, at - length..at))
    })
}

fn of_word(c: char) -> bool {
    !c.is_whitespace() && !matches!(c, '{' | '}' | '[' | ']' | ',' | ':' | '"' | '\'' | '/' | '\u{feff}')
}

/// Bytes of the string that `text` begins with.
fn literal(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

/// `name` with each `\uXXXX` as the character it stands for, `None` where that could not be in a name.
fn unescaped(name: &str) -> Option<String> {
    let mut parts = name.split("\\u");
    let mut out = parts.next()?.to_owned();
    for part in parts {
        let digits = part.get(..4).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        let c = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
        out.push(Some(c).filter(|&c| c.is_alphanumeric() || matches!(c, '_' | '$'))?);
        out.push_str(&part[4..]);
    }
    Some(out).filter(|out| !out.contains('\\'))
}

/// `literal` with each half of a surrogate pair as U+FFFD, `None` where there is none.
fn paired(literal: &str) -> Option<String> {
    const REPLACEMENT: &str = "\\ufffd";
    // The code unit of the escape at `at`.
    let unit = |at: usize| {
        let digits = literal.get(at..at + REPLACEMENT.len())?.strip_prefix("\\u")?;
        digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
    };
    let high = |unit: u16| (0xd800..0xdc00).contains(&unit);
    let low = |unit: u16| (0xdc00..0xe000).contains(&unit);
    let (mut out, mut at): (Option<String>, usize) = (None, 0);
    while let Some(escape) = literal[at..].find('\\') {
        at += escape;
        let Some(found) = unit(at).filter(|&found| high(found) || low(found)) else {
            // What is escaped is no backslash of another escape.
            let escaped = literal[at + 1..].chars().next().map_or(0, char::len_utf8);
            at += 1 + escaped;
            continue;
        };
        let next = at + REPLACEMENT.len();
        if high(found) && unit(next).is_some_and(low) {
            at = next + REPLACEMENT.len();
            continue;
        }
        out.get_or_insert_with(|| literal.to_owned()).replace_range(at..next, REPLACEMENT);
        at = next;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h23_half_a_surrogate_pair() {
        let rows = [
            (r#""\ud83e""#, r#""\ufffd""#),
            (r#"'\uD83E!'"#, r#"'\ufffd!'"#),
            (r#""\udd16""#, r#""\ufffd""#),
            (r#""\udd16\ud83e""#, r#""\ufffd\ufffd""#),
            (r#""\ud83e\ud83e\udd16""#, r#""\ufffd\ud83e\udd16""#),
            (r#""\ud83e\n""#, r#""\ufffd\n""#),
            (r#""\\\ud83e""#, r#""\\\ufffd""#),
            (r#"{"\ud83e": 1}"#, r#"{"\ufffd": 1}"#),
        ];
        for (text, expected) in rows {
            assert_eq!(readable(text).as_deref(), Some(expected), "{text}");
        }
        for text in
            [r#""\ud83e\udd16""#, r#""\\ud83e""#, r#""\ud83""#, r#""\u00e9""#, r#"// "\ud83e""#, r#""\"#]
        {
            assert_eq!(readable(text), None, "{text}");
        }
    }
}
