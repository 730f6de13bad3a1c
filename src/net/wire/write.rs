//! The sending half of a wire: frames out, and the end of it.

use super::{Close, Tick, Wire};
use crate::{
    host,
    net::{
        frame::{self, Mask},
        message::Side,
    },
    random,
};
use std::{
    io::{self, Write},
    task::{Context, Poll},
};

/// Limit of unread bytes, at which a peer gets no more answers to its pings.
const UNREAD: usize = 64 << 10;

impl Wire {
    /// Bytes that wait to be sent.
    pub fn unsent(&self) -> usize {
        self.buffers.borrow().unsent()
    }

    /// Bytes that wait to be sent behind the message that is being sent now.
    pub fn unsent_behind(&self) -> usize {
        self.buffers.borrow().unsent_behind()
    }

    /// Sends a text message: at once if the socket takes it.
    pub fn send_text(&self, text: &str) {
        self.push(|mask, out| frame::text(text, mask, out));
    }

    /// Sends a text message of about `room` bytes that `write` writes where it goes out from, so that it is not copied.
    pub fn send_text_with(&self, room: usize, write: impl FnOnce(&mut Vec<u8>)) {
        self.push(|mask, out| frame::text_with(room, mask, out, write));
    }

    /// Sends a ping.
    pub fn send_ping(&self) {
        self.push(frame::ping);
    }

    /// Answers a ping, unless the peer is behind with reading: pings are no way to have memory held.
    pub fn send_pong(&self, payload: &[u8]) {
        if self.unsent() < UNREAD {
            self.push(|mask, out| frame::pong(payload, mask, out));
        }
    }

    /// Queues bytes as they are, to go out with the next frame.
    pub fn queue(&self, bytes: &[u8]) {
        self.buffers.borrow_mut().append(|out| out.extend_from_slice(bytes));
    }

    /// Queues bytes that `write` writes, to go out with the next frame.
    pub fn queue_with(&self, write: impl FnOnce(&mut Vec<u8>)) {
        self.buffers.borrow_mut().append(|out| {
            // An answer and a challenge, so that the buffer is made once.
            out.reserve(512);
            write(out);
        });
    }

    fn push(&self, frame: impl FnOnce(Option<Mask>, &mut Vec<u8>)) {
        if self.close.borrow().is_none() {
            self.append(frame);
            self.try_drain();
        }
    }

    fn append(&self, frame: impl FnOnce(Option<Mask>, &mut Vec<u8>)) {
        let mut b = self.buffers.borrow_mut();
        let mask = match b.scan.side() {
            Side::Server => None,
            Side::Client => match random::bytes() {
                Ok(mask) => Some(mask),
                // A frame that cannot be masked is not sent, nor one after it that may depend on it.
                Err(_) => return self.abandon(),
            },
        };
        b.append(|out| frame(mask, out));
    }

    /// Ends the connection after everything that was sent before; the first call wins.
    pub fn close(&self, code: u16, reason: &str) {
        let mut close = self.close.borrow_mut();
        if close.is_some() {
            return;
        }
        let reason = host::cut(reason, 123);
        *close = Some(Box::new(Close { code, reason: reason.into() }));
        drop(close);
        self.append(|mask, out| frame::close(code, reason, mask, out));
        self.try_drain();
        self.wake();
    }

    /// Continues an end that was asked for before this wire was; its frame is among the unsent bytes,
    /// or gone out.
    pub fn set_closing(&self, close: Option<Close>) {
        *self.close.borrow_mut() = close.map(Box::new);
    }

    /// The end that was asked for.
    pub fn closing(&self) -> Option<Close> {
        self.close.borrow().as_deref().cloned()
    }

    fn try_drain(&self) {
        if !matches!(self.write_some(), Ok(true)) {
            self.wake();
        }
    }

    /// Ready once at most `most` bytes wait to be sent; for one task.
    pub fn poll_room(&self, cx: &Context<'_>, most: usize) -> Poll<()> {
        if self.unsent() <= most {
            return Poll::Ready(());
        }
        self.room.set(Some(Box::new((most, cx.waker().clone()))));
        Poll::Pending
    }

    /// Wakes the task that waits for room, if there is enough of it.
    fn give_room(&self, unsent: usize) {
        match self.room.take() {
            Some(waits) if unsent <= waits.0 => waits.1.wake(),
            waits => self.room.set(waits),
        }
    }

    /// Writes what the socket takes; whether that was all.
    fn write_some(&self) -> io::Result<bool> {
        let mut b = self.buffers.borrow_mut();
        while b.written < b.output.len() {
            let (mut socket, unsent) = (self.socket.get_ref(), &b.output[b.written..]);
            let written = match &self.tls {
                None => socket.write(unsent),
                Some(tls) => tls.borrow_mut().write(socket, unsent),
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    b.wrote(n);
                    self.give_room(b.unsent());
                    self.tick.set(Tick { stalled: 0, ..self.tick.get() });
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    b.blocked();
                    return Ok(false);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        b.sent();
        self.tls.as_ref().map_or(Ok(true), |tls| tls.borrow_mut().flush(self.socket.get_ref()))
    }

    /// Ready once everything is sent.
    ///
    /// # Errors
    /// When the peer is gone.
    pub fn poll_drain(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.write_some()? {
            return Poll::Ready(Ok(()));
        }
        self.socket.wait_writable(cx);
        Poll::Pending
    }

    /// Shuts the sending side down.
    pub fn end(&self) -> io::Result<()> {
        if let Some(tls) = &self.tls {
            tls.borrow_mut().end(self.socket.get_ref());
        }
        self.socket.get_ref().shutdown(std::net::Shutdown::Write)
    }
}
