//! `device.token.*`: a new token for a device, or none any more.
//!
//! A rotated token stays good until the device has used the new one, or for a day; it is handed out in
//! the answer only to the device itself. Source: `docs/gateway/protocol/auth.md`.

use super::{
    Answer, Reply,
    devices::{target, unknown_device},
};
use crate::{
    auth::Basis,
    live::{Conn, Hub, wall_ms},
    protocol::{DeviceId, ErrorShape, Event, Json, Params, Role, Scope, Scopes},
    store::Book,
};
use nanoserde::SerJson;
use std::rc::Rc;

/// How long a replaced token stays good, milliseconds.
const GRACE_MS: u64 = 24 * 3_600_000;

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

/// The device and role meant, checked against what the caller may.
fn subject(hub: &Hub, conn: &Conn, params: &Params<'_>, verb: &str) -> Result<(DeviceId, Role), ErrorShape> {
    let id = target(hub, conn, params)?;
    let word = params.str("role")?;
    let role = Role::parse(word).ok_or_else(|| {
        ErrorShape::invalid(format!(
            "invalid device.token.{verb} params: at /role: must be operator or node, not {word}"
        ))
    })?;
    let book = hub.book();
    let Some(grant) = book.device(&id).and_then(|d| d.grant(role)) else {
        return Err(ErrorShape::invalid(format!("device token {verb} denied: {id} has no role {role}")));
    };
    if !conn.allows(Scope::Admin) {
        if role != Role::Operator {
            return Err(ErrorShape::missing_scope(
                Scope::Admin,
                Some(format!("the token of role {role} is an administrator's to {verb}")),
            ));
        }
        if !conn.session().scopes.covers(grant.scopes) {
            return Err(ErrorShape::missing_scope(
                Scope::Admin,
                Some(format!("the token holds [{}], more than the caller", grant.scopes)),
            ));
        }
    }
    Ok((id, role))
}

/// `device.token.rotate`. With `scopes`, an operator may narrow what the role was approved for.
pub async fn rotate(hub: &Rc<Hub>, conn: &Rc<Conn>, params: &Params<'_>) -> Answer {
    let (id, role) = subject(hub, conn, params, "rotate")?;
    let wanted = params.value("scopes").map(|_| params.strs("scopes")).transpose()?;
    let wanted = wanted.map(Scopes::from_names);
    let now = wall_ms();
    let until = hub.boot.clock.uptime_ms() + GRACE_MS;
    let changed = hub.change(|book: &mut Book| {
        let grant = book.device_mut(&id).and_then(|d| d.grant_mut(role)).ok_or_else(|| unknown_device(id))?;
        if grant.revoked_ms.is_some() {
            return Err(ErrorShape::invalid(format!(
                "device token rotate denied: role {role} of {id} is revoked; approve it again first"
            )));
        }
        if let Some(scopes) = wanted {
            if !grant.scopes.covers(scopes) {
                return Err(ErrorShape::invalid(format!(
                    "device token rotate denied: [{scopes}] is more than the approved [{}]",
                    grant.scopes
                )));
            }
            grant.scopes = scopes;
        }
        grant.generation += 1;
        grant.rotated_ms = Some(now);
        grant.grace_ms = Some(until);
        grant.imported = None;
        Ok((grant.scopes, grant.generation))
    });
    let (scopes, generation) = changed.await?;
    log::info!("token of device {} for {role} rotated by {}", id.short(), conn.session().name());
    // Its own token, and only to a connection that rests on it: others have no use for the bearer.
    let own = conn.device() == Some(id)
        && conn.role() == role
        && matches!(conn.session().basis, Basis::DeviceToken | Basis::DeviceKey);
    let payload = Json::of(&Rotated {
        deviceId: id.to_string(),
        role: role.to_string(),
        token: own.then(|| hub.store.key().device_token(&id, role, generation)),
        scopes: scopes.names(),
        rotatedAtMs: now,
        tokenDelivery: if own { "in-band" } else { "withheld-cross-device" },
    });
    Ok(Reply::then(payload, |hub| hub.broadcast(Event::DevicePairChanged, &Json("{}".into()))))
}

/// `device.token.revoke`.
pub async fn revoke(hub: &Rc<Hub>, conn: &Rc<Conn>, params: &Params<'_>) -> Answer {
    let (id, role) = subject(hub, conn, params, "revoke")?;
    let now = wall_ms();
    let changed = hub.change(|book| {
        let device = book.device_mut(&id).ok_or_else(|| unknown_device(id))?;
        let grant = device.grant_mut(role).ok_or_else(|| unknown_device(id))?;
        let at = *grant.revoked_ms.get_or_insert(now);
        grant.grace_ms = None;
        grant.imported = None;
        Ok(at)
    });
    let at = changed.await?;
    log::info!("role {role} of device {} revoked by {}", id.short(), conn.session().name());
    let payload = Json(format!(r#"{{"deviceId":"{id}","role":"{role}","revokedAtMs":{at}}}"#));
    Ok(Reply::then(payload, move |hub| {
        hub.broadcast(Event::DevicePairChanged, &Json("{}".into()));
        hub.close_device(&id, Some(role), "device token revoked: an operator must approve this role again");
    }))
}
