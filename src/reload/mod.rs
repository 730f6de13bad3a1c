//! Reloading: what the configuration says now becomes what the gateway runs with.
//!
//! Read, compare with what runs, plan, apply, one line in the journal. A file that cannot be read changes
//! nothing but what is said of it. Reading is done on a worker thread; applying is done on this one,
//! without waiting, so that nobody sees half of it. Connections that the new configuration refuses are
//! closed last, by whoever asked for the reload: a writer has its answer first.

pub mod follow;
pub mod preview;

pub use preview::Preview;

use crate::{
    auth::{Approval, Limiter, Lost, SharedAuth, StandingFacts, standing},
    clock::wall_ms,
    config::{
        AuthMode, Found, KeyPath, ReloadMode, RevokeOnRotate, Running, Settings, StartError,
        change::{
            diff::{Change, diff},
            plan::{Effect, Plan, plan},
        },
        text::{file::Unreadable, source::Broken},
        to_keep,
    },
    devices::Devices,
    hub::{Audience, Conn, Connections, Events, Restarts, Session},
    net::Listeners,
    protocol::{DeviceId, Event, Json, Role},
    reactor::{Tasks, Timer},
    store::{Device, atomic},
    tls::Tls,
};
use nanoserde::SerJson;
use smol::lock::{Mutex, MutexGuardArc};
use std::{
    cell::{Cell, RefCell},
    path::PathBuf,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

/// How long a file that cannot be read may be somebody's who is writing it.
const WRITER: Duration = Duration::from_millis(250);
/// How often it is read again before it is called broken.
const PATIENCE: u32 = 4;

/// The right to reload, until it is dropped.
pub type Turn = MutexGuardArc<()>;

/// What a reload changes.
pub(crate) struct Rooms {
    /// The settings in use.
    pub(crate) running: Rc<Running>,
    /// The device registry.
    pub(crate) devices: Rc<Devices>,
    /// The attached connections.
    pub(crate) conns: Rc<Connections>,
    /// Events to them.
    pub(crate) events: Rc<Events>,
    /// The limits on guesses of the shared secret.
    pub(crate) limiter: Rc<RefCell<Limiter>>,
    /// The listening sockets.
    pub(crate) listeners: Rc<Listeners>,
    /// Restarts, for `gateway.reload.mode: "restart"`.
    pub(crate) restarts: Rc<Restarts>,
    /// The tasks of the one thread.
    pub(crate) tasks: Tasks,
}

/// Reloads of the configuration: one at a time.
pub struct Reloads {
    rooms: Rooms,
    turn: Arc<Mutex<()>>,
    files: RefCell<Vec<PathBuf>>,
    /// What is wrong with the file, while what ran before holds.
    broken: RefCell<Option<String>>,
    /// Changes that wait, `gateway.reload.mode` being `off`.
    waiting: RefCell<Option<String>>,
    /// Why the sockets are not where the file says.
    elsewhere: RefCell<Option<String>>,
    count: Cell<u64>,
}

/// Who asks for a reload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// A file changed. Someone may still be writing it.
    File,
    /// Somebody who waits for it, be it by a signal or by a call.
    Asked,
}

/// What a reload came to.
#[derive(Default)]
pub struct Outcome {
    /// What changed, and what was done about it.
    pub plan: Plan,
    /// Who is refused by the new configuration.
    pub refused: Vec<(Rc<Conn>, Lost)>,
    /// Why nothing was changed, if the file cannot be read.
    pub broken: Option<String>,
    /// Whether it is worth another try though no file changes.
    pub again: bool,
    /// Whether `gateway.reload.mode` is `off`, and the changes wait for a restart.
    pub waits: bool,
    /// Whether `gateway.reload.mode` is `restart`, and a restart is due.
    pub restart: bool,
    took: Duration,
}

#[derive(SerJson)]
struct Told {
    ts: u64,
    ok: bool,
    changed: Vec<String>,
    applied: String,
    closed: u64,
    issue: Option<String>,
}

impl Reloads {
    /// Reloads of a gateway that begins with the settings in `rooms`.
    pub(crate) fn new(rooms: Rooms) -> Rc<Self> {
        Rc::new(Self {
            files: RefCell::new(rooms.running.get().files.clone()),
            rooms,
            turn: Arc::default(),
            broken: RefCell::default(),
            waiting: RefCell::default(),
            elsewhere: RefCell::default(),
            count: Cell::new(0),
        })
    }

    /// Waits for the turn: whoever has it is the only one who reloads, or writes what is reloaded.
    pub async fn turn(&self) -> Turn {
        self.turn.lock_arc().await
    }

    /// Every file that was looked at the last time.
    pub fn files(&self) -> Vec<PathBuf> {
        self.files.borrow().clone()
    }

    /// What the operator should know of the configuration and the listening sockets, one line each.
    pub(crate) fn notices(&self) -> Vec<String> {
        let own = [&self.broken, &self.waiting, &self.elsewhere].map(|notice| notice.borrow().clone());
        let listening = self.rooms.listeners.notices();
        own.into_iter().flatten().chain(self.rooms.running.get().lines()).chain(listening).collect()
    }

    /// What is wrong with the file, if what ran before holds.
    pub fn broken(&self) -> Option<String> {
        self.broken.borrow().clone()
    }

    /// It was applied so often before this process image.
    pub(crate) fn set_count(&self, count: u64) {
        self.count.set(count);
    }

    /// How often the configuration was applied since the start.
    pub fn count(&self) -> u64 {
        self.count.get()
    }
}

impl Reloads {
    /// Reads the configuration and applies what changed, but for closing who is then refused: that is
    /// [`Outcome::close`].
    pub async fn reload(self: &Rc<Self>, why: Trigger) -> Outcome {
        let turn = self.turn().await;
        self.reload_in(&turn, why).await
    }

    /// The same, by who has the turn already.
    pub async fn reload_in(self: &Rc<Self>, _turn: &Turn, why: Trigger) -> Outcome {
        let began = Instant::now();
        let mut new = match self.read_settings(why).await {
            Ok(new) => new,
            Err(e) => return self.not_reloaded(format!("{e}; until it is mended: what ran before"), began),
        };
        *self.files.borrow_mut() = new.files.clone();
        let path = new.paths.config_file.display().to_string();
        let issue = match &new.found {
            Found::Broken(broken) => Some(format!("{broken}; until it is mended: what ran before")),
            // Without its variables a secret would be another, or none.
            Found::Whole if new.unread.is_some() && self.rooms.running.get().unread.is_none() => {
                new.unread.as_ref().map(|env| format!("{env}; until it is mended: what ran before"))
            }
            Found::Missing if self.rooms.running.get().found.is_whole() || self.broken.borrow().is_some() => {
                Some(format!("{path} is gone; until it is back: what ran before"))
            }
            _ => None,
        };
        if let Some(issue) = issue {
            let unread = match &new.found {
                Found::Broken(Broken::Unreadable(file)) => Some(file),
                _ => new.unread.as_ref(),
            };
            let again = unread.is_some_and(Unreadable::may_pass);
            return Outcome { again, ..self.not_reloaded(issue, began) };
        }
        if self.broken.take().is_some() {
            log::info!("{path} can be read again");
        }
        let old = self.rooms.running.get();
        new.keep_tls(&old);
        let mut outcome = Outcome { plan: compare(&old, &new), ..Outcome::default() };
        if outcome.plan.effects.is_empty() {
            self.waiting.take();
            // Something else may be said of the same file.
            if !old.lines().eq(new.lines()) {
                self.apply(&old, new, &mut outcome).await;
            }
            return outcome;
        }
        if new.config.reload.mode == ReloadMode::Off {
            let waits = format!(
                "{path} was changed ({}) and gateway.reload.mode is \"off\": takes effect at the next restart (barnacle \
                 gateway restart)",
                outcome.plan.paths()
            );
            if self.waiting.replace(Some(waits.clone())).as_ref() != Some(&waits) {
                log::warn!("{waits}");
            }
            outcome.waits = true;
            return outcome;
        }
        self.waiting.take();
        outcome.restart = new.config.reload.mode == ReloadMode::Restart;
        self.apply(&old, new, &mut outcome).await;
        outcome.took = began.elapsed();
        self.count.set(self.count.get() + 1);
        log::info!(
            "configuration reloaded: {} · applied: {} · {:.1} ms · {} connections closed",
            outcome.plan.paths(),
            outcome.plan.done(),
            outcome.took.as_secs_f64() * 1000.0,
            outcome.refused.len(),
        );
        self.tell_reload(&outcome);
        outcome
    }

    /// Goes on with what runs, and says why, once.
    fn not_reloaded(self: &Rc<Self>, issue: String, began: Instant) -> Outcome {
        let outcome = Outcome { broken: Some(issue.clone()), took: began.elapsed(), ..Outcome::default() };
        if self.broken.replace(outcome.broken.clone()) != outcome.broken {
            log::error!("configuration not reloaded: {issue}");
            self.tell_reload(&outcome);
        }
        outcome
    }

    /// The settings as the files have them now; a file that seems half written gets another chance.
    async fn read_settings(&self, why: Trigger) -> Result<Settings, StartError> {
        let mut patience = if why == Trigger::File { PATIENCE } else { 0 };
        loop {
            let old = self.rooms.running.get();
            let read = smol::unblock({
                let again = old.again();
                move || again.resolve()
            });
            match read.await {
                Ok(new) if (!new.found.is_whole() || new.unread.is_some()) && patience > 0 => {
                    patience -= 1;
                    *self.files.borrow_mut() = new.files;
                    Timer::after(WRITER).await;
                }
                // A file that is replaced may be gone for a moment.
                Err(_) if patience > 0 => {
                    patience -= 1;
                    Timer::after(WRITER).await;
                }
                done => return done,
            }
        }
    }

    async fn apply(self: &Rc<Self>, old: &Settings, mut new: Settings, outcome: &mut Outcome) {
        if matches!(new.tls, Tls::Unmade(_)) {
            let make = |mut new: Settings| {
                new.make_certificate();
                new
            };
            new = smol::unblock(move || make(new)).await;
            new.keep_tls(old);
        }
        // The old address stays where the new one cannot be had.
        self.elsewhere.take();
        if !new.keep_where_it_listens(old) && outcome.plan.effects.contains(&Effect::Listen) {
            match self.rooms.listeners.open(new.where_to_listen(), new.port) {
                Ok(port) => new.port = port,
                Err(e) => {
                    let told = format!("still listening where it was, on port {}: {e}", old.port);
                    log::error!("{told}");
                    *self.elsewhere.borrow_mut() = Some(told);
                    (new.port, new.bind) = (old.port, old.bind);
                }
            }
        }
        if old.local_url() != new.local_url() {
            self.rooms.devices.store.tell_where(&new.local_url());
        }
        let browsers = self.browsers_to_revoke(old, &new);
        new.lines_new_since(old).for_each(|line| log::warn!("{line}"));
        self.rooms.limiter.borrow_mut().set_limits(new.limits);
        let (was, now) = (shared_auth(old), shared_auth(&new));
        let lost = |conn: Rc<Conn>| {
            let why = lost(&self.rooms.devices, &conn.session(), &was, &now)?;
            Some((conn, why))
        };
        outcome.refused = self.rooms.conns.all().into_iter().filter_map(lost).collect();
        self.rooms.running.set(new);
        if !browsers.is_empty() {
            self.revoke_browsers(browsers, outcome).await;
        }
        self.keep_config().await;
    }

    /// Keeps the configuration that runs, for a start at which the file cannot be read.
    pub async fn keep_config(&self) {
        let settings = self.rooms.running.get();
        if !settings.found.is_whole() {
            return;
        }
        let (paths, env) = (settings.paths.clone(), settings.env().clone());
        let (source, faults) = (settings.source.clone(), settings.faults.clone());
        let path = paths.last_config();
        let kept = smol::unblock(move || match to_keep(&paths, &env, &source, &faults) {
            Some(text) => atomic::replace(&paths.last_config(), text.as_bytes(), 0o600),
            None => Ok(()),
        });
        if let Err(e) = kept.await {
            let path = path.display();
            log::warn!("{path} cannot be written ({e}): it is what holds when openclaw.json breaks");
        }
    }

    /// With `gateway.auth.revokeOnRotate: "browsers"`, the browsers that a new shared secret locks out.
    pub(crate) fn browsers_to_revoke(&self, old: &Settings, new: &Settings) -> Vec<DeviceId> {
        let secret = |s: &Settings| s.credentials.active.as_ref().map(|(secret, _)| secret.clone());
        let rotated = old.credentials.active.is_some() && secret(old) != secret(new);
        if !rotated || new.config.auth.revoke_on_rotate != RevokeOnRotate::Browsers {
            return Vec::new();
        }
        let registry = self.rooms.devices.registry();
        let live = |d: &&Rc<Device>| {
            d.display.is_browser() && d.grant(Role::Operator).is_some_and(|g| g.revoked_ms.is_none())
        };
        registry.devices().filter(live).map(|d| d.id()).collect()
    }

    async fn revoke_browsers(self: &Rc<Self>, browsers: Vec<DeviceId>, outcome: &mut Outcome) {
        let done = self.rooms.devices.change(|registry| {
            for id in &browsers {
                registry.revoke(id, Role::Operator, wall_ms())?;
            }
            Ok(())
        });
        if let Err(e) = done.await {
            return log::error!("the browsers of the old secret are not revoked: {}", e.message());
        }
        log::info!("{} browsers revoked: gateway.auth.revokeOnRotate is \"browsers\"", browsers.len());
        let of_browser = |conn: &Rc<Conn>| {
            conn.role() == Role::Operator && conn.device().is_some_and(|id| browsers.contains(&id))
        };
        let of_browser = self.rooms.conns.all().into_iter().filter(of_browser);
        outcome.refused.extend(of_browser.map(|conn| (conn, Lost::AuthChanged)));
    }

    fn tell_reload(self: &Rc<Self>, outcome: &Outcome) {
        let told = outcome.plan.changes.iter().filter(|(_, effect)| *effect != Effect::Silent);
        let payload = Told {
            ts: wall_ms(),
            ok: outcome.broken.is_none(),
            changed: told.map(|(change, _)| change.path.to_string()).collect(),
            applied: outcome.plan.done(),
            closed: outcome.refused.len() as u64,
            issue: outcome.broken.clone(),
        };
        self.rooms.events.publish(Event::ConfigReloaded, Audience::Everyone, &Json::of(&payload));
        if !outcome.refused.is_empty() {
            // Before they are closed.
            self.rooms.events.flush();
        }
    }
}

pub(crate) fn compare(old: &Settings, new: &Settings) -> Plan {
    let mut plan = plan(diff(&old.source.root, &new.source.root));
    // What a value resolves to may change though the file did not.
    if old.credentials.active != new.credentials.active || old.auth != new.auth {
        plan.effects.insert(Effect::Credentials);
    }
    // The files of a certificate are not the configuration's.
    if !old.tls.is_same(&new.tls) && plan.effects.insert(Effect::Tls) {
        let path = KeyPath::dotted("gateway.tls.certPath");
        plan.changes.push((Change { path, was: true, is: true }, Effect::Tls));
    }
    // Nor need the file change for an address to be free that was not.
    if (old.where_to_listen(), old.port) != (new.where_to_listen(), new.port) {
        plan.effects.insert(Effect::Listen);
    }
    plan
}

/// What `settings` ask of a connection that has no device.
pub(crate) fn shared_auth(settings: &Settings) -> SharedAuth {
    let secret = settings.credentials.active.as_ref();
    SharedAuth { open: settings.auth == AuthMode::None, secret: secret.map(|(secret, _)| secret.hash()) }
}

/// Decides whether the connection of `session`, which was admitted under `old`, may stay under `new`; `Some` is
/// why not. See [`standing`].
pub(crate) fn lost(devices: &Devices, session: &Session, old: &SharedAuth, new: &SharedAuth) -> Option<Lost> {
    let registry = devices.registry();
    let approval = session.device.map(|id| Approval::of(registry.device(&id).map(|d| &**d), session.role));
    standing(&StandingFacts { approval, old, new })
}

impl Outcome {
    /// Closes who is refused now, and makes the restart that `gateway.reload.mode: "restart"` asks for.
    pub fn conclude(&self, reloads: &Reloads) {
        for (conn, why) in &self.refused {
            let (code, reason) = why.close();
            conn.wire.close(code, reason);
        }
        if self.restart {
            let Rooms { restarts, tasks, .. } = &reloads.rooms;
            let restarts = restarts.clone();
            tasks.spawn(async move { restarts.run("gateway.reload.mode is \"restart\"").await });
        }
    }
}
