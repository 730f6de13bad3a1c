//! A new connection to OpenClaw: what was before is restored before anything else is sent.

use super::{Effect, Link, Phase, Purpose, Request, State, later, started};
use crate::{
    protocol::{Json, response},
    upstream::{
        frame::{self, Refused},
        repeat::Repeat,
    },
};
use nanoserde::SerJson;

/// Longest time for which everything else waits until what was before is restored, nanoseconds.
const RESTORE_NS: u64 = 20_000_000_000;
/// Longest time for which a run's outcome is asked at once, milliseconds.
const OUTCOME_MS: u64 = 600_000;

impl Link {
    /// The connection is there; `boot` is the gateway's boot id.
    pub fn opened(&mut self, boot: &str, now_ns: u64) -> Vec<Effect> {
        let restarted = !self.boot.is_empty() && self.boot != boot;
        self.boot = boot.into();
        self.why.clear();
        self.phase = Phase::Restoring;
        self.own.clear();
        self.again.clear();
        self.restore_until_ns = now_ns.saturating_add(RESTORE_NS);
        let mut purposes: Vec<Purpose> = self.subscriptions.keys().cloned().map(Purpose::Replay).collect();
        // One that was never sent needs no look.
        let keyed = |request: &&Request| matches!(request.repeat, Repeat::Keyed { .. });
        let unsure = self.waiting.iter().filter(keyed).filter(|request| request.state == State::Unsure);
        purposes.extend(unsure.map(|request| Purpose::Look(request.number)));
        if restarted && !(self.runs.is_empty() && self.awaited_before().is_empty()) {
            purposes.push(Purpose::Runs);
        } else {
            purposes.extend(self.outcomes());
        }
        let mut effects: Vec<Effect> = purposes.into_iter().filter_map(|purpose| self.ask(purpose)).collect();
        effects.extend(self.go_on(now_ns));
        effects
    }

    /// The runs whose second answer was to come on a connection that is gone.
    pub(super) fn outcomes(&self) -> Vec<Purpose> {
        let accepted = self.sent.iter().filter(|request| request.state == State::Accepted);
        accepted.map(|request| Purpose::Outcome(request.number)).collect()
    }

    /// Asks for `purpose`, unless nobody needs that any more.
    pub(super) fn ask(&mut self, purpose: Purpose) -> Option<Effect> {
        let (method, params) = self.question(&purpose)?;
        self.next += 1;
        let id = format!("{}{}", self.prefix, self.next);
        let text = format!(r#"{{"type":"req","id":"{id}","method":"{method}","params":{params}}}"#);
        self.own.insert(id, purpose);
        Some(Effect::Send(text))
    }

    /// Method and parameters of the request for `purpose`.
    pub(super) fn question(&self, purpose: &Purpose) -> Option<(String, String)> {
        let keyed = |requests: &[Request], number: u64| match &requests
            .iter()
            .find(|request| request.number == number)?
            .repeat
        {
            Repeat::Keyed { key, session } => Some((key.serialize_json(), session.serialize_json())),
            _ => None,
        };
        Some(match purpose {
            Purpose::Replay(name) => self.subscriptions.get(name)?.clone(),
            Purpose::Look(number) => {
                let (_, session) = keyed(&self.waiting, *number)?;
                ("chat.history".into(), format!(r#"{{"sessionKey":{session},"limit":200}}"#))
            }
            Purpose::Runs => ("sessions.list".into(), r#"{"includeGlobal":true}"#.into()),
            Purpose::Outcome(number) => {
                let (run, _) = keyed(&self.sent, *number)?;
                ("agent.wait".into(), format!(r#"{{"runId":{run},"timeoutMs":{OUTCOME_MS}}}"#))
            }
        })
    }

    /// Sends what waits, once everything else is restored.
    pub(super) fn go_on(&mut self, now_ns: u64) -> Vec<Effect> {
        let mut own = self.own.values().chain(self.again.iter().map(|(_, purpose)| purpose));
        let restoring = own.any(|purpose| !matches!(purpose, Purpose::Outcome(_)));
        if self.phase == Phase::Restoring && !restoring {
            self.phase = Phase::Open;
        }
        if self.phase != Phase::Open {
            return Vec::new();
        }
        let (mut effects, mut kept) = (Vec::new(), Vec::new());
        for mut request in std::mem::take(&mut self.waiting) {
            if request.not_before_ns > now_ns {
                kept.push(request);
                continue;
            }
            (request.not_before_ns, request.state) = (0, State::Fresh);
            effects.push(Effect::Send(request.text.clone()));
            self.sent.push(request);
        }
        self.waiting = kept;
        effects
    }

    pub(super) fn own_answer(
        &mut self,
        id: &str,
        purpose: Purpose,
        outcome: Result<&str, &str>,
        now_ns: u64,
    ) -> Vec<Effect> {
        self.own.remove(id);
        let refused = outcome.err().map(frame::refused);
        if let Some(Refused::NotReady { after_ms } | Refused::Later { after_ms }) = refused
            && now_ns < self.restore_until_ns
        {
            self.again.push((now_ns + after_ms * 1_000_000, purpose));
            return Vec::new();
        }
        let mut effects = Vec::new();
        match (purpose, outcome) {
            (Purpose::Replay(_), Ok(_)) => {}
            (Purpose::Replay(name), Err(error)) => {
                // One that is refused for good is the client's to make again.
                if frame::refused(error) == Refused::Final {
                    self.subscriptions.remove(&name);
                }
            }
            (Purpose::Look(number), outcome) => {
                let at = self.waiting.iter().position(|request| request.number == number);
                let Some(at) = at else { return self.go_on(now_ns) };
                let Repeat::Keyed { key, session } = self.waiting[at].repeat.clone() else {
                    return self.go_on(now_ns);
                };
                match outcome {
                    Ok(history) if history.contains(&format!("\"{key}:user\"")) => {
                        let request = self.waiting.remove(at);
                        effects.push(Effect::Answer(started(&request.id, &key)));
                        self.remember_run(key, session);
                    }
                    Ok(_) => self.waiting[at].state = State::Fresh,
                    Err(_) => {
                        let request = self.waiting.remove(at);
                        let why = format!(
                            "OpenClaw does not say whether it took {} before it was lost",
                            request.method
                        );
                        effects.push(later(&request.id, &why));
                    }
                }
            }
            (Purpose::Runs, outcome) => {
                if let Ok(list) = outcome {
                    effects.extend(self.end_lost_runs(list));
                }
                let outcomes = self.outcomes();
                effects.extend(outcomes.into_iter().filter_map(|purpose| self.ask(purpose)));
            }
            (Purpose::Outcome(number), outcome) => {
                let at = self.sent.iter().position(|request| request.number == number);
                effects.extend(at.map(|at| {
                    let request = self.sent.remove(at);
                    match outcome {
                        Ok(outcome) => Effect::Answer(response(&request.id, &Json(outcome.into()))),
                        Err(_) => later(&request.id, "OpenClaw does not say what became of the run"),
                    }
                }));
            }
        }
        effects.extend(self.go_on(now_ns));
        effects
    }
}
