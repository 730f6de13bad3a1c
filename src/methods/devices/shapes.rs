//! The answers and events about devices.

use crate::{
    app::App,
    clock::wall_ms,
    methods::shape::Object,
    protocol::{DeviceId, Json, RequestId, Scopes},
    store::{Device, Display, Grant, NodeRequest, Registry, Request, SetupCode, Surface},
};
use std::rc::Rc;

/// An entry of `pending`; the payload of `device.pair.requested`. `repair`: whether the device is paired already.
pub(crate) fn requested(r: &Request, repair: bool) -> Json {
    Object::new()
        .put("requestId", &r.id.0)
        .put("deviceId", &r.key.device_id().to_string())
        .put("publicKey", &r.key.to_string())
        .client(r.display.name.as_deref(), &r.display)
        .put("role", r.role.as_str())
        .put("roles", &[r.role.to_string()])
        .put("scopes", &r.scopes)
        .put("silent", &false)
        .put("isRepair", &repair)
        .put("ts", &r.created_ms)
        .json()
}

/// The payload of `device.pair.resolved`.
pub(crate) fn resolved(id: &RequestId, device: &DeviceId, decision: &str) -> Json {
    let object = Object::new().put("requestId", &id.0).put("deviceId", &device.to_string());
    object.put("decision", decision).put("ts", &wall_ms()).json()
}

/// The payload of `device.pair.setup.completed`.
pub(crate) fn setup_completed(code: &SetupCode, display: &Display) -> Json {
    let (device, ts) = code.spent.unwrap_or((DeviceId([0; 32]), 0));
    Object::new()
        .put("setupId", &code.id.0)
        .put("deviceId", &device.to_string())
        .opt("deviceName", display.name.as_ref())
        .put("access", code.access.as_str())
        .put("ts", &ts)
        .json()
}

/// Facts about a device that only a running gateway has.
#[derive(Default)]
pub(crate) struct Live {
    /// The display data of its newest connection: fresher than the registry's.
    client: Option<Rc<Display>>,
    seen_ms: Option<u64>,
    connected: bool,
}

impl Live {
    /// Gathers the facts about `device` from `app`.
    pub(super) fn of(app: &App, device: &Device) -> Self {
        let id = device.id();
        let conns = app.hub.conns.of(&id);
        Self {
            client: conns.last().map(|c| c.session().client.clone()),
            seen_ms: if conns.is_empty() { app.devices.seen_ms(&id) } else { Some(wall_ms()) },
            connected: !conns.is_empty(),
        }
    }
}

/// An entry of `paired`.
pub(super) fn paired(device: &Device, now: Live) -> Json {
    let d = now.client.as_deref().unwrap_or(&device.display);
    let seen = now.seen_ms.or(device.seen_ms);
    let live: Vec<&Grant> = device.grants.iter().filter(|g| g.revoked_ms.is_none()).collect();
    let role = live.first().copied().or(device.grants.first());
    let token = |g: &Grant| {
        Object::new()
            .put("role", g.role.as_str())
            .put("scopes", &g.scopes)
            .put("createdAtMs", &g.created_ms)
            .opt("rotatedAtMs", g.rotated_ms.as_ref())
            .opt("revokedAtMs", g.revoked_ms.as_ref())
            .json()
    };
    let pending = device.node.pending.as_ref().map(|p| node_request(device, p));
    Object::new()
        .put("deviceId", &device.id().to_string())
        .put("publicKey", &device.key.to_string())
        .opt("operatorLabel", device.label.as_ref())
        .client(d.name.as_deref(), d)
        .opt("modelIdentifier", d.model.as_ref())
        .put("role", role.map_or("", |g| g.role.as_str()))
        .put("roles", &live.iter().map(|g| g.role.to_string()).collect::<Vec<_>>())
        .put("scopes", &live.iter().fold(Scopes::NONE, |all, g| all.union(g.scopes)))
        .put("approvedVia", device.via.as_str())
        .put("createdAtMs", &device.created_ms)
        .put("approvedAtMs", &device.approved_ms)
        .opt("lastSeenAtMs", seen.as_ref())
        .opt("lastSeenReason", seen.map(|_| "connect"))
        .put("connected", &now.connected)
        .put("tokens", &device.grants.iter().map(token).collect::<Vec<_>>())
        .opt("pendingNodeSurface", pending.as_ref())
        .json()
}

/// The answer of `device.pair.list`: what of `registry` the caller manages, and what `live` knows of it.
pub(crate) fn list(
    registry: &Registry,
    manages: impl Fn(&DeviceId) -> bool,
    live: impl Fn(&Device) -> Live,
) -> Json {
    let asked = registry.requests().iter().map(|r| (r, r.key.device_id())).filter(|(_, id)| manages(id));
    let pending: Vec<_> = asked.map(|(r, id)| requested(r, registry.device(&id).is_some())).collect();
    let mut devices: Vec<_> = registry.devices().filter(|d| manages(&d.id())).collect();
    devices.sort_by_key(|d| std::cmp::Reverse(d.approved_ms));
    let paired: Vec<_> = devices.into_iter().map(|d| paired(d, live(d))).collect();
    Object::new().put("pending", &pending).put("paired", &paired).json()
}

/// An entry of `pending` for `request`, which `device` made; the payload of `node.pair.requested`.
pub(crate) fn node_request(device: &Device, request: &NodeRequest) -> Json {
    let scopes = request.surface.scopes_to_approve().names();
    let (id, name) = (device.id(), device.name());
    node_request_of(&request.id, &id, name, &device.display, &request.surface, &scopes, request.created_ms)
}

pub(in crate::methods) fn node_request_of(
    request: &RequestId,
    node: &DeviceId,
    name: Option<&str>,
    display: &Display,
    surface: &Surface,
    scopes: &[String],
    created_ms: u64,
) -> Json {
    Object::new()
        .put("requestId", &request.0)
        .put("nodeId", &node.to_string())
        .client(name, display)
        .opt("version", display.version.as_ref())
        .put("caps", &surface.caps)
        .put("commands", &surface.commands)
        .put("permissions", &surface.permissions)
        .put("requiredApproveScopes", scopes)
        .put("ts", &created_ms)
        .json()
}
