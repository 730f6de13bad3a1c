//! The journal: the gateway's log, written to standard error and kept in memory.
//!
//! `logs.tail` reads what is kept. Nothing is written to disk: on a board that is an SD card, and systemd keeps standard
//! error anyway. A line is cut at [`LINE`] bytes, and one that repeats is counted instead. Lines that peers cause
//! ([`PEER`]) are kept apart, so that they push out no others. Writing never waits for the reader of standard error
//! ([`Output`]).

mod file;
mod output;
mod ring;

use crate::{
    clock::{TIMESTAMP, wall_ms, write_timestamp},
    host,
};
use log::{Level, LevelFilter, Log, Metadata, Record};
use nanoserde::{DeBin, SerBin};
use output::Output;
use ring::Ring;
use std::{fmt::Write as _, sync::Mutex, time::Duration};

/// The target of lines that peers cause: attached, left, refused.
pub const PEER: &str = "barnacle::peer";
/// Length limit of a line, bytes.
pub const LINE: usize = 512;
/// Bytes of lines that are kept.
pub const RING: usize = 48 << 10;
/// Bytes of lines about peers that are kept.
pub const PEER_RING: usize = 16 << 10;
/// Bytes of lines that wait for standard error.
pub const BACKLOG: usize = 64 << 10;
/// The most repetitions in a row that are counted in silence.
const REPEATS: u32 = 1000;
/// Mark before a line about a peer in a saved journal.
const PEER_MARK: char = '\u{1}';

/// Levels of the kept log and of standard error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Levels {
    /// `logging.level`: the log that `logs.tail` returns.
    pub kept: LevelFilter,
    /// `logging.consoleLevel`: standard error; `logging.level` without that key.
    pub printed: LevelFilter,
}

impl Levels {
    /// Levels of a start with `--verbose`, whatever the file says.
    pub const VERBOSE: Self = Self { kept: LevelFilter::Debug, printed: LevelFilter::Debug };
    /// Levels without the keys.
    pub const USUAL: Self = Self { kept: LevelFilter::Info, printed: LevelFilter::Info };
}

/// A logger that keeps its last lines.
pub struct Journal {
    inner: Mutex<Inner>,
}

struct Inner {
    /// All lines but those about peers.
    lines: Ring,
    peers: Ring,
    /// Bytes ever logged: the cursor behind the last line.
    end: u64,
    last: String,
    /// Room for the next line.
    spare: String,
    last_level: Level,
    last_peer: bool,
    repeated: u32,
    levels: Levels,
    output: Output,
}

/// A line of the journal.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// Time, level and message.
    pub text: String,
    /// Whether a peer caused it.
    pub peer: bool,
}

impl Line {
    /// Its time, level and message.
    pub fn parts(&self) -> (&str, &str, &str) {
        let (time, rest) = self.text.split_once(' ').unwrap_or(("", &self.text));
        let (level, message) = rest.split_once(' ').unwrap_or((rest, ""));
        (time, level, message)
    }
}

/// A part of the journal.
#[derive(Debug, PartialEq, Eq)]
pub struct Tail {
    /// Kept lines, oldest first.
    pub lines: Vec<Line>,
    /// Cursor behind the last line.
    pub cursor: u64,
    /// Whether lines after the asked cursor are gone.
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
    const fn new() -> Self {
        Self {
            inner: Mutex::new(Inner {
                lines: Ring::new(RING),
                peers: Ring::new(PEER_RING),
                end: 0,
                last: String::new(),
                spare: String::new(),
                last_level: Level::Info,
                last_peer: false,
                repeated: 0,
                levels: Levels::USUAL,
                output: Output::new(),
            }),
        }
    }

    /// The journal of this process; from the first call on the logger of the `log` crate.
    pub fn install(verbose: bool) -> &'static Self {
        static JOURNAL: Journal = Journal::new();
        let _ = log::set_logger(&JOURNAL);
        JOURNAL.set_levels(if verbose { Levels::VERBOSE } else { Levels::USUAL });
        &JOURNAL
    }

    /// Logs at these levels from now on.
    pub fn set_levels(&self, levels: Levels) {
        log::set_max_level(levels.kept.max(levels.printed));
        if let Ok(mut inner) = self.inner.lock() {
            inner.levels = levels;
        }
    }

    /// Begins to serve: from now on no line waits for a disk.
    pub fn serve(&self) {
        if let Ok(mut inner) = self.inner.lock() {
            inner.output.serve(true, Duration::ZERO);
        }
    }

    /// Ends that, before this process image ends: what a file was not given yet has this long to get there.
    pub fn settle(&self) {
        /// A disk that hangs does not hold up the end.
        const PATIENCE: Duration = Duration::from_millis(200);
        if let Ok(mut inner) = self.inner.lock() {
            inner.output.serve(false, PATIENCE);
        }
    }

    /// Saves the lines in memory.
    pub fn save(&self) -> Kept {
        let Ok(inner) = self.inner.lock() else { return Kept::default() };
        let text = |(_, line, peer): (u64, &str, bool)| match peer {
            true => format!("{PEER_MARK}{line}"),
            false => line.to_owned(),
        };
        let lines = inner.merged().map(text).collect();
        Kept { lines, end: inner.end, last: inner.last.clone(), repeated: inner.repeated }
    }

    /// Continues the journal of another process image: its lines first, then this one's, and cursors count on.
    pub fn restore(&self, kept: &Kept) {
        let Ok(mut inner) = self.inner.lock() else { return };
        let own: Vec<_> = inner.merged().map(|(_, line, peer)| (line.to_owned(), peer)).collect();
        (inner.lines, inner.peers) = (Ring::new(RING), Ring::new(PEER_RING));
        let bytes: usize = kept.lines.iter().map(|line| line.trim_start_matches(PEER_MARK).len() + 1).sum();
        inner.end = kept.end.saturating_sub(bytes as u64);
        for line in &kept.lines {
            match line.strip_prefix(PEER_MARK) {
                Some(line) => inner.keep(line.into(), true),
                None => inner.keep(line.clone(), false),
            }
        }
        inner.end = kept.end.max(inner.end);
        (inner.last, inner.repeated) = (kept.last.clone(), kept.repeated);
        own.into_iter().for_each(|(line, peer)| inner.keep(line, peer));
    }

    /// Lines from `cursor` on (or the last ones), at most `limit` of them and `max_bytes`.
    pub fn tail(&self, cursor: Option<u64>, limit: usize, max_bytes: usize) -> Tail {
        let Ok(inner) = self.inner.lock() else {
            return Tail { lines: vec![], cursor: 0, reset: false, truncated: false };
        };
        // A cursor beyond the end is from before a restart.
        let from = cursor.filter(|c| *c <= inner.end);
        let lines: Vec<_> = inner.merged().filter(|(at, ..)| from.is_none_or(|from| *at >= from)).collect();
        let mut room = max_bytes;
        let kept = lines.iter().rev().take(limit).take_while(|(_, line, _)| {
            let fits = line.len() < room;
            room = room.saturating_sub(line.len() + 1);
            fits
        });
        let kept = kept.count();
        let gone = inner.lines.gone().max(inner.peers.gone());
        Tail {
            truncated: kept < lines.len(),
            lines: lines[lines.len() - kept..]
                .iter()
                .map(|(_, line, peer)| Line { text: (*line).to_owned(), peer: *peer })
                .collect(),
            cursor: inner.end,
            reset: cursor.is_some_and(|c| c < gone || c > inner.end),
        }
    }

    /// The lines that standard error did not take, since the start.
    pub fn dropped(&self) -> u64 {
        self.inner.lock().map_or(0, |inner| inner.output.dropped())
    }
}

impl Inner {
    /// All lines in the order in which they were logged: the cursor of each, and whether it is about a peer.
    fn merged(&self) -> impl Iterator<Item = (u64, &str, bool)> {
        let (mut lines, mut peers) = (self.lines.iter().peekable(), self.peers.iter().peekable());
        std::iter::from_fn(move || {
            let peer = match (lines.peek(), peers.peek()) {
                (Some((a, _)), Some((b, _))) => b < a,
                (None, Some(_)) => true,
                _ => false,
            };
            let (at, line) = if peer { peers.next()? } else { lines.next()? };
            Some((at, line, peer))
        })
    }

    fn add(&mut self, level: Level, peer: bool, text: &str) {
        let mut line = String::with_capacity(text.len().min(LINE) + TIMESTAMP + 2);
        // Writing to a String cannot fail.
        let _ = write_timestamp(wall_ms(), &mut line);
        line.extend([" ", text]);
        cut(&mut line);
        line.push('\n');
        if level <= self.levels.printed {
            self.output.write(&line);
        }
        if level > self.levels.kept {
            return;
        }
        line.pop();
        self.keep(line, peer);
    }

    fn keep(&mut self, line: String, peer: bool) {
        let at = self.end;
        self.end += line.len() as u64 + 1;
        if peer { &mut self.peers } else { &mut self.lines }.push(at, line);
    }

    fn end_repeat(&mut self) {
        if self.repeated > 0 {
            let text = format!("INFO last message repeated {} time{}", self.repeated, plural(self.repeated));
            self.repeated = 0;
            self.add(self.last_level, self.last_peer, &text);
        }
    }
}

fn plural(n: u32) -> &'static str {
    if n == 1 { "" } else { "s" }
}

/// Cuts a line at [`LINE`] bytes, to a whole character.
fn cut(line: &mut String) {
    if line.len() > LINE {
        line.truncate(host::cut(line, LINE - '…'.len_utf8()).len());
        line.push('…');
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
        // Not under the lock: what is written may log, too.
        let mut text =
            self.inner.lock().map_or_else(|_| String::new(), |mut inner| std::mem::take(&mut inner.spare));
        text.clear();
        text.reserve(128);
        // Writing to a String cannot fail.
        let _ = write!(text, "{} {}", record.level(), record.args());
        if text.chars().any(char::is_control) {
            text = text.replace(char::is_control, " ");
        }
        let peer = record.target() == PEER;
        let Ok(mut inner) = self.inner.lock() else { return };
        if inner.last == text && inner.repeated < REPEATS {
            inner.repeated += 1;
            inner.spare = text;
            return;
        }
        inner.end_repeat();
        inner.add(record.level(), peer, &text);
        (inner.last_level, inner.last_peer) = (record.level(), peer);
        inner.spare = std::mem::replace(&mut inner.last, text);
        inner.spare.shrink_to(2 * LINE);
    }

    fn flush(&self) {
        if let Ok(mut inner) = self.inner.lock() {
            inner.end_repeat();
            inner.output.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(journal: &Journal, target: &str, text: &str) {
        // Not printed: this is a test.
        journal.inner.lock().unwrap().levels.printed = LevelFilter::Off;
        journal
            .log(&Record::builder().level(Level::Info).target(target).args(format_args!("{text}")).build());
    }

    fn texts(tail: &Tail) -> Vec<&str> {
        tail.lines.iter().map(|line| line.parts().2).collect()
    }

    #[test]
    fn peers_push_out_no_other_lines() {
        let journal = Journal::new();
        log(&journal, "barnacle", "device abc approved");
        for n in 0..5000 {
            log(&journal, PEER, &format!("refused {n}: {}", "x".repeat(9000)));
        }
        let tail = journal.tail(None, 5000, usize::MAX);
        assert_eq!(texts(&tail)[0], "device abc approved");
        assert!(tail.lines.iter().all(|line| line.text.len() <= LINE) && tail.lines[1].text.ends_with('…'));
        assert!(tail.lines.iter().map(|line| line.text.len()).sum::<usize>() <= RING + PEER_RING);
        assert!(tail.lines.last().unwrap().text.contains("refused 4999"));
    }

    #[test]
    fn lines_stay_in_order_through_a_restart_and_cursors_count_on() {
        let (before, after) = (Journal::new(), Journal::new());
        for n in 0..4 {
            log(&before, if n % 2 == 0 { "barnacle" } else { PEER }, &format!("line {n}"));
        }
        let cursor = before.tail(None, 9, 9999).cursor;
        log(&after, "barnacle", "line 4");
        after.restore(&before.save());
        let tail = after.tail(None, 9, 9999);
        assert_eq!(texts(&tail), ["line 0", "line 1", "line 2", "line 3", "line 4"]);
        let later = after.tail(Some(cursor), 9, 9999);
        assert_eq!((texts(&later), later.reset), (vec!["line 4"], false));
        assert_eq!(after.save().lines[1].chars().next(), Some(PEER_MARK));
    }

    #[test]
    fn what_is_gone_is_told() {
        let journal = Journal::new();
        for n in 0..400 {
            log(&journal, PEER, &format!("{n} {}", "x".repeat(100)));
        }
        assert!(journal.tail(Some(0), 9, 9999).reset);
        assert!(!journal.tail(Some(journal.tail(None, 1, 9999).cursor), 9, 9999).reset);
    }

    #[test]
    fn control_characters_are_not_logged() {
        let journal = Journal::new();
        log(&journal, "barnacle", "a\u{1b}[31m\u{7}\nb\u{9b}c");
        assert_eq!(texts(&journal.tail(None, 9, 9999)), ["a [31m  b c"]);
    }

    #[test]
    fn repetitions_are_counted() {
        let journal = Journal::new();
        ["a", "a", "b", "b", "b", "c"].iter().for_each(|text| log(&journal, PEER, text));
        let tail = journal.tail(None, 9, 9999);
        let expected = ["a", "last message repeated 1 time", "b", "last message repeated 2 times", "c"];
        assert_eq!(texts(&tail), expected);
    }
}
