//! Who is here, as `system-presence` and the `presence` event tell it.
//!
//! As in OpenClaw, command-line clients, probes and back ends come and go without being listed.

use super::{Conn, Hub};
use crate::{
    protocol::{Event, Json},
    reactor::Timer,
};
use nanoserde::SerJson;
use std::{rc::Rc, time::Duration};

/// Clients listed in `hello-ok`; `system-presence` lists more.
const LISTED: usize = 64;

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
fn list(hub: &Hub, limit: usize) -> Json {
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

impl Hub {
    /// Who is here changed: tells it soon, once for all that changes meanwhile.
    pub fn presence_changed(self: &Rc<Self>) {
        self.presence_version.set(self.presence_version.get() + 1);
        if !self.presence_pending.get() {
            self.tell_presence();
        }
    }

    /// Tells soon who is here.
    pub(crate) fn tell_presence(self: &Rc<Self>) {
        self.presence_pending.set(true);
        let hub = self.clone();
        self.spawn(async move {
            Timer::after(Duration::from_millis(100)).await;
            hub.presence_pending.set(false);
            let payload = Json(format!(r#"{{"presence":{}}}"#, hub.presence_list().0));
            hub.broadcast(Event::Presence, &payload);
        });
    }

    /// Who is here, the first few; built once a change.
    pub fn presence_list(&self) -> Rc<Json> {
        let version = self.presence_version.get();
        if self.presence.borrow().0 != version {
            let list = list(self, LISTED);
            *self.presence.borrow_mut() = (version, Rc::new(list));
        }
        self.presence.borrow().1.clone()
    }

    /// Who is here, all.
    pub fn presence_all(&self) -> Json {
        list(self, usize::MAX)
    }

    /// `stateVersion`.
    pub fn state_version(&self) -> Json {
        Json(format!(r#"{{"presence":{},"health":1}}"#, self.presence_version.get()))
    }
}
