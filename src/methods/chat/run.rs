//! Running: a message is answered by a model, and whoever listens hears it as it is said.
//!
//! Each state of a run is one event to all readers, and exactly one of them ends it: `final`, `aborted` or `error`. What ends
//! a run is on disk before it is said.

use super::{
    progress::{agent_event, chat, delta, snapshot, status, tell},
    prompt::prompt,
};
use crate::{
    agents::{
        Ended, OpenRuns, Run,
        provider::{Endpoint, ModelError, Reply},
    },
    app::App,
    clock::wall_ms,
    hub::Audience,
    methods::{
        sessions::{publish_changed, publish_message, shapes},
        shape::Object,
    },
    protocol::{Event, Json},
    reactor::Timer,
    sessions::{Entry, NewEntry, Row, SessionKey},
};
use smol::future;
use std::{rc::Rc, time::Duration};

/// Times that a model is asked again in one run, and how often a gateway begins a run.
const AGAIN: u32 = 6;
const BEGUN: u32 = 3;
/// The wait before a model is asked again: doubled each time, up to a minute.
const WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How the asking ended.
enum Outcome {
    Said(Reply),
    Failed(String, &'static str),
    Aborted,
}

/// Goes on with what a gateway before this one had accepted.
pub(crate) async fn resume(app: Rc<App>) {
    if app.sessions.ready().await.is_err() {
        return;
    }
    let open: Vec<(SessionKey, Row)> =
        app.sessions.index().map_or(Vec::new(), |index| index.having("openRuns", None).collect());
    for (key, row) in open {
        for open in OpenRuns::of(&row).0 {
            if app.runs.find(&open.id).is_none() {
                log::info!("{}: going on with run {}", key.wire(), open.id);
                start(&app, &key, &Run::new(&open.id, open.at, open.tries));
            }
        }
    }
}

/// Adds an accepted run to its session, and sees that it is run.
pub(in crate::methods) fn start(app: &Rc<App>, key: &SessionKey, run: &Rc<Run>) {
    if app.runs.add(key, run) {
        begin(app, key);
    }
}

/// Runs the runs of a session, one after the other.
pub(in crate::methods) fn begin(app: &Rc<App>, key: &SessionKey) {
    let (app, key) = (app.clone(), key.clone());
    app.clone().spawn(async move {
        while let Some(run) = app.runs.of(&key).into_iter().next() {
            go(&app, &key, &run).await;
            app.runs.remove(&key, &run.id);
            publish_changed(&app, &key, "agent.input.settled");
        }
    });
}

/// Runs one run to its end.
async fn go(app: &Rc<App>, key: &SessionKey, run: &Rc<Run>) {
    let aborted = async {
        run.aborted().await;
        Outcome::Aborted
    };
    let outcome = future::or(aborted, ask(app, key, run)).await;
    let now = wall_ms();
    let said = run.said.borrow().clone();
    let (status, error, message) = match &outcome {
        Outcome::Said(reply) => ("ok", None, Some(answer(app, reply, now))),
        Outcome::Failed(why, _) => ("error", Some(why.clone()), Some(failure(app, why, now))),
        Outcome::Aborted => ("aborted", None, (!said.is_empty()).then(|| partial(app, &said, now))),
    };
    let stored = loop {
        match store(app, key, run, message.as_deref(), status, error.as_deref(), now).await {
            Ok(stored) => break stored,
            // It has ended only once that is on disk.
            Err(why) => {
                log::warn!("{}: run {} cannot be ended yet: {why}", key.wire(), run.id);
                Timer::after(Duration::from_secs(5)).await;
            }
        }
    };
    if let Some((id, shown, message)) = stored {
        publish_message(app, key, &shapes::said(app, key, &message, &id, shown));
    }
    agent_event(app, key, run, "lifecycle", &lifecycle_end(&outcome, run, now));
    let event = chat(run, key);
    let event = match &outcome {
        Outcome::Said(reply) => {
            event.put("state", "final").put("stopReason", "stop").put("message", &snapshot(&reply.text, now))
        }
        Outcome::Failed(why, kind) => {
            event.put("state", "error").put("errorMessage", why).put("errorKind", *kind)
        }
        Outcome::Aborted => event.put("state", "aborted").put("stopReason", "rpc"),
    };
    app.hub.events.publish(Event::Chat, Audience::Everyone, &event.json());
    app.runs.end(Ended { id: run.id.clone(), status, ended_ms: now, error });
}

/// Asks the model, again where that may help.
async fn ask(app: &Rc<App>, key: &SessionKey, run: &Rc<Run>) -> Outcome {
    let _turn = app.runs.turn().await;
    if run.tries.get() >= BEGUN {
        let why = format!("the gateway ended {BEGUN} times while this was answered; it is not tried again");
        return Outcome::Failed(why, "unknown");
    }
    let started = app.sessions.change(|draft| {
        let Some(mut row) = draft.get(key) else { return Ok(None) };
        let mut open = OpenRuns::of(&row);
        open.0.iter_mut().filter(|open| open.id == run.id).for_each(|open| open.tries = run.tries.get() + 1);
        open.put(&mut row);
        draft.touch(key, row.clone());
        Ok(Some(row.id))
    });
    let session = match started.await {
        Ok((Some(session), _)) => session,
        Ok((None, _)) => return Outcome::Aborted,
        Err(e) => return Outcome::Failed(e.message().to_owned(), "unknown"),
    };
    // A gateway before this one may have sent a part of an answer.
    let mut replace = run.tries.get() > 0;
    status(app, key, run, "preparing_context");
    agent_event(
        app,
        key,
        run,
        "lifecycle",
        &Object::new().put("phase", "start").put("startedAt", &wall_ms()).json(),
    );
    let mut again = 0;
    loop {
        let endpoint = match endpoint(app) {
            Ok(endpoint) => endpoint,
            Err(why) => return Outcome::Failed(why, "unknown"),
        };
        let prompt = match prompt(app, key, &session, run).await {
            Ok(prompt) => prompt,
            Err(why) => return Outcome::Failed(why, "unknown"),
        };
        status(app, key, run, "starting_model");
        let mut last = None;
        run.said.borrow_mut().clear();
        let each = |piece: &str| {
            run.said.borrow_mut().push_str(piece);
            let held = &mut last;
            tell(app, key, run, piece, &mut replace, held);
        };
        let asked = endpoint.ask(&prompt, each).await;
        if let Some((pending, _)) = last.filter(|(pending, _)| !pending.is_empty()) {
            delta(app, key, run, &pending, &mut replace);
        }
        let error = match asked {
            Ok(reply) => return Outcome::Said(reply),
            Err(error) => error,
        };
        let words = format!("{}/{}: {error}", endpoint.provider, endpoint.model);
        if !error.is_passing() || again == AGAIN {
            return Outcome::Failed(words, error.kind());
        }
        log::warn!("{}: run {}: {words}; asking again", key.wire(), run.id);
        replace = replace || !run.said.borrow().is_empty();
        Timer::after(pause(&error, again)).await;
        again += 1;
    }
}

/// The time before the model is asked again.
fn pause(error: &ModelError, again: u32) -> Duration {
    error.wait().unwrap_or(WAIT * 2_u32.pow(again)).min(LONGEST_WAIT)
}

/// The model of the default agent.
pub(in crate::methods) fn endpoint(app: &App) -> Result<Endpoint, String> {
    let settings = app.settings();
    let wanted = settings.config.agents.model.as_deref();
    let Some((provider, model)) = wanted.and_then(|name| name.split_once('/')) else {
        return Err(format!(
            "no model is configured: set agents.defaults.model to \"<provider>/<model>\" and \
             models.providers.<provider>.baseUrl to where it is, in {}",
            settings.paths.config_file.display()
        ));
    };
    match settings.config.providers.iter().find(|known| known.id == provider) {
        Some(found) => Endpoint::of(found, model),
        None => Err(format!(
            "agents.defaults.model names the server {provider:?}, and models.providers has none of that name: set \
             models.providers.{provider}.baseUrl in {}",
            settings.paths.config_file.display()
        )),
    }
}

/// The beginning of a message of the model.
fn by_model(app: &App, parts: Vec<Json>, now: u64) -> Object {
    let settings = app.settings();
    let name = settings.config.agents.model.clone().unwrap_or_default();
    let (provider, model) = name.split_once('/').unwrap_or(("", &name));
    Object::new()
        .put("role", "assistant")
        .put("content", &parts)
        .put("api", "openai-completions")
        .put("provider", provider)
        .put("model", model)
        .put("timestamp", &now)
}

fn text_part(text: &str) -> Json {
    Object::new().put("type", "text").put("text", text).json()
}

fn answer(app: &App, reply: &Reply, now: u64) -> String {
    let usage = Object::new()
        .put("input", &reply.usage.input)
        .put("output", &reply.usage.output)
        .put("totalTokens", &(reply.usage.input + reply.usage.output))
        .put("cacheRead", &0_u64)
        .put("cacheWrite", &0_u64)
        .json();
    by_model(app, vec![text_part(&reply.text)], now).put("usage", &usage).put("stopReason", "stop").json().0
}

fn failure(app: &App, why: &str, now: u64) -> String {
    by_model(app, Vec::new(), now).put("stopReason", "error").put("errorMessage", why).json().0
}

fn partial(app: &App, said: &str, now: u64) -> String {
    by_model(app, vec![text_part(said)], now).put("stopReason", "aborted").json().0
}

/// Writes down how a run ended; the message as it is shown, if there is one: its id, number and JSON.
async fn store(
    app: &Rc<App>,
    key: &SessionKey,
    run: &Run,
    message: Option<&str>,
    status: &str,
    error: Option<&str>,
    now: u64,
) -> Result<Option<(String, u64, String)>, String> {
    use nanoserde::SerJson;
    let changed = app.sessions.change(|draft| {
        // A session that was removed meanwhile has no place for it.
        let Some(mut row) = draft.get(key) else { return Ok(None) };
        if let Some(message) = message {
            draft.append(key, row.id, vec![NewEntry::message(now, message, Some(&run.id), None)]);
        }
        let mut open = OpenRuns::of(&row);
        open.0.retain(|open| open.id != run.id);
        open.put(&mut row);
        let shown = match status {
            "ok" => "done",
            "aborted" => "killed",
            _ => "failed",
        };
        row.set("status", Some(&format!("\"{shown}\"")));
        row.set("lastRunId", Some(&run.id.serialize_json()));
        row.set("lastRunError", error.map(|why| why.to_owned().serialize_json()).as_deref());
        (row.times.updated, row.times.activity) = (now, now);
        draft.put(key, row.clone());
        Ok(Some(row.id))
    });
    let (session, appended) = changed.await.map_err(|e| e.message().to_owned())?;
    let (Some(session), Some(appended), Some(message)) = (session, appended.into_iter().next(), message)
    else {
        return Ok(None);
    };
    let beside = Object::new().put("runId", &run.id).json().0;
    let entry = Entry::of_message(&appended.id, appended.place, message, &beside);
    Ok(Some((entry.id.to_owned(), entry.place.shown, super::message::message(&entry, &session, usize::MAX))))
}

/// The data of the event that ends a run's lifecycle.
fn lifecycle_end(outcome: &Outcome, run: &Run, now: u64) -> Json {
    let object = Object::new().put("startedAt", &run.accepted_ms).put("endedAt", &now);
    match outcome {
        Outcome::Said(_) => object.put("phase", "end").put("aborted", &false).put("stopReason", "stop"),
        Outcome::Aborted => object.put("phase", "end").put("aborted", &true).put("stopReason", "rpc"),
        Outcome::Failed(why, _) => object.put("phase", "error").put("error", why),
    }
    .put("executionSettled", &true)
    .json()
}
