//! `chat.inject`: a note in a transcript, in the assistant's name, that no model said.

use super::message;
use crate::{
    clock::wall_ms,
    hub::Audience,
    methods::{
        Answer, Call, Reply,
        sessions::{key, publish_message, shapes},
        shape::Object,
    },
    protocol::{ErrorShape, Event, Json},
    sessions::{Entry, NewEntry},
};

/// Token counts of what no model said.
const NO_USAGE: &str = r#"{"input":0,"output":0,"totalTokens":0,"cacheRead":0,"cacheWrite":0,"cost":{"input":0,"output":0,"cacheRead":0,"cacheWrite":0,"total":0}}"#;

/// `chat.inject`.
pub(super) async fn inject(call: Call) -> Answer {
    let params = call.params()?;
    let key = key(&call, &params, "sessionKey")?;
    let text = params.str("message")?;
    let label = params.opt_str("label")?.map(str::trim).filter(|label| !label.is_empty());
    if label.is_some_and(|label| label.chars().count() > 100) {
        return Err(params.invalid("label", "of 100 characters at most").into());
    }
    let text = label.map_or_else(|| text.to_owned(), |label| format!("[{label}]\n\n{text}"));
    let now = wall_ms();
    let part = Object::new().put("type", "text").put("text", &text).json();
    let message = Object::new()
        .put("role", "assistant")
        .put("content", &vec![part])
        .put("timestamp", &now)
        .put("stopReason", "stop")
        .put("usage", &Json(NO_USAGE.into()))
        .put("api", "openai-responses")
        .put("provider", "openclaw")
        .put("model", "gateway-injected")
        .json();
    let changed = call.app.sessions.change(|draft| {
        let mut row = draft.get(&key).ok_or_else(|| ErrorShape::invalid("session not found"))?;
        draft.append(&key, row.id, vec![NewEntry::message(now, &message.0, None, None)]);
        row.times.updated = now;
        draft.touch(&key, row.clone());
        Ok(row.id)
    });
    let (session, appended) = changed.await?;
    let appended =
        appended.into_iter().next().ok_or_else(|| ErrorShape::later("nothing was appended", 1000))?;
    let entry = Entry::of_message(&appended.id, appended.place, &message.0, "{}");
    let (id, shown) = (entry.id.to_owned(), entry.place.shown);
    let said = message::message(&entry, &session, usize::MAX);
    let payload = Object::new().put("ok", &true).put("messageId", &id).json();
    Ok(Reply::then(payload, move |app| {
        let chat = Object::new()
            .put("runId", &format!("inject-{id}"))
            .put("sessionKey", key.wire())
            .put("agentId", key.agent())
            .put("seq", &0_u64)
            .put("state", "final")
            .put("message", &message);
        app.hub.events.publish(Event::Chat, Audience::Everyone, &chat.json());
        publish_message(app, &key, &shapes::said(app, &key, &said, &id, shown));
    }))
}
