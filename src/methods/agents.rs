//! `agents.*`, `agent.identity.get` and `models.*`: who answers, and by what.

use super::{Access::Operator, Answer, Call, Method, Repeat, sessions::key, shape::Object};
use crate::{
    clock::wall_ms,
    config::{Settings, credentials::secret::Credential},
    protocol::{ErrorShape, Json, Scope},
};

const READ: super::Access = Operator(Scope::Read);

/// The methods of this family.
pub(super) const METHODS: &[Method] = &[
    Method::now("agents.list", READ, Repeat::Harmless, list),
    Method::now("agent.identity.get", READ, Repeat::Harmless, identity),
    Method::now("models.list", READ, Repeat::Harmless, models),
    Method::now("models.authStatus", READ, Repeat::Harmless, auth_status),
];

/// `agents.list`.
fn list(call: &Call) -> Answer {
    let settings = call.app.settings();
    let agents = &settings.config.agents;
    let row = |id: &String| {
        let (primary, fallbacks) = agents.model_of(id);
        let model = primary.map(|primary| {
            let object = Object::new().put("primary", primary);
            object.opt("fallbacks", (!fallbacks.is_empty()).then(|| fallbacks.to_vec()).as_ref()).json()
        });
        Object::new().put("id", id).opt("model", model.as_ref()).json()
    };
    let rows = agents.ids.iter().map(row);
    Ok(Object::new()
        .put("defaultId", &agents.default)
        .put("ownership", "sole")
        .put("selectionRequired", &false)
        .put("mainKey", &agents.main_key)
        .put("scope", if agents.global { "global" } else { "per-sender" })
        .put("agents", &rows.collect::<Vec<_>>())
        .json()
        .into())
}

/// `agent.identity.get`.
fn identity(call: &Call) -> Answer {
    let params = call.params()?;
    let settings = call.app.settings();
    let agents = &settings.config.agents;
    let agent = match (params.opt_str("agentId")?, params.value("sessionKey")) {
        (Some(id), _) => id.to_lowercase(),
        (None, Some(_)) => key(call, &params, "sessionKey")?.agent().to_owned(),
        (None, None) => agents.default.clone(),
    };
    if !agents.ids.contains(&agent) {
        return Err(ErrorShape::invalid(format!("Unknown agent id \"{agent}\"")));
    }
    let object = Object::new().put("agentId", &agent).put("name", "Assistant").put("nameSource", "default");
    Ok(object.put("avatar", "A").json().into())
}

/// `models.list`: the models that the configuration names.
fn models(call: &Call) -> Answer {
    Ok(Object::new().put("models", &rows(&call.app.settings())).json().into())
}

/// The models, a row each.
pub(super) fn rows(settings: &Settings) -> Vec<Json> {
    let wanted = settings.config.agents.model.as_deref();
    let mut rows = Vec::new();
    for provider in &settings.config.providers {
        let available = !matches!(provider.key, Credential::Unresolved { .. });
        for model in &provider.models {
            let is_default = wanted == Some(&*format!("{}/{}", provider.id, model.id));
            let row = Object::new()
                .put("id", &model.id)
                .put("name", &model.name)
                .put("provider", &provider.id)
                .opt("contextWindow", model.window.as_ref())
                .put("reasoning", &false)
                .opt("tags", is_default.then(|| vec!["default".to_owned()]).as_ref())
                .put("available", &available)
                .opt("unavailableReason", (!available).then_some("missing-auth"));
            rows.push(row.json());
        }
    }
    rows
}

/// `models.authStatus`: the servers, and whether there is a key for each.
fn auth_status(call: &Call) -> Answer {
    let settings = call.app.settings();
    let rows = settings.config.providers.iter().map(|provider| {
        let status = match &provider.key {
            Credential::Given(_) | Credential::Absent => "static",
            Credential::Unresolved { .. } => "missing",
        };
        Object::new()
            .put("provider", &provider.id)
            .put("authProvider", &provider.id)
            .put("displayName", &provider.id)
            .put("status", status)
            .put("profiles", &Vec::<Json>::new())
            .json()
    });
    let rows: Vec<Json> = rows.collect();
    let object = Object::new().put("ts", &wall_ms()).put("providers", &rows);
    Ok(object.put("providerCapabilities", &Vec::<Json>::new()).json().into())
}
