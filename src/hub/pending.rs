//! Pending connections: those that have not attached yet, or are closed and read why. Kept here so that a hand-over
//! finds them; what each waits for is its task's business.

use super::SavedSocket;
use crate::{
    admission::{Admission, Budget, MakeRoom, Permit, Source},
    net::{Peer, Wire, http::Phase, wire::Close},
    packed::{read_part, take_part, write_part},
    protocol::RequestFrame,
    reactor::Async,
    tls::Session,
};
use nanoserde::{DeBin, DeBinErr, SerBin};
use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::BTreeMap,
    net::{SocketAddr, TcpStream},
    ops::Deref,
    rc::{Rc, Weak},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

/// Stage of a connection that is not attached.
#[derive(Clone, Debug, SerBin, DeBin)]
pub enum Stage {
    /// Waits for the head of a request: the first, or the next.
    Head,
    /// Waits for `connect`; the challenge was sent.
    Challenged(Challenged),
    /// Waits for the peer to read the close frame.
    Leaving,
}

/// A connection that was challenged. The clones are one.
#[derive(Clone, Debug)]
pub struct Challenged(Rc<Challenge>);

/// What a connection was challenged with, and its answer.
#[derive(Debug)]
pub struct Challenge {
    /// Address and origin of the peer.
    pub peer: Peer,
    /// Nonce that the device signs.
    pub nonce: String,
    /// The request `connect`, once it arrived and is being judged.
    pub connect: OnceCell<RequestFrame>,
}

impl Challenged {
    /// A challenge without an answer.
    pub fn new(peer: Peer, nonce: String) -> Self {
        Self(Rc::new(Challenge { peer, nonce, connect: OnceCell::new() }))
    }

    /// Restores a challenge, with the text of `connect` if that was being judged: it is judged again. A text that is no
    /// request to this version of the gateway counts as none, and the client runs out of time.
    pub(crate) fn restored(peer: Peer, nonce: String, connect: Option<String>) -> Self {
        let connect = connect.and_then(|text| RequestFrame::parse(text).ok());
        Self(Rc::new(Challenge { peer, nonce, connect: connect.map(OnceCell::from).unwrap_or_default() }))
    }

    /// The text of `connect`, if that is being judged.
    pub(crate) fn connect_text(&self) -> Option<String> {
        self.connect.get().map(|request| request.text().to_owned())
    }
}

impl Deref for Challenged {
    type Target = Challenge;

    fn deref(&self) -> &Challenge {
        &self.0
    }
}

/// A connection that is not attached.
pub struct PendingConn {
    /// The socket and its buffers.
    pub wire: Rc<Wire>,
    /// Address of the peer, if it is known without asking the kernel.
    pub remote: Option<SocketAddr>,
    /// Stage of the connection.
    pub stage: RefCell<Stage>,
    /// Deadline of the stage.
    pub until: Cell<Instant>,
    /// Phase of its plain HTTP.
    pub request: Cell<Phase>,
    refused: Cell<bool>,
    waker: Cell<Option<Waker>>,
    permit: RefCell<Option<Permit>>,
}

impl SerBin for Challenged {
    fn ser_bin(&self, out: &mut Vec<u8>) {
        write_part(out, |out| self.peer.ser_bin(out));
        self.nonce.ser_bin(out);
        self.connect_text().ser_bin(out);
    }
}

impl DeBin for Challenged {
    fn de_bin(at: &mut usize, bytes: &[u8]) -> Result<Self, DeBinErr> {
        let peer = read_part(at, bytes)?;
        let (nonce, connect) = (DeBin::de_bin(at, bytes)?, DeBin::de_bin(at, bytes)?);
        Ok(Self::restored(peer, nonce, connect))
    }
}

/// A pending connection as plain data. Its record is made of parts: the socket, as in
/// [`SavedConn`](super::SavedConn); its stage, time limit and close; the bytes read; the bytes to be sent.
#[derive(Clone, Debug)]
pub struct SavedPending {
    /// Socket, with bytes that were read and not used yet.
    pub socket: SavedSocket,
    /// Stage of the connection.
    pub stage: Stage,
    /// Deadline of the stage, nanoseconds of the monotonic clock.
    pub until_ns: u64,
    /// Bytes read and not yet understood.
    pub input: Vec<u8>,
    /// Bytes that are not sent yet.
    pub output: Vec<u8>,
    /// The end that was asked for.
    pub close: Option<Close>,
}

impl SerBin for SavedPending {
    fn ser_bin(&self, out: &mut Vec<u8>) {
        write_part(out, |out| self.socket.ser_bin(out));
        write_part(out, |out| {
            write_part(out, |out| self.stage.ser_bin(out));
            self.until_ns.ser_bin(out);
            self.close.ser_bin(out);
        });
        write_part(out, |out| out.extend_from_slice(&self.input));
        write_part(out, |out| out.extend_from_slice(&self.output));
    }
}

impl DeBin for SavedPending {
    fn de_bin(at: &mut usize, bytes: &[u8]) -> Result<Self, DeBinErr> {
        let socket = read_part(at, bytes)?;
        let (mut inner, facts) = (0, take_part(at, bytes)?);
        let stage = read_part(&mut inner, facts)?;
        let (until_ns, close) = (DeBin::de_bin(&mut inner, facts)?, DeBin::de_bin(&mut inner, facts)?);
        let (input, output) = (take_part(at, bytes)?.to_vec(), take_part(at, bytes)?.to_vec());
        Ok(Self { socket, stage, until_ns, input, output, close })
    }
}

impl PendingConn {
    /// Time left until the deadline.
    pub fn left(&self) -> Duration {
        self.until.get().saturating_duration_since(Instant::now())
    }

    /// Another `time` from now on, for `stage`.
    pub fn move_on(&self, stage: Stage, time: Duration) {
        if let (Stage::Leaving, Some(permit)) = (&stage, &*self.permit.borrow()) {
            permit.may_leave();
        }
        *self.stage.borrow_mut() = stage;
        let now = Instant::now();
        self.until.set(now.checked_add(time).unwrap_or(now + Duration::from_secs(365 * 86_400)));
    }

    /// Keeps it from making room for others, while its `connect` is judged.
    pub fn stay(&self) {
        if let Some(permit) = &*self.permit.borrow() {
            permit.stay();
        }
    }

    /// Whether a plain HTTP request is under way that only this process image can finish.
    pub fn has_request(&self) -> bool {
        matches!(self.request.get(), Phase::Asked | Phase::Answering)
    }

    /// Ready once its request is to be answered 503.
    pub fn poll_refused(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.refused.get() {
            return Poll::Ready(());
        }
        self.waker.set(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// Saves the connection as it is now. An incomplete answer stays so: its reader is to detect that. With `cookie`
    /// another process finds its socket.
    pub fn save(&self, cookie: bool) -> SavedPending {
        let (mut input, output) = self.wire.copy();
        let mut stage = self.stage.borrow().clone();
        if self.has_request() || self.request.get() == Phase::Ending {
            (stage, input) = (Stage::Leaving, Vec::new());
        }
        SavedPending {
            socket: SavedSocket::of(&self.wire, cookie),
            stage,
            until_ns: crate::clock::ns_of(self.until.get()),
            input,
            output,
            close: self.wire.closing(),
        }
    }
}

impl MakeRoom for PendingConn {
    fn make_room(&self) {
        self.wire.abandon();
    }
}

/// All pending connections.
pub struct PendingConns {
    budget: Rc<Budget>,
    all: RefCell<BTreeMap<u64, Rc<PendingConn>>>,
    next: Cell<u64>,
    /// No plain HTTP request is begun.
    holding: Cell<bool>,
    /// Set once connections under way no longer count.
    given_up: Cell<bool>,
}

/// Keeps a pending connection among the others; it is gone when this is dropped.
pub struct PendingGuard {
    pending_conns: Rc<PendingConns>,
    number: u64,
    /// The pending connection.
    pub pending: Rc<PendingConn>,
}

impl PendingConns {
    /// Size limit of a message on a pending connection, bytes.
    const LIMIT: usize = crate::protocol::MAX_CONNECT_FRAME;

    /// Makes an empty set.
    pub fn new(admission: &Admission) -> Rc<Self> {
        Rc::new(Self {
            budget: admission.pending.clone(),
            all: RefCell::default(),
            next: Cell::new(0),
            holding: Cell::new(false),
            given_up: Cell::new(false),
        })
    }

    /// Admits a connection that may send its head for `time`, with TLS if there is a `session`. `None` if there is no
    /// room for it, and no other connection can make it.
    pub fn welcome(
        self: &Rc<Self>,
        socket: Async<TcpStream>,
        remote: SocketAddr,
        session: Option<Session>,
        time: Duration,
    ) -> Option<PendingGuard> {
        let source = Source::of(remote.ip());
        let wire = Wire::open(socket, session, Self::LIMIT);
        wire.set_source(source);
        let guard = self.add(wire, Some(remote));
        let holder: Weak<PendingConn> = Rc::downgrade(&guard.pending);
        *guard.pending.permit.borrow_mut() = Some(self.budget.enter(source, holder)?);
        guard.pending.move_on(Stage::Head, time);
        Some(guard)
    }

    /// Restores a saved connection over its socket.
    pub fn restore(self: &Rc<Self>, saved: SavedPending, socket: Async<TcpStream>) -> PendingGuard {
        let wire = Wire::new(socket, saved.input, saved.output, Self::LIMIT);
        wire.set_closing(saved.close);
        let guard = self.readmit(&wire);
        *guard.pending.stage.borrow_mut() = saved.stage;
        guard.pending.until.set(crate::clock::instant_of(saved.until_ns));
        guard
    }

    /// Takes back a connection that is closed, until it has read why.
    pub fn leaving(self: &Rc<Self>, wire: &Rc<Wire>, time: Duration) -> PendingGuard {
        let guard = self.readmit(wire);
        guard.pending.move_on(Stage::Leaving, time);
        guard
    }

    /// Admits a restored connection whether there is room or not; others make room for it.
    fn readmit(self: &Rc<Self>, wire: &Rc<Wire>) -> PendingGuard {
        let guard = self.add(wire.clone(), None);
        let holder: Weak<PendingConn> = Rc::downgrade(&guard.pending);
        *guard.pending.permit.borrow_mut() = Some(self.budget.restore(wire.source(), holder));
        guard
    }

    fn add(self: &Rc<Self>, wire: Rc<Wire>, remote: Option<SocketAddr>) -> PendingGuard {
        let number = self.next.get();
        self.next.set(number + 1);
        let (stage, until) = (RefCell::new(Stage::Head), Cell::new(Instant::now()));
        let (request, refused, waker, permit) = Default::default();
        let pending = Rc::new(PendingConn { wire, remote, stage, until, request, refused, waker, permit });
        self.all.borrow_mut().insert(number, pending.clone());
        PendingGuard { pending_conns: self.clone(), number, pending }
    }

    /// Holds back new plain HTTP requests, or lets them begin again and forgets which were given up.
    pub fn hold(&self, hold: bool) {
        self.holding.set(hold);
        if !hold {
            self.given_up.set(false);
            for pending in self.all.borrow().values() {
                pending.refused.set(false);
                pending.waker.take().into_iter().for_each(Waker::wake);
            }
        }
    }

    /// Ready once a plain HTTP request of `pending` may be begun.
    pub fn poll_begin(&self, pending: &PendingConn, cx: &mut Context<'_>) -> Poll<()> {
        if !self.holding.get() {
            return Poll::Ready(());
        }
        pending.waker.set(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// Counts plain HTTP requests under way that only this process image can finish, and that are not given up.
    pub fn requests(&self) -> usize {
        if self.given_up.get() {
            return 0;
        }
        self.all.borrow().values().filter(|pending| pending.has_request()).count()
    }

    /// Gives up on the requests under way: nothing waits for them any more.
    pub fn give_up(&self) {
        self.given_up.set(true);
    }

    /// Answers 503 to requests without an answer yet, and to those on a connection that cannot be handed over; returns
    /// their number.
    pub fn refuse_requests(&self) -> usize {
        let unanswered = |pending: &&Rc<PendingConn>| match pending.request.get() {
            Phase::Asked => true,
            Phase::Waiting => pending.wire.is_tls(),
            _ => false,
        };
        let all = self.all.borrow();
        let refused = all.values().filter(unanswered).map(|pending| {
            pending.refused.set(true);
            pending.waker.take().into_iter().for_each(Waker::wake);
        });
        refused.count()
    }

    /// Counts requests whose answer 503 is not sent yet.
    pub fn refused(&self) -> usize {
        let waits = |pending: &&Rc<PendingConn>| {
            pending.refused.get() && (pending.has_request() || pending.request.get() == Phase::Waiting)
        };
        self.all.borrow().values().filter(waits).count()
    }

    /// Lists all pending connections.
    pub fn all(&self) -> Vec<Rc<PendingConn>> {
        self.all.borrow().values().cloned().collect()
    }
}

impl Drop for PendingGuard {
    fn drop(&mut self) {
        self.pending_conns.all.borrow_mut().remove(&self.number);
    }
}
