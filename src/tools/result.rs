//! What comes of a tool: what the model reads, and what the gateway does with it.

pub use crate::config::redact::{REDACTED, is_credential_of, without_credentials};
use crate::{
    protocol::{ErrorShape, Json, Object, ParamFault},
    sessions::SessionKey,
};

/// An action that follows once the result is kept.
pub type After = Box<dyn FnOnce()>;

/// The result of a tool.
pub struct Outcome {
    /// What the model reads: mostly JSON.
    pub text: String,
    /// What went wrong, if anything did. The text says it in words.
    pub fault: Option<Fault>,
    /// More for programs, which no model reads.
    pub details: Option<Json>,
    /// What the tool has said in a session: a run does not say the same there once more.
    #[allow(dead_code, reason = "for runs, which do not repeat it")]
    pub said: Option<Said>,
    /// What follows from it, once the result is on disk.
    pub after: Option<After>,
}

/// A text that a tool said in a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said {
    /// Key of the session.
    pub session: SessionKey,
    /// The text.
    pub text: String,
}

/// What went wrong with a tool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// There is no such tool.
    Unknown,
    /// There is, and the agent does not have it.
    NotAllowed,
    /// The arguments do not fit, or name what is not there or not to be seen.
    Arguments,
    /// It failed.
    Failed,
}

impl Fault {
    /// The word for it on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "not_found",
            Self::NotAllowed => "not_allowed",
            Self::Arguments => "invalid_request",
            Self::Failed => "tool_error",
        }
    }
}

/// Error: why a tool did not do what it was asked, in a sentence that the model can act on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Its kind.
    pub fault: Fault,
    /// The sentence.
    pub message: String,
}

impl Problem {
    /// The arguments are wrong.
    pub fn arguments(message: impl Into<String>) -> Self {
        Self { fault: Fault::Arguments, message: message.into() }
    }

    /// The tool failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { fault: Fault::Failed, message: message.into() }
    }
}

impl From<ErrorShape> for Problem {
    fn from(error: ErrorShape) -> Self {
        let fault = match error.is_invalid() {
            true => Fault::Arguments,
            false => Fault::Failed,
        };
        let hint = error.details().and_then(|details| details.hint.as_deref());
        let hint = hint.map_or_else(String::new, |hint| format!(" ({hint})"));
        Self { fault, message: format!("{}{hint}", error.message()) }
    }
}

impl From<ParamFault> for Problem {
    fn from(fault: ParamFault) -> Self {
        Self::arguments(fault.0)
    }
}

impl Outcome {
    /// The result that a model reads as JSON.
    pub fn json(json: Json) -> Self {
        Self { text: json.0, fault: None, details: None, said: None, after: None }
    }

    /// The result of a tool that did not do what it was asked.
    pub fn problem(tool: &str, problem: &Problem) -> Self {
        let text = Object::new().put("status", "error").put("tool", tool).put("error", &problem.message);
        Self { fault: Some(problem.fault), ..Self::json(text.json()) }
    }

    /// Whether it did not do what it was asked.
    pub fn is_error(&self) -> bool {
        self.fault.is_some()
    }
}
