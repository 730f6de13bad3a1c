//! A restart by systemd: the gateway writes itself down, leaves state and sockets to systemd to keep, and
//! ends without a word to anyone; the next process is passed them and goes on from there.
//!
//! The listening sockets are left with it from the start on, so that the port stays open when the gateway
//! is killed. Source: sd_pid_notify_with_fds(3), `FileDescriptorStoreMax=` in systemd.service(5).

use super::{
    execute::Pass,
    preflight::read_all,
    restore::{Inherited, Taken},
    state::{State, StateFormat},
};
use crate::sd_notify::{Notify, Passed};
use rustix::net::sockopt::socket_cookie;
use std::{collections::HashMap, fs::File, io, os::fd::AsFd};

/// The state's name.
const STATE: &str = "barnacle-state";
/// That of the listening sockets.
const LISTENING: &str = "barnacle-listening";
/// That of all connections: the names of what is passed stand in one variable, of which Linux allows 128 KiB.
/// Which is which is known by their cookies (SO_COOKIE), which no other socket has.
const CONNECTION: &str = "c";

impl Pass {
    /// Leaves everything to systemd, and ends this process. Returns only if nothing came of it: why.
    pub async fn leave(&self, notify: &Notify) -> io::Error {
        self.app.devices.settle().await;
        let mut since = self.come_to_rest().await;
        if self.dismiss().await {
            since = self.come_to_rest().await;
        }
        let e = self.end(notify, since).err();
        [STATE, CONNECTION].into_iter().for_each(|name| notify.remove(name));
        self.app.hub.pause(false);
        self.doors.pause(false);
        e.unwrap_or_else(|| io::Error::other("it has no room for all of them (FileDescriptorStoreMax=)"))
    }

    /// Nothing else runs from the moment at which the state is written down. Returns if systemd keeps less
    /// than all.
    fn end(&self, notify: &Notify, since: u64) -> io::Result<()> {
        self.app.hub.events.flush();
        let (mut state, sockets) =
            State::of(&self.app, &self.doors, self.state_format.version, "systemd", self.last_words());
        state.since_ns = since;
        // The lock is let go of with this process: whoever is next has to take it.
        state.lock = None;
        state.cookies = sockets.connections().map(socket_cookie).collect::<Result<_, _>>()?;
        let file = self.state_format.seal(&state).memory_file()?;
        notify.stopping("restarting: systemd keeps the connections");
        notify.store(STATE, &file)?;
        sockets.connections().try_for_each(|socket| notify.store(CONNECTION, socket))?;
        if notify.keeps()? {
            log::info!("systemd keeps {} connections until the gateway is back", state.cookies.len());
            std::process::exit(0);
        }
        Ok(())
    }
}

impl Taken {
    /// What systemd passed.
    pub fn of(passed: Vec<Passed>, state_format: &StateFormat) -> Self {
        let mut taken = Self::default();
        let (mut state, mut connections) = (None, HashMap::new());
        for Passed { name, fd } in passed {
            match name.as_str() {
                STATE => state = Some(fd),
                LISTENING => taken.listening.push(fd),
                CONNECTION => {
                    if let Ok(cookie) = socket_cookie(&fd) {
                        connections.insert(cookie, fd);
                    }
                }
                _ => taken.given.push(fd),
            }
        }
        let read =
            |fd| state_format.open(&read_all(File::from(fd))?).map_err(|e| io::Error::other(e.to_string()));
        match state.map(read) {
            Some(Ok(state)) => {
                let mut take = state.cookies.iter().map(|cookie| connections.remove(cookie));
                let conns: Vec<_> = take.by_ref().take(state.conns.len()).collect();
                let pending_conns = take.collect();
                taken.inherited = Some(Inherited {
                    state,
                    lock: None,
                    version: state_format.version,
                    epoll: false,
                    conns,
                    pending_conns,
                });
            }
            Some(Err(e)) => {
                log::error!("what systemd kept cannot be gone on from, everyone attaches anew: {e}")
            }
            None if !connections.is_empty() => {
                log::error!("systemd kept {} connections but not what is known of them", connections.len());
            }
            None => {}
        }
        if !connections.is_empty() {
            log::error!("{} connections that systemd kept are closed", connections.len());
        }
        taken
    }
}

/// Everything but the listening sockets was taken over: systemd need not keep it any more.
pub fn forget(notify: &Notify) {
    [STATE, CONNECTION].into_iter().for_each(|name| notify.remove(name));
}

/// Has systemd keep these listening sockets, and no others.
pub fn keep_listening<Fd: AsFd>(notify: &Notify, sockets: impl Iterator<Item = Fd>) {
    notify.remove(LISTENING);
    for socket in sockets {
        if let Err(e) = notify.store(LISTENING, socket) {
            log::warn!("a kill would close the port, as systemd does not keep it: {e}");
        }
    }
}
