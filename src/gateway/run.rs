//! Wires a gateway together and runs it: the rooms, the listening sockets, the signals.

use super::{StartFailure, accept, entropy, keepalive, session, stop::stop, supervisor::Supervised};
use crate::{
    admission::{Admission, limits::Places},
    allocator,
    app::{App, Handshakes, Ticks},
    auth::{KnownKeys, Limiter, identity::Identity},
    clock::Clock,
    config::{Running, Settings},
    devices::Devices,
    handoff::{self, Handoff, Inherited, Predecessor, Program, Serve, StateFormat},
    host::{self, MachineMemory},
    http,
    hub::{Boot, Conn, Hub, Restarts, SavedConn, SavedInvocation, SavedPending},
    journal::Journal,
    methods,
    net::Listeners,
    reactor::{self, Async, Tasks, Timer},
    reload::{self, Reloads, Trigger, follow},
    sd_notify::{self, Notify},
    sessions::Sessions,
    signals::Signals,
    store::Store,
    tls::Tls,
    upstream::{Relay, SavedLink},
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGUSR1, SIGUSR2};
use smol::{LocalExecutor, future};
use std::{cell::RefCell, net::TcpStream, rc::Rc, time::Duration};

/// The time after which the start is over: what comes at once is served first.
const STARTED: Duration = Duration::from_secs(1);

/// A gateway whose sockets are open.
pub struct Gateway {
    app: Rc<App>,
    listeners: Rc<Listeners>,
    predecessor: Option<Predecessor>,
    /// Time spent waiting for random numbers.
    waited: Duration,
}

impl Gateway {
    /// Opens the sockets first, then the store: whoever connects meanwhile waits in the backlog, and a
    /// second gateway on the same port touches nothing.
    ///
    /// # Errors
    /// [`StartFailure`].
    pub fn start(
        settings: Settings,
        clock: Clock,
        journal: &'static Journal,
        executor: Rc<LocalExecutor<'static>>,
    ) -> Result<Self, StartFailure> {
        let (listeners, _) = listen(&settings, Inherited::default())?;
        Self::open(settings, clock, listeners, None, journal, executor)
    }

    /// Takes over from `predecessor`, or starts.
    fn open(
        mut settings: Settings,
        clock: Clock,
        listeners: Rc<Listeners>,
        mut predecessor: Option<Predecessor>,
        journal: &'static Journal,
        executor: Rc<LocalExecutor<'static>>,
    ) -> Result<Self, StartFailure> {
        let boot = match &predecessor {
            Some(predecessor) => {
                journal.restore(&predecessor.memory().journal);
                predecessor.memory().boot()
            }
            None => Boot::now(clock),
        };
        let boot = boot.map_err(|e| StartFailure::System(format!("no randomness: {e}")))?;
        settings.port = listeners.port().unwrap_or(settings.port);
        let lock = predecessor.as_mut().and_then(|p| p.lock.take());
        let (store, store_notices) =
            Store::open_with(&settings.paths.barnacle_dir, lock).map_err(StartFailure::Store)?;
        store.tell_where(&settings.local_url());
        // Without one, paired devices are served all the same; the notice says so.
        let _ = settings.make_first_token();
        settings.make_certificate();
        let store_notices: Vec<String> = store_notices.iter().map(ToString::to_string).collect();
        let app = rooms(boot, store, settings, store_notices, &listeners, journal, executor);
        app.notices().iter().for_each(|n| log::warn!("{n}"));
        Ok(Self { app, listeners, predecessor, waited: Duration::ZERO })
    }

    /// State shared by all connections of the gateway.
    pub fn app(&self) -> &Rc<App> {
        &self.app
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.listeners.port().unwrap_or_default()
    }

    /// Says in one line what runs.
    pub fn announce(&self) {
        let app = &self.app;
        let settings = app.settings();
        let at: Vec<String> = self.listeners.addresses().iter().map(ToString::to_string).collect();
        // A successor has been up for longer.
        let took = match self.predecessor {
            None => format!(
                " · {:.1} ms to listen",
                (app.boot.clock.uptime() - self.waited).as_secs_f64() * 1000.0
            ),
            Some(_) => String::new(),
        };
        log::info!(
            "listening on {} · auth {} ({}) · state {} · {} paired{took}",
            at.join(", "),
            settings.auth.as_str(),
            settings.credential_source(),
            settings.paths.barnacle_dir.display(),
            host::count(app.devices.registry().devices().len() as u64, "device"),
        );
    }

    /// Accepts connections, until the executor ends.
    pub fn accept(self) -> Rc<App> {
        if let Some(predecessor) = self.predecessor {
            predecessor.restore(&self.app, &Restored { app: &self.app });
        }
        let app = Rc::downgrade(&self.app);
        self.app.relay.start(move || app.upgrade().map(|app| methods::own_status(&app)).unwrap_or_default());
        if !self.app.relay.is_on() && self.app.sessions.start() {
            let app = self.app.clone();
            self.app.spawn(async move {
                http::forget_temporary(&app).await;
                methods::resume(app).await;
            });
        }
        if !self.app.relay.is_on() {
            self.app.spawn(methods::keep_tidy(self.app.clone()));
        }
        accept::accept(&self.app, &self.listeners);
        self.app.spawn(keepalive::run(self.app.clone()));
        self.app.spawn(follow::follow(self.app.reloads.clone()));
        self.app
    }

    /// Serves a restored connection.
    pub fn restore(app: &Rc<App>, saved: SavedConn, socket: Async<TcpStream>) -> Rc<Conn> {
        session::restore(app, saved, socket)
    }
}

/// Puts the rooms of a gateway together.
fn rooms(
    boot: Boot,
    store: Store,
    settings: Settings,
    store_notices: Vec<String>,
    listeners: &Rc<Listeners>,
    journal: &'static Journal,
    executor: Rc<LocalExecutor<'static>>,
) -> Rc<App> {
    let tasks = Tasks::new(executor);
    let admission = Rc::new(Admission::new(Places::of_process(settings.upstream.is_some())));
    let hub = Hub::new(boot.clone(), &admission, &tasks);
    let identity = Identity::from_seed(&store.key().identity_seed());
    let devices = Devices::new(store, &hub.conns, boot.clock);
    let limiter = Rc::new(RefCell::new(Limiter::new(settings.limits)));
    let running = Running::new(settings, journal);
    let restarts: Rc<Restarts> = Rc::default();
    let relay = Relay::new(&running, &devices, &tasks);
    let store = devices.clone();
    let sessions = Sessions::new(running.get().paths.barnacle_dir.join("agents"), &tasks, move || {
        store.store.lock().is_none().then(|| store.store.read_only().unwrap_or_default())
    });
    let reloads = Reloads::new(reload::Rooms {
        running: running.clone(),
        devices: devices.clone(),
        conns: hub.conns.clone(),
        events: hub.events.clone(),
        limiter: limiter.clone(),
        listeners: listeners.clone(),
        restarts: restarts.clone(),
        relay: relay.clone(),
        admission: admission.clone(),
        tasks: tasks.clone(),
    });
    let keys = RefCell::new(KnownKeys::new(MachineMemory::now()));
    let handshakes = Handshakes { limiter, keys, hello: RefCell::default() };
    let ticks = Ticks::default();
    Rc::new(App {
        boot,
        hub,
        devices,
        running,
        reloads,
        restarts,
        sessions,
        runs: Default::default(),
        relay,
        handshakes,
        ticks,
        admission,
        pool: Default::default(),
        site: Default::default(),
        joins: Default::default(),
        identity,
        journal,
        store_notices,
        tasks,
    })
}

/// Serves what a hand-over carried.
struct Restored<'a> {
    app: &'a Rc<App>,
}

impl Serve for Restored<'_> {
    fn conn(&self, saved: SavedConn, socket: Async<TcpStream>) -> Rc<Conn> {
        session::restore(self.app, saved, socket)
    }

    fn pending(&self, saved: SavedPending, socket: Async<TcpStream>) {
        let pending = self.app.hub.pending_conns.restore(saved, socket);
        self.app.spawn(accept::go_on(self.app.clone(), pending));
    }

    fn link(&self, saved: SavedLink, socket: Option<Async<TcpStream>>) {
        if let Some(conn) = self.app.hub.conns.get(saved.conn) {
            self.app.relay.restore(&conn, saved, socket);
        }
    }

    fn invocation(&self, saved: SavedInvocation) {
        session::resume_invocation(self.app, saved);
    }
}

/// Runs a gateway until it is stopped, or restores the one that this process was.
///
/// # Errors
/// [`StartFailure`] when it does not come up.
pub fn run(
    mut settings: Settings,
    clock: Clock,
    journal: &'static Journal,
    state_format: &'static StateFormat,
) -> Result<(), StartFailure> {
    let program = Program::of_process();
    let handed_over = handoff::inherit(state_format);
    let is_successor = handed_over.is_some();
    let inherited = handed_over.unwrap_or_else(|| Inherited::of(sd_notify::passed(), state_format));
    if inherited.predecessor.is_some() {
        settings.keep_last_bind();
    }
    raise_descriptor_limit();
    allocator::return_large_blocks();
    let executor = Rc::new(LocalExecutor::new());
    let (listeners, predecessor) = listen(&settings, inherited)?;
    let notify = Rc::new(Notify::of_process());
    // Before anyone can know that it runs, and tell it to stop: the first process of a container or a board
    // has no signal that ends it but those it listens for.
    let signals =
        Signals::new().map_err(|e| StartFailure::System(format!("cannot listen for signals: {e}")))?;
    let signals = Rc::new(signals);
    signals.block(false);
    let tls = !matches!(settings.tls, Tls::Off);
    let ready = async { Some(entropy::ready(&listeners, tls, &notify).await) };
    let ended = async {
        signals.end().await;
        None
    };
    let Some((waited, queue)) = block_on(future::or(ready, ended))? else {
        log::info!("stopped while waiting for random numbers");
        notify.stopping("stopping");
        return Ok(());
    };
    let gateway = Gateway::open(settings, clock, listeners, predecessor, journal, executor.clone())?;
    let gateway = Gateway { waited, ..gateway };
    if !is_successor {
        gateway.announce();
    }
    let listeners = gateway.listeners.clone();
    let app = gateway.accept();
    queue.into_iter().for_each(|waiting| listeners.take(waiting.socket, waiting.remote, waiting.given));
    if notify.is_there() {
        handoff::forget(&notify);
        let notify = notify.clone();
        listeners.on_change(move |listeners| {
            notify.keep_listening(listeners.sockets().iter().map(|socket| socket.get_ref()));
        });
    }
    let supervised = Supervised::new(&app, &notify);
    supervised.begin();
    app.spawn(async {
        Timer::after(STARTED).await;
        crate::code_pages::unmap();
    });
    let handoff = |program| Handoff::new(&app, &listeners, program, state_format, &signals);
    let handoff =
        program.map(handoff).map_err(|e| log::warn!("this gateway cannot restart itself: {e}")).ok();
    if let Some(handoff) = &handoff {
        app.restarts.set(Rc::new(handoff.clone()));
    }
    // A task of its own, so that it is looked at only when a signal came.
    let serve = executor.spawn(async move {
        loop {
            match signals.next().await {
                SIGHUP => {
                    log::info!("SIGHUP: reading the configuration");
                    supervised.reloading();
                    app.reloads.reload(Trigger::Asked).await.conclude(&app.reloads);
                    supervised.ready();
                }
                SIGUSR1 => restart(&app, "SIGUSR1", &supervised),
                SIGUSR2 => restart(&app, "SIGUSR2", &supervised),
                SIGINT => break log::info!("SIGINT: stopping"),
                _ => {
                    log::info!("SIGTERM: stopping");
                    if let Some(handoff) = &handoff {
                        supervised.restart(handoff).await;
                    }
                    break;
                }
            }
        }
        supervised.stopping();
        stop(&app).await;
    });
    journal.serve();
    let ended = block_on(reactor::run(&executor, serve));
    journal.settle();
    ended
}

/// Listens by the inherited sockets, or opens some.
fn listen(
    settings: &Settings,
    inherited: Inherited,
) -> Result<(Rc<Listeners>, Option<Predecessor>), StartFailure> {
    let Inherited { predecessor, listening, given } = inherited;
    let listeners = Listeners::start(listening, given, settings.where_to_listen(), settings.port);
    Ok((listeners.map_err(StartFailure::Listen)?, predecessor))
}

fn block_on<T>(future: impl Future<Output = T>) -> Result<T, StartFailure> {
    reactor::block_on(future).map_err(|e| StartFailure::System(format!("cannot wait for connections: {e}")))
}

/// Restarts; while the program on disk is asked, signals are heard.
fn restart(app: &Rc<App>, why: &'static str, supervised: &Rc<Supervised>) {
    let (restarts, supervised) = (app.restarts.clone(), supervised.clone());
    supervised.reloading();
    app.spawn(async move {
        restarts.run(why).await;
        supervised.ready();
    });
}

/// Raises the limit of descriptors to what the system allows: each connection needs one.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(e) = setrlimit(Resource::Nofile, limit) {
        log::debug!("descriptor limit: {e}");
    }
}
