//! A connection as plain data: a socket and both its buffers.
//!
//! Between two messages nobody else holds anything of it, so it can be written down as its socket, its unread and
//! its unsent bytes, carried over, and gone on with ([`Wire::write`], [`Wire::new`]).
//!
//! Frames out are formatted straight into the output buffer ([`Wire::send_text`]) and written at once;
//! what the socket does not take is written by the connection's own task when it can be.

use super::{
    budget::{Budget, Charge},
    frame,
    scan::{Excess, Scan},
};
use crate::{host, reactor::Async, tls::Session};
use nanoserde::{DeBin, SerBin};
use std::{
    cell::{Cell, RefCell},
    io::{self, Read, Write},
    net::TcpStream,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};

thread_local! {
    /// What a read reads into: one for all connections, so that none has its own and it is not cleared for each.
    static CHUNK: RefCell<Box<[u8]>> = RefCell::new(vec![0; 8192].into());
}

/// The end of a connection, asked for by the gateway: close code and reason.
#[derive(Clone, PartialEq, Eq, Debug, SerBin, DeBin)]
pub struct Close {
    /// RFC 6455 §7.4.
    pub code: u16,
    /// At most 123 bytes go out.
    pub reason: String,
}

#[derive(Default)]
struct Buffers {
    input: Vec<u8>,
    /// How much of the start of `input` was handed out.
    taken: usize,
    /// How much after that belongs to the message that is being handed out.
    released: usize,
    scan: Scan,
    output: Vec<u8>,
    /// How much of the start of `output` is written.
    written: usize,
}

/// A socket with its buffers.
pub struct Wire {
    socket: Async<TcpStream>,
    /// Nothing on a plain connection, which then pays nothing for it.
    tls: Option<Box<RefCell<Session>>>,
    buffers: RefCell<Buffers>,
    reader: Cell<Option<Waker>>,
    limit: Cell<usize>,
    excess: Cell<Option<Excess>>,
    close: RefCell<Option<Close>>,
    charge: Charge,
}

impl Wire {
    /// A wire over `socket` that begins with bytes already read and bytes still to be sent, and takes
    /// messages of up to `limit` bytes.
    pub fn new(socket: Async<TcpStream>, input: Vec<u8>, output: Vec<u8>, limit: usize) -> Rc<Self> {
        Self::over(socket, None, input, output, limit)
    }

    /// A wire over a socket that somebody just opened; it speaks TLS if there is a `session` for it.
    pub fn open(socket: Async<TcpStream>, session: Option<Session>, limit: usize) -> Rc<Self> {
        let tls = session.map(|session| Box::new(RefCell::new(session)));
        Self::over(socket, tls, Vec::new(), Vec::new(), limit)
    }

    fn over(
        socket: Async<TcpStream>,
        tls: Option<Box<RefCell<Session>>>,
        input: Vec<u8>,
        output: Vec<u8>,
        limit: usize,
    ) -> Rc<Self> {
        Rc::new(Self {
            socket,
            tls,
            buffers: RefCell::new(Buffers { input, output, ..Buffers::default() }),
            reader: Cell::new(None),
            limit: Cell::new(limit),
            excess: Cell::new(None),
            close: RefCell::new(None),
            charge: Charge::default(),
        })
    }

    /// Charges what it holds to `budget`, until it attaches.
    pub fn charge(&self, budget: Rc<Budget>) {
        self.charge.to(budget);
    }

    /// The connection has attached: messages of up to `limit` bytes, and no budget any more.
    pub fn attach(&self, limit: usize) {
        self.limit.set(limit);
        self.charge.refund();
    }

    /// The socket.
    pub fn socket(&self) -> &Async<TcpStream> {
        &self.socket
    }

    /// Whether it speaks TLS. The kernel knows nothing of that, so such a connection ends with this process image.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Reads what is there; 0 at the end.
    fn poll_some(&self, cx: &Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
        let Some(tls) = &self.tls else {
            return self.socket.poll_with(cx, |mut socket| socket.read(out));
        };
        let mut tls = tls.borrow_mut();
        let read = self.socket.poll_with(cx, |socket| tls.read(socket, out));
        if read.is_pending() && tls.is_full() {
            self.socket.wait_writable(cx);
        }
        read
    }

    /// Nothing more is sent.
    pub fn end(&self) -> io::Result<()> {
        if let Some(tls) = &self.tls {
            tls.borrow_mut().end(self.socket.get_ref());
        }
        self.socket.get_ref().shutdown(std::net::Shutdown::Write)
    }

    /// The unread and the unsent bytes, as they are to be carried over to another [`Wire`]. A message that
    /// is only half handed out (a control frame stood within it) is unread from its start.
    pub fn copy(&self) -> (Vec<u8>, Vec<u8>) {
        let b = self.buffers.borrow();
        (b.input.clone(), b.output[b.written..].to_vec())
    }

    /// Lends the same bytes.
    pub(crate) fn with_buffers<T>(&self, look: impl FnOnce(&[u8], &[u8]) -> T) -> T {
        let b = self.buffers.borrow();
        look(&b.input, &b.output[b.written..])
    }

    /// What stopped it from being read.
    pub fn excess(&self) -> Option<Excess> {
        self.excess.get()
    }

    /// Bytes that wait to be sent.
    pub fn unsent(&self) -> usize {
        let b = self.buffers.borrow();
        b.output.len() - b.written
    }

    /// Sends a text message: at once if the socket takes it.
    pub fn send_text(&self, text: &str) {
        self.push(|out| frame::text(text, out));
    }

    /// Sends a ping.
    pub fn send_ping(&self) {
        self.push(frame::ping);
    }

    /// Queues bytes as they are, to go out with the next frame.
    pub fn queue(&self, bytes: &[u8]) {
        self.buffers.borrow_mut().output.extend_from_slice(bytes);
    }

    fn push(&self, frame: impl FnOnce(&mut Vec<u8>)) {
        if self.close.borrow().is_none() {
            frame(&mut self.buffers.borrow_mut().output);
            self.try_drain();
        }
    }

    /// Ends the connection after everything that was sent before; the first call wins.
    pub fn close(&self, code: u16, reason: &str) {
        let mut close = self.close.borrow_mut();
        if close.is_some() {
            return;
        }
        let reason = host::cut(reason, 123);
        *close = Some(Close { code, reason: reason.into() });
        frame::close(code, reason, &mut self.buffers.borrow_mut().output);
        self.try_drain();
        self.wake();
    }

    /// Goes on with an end that was asked for before this wire was; its frame is among the unsent bytes,
    /// or gone out.
    pub fn set_closing(&self, close: Option<Close>) {
        *self.close.borrow_mut() = close;
    }

    /// The end that was asked for.
    pub fn closing(&self) -> Option<Close> {
        self.close.borrow().clone()
    }

    /// Wakes the task that reads, so that it looks at the wire again.
    pub fn wake(&self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    /// Remembers the task that reads.
    pub fn watch(&self, cx: &Context<'_>) {
        self.reader.set(Some(cx.waker().clone()));
    }

    /// Ready once there is something to read, to send or to end.
    pub fn poll_stir(&self, cx: &Context<'_>) -> Poll<()> {
        self.watch(cx);
        let still =
            self.unsent() == 0 && self.buffers.borrow().input.is_empty() && self.close.borrow().is_none();
        if still && self.socket.is_quiet() {
            self.socket.wait_readable(cx);
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    fn try_drain(&self) {
        if !matches!(self.write_some(), Ok(true)) {
            self.wake();
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
                Ok(n) => b.written += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        b.output = Vec::new();
        b.written = 0;
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

    /// Reads and forgets, until the peer closes too.
    pub fn poll_discard(&self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..16 {
            let read = CHUNK.with_borrow_mut(|chunk| self.socket.poll_with(cx, |mut s| s.read(chunk)));
            let Ok(1..) = ready!(read) else { return Poll::Ready(()) };
        }
        // The others' turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// What was read and not yet forgotten.
    pub fn look<T>(&self, look: impl FnOnce(&[u8]) -> T) -> T {
        look(&self.buffers.borrow().input)
    }

    /// Forgets the first `n` of the bytes that were read.
    pub fn forget(&self, n: usize) {
        let mut b = self.buffers.borrow_mut();
        let n = n.min(b.input.len());
        b.input.drain(..n);
        b.taken = b.taken.saturating_sub(n);
        if b.input.is_empty() {
            b.input = Vec::new();
        }
    }

    /// Reads more, while what is unsent goes out; ready with how much came, 0 at the end.
    ///
    /// # Errors
    /// When the peer is gone.
    pub fn poll_more(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Err(e)) = self.poll_drain(cx) {
            return Poll::Ready(Err(e));
        }
        CHUNK.with_borrow_mut(|chunk| {
            let n = ready!(self.poll_some(cx, &mut chunk[..2048]))?;
            self.buffers.borrow_mut().input.extend_from_slice(&chunk[..n]);
            Poll::Ready(Ok(n))
        })
    }

    /// How many of the bytes that were read were handed out and not forgotten.
    pub(super) fn handed_out(&self) -> usize {
        self.buffers.borrow().taken
    }

    /// Hands out bytes of what was read, without forgetting them; [`Wire::forget`] does.
    pub(super) fn hand_out(&self, out: &mut [u8]) -> usize {
        let mut b = self.buffers.borrow_mut();
        let left = &b.input[b.taken..];
        let n = left.len().min(out.len());
        out[..n].copy_from_slice(&left[..n]);
        b.taken += n;
        n
    }

    /// Hands out bytes of the first whole message, if it is there.
    pub(super) fn release(&self, out: &mut [u8]) -> io::Result<Option<usize>> {
        let mut b = self.buffers.borrow_mut();
        let b = &mut *b;
        if b.released == 0 {
            match b.scan.whole(&b.input, self.limit.get()) {
                Ok(end) => b.released = end,
                Err(excess) => return Err(self.exceed(excess)),
            }
        }
        if b.released == 0 {
            return Ok(None);
        }
        let n = b.released.min(out.len());
        out[..n].copy_from_slice(&b.input[b.taken..b.taken + n]);
        b.taken += n;
        b.released -= n;
        if b.released == 0 {
            // Once a message: the library takes it in small pieces.
            let taken = std::mem::take(&mut b.taken);
            if b.input.len() == taken {
                b.input = Vec::new();
            } else {
                b.input.drain(..taken);
            }
        }
        Ok(Some(n))
    }

    fn exceed(&self, excess: Excess) -> io::Error {
        self.excess.set(Some(excess));
        io::ErrorKind::InvalidData.into()
    }

    /// Reads more, charged as long as it has not attached; ready with how much came, 0 at the end.
    pub(super) fn poll_charged(&self, cx: &Context<'_>) -> Poll<io::Result<usize>> {
        CHUNK.with_borrow_mut(|chunk| {
            let n = ready!(self.poll_some(cx, chunk))?;
            self.charge.take(n, self.limit.get()).map_err(|excess| self.exceed(excess))?;
            self.buffers.borrow_mut().input.extend_from_slice(&chunk[..n]);
            Poll::Ready(Ok(n))
        })
    }
}
