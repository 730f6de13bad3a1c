//! Limits by rate: how often a source may do something that costs more than memory.

use super::{Source, limits};
use std::{
    cell::RefCell,
    collections::HashMap,
    time::{Duration, Instant},
};

/// Sources that are remembered; beyond that the longest unheard are forgotten.
const SOURCES: usize = 1024;

/// A rate of each source: so many at once, and one more every so often.
pub struct Rates {
    burst: u32,
    every: Duration,
    /// Spent tokens of each source, and the time from which it earns new ones.
    spent: RefCell<HashMap<Source, (u32, Instant)>>,
}

impl Rates {
    /// Allows `burst` at once, and one more every `every`.
    pub fn new(burst: u32, every: Duration) -> Self {
        Self { burst, every, spent: RefCell::default() }
    }

    /// Takes one for `source`, if it has one left at `now`.
    pub fn take(&self, source: Source, now: Instant) -> bool {
        let mut spent = self.spent.borrow_mut();
        if spent.len() >= SOURCES && !spent.contains_key(&source) {
            let (burst, every) = (self.burst, self.every);
            spent.retain(|_, (_, since)| now.saturating_duration_since(*since) < every * burst);
            if spent.len() >= SOURCES {
                return false;
            }
        }
        let (n, since) = spent.entry(source).or_insert((0, now));
        let earned = now.saturating_duration_since(*since).as_nanos() / self.every.as_nanos().max(1);
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        (*n, *since) = match n.checked_sub(earned) {
            Some(left) if left > 0 => (left, *since + self.every * earned),
            _ => (0, now),
        };
        let has = *n < self.burst;
        *n += u32::from(has);
        has
    }
}

/// Log lines about refusals, so many of a source and kind within a window; the others are counted.
#[derive(Default)]
pub struct RefusalLines(RefCell<HashMap<(Source, &'static str), Refusals>>);

struct Refusals {
    since: Instant,
    count: u32,
}

impl RefusalLines {
    /// Whether a refusal of `kind` at `now` is to have a line of its own.
    pub fn admit(&self, source: Source, kind: &'static str, now: Instant) -> bool {
        let mut all = self.0.borrow_mut();
        if all.len() >= SOURCES && !all.contains_key(&(source, kind)) {
            // Counted under one name, so that many sources are no way around it.
            return all
                .entry((Source::V4([0; 4]), kind))
                .or_insert(Refusals { since: now, count: 0 })
                .admit();
        }
        all.entry((source, kind)).or_insert(Refusals { since: now, count: 0 }).admit()
    }

    /// Logs the counts of what had no line, once each window has passed.
    pub fn report(&self) {
        self.report_at(Instant::now())
            .iter()
            .for_each(|line| log::warn!(target: crate::journal::PEER, "{line}"));
    }

    fn report_at(&self, now: Instant) -> Vec<String> {
        let mut lines = Vec::new();
        self.0.borrow_mut().retain(|(source, kind), refusals| {
            let over = now.saturating_duration_since(refusals.since) >= limits::REFUSAL_WINDOW;
            let more = refusals.count.saturating_sub(limits::REFUSAL_LINES);
            if over && more > 0 {
                let from = match source {
                    Source::V4([0, 0, 0, 0]) => "many addresses".to_owned(),
                    source => source.to_string(),
                };
                lines.push(format!("refused {from}: {kind} repeated {more} times"));
            }
            !over
        });
        lines
    }
}

impl Refusals {
    fn admit(&mut self) -> bool {
        self.count = self.count.saturating_add(1);
        self.count <= limits::REFUSAL_LINES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Source = Source::V4([192, 0, 2, 1]);
    const B: Source = Source::V4([192, 0, 2, 2]);

    #[test]
    fn a_rate_is_a_burst_and_one_more_every_so_often() {
        let rates = Rates::new(3, Duration::from_secs(10));
        let start = Instant::now();
        // Seconds, source, admitted.
        let rows = [
            (0, A, true),
            (0, A, true),
            (0, A, true),
            (0, A, false),
            (0, B, true),
            (9, A, false),
            (10, A, true),
            (10, A, false),
            (19, A, false),
            (25, A, true),
            (1000, A, true),
            (1000, A, true),
            (1000, A, true),
            (1000, A, false),
        ];
        for (n, (at, source, admitted)) in rows.into_iter().enumerate() {
            assert_eq!(rates.take(source, start + Duration::from_secs(at)), admitted, "row {n}");
        }
    }

    #[test]
    fn what_has_no_line_is_counted() {
        let lines = RefusalLines::default();
        let start = Instant::now();
        let admitted = (0..100).filter(|_| lines.admit(A, "AUTH_TOKEN_MISMATCH", start)).count();
        assert_eq!(admitted, limits::REFUSAL_LINES as usize);
        assert!(lines.admit(A, "another", start) && lines.admit(B, "AUTH_TOKEN_MISMATCH", start));
        assert!(lines.report_at(start).is_empty());
        let later = start + limits::REFUSAL_WINDOW;
        assert_eq!(lines.report_at(later), ["refused 192.0.2.1: AUTH_TOKEN_MISMATCH repeated 95 times"]);
        assert!(lines.admit(A, "AUTH_TOKEN_MISMATCH", later), "a new window");
    }

    #[test]
    fn memory_is_bounded() {
        let (lines, rates) = (RefusalLines::default(), Rates::new(3, Duration::from_secs(10)));
        let now = Instant::now();
        for i in 0..5000u32 {
            let source = Source::V4((i + 1).to_be_bytes());
            lines.admit(source, "kind", now);
            rates.take(source, now);
        }
        assert!(lines.0.borrow().len() <= SOURCES + 8 && rates.spent.borrow().len() <= SOURCES);
    }
}
