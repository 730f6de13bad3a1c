//! `device.pair.*`: who is paired, who waits.
//!
//! A caller with a device of its own and without `operator.admin` sees and manages that device only.
//! Source: `docs/gateway/protocol/auth.md`.

use super::{
    Answer, Reply,
    wire::{self, Live, Paired},
};
use crate::{
    app::App,
    auth::Lost,
    clock::wall_ms,
    hub::{Audience, Conn},
    protocol::{DeviceId, ErrorShape, Event, Json, Params, Role, Scope, Scopes},
    store::{Request, Unfit},
};
use std::rc::Rc;

/// Whether `conn` may see and change `device`.
pub fn reaches(conn: &Conn, device: &DeviceId) -> bool {
    conn.allows(Scope::Admin) || conn.device().is_none_or(|own| own == *device)
}

/// `device.pair.list`.
pub fn list(app: &Rc<App>, conn: &Conn) -> Json {
    wire::device_list(&app.devices.registry(), |id| reaches(conn, id), |device| Live::of(app, device))
}

/// The request meant by `requestId`, or by `deviceId`: a device that retries may have another id by now.
fn wanted(params: &Params<'_>) -> Result<String, ErrorShape> {
    let device = params.opt_str("deviceId")?.filter(|_| params.value("requestId").is_none());
    Ok(device.map_or_else(|| params.str("requestId"), Ok)?.to_owned())
}

/// `device.pair.approve`.
pub async fn approve(app: &Rc<App>, conn: &Rc<Conn>, params: &Params<'_>) -> Answer {
    let wanted = wanted(params)?;
    let caller = conn.session().scopes;
    let own = conn.device();
    let admin = conn.allows(Scope::Admin);
    let approved = app.devices.change(|registry| {
        let request = registry.find_request(&wanted)?;
        if let Some(why) = forbidden(&request, caller, own, admin) {
            return Err(ErrorShape::invalid(format!("device pairing approval denied: {why}")));
        }
        registry.approve_request(&request, wall_ms());
        Ok(request)
    });
    let request = approved.await?;
    let id = request.key.device_id();
    log::info!(
        "device {} approved for {} [{}] by {}",
        id.short(),
        request.role,
        request.scopes,
        conn.session().name()
    );
    app.devices.regrant(&id);
    let registry = app.devices.registry();
    let payload = wire::approved(&request, registry.device(&id).map(|d| Paired::new(d, Live::of(app, d))));
    Ok(Reply::then(payload, move |app| {
        app.hub.events.publish(
            Event::DevicePairResolved,
            Audience::Managers(id),
            &wire::resolved(&request.id, &id, "approved"),
        );
    }))
}

/// Why a caller with `caller`'s scopes may not approve `request`.
fn forbidden(request: &Request, caller: Scopes, own: Option<DeviceId>, admin: bool) -> Option<String> {
    if admin {
        return None;
    }
    if own.is_some_and(|own| own != request.key.device_id()) {
        return Some("a device without operator.admin approves only requests of its own".into());
    }
    if request.role != Role::Operator {
        return Some(format!("role {} needs operator.admin", request.role));
    }
    (!caller.covers(request.scopes))
        .then(|| format!("it asks for [{}], more than the caller's own [{caller}]", request.scopes))
}

/// `device.pair.reject`.
pub async fn reject(app: &Rc<App>, conn: &Rc<Conn>, params: &Params<'_>) -> Answer {
    let wanted = wanted(params)?;
    let conn = conn.clone();
    let rejected = app.devices.change(|registry| {
        let request = registry.find_request(&wanted)?;
        if !reaches(&conn, &request.key.device_id()) {
            return Err(ErrorShape::invalid("device pairing rejection denied: not the caller's own"));
        }
        registry.take_request(&request.id);
        Ok(request)
    });
    let request = rejected.await?;
    let id = request.key.device_id();
    Ok(Reply::then(wire::rejected(&request), move |app| {
        app.hub.events.publish(
            Event::DevicePairResolved,
            Audience::Managers(id),
            &wire::resolved(&request.id, &id, "rejected"),
        );
    }))
}

/// Reads `deviceId`, and checks that it is paired and within the caller's reach.
pub fn target(app: &App, conn: &Conn, params: &Params<'_>) -> Result<DeviceId, ErrorShape> {
    let id = app.devices.registry().find_device(params.str("deviceId")?)?;
    if reaches(conn, &id) {
        return Ok(id);
    }
    Err(ErrorShape::invalid("device management denied: a device without operator.admin manages only itself"))
}

/// The error for a device that is not in the book.
pub fn unknown_device(id: DeviceId) -> ErrorShape {
    Unfit::NoDevice(id.to_string()).into()
}

/// `device.pair.remove`.
pub async fn remove(app: &Rc<App>, conn: &Rc<Conn>, params: &Params<'_>) -> Answer {
    let id = target(app, conn, params)?;
    app.devices.change(|registry| registry.remove(&id, wall_ms()).ok_or_else(|| unknown_device(id))).await?;
    log::info!("device {} removed by {}", id.short(), conn.session().name());
    Ok(Reply::then(wire::removed(&id), move |app| {
        app.hub.events.publish(Event::DevicePairChanged, Audience::Managers(id), &Json("{}".into()));
        app.devices.close(&id, None, Lost::DeviceRemoved);
    }))
}

/// `device.pair.rename`.
pub async fn rename(app: &Rc<App>, conn: &Rc<Conn>, params: &Params<'_>) -> Answer {
    let id = target(app, conn, params)?;
    let label = params.str("label")?.to_owned();
    let label = app.devices.change(|registry| Ok(registry.rename(&id, &label)?)).await?;
    let payload = wire::renamed(&id, &label);
    Ok(Reply::then(payload, move |app| {
        app.hub.events.publish(Event::DevicePairChanged, Audience::Managers(id), &Json("{}".into()))
    }))
}
