//! The state that is handed over: a gateway as plain data. [`sections`](super::sections) says how it becomes bytes.

use super::memory::{Across, Memory};
use crate::{
    app::App,
    auth::SharedAuth,
    hub::{Conn, PendingConn},
    net::{Listeners, Wire},
    reactor::{self, Async},
    reload,
};
use std::{
    fmt,
    net::TcpListener,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    rc::Rc,
};

/// A gateway as plain data: what it knows, and the numbers of its descriptors.
#[derive(Clone, Default, Debug)]
pub struct State {
    /// Version of the gateway that saved the state.
    pub version: String,
    /// The reason for the restart.
    pub why: String,
    /// Beginning of the pause in which nobody is served, nanoseconds of the monotonic clock.
    pub since_ns: u64,
    /// The store's directory, and the descriptor of its lock.
    pub lock: Option<(String, RawFd)>,
    /// Requirements for connections that have no device.
    pub shared_auth: SharedAuth,
    /// The sockets it listens on.
    pub listeners: Vec<RawFd>,
    /// Descriptors of a socket unit's sockets.
    pub given: Vec<RawFd>,
    /// The `epoll` that the connections' sockets are in.
    pub epoll: Option<RawFd>,
    /// Everything that no file holds.
    pub memory: Memory,
}

/// The sockets that a state speaks of, in its order.
pub struct Sockets {
    listeners: [Vec<Rc<Async<TcpListener>>>; 2],
    conns: Vec<Rc<Conn>>,
    pending_conns: Vec<Rc<PendingConn>>,
    /// Connections to the gateway behind this one.
    links: Vec<Rc<Wire>>,
}

impl Sockets {
    /// All that must live on, but for the store's lock.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let listeners = self.listeners.iter().flatten().map(|l| l.get_ref().as_fd());
        listeners.chain(self.connections())
    }

    /// Descriptors of all connections.
    pub fn connections(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let conns = self.conns.iter().map(|c| c.wire.socket().get_ref().as_fd());
        let pending = self.pending_conns.iter().map(|g| g.wire.socket().get_ref().as_fd());
        conns.chain(pending).chain(self.links.iter().map(|wire| wire.socket().get_ref().as_fd()))
    }

    /// The same without the connections to the gateway behind this one, for a format that knows none.
    pub(super) fn without_links(self) -> Self {
        Self { links: Vec::new(), ..self }
    }
}

impl State {
    /// The gateway as it is now, and the sockets that it speaks of; `version` is this program's, and `more` is
    /// what a connection is sent besides.
    pub(crate) fn of(
        app: &Rc<App>,
        listeners: &Listeners,
        version: &str,
        why: &str,
        across: Across,
        more: impl Fn(&Conn) -> Vec<u8>,
    ) -> (Self, Sockets) {
        let listeners = [listeners.sockets(), listeners.given()];
        let [own, given] = listeners.each_ref().map(|l| l.iter().map(|l| l.get_ref().as_raw_fd()).collect());
        let (conns, pending_conns) = app.hub.carried();
        let lock = app
            .devices
            .store
            .lock()
            .map(|fd| (app.devices.store.dir().to_string_lossy().into(), fd.as_raw_fd()));
        let state = Self {
            version: version.into(),
            why: why.into(),
            since_ns: crate::clock::monotonic_ns(),
            // It ends with its process: the next one has to take it.
            lock: lock.filter(|_| across == Across::Images),
            shared_auth: reload::shared_auth(&app.settings()),
            listeners: own,
            given,
            epoll: match across {
                Across::Images => reactor::with_epoll(|epoll| epoll.as_raw_fd()).ok(),
                Across::Processes => None,
            },
            memory: app.memory(&conns, &pending_conns, across, more),
        };
        let links = conns.iter().filter_map(|conn| app.relay.carried(conn.id())).collect();
        (state, Sockets { listeners, conns, pending_conns, links })
    }

    /// Whether every connection in it can be restored.
    pub(crate) fn is_whole(&self) -> bool {
        let memory = &self.memory;
        memory.conns.read().all(|one| one.is_some())
            && memory.pending_conns.read().all(|one| one.is_some())
            && memory.links.read().all(|one| one.is_some())
    }
}

/// Why bytes are no state that can be restored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DamagedState {
    /// The bytes differ from what was written.
    Broken(&'static str),
    /// The format is not one that this version reads.
    Format(u32, &'static str),
    /// A section makes no sense.
    Section(&'static str),
    /// A section that this version needs is missing, or newer than this version.
    Missing(&'static str, &'static str),
}

impl fmt::Display for DamagedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(why) => write!(f, "the state {why}"),
            // Barnacle 0.1.0 says the same, and by these words a newer version knows to offer it format 2.
            Self::Format(format, version) => {
                write!(f, "the state has format {format}, which Barnacle {version} does not read")
            }
            Self::Section(name) => write!(f, "the state's section {name} makes no sense"),
            Self::Missing(name, version) => {
                write!(f, "the state has no section {name} that Barnacle {version} reads, and it needs one")
            }
        }
    }
}
