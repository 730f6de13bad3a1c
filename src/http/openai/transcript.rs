//! What a request brings to its session's transcript, beside the question itself.
//!
//! Where the session is new, that is what was said before; calls of tools and their results behind the last question are written
//! down as if this run had made them. A session that lasts knows its calls, and only what the tools gave is added.

use super::request::{Asked, Message};
use crate::{
    agents::conversation::{Call, CallResult, calls_of},
    app::App,
    clock::wall_ms,
    protocol::{ErrorShape, Json, Object, json},
    sessions::{NewEntry, Row, SessionKey, Transcript},
};
use std::{borrow::Cow, ops::ControlFlow, rc::Rc};

/// Writes down what a request brings to run `id`; the question that is left to be asked, if there is one.
pub(super) async fn write(
    app: &Rc<App>,
    key: &SessionKey,
    id: &str,
    asked: Asked,
) -> Result<Option<String>, ErrorShape> {
    let Asked { system, earlier, mut text, exchange, mut results, .. } = asked;
    let mut entries = Vec::new();
    let now = wall_ms();
    if app.sessions.row(key).is_none() {
        let question = text.as_mut().ok_or_else(|| unknown(&results))?;
        if let Some(result) = results.iter().find(|result| result.name.is_empty()) {
            return Err(unknown(std::slice::from_ref(result)));
        }
        if !system.is_empty() {
            *question = format!("{system}\n\n{question}");
        }
        entries.extend(earlier.iter().map(|message| entry(message, now, None)));
        if !exchange.is_empty() {
            let question = text.take().map(Message::User);
            entries.extend(question.iter().chain(&exchange).map(|message| entry(message, now, Some(id))));
        }
    } else if !results.is_empty() {
        name(app, key, &mut results).await?;
        let brought = |result: &CallResult| {
            let key = format!("{id}:{}", result.id);
            NewEntry::message(now, &result_message(result, now), Some(id), Some(&key))
        };
        entries.extend(results.iter().map(brought));
        text.take_if(|_| !exchange.is_empty());
    }
    if !entries.is_empty() {
        append(app, key, entries, now).await?;
    }
    Ok(text)
}

/// What a client reads that brings results of calls which its session does not know.
fn unknown(results: &[CallResult]) -> ErrorShape {
    let ids: Vec<String> = results.iter().map(|result| format!("{:?}", result.id)).collect();
    ErrorShape::invalid(format!(
        "The session has no call {}, or began anew since; send the question again.",
        ids.join(", ")
    ))
}

/// Gives results the names of the tools that a session's conversation called under their ids.
async fn name(app: &Rc<App>, key: &SessionKey, results: &mut [CallResult]) -> Result<(), ErrorShape> {
    let Some(row) = app.sessions.row(key) else { return Err(unknown(results)) };
    let mut left: Vec<String> = results.iter().map(|result| result.id.clone()).collect();
    let read = move |transcript: Option<Transcript>| {
        let (mut found, mut first_kept): (Vec<Call>, Option<String>) = (Vec::new(), None);
        let Some(transcript) = transcript else { return Ok(found) };
        transcript.entries(transcript.last(), |entry| {
            if entry.kind == "compaction" && first_kept.is_none() {
                first_kept = entry.member("firstKeptEntryId").and_then(json::text).map(Cow::into_owned);
            }
            let content = entry.message.and_then(|message| json::member(message, "content"));
            for call in content.map(calls_of).unwrap_or_default() {
                if let Some(at) = left.iter().position(|id| *id == call.id) {
                    left.remove(at);
                    found.push(call);
                }
            }
            let is_last = entry.kind == "reset" || first_kept.as_deref() == Some(entry.id) || left.is_empty();
            if is_last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(found)
    };
    let found = app.sessions.read(key, &row.id, read).await?;
    for result in results {
        let call = found.iter().find(|call| call.id == result.id);
        result.name = call.ok_or_else(|| unknown(std::slice::from_ref(result)))?.name.clone();
    }
    Ok(())
}

/// An entry of a transcript for a message of a request.
fn entry(message: &Message, now: u64, run: Option<&str>) -> NewEntry {
    let said = |role: &str| Object::new().put("role", role).put("timestamp", &now);
    let message = match message {
        Message::User(text) => said("user").put("content", text).json().0,
        Message::Assistant(text, calls) => {
            let text = (!text.is_empty()).then(|| part("text").put("text", text).json());
            let call = |call: &Call| {
                let arguments = Json(call.arguments.clone());
                let part = part("toolCall").put("id", &call.id).put("name", &call.name);
                part.put("arguments", &arguments).json()
            };
            let parts: Vec<Json> = text.into_iter().chain(calls.iter().map(call)).collect();
            // In an exchange that goes on, nothing is the last word.
            let stop = if calls.is_empty() && run.is_none() { "stop" } else { "toolUse" };
            said("assistant").put("content", &parts).put("stopReason", stop).json().0
        }
        Message::Result(result) => result_message(result, now),
    };
    NewEntry::message(now, &message, run, None)
}

fn part(kind: &str) -> Object {
    Object::new().put("type", kind)
}

/// The message of a tool's result.
fn result_message(result: &CallResult, now: u64) -> String {
    let text = part("text").put("text", &result.text).json();
    let message = Object::new()
        .put("role", "toolResult")
        .put("toolCallId", &result.id)
        .put("toolName", &result.name)
        .put("content", &vec![text]);
    message.put("isError", &result.is_error).put("timestamp", &now).json().0
}

/// Writes entries into a session, which begins with them where there is none.
async fn append(app: &Rc<App>, key: &SessionKey, entries: Vec<NewEntry>, now: u64) -> Result<(), ErrorShape> {
    let changed = app.sessions.change(|draft| {
        let row = match draft.get(key) {
            Some(row) => row,
            None => Row::new(now).map_err(|e| ErrorShape::later(format!("no randomness: {e}"), 1000))?,
        };
        draft.append(key, row.id, entries);
        draft.put(key, row);
        Ok(())
    });
    changed.await.map(|_| ())
}
