//! Admission: budgets of shared resources, and eviction when one is full.
//!
//! Every budget has one shape. It has a total, and each [`Source`] has a share of it. A source that asks for more than
//! its share makes room itself; where the total is reached, the source that holds most does. Nobody is kept waiting:
//! a request finds room, has somebody make it, or is refused at once. Each budget counts how often that happened, which
//! `status` shows, and logs it at most once a minute.
//!
//! | budget | total | share | which holder of a source makes room |
//! | --- | --- | --- | --- |
//! | [`pending`](Admission::pending): connections that have not attached | [`limits::PENDING`], or a quarter of what the descriptors allow | 64 for an address; this host has no share | the oldest, unless its `connect` is being judged |
//! | [`attached`](Admission::attached): attached connections | the other three quarters | 64 for a device; clients without one have no share | none; see `gateway::handshake` for dead ones |
//! | [`connects`](Admission::connects): bytes of unfinished `connect` frames | 4 MiB | a quarter for an address; this host has no share | the largest |
//! | [`messages`](Admission::messages): bytes of unfinished messages of attached connections | 64 MiB | 32 MiB | the largest |
//!
//! [`Ledger`] decides, [`Budget`] acts on it, [`limits`] has every number. Log lines and pairing requests are limited
//! by rate: [`Rates`].

mod budget;
mod ledger;
pub mod limits;
mod rates;
mod source;
#[cfg(test)]
mod table;

pub use budget::{Budget, Counts, LastingPermit, MakeRoom, Permit};
pub use ledger::{HolderId, Ledger, Verdict};
pub use rates::{Rates, RefusalLines};
pub use source::Source;

use limits::Places;
use std::rc::Rc;

/// The budgets of a gateway.
pub struct Admission {
    /// Connections that have not attached.
    pub pending: Rc<Budget>,
    /// Attached connections.
    pub attached: Rc<Budget>,
    /// Bytes of unfinished `connect` frames.
    pub connects: Rc<Budget>,
    /// Bytes of unfinished messages of attached connections.
    pub messages: Rc<Budget>,
    /// Log lines about refusals.
    pub refusals: RefusalLines,
    /// Writes of pairing requests.
    pub requests: Rates,
}

impl Admission {
    /// The budgets of a process with these places for connections.
    pub fn new(places: Places) -> Self {
        Self {
            pending: Budget::new("connections that have not attached", places.pending, pending_share),
            attached: Budget::new("attached connections", places.attached, attached_share),
            connects: Budget::new("bytes of unfinished connects", limits::CONNECT_BYTES, connect_share),
            messages: Budget::new("bytes of unfinished messages", limits::MESSAGE_BYTES, |_, _| {
                limits::MESSAGE_BYTES_OF_ONE
            }),
            refusals: RefusalLines::default(),
            requests: Rates::new(limits::REQUEST_WRITES, limits::REQUEST_EVERY),
        }
    }

    /// Changes the places for connections.
    pub fn set_places(&self, places: Places) {
        self.pending.set_total(places.pending);
        self.attached.set_total(places.attached);
    }

    /// All budgets, in the order in which `status` lists them.
    pub fn budgets(&self) -> [&Budget; 4] {
        [&self.pending, &self.attached, &self.connects, &self.messages]
    }

    /// Logs what was counted, at most one line a minute for each budget and each kind of refusal.
    pub fn report(&self) {
        self.budgets().iter().for_each(|budget| budget.report());
        self.refusals.report();
    }
}

fn pending_share(source: Source, total: usize) -> usize {
    match source {
        // All that a proxy on this host forwards comes from it.
        Source::Loopback => total,
        _ => limits::PENDING_OF_ONE.min(total.div_ceil(2)),
    }
}

fn attached_share(source: Source, total: usize) -> usize {
    match source {
        Source::Device(_) => Places::of_device(total),
        // Whoever attaches without a device holds the shared secret.
        _ => total,
    }
}

fn connect_share(source: Source, total: usize) -> usize {
    match source {
        Source::Loopback => total,
        _ => total / 4,
    }
}
