//! Runs that a client started: a restart of OpenClaw loses those that are going, and OpenClaw tells nobody.

use super::{Effect, Link, Request};
use crate::{
    protocol::{Json, json, response},
    upstream::{frame, repeat::Repeat},
};
use nanoserde::{DeBin, SerBin, SerJson};

/// Most runs that are remembered.
const RUNS: usize = 64;

/// A run that the client started.
#[derive(Clone, PartialEq, Debug, SerBin, DeBin)]
pub struct Run {
    /// `runId`.
    pub id: String,
    /// Key of its session.
    pub session: String,
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
        for run in lost {
            let (id, session) = (run.id.serialize_json(), run.session.serialize_json());
            let why = "\"OpenClaw was restarted while this run was going, and no longer knows it\"";
            let payload = format!(
                r#"{{"runId":{id},"sessionKey":{session},"seq":0,"state":"error","errorMessage":{why}}}"#
            );
            let text = format!(r#"{{"type":"event","event":"chat","payload":{payload},"seq":0}}"#);
            let end = text.len() - 1;
            effects.push(Effect::Event(text, Some(end - 1..end)));
            let waits = |request: &Request| match &request.repeat {
                Repeat::Keyed { key, .. } => *key == run.id,
                _ => request.method == "agent.wait" && request.text.contains(&id),
            };
            let (ended, sent): (Vec<Request>, Vec<Request>) =
                std::mem::take(&mut self.sent).into_iter().partition(waits);
            self.sent = sent;
            let (waited, waiting): (Vec<Request>, Vec<Request>) =
                std::mem::take(&mut self.waiting).into_iter().partition(waits);
            self.waiting = waiting;
            for request in ended.iter().chain(&waited) {
                let payload = format!(r#"{{"runId":{id},"status":"error","error":{why}}}"#);
                effects.push(Effect::Answer(response(&request.id, &Json(payload))));
            }
        }
        effects
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

    pub(super) fn note_run_end(&mut self, event: &str, payload: &str) {
        if self.runs.is_empty() {
            return;
        }
        let ended = match event {
            "chat" => {
                matches!(frame::text_at(payload, &["state"]).as_deref(), Some("final" | "error" | "aborted"))
            }
            "agent" => {
                frame::text_at(payload, &["stream"]).as_deref() == Some("lifecycle")
                    && matches!(frame::text_at(payload, &["data", "phase"]).as_deref(), Some("end" | "error"))
            }
            _ => false,
        };
        if let (true, Some(id)) = (ended, frame::text_at(payload, &["runId"])) {
            self.runs.retain(|run| run.id != id);
        }
    }
}
