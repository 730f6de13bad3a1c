//! Clients that call all the time, and count what they see.

use crate::wire::{Client, Device, Offer, READ, Server, flag, number, text};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread::{JoinHandle, spawn},
};

/// What the clients saw.
#[derive(Default)]
struct Seen {
    done: AtomicBool,
    answered: AtomicU64,
    events: AtomicU64,
}

pub struct Load {
    seen: Arc<Seen>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Begins a load of `count` clients: half of them devices that are told who is present.
    pub fn begin(server: &Server, count: usize) -> Self {
        let seen = Arc::new(Seen::default());
        let client = |n: usize| {
            let (device, seen) = (Device::new(), seen.clone());
            let offer = match n % 2 {
                0 => Offer::device(&device).token("T1").client("openclaw-tui", "ui"),
                _ => Offer::new().token("T1"),
            };
            let client = server.connect(&offer.scopes(READ));
            spawn(move || call(client, &seen))
        };
        let clients = (0..count).map(client).collect();
        Self { seen, clients }
    }

    /// Waits until every client was answered at least once more on average, so that one moment is over.
    pub fn go_on(&self) {
        let enough = self.seen.answered.load(SeqCst) + 2 * self.clients.len() as u64;
        while self.seen.answered.load(SeqCst) < enough && self.clients.iter().all(|c| !c.is_finished()) {
            std::thread::yield_now();
        }
    }

    /// Ends it: every request was answered, every event came in its turn, and nobody was closed. Says how many.
    pub fn end(self) -> (u64, u64) {
        self.seen.done.store(true, SeqCst);
        self.clients.into_iter().for_each(|client| client.join().unwrap());
        (self.seen.answered.load(SeqCst), self.seen.events.load(SeqCst))
    }
}

fn call(mut client: Client, seen: &Seen) {
    let mut seq = None;
    while !seen.done.load(SeqCst) {
        let id = client.ask("health", "{}");
        loop {
            let frame = client.frame().unwrap_or_else(|close| panic!("closed: {close:?}"));
            if text(&frame, "type") == "res" {
                assert_eq!(text(&frame, "id"), id, "an answer lost or doubled");
                assert!(flag(&frame, "ok"));
                break;
            }
            let this = number(&frame, "seq");
            assert!(seq.is_none_or(|last: u64| this == last + 1), "{seq:?}, then {this}");
            seq = Some(this);
            seen.events.fetch_add(1, SeqCst);
        }
        seen.answered.fetch_add(1, SeqCst);
    }
}
