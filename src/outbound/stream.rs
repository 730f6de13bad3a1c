//! An open connection to a peer, with or without TLS, and its time-outs.

use super::Limits;
use crate::{
    reactor::{Async, Timer},
    tls::ClientSession,
};
use smol::io::{AsyncRead, AsyncWrite};
use std::{
    cell::{Cell, RefCell},
    fmt,
    future::Future,
    io,
    net::TcpStream,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

/// The time-out that expired.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Expired {
    /// No byte was sent or received for this time.
    Idle(Duration),
    /// The whole request took longer than this.
    Deadline(Duration),
}

impl fmt::Display for Expired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle(time) => write!(f, "nothing moved for {time:?}"),
            Self::Deadline(time) => write!(f, "it was not done within {time:?}"),
        }
    }
}

impl std::error::Error for Expired {}

/// The time-outs of a connection.
pub(super) struct Timeouts {
    idle: Option<Duration>,
    /// Only what the peer sends counts as a sign of life.
    reads_only: Cell<bool>,
    moved: Cell<Instant>,
    deadline: Cell<Option<(Instant, Duration)>>,
    timer: RefCell<Option<(Instant, Timer)>>,
}

impl Timeouts {
    fn new(limits: &Limits) -> Rc<Self> {
        Rc::new(Self {
            idle: limits.idle,
            reads_only: Cell::new(false),
            moved: Cell::new(Instant::now()),
            deadline: Cell::default(),
            timer: RefCell::default(),
        })
    }

    /// Begins an exchange that may take `limit`.
    pub(super) fn start(&self, limit: Option<Duration>) {
        let now = Instant::now();
        self.moved.set(now);
        self.deadline.set(limit.and_then(|limit| Some((now.checked_add(limit)?, limit))));
        self.timer.take();
    }

    /// Counts only what the peer sends as a sign of life.
    pub(super) fn count_reads_only(&self) {
        self.reads_only.set(true);
    }

    /// An error once the deadline is over, however busy the peer is.
    fn check(&self) -> io::Result<()> {
        match self.deadline.get() {
            Some((at, limit)) if Instant::now() >= at => {
                Err(io::Error::new(io::ErrorKind::TimedOut, Expired::Deadline(limit)))
            }
            _ => Ok(()),
        }
    }

    /// Ready, with an error, once a time is over.
    pub(super) fn poll_expired(&self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            let idle =
                self.idle.and_then(|idle| Some((self.moved.get().checked_add(idle)?, Expired::Idle(idle))));
            let deadline = self.deadline.get().map(|(at, limit)| (at, Expired::Deadline(limit)));
            let next = idle.into_iter().chain(deadline).min_by_key(|(at, _)| *at);
            let Some((at, expired)) = next else { return Poll::Pending };
            let left = at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, expired));
            }
            {
                let mut timer = self.timer.borrow_mut();
                // One that rings too early is cheaper than a new one for each byte.
                let (_, timer) = match &mut *timer {
                    Some(set) if set.0 <= at => set,
                    other => other.insert((at, Timer::after(left))),
                };
                ready!(Pin::new(timer).poll(cx));
            }
            self.timer.borrow_mut().take();
        }
    }
}

/// An open connection to a peer.
pub struct Stream {
    socket: Async<TcpStream>,
    tls: Option<Box<ClientSession>>,
    timeouts: Rc<Timeouts>,
}

impl Stream {
    pub(super) fn new(socket: Async<TcpStream>, tls: Option<ClientSession>, limits: &Limits) -> Self {
        Self { socket, tls: tls.map(Box::new), timeouts: Timeouts::new(limits) }
    }

    pub(super) fn timeouts(&self) -> &Rc<Timeouts> {
        &self.timeouts
    }

    /// The socket and its TLS, for one that keeps its own time.
    pub(super) fn into_parts(self) -> (Async<TcpStream>, Option<ClientSession>) {
        (self.socket, self.tls.map(|tls| *tls))
    }

    /// Ready once the TLS handshake is done, or at once without TLS.
    pub(super) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(tls) = &mut self.tls else { return Poll::Ready(Ok(())) };
        let done = self.socket.poll_with(cx, |socket| tls.handshake(socket));
        if done.is_pending() && tls.wants_write() {
            self.socket.wait_writable(cx);
        }
        done
    }

    /// Waits, unless a time is over.
    fn wait<T>(&self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        self.timeouts.poll_expired(cx).map(Err)
    }

    fn flush_tls(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(tls) = &mut self.tls else { return Poll::Ready(Ok(())) };
        let before = tls.wants_write();
        match tls.flush(self.socket.get_ref()) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                self.socket.wait_writable(cx);
                self.wait(cx)
            }
            done => {
                if before && !self.timeouts.reads_only.get() {
                    self.timeouts.moved.set(Instant::now());
                }
                Poll::Ready(done)
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.timeouts.check()?;
        let read = match &mut this.tls {
            None => this.socket.poll_with(cx, |mut socket| io::Read::read(&mut socket, out)),
            Some(tls) => this.socket.poll_with(cx, |socket| tls.read(socket, out)),
        };
        match read {
            Poll::Ready(done) => {
                this.timeouts.moved.set(Instant::now());
                Poll::Ready(done)
            }
            Poll::Pending => {
                if this.tls.as_ref().is_some_and(|tls| tls.wants_write()) {
                    this.socket.wait_writable(cx);
                }
                this.wait(cx)
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.timeouts.check()?;
        let written = loop {
            let written = match &mut this.tls {
                None => io::Write::write(&mut this.socket.get_ref(), bytes),
                Some(tls) => tls.write(this.socket.get_ref(), bytes),
            };
            match written {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                written => break written,
            }
        };
        match written {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                this.socket.wait_writable(cx);
                this.wait(cx)
            }
            done => {
                if !this.timeouts.reads_only.get() {
                    this.timeouts.moved.set(Instant::now());
                }
                Poll::Ready(done)
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flush_tls(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(tls) = &mut self.tls {
            tls.end();
        }
        ready!(self.flush_tls(cx))?;
        match self.socket.get_ref().shutdown(std::net::Shutdown::Write) {
            // The peer was faster.
            Err(e) if e.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            done => Poll::Ready(done),
        }
    }
}
