//! `node.*`: paired nodes, and which of its commands a node may be invoked with.
//!
//! A node is a paired device in role `node`. What it declares beyond what was approved waits under a
//! request of its own; what was approved stays in use meanwhile.
//! Source: `docs/gateway/pairing.md`.

pub(super) mod invoke;
mod shapes;

use super::{
    Access::{Dynamic, Node, Operator},
    Answer, Call, Method, Repeat, Reply,
    devices::{
        self,
        change::{Change, denied},
        shapes::node_request,
    },
    shape::Object,
};
use crate::{
    app::App,
    auth::{Caller, Lost},
    clock::wall_ms,
    hub::Audience,
    protocol::{DeviceId, ErrorShape, Event, Json, MAX_PAYLOAD, Role, Scope},
    store::{Device, NodeRequest, Registry, RegistryError},
};
use std::rc::Rc;

const READ: super::Access = Operator(Scope::Read);
const PAIRING: super::Access = Operator(Scope::Pairing);

/// The methods of this family.
pub(super) const METHODS: &[Method] = &[
    Method::now("node.pair.list", PAIRING, Repeat::Harmless, pair_list),
    Method::waits("node.pair.approve", PAIRING, Repeat::Harmless, |c| Box::pin(approve(c))),
    Method::waits("node.pair.reject", PAIRING, Repeat::Harmless, |c| Box::pin(reject(c))),
    Method::waits("node.pair.remove", PAIRING, Repeat::Harmless, |c| Box::pin(remove(c))),
    Method::now("node.list", READ, Repeat::Harmless, list),
    Method::now("node.describe", READ, Repeat::Harmless, describe),
    Method::waits("node.rename", PAIRING, Repeat::Harmless, |c| Box::pin(rename(c))),
    Method::waits("node.invoke", Dynamic(Scope::Write), Repeat::Keyed, |c| Box::pin(invoke::invoke(c)))
        .content(MAX_PAYLOAD),
    Method::now("node.invoke.result", Node, Repeat::Harmless, invoke::result).content(MAX_PAYLOAD),
    Method::now("node.event", Node, Repeat::ChangesTwice, invoke::event).content(1 << 20),
    Method::now("node.pending.pull", Node, Repeat::Harmless, invoke::nothing_pending),
    Method::now("node.pending.ack", Node, Repeat::Harmless, invoke::ack),
    Method::now("node.pending.drain", Node, Repeat::Harmless, invoke::nothing_pending),
];

/// Whether the configuration keeps `command` from every node.
fn is_denied(app: &App, command: &str) -> bool {
    let settings = app.settings();
    settings.config.nodes.deny.as_ref().is_none_or(|deny| deny.iter().any(|d| d == command))
}

fn is_node(device: &Device) -> bool {
    device.grant(Role::Node).is_some_and(|g| g.revoked_ms.is_none())
}

/// `node.list`.
fn list(call: &Call) -> Answer {
    let registry = call.app.devices.registry();
    let nodes = registry.devices().filter(|d| is_node(d)).map(|d| shapes::node(&call.app, d, None));
    Ok(Object::new().put("ts", &wall_ms()).put("nodes", &nodes.collect::<Vec<_>>()).json().into())
}

/// Finds a node by its id, its name or its address. A name is the node's own word: one that several have
/// finds none of them.
fn find(registry: &Registry, wanted: &str) -> Result<Rc<Device>, ErrorShape> {
    let by_id = DeviceId::parse(wanted).and_then(|id| registry.device(&id).cloned());
    let named =
        |d: &&Rc<Device>| is_node(d) && (d.name() == Some(wanted) || d.display.ip.as_deref() == Some(wanted));
    if let Some(device) = by_id.filter(|d| is_node(d)) {
        return Ok(device);
    }
    let found: Vec<&Rc<Device>> = registry.devices().filter(named).collect();
    match found[..] {
        [device] => Ok(device.clone()),
        [] => Err(ErrorShape::invalid(format!("unknown nodeId: {wanted}; see barnacle call node.list"))),
        _ => {
            let ids: Vec<String> = found.iter().map(|d| d.id().to_string()).collect();
            let ids = ids.join(", ");
            Err(ErrorShape::invalid(format!("ambiguous nodeId: {wanted} may be {ids}; name one of them")))
        }
    }
}

/// `node.describe`.
fn describe(call: &Call) -> Answer {
    let params = call.params()?;
    let device = find(&call.app.devices.registry(), params.str("nodeId")?)?;
    Ok(shapes::node(&call.app, &device, Some(wall_ms())).into())
}

/// Finds a node that `caller` manages.
fn managed(registry: &Registry, caller: &Caller, wanted: &str) -> Result<Rc<Device>, ErrorShape> {
    let device = find(registry, wanted)?;
    if caller.manages(&device.id()) { Ok(device) } else { Err(denied()) }
}

/// Tells those who manage a node that it changed.
fn publish_changed(app: &App, id: DeviceId) {
    app.hub.events.publish(Event::DevicePairChanged, Audience::Managers(id), &Json("{}".into()));
}

/// Tells those who manage a node what became of its request.
fn publish_resolved(app: &App, request: &NodeRequest, id: DeviceId, decision: &str) {
    let payload = shapes::resolved(&request.id, &id, decision);
    app.hub.events.publish(Event::NodePairResolved, Audience::Managers(id), &payload);
}

/// `node.rename`.
async fn rename(call: Call) -> Answer {
    let params = call.params()?;
    let (wanted, name) = (params.str("nodeId")?, params.str("displayName")?);
    let caller = call.by.caller();
    let renamed = call.app.devices.change(|registry| {
        let id = managed(registry, &caller, wanted)?.id();
        Ok((id, registry.rename(&id, name)?))
    });
    let (id, name) = renamed.await?;
    let payload = Object::new().put("nodeId", &id.to_string()).put("displayName", &name).json();
    Ok(Reply::then(payload, move |app| publish_changed(app, id)))
}

/// `node.pair.list`: nodes that wait for their pairing or for more commands, and paired ones.
fn pair_list(call: &Call) -> Answer {
    let caller = call.by.caller();
    let registry = call.app.devices.registry();
    let unpaired = registry.requests().iter();
    let unpaired = unpaired.filter(|r| r.role == Role::Node && caller.manages(&r.key.device_id()));
    let managed: Vec<_> = registry.devices().filter(|d| is_node(d) && caller.manages(&d.id())).collect();
    let wider = managed.iter().filter_map(|d| Some(node_request(d, d.node.pending.as_ref()?)));
    let pending: Vec<_> = unpaired.map(|r| shapes::unpaired(r)).chain(wider).collect();
    let paired = managed.iter().filter(|d| d.node.approved_ms.is_some());
    let paired: Vec<_> = paired.map(|d| shapes::node(&call.app, d, None)).collect();
    Ok(Object::new().put("pending", &pending).put("paired", &paired).json().into())
}

/// Finds the node whose request has the id, or whose own id it is.
fn pending(registry: &Registry, wanted: &str) -> Result<(DeviceId, NodeRequest), ErrorShape> {
    let asked = |d: &Rc<Device>| {
        let request = d.node.pending.as_ref()?;
        let id = d.id();
        (request.id.0 == wanted || DeviceId::parse(wanted) == Some(id)).then(|| (id, request.clone()))
    };
    registry.devices().find_map(asked).ok_or_else(|| {
        ErrorShape::invalid(format!("unknown requestId: {wanted}; see barnacle call node.pair.list"))
    })
}

/// Whether `wanted` is the request of a device that waits to be paired as a node: then the rules of `device.pair.*`
/// hold.
fn is_unpaired(app: &App, wanted: &str) -> bool {
    app.devices.registry().requests().iter().any(|r| r.role == Role::Node && r.id.0 == wanted)
}

/// `node.pair.approve`.
async fn approve(call: Call) -> Answer {
    let params = call.params()?;
    let wanted = params.str("requestId")?;
    let (app, caller) = (&call.app, &call.by);
    let answer = |request: &str, id: DeviceId| {
        let registry = app.devices.registry();
        let node = registry.device(&id).map_or_else(Json::null, |d| shapes::node(app, d, None));
        Object::new().put("requestId", request).put("nodeId", &id.to_string()).put("node", &node).json()
    };
    if is_unpaired(app, wanted) {
        let (_, changed) = devices::apply(app, caller, &Change::Approve(wanted.into())).await?;
        let payload = answer(wanted, changed.device());
        return Ok(Reply::then(payload, move |app| devices::follow(app, &changed)));
    }
    let approved = app.devices.change(|registry| {
        let (id, request) = pending(registry, wanted)?;
        let needed = request.surface.scopes_to_approve();
        if let Some(scope) = needed.iter().find(|s| !caller.allows(*s)) {
            let what = format!("the request exposes {}", request.surface.commands.join(", "));
            return Err(ErrorShape::missing_scope(scope, Some(what)));
        }
        if let Some(device) = registry.device_mut(&id) {
            device.node.approved = request.surface.clone();
            device.node.approved_ms = Some(wall_ms());
            device.node.pending = None;
        }
        Ok((id, request))
    });
    let (id, request) = approved.await?;
    log::info!("node {} may now: {}", id.short(), request.surface.commands.join(", "));
    let payload = answer(&request.id.0, id);
    Ok(Reply::then(payload, move |app| publish_resolved(app, &request, id, "approved")))
}

/// `node.pair.reject`.
async fn reject(call: Call) -> Answer {
    let params = call.params()?;
    let wanted = params.str("requestId")?;
    let answer = |request: &str, id: DeviceId| {
        Object::new().put("requestId", request).put("nodeId", &id.to_string()).json()
    };
    if is_unpaired(&call.app, wanted) {
        let (_, changed) = devices::apply(&call.app, &call.by, &Change::Reject(wanted.into())).await?;
        let payload = answer(wanted, changed.device());
        return Ok(Reply::then(payload, move |app| devices::follow(app, &changed)));
    }
    let caller = call.by.caller();
    let rejected = call.app.devices.change(|registry| {
        let (id, request) = pending(registry, wanted)?;
        if !caller.manages(&id) {
            return Err(denied());
        }
        if let Some(device) = registry.device_mut(&id) {
            device.node.pending = None;
        }
        Ok((id, request))
    });
    let (id, request) = rejected.await?;
    let payload = answer(&request.id.0, id);
    Ok(Reply::then(payload, move |app| publish_resolved(app, &request, id, "rejected")))
}

/// `node.pair.remove`: takes the node role away. A device with no other role is removed.
async fn remove(call: Call) -> Answer {
    let params = call.params()?;
    let caller = call.by.caller();
    let device = managed(&call.app.devices.registry(), &caller, params.str("nodeId")?)?;
    let id = device.id();
    let mixed = device.grants.iter().any(|g| g.role != Role::Node && g.revoked_ms.is_none());
    if mixed && caller.device == Some(id) && !caller.is_admin() {
        let why = "a device's own node role is an administrator's to remove";
        return Err(ErrorShape::missing_scope(Scope::Admin, Some(why.into())));
    }
    let unknown = || RegistryError::NoDevice(id.to_string());
    call.app
        .devices
        .change(|registry| {
            if !mixed {
                registry.remove(&id, wall_ms()).ok_or_else(unknown)?;
                return Ok(());
            }
            let device = registry.device_mut(&id).ok_or_else(unknown)?;
            if let Some(grant) = device.grant_mut(Role::Node) {
                grant.revoked_ms = Some(wall_ms());
                grant.grace_ms = None;
                grant.imported = None;
            }
            device.node = Default::default();
            Ok(())
        })
        .await?;
    log::info!("node {} removed by {}", id.short(), call.by.name());
    let payload = Object::new().put("nodeId", &id.to_string()).json();
    Ok(Reply::then(payload, move |app| {
        publish_changed(app, id);
        app.devices.close(&id, Some(Role::Node), Lost::NodeRemoved);
    }))
}
