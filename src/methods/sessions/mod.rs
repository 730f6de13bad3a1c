//! `sessions.*`: conversations, listed and changed.
//!
//! Shapes as OpenClaw 2026.9.6 answers; sources: `protocol.schema.json`, `docs/gateway/protocol/rpc-session-control.md`,
//! and what a running one said.

pub(super) mod change;
mod create;
mod list;
mod patch;
mod preview;
pub(super) mod shapes;
mod subscribe;
mod upkeep;

use super::{
    Access::{Dynamic, Operator},
    Call, Method, Repeat,
};
use crate::{
    app::App,
    hub::{Audience, Topic},
    protocol::{Details, ErrorShape, Event, Params, Scope},
    sessions::{SessionId, SessionKey},
};

pub(crate) use upkeep::keep_tidy;

const READ: super::Access = Operator(Scope::Read);
const ADMIN: super::Access = Operator(Scope::Admin);

/// The methods of this family.
pub(super) const METHODS: &[Method] = &[
    Method::waits("sessions.list", READ, Repeat::Harmless, |c| Box::pin(list::list(c))),
    Method::waits("sessions.describe", READ, Repeat::Harmless, |c| Box::pin(list::describe(c))),
    Method::waits("sessions.resolve", READ, Repeat::Harmless, |c| Box::pin(list::resolve(c))),
    Method::waits("sessions.preview", READ, Repeat::Harmless, |c| Box::pin(preview::preview(c))),
    Method::waits("sessions.create", Dynamic(Scope::Write), Repeat::Keyed, |c| Box::pin(create::create(c))),
    Method::waits("sessions.patch", Dynamic(Scope::Write), Repeat::Harmless, |c| Box::pin(patch::patch(c))),
    Method::waits("sessions.reset", ADMIN, Repeat::ChangesTwice, |c| Box::pin(change::reset(c))),
    Method::waits("sessions.delete", Dynamic(Scope::Admin), Repeat::Harmless, |c| {
        Box::pin(change::delete(c))
    }),
    Method::waits("sessions.compact", ADMIN, Repeat::ChangesTwice, |c| Box::pin(change::compact(c))),
    Method::waits("sessions.subscribe", READ, Repeat::Harmless, |c| Box::pin(subscribe::subscribe(c))),
    Method::now("sessions.messages.subscribe", READ, Repeat::Harmless, subscribe::messages),
    Method::now("sessions.messages.unsubscribe", READ, Repeat::Harmless, subscribe::no_messages),
];

/// The key that the parameter `name` means, within the agent that `agentId` names.
pub(super) fn key(call: &Call, params: &Params<'_>, name: &str) -> Result<SessionKey, ErrorShape> {
    let settings = call.app.settings();
    let key = SessionKey::parse(params.str(name)?, params.opt_str("agentId")?, &settings.config.agents);
    key.map_err(|e| ErrorShape::invalid(e.to_string()))
}

/// Refuses a session of an agent that is not configured: it can be read, and not begun.
pub(super) fn may_begin(app: &App, key: &SessionKey) -> Result<(), ErrorShape> {
    let settings = app.settings();
    match settings.config.agents.ids.iter().any(|id| id == key.agent()) {
        true => Ok(()),
        false => Err(ErrorShape::invalid(format!("Unknown agent id \"{}\"", key.agent()))),
    }
}

/// Refuses where `expectedSessionId` is not `now`.
fn is_expected(
    params: &Params<'_>,
    key: &SessionKey,
    now: Option<SessionId>,
    what: &str,
) -> Result<(), ErrorShape> {
    let expected = params.opt_str("expectedSessionId")?;
    let is = |expected: &str| now.is_some_and(|id| id.to_string() == expected);
    // No session of this gateway has a revision.
    match expected.is_none_or(is) && params.value("expectedLifecycleRevision").is_none() {
        true => Ok(()),
        false => Err(ErrorShape::invalid(format!("Session {} changed before {what}. Retry.", key.wire()))
            .with(Details { reason: Some("session-changed".into()), ..Details::default() })),
    }
}

/// The topic of whoever hears of all sessions.
fn all_sessions() -> Topic {
    Topic::new("sessions.subscribe", None)
}

/// The topic of whoever hears what is said in one.
fn messages_of(key: &SessionKey) -> Topic {
    Topic::new("sessions.messages.subscribe", Some(key.as_str()))
}

/// Tells whoever subscribed that a session changed.
pub(super) fn publish_changed(app: &App, key: &SessionKey, reason: &str) {
    let payload = shapes::changed(app, key, reason);
    app.hub.events.publish(Event::SessionsChanged, Audience::Subscribers(&all_sessions()), &payload);
}

/// Tells whoever subscribed to a session what was said in it: the payload of `session.message`.
pub(super) fn publish_message(app: &App, key: &SessionKey, payload: &crate::protocol::Json) {
    app.hub.events.publish(Event::SessionMessage, Audience::Subscribers(&messages_of(key)), payload);
}
