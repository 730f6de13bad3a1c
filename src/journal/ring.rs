//! Lines in memory, the oldest of which make room for new ones.

use std::collections::VecDeque;

/// The last lines, up to so many bytes.
pub(super) struct Ring {
    most: usize,
    bytes: usize,
    /// Lines, each with its cursor.
    lines: VecDeque<(u64, String)>,
    gone: u64,
}

impl Ring {
    /// An empty one of `most` bytes.
    pub const fn new(most: usize) -> Self {
        Self { most, bytes: 0, lines: VecDeque::new(), gone: 0 }
    }

    /// Adds a line; the oldest ones make room.
    pub fn push(&mut self, at: u64, line: String) {
        self.bytes += line.len() + 1;
        self.lines.push_back((at, line));
        while self.bytes > self.most {
            let Some((at, old)) = self.lines.pop_front() else { break };
            self.bytes -= old.len() + 1;
            self.gone = at + old.len() as u64 + 1;
        }
    }

    /// The cursor behind the last line that made room.
    pub fn gone(&self) -> u64 {
        self.gone
    }

    /// The lines with their cursors, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &str)> {
        self.lines.iter().map(|(at, line)| (*at, line.as_str()))
    }
}
