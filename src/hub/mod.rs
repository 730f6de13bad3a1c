//! The hub: attached connections, their sessions, events, presence and invocations under way.
//!
//! Each room owns its state; [`Hub`] joins them, and is handed only to who needs several of them.

pub mod conn;
mod connections;
pub mod displays;
pub mod events;
pub mod invocations;
pub mod pending;
pub mod presence;
pub mod restarts;
pub mod session;

pub use conn::{Conn, ConnId, Undelivered};
pub use connections::Connections;
pub use events::{Audience, Events, Listener};
pub use invocations::{Asked, Invocation, Invocations, InvokeResult, SavedInvocation};
pub use pending::{Challenge, Challenged, PendingConn, PendingConns, PendingGuard, SavedPending, Stage};
pub use presence::{Presence, listed as is_listed};
pub use restarts::{Preflight, Restart, RestartReport, Restarts};
pub use session::{SavedConn, SavedSocket, Session, Topic};

use crate::{admission::Admission, clock::Clock, reactor::Tasks};
use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};

/// Facts about this start of the gateway.
#[derive(Clone, Debug)]
pub struct Boot {
    /// Random; part of every connection's id.
    pub number: u32,
    /// Boot id as clients see it.
    pub id: String,
    /// Name of the host.
    pub host: String,
    /// Clock that began with this start.
    pub clock: Clock,
}

impl Boot {
    /// Now.
    ///
    /// # Errors
    /// When the kernel has no randomness to give.
    pub fn now(clock: Clock) -> Result<Self, getrandom::Error> {
        let number = getrandom::u32()?;
        let host = crate::host::name();
        Ok(Self { number, id: format!("{number:08x}"), host, clock })
    }
}

/// The rooms of what is attached now.
pub struct Hub {
    /// Attached connections, by id.
    pub conns: Rc<Connections>,
    /// Events on their way to attached connections.
    pub events: Rc<Events>,
    pub(crate) presence: Rc<Presence>,
    /// Invocations that wait for a node.
    pub(crate) invocations: Invocations,
    /// The connections that are not attached.
    pub(crate) pending_conns: Rc<PendingConns>,
    stopping: Cell<bool>,
    paused: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

impl Hub {
    /// Makes a hub without connections.
    pub(crate) fn new(boot: Boot, admission: &Admission, tasks: &Tasks) -> Self {
        let conns = Connections::new(boot.number);
        let events = Events::new(&conns, tasks);
        Self {
            presence: Presence::new(boot, &conns, &events, tasks),
            conns,
            events,
            invocations: Invocations::default(),
            pending_conns: PendingConns::new(admission),
            stopping: Cell::new(false),
            paused: Cell::new(false),
            waiting: RefCell::default(),
        }
    }

    /// Adds a connection that attached.
    pub(crate) fn join(&self, conn: &Rc<Conn>) {
        self.conns.insert(conn);
    }

    /// Removes a closed connection, with the invocations that wait for it.
    pub(crate) fn leave(&self, conn: &Rc<Conn>) {
        self.conns.remove(conn.id());
        self.invocations.gone(conn.id());
        if presence::listed(conn) {
            self.presence.changed();
        }
    }

    /// The connections that a hand-over carries: all but those that speak TLS, of which the kernel knows
    /// nothing.
    pub(crate) fn carried(&self) -> (Vec<Rc<Conn>>, Vec<Rc<PendingConn>>) {
        let mut pending_conns = self.pending_conns.all();
        pending_conns.retain(|pending| !pending.wire.is_tls());
        (self.conns.select(|conn| !conn.wire.is_tls()), pending_conns)
    }

    /// The attached connections that a hand-over does not carry.
    pub(crate) fn not_carried(&self) -> Vec<Rc<Conn>> {
        self.conns.select(|conn| conn.wire.is_tls())
    }

    /// Whether every request under way can be continued by another process image, and every event is sent.
    pub(crate) fn at_rest(&self) -> bool {
        self.conns.in_flight() == self.invocations.waiting()
            && self.pending_conns.requests() == 0
            && self.events.is_drained()
    }

    /// Refuses whoever attaches from now on, since the gateway stops.
    pub(crate) fn begin_stop(&self) {
        self.stopping.set(true);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Begins no new request from now on, or does so again.
    pub(crate) fn pause(&self, pause: bool) {
        self.paused.set(pause);
        if !pause {
            self.pending_conns.hold(false);
            self.conns.wake();
            self.waiting.take().into_iter().for_each(Waker::wake);
        }
    }

    /// Whether no new request is begun.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.get()
    }

    /// Waits until new requests are begun.
    pub(crate) async fn unpaused(&self) {
        poll_fn(|cx| {
            if !self.is_paused() {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
