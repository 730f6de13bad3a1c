//! What the hub knows and no file holds, as plain data, so that another process image goes on with it.

use super::{
    Boot, Conn, ConnId, Hub, PackedList, SavedInvocation, SavedPending, restarts::Told, session::Saved,
};
use crate::{
    auth::limiter::SavedRecord,
    clock::{Clock, instant_of, ns_of},
    journal,
    protocol::{DeviceId, RequestId},
    store::Display,
};
use nanoserde::{DeBin, SerBin};
use std::rc::Rc;

/// Everything a gateway knows and no file holds, but for its sockets.
#[derive(Clone, SerBin, DeBin)]
pub struct Memory {
    /// Random, drawn when the gateway started; the hand-over is no start.
    pub boot: u32,
    /// When it started, nanoseconds of the monotonic clock.
    pub started_ns: u64,
    /// The same, wall-clock milliseconds.
    pub started_ms: u64,
    /// The number of the next connection.
    pub next: u64,
    /// The version of who is present.
    pub presence: u64,
    /// Whether it is still to be told.
    pub presence_pending: bool,
    /// When the next tick is due, nanoseconds of the monotonic clock.
    pub tick_ns: u64,
    /// Ticks that came late.
    pub late_ticks: u64,
    /// How often the configuration was applied.
    pub reloads: u64,
    /// When pending requests were last come for.
    pub contacts: Vec<(RequestId, u64)>,
    /// When devices were last seen, and what they say of themselves.
    pub seen: Vec<(DeviceId, u64, Option<Display>)>,
    /// Requests of unknown devices: how many, since when.
    pub unknown_requests: (u32, Option<u64>),
    /// Guesses at the shared secret.
    pub guesses: Vec<SavedRecord>,
    /// The restarts so far.
    pub restarts: Told,
    /// The journal.
    pub journal: journal::Kept,
    /// The attached connections.
    pub conns: PackedList<Saved>,
    /// The others.
    pub pending_conns: Vec<SavedPending>,
    /// Invocations that wait for a node.
    pub invocations: Vec<SavedInvocation>,
}

impl Memory {
    /// The start that goes on.
    ///
    /// # Errors
    /// When the kernel has no randomness to give.
    pub fn boot(&self) -> Result<Boot, getrandom::Error> {
        let clock = Clock { started: instant_of(self.started_ns), started_ms: self.started_ms };
        let boot = Boot::now(clock)?;
        Ok(Boot { number: self.boot, id: format!("{:08x}", self.boot), ..boot })
    }
}

impl Hub {
    /// Writes down what is known, the connections `conns` and the guests `pending_conns` with it; `more` is what a
    /// connection is sent besides.
    pub fn memory(
        &self,
        conns: &[Rc<Conn>],
        pending_conns: &[Rc<super::PendingConn>],
        more: impl Fn(&Conn) -> Vec<u8>,
    ) -> Memory {
        let mut row = PackedList::for_some(conns.len());
        conns.iter().for_each(|conn| row.add(|out| conn.write(&more(conn), out)));
        let (unknown_requests, since) = self.unknown_requests.get();
        let contacts = self.contacts.borrow();
        let seen = self.seen.borrow();
        Memory {
            boot: self.boot.number,
            started_ns: ns_of(self.boot.clock.started),
            started_ms: self.boot.clock.started_ms,
            next: self.next.get(),
            presence: self.presence_version.get(),
            presence_pending: self.presence_pending.get(),
            tick_ns: ns_of(self.next_tick.get()),
            late_ticks: self.late_ticks.get(),
            reloads: self.reloads.count(),
            contacts: contacts.iter().map(|(id, at)| (id.clone(), ns_of(*at))).collect(),
            seen: seen.iter().map(|(id, s)| (*id, s.ms, s.display.clone())).collect(),
            unknown_requests: (unknown_requests, since.map(ns_of)),
            guesses: self.limiter.borrow().save(ns_of),
            restarts: self.restarts.told(),
            journal: self.journal.save(),
            conns: row,
            pending_conns: pending_conns.iter().map(|g| g.save()).collect(),
            invocations: self.invocations.save(),
        }
    }

    /// Goes on with what another process image knew; its connections are the caller's to go on with.
    pub fn remember(self: &Rc<Self>, memory: &Memory) {
        self.next.set(memory.next);
        self.presence_version.set(memory.presence);
        self.next_tick.set(instant_of(memory.tick_ns));
        self.late_ticks.set(memory.late_ticks);
        self.reloads.set_count(memory.reloads);
        let contacts = memory.contacts.iter().map(|(id, at)| (id.clone(), instant_of(*at)));
        self.contacts.borrow_mut().extend(contacts);
        let seen = memory.seen.iter();
        let seen =
            seen.map(|(id, ms, display)| (*id, super::activity::Seen { ms: *ms, display: display.clone() }));
        self.seen.borrow_mut().extend(seen);
        self.unknown_requests.set((memory.unknown_requests.0, memory.unknown_requests.1.map(instant_of)));
        self.limiter.borrow_mut().restore(&memory.guesses, instant_of);
        self.restarts.set_told(memory.restarts.clone());
        if memory.presence_pending {
            self.tell_presence();
        }
    }

    /// The attached connection `id`.
    pub fn conn(&self, id: ConnId) -> Option<Rc<Conn>> {
        self.conns.borrow().get(&id).cloned()
    }
}
