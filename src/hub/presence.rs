//! Presence: the connected clients, as `system-presence` and the `presence` event list them.
//!
//! As in OpenClaw, command-line clients, probes and back ends come and go without being listed.

use super::{Boot, Conn, Connections, Events};
use crate::{
    protocol::{Event, Json},
    reactor::{Tasks, Timer},
};
use nanoserde::SerJson;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

/// Clients listed in `hello-ok`; `system-presence` lists more.
const LISTED: usize = 64;
/// Time for which changes are gathered into one event.
const DELAY: Duration = Duration::from_millis(100);

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
        instanceId: s
            .instance
            .as_deref()
            .filter(|t| !t.is_empty())
            .map(str::to_owned)
            .or_else(|| Some(s.id.to_string())),
    }
}

/// The connected clients, and when that list changed last.
pub struct Presence {
    boot: Boot,
    conns: Rc<Connections>,
    events: Rc<Events>,
    tasks: Tasks,
    version: Cell<u64>,
    /// Whether an event is about to be sent.
    pending: Cell<bool>,
    /// The first entries as of a version.
    cache: RefCell<(u64, Rc<Json>)>,
}

impl Presence {
    /// The presence of the clients among `conns`.
    pub(super) fn new(boot: Boot, conns: &Rc<Connections>, events: &Rc<Events>, tasks: &Tasks) -> Rc<Self> {
        Rc::new(Self {
            boot,
            conns: conns.clone(),
            events: events.clone(),
            tasks: tasks.clone(),
            version: Cell::new(1),
            pending: Cell::new(false),
            cache: RefCell::new((0, Rc::new(Json::null()))),
        })
    }

    /// Notes a change, and sends one `presence` event soon for all changes meanwhile.
    pub(crate) fn changed(self: &Rc<Self>) {
        self.version.set(self.version.get() + 1);
        if !self.pending.get() {
            self.send_soon();
        }
    }

    fn send_soon(self: &Rc<Self>) {
        self.pending.set(true);
        let this = self.clone();
        self.tasks.spawn(async move {
            Timer::after(DELAY).await;
            this.pending.set(false);
            let payload = Json(format!(r#"{{"presence":{}}}"#, this.first().0));
            this.events.publish_versioned(Event::Presence, &payload, &this.state_version());
        });
    }

    /// The first entries; built once a change.
    pub(crate) fn first(&self) -> Rc<Json> {
        let version = self.version.get();
        if self.cache.borrow().0 != version {
            let list = self.list(LISTED);
            *self.cache.borrow_mut() = (version, Rc::new(list));
        }
        self.cache.borrow().1.clone()
    }

    /// Lists all entries as JSON.
    pub(crate) fn all(&self) -> Json {
        self.list(usize::MAX)
    }

    /// Number that is another one whenever the list is.
    pub(crate) fn version(&self) -> u64 {
        self.version.get()
    }

    /// Returns `stateVersion` as JSON.
    pub(crate) fn state_version(&self) -> Json {
        Json(format!(r#"{{"presence":{},"health":1}}"#, self.version.get()))
    }

    /// The version, and whether an event is about to be sent; saved over a hand-over.
    pub(crate) fn save(&self) -> (u64, bool) {
        (self.version.get(), self.pending.get())
    }

    /// Restores what [`save`](Self::save) returned.
    pub(crate) fn restore(self: &Rc<Self>, (version, pending): (u64, bool)) {
        self.version.set(version);
        if pending {
            self.send_soon();
        }
    }

    /// The entries, the gateway's own first, then at most `limit` clients.
    fn list(&self, limit: usize) -> Json {
        let host = self.boot.host.clone();
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
            ts: self.boot.clock.started_ms,
            deviceId: None,
            roles: None,
            scopes: None,
            instanceId: Some(self.boot.id.clone()),
        };
        let mut entries = vec![own];
        entries.extend(self.conns.all().iter().filter(|c| listed(c)).take(limit).map(entry));
        Json::of(&entries)
    }
}
