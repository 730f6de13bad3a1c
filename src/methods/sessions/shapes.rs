//! The answers and events about sessions.

use crate::{
    agents::selection::{CHOSEN, Selection, window},
    app::App,
    clock::wall_ms,
    config::{QueueMode, Settings, model::agents::Agents},
    methods::{By, shape::Object},
    protocol::{Json, Scope},
    sessions::{Entry, Row, SessionKey},
};
use nanoserde::SerJson;

/// Members of an event that are `null` where a session has no such value.
const CLEARED: [&str; 14] = [
    "archivedAt",
    "archivedBy",
    "pinnedAt",
    "lastReadAt",
    "markedUnreadAt",
    "label",
    "autoLabel",
    "displayName",
    "icon",
    "color",
    "category",
    "statusNote",
    "createdActor",
    "owner",
];

/// Fields that no client is told of as they are.
const OF_THE_GATEWAY: [&str; 4] = ["openRuns", "archiveReason", CHOSEN, QUEUE_MODE];
/// Field of a row: what becomes of a message while another one is answered, if not what the configuration says.
pub(in crate::methods) const QUEUE_MODE: &str = "queueMode";

/// Adds the model that a session's runs use, if there is one.
fn model(object: Object, settings: &Settings, key: &SessionKey, row: Option<&Row>) -> Object {
    let agents = &settings.config.agents;
    let selection = Selection::of(agents, key.agent(), row);
    let source = if selection.is_chosen { Json("\"user\"".into()) } else { Json::null() };
    let object = object.put("modelOverrideSource", &source);
    let Some(model) = &selection.model else { return object };
    let (provider, name) = split_model(model);
    object
        .opt("modelProvider", provider)
        .put("model", name)
        .opt("contextTokens", window(&settings.config.providers, model).or(agents.context_tokens).as_ref())
}

/// What becomes of a message of a session while another one is answered.
pub(in crate::methods) fn queue_mode(agents: &Agents, row: Option<&Row>) -> QueueMode {
    row.and_then(|row| QueueMode::parse(&row.text(QUEUE_MODE)?)).unwrap_or(agents.queue)
}

/// The provider and the name in `provider/name`.
fn split_model(model: &str) -> (Option<&str>, &str) {
    model.split_once('/').map_or((None, model), |(provider, name)| (Some(provider), name))
}

/// `defaults` of a list and of a history.
pub(in crate::methods) fn defaults(agents: &Agents) -> Json {
    let parts = agents.model.as_deref().map(split_model);
    let text = |text: Option<&str>| text.map_or(Json::null(), |text| Json(text.to_owned().serialize_json()));
    Object::new()
        .put("modelProvider", &text(parts.and_then(|(provider, _)| provider)))
        .put("model", &text(parts.map(|(_, name)| name)))
        .put("contextTokens", &agents.context_tokens.map_or(Json::null(), |n| Json(n.to_string())))
        .json()
}

/// Texts that are read from a transcript for a row.
#[derive(Clone, Default)]
pub(in crate::methods) struct FromTranscript {
    pub title: Option<String>,
    pub last: Option<String>,
}

/// What the caller may do with a session: `sharingRole`.
fn role(by: &By) -> &'static str {
    match by.allows(Scope::Admin) {
        true => "admin",
        false => "viewer",
    }
}

/// A session's row: `SessionRow` of the schema. Without a row it is that of a session that has not begun.
pub(in crate::methods) fn row(
    app: &App,
    by: Option<&By>,
    key: &SessionKey,
    row: Option<&Row>,
    texts: &FromTranscript,
) -> Object {
    let settings = app.settings();
    let agents = &settings.config.agents;
    let runs: Vec<String> = app.runs.of(key).iter().map(|run| run.id.clone()).collect();
    let mut object = Object::new()
        .put("key", key.wire())
        .put("kind", key.kind())
        .put("classification", key.classification(agents))
        .put("agentId", key.agent())
        .put("isMain", &key.is_main(agents))
        .put("isBackground", &key.is_background(agents))
        .put("visibility", "shared")
        .put("permissionModePending", &false);
    object = match row {
        None => object
            .put("updatedAt", &Json::null())
            .put("archived", &false)
            .put("pinned", &false)
            .put("unread", &false),
        Some(row) => {
            let times = &row.times;
            let at = |time: u64| (time > 0).then_some(time);
            let mut object = object
                .put("sessionId", &row.id.to_string())
                .put("createdVia", "operator")
                .put("createdAt", &times.created)
                .put("updatedAt", &times.updated)
                .put("sessionStartedAt", &times.started)
                .opt("lastInteractionAt", at(times.interaction).as_ref())
                .opt("lastActivityAt", at(times.activity).as_ref())
                .opt("lastReadAt", at(times.read).as_ref())
                .put("archived", &row.get("archivedAt").is_some())
                .put("pinned", &row.get("pinnedAt").is_some())
                .put("unread", &row.is_unread());
            for (name, value) in row.fields().filter(|(name, _)| !OF_THE_GATEWAY.contains(name)) {
                object = object.put(name, &Json(value.to_owned()));
            }
            if row.get("displayName").is_none() {
                object = object.opt("displayName", row.text("label").as_ref());
            }
            object
        }
    };
    model(object, &settings, key, row)
        .put("totalTokensFresh", &false)
        .put("effectiveQueueMode", queue_mode(agents, row).as_str())
        .put("effectiveResponseUsage", "off")
        .opt("derivedTitle", texts.title.as_ref())
        .opt("lastMessagePreview", texts.last.as_ref())
        .put("hasActiveRun", &!runs.is_empty())
        .put("activeRunIds", &runs)
        .opt("sharingRole", by.map(role))
        .put("snapshotAt", &wall_ms())
}

/// `entry` of an answer: what is stored of a session.
pub(super) fn entry(row: &Row) -> Json {
    let mut object = Object::new()
        .put("sessionId", &row.id.to_string())
        .put("updatedAt", &row.times.updated)
        .put("sessionStartedAt", &row.times.started)
        .put("createdVia", "operator")
        .put("createdAt", &row.times.created);
    for (name, time) in [("lastInteractionAt", row.times.interaction), ("lastReadAt", row.times.read)] {
        object = object.opt(name, Some(time).filter(|time| *time > 0).as_ref());
    }
    for (name, value) in row.fields().filter(|(name, _)| !OF_THE_GATEWAY.contains(name)) {
        object = object.put(name, &Json(value.to_owned()));
    }
    object.json()
}

/// `resolved` of an answer: the model that a session's runs use, if there is one.
pub(super) fn resolved(app: &App, key: &SessionKey, row: &Row) -> Option<Json> {
    let settings = app.settings();
    let model = Selection::of(&settings.config.agents, key.agent(), Some(row)).model?;
    let (provider, name) = split_model(&model);
    Some(Object::new().opt("modelProvider", provider).put("model", name).json())
}

/// Adds to an event what its session is now: the row, and once more beside it.
fn with_session(app: &App, key: &SessionKey, object: Object) -> Object {
    let now = app.sessions.row(key);
    let whole = row(app, None, key, now.as_ref(), &FromTranscript::default()).json();
    let mut object = object.put("session", &whole);
    let members: Vec<(&str, &str)> = crate::protocol::json::members(&whole.0).collect();
    for (name, value) in members.iter().filter(|(name, _)| !matches!(*name, "key" | "agentId")) {
        object = object.put(name, &Json((*value).to_owned()));
    }
    for name in CLEARED.iter().filter(|name| !members.iter().any(|(known, _)| known == *name)) {
        object = object.put(name, &Json::null());
    }
    object
}

/// The payload of `sessions.changed`.
pub(super) fn changed(app: &App, key: &SessionKey, reason: &str) -> Json {
    let object = Object::new()
        .put("sessionKey", key.wire())
        .put("agentId", key.agent())
        .put("reason", reason)
        .put("ts", &wall_ms());
    with_session(app, key, object).json()
}

/// The same of a session that is gone, whose id was `id`.
pub(super) fn deleted(key: &SessionKey, id: &str) -> Json {
    Object::new()
        .put("sessionKey", key.wire())
        .put("sessionId", id)
        .put("agentId", key.agent())
        .put("reason", "delete")
        .put("ts", &wall_ms())
        .json()
}

/// The payload of `session.message`: `message` as [`message`](crate::methods::chat::message) has it.
pub(in crate::methods) fn said(app: &App, key: &SessionKey, message: &str, id: &str, shown: u64) -> Json {
    let object = Object::new()
        .put("sessionKey", key.wire())
        .put("agentId", key.agent())
        .put("message", &Json(message.to_owned()))
        .put("messageId", id)
        .put("messageSeq", &shown);
    with_session(app, key, object).json()
}

/// The text of a message, and who said it.
pub(in crate::methods) fn text_of(entry: &Entry<'_>) -> Option<(String, String)> {
    use crate::protocol::json;
    let message = entry.message?;
    let member = |object: &'_ str, name: &str| {
        json::members(object).find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
    };
    let text = |value: &str| {
        let raw = value.strip_prefix('"')?.strip_suffix('"')?;
        Some(json::unescape(raw).into_owned())
    };
    let role = text(&member(message, "role")?)?;
    let content = member(message, "content")?;
    let said = text(&content).unwrap_or_else(|| {
        let parts = json::items(&content).filter_map(|part| text(&member(part, "text")?));
        parts.collect::<Vec<_>>().join("\n")
    });
    Some((role, said))
}

/// The first `most` characters of a text, in one line.
pub(in crate::methods) fn shortened(text: &str, most: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(most) {
        None => line,
        Some((end, _)) => format!("{}…", &line[..end]),
    }
}
