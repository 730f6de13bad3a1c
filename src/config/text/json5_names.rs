//! Bare names as JSON5 has them: `{key/* here */: 1}`, `{\u006bey: 1}`.
//!
//! The parser refuses a comment right behind a name without quotes, and an escape within one. It is given a text
//! that reads the same, with everything in the same place: the comment blanked out, the escape replaced and the
//! name padded. Source: spec.json5.org sections 3 (Objects) and 2.1; ECMAScript 5.1 section 7.6.

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
            QueuedEvent::Comment if behind_word => {
                Some(part.bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }).collect())
            }
            QueuedEvent::Word if part.contains('\\') && name() => {
                unescaped(part).map(|name| format!("{name}{}", " ".repeat(part.len() - name.len())))
            }
            _ => None,
        };
        if let Some(other) = other {
            let at = range.start..range.end;
            readable.get_or_insert_with(|| text.to_owned()).replace_range(at, &other);
        }
        behind_word = matches!(piece, QueuedEvent::Word);
    }
    readable
}

/// The comments of `text`, with their marks.
pub(crate) fn comments(text: &str) -> impl Iterator<Item = &str> {
    pieces(text).filter_map(|(piece, range)| matches!(piece, QueuedEvent::Comment).then(|| &text[range]))
}

enum QueuedEvent {
    Comment,
    /// A bare name, a number, `true`.
    Word,
    Other,
}

fn pieces(text: &str) -> impl Iterator<Item = (QueuedEvent, Range<usize>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = &text[at..];
        let (piece, length) = match rest.chars().next()? {
            '/' if comment(rest) > 0 => (QueuedEvent::Comment, comment(rest)),
            quote @ ('"' | '\'') => (QueuedEvent::Other, literal(rest, quote)),
            c if of_word(c) => (QueuedEvent::Word, rest.find(|c| !of_word(c)).unwrap_or(rest.len())),
            c => (QueuedEvent::Other, c.len_utf8()),
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
