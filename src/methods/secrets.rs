//! `secrets.reload`: reads the configuration again, with every secret that it points to.

use super::{Access, Answer, Call, Method, Repeat, Reply, shape::Object};
use crate::{
    protocol::{ErrorShape, Scope},
    reload::Trigger,
};

/// The methods of this family.
pub(super) const METHODS: &[Method] =
    &[Method::waits("secrets.reload", Access::Operator(Scope::Admin), Repeat::Harmless, |c| {
        Box::pin(reload(c))
    })];

/// `secrets.reload`. Who is refused by what was read is closed after the answer.
async fn reload(call: Call) -> Answer {
    let app = &call.app;
    let outcome = app.reloads.reload(Trigger::Asked).await;
    if let Some(why) = &outcome.broken {
        return Err(ErrorShape::invalid(format!("nothing was reloaded: {why}")));
    }
    let warnings = app.settings().held.len() as u64;
    let payload = Object::new().put("ok", &true).put("warningCount", &warnings).json();
    Ok(Reply::then(payload, move |app| outcome.conclude(&app.reloads)))
}
