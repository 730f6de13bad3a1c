//! The shapes of answers and events. Fields are named as on the wire.
//!
//! Source: the definitions of `protocol.schema.json`, and recordings of a gateway of 2026.9.6 where the
//! schema leaves an answer open.

use crate::{
    app::App,
    clock::wall_ms,
    protocol::{DeviceId, Json, RequestId, Role, Scopes},
    store::{Device, Display, NodeRequest, Registry, Request, SetupCode, Surface},
};
use nanoserde::SerJson;
use std::collections::BTreeMap;

/// `DevicePairRequestedEvent`; also an entry of `pending`.
#[derive(SerJson)]
#[allow(non_snake_case)]
pub struct Requested {
    requestId: String,
    deviceId: String,
    publicKey: String,
    displayName: Option<String>,
    platform: Option<String>,
    deviceFamily: Option<String>,
    clientId: Option<String>,
    clientMode: Option<String>,
    role: String,
    roles: Vec<String>,
    scopes: Vec<String>,
    remoteIp: Option<String>,
    silent: bool,
    isRepair: bool,
    ts: u64,
}

impl Requested {
    /// `repair`: whether the device is already in the book.
    pub fn new(r: &Request, id: &RequestId, repair: bool) -> Self {
        let d = r.display.clone();
        Self {
            requestId: id.to_string(),
            deviceId: r.key.device_id().to_string(),
            publicKey: r.key.to_string(),
            displayName: d.name,
            platform: d.platform,
            deviceFamily: d.family,
            clientId: d.client_id,
            clientMode: d.client_mode,
            role: r.role.to_string(),
            roles: vec![r.role.to_string()],
            scopes: r.scopes.names(),
            remoteIp: d.ip,
            silent: false,
            isRepair: repair,
            ts: r.created_ms,
        }
    }
}

/// The payload of `device.pair.requested`.
pub fn requested(r: &Request, id: &RequestId, repair: bool) -> Json {
    Json::of(&Requested::new(r, id, repair))
}

#[derive(SerJson)]
#[allow(non_snake_case)]
struct Resolved {
    requestId: String,
    deviceId: Option<String>,
    nodeId: Option<String>,
    decision: &'static str,
    ts: u64,
}

/// The payload of `device.pair.resolved`.
pub fn resolved(id: &RequestId, device: &DeviceId, decision: &'static str) -> Json {
    let device = Some(device.to_string());
    Json::of(&Resolved { requestId: id.to_string(), deviceId: device, nodeId: None, decision, ts: wall_ms() })
}

/// The payload of `node.pair.resolved`.
pub fn node_resolved(id: &RequestId, node: &DeviceId, decision: &'static str) -> Json {
    let node = Some(node.to_string());
    Json::of(&Resolved { requestId: id.to_string(), deviceId: None, nodeId: node, decision, ts: wall_ms() })
}

#[derive(SerJson)]
#[allow(non_snake_case)]
struct SetupCompleted {
    setupId: String,
    deviceId: String,
    deviceName: Option<String>,
    access: &'static str,
    ts: u64,
}

/// The payload of `device.pair.setup.completed`.
pub fn setup_completed(code: &SetupCode, display: &Display) -> Json {
    let (device, ts) = code.spent.unwrap_or((DeviceId([0; 32]), 0));
    Json::of(&SetupCompleted {
        setupId: code.id.to_string(),
        deviceId: device.to_string(),
        deviceName: display.name.clone(),
        access: code.access.as_str(),
        ts,
    })
}

#[derive(SerJson)]
#[allow(non_snake_case)]
struct TokenInfo {
    role: String,
    scopes: Vec<String>,
    createdAtMs: u64,
    rotatedAtMs: Option<u64>,
    revokedAtMs: Option<u64>,
}

/// An entry of `paired`.
#[derive(SerJson)]
#[allow(non_snake_case)]
pub struct Paired {
    deviceId: String,
    publicKey: String,
    operatorLabel: Option<String>,
    displayName: Option<String>,
    platform: Option<String>,
    deviceFamily: Option<String>,
    modelIdentifier: Option<String>,
    clientId: Option<String>,
    clientMode: Option<String>,
    role: String,
    roles: Vec<String>,
    scopes: Vec<String>,
    remoteIp: Option<String>,
    approvedVia: &'static str,
    createdAtMs: u64,
    approvedAtMs: u64,
    lastSeenAtMs: Option<u64>,
    lastSeenReason: Option<&'static str>,
    connected: bool,
    tokens: Vec<TokenInfo>,
    pendingNodeSurface: Option<NodePending>,
}

/// What only a running gateway knows of a device.
#[derive(Default)]
pub struct Live {
    /// What its newest connection says of itself: fresher than the book.
    client: Option<Display>,
    seen_ms: Option<u64>,
    connected: bool,
}

impl Live {
    /// What `app` knows of `device`.
    pub fn of(app: &App, device: &Device) -> Self {
        let id = device.id();
        let conns = app.hub.conns.of(&id);
        Self {
            client: conns.last().map(|c| c.session().client.clone()),
            seen_ms: if conns.is_empty() { app.devices.seen_ms(&id) } else { Some(wall_ms()) },
            connected: !conns.is_empty(),
        }
    }
}

impl Paired {
    /// The entry of `device`.
    pub fn new(device: &Device, now: Live) -> Self {
        let id = device.id();
        let d = now.client.unwrap_or_else(|| device.display.clone());
        let seen = now.seen_ms.or(device.seen_ms);
        let live: Vec<_> = device.grants.iter().filter(|g| g.revoked_ms.is_none()).collect();
        let scopes = live.iter().fold(Scopes::NONE, |all, g| all.union(g.scopes));
        Self {
            deviceId: id.to_string(),
            publicKey: device.key.to_string(),
            operatorLabel: device.label.clone(),
            displayName: d.name,
            platform: d.platform,
            deviceFamily: d.family,
            modelIdentifier: d.model,
            clientId: d.client_id,
            clientMode: d.client_mode,
            role: live
                .first()
                .or(device.grants.first().as_ref())
                .map_or_else(String::new, |g| g.role.to_string()),
            roles: live.iter().map(|g| g.role.to_string()).collect(),
            scopes: scopes.names(),
            remoteIp: d.ip,
            approvedVia: device.via.as_str(),
            createdAtMs: device.created_ms,
            approvedAtMs: device.approved_ms,
            lastSeenAtMs: seen,
            lastSeenReason: seen.map(|_| "connect"),
            connected: now.connected,
            tokens: device
                .grants
                .iter()
                .map(|g| TokenInfo {
                    role: g.role.to_string(),
                    scopes: g.scopes.names(),
                    createdAtMs: g.created_ms,
                    rotatedAtMs: g.rotated_ms,
                    revokedAtMs: g.revoked_ms,
                })
                .collect(),
            pendingNodeSurface: device.node.pending.as_ref().map(|p| NodePending::new(device, p)),
        }
    }
}

/// A node's request, as `node.pair.list` and the events show it.
#[derive(SerJson)]
#[allow(non_snake_case)]
pub struct NodePending {
    requestId: String,
    nodeId: String,
    displayName: Option<String>,
    platform: Option<String>,
    version: Option<String>,
    deviceFamily: Option<String>,
    clientId: Option<String>,
    clientMode: Option<String>,
    remoteIp: Option<String>,
    caps: Vec<String>,
    commands: Vec<String>,
    permissions: BTreeMap<String, bool>,
    requiredApproveScopes: Vec<String>,
    ts: u64,
}

impl NodePending {
    /// The entry of `request`, which `device` made.
    pub fn new(device: &Device, request: &NodeRequest) -> Self {
        let d = device.display.clone();
        let Surface { caps, commands, permissions } = request.surface.clone();
        Self {
            requestId: request.id.to_string(),
            nodeId: device.id().to_string(),
            displayName: device.name().map(String::from),
            platform: d.platform,
            version: d.version,
            deviceFamily: d.family,
            clientId: d.client_id,
            clientMode: d.client_mode,
            remoteIp: d.ip,
            requiredApproveScopes: request.surface.scopes_to_approve().names(),
            caps,
            commands,
            permissions,
            ts: request.created_ms,
        }
    }
}

#[derive(SerJson)]
struct DeviceList {
    pending: Vec<Requested>,
    paired: Vec<Paired>,
}

/// The answer of `device.pair.list`: what of `registry` the caller reaches, and what `live` knows of it.
pub fn device_list(
    registry: &Registry,
    reaches: impl Fn(&DeviceId) -> bool,
    live: impl Fn(&Device) -> Live,
) -> Json {
    let asked = registry.requests().iter().map(|r| (r, r.key.device_id())).filter(|(_, id)| reaches(id));
    let pending = asked.map(|(r, id)| Requested::new(r, &r.id, registry.device(&id).is_some())).collect();
    let mut paired: Vec<_> = registry.devices().filter(|d| reaches(&d.id())).collect();
    paired.sort_by_key(|d| std::cmp::Reverse(d.approved_ms));
    Json::of(&DeviceList { pending, paired: paired.into_iter().map(|d| Paired::new(d, live(d))).collect() })
}

/// The answer of `device.pair.approve`.
pub fn approved(request: &Request, device: Option<Paired>) -> Json {
    let device = device.map_or_else(Json::null, |d| Json::of(&d));
    Json(format!(r#"{{"requestId":{},"device":{}}}"#, request.id.0.serialize_json(), device.0))
}

/// The answer of `device.pair.reject`.
pub fn rejected(request: &Request) -> Json {
    let (request, device) = (request.id.0.serialize_json(), request.key.device_id());
    Json(format!(r#"{{"requestId":{request},"deviceId":"{device}"}}"#))
}

/// The answer of `device.pair.remove`.
pub fn removed(id: &DeviceId) -> Json {
    Json(format!(r#"{{"deviceId":"{id}"}}"#))
}

/// The answer of `device.pair.rename`.
pub fn renamed(id: &DeviceId, label: &str) -> Json {
    Json(format!(r#"{{"deviceId":"{id}","label":{}}}"#, label.serialize_json()))
}

#[derive(SerJson)]
#[allow(non_snake_case)]
struct Rotated {
    deviceId: String,
    role: String,
    token: Option<String>,
    scopes: Vec<String>,
    rotatedAtMs: u64,
    tokenDelivery: &'static str,
}

/// The answer of `device.token.rotate`; `token` only for the device itself.
pub fn rotated(id: &DeviceId, role: Role, scopes: Scopes, token: Option<String>, at_ms: u64) -> Json {
    Json::of(&Rotated {
        deviceId: id.to_string(),
        role: role.to_string(),
        tokenDelivery: if token.is_some() { "in-band" } else { "withheld-cross-device" },
        token,
        scopes: scopes.names(),
        rotatedAtMs: at_ms,
    })
}

/// The answer of `device.token.revoke`.
pub fn revoked(id: &DeviceId, role: Role, at_ms: u64) -> Json {
    Json(format!(r#"{{"deviceId":"{id}","role":"{role}","revokedAtMs":{at_ms}}}"#))
}

/// The payload of `node.pair.requested`.
pub fn node_request(device: &Device, request: &NodeRequest) -> Json {
    Json::of(&NodePending::new(device, request))
}

/// An entry of `node.list`; the answer of `node.describe`.
#[derive(SerJson)]
#[allow(non_snake_case)]
pub struct Node {
    nodeId: String,
    displayName: Option<String>,
    platform: Option<String>,
    version: Option<String>,
    deviceFamily: Option<String>,
    modelIdentifier: Option<String>,
    clientId: Option<String>,
    clientMode: Option<String>,
    remoteIp: Option<String>,
    caps: Vec<String>,
    commands: Vec<String>,
    permissions: BTreeMap<String, bool>,
    approvalState: &'static str,
    pendingRequestId: Option<String>,
    pendingDeclaredCaps: Option<Vec<String>>,
    pendingDeclaredCommands: Option<Vec<String>>,
    connectedAtMs: Option<u64>,
    lastSeenAtMs: Option<u64>,
    lastSeenReason: Option<&'static str>,
    approvedAtMs: Option<u64>,
    paired: bool,
    connected: bool,
}

impl Node {
    /// The entry of `device`.
    pub fn new(app: &App, device: &Device) -> Self {
        let id = device.id();
        let conn = app.hub.conns.node(&id);
        let d = conn.as_ref().map_or_else(|| device.display.clone(), |c| c.session().client.clone());
        let live = device.node.usable(conn.as_ref().map(|c| c.session()).as_ref().map(|s| &s.declared));
        let pending = device.node.pending.as_ref();
        let seen = app.devices.seen_ms(&id).or(device.seen_ms);
        let grant = device.grant(Role::Node);
        Self {
            nodeId: id.to_string(),
            displayName: device.label.clone().or(d.name),
            platform: d.platform,
            version: d.version,
            deviceFamily: d.family,
            modelIdentifier: d.model,
            clientId: d.client_id,
            clientMode: d.client_mode,
            remoteIp: d.ip,
            caps: live.caps,
            commands: live.commands,
            permissions: live.permissions,
            approvalState: match (pending, device.node.approved_ms) {
                (Some(_), None) => "pending-approval",
                (Some(_), Some(_)) => "pending-reapproval",
                (None, Some(_)) => "approved",
                (None, None) => "unapproved",
            },
            pendingRequestId: pending.map(|p| p.id.to_string()),
            pendingDeclaredCaps: pending.map(|p| p.surface.caps.clone()),
            pendingDeclaredCommands: pending.map(|p| p.surface.commands.clone()),
            connectedAtMs: conn.as_ref().map(|c| c.session().connected_ms),
            lastSeenAtMs: conn.as_ref().map(|c| c.session().connected_ms).or(seen),
            lastSeenReason: (conn.is_some() || seen.is_some()).then_some("connect"),
            approvedAtMs: device.node.approved_ms.or(grant.map(|g| g.created_ms)),
            paired: grant.is_some_and(|g| g.revoked_ms.is_none()),
            connected: conn.is_some(),
        }
    }
}
