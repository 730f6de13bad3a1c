//! Calls of tools by a model, and their results.
//!
//! A call is on disk before its tool does anything. A result is on disk before the next tool starts that changes something,
//! so that of the calls without a result only the first can have begun. After a restart such a one is called again where
//! that is harmless; else the model is told that its outcome is unknown.

use super::{Going, progress::agent_event, prompt, record};
use crate::{
    agents::{
        conversation::{Call, CallResult},
        model::Offer,
    },
    clock::wall_ms,
    methods::shape::Object,
    protocol::Json,
};

/// What a model reads of a call that was not carried out since a message came.
const SKIPPED: &str = "Skipped to process an incoming message.";
/// And of one that a restart interrupted.
const UNKNOWN: &str = "The outcome is unknown: the gateway was restarted while this was carried out. Find out what has \
                       become of it before you do it again.";

impl Going<'_> {
    /// The tools that the session's agent may call.
    pub(super) fn offers(&self) -> Vec<Offer> {
        Vec::new()
    }

    /// Carries out calls, one after the other; those that have not begun when a message comes are skipped.
    pub(super) async fn call_all(&mut self, calls: &[Call]) -> Result<(), String> {
        let mut pending: Vec<CallResult> = Vec::new();
        for call in calls {
            let skipped = self.is_steered();
            self.tool_event(call, "start", None);
            let mut result = match skipped {
                true => CallResult {
                    id: call.id.clone(),
                    name: call.name.clone(),
                    text: SKIPPED.into(),
                    is_error: true,
                },
                false => {
                    if !self.is_harmless(call) {
                        record::results(self, std::mem::take(&mut pending)).await?;
                    }
                    self.carry_out(call).await
                }
            };
            let verdict = if skipped { Ok(()) } else { self.guard.call(call, &mut result) };
            self.tool_event(call, "result", Some(&result));
            pending.push(result);
            if verdict.is_err() || (!skipped && !self.is_harmless(call)) {
                record::results(self, std::mem::take(&mut pending)).await?;
            }
            verdict?;
        }
        record::results(self, pending).await
    }

    /// Goes on with the calls that a gateway before this one did not finish.
    pub(super) async fn finish_calls(&mut self) -> Result<(), String> {
        let calls = prompt::unanswered(self).await?;
        let Some((first, rest)) = calls.split_first() else { return Ok(()) };
        if self.is_harmless(first) {
            return self.call_all(&calls).await;
        }
        let (id, name) = (first.id.clone(), first.name.clone());
        record::results(self, vec![CallResult { id, name, text: UNKNOWN.into(), is_error: true }]).await?;
        self.call_all(rest).await
    }

    fn is_harmless(&self, _call: &Call) -> bool {
        true
    }

    async fn carry_out(&self, call: &Call) -> CallResult {
        let text = format!("There is no tool {:?}.", call.name);
        CallResult { id: call.id.clone(), name: call.name.clone(), text, is_error: true }
    }

    /// Tells that a call begins, or what it gave.
    fn tool_event(&self, call: &Call, phase: &str, result: Option<&CallResult>) {
        let data = Object::new().put("phase", phase).put("name", &call.name).put("toolCallId", &call.id);
        let data = match result {
            None => data.put("args", &Json(call.arguments.clone())).put("startedAt", &wall_ms()),
            Some(result) => {
                let part = Object::new().put("type", "text").put("text", &result.text).json();
                let content = Object::new().put("content", &vec![part]).json();
                data.put("isError", &result.is_error).put("result", &content)
            }
        };
        agent_event(self.app, self.key, self.run, "tool", &data.json());
    }
}
