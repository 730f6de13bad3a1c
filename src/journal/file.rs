//! Standard error that is a regular file: a worker thread writes to it.
//!
//! `O_NONBLOCK` means nothing to a file (open(2)): a write waits while the disk is slow or the page cache has too much
//! to write back.

use super::BACKLOG;
use crate::reactor::leave_to_worker;
use rustix::{
    io::{Errno, write},
    stdio::stderr,
};
use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Lines on their way to a file.
#[derive(Clone, Default)]
pub(super) struct Queue(Arc<(Mutex<Lines>, Condvar)>);

#[derive(Default)]
struct Lines {
    waiting: Vec<u8>,
    /// Bytes that the worker writes now.
    taken: usize,
    /// Whether a worker is under way.
    at_work: bool,
}

impl Queue {
    /// Hands `line` to the worker.
    ///
    /// # Errors
    /// `AGAIN` if too much waits for the disk already.
    pub fn put(&self, line: &[u8]) -> Result<usize, Errno> {
        let mut lines = self.lines();
        if lines.taken + lines.waiting.len() + line.len() > BACKLOG {
            return Err(Errno::AGAIN);
        }
        lines.waiting.extend_from_slice(line);
        if !std::mem::replace(&mut lines.at_work, true) {
            let queue = self.clone();
            leave_to_worker(move || queue.work());
        }
        Ok(line.len())
    }

    /// Waits until all is written, for `most` at most.
    pub fn settle(&self, most: Duration) {
        let lines = self.lines();
        let _ = self.0.1.wait_timeout_while(lines, most, |lines| lines.at_work);
    }

    fn work(&self) {
        loop {
            let batch = {
                let mut lines = self.lines();
                let batch = std::mem::take(&mut lines.waiting);
                lines.taken = batch.len();
                if batch.is_empty() {
                    lines.at_work = false;
                    return self.0.1.notify_all();
                }
                batch
            };
            write_all(&batch);
        }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes `bytes`; what a full disk does not take is lost.
pub(super) fn write_all(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match write(stderr(), bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}
