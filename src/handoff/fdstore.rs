//! A restart by systemd: the gateway stores its state and its sockets with systemd, and ends without a word to
//! anyone; the next process is passed both and restores from them.
//!
//! Source: sd_pid_notify_with_fds(3), `FileDescriptorStoreMax=` in systemd.service(5).

use super::{
    execute::Handoff,
    memory::Across,
    preflight::read_all,
    restore::{Head, Inherited, Predecessor},
    sections::StateFormat,
};
use crate::{
    packed::PackedList,
    sd_notify::{LISTENING, Notify, Passed},
};
use nanoserde::DeBin;
use rustix::net::sockopt::socket_cookie;
use std::{collections::HashMap, fs::File, io, os::fd::OwnedFd};

/// The state's name in the store.
const STATE: &str = "barnacle-state";
/// Name of every connection's socket. One letter, since the names of all stored descriptors are passed in one
/// variable, of which Linux allows 128 KiB; cookies (SO_COOKIE) tell which is which.
const CONNECTION: &str = "c";

impl Handoff {
    /// Leaves everything to systemd, and ends this process. Returns only on failure: why.
    pub(crate) async fn store_and_exit(&self, notify: &Notify) -> io::Error {
        self.app.devices.settle().await;
        // Which format the next process reads. Whatever else is wrong with the program, systemd starts it all the
        // same.
        if let Err(e) = self.ask().await {
            log::warn!("the program that systemd starts next may close the connections: {e}");
        }
        let mut since = self.quiesce().await;
        if self.close_tls().await {
            since = self.quiesce().await;
        }
        let e = self.store(notify, since).err();
        forget(notify);
        self.abort(String::new());
        e.unwrap_or_else(|| io::Error::other("it has no room for all of them (FileDescriptorStoreMax=)"))
    }

    /// Nothing else runs from the moment at which the state is saved. Returns if systemd keeps less than all.
    fn store(&self, notify: &Notify, since: u64) -> io::Result<()> {
        self.app.hub.events.flush();
        let (mut state, sockets) = self.state("systemd", Across::Processes, self.unfinished_answers());
        state.since_ns = since;
        let file = self.seal(&state, self.format()).memory_file()?;
        notify.stopping("restarting: systemd keeps the connections");
        notify.store(STATE, &file)?;
        sockets.connections().try_for_each(|socket| notify.store(CONNECTION, socket))?;
        if notify.keeps()? {
            let count = sockets.connections().count();
            log::info!("systemd keeps {count} connections until the gateway is back");
            self.app.journal.settle();
            std::process::exit(0);
        }
        Ok(())
    }
}

impl Inherited {
    /// Sorts the descriptors that systemd passed.
    pub(crate) fn of(passed: Vec<Passed>, state_format: &StateFormat) -> Self {
        let mut inherited = Self::default();
        let (mut state, mut connections) = (None, HashMap::new());
        for Passed { name, fd } in passed {
            match name.as_str() {
                STATE => state = Some(fd),
                LISTENING => inherited.listening.push(fd),
                CONNECTION => {
                    if let Ok(cookie) = socket_cookie(&fd) {
                        connections.insert(cookie, fd);
                    }
                }
                _ => inherited.given.push(fd),
            }
        }
        let read =
            |fd| state_format.open(&read_all(File::from(fd))?).map_err(|e| io::Error::other(e.to_string()));
        match state.map(read) {
            Some(Ok(state)) => {
                let conns = by_cookie(&state.memory.conns, &mut connections);
                let pending_conns = by_cookie(&state.memory.pending_conns, &mut connections);
                let links = by_cookie(&state.memory.links, &mut connections);
                inherited.predecessor = Some(Predecessor {
                    state,
                    lock: None,
                    version: state_format.version,
                    epoll: false,
                    conns,
                    pending_conns,
                    links,
                });
            }
            Some(Err(e)) => {
                log::error!("what systemd kept cannot be restored, everyone attaches anew: {e}")
            }
            None if !connections.is_empty() => {
                log::error!("systemd kept {} connections, but not their state", connections.len());
            }
            None => {}
        }
        if !connections.is_empty() {
            log::error!("{} connections that systemd kept are closed", connections.len());
        }
        inherited
    }
}

/// The sockets of `list`'s connections, in its order.
fn by_cookie<T: DeBin>(list: &PackedList<T>, passed: &mut HashMap<u64, OwnedFd>) -> Vec<Option<OwnedFd>> {
    let sockets = list.read_heads::<Head>();
    sockets.map(|head| passed.remove(&head?.0.cookie?)).collect()
}

/// Removes from systemd's store everything but the listening sockets, which was restored.
pub(crate) fn forget(notify: &Notify) {
    [STATE, CONNECTION].into_iter().for_each(|name| notify.remove(name));
}
