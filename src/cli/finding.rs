//! One way to print a finding of the doctor, for `barnacle doctor` and `barnacle gateway status`.

use super::table::plain;
use crate::doctor::{Finding, Severity};
use nanoserde::SerJson;

/// A finding, as JSON and as text.
#[derive(SerJson)]
pub struct Shown {
    severity: &'static str,
    what: String,
    why: String,
    fix: String,
    fixed: Option<String>,
}

impl Shown {
    /// Shows `finding`; applies its safe repair first where `repair` says so.
    pub(super) fn new(finding: Finding, repair: bool) -> Self {
        let Finding { severity, what, why, mut fix, repair: known } = finding;
        let fixed = match known.filter(|_| repair).map(|apply| apply()) {
            Some(Err(e)) => {
                fix.push_str(&format!(" (--fix could not: {e})"));
                None
            }
            Some(Ok(done)) => Some(done),
            None => None,
        };
        let severity = if severity == Severity::Error { "error" } else { "warning" };
        Self { severity, what, why, fix, fixed }
    }

    /// Whether it is an error that is not fixed.
    pub(super) fn is_problem(&self) -> bool {
        self.severity == "error" && self.fixed.is_none()
    }

    /// Formats three lines: the problem, its effect, its fix.
    pub(super) fn text(&self) -> String {
        let sign = if self.severity == "error" { "!" } else { "-" };
        let end = match &self.fixed {
            Some(done) => format!("fixed: {done}"),
            None => format!("fix: {}", self.fix),
        };
        format!("{sign} {}\n    {}\n    {}\n", plain(&self.what), plain(&self.why), plain(&end))
    }
}
