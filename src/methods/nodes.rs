//! `node.list` and its kin, and `node.pair.*`: which of its commands a node may be invoked with.
//!
//! A node is a paired device in role `node`. What it declares beyond what was approved waits under a
//! request of its own; what was approved stays in use meanwhile.
//! Source: `docs/gateway/pairing.md`.

use super::{
    Answer, Reply,
    wire::{self, Node, NodePending},
};
use crate::{
    app::App,
    auth::Lost,
    clock::wall_ms,
    hub::{Audience, Conn},
    protocol::{DeviceId, ErrorShape, Event, Json, Params, Role, Scope},
    store::{Device, NodeRequest, Registry},
};
use nanoserde::SerJson;
use std::rc::Rc;

/// Whether the config keeps `command` from every node.
pub fn denied(app: &App, command: &str) -> bool {
    let settings = app.settings();
    settings.config.nodes.deny.as_ref().is_none_or(|deny| deny.iter().any(|d| d == command))
}

fn is_node(device: &Device) -> bool {
    device.grant(Role::Node).is_some_and(|g| g.revoked_ms.is_none())
}

/// `node.list`.
pub fn list(app: &Rc<App>) -> Json {
    let registry = app.devices.registry();
    let nodes: Vec<Node> = registry.devices().filter(|d| is_node(d)).map(|d| Node::new(app, d)).collect();
    Json(format!(r#"{{"ts":{},"nodes":{}}}"#, wall_ms(), nodes.serialize_json()))
}

/// Finds a node by its id, its name or its address. A name is the node's own word: one that several have
/// finds none of them.
pub fn find(app: &App, wanted: &str) -> Result<Rc<Device>, ErrorShape> {
    let registry = app.devices.registry();
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
pub fn describe(app: &Rc<App>, params: &Params<'_>) -> Answer {
    let device = find(app, params.str("nodeId")?)?;
    let node = Json::of(&Node::new(app, &device));
    // The entry, with the time of the answer.
    Ok(Json(format!(r#"{{"ts":{},{}"#, wall_ms(), &node.0[1..])).into())
}

/// `node.rename`.
pub async fn rename(app: &Rc<App>, params: &Params<'_>) -> Answer {
    let id = find(app, params.str("nodeId")?)?.id();
    let name = params.str("displayName")?.to_owned();
    let name = app.devices.change(|registry| Ok(registry.rename(&id, &name)?)).await?;
    let payload = format!(r#"{{"nodeId":"{id}","displayName":{}}}"#, name.serialize_json());
    Ok(Reply::then(Json(payload), move |app| {
        app.hub.events.publish(Event::DevicePairChanged, Audience::Managers(id), &Json("{}".into()));
    }))
}

#[derive(SerJson)]
struct PairList {
    pending: Vec<NodePending>,
    paired: Vec<Node>,
}

/// `node.pair.list`.
pub fn pair_list(app: &Rc<App>) -> Json {
    let registry = app.devices.registry();
    let pending = registry.devices().filter(|d| is_node(d));
    let pending = pending.filter_map(|d| d.node.pending.as_ref().map(|p| NodePending::new(d, p)));
    let paired = registry.devices().filter(|d| is_node(d) && d.node.approved_ms.is_some());
    Json::of(&PairList { pending: pending.collect(), paired: paired.map(|d| Node::new(app, d)).collect() })
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

/// `node.pair.approve`.
pub async fn approve(app: &Rc<App>, conn: &Rc<Conn>, params: &Params<'_>) -> Answer {
    let wanted = params.str("requestId")?.to_owned();
    let caller = conn.clone();
    let approved = app.devices.change(|registry| {
        let (id, request) = pending(registry, &wanted)?;
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
    let registry = app.devices.registry();
    let node = registry.device(&id).map_or_else(Json::null, |d| Json::of(&Node::new(app, d)));
    let payload = format!(r#"{{"requestId":"{}","nodeId":"{id}","node":{}}}"#, request.id, node.0);
    Ok(Reply::then(Json(payload), move |app| {
        app.hub.events.publish(
            Event::NodePairResolved,
            Audience::Managers(id),
            &wire::node_resolved(&request.id, &id, "approved"),
        );
    }))
}

/// `node.pair.reject`.
pub async fn reject(app: &Rc<App>, params: &Params<'_>) -> Answer {
    let wanted = params.str("requestId")?.to_owned();
    let rejected = app.devices.change(|registry| {
        let (id, request) = pending(registry, &wanted)?;
        if let Some(device) = registry.device_mut(&id) {
            device.node.pending = None;
        }
        Ok((id, request.id))
    });
    let (id, request) = rejected.await?;
    let payload = Json(format!(r#"{{"requestId":"{request}","nodeId":"{id}"}}"#));
    Ok(Reply::then(payload, move |app| {
        app.hub.events.publish(
            Event::NodePairResolved,
            Audience::Managers(id),
            &wire::node_resolved(&request, &id, "rejected"),
        );
    }))
}

/// `node.pair.remove`: takes the node role away. A device with no other role is removed.
pub async fn remove(app: &Rc<App>, conn: &Rc<Conn>, params: &Params<'_>) -> Answer {
    let device = find(app, params.str("nodeId")?)?;
    let id = device.id();
    let mixed = device.grants.iter().any(|g| g.role != Role::Node && g.revoked_ms.is_none());
    if mixed && conn.device() == Some(id) && !conn.allows(Scope::Admin) {
        let why = "a device's own node role is an administrator's to remove";
        return Err(ErrorShape::missing_scope(Scope::Admin, Some(why.into())));
    }
    app.devices
        .change(|registry| {
            if !mixed {
                return registry
                    .remove(&id, wall_ms())
                    .map(|_| ())
                    .ok_or_else(|| super::devices::unknown_device(id));
            }
            let device = registry.device_mut(&id).ok_or_else(|| super::devices::unknown_device(id))?;
            if let Some(grant) = device.grant_mut(Role::Node) {
                grant.revoked_ms = Some(wall_ms());
                grant.grace_ms = None;
                grant.imported = None;
            }
            device.node = Default::default();
            Ok(())
        })
        .await?;
    Ok(Reply::then(Json(format!(r#"{{"nodeId":"{id}"}}"#)), move |app| {
        app.hub.events.publish(Event::DevicePairChanged, Audience::Managers(id), &Json("{}".into()));
        app.devices.close(&id, Some(Role::Node), Lost::NodeRemoved);
    }))
}
