//! The answers and events about nodes.

use crate::{
    app::App,
    clock::wall_ms,
    methods::{devices::shapes::node_request_of, shape::Object},
    protocol::{DeviceId, Json, RequestId, Role, Scope},
    store::{Device, Request, Surface},
};

/// The payload of `node.pair.resolved`.
pub(super) fn resolved(id: &RequestId, node: &DeviceId, decision: &str) -> Json {
    let object = Object::new().put("requestId", &id.0).put("nodeId", &node.to_string());
    object.put("decision", decision).put("ts", &wall_ms()).json()
}

/// An entry of `pending` for a device that waits to be paired as a node. What it can do is not known before.
pub(super) fn unpaired(request: &Request) -> Json {
    let scopes = [Scope::Pairing, Scope::Admin].map(|scope| scope.as_str().to_owned());
    let (id, name) = (request.key.device_id(), request.display.name.as_deref());
    node_request_of(
        &request.id,
        &id,
        name,
        &request.display,
        &Surface::default(),
        &scopes,
        request.created_ms,
    )
}

/// The entry of a paired node in `node.list`, and the answer of `node.describe`, which adds the time: `ts`.
pub(super) fn node(app: &App, device: &Device, ts: Option<u64>) -> Json {
    let id = device.id();
    let conn = app.hub.conns.node(&id);
    let session = conn.as_ref().map(|conn| conn.session());
    let display = session.as_ref().map_or(&device.display, |session| &*session.client);
    let live = device.node.usable(session.as_ref().map(|session| session.declared()));
    let pending = device.node.pending.as_ref();
    let connected_ms = session.as_ref().map(|session| session.connected_ms);
    let seen = connected_ms.or(app.devices.seen_ms(&id)).or(device.seen_ms);
    let grant = device.grant(Role::Node);
    let state = match (pending, device.node.approved_ms) {
        (Some(_), None) => "pending-approval",
        (Some(_), Some(_)) => "pending-reapproval",
        (None, Some(_)) => "approved",
        (None, None) => "unapproved",
    };
    Object::new()
        .opt("ts", ts.as_ref())
        .put("nodeId", &id.to_string())
        .client(device.label.as_deref().or(display.name.as_deref()), display)
        .opt("version", display.version.as_ref())
        .opt("modelIdentifier", display.model.as_ref())
        .put("caps", &live.caps)
        .put("commands", &live.commands)
        .put("permissions", &live.permissions)
        .put("approvalState", state)
        .opt("pendingRequestId", pending.map(|p| &p.id.0))
        .opt("pendingDeclaredCaps", pending.map(|p| &p.surface.caps))
        .opt("pendingDeclaredCommands", pending.map(|p| &p.surface.commands))
        .opt("connectedAtMs", connected_ms.as_ref())
        .opt("lastSeenAtMs", seen.as_ref())
        .opt("lastSeenReason", seen.map(|_| "connect"))
        .opt("approvedAtMs", device.node.approved_ms.or(grant.map(|g| g.created_ms)).as_ref())
        .put("paired", &grant.is_some_and(|g| g.revoked_ms.is_none()))
        .put("connected", &conn.is_some())
        .json()
}
