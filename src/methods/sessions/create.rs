//! `sessions.create`: a session is begun, or the one there is taken.

use super::shapes;
use crate::{
    agents::selection::{CHOSEN, whole_name},
    clock::wall_ms,
    methods::{
        Answer, Call, Reply,
        chat::send::{How, admit},
        shape::Object,
    },
    protocol::{ErrorShape, Json, Params},
    sessions::{BadKey, Row, SessionId, SessionKey, rows::fields::settable},
};
use nanoserde::SerJson;
use sha2::{Digest, Sha256};

/// Parameters that would make another session than this version can, unless they have this value.
const NOT_HERE: [(&str, &str); 15] = [
    ("attachments", "[]"),
    ("fork", "false"),
    ("forkFrom", ""),
    ("worktree", "false"),
    ("worktreeBaseRef", ""),
    ("worktreeName", ""),
    ("execNode", ""),
    ("cwd", ""),
    ("projectId", ""),
    ("projectGitUrl", ""),
    ("catalogId", ""),
    ("incognito", "false"),
    ("permissionMode", ""),
    ("toolOverrides", ""),
    ("visibility", "\"shared\""),
];

/// `sessions.create`.
pub(super) async fn create(call: Call) -> Answer {
    let params = call.params()?;
    if let Some((name, _)) =
        NOT_HERE.iter().find(|(name, same)| params.value(name).is_some_and(|v| v != *same))
    {
        return Err(ErrorShape::never(format!("sessions.create: {name} is not in this version of Barnacle")));
    }
    let key = wanted(&call, &params)?;
    super::may_begin(&call.app, &key)?;
    let parent = params.opt_str("parentSessionKey")?;
    let parent = parent.map(|text| SessionKey::parse(text, None, &call.app.settings().config.agents));
    let parent = parent.transpose().map_err(|e| ErrorShape::invalid(e.to_string()))?;
    let settings = call.app.settings();
    let chosen = params.opt_str("model")?.map(|model| whole_name(&settings.config.providers, model));
    let chosen = chosen.transpose().map_err(ErrorShape::invalid)?;
    let mut fields = Vec::new();
    for name in ["label", "displayName", "category"] {
        let Some(value) = params.value(name) else { continue };
        if let Some(must) = settable(name).and_then(|field| field.refuse(value)) {
            return Err(params.invalid(name, &must).into());
        }
        fields.push((name, value));
    }
    let now = wall_ms();
    let made = call.app.sessions.change(|draft| {
        let there = draft.get(&key);
        let is_new = there.is_none();
        let mut row = match &there {
            Some(row) => row.clone(),
            None => Row::new(now).map_err(|e| ErrorShape::later(format!("no randomness: {e}"), 1000))?,
        };
        if let Some(label) = params.opt_str("label")?
            && let Some(other) = draft.labelled(label).filter(|other| *other != key)
        {
            return Err(ErrorShape::invalid(format!("label already in use: {label} ({})", other.wire())));
        }
        // A title that was made for a new session is none for one that is there.
        for (name, value) in fields.iter().filter(|(name, _)| is_new || *name == "label") {
            row.set(name, Some(value));
        }
        if let Some(model) = chosen.as_ref().filter(|_| is_new) {
            row.set(CHOSEN, Some(&model.serialize_json()));
        }
        if let Some(parent) = parent.as_ref().filter(|_| is_new) {
            row.set("parentSessionKey", Some(&parent.wire().to_owned().serialize_json()));
        }
        if there.as_ref() != Some(&row) {
            row.times.updated = now;
            draft.put(&key, row.clone());
        }
        Ok(row)
    });
    let (row, _) = made.await?;
    let object = Object::new()
        .put("ok", &true)
        .put("key", key.wire())
        .put("sessionId", &row.id.to_string())
        .put("entry", &shapes::entry(&row));
    let message =
        params.opt_str("message")?.or(params.opt_str("task")?).filter(|text| !text.trim().is_empty());
    let mut begun = None;
    let object = match message {
        None => object.put("runStarted", &false),
        Some(text) => {
            let random =
                SessionId::random().map_err(|e| ErrorShape::later(format!("no randomness: {e}"), 1000))?;
            let id = params.opt_str("idempotencyKey")?.map_or_else(|| random.to_string(), str::to_owned);
            match admit(&call.app, &key, &id, text, How::default()).await {
                Ok((_, after)) => {
                    begun = after;
                    object.put("runStarted", &true).put("runId", &id)
                }
                // The session is there all the same.
                Err(error) => object.put("runStarted", &false).put("runError", &error),
            }
        }
    };
    let payload = object.opt("resolved", shapes::resolved(&call.app, &key, &row).as_ref()).json();
    Ok(Reply::then(payload, move |app| {
        super::publish_changed(app, &key, "create");
        if let Some(begun) = begun {
            begun(app);
        }
    }))
}

/// The key that is asked for. Without one it is random, or made of `idempotencyKey`, so that the same request makes the
/// same session whenever it comes again.
fn wanted(call: &Call, params: &Params<'_>) -> Result<SessionKey, ErrorShape> {
    if params.value("key").is_some() {
        return super::key(call, params, "key");
    }
    let settings = call.app.settings();
    let agents = &settings.config.agents;
    let agent = params.opt_str("agentId")?.map_or_else(|| agents.default.clone(), str::to_lowercase);
    if !agents.ids.contains(&agent) {
        return Err(ErrorShape::invalid(BadKey::NoSuchAgent(agent).to_string()));
    }
    let id = match params.opt_str("idempotencyKey")? {
        None => SessionId::random().map_err(|e| ErrorShape::later(format!("no randomness: {e}"), 1000))?,
        Some(key) => {
            let digest = Sha256::digest(Json::of(&vec![agent.clone(), key.to_owned()]).0.as_bytes());
            let mut bytes = [0; 16];
            bytes.copy_from_slice(&digest[..16]);
            SessionId(bytes)
        }
    };
    Ok(SessionKey::of(&agent, &format!("dashboard:{id}")))
}
