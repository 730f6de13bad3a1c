//! `device.pair.*` and `device.token.*`: paired devices, pending requests, tokens.
//!
//! A caller with a device of its own and without `operator.admin` sees and manages that device only. A rotated
//! token stays good until the device has used the new one, or for a day; it is handed out in the answer only to
//! the device itself. Source: `docs/gateway/protocol/auth.md`.

pub(crate) mod change;
mod setup;
pub(crate) mod shapes;

use self::{
    change::{Change, Changed, Moment, ReadChange},
    shapes::Live,
};
use super::{Access::Operator, Answer, By, Call, Method, Repeat, Reply};
use crate::{
    app::App,
    auth::{Basis, Lost},
    clock::wall_ms,
    hub::{Audience, Conn},
    protocol::{DeviceId, ErrorShape, Event, Json, Role, Scope},
    store::GRACE_MS,
};
use std::rc::Rc;

const PAIRING: super::Access = Operator(Scope::Pairing);
const ADMIN: super::Access = Operator(Scope::Admin);

/// The methods of this family. As in OpenClaw, setup codes are not advertised.
pub(super) const METHODS: &[Method] = &[
    Method::now("device.pair.list", PAIRING, Repeat::Harmless, list),
    Method::change("device.pair.approve", PAIRING, Repeat::Harmless, Change::approve),
    Method::change("device.pair.reject", PAIRING, Repeat::Harmless, Change::reject),
    Method::change("device.pair.remove", PAIRING, Repeat::Harmless, Change::remove),
    Method::change("device.pair.rename", PAIRING, Repeat::Harmless, Change::rename),
    Method::change("device.token.rotate", PAIRING, Repeat::ChangesTwice, Change::rotate),
    Method::change("device.token.revoke", PAIRING, Repeat::Harmless, Change::revoke),
    Method::waits("device.pair.setupCode", ADMIN, Repeat::ChangesTwice, |c| Box::pin(setup::code(c)))
        .unadvertised(),
    Method::now("device.pair.setupStatus", ADMIN, Repeat::Harmless, setup::status).unadvertised(),
];

/// `device.pair.list`.
fn list(call: &Call) -> Answer {
    let caller = call.by.caller();
    let registry = call.app.devices.registry();
    Ok(shapes::list(&registry, |id| caller.manages(id), |device| Live::of(&call.app, device)).into())
}

/// Changes the registry, answers, and makes the live connections follow.
pub(super) async fn change(call: Call, read: ReadChange) -> Answer {
    let change = read(&call.params()?)?;
    let (payload, changed) = apply(&call.app, &call.by, &change).await?;
    Ok(Reply::then(payload, move |app| follow(app, &changed)))
}

/// Makes `change` for `by`; the answer, and what was changed.
pub(super) async fn apply(app: &Rc<App>, by: &By, change: &Change) -> Result<(Json, Changed), ErrorShape> {
    let caller = by.caller();
    let at = Moment { now_ms: wall_ms(), grace_ms: app.boot.clock.uptime_ms() + GRACE_MS };
    let changed = app.devices.change(|registry| change.apply(registry, &caller, at)).await?;
    let (id, name) = (changed.device(), by.name());
    let device = id.short();
    match &changed {
        Changed::Approved(r, _) => {
            log::info!("device {device} approved for {} [{}] by {name}", r.role, r.scopes);
            app.devices.regrant(&id);
            app.relay.regranted(&id);
        }
        Changed::Rejected(r) => log::info!("request of device {device} for {} rejected by {name}", r.role),
        Changed::Removed(_) => log::info!("device {device} removed by {name}"),
        Changed::Renamed(_, label) => log::info!("device {device} renamed {label:?} by {name}"),
        Changed::Rotated(_, role, ..) => log::info!("token of device {device} for {role} rotated by {name}"),
        Changed::Revoked(_, role, _) => log::info!("role {role} of device {device} revoked by {name}"),
    }
    let token = match changed {
        // Its own token, and only to a connection that rests on it: others have no use for the bearer.
        Changed::Rotated(id, role, _, generation)
            if by.conn().is_ok_and(|conn| rests_on_token(conn, &id, role)) =>
        {
            Some(app.devices.device_token(&id, role, generation).as_str().to_owned())
        }
        _ => None,
    };
    Ok((changed.answer(&app.devices.registry(), |d| Live::of(app, d), token, at), changed))
}

/// Whether a connection rests on the token of its device in `role`.
fn rests_on_token(conn: &Conn, id: &DeviceId, role: Role) -> bool {
    conn.device() == Some(*id)
        && conn.role() == role
        && matches!(conn.session().basis, Basis::DeviceToken | Basis::DeviceKey)
}

/// Tells those who manage the device, and closes what may not stay.
pub(super) fn follow(app: &Rc<App>, changed: &Changed) {
    let id = changed.device();
    let resolved = |r: &crate::store::Request, decision| {
        let payload = shapes::resolved(&r.id, &id, decision);
        app.hub.events.publish(Event::DevicePairResolved, Audience::Managers(id), &payload);
    };
    match changed {
        Changed::Approved(_, answered) => return answered.iter().for_each(|r| resolved(r, "approved")),
        Changed::Rejected(request) => return resolved(request, "rejected"),
        Changed::Rotated(..) => {
            app.devices.regrant(&id);
            app.relay.regranted(&id);
        }
        Changed::Removed(_) | Changed::Renamed(..) | Changed::Revoked(..) => {}
    }
    app.hub.events.publish(Event::DevicePairChanged, Audience::Managers(id), &Json("{}".into()));
    match changed {
        Changed::Removed(_) => app.devices.close(&id, None, Lost::DeviceRemoved),
        Changed::Revoked(_, role, _) => app.devices.close(&id, Some(*role), Lost::RoleRevoked),
        _ => {}
    }
}
