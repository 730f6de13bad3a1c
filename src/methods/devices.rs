//! `device.pair.*`: who is paired, who waits.
//!
//! A caller with a device of its own and without `operator.admin` sees and manages that device only.
//! Source: `docs/gateway/protocol/auth.md`.

use super::{
    Answer, Reply,
    wire::{self, Paired, Requested},
};
use crate::{
    live::{Conn, Hub, wall_ms},
    protocol::{DeviceId, ErrorShape, Event, Json, Params, Role, Scope, Scopes},
    store::{Book, Request, Via},
};
use nanoserde::SerJson;
use std::rc::Rc;

#[derive(SerJson)]
struct List {
    pending: Vec<Requested>,
    paired: Vec<Paired>,
}

/// Whether `conn` may see and change `device`.
pub fn reaches(conn: &Conn, device: &DeviceId) -> bool {
    conn.allows(Scope::Admin) || conn.device().is_none_or(|own| own == *device)
}

/// `device.pair.list`.
pub fn list(hub: &Rc<Hub>, conn: &Conn) -> Json {
    let book = hub.book();
    let pending = book
        .requests()
        .iter()
        .filter(|r| reaches(conn, &r.key.device_id()))
        .map(|r| Requested::new(r, &r.id, book.device(&r.key.device_id()).is_some()))
        .collect();
    let mut paired: Vec<_> = book.devices().filter(|d| reaches(conn, &d.id())).collect();
    paired.sort_by_key(|d| std::cmp::Reverse(d.approved_ms));
    Json::of(&List { pending, paired: paired.into_iter().map(|d| Paired::new(hub, d)).collect() })
}

/// Finds a request by its own id, or by the device that made it.
pub fn find(book: &Book, wanted: &str) -> Option<Rc<Request>> {
    let by_id = book.requests().iter().find(|r| r.id.0 == wanted);
    let device = || DeviceId::parse(wanted);
    let of = |d: DeviceId| book.requests().iter().find(move |r| r.key.device_id() == d);
    by_id.or_else(|| device().and_then(of)).cloned()
}

fn unknown_request(wanted: &str) -> ErrorShape {
    ErrorShape::invalid(format!("unknown requestId: {wanted}; see barnacle devices list"))
}

/// `device.pair.approve`.
pub async fn approve(hub: &Rc<Hub>, conn: &Rc<Conn>, params: &Params<'_>) -> Answer {
    let wanted = params.str("requestId")?.to_owned();
    let caller = conn.session().scopes;
    let own = conn.device();
    let admin = conn.allows(Scope::Admin);
    let approved = hub.change(|book| {
        let request = find(book, &wanted).ok_or_else(|| unknown_request(&wanted))?;
        if let Some(why) = forbidden(&request, caller, own, admin) {
            return Err(ErrorShape::invalid(format!("device pairing approval denied: {why}")));
        }
        book.take_request(&request.id);
        let Request { key, role, scopes, ref display, .. } = *request;
        book.approve(key, role, scopes, display, Via::Operator, wall_ms());
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
    hub.widen(&id);
    let book = hub.book();
    let device = book.device(&id).map_or_else(Json::null, |d| Json::of(&Paired::new(hub, d)));
    let payload = Json(format!(r#"{{"requestId":{},"device":{}}}"#, request.id.0.serialize_json(), device.0));
    Ok(Reply::then(payload, move |hub| {
        hub.broadcast(Event::DevicePairResolved, &wire::resolved(&request.id, &id, "approved"));
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
pub async fn reject(hub: &Rc<Hub>, conn: &Rc<Conn>, params: &Params<'_>) -> Answer {
    let wanted = params.str("requestId")?.to_owned();
    let conn = conn.clone();
    let rejected = hub.change(|book| {
        let request = find(book, &wanted).ok_or_else(|| unknown_request(&wanted))?;
        if !reaches(&conn, &request.key.device_id()) {
            return Err(ErrorShape::invalid("device pairing rejection denied: not the caller's own"));
        }
        book.take_request(&request.id);
        Ok(request)
    });
    let request = rejected.await?;
    let id = request.key.device_id();
    let payload = format!(r#"{{"requestId":{},"deviceId":"{id}"}}"#, request.id.0.serialize_json());
    Ok(Reply::then(Json(payload), move |hub| {
        hub.broadcast(Event::DevicePairResolved, &wire::resolved(&request.id, &id, "rejected"));
    }))
}

/// Reads `deviceId`, and checks that it is paired and within the caller's reach.
pub fn target(hub: &Hub, conn: &Conn, params: &Params<'_>) -> Result<DeviceId, ErrorShape> {
    let text = params.str("deviceId")?;
    let known = DeviceId::parse(text).filter(|id| hub.book().device(id).is_some());
    match known {
        Some(id) if reaches(conn, &id) => Ok(id),
        Some(_) => Err(ErrorShape::invalid(
            "device management denied: a device without operator.admin manages only itself",
        )),
        None => Err(unknown_device(text)),
    }
}

/// The error for a device that is not in the book.
pub fn unknown_device(id: impl std::fmt::Display) -> ErrorShape {
    ErrorShape::invalid(format!("unknown deviceId: {id}; see barnacle devices list"))
}

/// `device.pair.remove`.
pub async fn remove(hub: &Rc<Hub>, conn: &Rc<Conn>, params: &Params<'_>) -> Answer {
    let id = target(hub, conn, params)?;
    hub.change(|book| book.remove(&id, wall_ms()).ok_or_else(|| unknown_device(id))).await?;
    log::info!("device {} removed by {}", id.short(), conn.session().name());
    Ok(Reply::then(Json(format!(r#"{{"deviceId":"{id}"}}"#)), move |hub| {
        hub.broadcast(Event::DevicePairChanged, &Json("{}".into()));
        hub.close_device(&id, None, "device removed: pair it again with an operator's approval");
    }))
}

/// Longest label, characters; as `DevicePairRenameParams`.
const LONGEST_LABEL: usize = 64;

/// `device.pair.rename`.
pub async fn rename(hub: &Rc<Hub>, conn: &Rc<Conn>, params: &Params<'_>) -> Answer {
    let id = target(hub, conn, params)?;
    let label = params.str("label")?.trim().to_owned();
    if label.is_empty() || label.chars().count() > LONGEST_LABEL {
        return Err(ErrorShape::invalid(format!(
            "invalid device.pair.rename params: at /label: must have 1 to {LONGEST_LABEL} characters"
        )));
    }
    let set = label.clone();
    hub.change(|book| {
        book.device_mut(&id).ok_or_else(|| unknown_device(id))?.label = Some(set);
        Ok(())
    })
    .await?;
    let payload = Json(format!(r#"{{"deviceId":"{id}","label":{}}}"#, label.serialize_json()));
    Ok(Reply::then(payload, |hub| hub.broadcast(Event::DevicePairChanged, &Json("{}".into()))))
}
