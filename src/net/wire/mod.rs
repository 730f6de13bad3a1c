//! A connection as plain data: a socket and both its buffers.
//!
//! Between two messages nobody else holds anything of it, so it can be written down as its socket, its unread and
//! its unsent bytes, carried over, and gone on with ([`Wire::copy`]; [`Wire::new`], [`Wire::client`]).
//!
//! Frames out are formatted straight into the output buffer ([`Wire::send_text`]) and written at once;
//! what the socket does not take is written by the connection's own task when it can be. Messages in are taken out of
//! the input buffer whole ([`Wire::poll_message`]).

mod write;

use super::{
    buffers::Buffers,
    charge::Charge,
    message::{Message, ReadError, Scan, Side},
};
use crate::{
    admission::{Budget, MakeRoom, Source, limits},
    reactor::Async,
    tls::{Channel, ClientSession, Session},
};
use nanoserde::{DeBin, SerBin};
use std::{
    cell::{Cell, RefCell},
    io::{self, Read},
    net::{IpAddr, TcpStream},
    rc::{Rc, Weak},
    task::{Context, Poll, Waker, ready},
};

thread_local! {
    /// Buffer of reads, one for all connections, so that none has its own and it is not cleared for each.
    static CHUNK: RefCell<Box<[u8]>> = RefCell::new(vec![0; 8192].into());
}

/// The end of a connection, asked for by the gateway: close code and reason.
#[derive(Clone, PartialEq, Eq, Debug, SerBin, DeBin)]
pub struct Close {
    /// Close code (RFC 6455 §7.4).
    pub code: u16,
    /// At most 123 bytes go out.
    pub reason: String,
}

/// Activity of a connection since the tick before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tick {
    /// Whether bytes were received.
    pub received: bool,
    /// Ticks for which the same message has been unfinished.
    pub unfinished: u16,
    /// Ticks for which the peer has taken nothing of what it is sent.
    pub stalled: u16,
}

/// A socket with its buffers, on either [`Side`] of the connection.
pub struct Wire {
    socket: Async<TcpStream>,
    /// TLS session; `None` on a plain connection.
    tls: Option<Box<RefCell<Channel>>>,
    buffers: RefCell<Buffers>,
    reader: Cell<Option<Waker>>,
    /// Who waits until less is unsent, and how much less.
    room: Cell<Option<Box<(usize, Waker)>>>,
    limit: Cell<usize>,
    /// Set by others: it has to make room.
    no_room: Cell<bool>,
    close: RefCell<Option<Box<Close>>>,
    source: Cell<Option<Source>>,
    charge: RefCell<Charge>,
    tick: Cell<Tick>,
    me: Weak<Self>,
}

impl Wire {
    /// A wire over an accepted `socket` that begins with bytes already read and bytes still to be sent, and takes
    /// messages of up to `limit` bytes.
    pub fn new(socket: Async<TcpStream>, input: Vec<u8>, output: Vec<u8>, limit: usize) -> Rc<Self> {
        Self::over(socket, None, Buffers::new(Side::Server, input, output), limit)
    }

    /// A wire over a socket that somebody just opened; it speaks TLS if there is a `session` for it.
    pub fn open(socket: Async<TcpStream>, session: Option<Session>, limit: usize) -> Rc<Self> {
        let tls = session.map(Channel::Server);
        Self::over(socket, tls, Buffers::new(Side::Server, Vec::new(), Vec::new()), limit)
    }

    /// A wire over a socket that this process opened, in the role of a client: what it sends is masked, and what it
    /// reads is not. Begins with bytes already read and bytes still to be sent, and takes messages of up to `limit`
    /// bytes; what is unfinished is bounded by that, and charged to no budget.
    pub fn client(
        socket: Async<TcpStream>,
        session: Option<ClientSession>,
        input: Vec<u8>,
        output: Vec<u8>,
        limit: usize,
    ) -> Rc<Self> {
        let tls = session.map(Channel::Client);
        Self::over(socket, tls, Buffers::new(Side::Client, input, output), limit)
    }

    fn over(socket: Async<TcpStream>, tls: Option<Channel>, buffers: Buffers, limit: usize) -> Rc<Self> {
        Rc::new_cyclic(|me| Self {
            socket,
            tls: tls.map(|tls| Box::new(RefCell::new(tls))),
            buffers: RefCell::new(buffers),
            reader: Cell::new(None),
            room: Cell::new(None),
            limit: Cell::new(limit),
            no_room: Cell::new(false),
            close: RefCell::new(None),
            source: Cell::new(None),
            charge: RefCell::default(),
            tick: Cell::default(),
            me: me.clone(),
        })
    }

    /// The source of the connection: the peer's address, until another is [set](Self::set_source).
    pub fn source(&self) -> Source {
        self.source.get().unwrap_or_else(|| {
            let peer = self.socket.get_ref().peer_addr();
            let source = Source::of(peer.map_or(IpAddr::from([0, 0, 0, 0]), |at| at.ip()));
            self.source.set(Some(source));
            source
        })
    }

    /// The source that what it holds is charged to.
    pub fn set_source(&self, source: Source) {
        self.source.set(Some(source));
    }

    /// Charges the bytes of an unfinished message beyond `free` to `budget`, in place of any other. A connection that
    /// has not attached may send `whole` bytes in all.
    ///
    /// # Errors
    /// [`ReadError::NoRoom`].
    pub fn charge(&self, budget: &Rc<Budget>, free: usize, whole: usize) -> Result<(), ReadError> {
        // The one before is given up first, so that nothing is charged twice.
        *self.charge.borrow_mut() = Charge::default();
        *self.charge.borrow_mut() = Charge::new(budget, free, whole);
        self.recharge()
    }

    /// Charges what it holds now.
    fn recharge(&self) -> Result<(), ReadError> {
        let held = self.buffers.borrow().input.len();
        self.charge.borrow_mut().hold(held, || self.holder())
    }

    /// Who holds what is charged, and on whose account.
    fn holder(&self) -> (Source, Weak<dyn MakeRoom>) {
        (self.source(), self.me.clone())
    }

    /// The connection has attached: messages of up to `limit` bytes, and unfinished ones charged to `budget`.
    pub fn attach(&self, limit: usize, budget: &Rc<Budget>) {
        self.limit.set(limit);
        self.tick.set(Tick::default());
        if self.charge(budget, limits::MESSAGE_FREE, usize::MAX).is_err() {
            self.no_room.set(true);
        }
    }

    /// Ends a tick and returns the activity since the one before.
    pub fn tick(&self) -> Tick {
        let b = self.buffers.borrow();
        let now = self.tick.get();
        let next = Tick {
            received: false,
            unfinished: if b.input.is_empty() { 0 } else { now.unfinished.saturating_add(1) },
            stalled: if b.unsent() == 0 { 0 } else { now.stalled.saturating_add(1) },
        };
        self.tick.set(next);
        Tick { received: now.received, ..next }
    }

    /// Ends the connection without a word: nothing more is read or sent, and its task sees the end.
    pub fn abandon(&self) {
        let _ = self.socket.get_ref().shutdown(std::net::Shutdown::Both);
    }

    /// Socket of the connection.
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

    /// The unread and the unsent bytes, as they are to be carried over to another [`Wire`]. A message that
    /// is only half handed out (a control frame stood within it) is unread from its start.
    pub fn copy(&self) -> (Vec<u8>, Vec<u8>) {
        let b = self.buffers.borrow();
        (b.input.clone(), b.output[b.written..].to_vec())
    }

    /// Lends the input and the output bytes.
    pub(crate) fn with_buffers<T>(&self, look: impl FnOnce(&[u8], &[u8]) -> T) -> T {
        let b = self.buffers.borrow();
        look(&b.input, &b.output[b.written..])
    }

    /// Whether both buffers are empty, and the kernel alone has the rest to do.
    pub fn is_settled(&self) -> bool {
        let b = self.buffers.borrow();
        self.tls.is_none() && b.input.is_empty() && b.unsent() == 0
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

    /// Lends the bytes that were read and not dropped yet.
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

    /// Counts the bytes that were handed out and not dropped yet.
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

    /// The next message.
    ///
    /// # Errors
    /// [`ReadError`]; nothing more is to be read then.
    pub fn poll_message(&self, cx: &Context<'_>) -> Poll<Result<Message, ReadError>> {
        loop {
            if self.no_room.get() {
                return Poll::Ready(Err(ReadError::NoRoom));
            }
            if let Some(message) = self.take_message()? {
                return Poll::Ready(Ok(message));
            }
            if ready!(self.poll_charged(cx))? == 0 {
                return Poll::Ready(Err(ReadError::Gone));
            }
        }
    }

    fn take_message(&self) -> Result<Option<Message>, ReadError> {
        let mut b = self.buffers.borrow_mut();
        let b = &mut *b;
        if b.input.is_empty() {
            return Ok(None);
        }
        let message = b.scan.take(&mut b.input, self.limit.get())?;
        if message.is_some() {
            if b.input.is_empty() {
                b.input = Vec::new();
            }
            self.tick.set(Tick { unfinished: 0, ..self.tick.get() });
            self.charge.borrow_mut().hold(b.input.len(), || self.holder())?;
        }
        Ok(message)
    }

    /// Reads more, charged; ready with how much came, 0 at the end.
    fn poll_charged(&self, cx: &Context<'_>) -> Poll<Result<usize, ReadError>> {
        CHUNK.with_borrow_mut(|chunk| {
            let n = ready!(self.poll_some(cx, chunk)).map_err(|_| ReadError::Gone)?;
            let held = self.buffers.borrow().input.len() + n;
            let mut charge = self.charge.borrow_mut();
            charge.read(n, self.limit.get())?;
            charge.hold(held, || self.holder())?;
            let mut b = self.buffers.borrow_mut();
            let b = &mut *b;
            // Grows by doubling, but never beyond the end of the frame that is known.
            let room = b.input.capacity();
            if held > room {
                let more = held.max((2 * room).min(b.scan.expected())) - b.input.len();
                b.input.reserve_exact(more);
            }
            b.input.extend_from_slice(&chunk[..n]);
            self.tick.set(Tick { received: true, ..self.tick.get() });
            Poll::Ready(Ok(n))
        })
    }
}

impl MakeRoom for Wire {
    fn make_room(&self) {
        self.no_room.set(true);
        let mut b = self.buffers.borrow_mut();
        (b.input, b.taken, b.scan) = (Vec::new(), 0, Scan::new(b.scan.side()));
        drop(b);
        *self.charge.borrow_mut() = Charge::default();
        self.wake();
    }
}
