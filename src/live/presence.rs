//! Who is here, as `system-presence` and the `presence` event tell it.
//!
//! As in OpenClaw, command-line clients, probes and back ends come and go without being listed.

use super::{Conn, Hub};
use crate::protocol::Json;
use nanoserde::SerJson;
use std::rc::Rc;

/// `PresenceEntry` of `protocol.schema.json`.
#[derive(SerJson)]
#[allow(non_snake_case)]
struct Entry {
    host: Option<String>,
    ip: Option<String>,
    version: Option<String>,
    platform: Option<String>,
    deviceFamily: Option<String>,
    modelIdentifier: Option<String>,
    mode: Option<String>,
    reason: String,
    text: String,
    ts: u64,
    deviceId: Option<String>,
    roles: Option<Vec<String>>,
    scopes: Option<Vec<String>>,
    instanceId: Option<String>,
}

/// Whether a connection is listed.
pub fn listed(conn: &Conn) -> bool {
    !matches!(conn.session().mode(), "cli" | "probe" | "backend" | "test" | "")
}

fn filled(text: &Option<String>) -> Option<String> {
    text.clone().filter(|t| !t.is_empty())
}

fn entry(conn: &Rc<Conn>) -> Entry {
    let s = conn.session();
    let c = &s.client;
    let host = filled(&c.name).or_else(|| filled(&c.client_id));
    let kind = if s.role == crate::protocol::Role::Node { "Node" } else { "Client" };
    let name = host.clone().unwrap_or_else(|| s.id.to_string());
    Entry {
        text: format!("{kind}: {name} · mode {}", s.mode()),
        host,
        ip: filled(&c.ip),
        version: filled(&c.version),
        platform: filled(&c.platform),
        deviceFamily: filled(&c.family),
        modelIdentifier: filled(&c.model),
        mode: filled(&c.client_mode),
        reason: "connect".into(),
        ts: s.connected_ms,
        deviceId: s.device.map(|d| d.to_string()),
        roles: Some(vec![s.role.to_string()]),
        scopes: (!s.scopes.is_empty()).then(|| s.scopes.names()),
        instanceId: filled(&s.instance).or_else(|| Some(s.id.to_string())),
    }
}

/// The list, the gateway itself first; at most `limit` clients.
pub fn list(hub: &Hub, limit: usize) -> Json {
    let host = hub.boot.host.clone();
    let version = env!("CARGO_PKG_VERSION");
    let own = Entry {
        text: format!("Gateway: {host} · barnacle {version} · mode gateway"),
        host: Some(host),
        ip: None,
        version: Some(version.into()),
        platform: Some(format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)),
        deviceFamily: Some("Linux".into()),
        modelIdentifier: None,
        mode: Some("gateway".into()),
        reason: "self".into(),
        ts: hub.boot.clock.started_ms,
        deviceId: None,
        roles: None,
        scopes: None,
        instanceId: Some(hub.boot.id.clone()),
    };
    let mut entries = vec![own];
    entries.extend(hub.conns().iter().filter(|c| listed(c)).take(limit).map(entry));
    Json::of(&entries)
}
