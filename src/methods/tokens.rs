//! `device.token.*`: a new token for a device, or none any more.
//!
//! A rotated token stays good until the device has used the new one, or for a day; it is handed out in
//! the answer only to the device itself. Source: `docs/gateway/protocol/auth.md`.

use super::{Answer, Reply, devices::target, wire};
use crate::{
    app::App,
    auth::{Basis, Lost},
    clock::wall_ms,
    hub::{Audience, Conn},
    protocol::{DeviceId, ErrorShape, Event, Json, Params, Role, Scope, Scopes},
    store::{GRACE_MS, Unfit},
};
use std::rc::Rc;

/// The device and role meant, checked against what the caller may.
fn subject(app: &App, conn: &Conn, params: &Params<'_>, verb: &str) -> Result<(DeviceId, Role), ErrorShape> {
    let id = target(app, conn, params)?;
    let word = params.str("role")?;
    let role = Role::parse(word).ok_or_else(|| {
        ErrorShape::invalid(format!(
            "invalid device.token.{verb} params: at /role: must be operator or node, not {word}"
        ))
    })?;
    let registry = app.devices.registry();
    let grant = registry.device(&id).and_then(|d| d.grant(role)).ok_or(Unfit::NoRole(id, role))?;
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
pub async fn rotate(app: &Rc<App>, conn: &Rc<Conn>, params: &Params<'_>) -> Answer {
    let (id, role) = subject(app, conn, params, "rotate")?;
    let wanted = params.value("scopes").map(|_| params.strs("scopes")).transpose()?;
    let wanted = wanted.map(Scopes::from_names);
    let now = wall_ms();
    let until = app.boot.clock.uptime_ms() + GRACE_MS;
    let changed = app.devices.change(|registry| Ok(registry.rotate(&id, role, wanted, now, until)?));
    let (scopes, generation) = changed.await?;
    log::info!("token of device {} for {role} rotated by {}", id.short(), conn.session().name());
    // Its own token, and only to a connection that rests on it: others have no use for the bearer.
    let own = conn.device() == Some(id)
        && conn.role() == role
        && matches!(conn.session().basis, Basis::DeviceToken | Basis::DeviceKey);
    let token = own.then(|| app.devices.key().device_token(&id, role, generation));
    let payload = wire::rotated(&id, role, scopes, token, now);
    Ok(Reply::then(payload, move |app| {
        app.devices.regrant(&id);
        app.hub.events.publish(Event::DevicePairChanged, Audience::Managers(id), &Json("{}".into()));
    }))
}

/// `device.token.revoke`.
pub async fn revoke(app: &Rc<App>, conn: &Rc<Conn>, params: &Params<'_>) -> Answer {
    let (id, role) = subject(app, conn, params, "revoke")?;
    let at = app.devices.change(|registry| Ok(registry.revoke(&id, role, wall_ms())?)).await?;
    log::info!("role {role} of device {} revoked by {}", id.short(), conn.session().name());
    Ok(Reply::then(wire::revoked(&id, role, at), move |app| {
        app.hub.events.publish(Event::DevicePairChanged, Audience::Managers(id), &Json("{}".into()));
        app.devices.close(&id, Some(role), Lost::RoleRevoked);
    }))
}
