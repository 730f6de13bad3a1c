//! OpenClaw's records of paired devices, parsed one by one: an invalid record costs itself only.
//!
//! A list of them is an array or an object by id, and so is each record's `tokens`. Unknown fields,
//! roles and scopes grant nothing and are left out.

use crate::{
    protocol::{DeviceId, Fields, PublicKey, Role, Scopes, TokenHash},
    store::{Device, Display, Grant, Surface, Via},
};
use miniserde::json::Value;
use std::collections::BTreeMap;

/// A record that stays out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejected {
    pub id: String,
    /// Name of the device, if it has one.
    pub name: String,
    pub why: String,
}

/// A device, or why there is none.
pub type Record = Result<Device, Rejected>;

/// The entries of an array, or of an object with their names.
fn entries(list: &Value) -> Vec<(Option<&str>, &Value)> {
    match list {
        Value::Array(list) => list.iter().map(|v| (None, v)).collect(),
        Value::Object(object) => object.iter().map(|(k, v)| (Some(k.as_str()), v)).collect(),
        _ => Vec::new(),
    }
}

/// The devices of a list.
pub fn devices(list: &Value, now_ms: u64) -> Vec<Record> {
    entries(list).into_iter().map(|(id, value)| device(id, value, now_ms)).collect()
}

fn device(id: Option<&str>, value: &Value, now_ms: u64) -> Record {
    let fields = Fields::of(value);
    let id = fields.and_then(|f| f.str("deviceId")).or(id);
    let name =
        fields.and_then(|f| ["operatorLabel", "displayName", "clientId"].into_iter().find_map(|n| f.str(n)));
    let reject = |why: &str| Rejected {
        id: id.unwrap_or("-").into(),
        name: name.unwrap_or("-").into(),
        why: why.into(),
    };
    let f = fields.ok_or_else(|| reject("it is no object"))?;
    let key = f.str("publicKey").ok_or_else(|| reject("it holds no publicKey"))?;
    let key = PublicKey::parse(key).ok_or_else(|| reject("its publicKey is no Ed25519 key"))?;
    let own = key.device_id();
    if id.is_some_and(|id| DeviceId::parse(id) != Some(own)) {
        return Err(reject("its deviceId is not the SHA-256 of its publicKey"));
    }
    let created = f.u64("createdAtMs").or(f.u64("approvedAtMs")).unwrap_or(now_ms);
    let text = |name| f.str(name).map(String::from);
    let display = Display {
        name: text("displayName"),
        platform: text("platform"),
        family: text("deviceFamily"),
        model: text("modelIdentifier"),
        version: text("version"),
        client_id: text("clientId"),
        client_mode: text("clientMode"),
        ip: text("remoteIp"),
    };
    let mut device = Device::new(key, display, Via::Import, created);
    device.label = text("operatorLabel");
    device.approved_ms = f.u64("approvedAtMs").unwrap_or(created);
    device.seen_ms = f.u64("lastSeenAtMs");
    device.grants = grants(f, created);
    if device.grants.is_empty() {
        return Err(reject("it has neither role operator nor role node"));
    }
    Ok(device)
}

/// The approved roles. A token whose role was not approved is a leftover; where no roles are recorded,
/// the tokens say which there are.
fn grants(f: Fields<'_>, created_ms: u64) -> Vec<Grant> {
    let tokens = f.0.get("tokens").map(entries).unwrap_or_default();
    let tokens: Vec<(Role, Fields<'_>)> = tokens
        .into_iter()
        .filter_map(|(role, value)| {
            let token = Fields::of(value)?;
            Some((Role::parse(token.str("role").or(role)?)?, token))
        })
        .collect();
    let mut roles: Vec<Role> =
        f.strs("roles").into_iter().chain(f.str("role")).filter_map(Role::parse).collect();
    if roles.is_empty() {
        roles = tokens.iter().map(|(role, _)| *role).collect();
    }
    roles.sort();
    roles.dedup();
    let grant = |role| {
        let of_role = || tokens.iter().filter(|(r, _)| *r == role).map(|(_, token)| *token);
        let revoked = |t: &Fields<'_>| t.u64("revokedAtMs");
        // A list may keep revoked tokens beside the one in use.
        let token = of_role().find(|t| revoked(t).is_none()).or_else(|| of_role().next_back());
        let listed = if f.list("approvedScopes").is_empty() { "scopes" } else { "approvedScopes" };
        let approved = Scopes::from_names(f.strs(listed));
        let scopes = match (role, token) {
            (Role::Node, _) => Scopes::NONE,
            (Role::Operator, Some(token)) if approved.is_empty() => Scopes::from_names(token.strs("scopes")),
            (Role::Operator, _) => approved,
        };
        let mut grant = Grant::new(role, scopes, created_ms);
        if let Some(token) = token {
            grant.created_ms = token.u64("createdAtMs").unwrap_or(created_ms);
            grant.rotated_ms = token.u64("rotatedAtMs");
            grant.revoked_ms = revoked(&token);
            grant.imported = token.str("token").filter(|_| grant.revoked_ms.is_none()).map(TokenHash::of);
        }
        grant
    };
    roles.into_iter().map(grant).collect()
}

/// The approved surfaces of a list of nodes.
pub fn surfaces(list: &Value) -> Vec<super::NodeSurface> {
    let surface = |(id, value): (Option<&str>, &Value)| {
        let f = Fields::of(value)?;
        let id = DeviceId::parse(f.str("nodeId").or(f.str("deviceId")).or(id)?)?;
        let names = |name| f.strs(name).into_iter().map(String::from).collect();
        let mut permissions = BTreeMap::new();
        for (name, on) in f.object("permissions").iter().flat_map(|p| p.0.iter()) {
            if let Value::Bool(on) = on {
                permissions.insert(name.clone(), *on);
            }
        }
        let surface = Surface { caps: names("caps"), commands: names("commands"), permissions };
        Some((id, surface, f.u64("approvedAtMs")))
    };
    entries(list).into_iter().filter_map(surface).collect()
}
