//! Runs that a client started, watches or waits for: a restart of OpenClaw loses those that are going, and OpenClaw
//! says so to nobody.

use super::{Effect, Link, Request, State, params_of};
use crate::{
    protocol::{Json, json, response},
    upstream::{frame, repeat::Repeat},
};
use nanoserde::{DeBin, SerBin, SerJson};
use std::borrow::Cow;

/// Most runs that are remembered.
const RUNS: usize = 64;

/// A run that the client started, or was sent events of.
#[derive(Clone, PartialEq, Debug, SerBin, DeBin)]
pub struct Run {
    /// `runId`.
    pub id: String,
    /// Key of its session.
    pub session: String,
}

/// Why a run that OpenClaw lost has ended; JSON.
const WHY: &str = r#""OpenClaw was restarted while this run was going, and no longer knows it""#;

/// The answer to `agent.wait` for the run `id`, which OpenClaw lost.
pub(in crate::upstream) fn outcome_of_lost(id: &str) -> Json {
    Json(format!(r#"{{"runId":{},"status":"error","error":{WHY}}}"#, id.to_owned().serialize_json()))
}

/// The run that a request waits for.
pub(in crate::upstream) fn awaited<'a>(method: &str, text: &'a str) -> Option<Cow<'a, str>> {
    (method == "agent.wait").then(|| frame::text_at(params_of(text), &["runId"])).flatten()
}

impl Link {
    /// Ends the runs that no session of a `sessions.list` names as active. That a session is active says nothing: OpenClaw
    /// resumes an interrupted turn, under a new id that the row may not name.
    pub(super) fn end_lost_runs(&mut self, list: &str) -> Vec<Effect> {
        let rows = frame::at(list, &["sessions"]).map(json::items).into_iter().flatten();
        let ids = rows.filter_map(|row| frame::at(row, &["activeRunIds"]).filter(|ids| ids.starts_with('[')));
        let active: Vec<String> =
            ids.flat_map(json::items).filter_map(frame::string).map(|id| id.into_owned()).collect();
        let goes_on = |run: &Run| active.contains(&run.id);
        let (kept, lost): (Vec<Run>, Vec<Run>) =
            std::mem::take(&mut self.runs).into_iter().partition(goes_on);
        self.runs = kept;
        let mut effects = Vec::new();
        for run in &lost {
            let (id, session) = (run.id.serialize_json(), run.session.serialize_json());
            let payload = format!(
                r#"{{"runId":{id},"sessionKey":{session},"seq":0,"state":"error","errorMessage":{WHY}}}"#
            );
            let text = format!(r#"{{"type":"event","event":"chat","payload":{payload},"seq":0}}"#);
            let end = text.len() - 1;
            effects.push(Effect::Event(text, Some(end - 1..end)));
        }
        let mut ids: Vec<String> = lost.into_iter().map(|run| run.id).collect();
        ids.extend(self.awaited_before().into_iter().filter(|id| !active.contains(id)));
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            let waits = |request: &Request| match &request.repeat {
                Repeat::Keyed { key, .. } => *key == id,
                _ => awaited(&request.method, &request.text).is_some_and(|run| run == id),
            };
            let (ended, sent): (Vec<Request>, Vec<Request>) =
                std::mem::take(&mut self.sent).into_iter().partition(waits);
            self.sent = sent;
            let (waited, waiting): (Vec<Request>, Vec<Request>) =
                std::mem::take(&mut self.waiting).into_iter().partition(waits);
            self.waiting = waiting;
            for request in ended.iter().chain(&waited) {
                effects.push(Effect::Answer(response(&request.id, &outcome_of_lost(&id))));
            }
            effects.push(Effect::Lost(id));
        }
        effects
    }

    /// The runs whose end OpenClaw had been asked for when the connection was lost.
    pub(super) fn awaited_before(&self) -> Vec<String> {
        let asked = self.waiting.iter().filter(|request| request.state == State::Unsure);
        asked.filter_map(|r| awaited(&r.method, &r.text)).map(|id| id.into_owned()).collect()
    }

    pub(super) fn note_run(&mut self, method: &str, payload: &str, session: String) {
        let going = frame::text_at(payload, &["status"]);
        let going = matches!(going.as_deref(), Some("started" | "accepted" | "in_flight" | "queued"));
        let id = frame::text_at(payload, &["runId"]).map(|id| id.into_owned());
        if let (true, Some(id), "chat.send" | "agent") = (going, id, method) {
            self.remember_run(id, session);
        }
    }

    pub(super) fn remember_run(&mut self, id: String, session: String) {
        self.runs.retain(|run| run.id != id);
        if self.runs.len() >= RUNS {
            self.runs.remove(0);
        }
        self.runs.push(Run { id, session });
    }

    /// Notes what an event says of a run: also who only watches a run is to hear that it was lost.
    pub(super) fn note_run_event(&mut self, event: &str, payload: &str) {
        let text = |path: &[&str]| frame::text_at(payload, path);
        let phase = match event {
            "chat" => text(&["state"]),
            "agent" if text(&["stream"]).as_deref() == Some("lifecycle") => text(&["data", "phase"]),
            _ => return,
        };
        // What may still come after the end of a run is neither of these.
        let goes_on = match phase.as_deref() {
            Some("delta" | "start") => true,
            Some("final" | "error" | "aborted" | "end") => false,
            _ => return,
        };
        let Some(id) = text(&["runId"]) else { return };
        match goes_on {
            false => self.runs.retain(|run| run.id != id),
            true if self.runs.iter().any(|run| run.id == id) => {}
            true => {
                let session = text(&["sessionKey"]).unwrap_or_default().into_owned();
                self.remember_run(id.into_owned(), session);
            }
        }
    }
}
