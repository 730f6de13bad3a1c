//! The journal: what the gateway says of itself, to stderr and to a ring in memory.
//!
//! The ring is what `logs.tail` reads. Nothing is written to disk: on a board that is an SD card, and
//! systemd keeps stderr anyway. A line that repeats itself is counted instead of repeated.

use crate::{
    clock::{timestamp, wall_ms},
    config::model::logging::Levels,
};
use log::{Level, Log, Metadata, Record};
use nanoserde::{DeBin, SerBin};
use std::{collections::VecDeque, fmt::Write as _, io::Write, sync::Mutex};

/// A logger that keeps its last lines.
pub struct Journal {
    ring: Mutex<Ring>,
}

struct Ring {
    lines: VecDeque<String>,
    bytes: usize,
    /// Bytes ever written: the cursor behind the last line.
    end: u64,
    last: String,
    last_level: Level,
    repeated: u32,
    levels: Levels,
}

/// A piece of the journal.
#[derive(Debug, PartialEq, Eq)]
pub struct Tail {
    /// The lines, oldest first.
    pub lines: Vec<String>,
    /// Where to go on.
    pub cursor: u64,
    /// Whether lines between the asked cursor and the first one given are gone.
    pub reset: bool,
    /// Whether lines were left out for the limits.
    pub truncated: bool,
}

/// The journal as plain data.
#[derive(Clone, Default, Debug, PartialEq, SerBin, DeBin)]
pub struct Kept {
    lines: Vec<String>,
    end: u64,
    last: String,
    repeated: u32,
}

impl Journal {
    /// Most bytes kept.
    const BYTES: usize = 64 << 10;
    /// Most repetitions in a row that are counted in silence.
    const REPEATS: u32 = 1000;

    /// The journal of this process; from the first call on the logger of the `log` crate.
    pub fn install(verbose: bool) -> &'static Self {
        static JOURNAL: Journal = Journal { ring: Mutex::new(Ring::new()) };
        let _ = log::set_logger(&JOURNAL);
        JOURNAL.set_levels(if verbose { Levels::VERBOSE } else { Levels::USUAL });
        &JOURNAL
    }

    /// From now on that much is said.
    pub fn set_levels(&self, levels: Levels) {
        log::set_max_level(levels.kept.max(levels.printed));
        if let Ok(mut ring) = self.ring.lock() {
            ring.levels = levels;
        }
    }

    /// Writes it down.
    pub fn save(&self) -> Kept {
        let Ok(ring) = self.ring.lock() else { return Kept::default() };
        let lines = ring.lines.iter().cloned().collect();
        Kept { lines, end: ring.end, last: ring.last.clone(), repeated: ring.repeated }
    }

    /// Goes on with what another process image wrote: its lines first, then this one's, and cursors count
    /// on.
    pub fn restore(&self, kept: &Kept) {
        let Ok(mut ring) = self.ring.lock() else { return };
        let own = std::mem::take(&mut ring.lines);
        ring.lines = kept.lines.iter().cloned().collect();
        ring.bytes = ring.lines.iter().map(|l| l.len() + 1).sum();
        (ring.end, ring.last, ring.repeated) =
            (kept.end.max(ring.bytes as u64), kept.last.clone(), kept.repeated);
        own.into_iter().for_each(|line| ring.keep(line));
    }

    /// Lines from `cursor` on (or the last ones), at most `limit` of them and `max_bytes`.
    pub fn tail(&self, cursor: Option<u64>, limit: usize, max_bytes: usize) -> Tail {
        let Ok(ring) = self.ring.lock() else {
            return Tail { lines: vec![], cursor: 0, reset: false, truncated: false };
        };
        let start = ring.end - ring.bytes as u64;
        // A cursor beyond the end is from before a restart.
        let from = cursor.filter(|c| *c <= ring.end);
        let mut at = start;
        let mut lines = Vec::new();
        for line in &ring.lines {
            if from.is_none_or(|from| at >= from) {
                lines.push(line);
            }
            at += line.len() as u64 + 1;
        }
        let mut room = max_bytes;
        let kept = lines.iter().rev().take(limit).take_while(|l| {
            let fits = l.len() < room;
            room = room.saturating_sub(l.len() + 1);
            fits
        });
        let kept = kept.count();
        Tail {
            truncated: kept < lines.len(),
            lines: lines[lines.len() - kept..].iter().map(|l| l.to_string()).collect(),
            cursor: ring.end,
            reset: cursor.is_some_and(|c| c < start || c > ring.end),
        }
    }
}

impl Ring {
    const fn new() -> Self {
        Self {
            lines: VecDeque::new(),
            bytes: 0,
            end: 0,
            last: String::new(),
            last_level: Level::Info,
            repeated: 0,
            levels: Levels::USUAL,
        }
    }

    fn add(&mut self, level: Level, text: &str) {
        let mut line = timestamp(wall_ms());
        line.reserve_exact(text.len() + 2);
        line.extend([" ", text, "\n"]);
        // One write a line; and a closed stderr must not end the gateway.
        if level <= self.levels.printed {
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
        if level > self.levels.kept {
            return;
        }
        line.pop();
        self.keep(line);
    }

    fn keep(&mut self, line: String) {
        self.bytes += line.len() + 1;
        self.end += line.len() as u64 + 1;
        self.lines.push_back(line);
        while self.bytes > Journal::BYTES {
            let Some(old) = self.lines.pop_front() else { break };
            self.bytes -= old.len() + 1;
        }
    }

    fn end_repeat(&mut self) {
        if self.repeated > 0 {
            let text = format!("INFO the line above came {} more times", self.repeated);
            self.repeated = 0;
            self.add(self.last_level, &text);
        }
    }
}

impl Log for Journal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // The libraries' own debugging says nothing to an operator.
        metadata.level() <= Level::Warn || metadata.target().starts_with("barnacle")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut text = String::with_capacity(128);
        // Writing to a String cannot fail.
        let _ = write!(text, "{} {}", record.level(), record.args());
        if text.bytes().any(|b| matches!(b, b'\n' | b'\r')) {
            text = text.replace(['\n', '\r'], " ");
        }
        let Ok(mut ring) = self.ring.lock() else { return };
        if ring.last == text && ring.repeated < Self::REPEATS {
            ring.repeated += 1;
            return;
        }
        ring.end_repeat();
        ring.add(record.level(), &text);
        (ring.last, ring.last_level) = (text, record.level());
    }

    fn flush(&self) {
        if let Ok(mut ring) = self.ring.lock() {
            ring.end_repeat();
        }
    }
}
