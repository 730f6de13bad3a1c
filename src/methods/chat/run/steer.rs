//! Messages that come while a run is going: taken in by it, so that one answer is to all of them.
//!
//! Where one was taken in is an entry of the transcript, so that a model is sent it there ever after. It is on disk, with the
//! run's row, before the model hears of it.

use super::Going;
use crate::{
    agents::{OpenRuns, Run},
    clock::wall_ms,
    config::QueueMode,
    sessions::NewEntry,
};
use nanoserde::SerJson;
use std::rc::Rc;

/// `customType` of the entry.
pub(super) const TOOK_IN: &str = "barnacle.took-in";

impl Going<'_> {
    /// Whether a message waits that is to be taken in.
    pub(super) fn is_steered(&self) -> bool {
        !self.app.runs.waiting(self.key, QueueMode::Steer).is_empty()
    }

    /// Takes in the messages that are to steer this run.
    pub(super) async fn steer(&self) -> Result<(), String> {
        self.take_in(self.app.runs.waiting(self.key, QueueMode::Steer)).await
    }

    /// Takes in what came with this one's message and is to be answered together with it.
    pub(super) async fn collect(&self) -> Result<(), String> {
        match self.run.mode {
            QueueMode::Collect => self.take_in(self.app.runs.waiting(self.key, QueueMode::Collect)).await,
            _ => Ok(()),
        }
    }

    async fn take_in(&self, those: Vec<Rc<Run>>) -> Result<(), String> {
        if those.is_empty() {
            return Ok(());
        }
        let (now, by) = (wall_ms(), &self.run.id);
        self.app.runs.take_in(self.key, self.run, those.clone());
        let changed = self.app.sessions.change(|draft| {
            let Some(mut row) = draft.get(self.key) else { return Ok(()) };
            let mut open = OpenRuns::of(&row);
            open.0.retain(|run| those.iter().all(|other| other.id != run.id));
            if let Some(own) = open.0.iter_mut().find(|run| run.id == *by) {
                own.took.extend(those.iter().map(|run| run.id.clone()));
            }
            open.put(&mut row);
            let note = |run: &Rc<Run>| {
                NewEntry::custom(now, TOOK_IN, by, &format!(r#"{{"run":{}}}"#, run.id.serialize_json()))
            };
            draft.append(self.key, row.id, those.iter().map(note).collect());
            draft.put(self.key, row);
            Ok(())
        });
        changed.await.map(|_| ()).map_err(|e| e.message().to_owned())
    }
}
