//! Standard error, written to without ever waiting for its reader.
//!
//! What it does not take at once waits in memory, up to [`BACKLOG`] bytes; lines beyond that are dropped, counted, and
//! the count is written once there is room. The flag `O_NONBLOCK` belongs to the open file, which standard error shares
//! with other processes, so a pipe or a terminal is opened anew for it; a socket is sent to with `MSG_DONTWAIT`. To a
//! regular file a worker thread writes ([`Queue`]), once the gateway serves.

use super::{
    BACKLOG,
    file::{self, Queue},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fd::OwnedFd,
    fs::{FileType, Mode, OFlags, fstat, open},
    io::{Errno, write},
    net::{SendFlags, send},
    stdio::stderr,
};
use std::{collections::VecDeque, time::Duration};

/// Standard error, with a backlog in memory.
pub(super) struct Output {
    way: Option<Way>,
    /// Lines that wait, the first of which may be written in part.
    waiting: VecDeque<String>,
    bytes: usize,
    /// Lines dropped since the last one that was written.
    lost: u64,
    dropped: u64,
    /// Whether somebody else waits while a line is written.
    serving: bool,
}

/// Ways of writing to it.
enum Way {
    /// An open file description of its own, which does not block.
    Own(OwnedFd),
    /// A socket, written to without blocking.
    Socket,
    /// A pipe or terminal that cannot be opened anew: written to when it has room for a line.
    Polled,
    /// A file.
    File(Queue),
}

impl Way {
    fn of_process() -> Self {
        let kind = fstat(stderr()).map(|stat| FileType::from_raw_mode(stat.st_mode));
        match kind {
            Ok(FileType::Socket) => Self::Socket,
            Ok(FileType::Fifo | FileType::CharacterDevice) => {
                let flags =
                    OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::APPEND | OFlags::CLOEXEC;
                open("/proc/self/fd/2", flags, Mode::empty()).map_or(Self::Polled, Self::Own)
            }
            _ => Self::File(Queue::default()),
        }
    }

    fn write(&self, bytes: &[u8], serving: bool) -> Result<usize, Errno> {
        match self {
            Self::Own(fd) => write(fd, bytes),
            Self::Socket => send(stderr(), bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL),
            Self::Polled => {
                let mut fds = [PollFd::from_borrowed_fd(stderr(), PollFlags::OUT)];
                let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
                if poll(&mut fds, Some(&now))? == 0 { Err(Errno::AGAIN) } else { write(stderr(), bytes) }
            }
            Self::File(queue) if serving => queue.put(bytes),
            Self::File(_) => {
                file::write_all(bytes);
                Ok(bytes.len())
            }
        }
    }
}

impl Output {
    /// Makes an output whose kind is not determined yet.
    pub const fn new() -> Self {
        Self { way: None, waiting: VecDeque::new(), bytes: 0, lost: 0, dropped: 0, serving: false }
    }

    /// Writes a line, or has it wait.
    pub fn write(&mut self, line: &str) {
        self.flush();
        let written = if self.waiting.is_empty() && self.lost == 0 { self.written(line) } else { Some(0) };
        match written {
            Some(0) => self.wait(line),
            Some(n) if n < line.len() => self.wait(&String::from_utf8_lossy(&line.as_bytes()[n..])),
            _ => {}
        }
    }

    /// Writes the backlog.
    pub fn flush(&mut self) {
        loop {
            if let Some(line) = self.waiting.pop_front() {
                let written = self.written(&line).unwrap_or(line.len());
                self.bytes -= written;
                if written < line.len() {
                    let rest = String::from_utf8_lossy(&line.as_bytes()[written..]).into_owned();
                    self.bytes = self.bytes + rest.len() - (line.len() - written);
                    return self.waiting.push_front(rest);
                }
            } else if self.lost > 0 {
                let line = format!("WARN {} log lines were dropped: nobody read standard error\n", self.lost);
                if self.written(&line) != Some(line.len()) {
                    return;
                }
                self.lost = 0;
            } else {
                return;
            }
        }
    }

    /// Lets nobody wait for a disk from now on, or again; what was written before is on its way within `most`.
    pub fn serve(&mut self, serving: bool, most: Duration) {
        if let Some(Way::File(queue)) = &self.way {
            queue.settle(most);
        }
        self.serving = serving;
    }

    /// Lines dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn wait(&mut self, line: &str) {
        let queued = matches!(self.way, Some(Way::File(_)));
        if self.lost > 0 || queued || self.bytes + line.len() > BACKLOG {
            (self.lost, self.dropped) = (self.lost + 1, self.dropped + 1);
            return;
        }
        self.bytes += line.len();
        self.waiting.push_back(line.into());
    }

    /// Returns the bytes of `text` that were written; `None` if nobody will ever read them.
    fn written(&mut self, text: &str) -> Option<usize> {
        let way = self.way.get_or_insert_with(Way::of_process);
        loop {
            match way.write(text.as_bytes(), self.serving) {
                Ok(n) => return Some(n),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN | Errno::NOBUFS) => return Some(0),
                Err(_) => return None,
            }
        }
    }
}
