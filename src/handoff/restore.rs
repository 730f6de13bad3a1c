//! Restores a gateway from the state and the sockets that the process image before this one left.

use super::{VARIABLE, preflight::read_all, sections::StateFormat, state::State};
use crate::{
    app::App,
    auth::Lost,
    clock::{monotonic_ns, wall_ms},
    hub::{Conn, RestartReport, SavedConn, SavedInvocation, SavedPending, SavedSocket},
    net::fds,
    packed,
    reactor::{self, Async, Place},
    reload,
    upstream::SavedLink,
};
use nanoserde::DeBin;
use std::{
    fs::File,
    io,
    net::TcpStream,
    os::fd::{OwnedFd, RawFd},
    rc::Rc,
};

/// Descriptors and state that this process inherited.
#[derive(Default)]
pub struct Inherited {
    /// The gateway before this one, if it left a state.
    pub predecessor: Option<Predecessor>,
    pub listening: Vec<OwnedFd>,
    /// Listening sockets of a socket unit.
    pub given: Vec<OwnedFd>,
}

/// A gateway that handed over.
pub struct Predecessor {
    pub(super) state: State,
    /// The lock of the store.
    pub(crate) lock: Option<OwnedFd>,
    /// The version that takes over.
    pub(super) version: &'static str,
    /// Whether the `epoll` that the sockets are in was taken over, too.
    pub(super) epoll: bool,
    /// The attached connections, in the order of the state; `None` where one is lost.
    pub(super) conns: Vec<Option<OwnedFd>>,
    /// Sockets of pending connections.
    pub(super) pending_conns: Vec<Option<OwnedFd>>,
    /// Sockets of links to the gateway behind this one.
    pub(super) links: Vec<Option<OwnedFd>>,
}

/// The beginning of a connection's record: its socket's part.
pub(super) struct Head(pub SavedSocket);

impl DeBin for Head {
    fn de_bin(at: &mut usize, bytes: &[u8]) -> Result<Self, nanoserde::DeBinErr> {
        packed::read_part(at, bytes).map(Self)
    }
}

/// Whoever serves the connections that are restored.
pub(crate) trait Serve {
    fn conn(&self, saved: SavedConn, socket: Async<TcpStream>) -> Rc<Conn>;
    /// Serves a pending connection.
    fn pending(&self, saved: SavedPending, socket: Async<TcpStream>);
    /// Continues the link of a connection to the gateway behind this one.
    fn link(&self, saved: SavedLink, socket: Option<Async<TcpStream>>);
    /// Waits for a node, on behalf of a caller.
    fn invocation(&self, saved: SavedInvocation);
}

/// Whether this process image takes over from another one.
pub fn is_successor() -> bool {
    std::env::var(VARIABLE)
        .is_ok_and(|value| value.split(':').next() == Some(&std::process::id().to_string()))
}

/// Takes what the process image before this one left, if it left something. To be called before anything else
/// opens a descriptor or starts a thread.
pub(crate) fn inherit(state_format: &StateFormat) -> Option<Inherited> {
    let value = fds::take_variable(VARIABLE)?;
    // A child of the gateway may have it from its parent, and is nobody's successor.
    let (pid, fd) = value.split_once(':')?;
    if pid.parse() != Ok(std::process::id()) {
        return None;
    }
    let file = fd.parse().map_err(io::Error::other).and_then(fds::adopt);
    let state = file
        .and_then(|fd| read_all(File::from(fd)))
        .and_then(|bytes| state_format.open(&bytes).map_err(|e| io::Error::other(e.to_string())));
    match state {
        Ok(state) => {
            let adopt = |fd: &RawFd| fds::adopt(*fd).map_err(|e| log::error!("descriptor {fd}: {e}")).ok();
            let listening = state.listeners.iter().filter_map(adopt).collect();
            let given = state.given.iter().filter_map(adopt).collect();
            let lock = state.lock.as_ref().and_then(|(_, fd)| adopt(fd));
            let head = |head: Option<Head>| head.map(|Head(socket)| socket);
            let conns: Vec<_> = state.memory.conns.read_heads().map(head).collect();
            let pending_conns: Vec<_> = state.memory.pending_conns.read_heads().map(head).collect();
            let there = |socket: &SavedSocket| socket.fd >= 0;
            let links: Vec<_> =
                state.memory.links.read_heads().map(|link| head(link).filter(there)).collect();
            let all = conns.iter().chain(&pending_conns).chain(&links);
            let places: Vec<_> = all.flatten().map(|socket| socket.place).collect();
            let sockets = |all: Vec<Option<_>>| {
                all.into_iter().map(|socket: Option<SavedSocket>| adopt(&socket?.fd)).collect()
            };
            let (conns, pending_conns, links) = (sockets(conns), sockets(pending_conns), sockets(links));
            let epoll = state.epoll.as_ref().and_then(adopt);
            let epoll = epoll.is_some_and(|epoll| reactor::go_on(epoll, &places).is_ok());
            let version = state_format.version;
            let predecessor = Predecessor { state, lock, epoll, version, conns, pending_conns, links };
            Some(Inherited { predecessor: Some(predecessor), listening, given })
        }
        Err(e) => {
            log::error!("what was handed over is lost: {e}");
            fds::close_rest();
            None
        }
    }
}

impl Predecessor {
    /// Memory of the process before.
    pub(crate) fn memory(&self) -> &super::Memory {
        &self.state.memory
    }

    /// Restores every connection, which `serve` then serves.
    pub(crate) fn restore(self, app: &Rc<App>, serve: &dyn Serve) {
        let Self { state, epoll, conns, pending_conns, links, .. } = self;
        let State { memory, shared_auth: old, why, since_ns, version, .. } = state;
        let place = |place: Place| epoll.then_some(place);
        let all = conns.len() + pending_conns.len();
        app.restore(&memory);
        let new = reload::shared_auth(&app.settings());
        let (mut kept, mut closed, mut pending) = (0u64, 0, 0);
        for (saved, fd) in memory.conns.read().zip(conns) {
            let Some((saved, fd)) = saved.zip(fd) else { continue };
            let Some(socket) = socket(fd, place(saved.socket.place)) else { continue };
            // Between two processes the registry can be changed by whoever has the store's lock then.
            let lost = reload::lost(&app.devices, &saved.session, &old, &new);
            let conn = serve.conn(saved, socket);
            if let Some((code, reason)) = lost.map(Lost::close) {
                conn.wire.close(code, reason);
                closed += 1;
            } else {
                kept += 1;
            }
        }
        for (saved, fd) in memory.pending_conns.read().zip(pending_conns) {
            let Some((saved, fd)) = saved.zip(fd) else { continue };
            let Some(socket) = socket(fd, place(saved.socket.place)) else { continue };
            serve.pending(saved, socket);
            pending += 1;
        }
        for (saved, fd) in memory.links.read().zip(links) {
            let Some(saved) = saved else { continue };
            let socket = fd.and_then(|fd| socket(fd, place(saved.socket.place)));
            serve.link(saved, socket);
        }
        memory.invocations.into_iter().for_each(|saved| serve.invocation(saved));
        let lost = all as u64 - kept - closed - pending;
        if lost > 0 {
            log::error!("{lost} of {all} connections were lost in the hand-over");
        }
        let took = (monotonic_ns() - since_ns) / 1000;
        let report = app.restarts.report();
        log::info!(
            "restarted ({why}): Barnacle {} handed over from {version}: {} kept, {pending} in \
             handshake, {closed} closed; paused {:.1} ms",
            self.version,
            crate::host::count(kept, "connection"),
            took as f64 / 1000.0,
        );
        let count = report.count + 1;
        app.restarts.set_report(RestartReport {
            count,
            last_ms: wall_ms(),
            took_us: took,
            carried: kept,
            why,
        });
    }
}

/// Takes in a socket that has not blocked since it was accepted; that flag stays with it.
fn socket(fd: OwnedFd, place: Option<Place>) -> Option<Async<TcpStream>> {
    let socket = TcpStream::from(fd);
    let taken = match place {
        Some(place) => Async::in_place(socket, place),
        None => Async::quiet(socket),
    };
    taken.map_err(|e| log::error!("a connection: {e}")).ok()
}
