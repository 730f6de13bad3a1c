//! A device that stays attached, and what all of them see.

use crate::wire::{ADMIN, Client, Device, LONG, Offer, flag, get, json, text};
use miniserde::json::Value;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

/// How long one that was closed tries to come back.
const BACK: Duration = Duration::from_secs(30);

/// What everyone shares.
#[derive(Default)]
pub struct World {
    /// How often the gateway was ended or begun: odd while it ends. A connection of an earlier life may close.
    life: AtomicU64,
    calm: AtomicBool,
    counts: Mutex<BTreeMap<&'static str, u64>>,
    failures: AtomicU64,
}

impl World {
    pub fn life(&self) -> u64 {
        self.life.load(SeqCst)
    }

    /// From now on the gateway ends; or another one may begin, whose connections do not close.
    pub fn turn_life(&self) {
        self.life.fetch_add(1, SeqCst);
    }

    /// Whether the gateway of life `life` may be at its end.
    fn may_be_ended(&self, life: u64) -> bool {
        life % 2 == 1 || life != self.life()
    }

    /// Nothing more happens, and everyone is to come to an end.
    pub fn calm(&self) {
        self.calm.store(true, SeqCst);
    }

    pub fn is_calm(&self) -> bool {
        self.calm.load(SeqCst)
    }

    pub fn count(&self, what: &'static str) {
        *self.counts.lock().unwrap().entry(what).or_default() += 1;
    }

    /// Something that must not happen.
    pub fn fail(&self, what: impl AsRef<str>) {
        let before = self.failures.fetch_add(1, SeqCst);
        if before < 30 {
            println!("FAILED: {}", what.as_ref());
        }
        assert!(before < 300, "too much fails");
    }

    pub fn failures(&self) -> u64 {
        self.failures.load(SeqCst)
    }

    pub fn summary(&self) -> String {
        let counts = self.counts.lock().unwrap();
        counts.iter().map(|(what, count)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
    }
}

/// Whether an event says that a run has ended.
pub fn ends_a_run(frame: &Value) -> bool {
    let run = || !text(frame, "payload.runId").starts_with("inject-");
    text(frame, "event") == "chat"
        && matches!(&*text(frame, "payload.state"), "final" | "aborted" | "error")
        && run()
}

/// A device and its connection.
pub struct Attached {
    at: SocketAddr,
    device: Device,
    world: Arc<World>,
    client: Client,
    life: u64,
    /// The events that ended a run, which this connection heard: how many of each run.
    heard: BTreeMap<String, u32>,
    /// How many connections it had before this one.
    connection: u64,
}

impl Attached {
    pub fn new(at: SocketAddr, device: Device, world: &Arc<World>) -> Self {
        let life = world.life();
        let client = Client::connect(at, &Offer::device(&device).token(device.token()).scopes(ADMIN))
            .unwrap_or_else(|refused| panic!("refused: {refused:?}"));
        Self { at, device, world: world.clone(), client, life, heard: BTreeMap::new(), connection: 0 }
    }

    /// The answer to a call, which is made again by a new connection where the gateway ended in between.
    pub fn ok(&mut self, method: &str, params: &str) -> Value {
        loop {
            if let Some(answer) = self.once(method, params) {
                return answer;
            }
        }
    }

    /// The answer to a call; `None` where the gateway ended in between, and a new connection is there.
    pub fn once(&mut self, method: &str, params: &str) -> Option<Value> {
        let id = self.ask(method, params);
        self.answer(&id, method)
    }

    pub fn ask(&mut self, method: &str, params: &str) -> String {
        self.client.ask(method, params)
    }

    /// The answer to what was asked; `None` as of [`once`](Self::once).
    pub fn answer(&mut self, id: &str, method: &str) -> Option<Value> {
        let end = Instant::now() + LONG;
        loop {
            let frame = self.frame()?;
            if text(&frame, "id") == *id {
                self.world.count("calls");
                if !flag(&frame, "ok") {
                    // One that is about to end says so.
                    if !self.world.may_be_ended(self.life) {
                        self.world.fail(format!("{method}: {}", json(&frame)));
                    }
                    thread::sleep(Duration::from_millis(5));
                    return None;
                }
                let payload = get(&frame, "payload").map(json).unwrap_or_default();
                return Some(miniserde::json::from_str(&payload).unwrap());
            }
            assert!(Instant::now() < end, "no answer to {method} in {LONG:?}");
        }
    }

    /// How many connections it had before this one.
    pub fn connection(&self) -> u64 {
        self.connection
    }

    /// How often this connection heard that a run has ended.
    pub fn heard(&self, run: &str) -> u32 {
        self.heard.get(run).copied().unwrap_or(0)
    }

    /// The next frame; `None` as of [`once`](Self::once).
    pub fn frame(&mut self) -> Option<Value> {
        match self.client.frame() {
            Ok(frame) => {
                if ends_a_run(&frame) {
                    *self.heard.entry(text(&frame, "payload.runId")).or_default() += 1;
                }
                Some(frame)
            }
            Err(close) => {
                self.come_back(close);
                None
            }
        }
    }

    fn come_back(&mut self, close: (u16, String)) {
        let began = Instant::now();
        match self.world.may_be_ended(self.life) {
            true => self.world.count("connections closed by an end"),
            false => self.world.fail(format!("closed: {close:?}")),
        }
        while began.elapsed() < BACK {
            let life = self.world.life();
            let offer = Offer::device(&self.device).token(self.device.token()).scopes(ADMIN);
            match Client::connect(self.at, &offer) {
                Ok(client) => {
                    (self.client, self.life) = (client, life);
                    self.heard.clear();
                    self.connection += 1;
                    return;
                }
                // Nobody listens yet, or it was ended again.
                Err(refused) if refused.close.0 == 0 || self.world.may_be_ended(life) => {}
                Err(refused) => self.world.fail(format!("a paired device is refused: {refused:?}")),
            }
            thread::sleep(Duration::from_millis(3));
        }
        panic!("not back within {BACK:?}");
    }
}
