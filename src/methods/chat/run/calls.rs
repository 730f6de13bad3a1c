//! Calls of tools by a model, and their results.
//!
//! A call is on disk before its tool changes anything. A result is on disk before the next tool starts that changes
//! something, so that of the calls without a result only the first can have begun, and else with the run's answer: each sync
//! is slow on an SD card. After a restart a call without a result is called again where that is harmless; else the model is
//! told that its outcome is unknown.

use super::{Going, progress::agent_event, prompt, record};
use crate::{
    agents::{
        client_tools::ClientTools,
        conversation::{Call, CallResult},
        model::{Choice, NO_JSON, Offer},
    },
    clock::wall_ms,
    methods::{self, shape::Object},
    protocol::{Json, json},
    tools::{self, Repeat, result::After},
};

/// What a model reads of a call that was not carried out since a message came.
const SKIPPED: &str = "Skipped to process an incoming message.";
/// And of one that a restart interrupted.
const UNKNOWN: &str = "The outcome is unknown: the gateway was restarted while this was carried out. Find out what has \
                       become of it before you do it again.";

/// Results that are not on disk, and what follows from them once they are.
#[derive(Default)]
struct Pending {
    results: Vec<CallResult>,
    after: Vec<After>,
}

/// Whether a call may be carried out again where nobody knows whether it was.
fn is_harmless(call: &Call) -> bool {
    tools::find(&call.name).is_none_or(|tool| tool.repeat == Repeat::Harmless)
}

fn error(call: &Call, why: &str) -> CallResult {
    CallResult { id: call.id.clone(), name: call.name.clone(), text: why.into(), is_error: true }
}

impl<'a> Going<'a> {
    /// The tools that the model may call: those of the client that asks, and the agent's. Where it must call one of the
    /// client's, and of two with one name, there is only the client's.
    pub(super) fn offers(&self) -> Vec<Offer<'a>> {
        let client = self.run.client_tools.get();
        let mut all: Vec<Offer<'a>> = client.into_iter().flat_map(ClientTools::offers).collect();
        if client.is_some_and(|client| client.choice != Choice::Free) {
            return all;
        }
        let offered = tools::offered(&self.app.settings(), self.key).into_iter();
        let offer = |tool: &'static tools::Tool| Offer {
            name: tool.name,
            description: tool.description,
            parameters: tool.parameters,
        };
        all.extend(offered.filter(|tool| !self.is_clients(tool.name)).map(offer));
        all
    }

    /// Whether the client that asks has a tool of this name.
    fn is_clients(&self, name: &str) -> bool {
        self.run.client_tools.get().is_some_and(|tools| tools.has(name))
    }

    /// Parts calls into those that the client is to carry out, and the gateway's. A call whose arguments cannot be read is
    /// none for a client.
    pub(super) fn part(&self, calls: Vec<Call>) -> (Vec<Call>, Vec<Call>) {
        let is_clients =
            |call: &Call| self.is_clients(&call.name) && json::member(&call.arguments, NO_JSON).is_none();
        calls.into_iter().partition(is_clients)
    }

    /// Carries out calls, one after the other; those that have not begun when a message comes are skipped.
    pub(super) async fn call_all(&mut self, calls: &[Call]) -> Result<(), String> {
        let mut pending = Pending::default();
        for call in calls {
            let skipped = self.is_steered();
            self.tool_event(call, "start", None);
            let mut result = if skipped {
                error(call, SKIPPED)
            } else {
                if !is_harmless(call) {
                    self.keep(&mut pending, true).await?;
                }
                self.carry_out(call, &mut pending).await
            };
            let verdict = if skipped { Ok(()) } else { self.guard.call(call, &mut result) };
            self.tool_event(call, "result", Some(&result));
            pending.results.push(result);
            if verdict.is_err() || (!skipped && !is_harmless(call)) {
                self.keep(&mut pending, false).await?;
            }
            verdict?;
        }
        self.keep(&mut pending, false).await
    }

    /// Writes results down, and does what follows from them. All before is on disk then if it is to be `synced`, or
    /// something follows.
    async fn keep(&mut self, pending: &mut Pending, synced: bool) -> Result<(), String> {
        let synced = synced || !pending.after.is_empty();
        let results = std::mem::take(&mut pending.results);
        if !results.is_empty() || (synced && self.unsynced) {
            record::results(self, results, synced).await?;
            self.unsynced = !synced;
        }
        std::mem::take(&mut pending.after).into_iter().for_each(|after| after());
        Ok(())
    }

    /// Goes on with the calls that a gateway before this one did not finish.
    pub(super) async fn finish_calls(&mut self) -> Result<(), String> {
        let calls = prompt::unanswered(self).await?;
        let Some((first, rest)) = calls.split_first() else { return Ok(()) };
        if is_harmless(first) {
            return self.call_all(&calls).await;
        }
        record::results(self, vec![error(first, UNKNOWN)], false).await?;
        self.call_all(rest).await
    }

    async fn carry_out(&self, call: &Call, pending: &mut Pending) -> CallResult {
        if self.is_clients(&call.name) {
            return error(call, "the arguments are no JSON object; call it again with one");
        }
        let run = Some(&*self.run.id);
        let outcome = methods::tools::invoke(self.app, self.key, run, &call.name, &call.arguments).await;
        pending.after.extend(outcome.after);
        if let Some(said) = outcome.said.filter(|said| said.session == *self.key) {
            self.run.sent.borrow_mut().push(said.text);
        }
        let (id, name) = (call.id.clone(), call.name.clone());
        CallResult { id, name, text: outcome.text, is_error: outcome.fault.is_some() }
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
