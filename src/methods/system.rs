//! `health`, `status`, `gateway.identity.get`: the gateway on itself.
//!
//! What OpenClaw shows of agents, sessions and channels is there and empty: none run in this version.

use crate::{
    live::{Hub, wall_ms},
    protocol::Json,
};
use nanoserde::SerJson;
use std::{collections::BTreeMap, rc::Rc};

#[derive(SerJson)]
struct Sessions {
    path: String,
    count: u32,
    recent: Vec<String>,
}

/// `Snapshot.health` of the schema.
#[derive(SerJson)]
#[allow(non_snake_case)]
struct Health {
    ok: bool,
    ts: u64,
    durationMs: u64,
    channels: BTreeMap<String, String>,
    channelOrder: Vec<String>,
    channelLabels: BTreeMap<String, String>,
    heartbeatSeconds: u64,
    defaultAgentId: &'static str,
    agents: Vec<String>,
    sessions: Sessions,
}

/// `health`.
pub fn health(hub: &Rc<Hub>) -> Json {
    let settings = hub.settings();
    Json::of(&Health {
        ok: true,
        ts: wall_ms(),
        durationMs: 0,
        channels: BTreeMap::new(),
        channelOrder: Vec::new(),
        channelLabels: BTreeMap::new(),
        heartbeatSeconds: 0,
        defaultAgentId: "main",
        agents: Vec::new(),
        sessions: Sessions {
            path: settings.paths.barnacle_dir.to_string_lossy().into_owned(),
            count: 0,
            recent: Vec::new(),
        },
    })
}

#[derive(SerJson)]
#[allow(non_snake_case)]
struct Heartbeat {
    defaultAgentId: &'static str,
    agents: Vec<String>,
}

#[derive(SerJson)]
#[allow(non_snake_case)]
struct Defaults {
    model: Json,
    contextTokens: Json,
}

#[derive(SerJson)]
#[allow(non_snake_case)]
struct StatusSessions {
    paths: Vec<String>,
    count: u32,
    defaults: Defaults,
    recent: Vec<String>,
    byAgent: Vec<String>,
}

/// Barnacle's own part of `status`.
#[derive(SerJson)]
#[allow(non_snake_case)]
struct Own {
    version: &'static str,
    pid: u32,
    bootId: String,
    startedAtMs: u64,
    uptimeMs: u64,
    port: u16,
    bind: String,
    authMode: &'static str,
    authFrom: String,
    configPath: String,
    stateDir: String,
    devices: u64,
    pending: u64,
    connections: u64,
    storeCommits: u64,
    readOnly: Option<String>,
    latePulses: u64,
    residentKb: Option<u64>,
    notices: Vec<String>,
}

#[derive(SerJson)]
#[allow(non_snake_case)]
struct Status {
    runtimeVersion: &'static str,
    heartbeat: Heartbeat,
    channelSummary: Vec<String>,
    queuedSystemEvents: Vec<String>,
    sessions: StatusSessions,
    barnacle: Own,
}

/// `status`.
pub fn status(hub: &Rc<Hub>) -> Json {
    let settings = hub.settings();
    let book = hub.book();
    let path = |p: &std::path::Path| p.to_string_lossy().into_owned();
    Json::of(&Status {
        runtimeVersion: env!("CARGO_PKG_VERSION"),
        heartbeat: Heartbeat { defaultAgentId: "main", agents: Vec::new() },
        channelSummary: Vec::new(),
        queuedSystemEvents: Vec::new(),
        sessions: StatusSessions {
            paths: Vec::new(),
            count: 0,
            defaults: Defaults { model: Json::null(), contextTokens: Json::null() },
            recent: Vec::new(),
            byAgent: Vec::new(),
        },
        barnacle: Own {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            bootId: hub.boot.id.clone(),
            startedAtMs: hub.boot.clock.started_ms,
            uptimeMs: hub.boot.clock.uptime_ms(),
            port: settings.port,
            bind: settings.bind.to_string(),
            authMode: settings.auth.as_str(),
            authFrom: settings.credential_source(),
            configPath: path(&settings.paths.config_file),
            stateDir: path(&settings.paths.barnacle_dir),
            devices: book.devices().len() as u64,
            pending: book.requests().len() as u64,
            connections: hub.conn_count() as u64,
            storeCommits: hub.store.commits(),
            readOnly: hub.store.read_only(),
            latePulses: hub.late_pulses.get(),
            residentKb: resident_kb(),
            notices: hub.notices(),
        },
    })
}

/// Resident memory, KiB.
fn resident_kb() -> Option<u64> {
    let pages: u64 = std::fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64 / 1024)
}

/// `gateway.identity.get`.
pub fn identity(hub: &Rc<Hub>) -> Json {
    let key = hub.identity.public_key();
    Json(format!(r#"{{"deviceId":"{}","publicKey":"{key}"}}"#, key.device_id()))
}
