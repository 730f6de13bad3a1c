//! Reloading: what the configuration says now becomes what the gateway runs with.
//!
//! Reads the files, compares them with the settings in use, plans, applies, and logs one line. A file that cannot
//! be read changes nothing but the notices. Files are read on a worker thread; the change is applied on this one,
//! without waiting, so that nobody sees half of it. Connections that the new configuration refuses are
//! closed last, by whoever asked for the reload: a writer has its answer first.

mod apply;
pub(crate) mod follow;
mod preview;
mod standing;

pub(crate) use apply::compare;
pub use preview::Preview;
pub(crate) use standing::{lost, shared_auth};

use crate::{
    admission::Admission,
    auth::{Limiter, Lost},
    config::{
        FileState, ReloadMode, Running, Settings, StartError,
        change::plan::Plan,
        text::{file::Unreadable, source::ReadError},
    },
    devices::Devices,
    hub::{Conn, Connections, Events, Restarts},
    net::Listeners,
    reactor::{Tasks, Timer, on_worker},
    upstream::Relay,
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

/// Delay between two reads of a file that cannot be read: it may be half written.
const RETRY: Duration = Duration::from_millis(250);
/// Reads of such a file before it is called broken.
const RETRIES: u32 = 4;

/// The right to reload, until it is dropped.
pub type Turn = MutexGuardArc<()>;

/// Parts of the gateway that a reload changes.
pub(crate) struct Rooms {
    pub(crate) running: Rc<Running>,
    pub(crate) devices: Rc<Devices>,
    pub(crate) conns: Rc<Connections>,
    /// Events to attached connections.
    pub(crate) events: Rc<Events>,
    /// The limits on guesses of the shared secret.
    pub(crate) limiter: Rc<RefCell<Limiter>>,
    pub(crate) listeners: Rc<Listeners>,
    /// Restarts, for `gateway.reload.mode: "restart"`.
    pub(crate) restarts: Rc<Restarts>,
    /// Links to the gateway behind this one.
    pub(crate) relay: Rc<Relay>,
    /// Places for connections, of which there are fewer in front of another gateway.
    pub(crate) admission: Rc<Admission>,
    /// The tasks of the one thread.
    pub(crate) tasks: Tasks,
}

/// Reloads of the configuration: one at a time.
pub struct Reloads {
    rooms: Rooms,
    turn: Arc<Mutex<()>>,
    files: RefCell<Vec<PathBuf>>,
    /// Problem of the file, while the settings that ran before are in force.
    broken: RefCell<Option<String>>,
    /// Changes that wait, `gateway.reload.mode` being `off`.
    waiting: RefCell<Option<String>>,
    /// Why the sockets are not where the file says.
    elsewhere: RefCell<Option<String>>,
    count: Cell<u64>,
}

/// Trigger of a reload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// A file changed. It may be half written.
    File,
    /// A signal or a call, whose sender waits for it.
    Asked,
}

/// The outcome of a reload.
#[derive(Default)]
pub struct Outcome {
    /// Changes, and their effects.
    pub plan: Plan,
    /// Connections that the new configuration refuses, and why.
    pub refused: Vec<(Rc<Conn>, Lost)>,
    /// Why nothing was changed, if the file cannot be read.
    pub broken: Option<String>,
    /// Whether it is to be tried again though no file changes.
    pub retry: bool,
    /// Whether a file with secrets may be half written, and is to be read again soon.
    pub settling: bool,
    /// Whether `gateway.reload.mode` is `off`, and the changes wait for a restart.
    pub waits: bool,
    /// Whether `gateway.reload.mode` is `restart`, and a restart is due.
    pub restart: bool,
    took: Duration,
}

/// The payload of `config.reloaded`.
#[derive(SerJson)]
struct ReloadReport {
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

    /// Notices for the operator about the configuration and the listening sockets, one line each.
    pub(crate) fn notices(&self) -> Vec<String> {
        let own = [&self.broken, &self.waiting, &self.elsewhere].map(|notice| notice.borrow().clone());
        let listening = self.rooms.listeners.notices();
        own.into_iter().flatten().chain(self.rooms.running.get().lines()).chain(listening).collect()
    }

    /// It was applied so often before this process image.
    pub(crate) fn set_count(&self, count: u64) {
        self.count.set(count);
    }

    /// Number of times that the configuration was applied since the start.
    pub fn count(&self) -> u64 {
        self.count.get()
    }
}

impl Reloads {
    /// Reads the configuration and applies what changed, but for closing who is then refused: that is
    /// [`Outcome::close`].
    pub async fn reload(self: &Rc<Self>, trigger: Trigger) -> Outcome {
        let turn = self.turn().await;
        self.reload_in(&turn, trigger).await
    }

    /// The same, by who has the turn already.
    pub async fn reload_in(self: &Rc<Self>, _turn: &Turn, trigger: Trigger) -> Outcome {
        let began = Instant::now();
        let mut new = match self.read_settings(trigger).await {
            Ok(new) => new,
            Err(e) => {
                return self.keep_running(
                    format!("{e}; until it is fixed, the gateway keeps what it runs with"),
                    began,
                );
            }
        };
        *self.files.borrow_mut() = new.files.clone();
        let path = new.paths.config_file.display().to_string();
        let issue = match &new.found {
            FileState::Broken(broken) => {
                Some(format!("{broken}; until it is fixed, the gateway keeps what it runs with"))
            }
            // Without its variables a secret would be another, or none.
            FileState::Whole if new.unread.is_some() && self.rooms.running.get().unread.is_none() => new
                .unread
                .as_ref()
                .map(|env| format!("{env}; until it is fixed, the gateway keeps what it runs with")),
            FileState::Missing
                if self.rooms.running.get().found.is_whole() || self.broken.borrow().is_some() =>
            {
                Some(format!("{path} is gone; until it is back, the gateway keeps what it runs with"))
            }
            FileState::Whole if new.loses_gateway(&self.rooms.running.get()) => Some(format!(
                "{path} has no gateway section any more; until it has one, the gateway keeps what it runs with"
            )),
            FileState::Whole if new.foreign_since(&self.rooms.running.get()).is_some() => new
                .foreign_since(&self.rooms.running.get())
                .map(|line| format!("{line}; until then, the gateway keeps what it runs with")),
            _ => None,
        };
        if let Some(issue) = issue {
            if matches!(new.found, FileState::Missing) {
                // Whoever writes the file anew begins with it.
                self.keep_config().await;
            }
            let unread = match &new.found {
                FileState::Broken(ReadError::Unreadable(file)) => Some(file),
                _ => new.unread.as_ref(),
            };
            let retry = unread.is_some_and(Unreadable::may_pass);
            return Outcome { retry, ..self.keep_running(issue, began) };
        }
        if self.broken.take().is_some() {
            log::info!("{path} can be read again");
        }
        let old = self.rooms.running.get();
        new.keep_tls(&old);
        if new.held.is_empty() && !new.settling && !old.held.is_empty() {
            log::info!("the shared secret's file holds a whole value again");
        }
        if !new.own.is_broken() && old.own.is_broken() {
            log::info!("{} can be read again", new.paths.own_file().display());
        }
        let mut outcome = Outcome {
            plan: compare(&old, &new),
            settling: new.settling,
            retry: new.own.may_pass(),
            ..Outcome::default()
        };
        if let Some(issue) = new.own.problem().filter(|_| !old.own.is_broken()) {
            self.publish(&Outcome { broken: Some(issue), ..Outcome::default() });
        }
        if outcome.plan.effects.is_empty() {
            self.waiting.take();
            // The same file may have another problem.
            if !old.lines().eq(new.lines()) {
                self.apply(&old, new, &mut outcome).await;
            }
            return outcome;
        }
        if new.config.reload.mode == ReloadMode::Off {
            let own = old.source.root.same(&new.source.root);
            let path = if own { new.paths.own_file().display().to_string() } else { path };
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
        self.publish(&outcome);
        outcome
    }

    /// Keeps the settings in use, and logs why, once.
    fn keep_running(self: &Rc<Self>, issue: String, began: Instant) -> Outcome {
        let outcome = Outcome { broken: Some(issue.clone()), took: began.elapsed(), ..Outcome::default() };
        if self.broken.replace(outcome.broken.clone()) != outcome.broken {
            log::error!("configuration not reloaded: {issue}");
            self.publish(&outcome);
        }
        outcome
    }

    /// The settings as the files have them now; a file that seems half written gets another chance.
    async fn read_settings(&self, trigger: Trigger) -> Result<Settings, StartError> {
        let mut retries = if trigger == Trigger::File { RETRIES } else { 0 };
        loop {
            let old = self.rooms.running.get();
            let read = on_worker({
                let again = old.again();
                move || again.resolve()
            });
            match read.await {
                Ok(new)
                    if (!new.found.is_whole()
                        || new.own.is_worse_than(&old.own)
                        || new.unread.is_some()
                        || new.held != old.held)
                        && retries > 0 =>
                {
                    retries -= 1;
                    if matches!(new.found, FileState::Missing) {
                        // At once: whoever writes the file anew begins with what runs.
                        self.keep_config().await;
                    }
                    *self.files.borrow_mut() = new.files;
                    Timer::after(RETRY).await;
                }
                // A file that is replaced may be gone for a moment.
                Err(_) if retries > 0 => {
                    retries -= 1;
                    Timer::after(RETRY).await;
                }
                done => return done,
            }
        }
    }
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
