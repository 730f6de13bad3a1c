//! Start, serve, stop: the sockets, the signals, and what each new connection is.

use super::{handshake, pulse, session, watch};
use crate::{
    config::{Settings, StartError},
    live::{Boot, Clock, Conn, Hub, Journal, Saved, Why},
    net::{
        http::{self, Page},
        listen::{ListenError, listen},
    },
    protocol::{Event, Json},
    reactor::{self, Async, Timer},
    store::{OpenError, Store},
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use smol::{LocalExecutor, future};
use std::{
    cell::RefCell,
    collections::HashMap,
    fmt,
    future::poll_fn,
    io::{self, Read},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    rc::Rc,
    task::Poll,
    time::Duration,
};

/// Most connections that have not attached, in all.
const UNATTACHED: usize = 4096;
/// Most of them from one address that is not this host's.
const UNATTACHED_PER_ADDRESS: usize = 64;
/// How long a plain HTTP connection may last.
const HTTP: Duration = Duration::from_secs(60);
/// How long requests under way may take to finish when the gateway stops.
const FINISH: Duration = Duration::from_secs(2);
/// How long the answers to those that did not may take.
const LAST_ANSWERS: Duration = Duration::from_millis(200);

/// Why the gateway does not run.
#[derive(Debug)]
pub enum StartFailure {
    /// The settings forbid it.
    Settings(StartError),
    /// Nothing can be listened on.
    Listen(ListenError),
    /// The token store cannot be opened.
    Store(OpenError),
    /// The system refuses something else.
    System(String),
}

impl StartFailure {
    /// The exit code: 78 (`EX_CONFIG` of sysexits.h) where starting again would not help, so that a
    /// supervisor does not loop; 1 for what may pass.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Settings(e) => e.exit_code(),
            Self::Listen(_) | Self::Store(_) => 78,
            Self::System(_) => 1,
        }
    }
}

impl fmt::Display for StartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings(e) => e.fmt(f),
            Self::Listen(e) => e.fmt(f),
            Self::Store(e) => e.fmt(f),
            Self::System(e) => f.write_str(e),
        }
    }
}

impl std::error::Error for StartFailure {}

/// A gateway whose sockets are open.
pub struct Gateway {
    hub: Rc<Hub>,
    listeners: Vec<Async<TcpListener>>,
}

impl Gateway {
    /// Opens the sockets first, then the store: whoever connects meanwhile waits in the backlog, and a
    /// second gateway on the same port touches nothing.
    ///
    /// # Errors
    /// [`StartFailure`].
    pub fn start(
        mut settings: Settings,
        clock: Clock,
        journal: &'static Journal,
        executor: Rc<LocalExecutor<'static>>,
    ) -> Result<Self, StartFailure> {
        let listeners = listen(settings.where_to_listen(), settings.port).map_err(StartFailure::Listen)?;
        settings.port = port(&listeners).unwrap_or(settings.port);
        let (store, store_notices) =
            Store::open(&settings.paths.barnacle_dir).map_err(StartFailure::Store)?;
        // Without one, paired devices are served all the same; the notice says so.
        let _ = settings.make_first_token();
        let boot = Boot::now(clock).map_err(|e| StartFailure::System(format!("no randomness: {e}")))?;
        let store_notices: Vec<String> = store_notices.iter().map(ToString::to_string).collect();
        let hub = Hub::new(boot, store, settings, store_notices, journal, executor);
        hub.notices().iter().for_each(|n| log::warn!("{n}"));
        Ok(Self { hub, listeners })
    }

    /// What its connections share.
    pub fn hub(&self) -> &Rc<Hub> {
        &self.hub
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        port(&self.listeners).unwrap_or_default()
    }

    /// Says in one line what runs.
    pub fn announce(&self) {
        let hub = &self.hub;
        let settings = hub.settings();
        let at: Vec<String> = self
            .listeners
            .iter()
            .filter_map(|l| l.get_ref().local_addr().ok())
            .map(|a| a.to_string())
            .collect();
        log::info!(
            "listening on {} · auth {} ({}) · state {} · {} devices paired · {:.1} ms to listen",
            at.join(", "),
            settings.auth.as_str(),
            settings.credential_source(),
            settings.paths.barnacle_dir.display(),
            hub.book().devices().len(),
            hub.boot.clock.uptime().as_secs_f64() * 1000.0,
        );
    }

    /// Accepts connections, until the executor ends.
    pub fn accept(self) -> Rc<Hub> {
        let unattached = Rc::new(Unattached::default());
        for listener in self.listeners {
            self.hub.spawn(accept(self.hub.clone(), listener, unattached.clone()));
        }
        self.hub.spawn(pulse::beat(self.hub.clone()));
        self.hub.spawn(watch::follow(self.hub.clone()));
        self.hub
    }

    /// Goes on with a connection that was written down.
    pub fn resume(hub: &Rc<Hub>, saved: Saved, socket: Async<TcpStream>) -> Rc<Conn> {
        session::resume(hub, saved, socket)
    }
}

fn port(listeners: &[Async<TcpListener>]) -> Option<u16> {
    listeners.first().and_then(|l| l.get_ref().local_addr().ok()).map(|a| a.port())
}

/// Runs a gateway until it is told to stop.
///
/// # Errors
/// [`StartFailure`] when it does not come up.
pub fn run(settings: Settings, clock: Clock, journal: &'static Journal) -> Result<(), StartFailure> {
    raise_descriptor_limit();
    let executor = Rc::new(LocalExecutor::new());
    let gateway = Gateway::start(settings, clock, journal, executor.clone())?;
    // Before anyone can know that it runs, and tell it to stop.
    let signals =
        Signals::new().map_err(|e| StartFailure::System(format!("cannot listen for signals: {e}")))?;
    gateway.announce();
    let hub = gateway.accept();
    // A task of its own, so that it is looked at only when a signal came.
    let serve = executor.spawn(async move {
        loop {
            match signals.next().await {
                SIGHUP => {
                    log::info!("SIGHUP: reading the configuration");
                    hub.reload(Why::Asked).await.close();
                }
                SIGINT => break log::info!("SIGINT: stopping"),
                _ => break log::info!("SIGTERM: stopping"),
            }
        }
        stop(&hub).await;
    });
    reactor::block_on(executor.run(serve))
        .map_err(|e| StartFailure::System(format!("cannot wait for connections: {e}")))
}

/// The signals that are listened for, each with the socket its handler writes to.
struct Signals([(i32, Async<UnixStream>); 3]);

impl Signals {
    fn new() -> io::Result<Self> {
        let listen = |signal| {
            let (heard, handler) = UnixStream::pair()?;
            signal_hook::low_level::pipe::register(signal, handler)?;
            Ok::<_, io::Error>((signal, Async::new(heard)?))
        };
        Ok(Self([listen(SIGTERM)?, listen(SIGINT)?, listen(SIGHUP)?]))
    }

    async fn next(&self) -> i32 {
        poll_fn(|cx| {
            let came =
                |heard: &Async<UnixStream>| heard.poll_with(cx, |mut s| s.read(&mut [0; 64])).is_ready();
            self.0.iter().find(|(_, heard)| came(heard)).map_or(Poll::Pending, |(s, _)| Poll::Ready(*s))
        })
        .await
    }
}

/// Lets requests under way finish, tells everyone, and writes down what is only in memory.
async fn stop(hub: &Rc<Hub>) {
    hub.begin_leaving();
    let finished = || async {
        while hub.conns().iter().any(|c| c.in_flight() > 0) {
            Timer::after(Duration::from_millis(10)).await;
        }
    };
    let late = async {
        Timer::after(FINISH).await;
        // Whoever waits for a node is answered all the same.
        hub.invocations.stop();
        future::or(finished(), async { _ = Timer::after(LAST_ANSWERS).await }).await;
    };
    future::or(finished(), late).await;
    hub.broadcast(Event::Shutdown, &Json(r#"{"reason":"gateway stopping","restartExpectedMs":1000}"#.into()));
    for conn in hub.conns() {
        conn.wire.close(1012, "gateway stopping");
    }
    let gone = async {
        while hub.conn_count() > 0 {
            Timer::after(Duration::from_millis(5)).await;
        }
    };
    let late = async {
        Timer::after(FINISH).await;
    };
    future::or(gone, late).await;
    hub.settle().await;
}

/// As many descriptors as the system allows: one a connection.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(e) = setrlimit(Resource::Nofile, limit) {
        log::debug!("descriptor limit: {e}");
    }
}

/// Who is connected and has not attached.
#[derive(Default)]
struct Unattached {
    by_address: RefCell<HashMap<IpAddr, usize>>,
}

struct Place(Rc<Unattached>, IpAddr);

impl Unattached {
    fn full(&self) -> bool {
        self.by_address.borrow().values().sum::<usize>() >= UNATTACHED
    }

    fn place(self: &Rc<Self>, ip: IpAddr) -> Option<Place> {
        let mut by_address = self.by_address.borrow_mut();
        let n = by_address.entry(ip).or_default();
        if *n >= UNATTACHED_PER_ADDRESS && !ip.to_canonical().is_loopback() {
            return None;
        }
        *n += 1;
        Some(Place(self.clone(), ip))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_address = self.0.by_address.borrow_mut();
        if let Some(n) = by_address.get_mut(&self.1) {
            *n -= 1;
            if *n == 0 {
                by_address.remove(&self.1);
            }
        }
    }
}

async fn accept(hub: Rc<Hub>, listener: Async<TcpListener>, unattached: Rc<Unattached>) {
    loop {
        while unattached.full() {
            // Whoever comes now waits in the kernel's backlog.
            Timer::after(Duration::from_millis(20)).await;
        }
        match listener.accept().await {
            Ok((socket, remote)) => {
                if let Some(place) = unattached.place(remote.ip()) {
                    hub.spawn(take_in(hub.clone(), socket, remote, place));
                } else {
                    log::warn!("{}: too many connections that have not attached; closed one", remote.ip());
                }
            }
            Err(e) => {
                log::warn!("accept: {e}");
                Timer::after(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn take_in(hub: Rc<Hub>, socket: Async<TcpStream>, remote: SocketAddr, place: Place) {
    let _ = socket.get_ref().set_nodelay(true);
    let Ok(own) = socket.get_ref().local_addr() else { return };
    let limit = hub.settings().handshake_timeout;
    let late = async {
        Timer::after(limit).await;
        None
    };
    let Some(first) = future::or(http::first(socket), late).await else { return };
    match first.head.websocket_key.clone() {
        Some(key) => {
            if let Some(conn) = handshake::attach(&hub, first, &key, remote, own).await {
                // A task of its own: this one's memory was sized for the handshake.
                hub.spawn(session::serve(hub.clone(), conn));
            }
        }
        None => {
            let late = async {
                Timer::after(HTTP).await;
            };
            let strict = || hub.settings().config.strict_transport_security.clone();
            future::or(http::serve(first, |path| page(&hub, path), strict), late).await;
        }
    }
    drop(place);
}

/// What plain HTTP is told. Cheap: it is polled.
fn page(hub: &Hub, path: &str) -> Page {
    let json = |status, body: &str| Page { status, kind: "application/json", body: body.into() };
    match path {
        "/health" | "/healthz" => json(200, r#"{"ok":true,"status":"live"}"#),
        "/readyz" if hub.is_leaving() => json(503, r#"{"ready":false,"reason":"gateway stopping"}"#),
        "/readyz" => json(200, r#"{"ready":true}"#),
        "/" => Page {
            status: 200,
            kind: "text/plain; charset=utf-8",
            body: "This is a Barnacle gateway. Attach over WebSocket: openclaw gateway status\n".into(),
        },
        _ => Page { status: 404, kind: "text/plain; charset=utf-8", body: "no such page\n".into() },
    }
}
