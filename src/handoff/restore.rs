//! Taking over: the state that the process image before this one left, and the sockets it speaks of.

use super::{
    VARIABLE,
    preflight::read_all,
    state::{State, StateFormat},
};
use crate::{
    app::App,
    auth::Lost,
    clock::{monotonic_ns, wall_ms},
    gateway::{accept, session},
    net::fds,
    reactor::{self, Async, Place},
    reload,
};
use std::{
    fs::File,
    io,
    net::TcpStream,
    os::fd::{OwnedFd, RawFd},
    rc::Rc,
};

/// What this process was born with.
#[derive(Default)]
pub struct Taken {
    /// The gateway that it goes on from, if one left a state.
    pub inherited: Option<Inherited>,
    /// The listening sockets of that one.
    pub listening: Vec<OwnedFd>,
    /// Those of a socket unit.
    pub given: Vec<OwnedFd>,
}

/// A gateway that is gone on from.
pub struct Inherited {
    /// The state.
    pub state: State,
    /// The lock of the store.
    pub lock: Option<OwnedFd>,
    /// The version that goes on.
    pub version: &'static str,
    /// Whether the `epoll` that they are in was taken over, too.
    pub epoll: bool,
    /// The connections, in the order of [`State::conns`]; nothing where one is lost.
    pub conns: Vec<Option<OwnedFd>>,
    /// The others, in the order of [`State::pending_conns`].
    pub pending_conns: Vec<Option<OwnedFd>>,
}

/// Whether this process image goes on from another one.
pub fn goes_on() -> bool {
    std::env::var(VARIABLE).is_ok_and(|said| said.split(':').next() == Some(&std::process::id().to_string()))
}

/// What the process image before this one left, if it left something. To be called before anything else
/// opens a descriptor or starts a thread.
pub fn take(state_format: &StateFormat) -> Option<Taken> {
    let said = fds::take_variable(VARIABLE)?;
    // A child of the gateway may have it from its parent, and is nobody's successor.
    let (pid, fd) = said.split_once(':')?;
    if pid.parse() != Ok(std::process::id()) {
        return None;
    }
    let taken = fd.parse().map_err(io::Error::other).and_then(fds::adopt);
    let state = taken
        .and_then(|fd| read_all(File::from(fd)))
        .and_then(|bytes| state_format.open(&bytes).map_err(|e| io::Error::other(e.to_string())));
    match state {
        Ok(state) => {
            let take = |fd: &RawFd| fds::adopt(*fd).map_err(|e| log::error!("descriptor {fd}: {e}")).ok();
            let listening = state.listeners.iter().filter_map(take).collect();
            let given = state.given.iter().filter_map(take).collect();
            let lock = state.lock.as_ref().and_then(|(_, fd)| take(fd));
            let conns = state.conns.iter().map(take).collect();
            let pending_conns = state.pending_conns.iter().map(take).collect();
            let epoll = state.epoll.as_ref().and_then(take);
            let epoll = epoll.is_some_and(|epoll| reactor::go_on(epoll, &state.places).is_ok());
            let inherited =
                Inherited { state, lock, epoll, version: state_format.version, conns, pending_conns };
            Some(Taken { inherited: Some(inherited), listening, given })
        }
        Err(e) => {
            log::error!("what was handed over is lost: {e}");
            fds::close_rest();
            None
        }
    }
}

impl Inherited {
    /// Goes on with every connection.
    pub fn go_on(self, app: &Rc<App>, place: impl Fn(&TcpStream) -> Box<dyn std::any::Any>) {
        let Self { state, epoll, conns, pending_conns, .. } = self;
        let State { memory, admits, why, since_ns, version, places, .. } = state;
        let mut places = places.into_iter().filter(|_| epoll);
        let all = conns.len() + pending_conns.len();
        app.remember(&memory);
        let (admitted, now) = (admits.shared_auth(), reload::shared_auth(&app.settings()));
        let (mut carried, mut closed, mut connecting) = (0u64, 0, 0);
        for (saved, fd) in memory.conns.read().zip(conns) {
            let place = places.next();
            let (Some(saved), Some(socket)) = (saved, fd.and_then(|fd| socket(fd, place))) else { continue };
            // Between two processes the registry can be changed by whoever has the store's lock then.
            let lost = reload::lost(&app.devices, &saved.session, &admitted, &now);
            let conn = session::resume(app, saved, socket);
            if let Some((code, reason)) = lost.map(Lost::close) {
                conn.wire.close(code, reason);
                closed += 1;
            } else {
                carried += 1;
            }
        }
        for (saved, fd) in memory.pending_conns.into_iter().zip(pending_conns) {
            let at = places.next();
            let Some(socket) = fd.and_then(|fd| socket(fd, at)) else { continue };
            let place = place(socket.get_ref());
            connecting += 1;
            app.spawn(accept::go_on(app.clone(), app.hub.pending_conns.resume(saved, socket), place));
        }
        for invocation in memory.invocations {
            session::resume_invocation(app, invocation);
        }
        let lost = all as u64 - carried - closed - connecting;
        if lost > 0 {
            log::error!("{lost} of {all} connections were lost on the way; the others go on");
        }
        let took = (monotonic_ns() - since_ns) / 1000;
        let told = app.restarts.told();
        log::info!(
            "restarted ({why}): Barnacle {} goes on from {version} · {carried} connections carried over, \
             {connecting} on their way in, {closed} closed · nobody was served for {:.1} ms",
            self.version,
            took as f64 / 1000.0,
        );
        let last_ms = wall_ms();
        app.restarts.set_told(crate::hub::Told {
            count: told.count + 1,
            last_ms,
            took_us: took,
            carried,
            why,
        });
    }
}

/// It has not blocked since it was accepted; that lives on with it.
fn socket(fd: OwnedFd, place: Option<Place>) -> Option<Async<TcpStream>> {
    let socket = TcpStream::from(fd);
    let taken = match place {
        Some(place) => Async::in_place(socket, place),
        None => Async::quiet(socket),
    };
    taken.map_err(|e| log::error!("a connection: {e}")).ok()
}
