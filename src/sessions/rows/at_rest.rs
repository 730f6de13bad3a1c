//! A session's row at rest: its key and what is set of it in one piece of memory, since thousands of them are.
//!
//! ```text
//! length of the key: u16 · key · id: 16 · which times are there: u8 · the first of them, and how far the others are from it
//! then each field: its place: u8 · (length << 1 | whether it is an id) · its JSON, or the 16 bytes of the id
//! ```
//!
//! Numbers are of seven bits a byte, the low ones first. With a key of 57 bytes, a run and a title it takes some 180 bytes,
//! all told: a test counts them.

use super::{
    fields::FIELDS,
    row::{Row, SessionId, Times},
};
use crate::{protocol::json, sessions::key::SessionKey};
use std::{
    borrow::{Borrow, Cow},
    cmp::Ordering,
};

/// A row and its key.
pub(in crate::sessions) struct AtRest(Box<[u8]>);

/// The bytes before the key.
const HEAD: usize = 2;
const ID: usize = 16;

impl AtRest {
    pub fn of(key: &SessionKey, row: &Row) -> Self {
        let key = key.as_str().as_bytes();
        let mut out = Vec::with_capacity(HEAD + key.len() + ID + 128);
        out.extend((key.len() as u16).to_le_bytes());
        out.extend(key);
        out.extend(row.id.0);
        write_times(&mut out, row.times);
        for (place, value) in row.placed() {
            out.push(place);
            match id_in(value) {
                Some(SessionId(id)) => {
                    number(&mut out, (ID as u64) << 1 | 1);
                    out.extend(id);
                }
                None => {
                    number(&mut out, (value.len() as u64) << 1);
                    out.extend(value.as_bytes());
                }
            }
        }
        Self(out.into())
    }

    /// The key as it is stored.
    pub fn key(&self) -> &str {
        let length = usize::from(u16::from_le_bytes([self.0[0], self.0[1]]));
        std::str::from_utf8(&self.0[HEAD..HEAD + length]).unwrap_or_default()
    }

    fn after_key(&self) -> &[u8] {
        &self.0[HEAD + self.key().len()..]
    }

    pub fn id(&self) -> SessionId {
        let mut id = [0; ID];
        id.copy_from_slice(&self.after_key()[..ID]);
        SessionId(id)
    }

    pub fn times(&self) -> Times {
        read_times(&mut &self.after_key()[ID..])
    }

    /// The fields that are set: their places, and their values as JSON.
    pub fn fields(&self) -> impl Iterator<Item = (u8, Cow<'_, str>)> {
        let mut rest = &self.after_key()[ID..];
        read_times(&mut rest);
        std::iter::from_fn(move || {
            let (place, after) = rest.split_first()?;
            rest = after;
            let length = take(&mut rest);
            let (value, after) = rest.split_at_checked((length >> 1) as usize)?;
            rest = after;
            let value = match (length & 1, <[u8; ID]>::try_from(value)) {
                (1, Ok(id)) => format!("\"{}\"", SessionId(id)).into(),
                _ => String::from_utf8_lossy(value),
            };
            Some((*place, value))
        })
    }

    /// Value of the field `name`, JSON.
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        self.fields().find(|(place, _)| FIELDS[usize::from(*place)].name == name).map(|(_, value)| value)
    }

    /// Value of a field that is a text.
    pub fn text(&self, name: &str) -> Option<String> {
        let value = self.get(name)?;
        Some(json::unescape(value.strip_prefix('"')?.strip_suffix('"')?).into_owned())
    }

    /// The row.
    pub fn row(&self) -> Row {
        Row::placing(self.id(), self.times(), self.fields().map(|(place, value)| (place, value.into())))
    }
}

/// The id that a value is the text of.
fn id_in(value: &str) -> Option<SessionId> {
    let text = value.strip_prefix('"')?.strip_suffix('"')?;
    SessionId::parse(text).filter(|id| id.to_string() == text)
}

fn write_times(out: &mut Vec<u8>, mut times: Times) {
    let values = Times::NAMES.map(|(_, time)| *time(&mut times));
    let there = values.iter().enumerate().filter(|(_, ms)| **ms > 0);
    out.push(there.clone().fold(0, |mask, (at, _)| mask | 1 << at));
    let mut first = None;
    for (_, ms) in there {
        match first {
            None => number(out, *first.insert(*ms)),
            Some(first) => {
                let apart = ms.wrapping_sub(first).cast_signed();
                number(out, (apart << 1 ^ apart >> 63).cast_unsigned());
            }
        }
    }
}

fn read_times(rest: &mut &[u8]) -> Times {
    let mut times = Times::default();
    let Some((mask, after)) = rest.split_first() else { return times };
    *rest = after;
    let mut first = None;
    for (at, (_, time)) in Times::NAMES.iter().enumerate() {
        if mask & 1 << at != 0 {
            let read = take(rest);
            let apart = (read >> 1) ^ (read & 1).wrapping_neg();
            *time(&mut times) = first.map_or(read, |first: u64| first.wrapping_add(apart));
            first = first.or(Some(read));
        }
    }
    times
}

/// Appends a number.
fn number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number.
fn take(rest: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let Some((byte, after)) = rest.split_first() else { break };
        *rest = after;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    number
}

/// Rows are in the order of their keys, and found by them.
impl Borrow<str> for AtRest {
    fn borrow(&self) -> &str {
        self.key()
    }
}

impl Ord for AtRest {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(other.key())
    }
}

impl PartialOrd for AtRest {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for AtRest {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for AtRest {}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_796_063_021_466;

    #[test]
    fn a_row_is_at_rest_what_it_was() {
        let odd = Times {
            created: u64::MAX,
            updated: 1,
            started: 0,
            interaction: NOW,
            activity: 0,
            read: u64::MAX,
        };
        let usual = Times { created: NOW, updated: NOW + 5000, started: NOW - 1, ..Times::default() };
        let id = r#""01234567-89ab-4cde-8f01-23456789abcd""#;
        for times in [odd, usual, Times::default()] {
            for values in [vec![], vec![("label", "\"ä\\\"b\""), ("lastRunId", id), ("pinnedAt", "9")]] {
                let mut row = Row::new(1).unwrap();
                row.times = times;
                values.iter().for_each(|(name, value)| row.set(name, Some(value)));
                // In capitals it is a text like any other.
                row.set("displayName", Some(&id.to_uppercase()));
                for key in ["agent:main:main", "", "global\nwork"] {
                    let key = SessionKey::stored(key);
                    let rest = AtRest::of(&key, &row);
                    assert_eq!((rest.key(), rest.id(), rest.times()), (key.as_str(), row.id, times));
                    assert_eq!(rest.row(), row);
                    for name in ["label", "lastRunId", "icon"] {
                        assert_eq!(rest.get(name).as_deref(), row.get(name));
                    }
                }
            }
        }
    }

    /// What a session costs that nobody has open: the allocation as the C library makes it, and its place in the tree.
    #[test]
    fn a_row_at_rest_takes_at_most_200_bytes() {
        let key = SessionKey::of("main", "dashboard:01234567-89ab-4cde-8f01-23456789abcd");
        let mut row = Row::new(NOW).unwrap();
        row.times = Times {
            created: NOW,
            updated: NOW + 90_000_000,
            started: NOW,
            interaction: NOW + 80_000_000,
            activity: NOW + 90_000_000,
            read: NOW + 95_000_000,
        };
        row.set("status", Some("\"done\""));
        row.set("lastRunId", Some(r#""01234567-89ab-4cde-8f01-23456789abcd""#));
        row.set("label", Some("\"What is for dinner?\""));
        let allocated = |bytes: usize| (bytes + 8).next_multiple_of(16);
        // A node of the tree has room for eleven, and is half full at worst.
        let node = allocated(11 * size_of::<AtRest>() + 16) as f64 / 5.5;
        let all = allocated(AtRest::of(&key, &row).0.len()) as f64 + node;
        assert!(all <= 200.0, "{all} bytes");
    }
}
