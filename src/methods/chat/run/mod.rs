//! Running: a message is answered by a model, and whoever listens hears it as it is said.
//!
//! [`step`] asks the model once, again or another one where that helps; [`calls`] has the tools do what it asks for, and
//! [`steer`] takes in what came meanwhile; then it is asked again, until it calls no more tools. Each state of a run is one
//! event to all readers ([`progress`]), and exactly one of them ends it: `final`, `aborted` or `error`. What ends a run is on
//! disk before it is said ([`record`]). After a restart [`past`] says how far it came.

mod calls;
pub(in crate::methods) mod compact;
pub(in crate::methods::chat) mod past;
mod progress;
mod prompt;
mod record;
mod steer;
mod step;

pub(in crate::methods) use step::endpoint;

use crate::{
    agents::{
        Ended, OpenRuns, Run, budget,
        guard::Guard,
        model::{Choice, Reply},
    },
    app::App,
    clock::wall_ms,
    hub::Audience,
    methods::{sessions::publish_changed, shape::Object, usage},
    protocol::{Event, Json},
    reactor::Timer,
    sessions::{Row, SessionId, SessionKey},
};
use progress::{agent_event, chat, snapshot, status};
use smol::future;
use std::{rc::Rc, time::Duration};

/// How often a gateway begins a run.
const BEGUN: u32 = 3;

/// How a run ended.
enum Outcome {
    /// The model said its last.
    Said(Answer),
    /// In words, and the `errorKind` of them.
    Failed(String, &'static str),
    /// Somebody stopped it.
    Aborted,
}

/// A model's answer, and who gave it.
struct Answer {
    /// Calls in it are the client's to carry out, and written down already.
    reply: Reply,
    by: record::By,
}

/// What a run knows of itself while it is under way.
struct Going<'a> {
    app: &'a Rc<App>,
    key: &'a SessionKey,
    run: &'a Rc<Run>,
    session: SessionId,
    /// Whether what is said next replaces what was said before.
    replace: bool,
    /// The standing instructions of the agent.
    system: String,
    /// Whether the model takes tools.
    tools: bool,
    /// Whether the transcript has what a power cut may take back.
    unsynced: bool,
    guard: Guard,
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
                start(&app, &key, &Run::restore(&open));
            }
        }
    }
}

/// Adds an accepted run to its session, and sees that it is run.
fn start(app: &Rc<App>, key: &SessionKey, run: &Rc<Run>) {
    if app.runs.add(key, run) {
        begin(app, key);
    }
}

/// Runs the runs of a session, one after the other.
pub(in crate::methods) fn begin(app: &Rc<App>, key: &SessionKey) {
    let (app, key) = (app.clone(), key.clone());
    app.clone().spawn(async move {
        let mut crowded = false;
        while let Some(run) = app.runs.of(&key).into_iter().next() {
            let accepted = run.settled().await;
            if accepted {
                go(&app, &key, &run).await;
                crowded = run.crowded.get();
            }
            app.runs.remove(&key, &run.id);
            if accepted {
                publish_changed(&app, &key, "agent.input.settled");
            }
        }
        if crowded {
            compact::later(&app, &key).await;
        }
    });
}

/// Runs one run to its end.
async fn go(app: &Rc<App>, key: &SessionKey, run: &Rc<Run>) {
    let aborted = async {
        run.aborted().await;
        Outcome::Aborted
    };
    let before = match run.restored {
        true => past::take_up(app, key, run).await,
        false => None,
    };
    let written = before.is_some();
    let outcome = match before {
        Some(outcome) => outcome,
        None => future::or(aborted, answer(app, key, run)).await,
    };
    let now = wall_ms();
    loop {
        match record::end(app, key, run, &outcome, written, now).await {
            Ok(()) => break,
            // It has ended only once that is on disk.
            Err(why) => {
                log::warn!("{}: run {} cannot be ended yet: {why}", key.wire(), run.id);
                Timer::after(Duration::from_secs(5)).await;
            }
        }
    }
    let (status, error) = match &outcome {
        Outcome::Said(_) => ("ok", None),
        Outcome::Failed(why, _) => ("error", Some(why.clone())),
        Outcome::Aborted => ("aborted", None),
    };
    let ended = |run: &Rc<Run>, superseded| {
        agent_event(app, key, run, "lifecycle", &lifecycle_end(&outcome, run, now));
        app.hub.events.publish(Event::Chat, Audience::Everyone, &last(&outcome, run, key, now, superseded));
        app.runs.end(Ended { id: run.id.clone(), status, ended_ms: now, error: error.clone() });
    };
    ended(run, false);
    // The answer is to these too; it is said once.
    run.took.borrow().iter().for_each(|other| ended(other, true));
}

/// The `chat` event that ends a run.
fn last(outcome: &Outcome, run: &Run, key: &SessionKey, now: u64, superseded: bool) -> Json {
    let event = chat(run, key);
    match outcome {
        Outcome::Said(_) if superseded => event.put("state", "final").put("stopReason", "superseded"),
        Outcome::Said(answer) => {
            let Reply { text, calls, .. } = &answer.reply;
            let stop = if calls.is_empty() { "stop" } else { "toolUse" };
            let event = event.put("state", "final").put("stopReason", stop);
            if calls.is_empty() && run.has_sent(text) {
                return event.json();
            }
            event.put("message", &snapshot(text, calls, now))
        }
        Outcome::Failed(why, kind) => {
            event.put("state", "error").put("errorMessage", why).put("errorKind", *kind)
        }
        Outcome::Aborted => event.put("state", "aborted").put("stopReason", "rpc"),
    }
    .json()
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

/// Has the model answer, with as many tools as it calls.
async fn answer(app: &Rc<App>, key: &SessionKey, run: &Rc<Run>) -> Outcome {
    let _turn = app.runs.turn(app.settings().config.agents.runs_at_once()).await;
    if run.tries.get() >= BEGUN {
        let why = format!("the gateway ended {BEGUN} times while this was answered; it is not tried again");
        return Outcome::Failed(why, "unknown");
    }
    let session = match record::begin(app, key, run).await {
        Ok(Some(session)) => session,
        Ok(None) => return Outcome::Aborted,
        Err(why) => return Outcome::Failed(why, "unknown"),
    };
    // A gateway before this one may have sent a part of an answer.
    let replace = run.tries.get() > 0;
    let system = prompt::system(app, key).await;
    let (guard, unsynced) = (Guard::default(), run.restored);
    let mut going = Going { app, key, run, session, replace, system, tools: true, unsynced, guard };
    status(app, key, run, "preparing_context");
    let started = Object::new().put("phase", "start").put("startedAt", &wall_ms()).json();
    agent_event(app, key, run, "lifecycle", &started);
    match going.steps().await {
        Ok(answer) => Outcome::Said(answer),
        Err((why, kind)) => Outcome::Failed(why, kind),
    }
}

impl Going<'_> {
    /// Refuses to ask a model where the budget for the day is used up.
    async fn heed_budget(&self) -> Result<(), (String, &'static str)> {
        usage::count_past(self.app).await;
        let used = self.app.runs.spending.used(self.key.agent(), wall_ms());
        match budget::refusal(self.app.settings().own.budget(), self.key.agent(), used) {
            Some(why) => Err((why, "rate_limit")),
            None => Ok(()),
        }
    }

    async fn steps(&mut self) -> Result<Answer, (String, &'static str)> {
        let unknown = |why: String| (why, "unknown");
        if self.run.restored {
            self.finish_calls().await.map_err(unknown)?;
        }
        self.collect().await.map_err(unknown)?;
        loop {
            self.heed_budget().await?;
            let mut answer = self.ask().await?;
            let usage = answer.reply.usage;
            let tokens = usage.input + usage.output;
            self.app.runs.spending.add(self.key.agent(), tokens, wall_ms());
            if answer.reply.calls.is_empty() {
                let must = self.run.client_tools.get().is_some_and(|tools| tools.choice != Choice::Free);
                if must {
                    return Err(unknown(
                        "the model called no tool, and `tool_choice` wants one called".into(),
                    ));
                }
                return Ok(answer);
            }
            record::called(self, &answer).await.map_err(unknown)?;
            self.guard.step(tokens, self.app.settings().own.budget().run).map_err(unknown)?;
            let (clients, own) = self.part(std::mem::take(&mut answer.reply.calls));
            self.call_all(&own).await.map_err(unknown)?;
            if !clients.is_empty() {
                answer.reply.calls = clients;
                return Ok(answer);
            }
            self.steer().await.map_err(unknown)?;
        }
    }
}
