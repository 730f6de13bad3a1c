//! Taking over: the state that the process image before this one left, and the sockets it speaks of.

use super::{
    VARIABLE,
    prove::read_all,
    state::{Admits, Dialect, State},
};
use crate::{
    auth::Basis,
    gateway::{arrive, session},
    live::{Hub, monotonic_ns, wall_ms},
    net::inherit,
    reactor::Async,
};
use std::{
    fs::File,
    io,
    net::{TcpListener, TcpStream},
    os::fd::{OwnedFd, RawFd},
    rc::Rc,
};

/// The close code of a connection whose credential is no longer the gateway's, as in OpenClaw.
const AUTH_CHANGED: u16 = 4001;

/// What was taken over.
pub struct Inherited {
    /// The state.
    pub state: State,
    /// The sockets that are listened on.
    pub listeners: Vec<OwnedFd>,
    /// The lock of the store.
    pub lock: Option<OwnedFd>,
    /// The version that goes on.
    pub version: &'static str,
}

/// Whether this process image goes on from another one.
pub fn goes_on() -> bool {
    std::env::var(VARIABLE).is_ok_and(|said| said.split(':').next() == Some(&std::process::id().to_string()))
}

/// What the process image before this one left, if it left something. To be called before anything else
/// opens a descriptor or starts a thread.
pub fn take(dialect: &Dialect) -> Option<Inherited> {
    let said = inherit::take_variable(VARIABLE)?;
    // A child of the gateway may have it from its parent, and is nobody's successor.
    let (pid, fd) = said.split_once(':')?;
    if pid.parse() != Ok(std::process::id()) {
        return None;
    }
    let taken = fd.parse().map_err(io::Error::other).and_then(inherit::adopt);
    let state = taken
        .and_then(|fd| read_all(File::from(fd)))
        .and_then(|bytes| dialect.open(&bytes).map_err(|e| io::Error::other(e.to_string())));
    match state {
        Ok(state) => {
            let take = |fd: &RawFd| inherit::adopt(*fd).map_err(|e| log::error!("descriptor {fd}: {e}")).ok();
            let listeners = state.listeners.iter().filter_map(take).collect();
            let lock = state.lock.as_ref().and_then(|(_, fd)| take(fd));
            Some(Inherited { state, listeners, lock, version: dialect.version })
        }
        Err(e) => {
            log::error!("what was handed over is lost: {e}");
            inherit::close_rest();
            None
        }
    }
}

impl Inherited {
    /// The sockets that are listened on.
    pub fn listeners(&mut self) -> Vec<Async<TcpListener>> {
        let sockets = std::mem::take(&mut self.listeners).into_iter();
        let taken =
            |fd| Async::new(TcpListener::from(fd)).inspect_err(|e| log::error!("listening socket: {e}"));
        sockets.filter_map(|fd| taken(fd).ok()).collect()
    }

    /// Goes on with every connection.
    pub fn go_on(self, hub: &Rc<Hub>, place: impl Fn(&TcpStream) -> Box<dyn std::any::Any>) {
        let State { memory, conns, guests, admits, why, since_ns, version, .. } = self.state;
        hub.remember(&memory);
        let now = Admits::of(&hub.settings());
        let (mut carried, mut closed) = (0, 0);
        for (saved, fd) in memory.conns.into_iter().zip(conns) {
            let Some(socket) = socket(fd) else { continue };
            let refused = saved.session.basis == Basis::Shared && !admits.still(&now);
            let conn = session::resume(hub, saved, socket);
            if refused {
                conn.wire.close(AUTH_CHANGED, "gateway auth changed");
                closed += 1;
            } else {
                carried += 1;
            }
        }
        let mut connecting = 0;
        for (saved, fd) in memory.guests.into_iter().zip(guests) {
            let Some(socket) = socket(fd) else { continue };
            let place = place(socket.get_ref());
            connecting += 1;
            hub.spawn(arrive::go_on(hub.clone(), hub.guests.resume(saved, socket), place));
        }
        for invocation in memory.invocations {
            session::resume_invocation(hub, invocation);
        }
        let took = (monotonic_ns() - since_ns) / 1000;
        let told = hub.restarts.told();
        log::info!(
            "restarted ({why}): Barnacle {} goes on from {version} · {carried} connections carried over, \
             {connecting} on their way in, {closed} closed · nobody was served for {:.1} ms",
            self.version,
            took as f64 / 1000.0,
        );
        let last_ms = wall_ms();
        hub.restarts.set_told(crate::live::Told {
            count: told.count + 1,
            last_ms,
            took_us: took,
            carried,
            why,
        });
    }
}

fn socket(fd: RawFd) -> Option<Async<TcpStream>> {
    let socket = inherit::adopt(fd).map(TcpStream::from).and_then(Async::new);
    socket.map_err(|e| log::error!("connection on descriptor {fd}: {e}")).ok()
}
