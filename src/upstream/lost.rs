//! Runs that OpenClaw lost in a restart, of all clients: whoever asks for the end of one later would wait for nothing.

use super::{
    link::runs::{awaited, outcome_of_lost},
    repeat::Repeat,
};
use crate::protocol::{RequestFrame, response};
use std::collections::VecDeque;

/// Most runs that are remembered.
const MOST: usize = 256;

/// Ids of runs that OpenClaw lost, the latest last.
#[derive(Default, Debug)]
pub(super) struct LostRuns(VecDeque<String>);

impl LostRuns {
    /// Remembers the run `id`, in place of the oldest if there are too many.
    pub fn add(&mut self, id: String) {
        self.0.retain(|known| *known != id);
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(id);
    }

    /// The ids, the latest last.
    pub fn ids(&self) -> Vec<String> {
        self.0.iter().cloned().collect()
    }

    /// The answer to a request that waits for one of them; `None` for any other request. A message with the key of one is
    /// a new run of that id.
    pub fn judge(&mut self, request: &RequestFrame, repeat: &Repeat) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        if let Repeat::Keyed { key, .. } = repeat {
            self.0.retain(|id| id != key);
        }
        let run = awaited(&request.method, request.text())?;
        self.0.iter().any(|id| *id == run).then(|| response(&request.id, &outcome_of_lost(&run)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::repeat::classify;

    #[test]
    fn who_asks_later_is_answered() {
        let mut lost = LostRuns::default();
        let judge = |lost: &mut LostRuns, method: &str, params: &str| {
            let text = format!(r#"{{"type":"req","id":"1","method":"{method}","params":{params}}}"#);
            let request = RequestFrame::parse(text).unwrap_or_else(|e| panic!("{e:?}"));
            lost.judge(&request, &classify(&request)).is_some()
        };
        let wait = r#"{"runId":"r"}"#;
        assert!(!judge(&mut lost, "agent.wait", wait));
        lost.add("r".into());
        assert!(judge(&mut lost, "agent.wait", wait));
        assert!(!judge(&mut lost, "agent.wait", r#"{"runId":"s"}"#));
        assert!(!judge(&mut lost, "agent.status", wait));
        // It is begun again.
        assert!(!judge(&mut lost, "chat.send", r#"{"sessionKey":"main","idempotencyKey":"r"}"#));
        assert!(!judge(&mut lost, "agent.wait", wait));
        (0..MOST).for_each(|n| lost.add(format!("{n}")));
        lost.add("x".into());
        assert_eq!((lost.ids().len(), lost.ids()[0].as_str()), (MOST, "1"));
    }
}
