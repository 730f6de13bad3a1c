//! `agents_list`: the agents whose sessions a tool may see.

use super::{
    Group, Repeat, Tool, Use,
    reach::judge,
    result::{Outcome, Problem},
};
use crate::{
    protocol::{Json, Object, Readable, json},
    sessions::SessionKey,
};

pub(super) const TOOL: Tool = Tool {
    name: "agents_list",
    label: "List agents",
    group: Group::Agents,
    description: "List the agents of this gateway that you may reach, by their ids.",
    parameters: r#"{"type":"object","properties":{},"additionalProperties":false}"#,
    repeat: Repeat::Harmless,
    run: |with| Box::pin(list(with)),
};

async fn list(with: Use) -> Result<Outcome, Problem> {
    let answer = Readable::new("agents.list", with.ask("agents.list", Json("{}".into())).await?);
    let answer = answer.params();
    let config = &with.settings.config;
    let default = answer.opt_str("defaultId")?;
    let mut rows = Vec::new();
    for row in answer.value("agents").map(json::items).into_iter().flatten() {
        let row = Readable::new("agent", Json(row.to_owned()));
        let row = row.params();
        let id = row.str("id")?;
        let main = SessionKey::of(id, &config.agents.main_key);
        let own = id == with.session.agent();
        if own || judge(&config.tools, &config.agents, &with.session, &main, false).is_ok() {
            let model = row.value("model").map(|model| Json(model.to_owned()));
            let object = Object::new().put("id", id).put("configured", &true).put("isSelf", &own);
            rows.push(object.put("isDefault", &(default == Some(id))).opt("model", model.as_ref()).json());
        }
    }
    let object = Object::new().put("requester", with.session.agent()).put("count", &rows.len());
    Ok(Outcome::json(object.put("agents", &rows).json()))
}
