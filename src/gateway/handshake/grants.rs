//! Registry changes of a handshake: pairing requests, silent approvals, declarations of nodes.

use super::proof::Proof;
use crate::{
    admission::Source,
    app::App,
    auth::{Basis, Refusal, refusal::Waiting},
    clock::{timestamp, wall_ms},
    hub::{Audience, Session},
    methods::devices,
    protocol::{ErrorShape, Event, PairingReason, RequestId, Role, Scopes},
    store::{NodeRequest, Registry, Request, Via},
};
use std::{rc::Rc, time::Instant};

/// Scopes and basis of an approved or admitted connection.
pub struct Outcome {
    pub scopes: Scopes,
    /// Credential that the connection depends on.
    pub basis: Basis,
    /// Further roles whose tokens it is handed.
    pub extra: Vec<(Role, Scopes)>,
}

/// Saves a request that waits for an operator; durable before the device gets its id.
pub async fn wait(
    app: &Rc<App>,
    proof: &Proof<'_>,
    reason: PairingReason,
    trusted: bool,
    dead_token: bool,
) -> Refusal {
    let id = match note(app, proof, proof.requested, trusted).await {
        Ok(id) => id,
        Err(e) => return e,
    };
    let history = match (proof.removed_ms, &proof.record) {
        (Some(ms), None) => Some(format!("it was removed on {}", timestamp(ms))),
        (_, Some(record)) => record
            .grant(proof.role)
            .and_then(|g| g.revoked_ms)
            .map(|ms| format!("role {} was revoked on {}", proof.role, timestamp(ms))),
        _ => None,
    };
    let approved = proof.record.iter().flat_map(|d| d.grants.iter());
    Refusal::Waiting(Box::new(Waiting {
        reason,
        request: id,
        // A request needs a proven key.
        device: proof.device().unwrap_or(crate::protocol::DeviceId([0; 32])),
        role: proof.role,
        requested: proof.requested,
        approved: approved.filter(|g| g.revoked_ms.is_none()).map(|g| (g.role, g.scopes)).collect(),
        history,
        dead_token,
    }))
}

/// Notes that a paired device wants more than it has. It is let in either way.
pub async fn note_wider(app: &Rc<App>, proof: &Proof<'_>, wider: Scopes) {
    if let Err(refused) = note(app, proof, wider, true).await {
        log::warn!("a wider request could not be noted: {}", refused.error().message());
    }
}

async fn note(app: &Rc<App>, proof: &Proof<'_>, scopes: Scopes, trusted: bool) -> Result<RequestId, Refusal> {
    let Some(key) = proof.public_key() else {
        return Err(Refusal::DeviceRequired { control_ui: false, switches: String::new() });
    };
    let registry = app.devices.registry();
    let known = registry.request_covering(&key, proof.role, scopes).is_some();
    let first = registry.requests_of(&key, proof.role).next().is_none();
    // Each costs a write: one of an unknown device, and a further one of a known device, are metered.
    let free = known || trusted && first;
    if !free && !app.devices.admit_request() {
        let why = "too many devices ask to be paired, or for more".into();
        return Err(Refusal::Later { why, after_ms: 5000 });
    }
    let source = Source::of(proof.peer_ip());
    if !known && !app.admission.requests.take(source, Instant::now()) {
        let why = format!("too many devices ask to be paired from {source}");
        return Err(Refusal::Later { why, after_ms: 10_000 });
    }
    let id = RequestId::random().map_err(|e| later(&e.to_string()))?;
    let request = Request {
        id,
        key,
        role: proof.role,
        scopes,
        display: (*proof.display).clone(),
        trusted,
        created_ms: wall_ms(),
    };
    let asked = request.clone();
    let (id, new) = app
        .devices
        .change(|registry: &mut Registry| Ok(registry.request(request)))
        .await
        .map_err(|e| later(e.message()))?;
    // The device is there for all that it asked for.
    app.devices.registry().requests_of(&key, proof.role).for_each(|r| app.devices.contact(&r.id));
    if new {
        let device = key.device_id();
        log::info!(
            "device {} asks for role {} [{}]: barnacle devices approve {id}",
            device.short(),
            proof.role,
            scopes
        );
        let payload = devices::shapes::requested(&asked, proof.record.is_some());
        app.hub.events.publish(Event::DevicePairRequested, Audience::Managers(device), &payload);
    }
    Ok(id)
}

fn later(why: &str) -> Refusal {
    Refusal::Later { why: why.into(), after_ms: 5000 }
}

/// Approves on disk what the decision approved.
pub async fn approve(
    app: &Rc<App>,
    proof: &Proof<'_>,
    grants: Vec<(Role, Scopes)>,
    via: Via,
    basis: Basis,
) -> Result<Outcome, Refusal> {
    let Some((key, device)) = proof.public_key().zip(proof.device()) else {
        return Err(Refusal::DeviceRequired { control_ui: false, switches: String::new() });
    };
    let bootstrap = proof.good_bootstrap().map(str::to_owned);
    let waiting = app.devices.registry();
    let wanted = grants.clone();
    let display = proof.display.clone();
    let done = app.devices.change(|registry| {
        let now = wall_ms();
        for (role, scopes) in &wanted {
            // The request may have been answered otherwise while this one was being decided.
            let revoked = registry.device(&device).and_then(|d| d.grant(*role)?.revoked_ms);
            if revoked.is_some() && *role != proof.role {
                continue;
            }
            if revoked.is_some() {
                return Err(ErrorShape::later("the role was just revoked", 100));
            }
            registry.approve(key, *role, *scopes, &display, via, now);
        }
        let Some(token) = &bootstrap else { return Ok(None) };
        let spent = registry.setup_codes_mut().iter_mut().find(|c| c.hash.matches(token));
        let Some(code) = spent.filter(|c| c.spent.is_none_or(|(by, _)| by == device)) else {
            return Err(ErrorShape::later("the setup code was just used by another device", 100));
        };
        let fresh = code.spent.is_none();
        code.spent = Some((device, now));
        Ok(fresh.then(|| code.clone()))
    });
    let spent = done.await.map_err(|e| later(e.message()))?;
    log::info!("device {} approved ({}) for {}", device.short(), via.as_str(), describe(&grants));
    if let Some(code) = spent {
        app.hub.events.publish(
            Event::DevicePairSetupCompleted,
            Audience::Managers(device),
            &devices::shapes::setup_completed(&code, &proof.display),
        );
    }
    let registry = app.devices.registry();
    for answered in waiting.requests().iter().filter(|r| r.key == key && !registry.requests().contains(r)) {
        let payload = devices::shapes::resolved(&answered.id, &device, "approved");
        app.hub.events.publish(Event::DevicePairResolved, Audience::Managers(device), &payload);
    }
    app.devices.regrant(&device);
    app.relay.regranted(&device);
    let scopes = grants.first().map_or(Scopes::NONE, |(_, granted)| proof.requested.granted(*granted));
    Ok(Outcome { scopes, basis, extra: grants.into_iter().skip(1).collect() })
}

fn describe(grants: &[(Role, Scopes)]) -> String {
    let words: Vec<String> = grants.iter().map(|(role, scopes)| format!("{role} [{scopes}]")).collect();
    words.join(" and ")
}

/// A device attached: notes what it says of itself, and lets a replaced token end once the new one is
/// in use.
pub fn used(app: &Rc<App>, proof: &Proof<'_>) {
    let Some((record, device)) = proof.record.as_ref().zip(proof.device()) else { return };
    app.devices.saw(device, (record.display != *proof.display).then(|| (*proof.display).clone()));
    let Some(grant) = record.grant(proof.role) else { return };
    if grant.grace_ms.is_none() && grant.imported.is_none() {
        return;
    }
    let current = app.devices.device_token(&device, proof.role, grant.generation);
    if !proof.bearer_tokens().any(|token| current.matches(token)) {
        return;
    }
    let (role, generation, task) = (proof.role, grant.generation, app.clone());
    app.spawn(async move {
        let ended = task.devices.change(|registry| {
            if let Some(grant) = registry.device_mut(&device).and_then(|d| d.grant_mut(role))
                && grant.generation == generation
            {
                grant.grace_ms = None;
                grant.imported = None;
            }
            Ok(())
        });
        if ended.await.is_ok() {
            log::info!("device {} uses its new token; the old one ended", device.short());
        }
    });
}

/// A node says what it can do: what is not approved yet waits, what is stays in use.
pub async fn declare(app: &Rc<App>, session: &Session) {
    let (Some(device), declared) = (session.device, session.declared()) else { return };
    let Some(record) = app.devices.registry().device(&device).cloned() else { return };
    let node = &record.node;
    let settled = node.approved.covers(declared);
    if settled && node.pending.is_none() {
        return;
    }
    if node.pending.as_ref().is_some_and(|p| p.surface == *declared) {
        return;
    }
    // A setup code was made by an administrator for this very device: its first surface comes with it.
    let first = session.basis == Basis::SetupCode && node.approved_ms.is_none();
    let Ok(id) = RequestId::random() else { return };
    let request = NodeRequest { id, surface: declared.clone(), created_ms: wall_ms() };
    let noted = app.devices.change(|registry| {
        if let Some(device) = registry.device_mut(&device) {
            if settled {
                device.node.pending = None;
            } else if first {
                device.node.approved = request.surface.clone();
                device.node.approved_ms = Some(request.created_ms);
            } else {
                device.node.pending = Some(request.clone());
            }
        }
        Ok(())
    });
    match noted.await {
        Err(e) => log::warn!("what node {} declared could not be noted: {}", device.short(), e.message()),
        Ok(()) if settled || first => {}
        Ok(()) => {
            log::info!(
                "node {} declares more: barnacle call node.pair.approve '{{\"requestId\":\"{}\"}}'",
                device.short(),
                request.id
            );
            if let Some(record) = app.devices.registry().device(&device) {
                app.hub.events.publish(
                    Event::NodePairRequested,
                    Audience::Managers(device),
                    &devices::shapes::node_request(record, &request),
                );
            }
        }
    }
}
