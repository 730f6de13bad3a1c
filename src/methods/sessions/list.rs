//! `sessions.list`, `sessions.describe`, `sessions.resolve`: sessions, found and shown.

use super::{
    preview,
    shapes::{self, FromTranscript},
};
use crate::{
    app::App,
    clock::wall_ms,
    methods::{Answer, By, Call, shape::Object},
    protocol::{ErrorShape, Json, Params},
    sessions::{Query, Row, SessionId, SessionKey},
};
use std::rc::Rc;

/// Sessions in a list where the client says nothing, and the most that it gets.
const LIMIT: (u64, u64) = (100, 1000);
/// Sessions in a list whose transcripts are looked into, at most.
const LOOKED_INTO: usize = 100;

/// `sessions.list`.
pub(super) async fn list(call: Call) -> Answer {
    call.app.sessions.ready().await?;
    Ok(page(&call.app, &call.by, &call.params()?).await?.into())
}

/// The answer of `sessions.list` to `params`.
pub(super) async fn page(app: &Rc<App>, by: &By, params: &Params<'_>) -> Result<Json, ErrorShape> {
    let now = wall_ms();
    let limit = params.opt_u64("limit")?.unwrap_or(LIMIT.0).clamp(1, LIMIT.1);
    let offset = params.opt_u64("offset")?.unwrap_or_default();
    let settings = app.settings();
    let agents = &settings.config.agents;
    let agent = params.opt_str("agentId")?.map(str::to_lowercase);
    if let Some(id) = agent.as_ref().filter(|id| !agents.ids.contains(id)) {
        return Err(ErrorShape::invalid(format!("Unknown agent id \"{id}\"")));
    }
    let parent = match params.opt_str("spawnedBy")? {
        None => None,
        Some(parent) => {
            Some(SessionKey::parse(parent, None, agents).map_err(|e| ErrorShape::invalid(e.to_string()))?)
        }
    };
    let archived = match params.value("archived") {
        None | Some("false") => Some(false),
        Some("true") => Some(true),
        Some("\"all\"") => None,
        Some(_) => return Err(params.invalid("archived", "boolean or \"all\"").into()),
    };
    let query = Query {
        agent: agent.as_deref(),
        archived,
        label: params.opt_str("label")?,
        search: params
            .opt_str("search")?
            .map(|text| text.trim().to_lowercase())
            .filter(|text| !text.is_empty()),
        since_ms: params
            .opt_u64("activeMinutes")?
            .map_or(0, |n| now.saturating_sub(n.saturating_mul(60_000))),
        by_interaction: params.opt_str("sortBy")? == Some("lastInteractionAt"),
        require_interaction: params.opt_bool("requireLastInteraction")?.unwrap_or(false),
        global: agents.global || params.opt_bool("includeGlobal")?.unwrap_or(false),
        unknown: params.opt_bool("includeUnknown")?.unwrap_or(false),
        of_agents: params.opt_bool("configuredAgentsOnly")?.unwrap_or(false).then_some(&agents.ids),
        parent: parent.as_ref().map(SessionKey::wire),
        offset: usize::try_from(offset).unwrap_or(usize::MAX),
        limit: limit as usize,
    };
    let (found, total) = match app.sessions.index() {
        None => (Vec::new(), 0),
        Some(index) => index.list(&query),
    };
    let texts = texts(app, params, &found).await?;
    let rows = found.iter().enumerate().map(|(n, (key, row))| {
        let none = FromTranscript::default();
        shapes::row(app, Some(by), key, Some(row), texts.get(n).unwrap_or(&none)).json()
    });
    let rows: Vec<Json> = rows.collect();
    let next = offset + rows.len() as u64;
    let has_more = next < total as u64 && !rows.is_empty();
    Ok(Object::new()
        .put("ts", &now)
        .put("path", &*app.sessions.path().to_string_lossy())
        .put("count", &rows.len())
        .put("totalCount", &total)
        .put("limitApplied", &limit)
        .put("nextOffset", &if has_more { Json(next.to_string()) } else { Json::null() })
        .put("hasMore", &has_more)
        .put("owners", &Vec::<String>::new())
        .put("defaults", &shapes::defaults(agents))
        .put("sessions", &rows)
        .json())
}

/// Titles and last messages of sessions, where the client wants them.
async fn texts(
    app: &Rc<App>,
    params: &Params<'_>,
    rows: &[(SessionKey, Row)],
) -> Result<Vec<FromTranscript>, ErrorShape> {
    let title = params.opt_bool("includeDerivedTitles")?.unwrap_or(false);
    let last = params.opt_bool("includeLastMessage")?.unwrap_or(false);
    let mut texts = Vec::new();
    if title || last {
        for (key, row) in rows.iter().take(LOOKED_INTO) {
            texts.push(preview::texts(app, key, row, title, last).await);
        }
    }
    Ok(texts)
}

/// `sessions.describe`.
pub(super) async fn describe(call: Call) -> Answer {
    call.app.sessions.ready().await?;
    let params = call.params()?;
    let key = super::key(&call, &params, "key")?;
    let Some(row) = call.app.sessions.row(&key) else {
        return Ok(Object::new().put("session", &Json::null()).json().into());
    };
    let found = [(key, row)];
    let texts = texts(&call.app, &params, &found).await?;
    let [(key, row)] = &found;
    let none = FromTranscript::default();
    let row = shapes::row(&call.app, Some(&call.by), key, Some(row), texts.first().unwrap_or(&none));
    Ok(Object::new().put("session", &row.json()).json().into())
}

/// `sessions.resolve`.
pub(super) async fn resolve(call: Call) -> Answer {
    call.app.sessions.ready().await?;
    let params = call.params()?;
    let (id, label) = (params.opt_str("sessionId")?, params.opt_str("label")?);
    let (found, wanted) = match (params.opt_str("key")?, id, label) {
        (Some(text), None, None) => {
            let key = super::key(&call, &params, "key")?;
            (call.app.sessions.row(&key).map(|_| key), text)
        }
        (None, Some(text), None) => {
            let id = SessionId::parse(text);
            let index = call.app.sessions.index();
            let found = index.as_ref().zip(id).and_then(|(index, id)| index.by_id(&id));
            (found, text)
        }
        (None, None, Some(text)) => {
            let index = call.app.sessions.index();
            (index.and_then(|index| index.having("label", Some(text)).next().map(|(key, _)| key)), text)
        }
        _ => {
            return Err(ErrorShape::invalid(
                "sessions.resolve takes one of key, sessionId and label; this version of Barnacle finds sessions by no \
                 other",
            ));
        }
    };
    match found {
        Some(key) => {
            let name = call.app.sessions.row(&key).and_then(|row| row.text("displayName"));
            let object = Object::new().put("ok", &true).put("key", key.wire()).put("agentId", key.agent());
            Ok(object.opt("displayName", name.as_ref()).json().into())
        }
        None if params.opt_bool("allowMissing")? == Some(true) => {
            Ok(Object::new().put("ok", &false).json().into())
        }
        None => Err(ErrorShape::invalid(format!("No session found: {wanted}"))),
    }
}
