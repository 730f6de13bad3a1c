//! The lateness of the loop: for how long whatever came had to wait, since the one thread was busy.

use std::{cell::Cell, time::Duration};

/// Buckets of the histogram: the n-th counts turns of less than 2ⁿ µs.
const BUCKETS: usize = 32;

thread_local! {
    static TURNS: Cell<[u64; BUCKETS]> = const { Cell::new([0; BUCKETS]) };
    static MAX: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// The lateness of this thread's loop since its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lateness {
    /// 99 of 100 turns took less than this, µs; a power of two.
    pub p99_us: u64,
    /// Longest lateness, µs.
    pub max_us: u64,
}

/// A turn of the loop took so long: whatever came meanwhile waited for its end.
pub(super) fn record(turn: Duration) {
    let bucket = (u64::BITS - (turn.as_micros() as u64).leading_zeros()) as usize;
    let mut turns = TURNS.get();
    turns[bucket.min(BUCKETS - 1)] += 1;
    TURNS.set(turns);
    MAX.set(MAX.get().max(turn));
}

/// Returns the lateness measured so far.
pub fn lateness() -> Lateness {
    Lateness { p99_us: p99(&TURNS.get()), max_us: MAX.get().as_micros() as u64 }
}

fn p99(turns: &[u64; BUCKETS]) -> u64 {
    let all: u64 = turns.iter().sum();
    let mut left = all - all / 100;
    let bucket = turns.iter().position(|count| {
        left = left.saturating_sub(*count);
        left == 0
    });
    1 << bucket.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_one_in_a_hundred() {
        let mut turns = [0; BUCKETS];
        assert_eq!(p99(&turns), 1);
        turns[3] = 990;
        turns[20] = 10;
        assert_eq!(p99(&turns), 8);
        turns[20] = 11;
        assert_eq!(p99(&turns), 1 << 20);
    }
}
