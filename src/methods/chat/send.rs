//! `chat.send`, `chat.abort`, `agent`, `agent.wait`: messages for a model, and their runs.
//!
//! `idempotencyKey` is the id of the run. The message is on disk before the answer, with the run in the session's row, so that
//! the same request begins one run whenever it comes again.

use super::{
    MESSAGE,
    commands::{Taken, take},
    message, run,
    run::past::{self, Past},
};
use crate::{
    agents::{Arrival, Ended, OpenRun, OpenRuns, Run, WAITING, client_tools::ClientTools, selection::CHOSEN},
    app::App,
    clock::wall_ms,
    config::QueueMode,
    methods::{
        Access::{Dynamic, Operator},
        After, Answer, By, Call, Method, Repeat, Reply,
        sessions::{key, may_begin, publish_changed, publish_message, shapes},
        shape::Object,
    },
    protocol::{Details, ErrorShape, Json, Params, Scope, response},
    reactor::Timer,
    sessions::{Entry, NewEntry, Row, SessionId, SessionKey},
};
use nanoserde::SerJson;
use smol::future;
use std::{rc::Rc, time::Duration};

const WRITE: crate::methods::Access = Operator(Scope::Write);

/// The methods of this family.
pub(in crate::methods) const METHODS: &[Method] = &[
    Method::waits("chat.send", WRITE, Repeat::Keyed, |c| Box::pin(send(c))).content(MESSAGE),
    Method::waits("chat.abort", WRITE, Repeat::Harmless, |c| Box::pin(abort(c))),
    Method::waits("agent", Dynamic(Scope::Write), Repeat::Keyed, |c| Box::pin(agent(c))).content(MESSAGE),
    Method::waits("sessions.send", WRITE, Repeat::Keyed, |c| Box::pin(send_to(c))).content(MESSAGE),
    Method::waits("sessions.abort", WRITE, Repeat::Harmless, |c| Box::pin(abort_session(c))),
    Method::waits("agent.wait", WRITE, Repeat::Harmless, |c| Box::pin(wait(c))),
];

/// The time for a run to end that is to.
const END: Duration = Duration::from_secs(5);

/// How a message is to be taken.
#[derive(Clone, Default)]
pub(in crate::methods) struct How<'a> {
    /// The session's id that the client expects.
    pub(in crate::methods) session: Option<&'a str>,
    /// What becomes of it while a run is under way, if not what the configuration says.
    pub(in crate::methods) mode: Option<QueueMode>,
    /// Whether it begins the conversation anew.
    pub(in crate::methods) afresh: Option<Afresh>,
    /// The tools that its client has.
    pub(in crate::methods) tools: ClientTools,
    /// Whether there is no message: the run goes on with what the session has.
    pub(in crate::methods) goes_on: bool,
}

/// How a conversation begins anew.
#[derive(Clone)]
pub(in crate::methods) struct Afresh {
    /// `reason` of the event.
    pub(in crate::methods) reason: &'static str,
    /// The model that is chosen for it.
    pub(in crate::methods) model: Option<String>,
}

impl<'a> How<'a> {
    /// Reads it from the parameters of a method.
    fn of(params: &Params<'a>) -> Result<Self, ErrorShape> {
        let mode =
            match params.opt_str("queueMode")? {
                None => None,
                Some(word) => Some(QueueMode::parse(word).ok_or_else(|| {
                    params.invalid("queueMode", "one of steer, followup, collect, interrupt")
                })?),
            };
        Ok(Self { session: params.opt_str("sessionId")?, mode, ..Self::default() })
    }
}

/// Accepts a message as the run `id` of a session, unless it was accepted before: `status` of the answer, and what follows
/// from it.
pub(in crate::methods) async fn admit(
    app: &Rc<App>,
    key: &SessionKey,
    id: &str,
    text: &str,
    how: How<'_>,
) -> Result<(&'static str, Option<After>), ErrorShape> {
    let arrival = app.runs.arrive(key).await;
    admit_next(app, arrival, key, id, text, how).await
}

/// The same for who has waited for its place: a client's messages stay in their order, whatever is read for each.
pub(super) async fn admit_next(
    app: &Rc<App>,
    arrival: Arrival,
    key: &SessionKey,
    id: &str,
    text: &str,
    how: How<'_>,
) -> Result<(&'static str, Option<After>), ErrorShape> {
    app.sessions.ready().await?;
    let Known { text: known, is_written } = known_before(app, key, id).await?;
    // What a run without a message goes on with was written down under its id before.
    let known = known.filter(|_| !how.goes_on);
    // Nothing waits from here to where the run is known.
    let there = app.runs.find(id).map(|(_, run)| run);
    if known.as_ref().is_some_and(|known| known != text) {
        return Err(ErrorShape::invalid(format!(
            "idempotencyKey {id} was sent with another message before; take a new one"
        )));
    }
    if let Some(there) = there {
        // It is under way once its message is on disk, and not before.
        drop(arrival);
        return match there.settled().await {
            true => Ok(("in_flight", None)),
            false => Err(ErrorShape::later("the same message was not accepted; send it again", 1000)),
        };
    }
    if (known.is_some() && !is_written) || app.runs.ended(id).is_some() {
        return Ok(("ok", None));
    }
    // Only a new message needs a model: the same one again is answered as before.
    run::endpoint(app, key).map_err(ErrorShape::never)?;
    if app.runs.of(key).len() > WAITING {
        return Err(ErrorShape::later(format!("{WAITING} messages of {} wait already", key.wire()), 5000));
    }
    let mode = how.mode.unwrap_or_else(|| {
        let row = app.sessions.row(key);
        shapes::queue_mode(&app.settings().config.agents, row.as_ref())
    });
    let now = wall_ms();
    let run = Run::new(id, now, mode);
    *run.text.borrow_mut() = text.to_owned();
    let _ = run.client_tools.set(how.tools);
    let first = app.runs.add(key, &run);
    let message = user_message(text, id, now);
    let changed = app.sessions.change(|draft| {
        let _arrival = arrival;
        let there = draft.get(key);
        if let Some(expected) = how.session
            && there.as_ref().is_some_and(|row| row.id.to_string() != expected)
        {
            let details = Details { reason: Some("session-changed".into()), ..Details::default() };
            return Err(ErrorShape::invalid(format!("Session {} changed. Retry.", key.wire())).with(details));
        }
        let is_there = there.is_some();
        let mut row = match there {
            Some(row) => row,
            None => {
                may_begin(app, key)?;
                Row::new(now).map_err(|e| ErrorShape::later(format!("no randomness: {e}"), 1000))?
            }
        };
        if let Some(afresh) = &how.afresh {
            if is_there && !is_written {
                draft.append(key, row.id, vec![NewEntry::reset(now)]);
            }
            row.times.started = now;
            if let Some(model) = &afresh.model {
                row.set(CHOSEN, Some(&model.serialize_json()));
            }
        }
        let mut open = OpenRuns::of(&row);
        open.0.push(OpenRun { id: id.to_owned(), at: now, tries: 0, took: Vec::new() });
        open.put(&mut row);
        (row.times.updated, row.times.interaction) = (now, now);
        row.set("status", Some("\"running\""));
        let entry = || NewEntry::message(now, &message, Some(id), Some(&format!("{id}:user")));
        draft.append(key, row.id, (!is_written && !how.goes_on).then(entry).into_iter().collect());
        draft.put(key, row.clone());
        Ok(row.id)
    });
    let (session, appended) = match changed.await {
        Ok(changed) => changed,
        Err(e) => {
            run.settle(false);
            // Whoever waits behind it has its turn all the same. Where it is next itself, it is passed over.
            if first && app.runs.remove(key, id).is_some() {
                run::begin(app, key);
            } else if app.runs.of(key).first().is_some_and(|next| next.id != id) {
                app.runs.remove(key, id);
            }
            return Err(e);
        }
    };
    run.settle(true);
    if first {
        run::begin(app, key);
    } else if mode == QueueMode::Interrupt {
        // What came before it is given up for it; its own answer comes once that has ended.
        app.runs.of(key).iter().rev().filter(|other| other.id != run.id).for_each(|other| other.abort());
    }
    let (key, id) = (key.clone(), id.to_owned());
    let reason = how.afresh.map_or("send", |afresh| afresh.reason);
    let after: After = Box::new(move |app| {
        publish_changed(app, &key, reason);
        if let Some(appended) = appended.into_iter().last() {
            let beside =
                Object::new().put("runId", &id).put("idempotencyKey", &format!("{id}:user")).json().0;
            let entry = Entry::of_message(&appended.id, appended.place, &message, &beside);
            let said = message::message(&entry, &session, usize::MAX);
            publish_message(app, &key, &shapes::said(app, &key, &said, entry.id, entry.place.shown));
        }
    });
    Ok(("started", Some(after)))
}

/// The answer, and what follows from it.
fn accepted(payload: Json, after: Option<After>) -> Reply {
    Reply { payload, after }
}

fn user_message(text: &str, id: &str, now: u64) -> String {
    let key = format!("{id}:user");
    let object = Object::new().put("role", "user").put("content", text).put("timestamp", &now);
    object.put("idempotencyKey", &key).json().0
}

/// What is known of a run that a client asks for.
pub(super) struct Known {
    /// Its message, if it came before.
    pub(super) text: Option<String>,
    /// Whether that was written down when a gateway before this one ended, and never accepted.
    pub(super) is_written: bool,
}

/// Looks for run `id` in the transcript of a session, and among those that are under way.
pub(super) async fn known_before(app: &Rc<App>, key: &SessionKey, id: &str) -> Result<Known, ErrorShape> {
    let past = match app.sessions.row(key) {
        Some(row) => Past::of(app, key, &row, id, past::NEAR).await?,
        None => Past::default(),
    };
    let there = app.runs.find(id).map(|(_, run)| run.text.borrow().clone());
    let is_open = app.sessions.row(key).is_some_and(|row| OpenRuns::of(&row).has(id));
    let is_written = past.text.is_some() && !past.is_over() && !is_open;
    Ok(Known { text: past.text.or(there), is_written })
}

/// Refuses what this version does not take with a message.
fn only_text(params: &Params<'_>) -> Result<(), ErrorShape> {
    match params.value("attachments") {
        None | Some("[]") => Ok(()),
        Some(_) => Err(ErrorShape::never("attachments are not in this version of Barnacle; send text alone")),
    }
}

/// `chat.send`.
async fn send(call: Call) -> Answer {
    let params = call.params()?;
    only_text(&params)?;
    let key = key(&call, &params, "sessionKey")?;
    let (id, text) = (params.str("idempotencyKey")?, params.str("message")?);
    let Taken { status, after, stopped, .. } =
        take(&call.app, &call.by, &key, id, text, How::of(&params)?).await?;
    let object = Object::new().put("runId", id).put("status", status).opt("aborted", stopped.as_ref());
    Ok(accepted(object.json(), after))
}

/// Aborts one run of a session, or all; their ids.
pub(super) fn stop(app: &Rc<App>, key: &SessionKey, id: Option<&str>) -> Vec<String> {
    // What waits first, so that it does not begin when the one before it ends.
    let meant = app.runs.of(key).into_iter().rev().filter(|run| id.is_none_or(|id| run.id == id));
    meant.map(|run| (run.abort(), run.id.clone()).1).collect()
}

/// `sessions.send`: the same, for a session's key.
async fn send_to(call: Call) -> Answer {
    let params = call.params()?;
    only_text(&params)?;
    let key = key(&call, &params, "key")?;
    let random = SessionId::random().map_err(|e| ErrorShape::later(format!("no randomness: {e}"), 1000))?;
    let id = params.opt_str("idempotencyKey")?.map_or_else(|| random.to_string(), str::to_owned);
    let (text, how) = (params.str("message")?, How::of(&params)?);
    // What an agent sends to another session is a message, whatever it looks like.
    let Taken { status, after, stopped, .. } = match call.by {
        By::Conn(_) => take(&call.app, &call.by, &key, &id, text, how).await?,
        By::Agent => admit(&call.app, &key, &id, text, how).await?.into(),
    };
    let object = Object::new().put("runId", &id).put("status", status).opt("aborted", stopped.as_ref());
    Ok(accepted(object.json(), after))
}

/// Ends every run of a session, and waits a while for it.
pub(in crate::methods) async fn stop_all(app: &Rc<App>, key: &SessionKey) {
    let stopped = stop(app, key, None);
    ended(app, &stopped).await;
}

/// Waits until runs that are to end have, for a while.
async fn ended(app: &Rc<App>, ids: &[String]) {
    let ended = async {
        for id in ids {
            app.runs.wait(id).await;
        }
    };
    future::or(ended, async { _ = Timer::after(END).await }).await;
}

/// `sessions.abort`.
async fn abort_session(call: Call) -> Answer {
    let params = call.params()?;
    let id = params.opt_str("runId")?;
    let key = match (params.value("key"), id.and_then(|id| call.app.runs.find(id))) {
        (Some(_), _) => key(&call, &params, "key")?,
        (None, Some((key, _))) => key,
        (None, None) => {
            return Err(ErrorShape::invalid("sessions.abort takes a key, or the runId of a run under way"));
        }
    };
    let stopped = stop(&call.app, &key, id);
    ended(&call.app, &stopped).await;
    let first = stopped.first().map_or_else(Json::null, |id| Json(id.serialize_json()));
    let status = if stopped.is_empty() { "no-active-run" } else { "aborted" };
    Ok(Object::new().put("ok", &true).put("abortedRunId", &first).put("status", status).json().into())
}

/// `chat.abort`: done when the run has ended.
async fn abort(call: Call) -> Answer {
    let params = call.params()?;
    let key = key(&call, &params, "sessionKey")?;
    let stopped = stop(&call.app, &key, params.opt_str("runId")?);
    ended(&call.app, &stopped).await;
    let object = Object::new().put("ok", &true).put("aborted", &!stopped.is_empty());
    Ok(object.put("runIds", &stopped).json().into())
}

/// `agent`: answered at once, and under the same id again when the run has ended.
async fn agent(call: Call) -> Answer {
    let params = call.params()?;
    only_text(&params)?;
    let key = match params.value("sessionKey") {
        Some(_) => key(&call, &params, "sessionKey")?,
        None => {
            let settings = call.app.settings();
            let agents = &settings.config.agents;
            SessionKey::parse("main", params.opt_str("agentId")?, agents)
                .map_err(|e| ErrorShape::invalid(e.to_string()))?
        }
    };
    let (id, text) = (params.str("idempotencyKey")?.to_owned(), params.str("message")?);
    let Taken { after, said: replied, stopped, .. } =
        take(&call.app, &call.by, &key, &id, text, How::of(&params)?).await?;
    if let Some(stopped) = stopped {
        let ended_ms = wall_ms();
        call.app.runs.end(Ended { id: id.clone(), status: "ok", ended_ms, error: None });
        log::debug!("{}: stopped {}", key.wire(), stopped.join(", "));
    }
    let payload = Object::new()
        .put("runId", &id)
        .put("sessionKey", key.wire())
        .put("agentId", key.agent())
        .put("status", "accepted")
        .put("acceptedAt", &wall_ms())
        .json();
    let (conn, request) = (call.by.conn().ok().cloned(), call.request.id.clone());
    let run = call.app.runs.find(&id).map(|(_, run)| run);
    Ok(Reply::then(payload, move |app| {
        if let Some(after) = after {
            after(app);
        }
        let app = app.clone();
        app.clone().spawn(async move {
            let ended = app.runs.wait(&id).await;
            let answer = match &ended.error {
                Some(why) => crate::protocol::refusal(&request, &ErrorShape::later(why.clone(), 1000)),
                None => {
                    let said = run.map(|run| run.said.borrow().clone()).or(replied);
                    let said = said.filter(|_| ended.status == "ok");
                    response(&request, &answered(&ended, said.as_deref()))
                }
            };
            if let Some(conn) = conn {
                let _ = conn.send(&answer);
            }
        });
    }))
}

/// The second answer to `agent`: as [`outcome`], with what was said.
fn answered(ended: &Ended, said: Option<&str>) -> Json {
    let payload = |text| Object::new().put("text", text).put("mediaUrl", &Json::null()).json();
    let payloads: Vec<Json> = said.map(payload).into_iter().collect();
    let result = Object::new().put("payloads", &payloads).put("meta", &Json("{}".into())).json();
    let object =
        Object::new().put("runId", &ended.id).put("status", ended.status).put("summary", "completed");
    object.put("endedAt", &ended.ended_ms).put("result", &result).json()
}

fn outcome(ended: &Ended) -> Json {
    Object::new()
        .put("runId", &ended.id)
        .put("status", ended.status)
        .put("endedAt", &ended.ended_ms)
        .opt("error", ended.error.as_ref())
        .json()
}

/// `agent.wait`.
async fn wait(call: Call) -> Answer {
    let params = call.params()?;
    let id = params.str("runId")?;
    let time = Duration::from_millis(params.opt_u64("timeoutMs")?.unwrap_or(30_000));
    let ended = async { Some(call.app.runs.wait(id).await) };
    let late = async {
        Timer::after(time).await;
        None
    };
    Ok(match future::or(ended, late).await {
        Some(ended) => outcome(&ended),
        None => Object::new().put("runId", id).put("status", "timeout").json(),
    }
    .into())
}
