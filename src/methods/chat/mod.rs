//! `chat.*`: what was said in a session.
//!
//! Shapes as OpenClaw 2026.9.6 answers; sources: `protocol.schema.json`, `docs/gateway/protocol/rpc-session-control.md`,
//! and what a running one said.

mod commands;
mod history;
mod inject;
mod message;
pub(super) mod run;
pub(super) mod send;

use super::{Access::Operator, Answer, Call, Method, Repeat, shape::Object};
use crate::protocol::Scope;

const READ: super::Access = Operator(Scope::Read);
/// The largest parameters that hold a message, bytes.
const MESSAGE: usize = 1 << 20;

/// The methods of this family.
pub(super) const METHODS: &[Method] = &[
    Method::waits("chat.history", READ, Repeat::Harmless, |c| Box::pin(history::history(c))),
    Method::waits("chat.startup", READ, Repeat::Harmless, |c| Box::pin(history::history(c))),
    Method::waits("chat.message.get", READ, Repeat::Harmless, |c| Box::pin(history::message(c))),
    Method::now("chat.metadata", READ, Repeat::Harmless, metadata),
    Method::now("commands.list", READ, Repeat::Harmless, commands::list),
    Method::waits("chat.inject", Operator(Scope::Admin), Repeat::ChangesTwice, |c| {
        Box::pin(inject::inject(c))
    })
    .content(MESSAGE),
];

/// `chat.metadata`.
fn metadata(call: &Call) -> Answer {
    let params = call.params()?;
    if params.value("sessionKey").is_some() {
        super::sessions::key(call, &params, "sessionKey")?;
    }
    let account = Object::new().put("kind", "automatic").put("label", "Automatic account selection");
    Ok(Object::new()
        .put("models", &super::agents::rows(&call.app.settings()))
        .put("commands", &commands::rows(true))
        .put("swarmEnabled", &false)
        .put("accountSelection", &account.json())
        .put("runtimeSelectionLocked", &false)
        .json()
        .into())
}
