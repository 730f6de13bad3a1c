//! What of a run is written down: that it began, each call and result, and its end.

use super::{Answer, Going, Outcome};
use crate::{
    agents::{
        OpenRuns, Run,
        conversation::{Call, CallResult},
        model::{DIALECTS, Reply},
        selection::Selection,
    },
    app::App,
    clock::wall_ms,
    methods::{
        chat::message,
        sessions::{publish_message, shapes},
        shape::Object,
    },
    protocol::{Json, json},
    sessions::{Appended, Entry, NewEntry, SessionId, SessionKey},
};
use nanoserde::SerJson;
use std::rc::Rc;

/// `customType` of the entry that ends a run which had nothing to say.
pub(super) const ENDED: &str = "barnacle.ended";

/// Who said something.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct By {
    pub(super) provider: String,
    pub(super) model: String,
    pub(super) api: &'static str,
}

/// Counts that the run is begun; its session's id, if the session is still there.
pub(super) async fn begin(app: &Rc<App>, key: &SessionKey, run: &Run) -> Result<Option<SessionId>, String> {
    let started = app.sessions.change(|draft| {
        let Some(mut row) = draft.get(key) else { return Ok(None) };
        let mut open = OpenRuns::of(&row);
        open.0.iter_mut().filter(|open| open.id == run.id).for_each(|open| open.tries = run.tries.get() + 1);
        open.put(&mut row);
        draft.touch(key, row.clone());
        Ok(Some(row.id))
    });
    started.await.map(|(session, _)| session).map_err(|e| e.message().to_owned())
}

impl By {
    /// Who said a message.
    pub(super) fn of(message: &str) -> Self {
        let member = |name| json::member(message, name).and_then(json::text).unwrap_or_default().into_owned();
        let api = DIALECTS.iter().map(|dialect| dialect.name).find(|name| *name == member("api"));
        Self { provider: member("provider"), model: member("model"), api: api.unwrap_or_default() }
    }
}

/// Writes down what the model said and called.
pub(super) async fn called(going: &mut Going<'_>, answer: &Answer) -> Result<(), String> {
    let now = wall_ms();
    let said = spoken(&answer.by, &answer.reply, now, "toolUse");
    going.unsynced = true;
    append(going, vec![said], false).await
}

/// Writes down the results of calls. If they are to be `synced`, all of the run is on disk then.
pub(super) async fn results(going: &Going<'_>, results: Vec<CallResult>, synced: bool) -> Result<(), String> {
    let now = wall_ms();
    let message = |result: &CallResult| {
        let object = Object::new()
            .put("role", "toolResult")
            .put("toolCallId", &result.id)
            .put("toolName", &result.name)
            .put("content", &vec![text_part(&result.text)]);
        object.put("isError", &result.is_error).put("timestamp", &now).json().0
    };
    append(going, results.iter().map(message).collect(), synced).await
}

/// Writes down how a run ended. The transcript has it before the row does, so that the row may be on disk later:
/// [`past`](super::past) finds the run ended all the same. If that is `written` already, only the row is changed.
pub(super) async fn end(
    app: &Rc<App>,
    key: &SessionKey,
    run: &Rc<Run>,
    outcome: &Outcome,
    written: bool,
    now: u64,
) -> Result<(), String> {
    let partial = run.said.borrow().clone();
    let (status, error, message) = match outcome {
        // It was written down when it called tools that are its client's.
        Outcome::Said(answer) if !answer.reply.calls.is_empty() => ("done", None, None),
        // A tool has sent it to this session.
        Outcome::Said(answer) if run.has_sent(&answer.reply.text) => ("done", None, None),
        Outcome::Said(answer) => ("done", None, Some(spoken(&answer.by, &answer.reply, now, "stop"))),
        Outcome::Failed(why, _) => ("failed", Some(why), Some(failure(app, key, why, now))),
        Outcome::Aborted => ("killed", None, (!partial.is_empty()).then(|| aborted(app, key, &partial, now))),
    };
    let messages: Vec<String> = message.into_iter().filter(|_| !written).collect();
    let mut entries = entries(run, &messages, now);
    if entries.is_empty() && !written {
        entries.push(NewEntry::custom(now, ENDED, &run.id, &format!(r#"{{"status":"{status}"}}"#)));
    }
    let changed = app.sessions.change(|draft| {
        // A session that was removed meanwhile has no place for it.
        let Some(mut row) = draft.get(key) else { return Ok(None) };
        draft.append(key, row.id, entries);
        let mut open = OpenRuns::of(&row);
        let took = run.took.borrow();
        open.0.retain(|open| open.id != run.id && took.iter().all(|other| other.id != open.id));
        open.put(&mut row);
        row.set("status", Some(&format!("\"{status}\"")));
        row.set("lastRunId", Some(&run.id.serialize_json()));
        row.set("lastRunError", error.map(|why| why.serialize_json()).as_deref());
        (row.times.updated, row.times.activity) = (now, now);
        draft.touch(key, row.clone());
        Ok(Some(row.id))
    });
    let (session, appended) = changed.await.map_err(|e| e.message().to_owned())?;
    publish(app, key, run, session, &appended, &messages);
    Ok(())
}

/// Appends messages of a run; then tells whoever listens.
async fn append(going: &Going<'_>, messages: Vec<String>, synced: bool) -> Result<(), String> {
    let Going { app, key, run, .. } = going;
    let entries = entries(run, &messages, wall_ms());
    let changed = app.sessions.change(|draft| {
        // A session that was removed meanwhile has no place for it.
        let Some(row) = draft.get(key) else { return Ok(None) };
        match synced {
            true => draft.append(key, row.id, entries),
            false => draft.append_lazily(key, row.id, entries),
        }
        Ok(Some(row.id))
    });
    let (session, appended) = changed.await.map_err(|e| e.message().to_owned())?;
    publish(app, key, run, session, &appended, &messages);
    Ok(())
}

fn entries(run: &Run, messages: &[String], now: u64) -> Vec<NewEntry> {
    messages.iter().map(|message| NewEntry::message(now, message, Some(&run.id), None)).collect()
}

/// Tells whoever listens of messages that were appended.
fn publish(
    app: &Rc<App>,
    key: &SessionKey,
    run: &Run,
    session: Option<SessionId>,
    appended: &[Appended],
    messages: &[String],
) {
    let Some(session) = session else { return };
    let beside = Object::new().put("runId", &run.id).json().0;
    for (appended, text) in appended.iter().zip(messages) {
        let entry = Entry::of_message(&appended.id, appended.place.clone(), text, &beside);
        let shown = message::message(&entry, &session, usize::MAX);
        publish_message(app, key, &shapes::said(app, key, &shown, entry.id, entry.place.shown));
    }
}

pub(super) fn text_part(text: &str) -> Json {
    Object::new().put("type", "text").put("text", text).json()
}

pub(super) fn call_part(call: &Call) -> Json {
    let object = Object::new().put("type", "toolCall").put("id", &call.id).put("name", &call.name);
    object.put("arguments", &Json(call.arguments.clone())).json()
}

/// The beginning of a message of the model.
fn by_model(by: &By, parts: Vec<Json>, now: u64) -> Object {
    Object::new()
        .put("role", "assistant")
        .put("content", &parts)
        .put("api", by.api)
        .put("provider", &by.provider)
        .put("model", &by.model)
        .put("timestamp", &now)
}

fn spoken(by: &By, reply: &Reply, now: u64, stop: &str) -> String {
    let usage = Object::new()
        .put("input", &reply.usage.input)
        .put("output", &reply.usage.output)
        .put("totalTokens", &(reply.usage.input + reply.usage.output))
        .put("cacheRead", &0_u64)
        .put("cacheWrite", &0_u64)
        .json();
    let text = (!reply.text.trim().is_empty()).then(|| text_part(&reply.text));
    let parts: Vec<Json> = text.into_iter().chain(reply.calls.iter().map(call_part)).collect();
    by_model(by, parts, now).put("usage", &usage).put("stopReason", stop).json().0
}

/// The model that was to answer, as far as the configuration names one.
fn configured(app: &App, key: &SessionKey) -> By {
    let settings = app.settings();
    let row = app.sessions.row(key);
    let name = Selection::of(&settings.config.agents, key.agent(), row.as_ref()).model.unwrap_or_default();
    let (provider, model) = name.split_once('/').unwrap_or(("", &name));
    By { provider: provider.into(), model: model.into(), api: "openai-completions" }
}

fn failure(app: &App, key: &SessionKey, why: &str, now: u64) -> String {
    by_model(&configured(app, key), Vec::new(), now)
        .put("stopReason", "error")
        .put("errorMessage", why)
        .json()
        .0
}

fn aborted(app: &App, key: &SessionKey, said: &str, now: u64) -> String {
    by_model(&configured(app, key), vec![text_part(said)], now).put("stopReason", "aborted").json().0
}
