//! `health`, `status` and their like: the gateway about itself.
//!
//! Of agents and channels it tells what the configuration says of them; none run in this version.

use super::{Access, Method, Repeat};
use crate::{
    admission::{Budget, Counts},
    app::App,
    clock::wall_ms,
    config::model::agents::Agents,
    host::Memory,
    protocol::{Json, Scope, json},
    reactor,
    sessions::Query,
    tls::Tls,
};
use nanoserde::SerJson;
use std::{collections::BTreeMap, rc::Rc};

const READ: Access = Access::Operator(Scope::Read);

/// The methods of this family. Agents, and with them their heartbeats, do not run in this version.
pub(super) const METHODS: &[Method] = &[
    Method::now("health", READ, Repeat::Harmless, |call| {
        Ok(with_upstream(&call.app, health(&call.app)).into())
    }),
    Method::now("status", READ, Repeat::Harmless, |call| {
        Ok(with_upstream(&call.app, status(&call.app)).into())
    }),
    Method::now("last-heartbeat", READ, Repeat::Harmless, |_| Ok(Json::null().into())),
    Method::now("gateway.identity.get", READ, Repeat::Harmless, |call| Ok(identity(&call.app).into())),
    Method::now("system-presence", READ, Repeat::Harmless, |call| Ok(call.app.hub.presence.all().into())),
];

/// Sessions that `health` and `status` name.
const RECENT: usize = 5;

#[derive(SerJson)]
struct Sessions {
    path: String,
    count: u64,
    recent: Vec<Recent>,
}

/// A session that was changed lately.
#[derive(SerJson)]
#[allow(non_snake_case)]
struct Recent {
    key: String,
    updatedAt: u64,
    age: u64,
}

impl Sessions {
    /// Those of `agent`, or of all agents; none while they are not read yet.
    fn of(app: &App, agent: Option<&str>) -> Self {
        let path = app.sessions.path().to_string_lossy().into_owned();
        let Some(index) = app.sessions.index() else { return Self { path, count: 0, recent: Vec::new() } };
        let query = Query { agent, global: true, unknown: true, limit: RECENT, ..Query::default() };
        let (found, count) = index.list(&query);
        let now = wall_ms();
        let recent = found.into_iter().map(|(key, row)| Recent {
            key: key.wire().to_owned(),
            updatedAt: row.times.updated,
            age: now.saturating_sub(row.times.updated),
        });
        Self { path, recent: recent.collect(), count: count as u64 }
    }
}

/// `Snapshot.health` of the schema.
#[derive(SerJson)]
#[allow(non_snake_case)]
struct Health {
    ok: bool,
    degraded: Option<String>,
    ts: u64,
    durationMs: u64,
    channels: BTreeMap<String, String>,
    channelOrder: Vec<String>,
    channelLabels: BTreeMap<String, String>,
    heartbeatSeconds: u64,
    defaultAgentId: String,
    agents: Vec<Agent>,
    sessions: Sessions,
}

#[derive(SerJson)]
#[allow(non_snake_case)]
struct Agent {
    agentId: String,
    isDefault: bool,
    heartbeat: Beat,
    sessions: Sessions,
}

/// Heartbeat interval of an agent.
#[derive(SerJson)]
#[allow(non_snake_case)]
struct Beat {
    /// False: agents do not run.
    enabled: bool,
    every: String,
    everyMs: Option<u64>,
}

impl Beat {
    fn of(agents: &Agents) -> Self {
        let every = agents.heartbeat.filter(|every| !every.is_zero());
        Self {
            enabled: false,
            every: every.map_or("disabled".into(), |e| match e.as_secs() {
                s if s % 60 == 0 => format!("{}m", s / 60),
                s => format!("{s}s"),
            }),
            everyMs: every.map(|e| e.as_millis() as u64),
        }
    }
}

/// `health`: where OpenClaw stands behind this gateway, what that last said of its channels and agents.
fn health(app: &Rc<App>) -> Json {
    let Some(theirs) = app.relay.health() else { return own_health(app) };
    let own = |name: &str| matches!(name, "ok" | "degraded" | "ts" | "durationMs");
    let others: String = json::members(&theirs)
        .filter(|(name, _)| !own(name))
        .map(|(name, value)| format!(",\"{name}\":{value}"))
        .collect();
    let degraded = app.devices.store.degraded().serialize_json();
    Json(format!(r#"{{"ok":true,"degraded":{degraded},"ts":{},"durationMs":0{others}}}"#, wall_ms()))
}

fn own_health(app: &Rc<App>) -> Json {
    let settings = app.settings();
    let agents = &settings.config.agents;
    Json::of(&Health {
        ok: true,
        degraded: app.devices.store.degraded(),
        ts: wall_ms(),
        durationMs: 0,
        channels: BTreeMap::new(),
        channelOrder: Vec::new(),
        channelLabels: BTreeMap::new(),
        heartbeatSeconds: agents.heartbeat.unwrap_or_default().as_secs(),
        defaultAgentId: agents.default.clone(),
        agents: agents
            .ids
            .iter()
            .map(|id| Agent {
                agentId: id.clone(),
                isDefault: *id == agents.default,
                heartbeat: Beat::of(agents),
                sessions: Sessions::of(app, Some(id)),
            })
            .collect(),
        sessions: Sessions::of(app, None),
    })
}

/// The members that this gateway adds to the `status` of the one behind it, each with a comma before it.
pub fn own_status(app: &Rc<App>) -> String {
    let own = Json::of(&own(app)).0;
    let report = app.relay.report().unwrap_or_else(|| "null".into());
    format!(r#","barnacle":{own},"upstream":{report}"#)
}

/// `health` or `status`, and in it the state of the gateway behind this one, if there is one.
fn with_upstream(app: &App, own: Json) -> Json {
    let Some(report) = app.relay.report() else { return own };
    let object = own.0.strip_suffix('}').unwrap_or_default();
    Json(format!(r#"{object},"upstream":{report}}}"#))
}

#[derive(SerJson)]
#[allow(non_snake_case)]
struct Heartbeat {
    defaultAgentId: String,
    agents: Vec<AgentBeat>,
}

#[derive(SerJson)]
#[allow(non_snake_case)]
struct AgentBeat {
    agentId: String,
    enabled: bool,
    every: String,
    everyMs: Option<u64>,
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
    count: u64,
    defaults: Defaults,
    recent: Vec<Recent>,
    byAgent: Vec<String>,
}

/// A restart that was handed over.
#[derive(SerJson)]
#[allow(non_snake_case)]
struct LastRestart {
    atMs: u64,
    reason: String,
    unservedUs: u64,
    carried: u64,
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
    tls: TlsState,
    configPath: String,
    stateDir: String,
    devices: u64,
    pending: u64,
    connections: u64,
    storeCommits: u64,
    readOnly: Option<String>,
    latePulses: u64,
    restarts: u64,
    lastRestart: Option<LastRestart>,
    notRestarted: Option<String>,
    residentKb: Option<u64>,
    latenessP99Us: u64,
    latenessMaxUs: u64,
    budgets: Vec<BudgetState>,
    logLinesDropped: u64,
    notices: Vec<String>,
}

/// Use of a budget, and how often it was reached since the start.
#[derive(SerJson)]
#[allow(non_snake_case)]
struct BudgetState {
    of: &'static str,
    used: u64,
    total: u64,
    madeRoom: u64,
    refused: u64,
}

impl BudgetState {
    fn of(budget: &Budget) -> Self {
        let Counts { made_room, refused } = budget.counts();
        let (used, total) = (budget.used() as u64, budget.total() as u64);
        Self { of: budget.name, used, total, madeRoom: made_room, refused }
    }
}

/// TLS of new connections.
#[derive(SerJson)]
#[allow(non_snake_case)]
struct TlsState {
    enabled: bool,
    certPath: Option<String>,
    fingerprintSha256: Option<String>,
    problem: Option<String>,
}

impl TlsState {
    fn of(tls: &Tls) -> Self {
        let shown = tls.certificate();
        Self {
            enabled: !matches!(tls, Tls::Off),
            certPath: shown.map(|c| c.files().cert.to_string_lossy().into_owned()),
            fingerprintSha256: shown.map(|c| c.fingerprint().into()),
            problem: tls.closed().map(String::from),
        }
    }
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
fn status(app: &Rc<App>) -> Json {
    let settings = app.settings();
    let agents = &settings.config.agents;
    let sessions = Sessions::of(app, None);
    Json::of(&Status {
        runtimeVersion: env!("CARGO_PKG_VERSION"),
        heartbeat: Heartbeat {
            defaultAgentId: agents.default.clone(),
            agents: agents
                .ids
                .iter()
                .map(|id| {
                    let Beat { enabled, every, everyMs } = Beat::of(agents);
                    AgentBeat { agentId: id.clone(), enabled, every, everyMs }
                })
                .collect(),
        },
        channelSummary: agents
            .channels
            .iter()
            .map(|name| format!("{name}: configured; this version of Barnacle runs no channels"))
            .collect(),
        queuedSystemEvents: Vec::new(),
        sessions: StatusSessions {
            paths: vec![sessions.path],
            count: sessions.count,
            defaults: Defaults {
                model: agents.model.as_ref().map_or(Json::null(), |model| Json(model.serialize_json())),
                contextTokens: agents.context_tokens.map_or(Json::null(), |n| Json(n.to_string())),
            },
            recent: sessions.recent,
            byAgent: Vec::new(),
        },
        barnacle: own(app),
    })
}

/// Builds this gateway's own part of `status`.
fn own(app: &App) -> Own {
    let settings = app.settings();
    let registry = app.devices.registry();
    let restarts = app.restarts.report();
    let lateness = reactor::lateness();
    let path = |p: &std::path::Path| p.to_string_lossy().into_owned();
    Own {
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        bootId: app.boot.id.clone(),
        startedAtMs: app.boot.clock.started_ms,
        uptimeMs: app.boot.clock.uptime_ms(),
        port: settings.port,
        bind: settings.bind.to_string(),
        authMode: settings.auth.as_str(),
        authFrom: settings.credential_source(),
        tls: TlsState::of(&settings.tls),
        configPath: path(&settings.paths.config_file),
        stateDir: path(&settings.paths.barnacle_dir),
        devices: registry.devices().len() as u64,
        pending: registry.requests().len() as u64,
        connections: app.hub.conns.count() as u64,
        storeCommits: app.devices.store.commits(),
        readOnly: app.devices.store.read_only(),
        latePulses: app.ticks.late.get(),
        restarts: restarts.count,
        lastRestart: (restarts.count > 0).then(|| LastRestart {
            atMs: restarts.last_ms,
            reason: restarts.why.clone(),
            unservedUs: restarts.took_us,
            carried: restarts.carried,
        }),
        notRestarted: app.restarts.failure(),
        residentKb: Memory::now().map(|memory| memory.resident / 1024),
        latenessP99Us: lateness.p99_us,
        latenessMaxUs: lateness.max_us,
        budgets: app.admission.budgets().map(BudgetState::of).into(),
        logLinesDropped: app.journal.dropped(),
        notices: app.notices(),
    }
}

/// Returns the body of `/readyz`: why it is degraded, if it is, and how often it was restarted in place, if it was.
pub fn ready(app: &App) -> String {
    let degraded = app.devices.store.degraded().map(|why| format!(r#","degraded":{}"#, why.serialize_json()));
    let restarts = Some(app.restarts.report().count).filter(|count| *count > 0);
    let restarts = restarts.map(|count| format!(r#","restarts":{count}"#));
    let upstream = app.relay.report().map(|report| format!(r#","upstream":{report}"#));
    let parts = [degraded, restarts, upstream].map(Option::unwrap_or_default);
    format!(r#"{{"ready":true{}}}"#, parts.concat())
}

/// `gateway.identity.get`.
fn identity(app: &Rc<App>) -> Json {
    let key = app.identity.public_key();
    Json(format!(r#"{{"deviceId":"{}","publicKey":"{key}"}}"#, key.device_id()))
}
