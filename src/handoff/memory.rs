//! State of a gateway that no file holds, as plain data that another process image restores.

use crate::{
    app::App,
    auth::limiter::SavedRecord,
    clock::{Clock, instant_of, ns_of},
    devices::Activity,
    hub::{Boot, Conn, PendingConn, RestartReport, SavedConn, SavedInvocation, SavedPending},
    journal,
    packed::PackedList,
    protocol::{DeviceId, RequestId},
    store::Display,
    upstream::SavedLink,
};
use nanoserde::SerBin;
use std::rc::Rc;

/// What a hand-over lies between.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Across {
    /// Two images of one process: descriptors keep their numbers, and the `epoll` is kept.
    Images,
    /// Two processes, the first of which leaves its sockets to systemd.
    Processes,
}

/// Everything a gateway knows and no file holds, but for its sockets.
#[derive(Clone, Default, Debug)]
pub struct Memory {
    /// Random, drawn when the gateway started; the hand-over is no start.
    pub boot: u32,
    /// Time of the start, nanoseconds of the monotonic clock.
    pub started_ns: u64,
    /// Wall-clock time of the start, milliseconds.
    pub started_ms: u64,
    /// The number of the next connection.
    pub next: u64,
    /// The version of who is present.
    pub presence: u64,
    /// Whether the event of it is still to be sent.
    pub presence_pending: bool,
    /// Time of the next tick, nanoseconds of the monotonic clock.
    pub tick_ns: u64,
    /// Number of ticks that came late.
    pub late_ticks: u64,
    /// Number of reloads of the configuration.
    pub reloads: u64,
    /// Last connections of the devices with pending requests.
    pub contacts: Vec<(RequestId, u64)>,
    /// Last activity of devices, and their display data where it changed.
    pub seen: Vec<(DeviceId, u64, Option<Display>)>,
    /// Requests of unknown devices: how many, since when.
    pub unknown_requests: (u32, Option<u64>),
    /// Guesses at the shared secret.
    pub guesses: Vec<SavedRecord>,
    /// Count and last result of restarts.
    pub restarts: RestartReport,
    /// Lines of the journal.
    pub journal: journal::Kept,
    /// Attached connections, serialised.
    pub conns: PackedList<SavedConn>,
    /// Pending connections, serialised.
    pub pending_conns: PackedList<SavedPending>,
    /// Links to the gateway behind this one, serialised.
    pub links: PackedList<SavedLink>,
    /// Ids of the runs that the gateway behind this one lost.
    pub lost_runs: Vec<String>,
    /// Invocations that wait for a node.
    pub invocations: Vec<SavedInvocation>,
}

impl Memory {
    /// The start of the gateway, which a hand-over is none.
    ///
    /// # Errors
    /// When the kernel has no randomness to give.
    pub fn boot(&self) -> Result<Boot, getrandom::Error> {
        let clock = Clock { started: instant_of(self.started_ns), started_ms: self.started_ms };
        let boot = Boot::now(clock)?;
        Ok(Boot { number: self.boot, id: format!("{:08x}", self.boot), ..boot })
    }
}

impl App {
    /// Saves what is known, the attached connections `conns` and the pending ones `pending_conns` with it; `more` is
    /// what a connection is sent besides.
    pub(crate) fn memory(
        &self,
        conns: &[Rc<Conn>],
        pending_conns: &[Rc<PendingConn>],
        across: Across,
        more: impl Fn(&Conn) -> Vec<u8>,
    ) -> Memory {
        let cookie = across == Across::Processes;
        let mut saved_conns = PackedList::for_some(conns.len());
        conns.iter().for_each(|conn| saved_conns.add(|out| conn.write(&more(conn), cookie, out)));
        let mut saved_pending = PackedList::for_some(pending_conns.len());
        pending_conns.iter().for_each(|pending| saved_pending.add(|out| pending.save(cookie).ser_bin(out)));
        let mut links = PackedList::for_some(0);
        let saved_links = conns.iter().filter_map(|conn| self.relay.save(conn.id(), cookie));
        saved_links.for_each(|link| links.add(|out| link.ser_bin(out)));
        let Activity { contacts, seen, unknown_requests } = self.devices.activity();
        let (presence, presence_pending) = self.hub.presence.save();
        Memory {
            boot: self.boot.number,
            started_ns: ns_of(self.boot.clock.started),
            started_ms: self.boot.clock.started_ms,
            next: self.hub.conns.next_number(),
            presence,
            presence_pending,
            tick_ns: ns_of(self.ticks.next.get()),
            late_ticks: self.ticks.late.get(),
            reloads: self.reloads.count(),
            contacts,
            seen,
            unknown_requests,
            guesses: self.handshakes.limiter.borrow().save(ns_of),
            restarts: self.restarts.report(),
            journal: self.journal.save(),
            conns: saved_conns,
            pending_conns: saved_pending,
            links,
            lost_runs: self.relay.lost_runs(),
            invocations: self.hub.invocations.save(),
        }
    }

    /// Restores what another process image knew, but for its connections.
    pub(crate) fn restore(&self, memory: &Memory) {
        self.hub.conns.set_next_number(memory.next);
        self.ticks.next.set(instant_of(memory.tick_ns));
        self.ticks.late.set(memory.late_ticks);
        self.reloads.set_count(memory.reloads);
        self.devices.restore(&Activity {
            contacts: memory.contacts.clone(),
            seen: memory.seen.clone(),
            unknown_requests: memory.unknown_requests,
        });
        self.handshakes.limiter.borrow_mut().restore(&memory.guesses, instant_of);
        self.restarts.set_report(memory.restarts.clone());
        self.relay.restore_lost_runs(&memory.lost_runs);
        self.hub.presence.restore((memory.presence, memory.presence_pending));
    }
}
