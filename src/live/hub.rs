//! The hub: what every connection's task and every method shares. One thread, so plain cells.

use super::{
    Clock, Conn, ConnId, Guest, Guests, Invocations, Journal, News, Reloads, Restarts, conn, presence,
};
use crate::{
    auth::{Limiter, Nonces, identity::Identity},
    config::Settings,
    net::{
        Budget,
        listen::{Bind, Doors, ListenError},
    },
    protocol::{DeviceId, ErrorShape, Event, Json, RequestId, Role, TICK_MS, hex},
    reactor::Timer,
    store::{Book, ChangeError, Display, Store},
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
    pub guests: Rc<Guests>,
    /// The restarts that were handed over.
    pub restarts: Rc<Restarts>,
    /// When the next tick is due.
    pub next_tick: Cell<Instant>,
    /// What the store has to tell.
    store_notices: Vec<String>,
    /// Pulses that came late: something held the thread.
    pub late_pulses: Cell<u64>,
    executor: Rc<LocalExecutor<'static>>,
    settings: RefCell<Rc<Settings>>,
    doors: RefCell<Option<Rc<dyn Doors>>>,
    pub(super) conns: RefCell<BTreeMap<ConnId, Rc<Conn>>>,
    pub(super) next: Cell<u64>,
    pub(super) presence_version: Cell<u64>,
    pub(super) presence_due: Cell<bool>,
    presence: RefCell<(u64, Rc<Json>)>,
    pub(super) contacts: RefCell<HashMap<RequestId, Instant>>,
    pub(super) seen: RefCell<HashMap<DeviceId, Seen>>,
    pub(super) strangers: Cell<(u32, Option<Instant>)>,
    pub(super) news: News,
    leaving: Cell<bool>,
    holding: Cell<bool>,
    held: RefCell<Vec<Waker>>,
}

#[derive(Default)]
pub(super) struct Seen {
    pub ms: u64,
    pub display: Option<Display>,
}

impl Hub {
    /// What unattached connections may hold together, bytes.
    const BUDGET: usize = 4 << 20;
    /// Requests of unknown devices in a row; one more every two seconds.
    const STRANGERS: u32 = 64;
    /// Clients listed in `hello-ok`; `system-presence` lists more.
    const LISTED: usize = 64;

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
            guests: Rc::default(),
            restarts: Rc::default(),
            next_tick: Cell::new(Instant::now() + Duration::from_millis(TICK_MS)),
            store_notices,
            late_pulses: Cell::new(0),
            executor,
            settings: RefCell::new(Rc::new(settings)),
            doors: RefCell::default(),
            conns: RefCell::default(),
            next: Cell::new(1),
            presence_version: Cell::new(1),
            presence_due: Cell::new(false),
            presence: RefCell::new((0, Rc::new(Json::null()))),
            contacts: RefCell::default(),
            seen: RefCell::default(),
            strangers: Cell::new((0, None)),
            news: News::default(),
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
    pub(super) fn set_settings(&self, settings: Settings) {
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
    pub(super) fn listen(&self, bind: Bind, port: u16) -> Result<u16, ListenError> {
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
    pub fn book(&self) -> Rc<Book> {
        self.store.book()
    }

    /// Changes the devices; done when it is on disk.
    ///
    /// # Errors
    /// `change`'s own, or `UNAVAILABLE` when the disk refuses. Nothing has changed then.
    pub async fn change<T>(
        &self,
        change: impl FnOnce(&mut Book) -> Result<T, ErrorShape>,
    ) -> Result<T, ErrorShape> {
        let done = self.store.change(|book| {
            let done = change(book)?;
            if book.is_dirty() {
                self.write_seen(book);
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

    /// A device was seen now, and says this of itself if that changed; kept in memory until something
    /// else is written.
    pub fn saw(&self, device: DeviceId, display: Option<Display>) {
        let mut seen = self.seen.borrow_mut();
        let entry = seen.entry(device).or_default();
        entry.ms = super::wall_ms();
        entry.display = display.or(entry.display.take());
    }

    /// When a device was last seen.
    pub fn seen_ms(&self, device: &DeviceId) -> Option<u64> {
        self.seen.borrow().get(device).map(|s| s.ms)
    }

    fn write_seen(&self, book: &mut Book) {
        for (device, seen) in self.seen.borrow().iter() {
            let Some(known) = book.device(device) else { continue };
            let hour = 3_600_000;
            let later = known.seen_ms.is_none_or(|at| seen.ms.abs_diff(at) > hour);
            let other = seen.display.as_ref().is_some_and(|d| *d != known.display);
            if (later || other)
                && let Some(device) = book.device_mut(device)
            {
                device.seen_ms = Some(seen.ms);
                if let Some(display) = &seen.display {
                    device.display = display.clone();
                }
            }
        }
    }

    /// Whether one more unknown device may leave a request: each costs a write, so they are metered.
    pub fn admit_stranger(&self) -> bool {
        let (mut spent, since) = self.strangers.get();
        let since = since.unwrap_or_else(Instant::now);
        let earned = since.elapsed().as_secs() as u32 / 2;
        let mut from = since;
        if earned > 0 {
            spent = spent.saturating_sub(earned);
            from = Instant::now();
        }
        let admit = spent < Self::STRANGERS;
        self.strangers.set((spent + u32::from(admit), Some(from)));
        admit
    }

    /// Lets the live connections of a device have what is approved for it now.
    pub fn regrant(&self, device: &DeviceId) {
        let Some(record) = self.book().device(device).cloned() else { return };
        for conn in self.conns_of(device) {
            if let Some(grant) = record.grant(conn.role()).filter(|g| g.revoked_ms.is_none()) {
                conn.regrant(grant.scopes);
            }
        }
    }

    /// Writes what is only in memory; for the end.
    pub async fn settle(&self) {
        let done = self.store.change(|book| {
            self.write_seen(book);
            Ok::<_, std::convert::Infallible>(())
        });
        if let Err(ChangeError::Disk(e)) = done.await {
            log::warn!("devices: when they were last seen is not saved: {e}");
        }
    }

    /// A request's device came back for it.
    pub fn contact(&self, request: &RequestId) {
        self.contacts.borrow_mut().insert(request.clone(), Instant::now());
    }

    /// Forgets when requests that are no more were last come for.
    pub fn forget_contacts(&self) {
        let book = self.book();
        self.contacts.borrow_mut().retain(|id, _| book.requests().iter().any(|r| r.id == *id));
    }

    /// Since a request's device last came for it; since the start, if it did not since then.
    pub fn since_contact(&self, request: &RequestId) -> Duration {
        let at = self.contacts.borrow().get(request).copied();
        at.unwrap_or(self.boot.clock.started).elapsed()
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
    pub fn carried(&self) -> (Vec<Rc<Conn>>, Vec<Rc<Guest>>) {
        let (mut conns, mut guests) = (self.conns(), self.guests.all());
        conns.retain(|conn| !conn.wire.is_tls());
        guests.retain(|guest| !guest.wire.is_tls());
        (conns, guests)
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

    /// Ends the connections of a device, or those of one of its roles.
    pub fn close_device(&self, device: &DeviceId, role: Option<Role>, reason: &str) -> usize {
        let conns = self.conns_of(device);
        let conns = conns.iter().filter(|c| role.is_none_or(|role| c.role() == role));
        conns.map(|c| c.wire.close(1008, reason)).count()
    }

    /// Sends an event to one connection, without a place in its sequence, as OpenClaw does for nodes.
    pub fn tell(&self, conn: &conn::Conn, event: Event, payload: &Json) {
        conn.send(&format!(r#"{{"type":"event","event":"{}","payload":{}}}"#, event.as_str(), payload.0));
    }

    /// Who is here changed: tells it soon, once for all that changes meanwhile.
    pub fn presence_changed(self: &Rc<Self>) {
        self.presence_version.set(self.presence_version.get() + 1);
        if !self.presence_due.get() {
            self.tell_presence();
        }
    }

    /// Tells soon who is here.
    pub(super) fn tell_presence(self: &Rc<Self>) {
        self.presence_due.set(true);
        let hub = self.clone();
        self.spawn(async move {
            Timer::after(Duration::from_millis(100)).await;
            hub.presence_due.set(false);
            let payload = Json(format!(r#"{{"presence":{}}}"#, hub.presence_list().0));
            hub.broadcast(Event::Presence, &payload);
        });
    }

    /// Who is here, the first few; built once a change.
    pub fn presence_list(&self) -> Rc<Json> {
        let version = self.presence_version.get();
        if self.presence.borrow().0 != version {
            let list = presence::list(self, Self::LISTED);
            *self.presence.borrow_mut() = (version, Rc::new(list));
        }
        self.presence.borrow().1.clone()
    }

    /// Who is here, all.
    pub fn presence_all(&self) -> Json {
        presence::list(self, usize::MAX)
    }

    /// `stateVersion`.
    pub fn state_version(&self) -> Json {
        Json(format!(r#"{{"presence":{},"health":1}}"#, self.presence_version.get()))
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
        under_way == self.invocations.waiting() && self.store.is_settled() && self.news.is_told()
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
