//! The clients: devices that call without a pause, devices that only listen, and OpenClaw's own client library.

use crate::{
    disturb::Stage,
    report::Report,
    wire::{Client, Device, LONG, Offer, READ, flag, json, number, text},
};
use miniserde::json::Value;
use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

const CALLERS: usize = 20;
const LISTENERS: usize = 180;
/// Of these clients, so many are OpenClaw's where `--peers` was given.
const PEERS: usize = 20;
/// How long one that was closed by a kill tries to come back.
const BACK: Duration = Duration::from_secs(30);

pub struct Fleet {
    devices: Vec<String>,
    peers: Option<Child>,
}

impl Fleet {
    /// Pairs and attaches all of them.
    pub fn attach(stage: &Stage, report: Arc<Report>, peers: bool) -> Self {
        let listeners = LISTENERS - if peers { PEERS } else { 0 };
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, stage.port()));
        let mut devices = Vec::new();
        for n in 0..CALLERS + listeners {
            let device = stage.pair(READ);
            devices.push(device.id());
            let mut client = Attached::new(at, device, report.clone());
            let work = move || if n < CALLERS { client.call_on(n as u64) } else { client.listen() };
            thread::Builder::new().stack_size(256 << 10).spawn(work).unwrap();
        }
        let peers = peers.then(|| library(stage, report));
        Self { devices, peers }
    }

    /// The ids of the devices.
    pub fn all(&self) -> Vec<String> {
        self.devices.clone()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if let Some(peers) = &mut self.peers {
            let _ = peers.kill();
            let _ = peers.wait();
        }
    }
}

/// One device and its connection.
struct Attached {
    at: SocketAddr,
    device: Device,
    report: Arc<Report>,
    client: Client,
    /// The life of the gateway in which it attached.
    life: u64,
    seq: Option<u64>,
}

impl Attached {
    fn new(at: SocketAddr, device: Device, report: Arc<Report>) -> Self {
        let life = report.life.load(Relaxed);
        let client = Client::connect(at, &Offer::device(&device).token(device.token()))
            .unwrap_or_else(|refused| panic!("refused: {refused:?}"));
        report.attached.fetch_add(1, Relaxed);
        Self { at, device, report, client, life, seq: None }
    }

    fn running(&self) -> bool {
        self.report.running.load(Relaxed)
    }

    /// Calls, and checks each answer.
    fn call_on(&mut self, n: u64) {
        let mut round = n;
        while self.running() {
            round += 1;
            let method = ["health", "status", "system-presence", "node.list"][(round % 4) as usize];
            let began = Instant::now();
            let life = self.report.life.load(Relaxed);
            match self.call(method) {
                Some(answer) if flag(&answer, "ok") => {
                    self.report.calls.fetch_add(1, Relaxed);
                    if life == self.report.life.load(Relaxed) {
                        self.report.waited(began.elapsed());
                    }
                }
                Some(answer) if text(&answer, "error.code") == "UNAVAILABLE" => {
                    self.report.deferred.fetch_add(1, Relaxed);
                    let after = number(&answer, "error.retryAfterMs");
                    if after == 0 {
                        self.report.fail(format!("{method}: UNAVAILABLE without retryAfterMs"));
                    }
                    thread::sleep(Duration::from_millis(after.min(2000)));
                }
                Some(answer) => self.report.fail(format!("{method}: {}", json(&answer))),
                None => {}
            }
            // The pace of an agent's tool calls, each at its own.
            thread::sleep(Duration::from_millis(5 + 3 * n));
        }
    }

    /// One request and its answer; `None` where the connection ended, and a new one is there.
    fn call(&mut self, method: &str) -> Option<Value> {
        let id = self.client.ask(method, "{}");
        let end = Instant::now() + LONG;
        while Instant::now() < end {
            let frame = self.frame()?;
            if text(&frame, "id") == id {
                return Some(frame);
            }
        }
        self.report.fail(format!("no answer to {method} in {LONG:?}"));
        None
    }

    fn listen(&mut self) {
        while self.running() {
            self.frame();
        }
    }

    /// The next frame. Where the connection ended that was the gateway's death, or a failure; either way it is
    /// there again afterwards.
    fn frame(&mut self) -> Option<Value> {
        match self.client.frame() {
            Ok(frame) => {
                if text(&frame, "type") == "event" {
                    self.report.events.fetch_add(1, Relaxed);
                    self.follow(&frame);
                }
                Some(frame)
            }
            Err(close) => {
                if self.running() {
                    self.come_back(close);
                }
                None
            }
        }
    }

    /// The numbers of events have no gap.
    fn follow(&mut self, event: &Value) {
        let seq = number(event, "seq");
        if seq == 0 {
            return;
        }
        if let Some(before) = self.seq.filter(|before| before + 1 != seq) {
            self.report.fail(format!("event {seq} after {before}: {}", text(event, "event")));
        }
        self.seq = Some(seq);
    }

    fn come_back(&mut self, close: (u16, String)) {
        let began = Instant::now();
        if self.life == self.report.life.load(Relaxed) {
            self.report.fail(format!("closed: {close:?}"));
        } else {
            self.report.closed_by_kill.fetch_add(1, Relaxed);
        }
        let mut last = String::new();
        while began.elapsed() < BACK && self.running() {
            let life = self.report.life.load(Relaxed);
            let offer = Offer::device(&self.device).token(self.device.token());
            match Client::connect(self.at, &offer) {
                Ok(client) => {
                    (self.client, self.life, self.seq) = (client, life, None);
                    return self.report.came_back(began.elapsed());
                }
                // Nobody listens yet, or it is killed again.
                Err(refused) if refused.close.0 == 0 => last = format!("{refused:?}"),
                Err(refused) => {
                    let code = refused.code();
                    if !code.is_empty() {
                        self.report.fail(format!("a paired device is refused: {refused:?}"));
                    }
                    last = format!("{refused:?}");
                }
            }
            thread::sleep(Duration::from_millis(20));
        }
        if self.running() {
            self.report.fail(format!("not back within {BACK:?}: {last}"));
        }
    }
}

/// Runs OpenClaw's client library, which says a line for each connection that is closed.
fn library(stage: &Stage, report: Arc<Report>) -> Child {
    let mut command = Command::new("tests/peers/node_modules/.bin/node");
    command.arg("tests/peers/endurance.mjs").args([&stage.port().to_string(), &PEERS.to_string()]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("tests/peers/install.sh installs Node");
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    thread::spawn(move || {
        // The gateway's life at which each client was last closed.
        let mut closed_in = HashMap::new();
        let first = report.life.load(Relaxed);
        for line in lines.map_while(Result::ok) {
            let now = report.life.load(Relaxed);
            let (what, client) = line.split_once(' ').unwrap_or((&line, ""));
            let client = client.split(' ').next().unwrap_or_default().to_owned();
            match what {
                "attached" => _ = report.attached.fetch_add(1, Relaxed),
                // Each is closed once by one kill.
                "closed" if closed_in.insert(client, now).unwrap_or(first) != now => {
                    report.closed_by_kill.fetch_add(1, Relaxed);
                }
                "back" => {}
                _ => report.fail(format!("OpenClaw's library: {line}")),
            }
        }
    });
    child
}
