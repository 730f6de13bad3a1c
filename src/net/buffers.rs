//! The unread and the unsent bytes of a connection. An idle connection holds none of either.

use super::message::{Scan, Side};
use std::{cell::Cell, collections::VecDeque};

thread_local! {
    /// The unsent bytes of all connections: each lives on the one thread that serves.
    static UNSENT: Cell<usize> = const { Cell::new(0) };
}

/// The unsent bytes of all connections together.
pub fn unsent_of_all() -> usize {
    UNSENT.get()
}

/// Both buffers of a connection.
#[derive(Default)]
pub(super) struct Buffers {
    pub(super) input: Vec<u8>,
    /// Bytes at the start of `input` that were handed out.
    pub(super) taken: usize,
    pub(super) scan: Scan,
    pub(super) output: Vec<u8>,
    /// Bytes at the start of `output` that were written.
    pub(super) written: usize,
    /// The bytes that are left of each message in `output`, the one being sent first; none while nothing blocks.
    #[expect(clippy::box_collection, reason = "few connections ever have one")]
    messages: Option<Box<VecDeque<usize>>>,
}

impl Buffers {
    /// Buffers that begin with unread bytes and with one message that is not sent.
    pub(super) fn new(side: Side, input: Vec<u8>, output: Vec<u8>) -> Self {
        UNSENT.set(UNSENT.get() + output.len());
        let messages = (!output.is_empty()).then(|| Box::new([output.len()].into()));
        Self { input, scan: Scan::new(side), output, messages, ..Self::default() }
    }

    /// Bytes that wait to be sent.
    pub(super) fn unsent(&self) -> usize {
        self.output.len() - self.written
    }

    /// Bytes that wait behind the message that is being sent.
    pub(super) fn unsent_behind(&self) -> usize {
        self.unsent() - self.messages.as_ref().and_then(|m| m.front().copied()).unwrap_or_default()
    }

    /// Appends a frame, which `write` writes.
    pub(super) fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.output.len();
        write(&mut self.output);
        let length = self.output.len() - before;
        UNSENT.set(UNSENT.get() + length);
        if let Some(messages) = self.messages.as_mut().filter(|messages| !messages.is_empty()) {
            messages.push_back(length);
        }
    }

    /// Records that the socket took `n` more bytes.
    pub(super) fn wrote(&mut self, mut n: usize) {
        self.written += n;
        UNSENT.set(UNSENT.get().saturating_sub(n));
        let Some(messages) = &mut self.messages else { return };
        while let Some(left) = messages.front_mut() {
            if *left > n {
                *left -= n;
                return;
            }
            n -= *left;
            messages.pop_front();
        }
    }

    /// Records that the socket takes no more: from here on messages are counted one by one.
    pub(super) fn blocked(&mut self) {
        let unsent = self.unsent();
        let messages = self.messages.get_or_insert_default();
        if messages.is_empty() {
            messages.push_back(unsent);
        }
    }

    /// Records that everything is sent, and frees the buffer.
    pub(super) fn sent(&mut self) {
        self.output = Vec::new();
        self.written = 0;
        self.messages = None;
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        UNSENT.set(UNSENT.get().saturating_sub(self.unsent()));
    }
}
