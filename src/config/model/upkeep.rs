//! `session.maintenance`: how long sessions are kept, and how many.

use super::{agents::duration, tree::Section};
use crate::config::{keys::words::Maintenance, text::node::Value};
use std::time::Duration;

/// What sessions are tidied by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Upkeep {
    /// `mode`: whether anything is done, or only said.
    pub enforced: bool,
    /// `pruneAfter`: a session that has not changed for so long is archived.
    pub prune_after: Duration,
    /// `maxEntries`: the most sessions that are not archived.
    pub most: usize,
    /// `maxDiskBytes`: bytes of all transcripts of an agent; none is without a limit.
    pub bytes: Option<u64>,
}

const PRUNE_AFTER: Duration = Duration::from_secs(30 * 86_400);
const BYTES: u64 = 10 << 30;

impl Upkeep {
    /// Reads the keys out of `session`.
    pub(crate) fn decode(session: &Section<'_>) -> Self {
        let section = session.section("maintenance");
        Self {
            enforced: section.word("mode") != Some(Maintenance::Warn),
            prune_after: of(&section, "pruneAfter", duration, "a duration like \"30d\"")
                .unwrap_or(PRUNE_AFTER),
            most: section.number_or_default("maxEntries") as usize,
            bytes: match section.value("maxDiskBytes").map(|node| &node.value) {
                None => Some(BYTES),
                Some(Value::Bool(false)) => None,
                Some(Value::Number(number)) => number.parse().ok().filter(|bytes| *bytes > 0),
                Some(_) => match of(&section, "maxDiskBytes", bytes, "a size like \"500mb\", or false") {
                    Some(0) => None,
                    given => Some(given.unwrap_or(BYTES)),
                },
            },
        }
    }
}

/// A value with a unit; one that is none is said, and counts as absent.
fn of<T>(section: &Section<'_>, name: &str, read: fn(&str) -> Option<T>, expected: &str) -> Option<T> {
    let (text, value) = (section.text(name)?, section.value(name)?);
    let parsed = read(&text);
    if parsed.is_none() {
        section.error(name, value, format!("{text:?}"), expected, "its default");
    }
    parsed
}

/// `10gb`, `500 mb`; a bare number is of bytes.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_lowercase();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let rows = [
            ("10gb", Some(10 << 30)),
            ("500 MB", Some(500 << 20)),
            ("7", Some(7)),
            ("x", None),
            ("1.5gb", None),
        ];
        for (text, expected) in rows {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }
}
