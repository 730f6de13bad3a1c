//! Imports paired devices from OpenClaw, so that none has to pair again, and its sessions ([`sessions`]).
//!
//! The source is `devices/paired.json` of 2026.2 (keys, roles, scopes, tokens), or the answers of a
//! running gateway of any version (`record` reads both: they have the same shape). A device is imported
//! by its key; its old token is kept as a hash until it has its new one. [`merge`] only ever adds: what was
//! approved here is not narrowed, what was revoked or removed here stays so.

mod directory;
mod record;
pub mod sessions;

pub use directory::{Listed, read};
pub use record::{Record, Rejected, devices, surfaces};

use crate::{
    clock::timestamp,
    protocol::{DeviceId, Role},
    store::{Device, Registry, Surface},
};

/// The outcome of importing a device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    Added,
    /// The device was here, and gains these grants or names.
    Updated(String),
    /// The device was here, with the same grants and names.
    Unchanged,
    /// The record is not imported; the reason.
    Rejected(String),
}

/// The approved surface of a node, and when it was approved.
pub type NodeSurface = (DeviceId, Surface, Option<u64>);

/// Merges `device` into `registry`, with the surface it was approved for as a node.
pub fn merge(registry: &mut Registry, mut device: Device, surfaces: &[NodeSurface]) -> Fate {
    let id = device.id();
    if let Some(stone) = registry.tombstone(&id) {
        return Fate::Rejected(format!(
            "it was removed here on {}; pair it again",
            timestamp(stone.removed_ms)
        ));
    }
    if let Some((_, surface, at)) = surfaces.iter().find(|(node, ..)| *node == id) {
        device.node.approved = surface.clone();
        device.node.approved_ms = Some(at.unwrap_or(device.approved_ms));
    }
    let Some(here) = registry.device(&id) else {
        registry.insert(device);
        return Fate::Added;
    };
    let mut merged = Device::clone(here);
    let mut gains = Vec::new();
    for grant in device.grants {
        match merged.grant_mut(grant.role) {
            // An operator ended it here, and only an operator brings it back.
            Some(own) if own.revoked_ms.is_some() => {}
            Some(own) if grant.revoked_ms.is_none() && !own.scopes.covers(grant.scopes) => {
                own.scopes = own.scopes.union(grant.scopes);
                gains.push(format!("scopes {}", grant.scopes));
            }
            Some(_) => {}
            None => {
                gains.push(format!("role {}", grant.role));
                merged.grants.push(grant);
            }
        }
    }
    if merged.label.is_none() && device.label.is_some() {
        merged.label = device.label;
        gains.push("its label".into());
    }
    if merged.node.approved_ms.is_none() && device.node.approved_ms.is_some() {
        merged.node.approved = device.node.approved;
        merged.node.approved_ms = device.node.approved_ms;
        if merged.node.pending.as_ref().is_some_and(|p| merged.node.approved.covers(&p.surface)) {
            merged.node.pending = None;
        }
        gains.push("its commands".into());
    }
    if gains.is_empty() {
        return Fate::Unchanged;
    }
    // It now has what these asked for.
    let covered = |role: Role, scopes| {
        let grant = merged.grant(role);
        grant.is_some_and(|g| g.revoked_ms.is_none() && g.scopes.covers(scopes))
    };
    registry.retain_requests(|r| r.key != merged.key || !covered(r.role, r.scopes));
    if let Some(here) = registry.device_mut(&id) {
        *here = merged;
    }
    Fate::Updated(gains.join(", "))
}
