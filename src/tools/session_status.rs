//! `session_status`: what a session is doing, with which model, and what time it is.

use super::{
    Group, Repeat, Tool, Use,
    reach::{seen, target},
    result::{Outcome, Problem},
};
use crate::{
    clock::{timestamp, wall_ms},
    protocol::{Json, Object},
};

pub(super) const TOOL: Tool = Tool {
    name: "session_status",
    label: "Session status",
    group: Group::Sessions,
    description: "Tell the state of a session: its agent and model, whether a run is under way, its times; and what time it is \
                  now.",
    parameters: r#"{"type":"object","properties":{
        "sessionKey":{"type":"string","minLength":1,"description":"Key or id of the session (see sessions_list), or \"current\"; the one you are in without it."}
        },"additionalProperties":false}"#,
    repeat: Repeat::Harmless,
    run: |with| Box::pin(status(with)),
};

async fn status(with: Use) -> Result<Outcome, Problem> {
    let given = with.arguments.params();
    let key = match given.opt_str("sessionKey")? {
        Some(text) => target(&with, text).await?,
        None => with.session.clone(),
    };
    let row = seen(&with, &key).await?;
    let row = row.params();
    let now = wall_ms();
    let mut object = Object::new()
        .put("sessionKey", key.wire())
        .put("agentId", key.agent())
        .put("isCurrent", &(key == with.session));
    for name in [
        "sessionId",
        "classification",
        "label",
        "displayName",
        "status",
        "hasActiveRun",
        "activeRunIds",
        "lastRunError",
        "modelProvider",
        "model",
        "contextTokens",
        "effectiveQueueMode",
        "createdAt",
        "updatedAt",
        "lastInteractionAt",
        "archived",
        "parentSessionKey",
    ] {
        object = object.opt(name, row.value(name).map(|value| Json(value.to_owned())).as_ref());
    }
    let time = Object::new().put("utc", &timestamp(now)).put("ms", &now).json();
    let version = env!("CARGO_PKG_VERSION");
    Ok(Outcome::json(object.put("time", &time).put("gatewayVersion", version).json()))
}
