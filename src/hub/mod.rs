//! What is attached now: connections, sessions, events, presence and invocations under way.
//!
//! [`Hub`] is the one thing that every connection's task and every method shares. One thread, so plain cells.
//! Presence and routes belong to a connection's id, never to a device: an old socket that closes late cannot
//! take its successor down.

pub mod activity;
pub mod conn;
pub mod events;
pub mod invocations;
pub mod memory;
pub mod packed;
pub mod pending;
pub mod presence;
pub mod restarts;
pub mod session;

pub use conn::{Conn, ConnId};
pub use events::EventQueue;
pub use invocations::{Asked, Invocation, Invocations, InvokeResult, SavedInvocation};
pub use memory::Memory;
pub use packed::PackedList;
pub use pending::{Challenged, PendingConn, PendingConns, PendingGuard, SavedPending, Stage};
pub use presence::listed as is_listed;
pub use restarts::{Proof, Proven, Restart, Restarts, Told};
pub use session::{Saved, Session};

use self::activity::Seen;
use crate::{
    auth::{Limiter, Lost, Nonces, identity::Identity},
    clock::Clock,
    config::Settings,
    journal::Journal,
    net::{
        Budget,
        listen::{Bind, Doors, ListenError},
    },
    protocol::{DeviceId, ErrorShape, Event, Json, RequestId, Role, TICK_MS, hex},
    reload::Reloads,
    store::{ChangeError, Registry, Store},
};
use smol::{LocalExecutor, Task};
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    future::{Future, poll_fn},
    rc::Rc,
    task::{Poll, Waker},
    time::{Duration, Instant},
};

/// This start of the gateway.
#[derive(Clone, Debug)]
pub struct Boot {
    /// Random; part of every connection's id.
    pub number: u32,
    /// The same, as clients see it.
    pub id: String,
    /// The host's name.
    pub host: String,
    /// When it was.
    pub clock: Clock,
}

impl Boot {
    /// Now.
    ///
    /// # Errors
    /// When the kernel has no randomness to give.
    pub fn now(clock: Clock) -> Result<Self, getrandom::Error> {
        let number = getrandom::u32()?;
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Ok(Self { number, id: format!("{number:08x}"), host, clock })
    }
}

/// What is shared.
pub struct Hub {
    /// This start.
    pub boot: Boot,
    /// The token store.
    pub store: Store,
    /// The gateway's own key.
    pub identity: Identity,
    /// The journal.
    pub journal: &'static Journal,
    /// Invocations under way.
    pub invocations: Invocations,
    /// What devices are to sign.
    pub nonces: Nonces,
    /// Failures to guess the shared secret.
    pub limiter: RefCell<Limiter>,
    /// What unattached connections may hold.
    pub budget: Rc<Budget>,
    /// What reloading the configuration knows.
    pub reloads: Reloads,
    /// Who is connected without being attached.
    pub pending_conns: Rc<PendingConns>,
    /// The restarts that were handed over.
    pub restarts: Rc<Restarts>,
    /// When the next tick is due.
    pub next_tick: Cell<Instant>,
    /// What the store has to tell.
    store_notices: Vec<String>,
    /// Pulses that came late: something held the thread.
    pub late_ticks: Cell<u64>,
    executor: Rc<LocalExecutor<'static>>,
    settings: RefCell<Rc<Settings>>,
    doors: RefCell<Option<Rc<dyn Doors>>>,
    pub(crate) conns: RefCell<BTreeMap<ConnId, Rc<Conn>>>,
    pub(crate) next: Cell<u64>,
    pub(crate) presence_version: Cell<u64>,
    pub(crate) presence_pending: Cell<bool>,
    pub(crate) presence: RefCell<(u64, Rc<Json>)>,
    pub(crate) contacts: RefCell<HashMap<RequestId, Instant>>,
    pub(crate) seen: RefCell<HashMap<DeviceId, Seen>>,
    pub(crate) unknown_requests: Cell<(u32, Option<Instant>)>,
    pub(crate) event_queue: EventQueue,
    leaving: Cell<bool>,
    holding: Cell<bool>,
    held: RefCell<Vec<Waker>>,
}

impl Hub {
    /// What unattached connections may hold together, bytes.
    const BUDGET: usize = 4 << 20;
    /// A hub without connections.
    pub fn new(
        boot: Boot,
        store: Store,
        settings: Settings,
        store_notices: Vec<String>,
        journal: &'static Journal,
        executor: Rc<LocalExecutor<'static>>,
    ) -> Rc<Self> {
        journal.set_levels(settings.levels());
        Rc::new(Self {
            identity: Identity::from_seed(&store.key().identity_seed()),
            limiter: RefCell::new(Limiter::new(settings.limits)),
            boot,
            store,
            journal,
            invocations: Invocations::default(),
            nonces: Nonces::default(),
            budget: Budget::new(Self::BUDGET),
            reloads: Reloads::following(&settings),
            pending_conns: Rc::default(),
            restarts: Rc::default(),
            next_tick: Cell::new(Instant::now() + Duration::from_millis(TICK_MS)),
            store_notices,
            late_ticks: Cell::new(0),
            executor,
            settings: RefCell::new(Rc::new(settings)),
            doors: RefCell::default(),
            conns: RefCell::default(),
            next: Cell::new(1),
            presence_version: Cell::new(1),
            presence_pending: Cell::new(false),
            presence: RefCell::new((0, Rc::new(Json::null()))),
            contacts: RefCell::default(),
            seen: RefCell::default(),
            unknown_requests: Cell::new((0, None)),
            event_queue: EventQueue::default(),
            leaving: Cell::new(false),
            holding: Cell::new(false),
            held: RefCell::default(),
        })
    }

    /// What the gateway runs with.
    pub fn settings(&self) -> Rc<Settings> {
        self.settings.borrow().clone()
    }

    /// Runs with `settings` from now on.
    pub(crate) fn set_settings(&self, settings: Settings) {
        self.journal.set_levels(settings.levels());
        *self.settings.borrow_mut() = Rc::new(settings);
    }

    /// The gateway listens on `doors`.
    pub fn set_doors(&self, doors: Rc<dyn Doors>) {
        *self.doors.borrow_mut() = Some(doors);
    }

    /// Listens elsewhere; returns the port. See [`Doors::open`].
    ///
    /// # Errors
    /// [`ListenError`].
    pub(crate) fn listen(&self, bind: Bind, port: u16) -> Result<u16, ListenError> {
        let doors = self.doors.borrow().clone();
        doors.map_or(Ok(port), |doors| doors.open(bind, port))
    }

    /// What the operator should know, one line each; shown by `status`.
    pub fn notices(&self) -> Vec<String> {
        let settings = self.settings();
        let doors = self.doors.borrow().as_ref().map(|doors| doors.notices()).unwrap_or_default();
        let told = self.reloads.notices().chain(settings.lines()).chain(doors);
        told.chain(self.store_notices.iter().cloned()).collect()
    }

    /// Runs a task that ends when it is dropped.
    pub fn task(&self, task: impl Future<Output = ()> + 'static) -> Task<()> {
        self.executor.spawn(task)
    }

    /// Runs a task of its own.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.executor.spawn(task).detach();
    }

    /// The devices, as they stand on disk.
    pub fn registry(&self) -> Rc<Registry> {
        self.store.registry()
    }

    /// Changes the devices; done when it is on disk.
    ///
    /// # Errors
    /// `change`'s own, or `UNAVAILABLE` when the disk refuses. Nothing has changed then.
    pub async fn change<T>(
        &self,
        change: impl FnOnce(&mut Registry) -> Result<T, ErrorShape>,
    ) -> Result<T, ErrorShape> {
        let done = self.store.change(|registry| {
            let done = change(registry)?;
            if registry.is_dirty() {
                self.write_seen(registry);
            }
            Ok(done)
        });
        done.await.map_err(|e| match e {
            ChangeError::Refused(error) => error,
            ChangeError::Disk(disk) => {
                log::error!("devices: not saved, nothing changed: {disk}");
                ErrorShape::later(format!("not saved, nothing changed: {disk}"), 5000)
            }
        })
    }

    /// Lets the live connections of a device have what is approved for it now.
    pub fn regrant(&self, device: &DeviceId) {
        let Some(record) = self.registry().device(device).cloned() else { return };
        for conn in self.conns_of(device) {
            if let Some(grant) = record.grant(conn.role()).filter(|g| g.revoked_ms.is_none()) {
                conn.regrant(grant.scopes);
            }
        }
    }

    /// The next connection's id.
    pub fn next_id(&self) -> ConnId {
        let number = self.next.get();
        self.next.set(number + 1);
        ConnId { boot: self.boot.number, number }
    }

    /// A connection attached.
    pub fn join(&self, conn: &Rc<Conn>) {
        self.conns.borrow_mut().insert(conn.id(), conn.clone());
    }

    /// A connection is gone.
    pub fn leave(self: &Rc<Self>, conn: &Rc<Conn>) {
        self.conns.borrow_mut().remove(&conn.id());
        self.invocations.gone(conn.id());
        if let Some(device) = conn.device() {
            self.saw(device, None);
        }
        if presence::listed(conn) {
            self.presence_changed();
        }
    }

    /// Every connection, the oldest first.
    pub fn conns(&self) -> Vec<Rc<Conn>> {
        self.conns.borrow().values().cloned().collect()
    }

    /// Those that another process image can go on with, and who is not attached.
    pub fn carried(&self) -> (Vec<Rc<Conn>>, Vec<Rc<PendingConn>>) {
        let (mut conns, mut pending_conns) = (self.conns(), self.pending_conns.all());
        conns.retain(|conn| !conn.wire.is_tls());
        pending_conns.retain(|pending| !pending.wire.is_tls());
        (conns, pending_conns)
    }

    /// Those that it cannot go on with: the kernel knows nothing of their TLS.
    pub fn not_carried(&self) -> Vec<Rc<Conn>> {
        self.conns.borrow().values().filter(|conn| conn.wire.is_tls()).cloned().collect()
    }

    /// How many connections there are.
    pub fn conn_count(&self) -> usize {
        self.conns.borrow().len()
    }

    /// The connections of a device, the newest last.
    pub fn conns_of(&self, device: &DeviceId) -> Vec<Rc<Conn>> {
        self.conns.borrow().values().filter(|c| c.device() == Some(*device)).cloned().collect()
    }

    /// The newest connection of a device as a node.
    pub fn node(&self, device: &DeviceId) -> Option<Rc<Conn>> {
        self.conns_of(device).into_iter().rfind(|c| c.role() == Role::Node && c.wire.closing().is_none())
    }

    /// Closes the connections of a device, or those of one of its roles, and says why.
    pub fn close_device(&self, device: &DeviceId, role: Option<Role>, why: Lost) -> usize {
        let (code, reason) = why.close();
        let conns = self.conns_of(device);
        let conns = conns.iter().filter(|c| role.is_none_or(|role| c.role() == role));
        conns.map(|c| c.wire.close(code, reason)).count()
    }

    /// Sends an event to one connection, without a place in its sequence, as OpenClaw does for nodes.
    pub fn tell(&self, conn: &conn::Conn, event: Event, payload: &Json) {
        conn.send(&format!(r#"{{"type":"event","event":"{}","payload":{}}}"#, event.as_str(), payload.0));
    }

    /// Eight digits that tell two secrets apart without giving either away: keyed, so that they help
    /// nobody to guess.
    pub fn fingerprint(&self, secret: &str) -> String {
        hex(&self.store.key().fingerprint(secret))
    }

    /// The revision of a configuration as clients see it, by its digest.
    pub fn revision(&self, digest: &[u8; 32]) -> String {
        self.store.key().revision(digest)
    }

    /// From now on nobody is let in.
    pub fn begin_leaving(&self) {
        self.leaving.set(true);
    }

    /// Whether nothing is under way that another process image could not go on with.
    pub fn at_rest(&self) -> bool {
        let under_way: usize = self.conns.borrow().values().map(|c| c.in_flight() as usize).sum();
        under_way == self.invocations.waiting() && self.store.is_settled() && self.event_queue.is_drained()
    }

    /// From now on nothing new is begun; or goes on.
    pub fn hold(&self, hold: bool) {
        self.holding.set(hold);
        if !hold {
            self.conns.borrow().values().for_each(|c| c.wire.wake());
            self.held.take().into_iter().for_each(Waker::wake);
        }
    }

    /// Whether nothing new is to be begun.
    pub fn holding(&self) -> bool {
        self.holding.get()
    }

    /// Waits as long as nothing new is to be begun.
    pub async fn let_go(&self) {
        poll_fn(|cx| {
            if !self.holding() {
                return Poll::Ready(());
            }
            self.held.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Whether the gateway is about to go.
    pub fn is_leaving(&self) -> bool {
        self.leaving.get()
    }
}
