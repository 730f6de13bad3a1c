//! A guard against runs that go round in a circle: the same tool, with the same arguments, and the same result.

use super::conversation::{Call, CallResult};
use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

/// Times of the same call with the same result from which on the result says so, and at which the run is ended.
const NOTED: u32 = 3;
const ENDED: u32 = 6;
/// Most times that a model is asked in one run.
const STEPS: u32 = 100;

/// Note in the result of a call that the model made before.
const AGAIN: &str =
    "\n\n(You made this call before, with this result. Do something else, or say what you have.)";

/// Counts of one run.
#[derive(Default)]
pub struct Guard {
    seen: BTreeMap<u64, u32>,
    steps: u32,
    tokens: u64,
}

impl Guard {
    /// Counts a request to the model, and its tokens, of which one run may use `most`; 0 is without a limit.
    ///
    /// # Errors
    /// In words, which limit the run has reached.
    pub fn step(&mut self, tokens: u64, most: u64) -> Result<(), String> {
        self.steps += 1;
        self.tokens += tokens;
        match (self.steps >= STEPS, most > 0 && self.tokens >= most) {
            (true, _) => Err(format!("stopped: the model called tools {STEPS} times in this one run")),
            (_, true) => Err(format!(
                "stopped: this one run has used {} tokens, and may use {most} (budget.perRun in barnacle.json)",
                self.tokens
            )),
            _ => Ok(()),
        }
    }

    /// Counts a call and its result; notes in the result that it is not the first of its kind.
    ///
    /// # Errors
    /// In words, that the run goes round in a circle.
    pub fn call(&mut self, call: &Call, result: &mut CallResult) -> Result<(), String> {
        let mut hasher = DefaultHasher::new();
        (&call.name, &call.arguments, &result.text).hash(&mut hasher);
        let times = self.seen.entry(hasher.finish()).or_default();
        *times += 1;
        match *times {
            ENDED.. => Err(format!(
                "stopped: {} was called {ENDED} times with the same arguments and the same result",
                call.name
            )),
            NOTED.. => {
                result.text.push_str(AGAIN);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_call_with_the_same_result_is_noted_and_then_stopped() {
        let call = |arguments: &str| Call { id: "a".into(), name: "t".into(), arguments: arguments.into() };
        let result =
            |text: &str| CallResult { id: "a".into(), name: "t".into(), text: text.into(), is_error: false };
        let mut guard = Guard::default();
        for n in 1..=6 {
            let mut same = result("x");
            let verdict = guard.call(&call("{}"), &mut same);
            assert_eq!((verdict.is_ok(), same.text.contains("before")), (n < 6, (3..6).contains(&n)), "{n}");
            // Another result, and other arguments, are no circle.
            let mut other = result(&n.to_string());
            assert!(guard.call(&call("{}"), &mut other).is_ok() && !other.text.contains("before"));
            assert!(guard.call(&call(&format!("[{n}]")), &mut result("x")).is_ok());
        }
        let mut guard = Guard::default();
        assert!((0..99).all(|_| guard.step(1, 1000).is_ok()) && guard.step(1, 1000).is_err());
        assert!(Guard::default().step(1000, 1000).is_err() && Guard::default().step(1000, 0).is_ok());
    }
}
