//! JSON (RFC 8259) read from its text, without a tree of its values: nothing is allocated for a value that nobody reads,
//! however many there are.
//!
//! [`Scanner::skip`] finds the end of a value and judges it strictly. It does not recurse. [`members`] and [`items`] go
//! through what is within one.

use std::borrow::Cow;

/// A place in a text, at which the next value or sign is looked for.
#[derive(Clone)]
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

/// Error: the text is not JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NotJson;

impl<'a> Scanner<'a> {
    /// At the start of `text`.
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Whether nothing but white space is left.
    pub fn is_at_end(&mut self) -> bool {
        self.space();
        self.at == self.text.len()
    }

    /// Returns the next byte without consuming it.
    pub fn peek(&mut self) -> Option<u8> {
        self.space();
        self.byte()
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    /// Takes `sign`, if it is next.
    fn takes(&mut self, sign: u8) -> bool {
        let is = self.peek() == Some(sign);
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, sign: u8) -> Result<(), NotJson> {
        if self.takes(sign) { Ok(()) } else { Err(NotJson) }
    }

    /// Takes a value; returns its text.
    ///
    /// # Errors
    /// When what is next is no value.
    pub fn skip(&mut self) -> Result<&'a str, NotJson> {
        self.space();
        let start = self.at;
        let mut nested = Nested::default();
        loop {
            let opens = match self.peek().ok_or(NotJson)? {
                b'{' => Some(true),
                b'[' => Some(false),
                b'"' => self.string().map(|_| None)?,
                b'-' | b'0'..=b'9' => self.number().map(|()| None)?,
                _ => self.word().map(|()| None)?,
            };
            if let Some(object) = opens {
                self.at += 1;
                nested.push(object);
                if !self.takes(if object { b'}' } else { b']' }) {
                    if object {
                        self.key()?;
                    }
                    continue;
                }
                nested.depth -= 1;
            }
            // A value is complete, and maybe the one that it is in.
            loop {
                let Some(object) = nested.top() else { return Ok(&self.text[start..self.at]) };
                if self.takes(b',') {
                    if object {
                        self.key()?;
                    }
                    break;
                }
                self.expect(if object { b'}' } else { b']' })?;
                nested.depth -= 1;
            }
        }
    }

    /// Takes a name and the colon after it; returns the name as it stands between its quotes.
    fn key(&mut self) -> Result<&'a str, NotJson> {
        self.space();
        let key = self.string()?;
        self.expect(b':')?;
        Ok(key)
    }

    /// Takes a string; returns it as it stands between its quotes.
    fn string(&mut self) -> Result<&'a str, NotJson> {
        let bytes = self.text.as_bytes();
        if self.byte() != Some(b'"') {
            return Err(NotJson);
        }
        let start = self.at + 1;
        let mut at = start;
        loop {
            at += plain(&bytes[at..]);
            match bytes.get(at).ok_or(NotJson)? {
                b'"' => break,
                b'\\' => match bytes.get(at + 1).ok_or(NotJson)? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => at += 2,
                    b'u' if bytes
                        .get(at + 2..at + 6)
                        .is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit)) =>
                    {
                        at += 6;
                    }
                    _ => return Err(NotJson),
                },
                _ => return Err(NotJson),
            }
        }
        self.at = at + 1;
        Ok(&self.text[start..at])
    }

    fn digits(&mut self) -> Result<(), NotJson> {
        let start = self.at;
        while self.byte().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(NotJson) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<(), NotJson> {
        self.at += usize::from(self.byte() == Some(b'-'));
        match self.byte() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.byte(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(())
    }

    fn word(&mut self) -> Result<(), NotJson> {
        let rest = &self.text.as_bytes()[self.at..];
        let word = ["true", "false", "null"].into_iter().find(|word| rest.starts_with(word.as_bytes()));
        self.at += word.ok_or(NotJson)?.len();
        Ok(())
    }
}

/// Bytes at the start of `bytes` that are neither a quote, a backslash nor a control character.
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = ONES << 7;
    let (words, _) = bytes.as_chunks::<8>();
    let mut at = 0;
    for word in words {
        // The high bit of each byte that is zero, or below 0x20; more only beyond the first such one.
        let word = u64::from_le_bytes(*word);
        let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let found = zero(word ^ (ONES * u64::from(b'"'))) | zero(word ^ (ONES * u64::from(b'\\'))) | control;
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + bytes[at..].iter().take_while(|b| !matches!(b, b'"' | b'\\' | 0..0x20)).count()
}

/// Kinds of the values that are open: a bit each, set for an object. Nothing is allocated up to a depth of 64, and
/// beyond it an eighth of the text at most.
#[derive(Default)]
struct Nested {
    first: u64,
    more: Vec<u64>,
    depth: usize,
}

impl Nested {
    fn push(&mut self, object: bool) {
        let word = match (self.depth / 64).checked_sub(1) {
            None => &mut self.first,
            Some(n) => {
                if n == self.more.len() {
                    self.more.push(0);
                }
                &mut self.more[n]
            }
        };
        let bit = 1 << (self.depth % 64);
        *word = if object { *word | bit } else { *word & !bit };
        self.depth += 1;
    }

    fn top(&self) -> Option<bool> {
        let top = self.depth.checked_sub(1)?;
        let word = (top / 64).checked_sub(1).map_or(self.first, |n| self.more[n]);
        Some(word >> (top % 64) & 1 != 0)
    }
}

/// The members of an object, in order: names as they stand between their quotes, and the texts of the values. Ends at
/// what is no member; see [`Members::end`].
pub(crate) fn members(object: &str) -> Members<'_> {
    Members { scanner: Scanner::new(object), state: State::Before }
}

/// See [`members`].
#[derive(Clone)]
pub(crate) struct Members<'a> {
    scanner: Scanner<'a>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Before,
    Within,
    After,
    Broken,
}

impl<'a> Members<'a> {
    /// The scanner behind the object, once all members were taken.
    ///
    /// # Errors
    /// When it is no object.
    pub fn end(self) -> Result<Scanner<'a>, NotJson> {
        if self.state == State::After { Ok(self.scanner) } else { Err(NotJson) }
    }

    fn member(&mut self) -> Result<Option<(&'a str, &'a str)>, NotJson> {
        let first = self.state == State::Before;
        if first {
            self.scanner.expect(b'{')?;
            self.state = State::Within;
        }
        if self.scanner.takes(b'}') {
            self.state = State::After;
            return Ok(None);
        }
        if !first {
            self.scanner.expect(b',')?;
        }
        let key = self.scanner.key()?;
        Ok(Some((key, self.scanner.skip()?)))
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        if matches!(self.state, State::After | State::Broken) {
            return None;
        }
        self.member().unwrap_or_else(|NotJson| {
            self.state = State::Broken;
            None
        })
    }
}

/// The texts of the items of a list.
pub(crate) fn items(list: &str) -> impl Iterator<Item = &str> {
    let mut scanner = Scanner::new(list);
    let mut open = scanner.takes(b'[') && !scanner.takes(b']');
    std::iter::from_fn(move || {
        let item = if open { scanner.skip().ok() } else { None };
        open = scanner.takes(b',');
        item
    })
}

/// The value of an object's member.
pub(crate) fn member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    members(object).find(|(known, _)| *known == name).map(|(_, value)| value)
}

/// The text of a value that is a string.
pub(crate) fn text(value: &str) -> Option<Cow<'_, str>> {
    Some(unescape(value.strip_prefix('"')?.strip_suffix('"')?))
}

/// Whether `text` is an object and nothing else.
pub(crate) fn is_object(text: &str) -> bool {
    let mut scanner = Scanner::new(text);
    scanner.peek() == Some(b'{') && scanner.skip().is_ok() && scanner.is_at_end()
}

/// JSON with its texts changed: `change` is given the name of the member that a text is of, or is in a list of, and the text;
/// `None` leaves it. Names stay as they are.
pub(crate) fn map_texts(json: &str, mut change: impl FnMut(&str, &str) -> Option<String>) -> String {
    use nanoserde::SerJson;
    let mut out = String::with_capacity(json.len());
    let (mut copied, mut at) = (0, 0);
    let mut name = "";
    while let Some(found) = json[at..].find('"') {
        let start = at + found;
        let mut scanner = Scanner { text: json, at: start };
        let Ok(raw) = scanner.string() else { break };
        at = scanner.at;
        if scanner.peek() == Some(b':') {
            name = raw;
            continue;
        }
        if let Some(text) = change(name, &unescape(raw)) {
            out.push_str(&json[copied..start]);
            out.push_str(&text.serialize_json());
            copied = at;
        }
    }
    out.push_str(&json[copied..]);
    out
}

/// A string as it stands between its quotes, with its escapes resolved. Half of a surrogate pair, which is no
/// character, becomes U+FFFD.
pub(crate) fn unescape(raw: &str) -> Cow<'_, str> {
    let Some(first) = raw.find('\\') else { return Cow::Borrowed(raw) };
    let mut out = String::with_capacity(raw.len());
    out.push_str(&raw[..first]);
    let mut rest = &raw[first..];
    while let Some(escape) = rest.as_bytes().get(1) {
        let mut taken = 2;
        out.push(match escape {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let (c, length) = unit(rest);
                taken = length;
                c
            }
            other => char::from(*other),
        });
        rest = rest.get(taken..).unwrap_or_default();
        let plain = rest.find('\\').unwrap_or(rest.len());
        out.push_str(&rest[..plain]);
        rest = &rest[plain..];
    }
    Cow::Owned(out)
}

/// The character of the `\u` escape, or of the pair of them, at the start of `text`, and its length there.
fn unit(text: &str) -> (char, usize) {
    let hex = |at: usize| u32::from_str_radix(text.get(at..at + 4)?, 16).ok();
    let high = hex(2).unwrap_or(0xfffd);
    if let (0xd800..0xdc00, Some("\\u")) = (high, text.get(6..8))
        && let Some(low @ 0xdc00..0xe000) = hex(8)
    {
        let c = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
        return (char::from_u32(c).unwrap_or(char::REPLACEMENT_CHARACTER), 12);
    }
    (char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER), 6)
}

/// JSON with each half of a surrogate pair replaced by U+FFFD: strict readers refuse a text with one as a whole.
pub(crate) fn whole_characters(json: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = json[at..].find('\\') {
        let escape = at + found;
        at = escape + 2;
        if json.as_bytes().get(escape + 1) == Some(&b'u') {
            let (c, length) = unit(&json[escape..]);
            at = escape + length;
            if c == char::REPLACEMENT_CHARACTER {
                out.push_str(&json[copied..escape]);
                out.push_str("\\ufffd");
                copied = at;
            }
        }
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    out.push_str(&json[copied..]);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests;
