//! Slows down guessing of the shared token or password, and nothing else.
//!
//! Failures are counted by address. The same wrong value counts once, so a stale browser tab that
//! repeats itself locks nobody out; attempts while locked do not lengthen the lock; a device that
//! proves its key is never limited. All times are monotonic. Source: `docs/gateway/config-gateway.md`,
//! `gateway.auth.rateLimit`.

use crate::protocol::TokenHash;
use nanoserde::{DeBin, SerBin};
use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

/// Limits for guesses of the shared secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Different wrong values within `window` before the address is locked.
    pub attempts: u32,
    /// Time for which a wrong value counts.
    pub window: Duration,
    /// The longest lock; the first is a tenth of it, each next one twice as long.
    pub lockout: Duration,
    /// Whether loopback is let off with ten times the attempts and locks of at most five seconds.
    pub gentle_loopback: bool,
}

impl Limits {
    /// The limits of OpenClaw, used where no key sets others.
    pub const DEFAULT: Self = Self {
        attempts: 10,
        window: Duration::from_secs(60),
        lockout: Duration::from_secs(300),
        gentle_loopback: true,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Origin of a guess. A forwarded client of an untrusted proxy is not loopback.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Origin {
    /// The peer's address.
    pub ip: IpAddr,
    /// Whether the peer is this host itself, speaking for itself.
    pub loopback: bool,
}

#[derive(Default)]
struct Record {
    wrong: Vec<(TokenHash, Instant)>,
    locked_until: Option<Instant>,
    locks: u32,
}

/// The failures of one address as plain data; times are nanoseconds of the monotonic clock.
#[derive(Clone, Debug, PartialEq, SerBin, DeBin)]
pub struct SavedRecord {
    ip: String,
    loopback: bool,
    wrong: Vec<(TokenHash, u64)>,
    locked_until: Option<u64>,
    locks: u32,
}

/// The failures of every address.
pub struct Limiter {
    limits: Limits,
    records: HashMap<Origin, Record>,
}

impl Limiter {
    /// Most addresses remembered; beyond it the quietest are forgotten.
    const ADDRESSES: usize = 1024;

    /// A limiter that has seen nothing.
    pub fn new(limits: Limits) -> Self {
        Self { limits, records: HashMap::new() }
    }

    /// Counts by `limits` from now on; what was counted stays counted.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Writes down what was counted; `ns_of` tells an instant.
    pub fn save(&self, ns_of: impl Fn(Instant) -> u64) -> Vec<SavedRecord> {
        let save = |(origin, record): (&Origin, &Record)| SavedRecord {
            ip: origin.ip.to_string(),
            loopback: origin.loopback,
            wrong: record.wrong.iter().map(|(hash, at)| (*hash, ns_of(*at))).collect(),
            locked_until: record.locked_until.map(&ns_of),
            locks: record.locks,
        };
        self.records.iter().map(save).collect()
    }

    /// Counts on from what was written down.
    pub fn restore(&mut self, saved: &[SavedRecord], instant_of: impl Fn(u64) -> Instant) {
        for s in saved {
            let Ok(ip) = s.ip.parse() else { continue };
            let record = Record {
                wrong: s.wrong.iter().map(|(hash, at)| (*hash, instant_of(*at))).collect(),
                locked_until: s.locked_until.map(&instant_of),
                locks: s.locks,
            };
            self.records.insert(Origin { ip, loopback: s.loopback }, record);
        }
    }

    /// Time for which guesses from `origin` stay refused.
    pub fn locked(&self, origin: Origin, now: Instant) -> Option<Duration> {
        let until = self.records.get(&origin)?.locked_until?;
        until.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    /// Counts a wrong value. Returns the lock it brought on, if it did.
    pub fn fail(&mut self, origin: Origin, value: &str, now: Instant) -> Option<Duration> {
        if self.locked(origin, now).is_some() {
            return None;
        }
        self.forget(now);
        let Limits { mut attempts, window, lockout, gentle_loopback } = self.limits;
        let gentle = origin.loopback && gentle_loopback;
        if gentle {
            attempts = attempts.saturating_mul(10);
        }
        let record = self.records.entry(origin).or_default();
        record.wrong.retain(|(_, at)| now.duration_since(*at) < window);
        let hash = TokenHash::of(value);
        if record.wrong.iter().any(|(seen, _)| *seen == hash) {
            return None;
        }
        record.wrong.push((hash, now));
        if record.wrong.len() < attempts.max(1) as usize {
            return None;
        }
        let longest = if gentle { lockout.min(Duration::from_secs(5)) } else { lockout };
        let lock = (lockout / 10).saturating_mul(1 << record.locks.min(10)).min(longest);
        record.locks += 1;
        record.wrong.clear();
        record.locked_until = Some(now + lock);
        Some(lock)
    }

    fn forget(&mut self, now: Instant) {
        if self.records.len() < Self::ADDRESSES {
            return;
        }
        let quiet = self.limits.window + self.limits.lockout;
        self.records.retain(|_, r| {
            let last = r.wrong.iter().map(|(_, at)| *at).chain(r.locked_until).max();
            last.is_some_and(|at| now.saturating_duration_since(at) < quiet)
        });
        if self.records.len() >= Self::ADDRESSES {
            self.records.retain(|_, r| r.locked_until.is_some_and(|until| until > now));
        }
        if self.records.len() >= Self::ADDRESSES {
            self.records.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRANGER: Origin =
        Origin { ip: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7)), loopback: false };

    fn guess(limiter: &mut Limiter, n: u32, now: Instant) -> Option<Duration> {
        (0..n).filter_map(|i| limiter.fail(STRANGER, &format!("wrong {i}"), now)).next()
    }

    #[test]
    fn locks_grow_and_are_not_lengthened_by_knocking() {
        let mut limiter = Limiter::new(Limits::default());
        let start = Instant::now();
        assert_eq!(guess(&mut limiter, 9, start), None);
        assert_eq!(guess(&mut limiter, 10, start), Some(Duration::from_secs(30)));
        let later = start + Duration::from_secs(29);
        assert_eq!(guess(&mut limiter, 50, later), None);
        assert_eq!(limiter.locked(STRANGER, later), Some(Duration::from_secs(1)));
        let free = start + Duration::from_secs(30);
        assert_eq!(limiter.locked(STRANGER, free), None);
        assert_eq!(guess(&mut limiter, 10, free), Some(Duration::from_secs(60)));
    }

    #[test]
    fn the_same_wrong_value_counts_once() {
        let mut limiter = Limiter::new(Limits::default());
        let now = Instant::now();
        assert!((0..1000).all(|_| limiter.fail(STRANGER, "stale tab", now).is_none()));
    }

    #[test]
    fn memory_is_bounded() {
        let mut limiter = Limiter::new(Limits::default());
        let now = Instant::now();
        for i in 0..5000u32 {
            let origin = Origin { ip: IpAddr::V4(i.into()), loopback: false };
            limiter.fail(origin, "guess", now);
        }
        assert!(limiter.records.len() <= Limiter::ADDRESSES);
    }
}
