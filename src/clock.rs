//! Two clocks: the wall's, shown and never trusted, and the monotonic one, by which all durations go.

use std::{
    fmt,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Wall-clock milliseconds since 1970; 0 on a board whose clock stands before that.
pub fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

/// Length of a [`timestamp`] of these millennia.
pub const TIMESTAMP: usize = 24;

/// `ms` as RFC 3339 in UTC, to the millisecond.
pub fn timestamp(ms: u64) -> String {
    let mut text = String::with_capacity(TIMESTAMP);
    // Writing to a String cannot fail.
    let _ = write_timestamp(ms, &mut text);
    text
}

/// Writes [`timestamp`].
///
/// # Errors
/// Those of `out`.
pub fn write_timestamp(ms: u64, out: &mut impl fmt::Write) -> fmt::Result {
    // Civil date from days since 1970: Howard Hinnant, "chrono-compatible low-level date algorithms".
    let (days, rest) = (ms / 86_400_000, ms % 86_400_000);
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + u64::from(month <= 2);
    let (h, m, s, frac) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60, rest % 1000);
    write!(out, "{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{frac:03}Z")
}

/// Milliseconds since 1970 of a time as [`timestamp`] writes it, with or without a fraction; `None` for anything else.
pub fn parse_timestamp(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let number = |part: Option<&str>| part.filter(|p| p.len() <= 4)?.parse::<u64>().ok();
    let mut date = date.split('-');
    let (year, month, day) = (number(date.next())?, number(date.next())?, number(date.next())?);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut time = time.split(':');
    let (h, m, s) = (number(time.next())?, number(time.next())?, number(time.next())?);
    let millis = format!("{fraction:0<3}").get(..3)?.parse::<u64>().ok()?;
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days since 1970 of a civil date: the inverse of the above.
    let year = year - u64::from(month <= 2);
    let (era, yoe) = (year / 400, year % 400);
    let doy = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468;
    (h < 24 && m < 60 && s < 61).then_some(days * 86_400_000 + h * 3_600_000 + m * 60_000 + s * 1000 + millis)
}

/// The monotonic clock, nanoseconds: what an [`Instant`] is made of, and the same in every process until
/// the host restarts.
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// `at` on the monotonic clock, nanoseconds.
pub fn ns_of(at: Instant) -> u64 {
    let now = (monotonic_ns(), Instant::now());
    match at.checked_duration_since(now.1) {
        Some(ahead) => now.0.saturating_add(ahead.as_nanos() as u64),
        None => now.0.saturating_sub(now.1.duration_since(at).as_nanos() as u64),
    }
}

/// The instant at `ns` of the monotonic clock; now, if the clock does not reach so far.
pub fn instant_of(ns: u64) -> Instant {
    let now = (monotonic_ns(), Instant::now());
    let at = match ns.checked_sub(now.0) {
        Some(ahead) => now.1.checked_add(Duration::from_nanos(ahead)),
        None => now.1.checked_sub(Duration::from_nanos(now.0 - ns)),
    };
    at.unwrap_or(now.1)
}

/// Start of this process, on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Monotonic time of the start.
    pub started: Instant,
    /// Wall-clock time of the start, milliseconds; only shown.
    pub started_ms: u64,
}

impl Clock {
    /// Starts the clock now.
    pub fn start() -> Self {
        Self { started: Instant::now(), started_ms: wall_ms() }
    }

    /// Time since the start, monotonic.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Time since the start, milliseconds.
    pub fn uptime_ms(&self) -> u64 {
        self.uptime().as_millis() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::timestamp;

    #[test]
    fn dates() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_512_523_916, "2026-11-24T09:28:43.916Z"),
            (4_102_444_799_999, "2099-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(timestamp(ms), text);
        }
    }
}
