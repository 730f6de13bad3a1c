//! Carrying out what a command does, once: the same request again is answered as before.

use super::{Asked, Effect, Parsed, parse};
use crate::{
    agents::{Ended, selection::CHOSEN},
    app::App,
    clock::wall_ms,
    hub::Audience,
    methods::{
        After, By,
        chat::{
            message,
            run::compact,
            send::{Afresh, How, admit, admit_next, known_before, stop, stop_all},
        },
        sessions::{may_begin, publish_changed, publish_message, shapes},
        shape::Object,
        usage,
    },
    protocol::{ErrorShape, Event, Json, json},
    sessions::{Entry, NewEntry, Row, SessionKey},
};
use nanoserde::SerJson;
use std::rc::Rc;

/// What became of a message.
pub(in crate::methods) struct Taken {
    /// `status` of the answer.
    pub(in crate::methods) status: &'static str,
    /// What follows from it.
    pub(in crate::methods) after: Option<After>,
    /// What a command said.
    pub(in crate::methods) said: Option<String>,
    /// The runs that it stopped, where it was to stop some.
    pub(in crate::methods) stopped: Option<Vec<String>>,
}

impl From<(&'static str, Option<After>)> for Taken {
    fn from((status, after): (&'static str, Option<After>)) -> Self {
        Self { status, after, said: None, stopped: None }
    }
}

/// What a command changes besides being said.
#[derive(Default)]
struct Change {
    afresh: bool,
    field: Option<(&'static str, Option<String>)>,
    /// `reason` of the event.
    reason: &'static str,
}

/// Takes a message of a client: a command is carried out, anything else begins the run `id`.
pub(in crate::methods) async fn take(
    app: &Rc<App>,
    by: &By,
    key: &SessionKey,
    id: &str,
    text: &str,
    how: How<'_>,
) -> Result<Taken, ErrorShape> {
    let (command, rest) = match parse(text) {
        Parsed::Message => return Ok(admit(app, key, id, text, how).await?.into()),
        Parsed::NotHere(name) => (None, name),
        Parsed::Command(command, rest) => (Some(command), rest),
    };
    // It comes after what the client sent before it.
    let arrival = app.runs.arrive(key).await;
    app.sessions.ready().await?;
    let Some(_carrying) = app.runs.carry(id) else {
        return Err(ErrorShape::later(format!("{id} is being carried out; ask again"), 1000));
    };
    let before = known_before(app, key, id).await?;
    // A message that came with a command stands there alone, and is accepted below if it was not.
    if let Some(known) = before.text.filter(|known| known == text || !before.is_written) {
        return match known == text || text.trim_end().ends_with(known.trim()) {
            true => Ok((if app.runs.find(id).is_some() { "in_flight" } else { "ok" }, None).into()),
            false => Err(ErrorShape::invalid(format!(
                "idempotencyKey {id} was sent with another message before; take a new one"
            ))),
        };
    }
    usage::count_past(app).await;
    let row = app.sessions.row(key);
    let effect = match command {
        None => Effect::Says(format!(
            "/{rest} is a command of OpenClaw that this version of Barnacle does not have; /help lists those it has."
        )),
        Some(command) if !by.allows(command.scope) => Effect::Says(format!(
            "/{} needs {}, which you do not have; nothing changed.",
            command.name,
            command.scope.as_str()
        )),
        Some(command) => (command.act)(&Asked { app, by, key, row: row.as_ref(), rest }),
    };
    let written = |reply: String, change: Change| write(app, key, id, text, reply, change);
    match effect {
        Effect::Says(reply) => written(reply, Change { reason: "send", ..Change::default() }).await,
        Effect::Sets(name, value, reply) => {
            written(reply, Change { field: Some((name, value)), reason: "patch", ..Change::default() }).await
        }
        Effect::Sends(message, mode) => {
            Ok(admit_next(app, arrival, key, id, &message, How { mode: Some(mode), ..how }).await?.into())
        }
        Effect::Stops => {
            let stopped = stop(app, key, None);
            Ok(Taken { status: "ok", after: None, said: None, stopped: Some(stopped) })
        }
        Effect::Begins { reason, model, message } => {
            stop_all(app, key).await;
            match message {
                Some(message) => {
                    let afresh = Some(Afresh { reason, model });
                    Ok(admit_next(app, arrival, key, id, &message, How { afresh, ..how }).await?.into())
                }
                None => {
                    let mut reply = "A new conversation begins here.".to_owned();
                    if let Some(model) = &model {
                        reply.push_str(&format!(" {model} answers it."));
                    }
                    let field = model.map(|model| (CHOSEN, Some(model.serialize_json())));
                    written(reply, Change { afresh: true, field, reason }).await
                }
            }
        }
        Effect::Compacts(instructions) => {
            // That takes a while, and what comes meanwhile need not wait for it.
            drop(arrival);
            let reply = match compact::now(app, key, instructions).await {
                Ok(done) => done.to_string(),
                Err(why) => format!("Nothing was summed up: {why}."),
            };
            written(reply, Change { reason: "compact", ..Change::default() }).await
        }
    }
}

/// The row of a session, or a new one.
fn row_of(app: &App, key: &SessionKey, there: Option<Row>, now: u64) -> Result<Row, ErrorShape> {
    match there {
        Some(row) => Ok(row),
        None => {
            may_begin(app, key)?;
            Row::new(now).map_err(|e| ErrorShape::later(format!("no randomness: {e}"), 1000))
        }
    }
}

/// Sets a field of a session's row.
async fn set(
    app: &Rc<App>,
    key: &SessionKey,
    name: &str,
    value: Option<&str>,
    now: u64,
) -> Result<(), ErrorShape> {
    let changed = app.sessions.change(|draft| {
        let mut row = row_of(app, key, draft.get(key), now)?;
        let label = value.filter(|_| name == "label").and_then(json::text);
        if let Some(other) = label.and_then(|label| draft.labelled(&label)).filter(|other| other != key) {
            return Err(ErrorShape::invalid(format!("label already in use ({})", other.wire())));
        }
        row.set(name, value);
        row.times.updated = now;
        draft.put(key, row);
        Ok(())
    });
    changed.await.map(|_| ())
}

/// Writes a command and the reply to it into the transcript, with what it changes.
async fn write(
    app: &Rc<App>,
    key: &SessionKey,
    id: &str,
    text: &str,
    reply: String,
    change: Change,
) -> Result<Taken, ErrorShape> {
    let now = wall_ms();
    // The field is on disk before the transcript has the command: sent again after a crash in between, it is set again.
    if let Some((name, value)) = &change.field {
        set(app, key, name, value.as_deref(), now).await?;
    }
    let idempotency = format!("{id}:user");
    let asked = Object::new().put("role", "user").put("content", text).put("timestamp", &now);
    let asked = asked.put("idempotencyKey", &idempotency).json().0;
    let part = Object::new().put("type", "text").put("text", &reply).json();
    let answer = Object::new()
        .put("role", "assistant")
        .put("content", &vec![part])
        .put("timestamp", &now)
        .put("stopReason", "stop")
        .put("provider", "barnacle")
        .put("model", "gateway")
        .json();
    let (afresh, reason) = (change.afresh, change.reason);
    let changed = app.sessions.change(|draft| {
        let there = draft.get(key);
        let mut entries = Vec::new();
        entries.extend((afresh && there.is_some()).then(|| NewEntry::reset(now)));
        let mut row = row_of(app, key, there, now)?;
        if afresh {
            row.times.started = now;
        }
        entries.push(NewEntry::command(now, &asked, id, Some(&idempotency)));
        entries.push(NewEntry::command(now, &answer.0, id, None));
        draft.append(key, row.id, entries);
        (row.times.updated, row.times.interaction) = (now, now);
        draft.put(key, row.clone());
        Ok(row.id)
    });
    let (session, appended) = changed.await?;
    app.runs.end(Ended { id: id.to_owned(), status: "ok", ended_ms: now, error: None });
    let (key, id, said) = (key.clone(), id.to_owned(), reply);
    let after: After = Box::new(move |app| {
        publish_changed(app, &key, reason);
        // A reset before them is told by the reason above.
        let both = appended.iter().skip(appended.len().saturating_sub(2));
        for (appended, message) in both.zip([&asked, &answer.0]) {
            let beside = Object::new().put("runId", &id).json().0;
            let entry = Entry::of_message(&appended.id, appended.place.clone(), message, &beside);
            let shown = message::message(&entry, &session, usize::MAX);
            publish_message(app, &key, &shapes::said(app, &key, &shown, entry.id, entry.place.shown));
        }
        let chat = Object::new()
            .put("runId", &id)
            .put("sessionKey", key.wire())
            .put("agentId", key.agent())
            .put("seq", &1_u64)
            .put("state", "final")
            .put("stopReason", "stop")
            .put("message", &Json(answer.0.clone()));
        app.hub.events.publish(Event::Chat, Audience::Everyone, &chat.json());
    });
    Ok(Taken { status: "started", after: Some(after), said: Some(said), stopped: None })
}
