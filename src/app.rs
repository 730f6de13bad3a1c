//! The parts of a running gateway. `gateway::run` alone assembles them; methods, the handshake and the
//! hand-over get the whole, and use the parts they need.

use crate::{
    admission::Admission,
    agents::Runs,
    auth::{KnownKeys, Limiter, identity::Identity, limiter::Origin},
    config::{Running, Settings},
    devices::Devices,
    gateway::SameForAll,
    http::{Site, join::Joins},
    hub::{Boot, Hub, Restarts},
    journal::Journal,
    outbound::Pool,
    protocol::TICK_MS,
    reactor::Tasks,
    reload::Reloads,
    sessions::Sessions,
    upstream::Relay,
};
use std::{
    cell::{Cell, RefCell},
    future::Future,
    rc::Rc,
    time::{Duration, Instant},
};

/// A running gateway.
pub struct App {
    /// Boot id, host name and clock of this start.
    pub(crate) boot: Boot,
    /// Attached connections, their events and invocations.
    pub hub: Hub,
    pub(crate) devices: Rc<Devices>,
    pub(crate) running: Rc<Running>,
    pub(crate) reloads: Rc<Reloads>,
    pub(crate) restarts: Rc<Restarts>,
    /// Conversations, where no gateway stands behind this one.
    pub(crate) sessions: Rc<Sessions>,
    /// Messages that a model is to answer.
    pub(crate) runs: Rc<Runs>,
    /// Clients' links to the gateway behind this one.
    pub(crate) relay: Rc<Relay>,
    /// Limits and randomness of the handshake.
    pub(crate) handshakes: Handshakes,
    pub(crate) ticks: Ticks,
    /// The budgets that connections share.
    pub(crate) admission: Rc<Admission>,
    /// Files of the Control UI.
    pub(crate) site: Site,
    /// Join codes that were not used.
    pub(crate) joins: Joins,
    /// Idle HTTP connections to the gateway behind this one.
    pub(crate) pool: Pool,
    /// Key pair that `gateway.identity.get` shows and that setup codes name.
    pub(crate) identity: Identity,
    pub(crate) journal: &'static Journal,
    /// Notices of the store from when it was opened.
    pub(crate) store_notices: Vec<String>,
    /// The tasks of the one thread.
    pub(crate) tasks: Tasks,
}

/// State shared by all handshakes.
pub(crate) struct Handshakes {
    /// Wrong guesses of the shared secret.
    pub(crate) limiter: Rc<RefCell<Limiter>>,
    /// Keys of devices that were here of late.
    pub(crate) keys: RefCell<KnownKeys>,
    /// What all are sent in `hello-ok`.
    pub(crate) hello: RefCell<Option<Rc<SameForAll>>>,
}

impl Handshakes {
    /// Time for which guesses of the shared secret from `origin` stay refused.
    pub(crate) fn locked(&self, origin: Origin) -> Option<Duration> {
        self.limiter.borrow().locked(origin, Instant::now())
    }

    /// Counts a wrong guess of the shared secret, and says so where it locks its origin.
    pub(crate) fn count_guess(&self, origin: Origin, guess: &str) {
        if let Some(lock) = self.limiter.borrow_mut().fail(origin, guess, Instant::now()) {
            let (ip, lock) = (origin.ip, lock.as_secs());
            log::warn!("too many different wrong secrets from {ip}: refused for {lock} s");
        }
    }
}

/// The keepalive's timer.
pub(crate) struct Ticks {
    /// Time of the next tick.
    pub(crate) next: Cell<Instant>,
    /// Number of ticks that came late, since something held the thread.
    pub(crate) late: Cell<u64>,
}

impl Default for Ticks {
    fn default() -> Self {
        Self { next: Cell::new(Instant::now() + Duration::from_millis(TICK_MS)), late: Cell::new(0) }
    }
}

impl App {
    pub(crate) fn settings(&self) -> Rc<Settings> {
        self.running.get()
    }

    /// Runs `task` until it ends.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.tasks.spawn(task);
    }

    /// Notices for the operator, one line each; shown by `status`.
    pub(crate) fn notices(&self) -> Vec<String> {
        let mut notices = self.reloads.notices();
        notices.extend(self.store_notices.iter().cloned());
        notices.extend(self.sessions.notices());
        notices
    }

    /// Whether everything under way can be continued by another process image.
    pub(crate) fn at_rest(&self) -> bool {
        self.hub.at_rest() && self.devices.store.is_settled() && self.sessions.is_settled()
    }
}
