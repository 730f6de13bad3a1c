//! Why a model gave no whole answer: said in one sentence that names the key of the configuration, where there is one.

use super::sse::TooLong;
use crate::{outbound::RequestError, protocol::json};
use std::{fmt, time::Duration};

/// Why a model gave no whole answer.
#[derive(Debug)]
pub enum ModelError {
    /// The server said no: status, its words, and how long to wait.
    Refused(u16, String, Option<Duration>),
    /// There is no connection, or it broke.
    Connection(RequestError),
    /// The stream ended before its end was said.
    Cut,
    /// What it sent is no stream of this dialect.
    NotAStream(&'static str, String),
    /// The stream said that something went wrong.
    Said(String),
    /// An event, or all of the answer, is too long.
    TooLong(String),
    /// It answered with nothing.
    Empty,
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(401 | 403, words, _) => {
                write!(f, "the server refuses the key ({words}); see apiKey")
            }
            Self::Refused(402, words, _) => write!(f, "the server asks to be paid ({words})"),
            Self::Refused(404, words, _) => {
                write!(f, "the server has no such model or path ({words}); see baseUrl and the model's id")
            }
            Self::Refused(429, words, _) => write!(f, "the server has had too many requests ({words})"),
            Self::Refused(status, words, _) => write!(f, "the server answered {status} ({words})"),
            Self::Connection(e) => e.fmt(f),
            Self::Cut => f.write_str("the server ended its answer in the middle"),
            Self::NotAStream(dialect, what) => {
                write!(f, "the answer is no stream of {dialect}: {what}; see baseUrl and api")
            }
            Self::Said(words) => write!(f, "the server says: {words}"),
            Self::TooLong(what) => f.write_str(what),
            Self::Empty => f.write_str("the model said nothing"),
        }
    }
}

impl From<RequestError> for ModelError {
    fn from(e: RequestError) -> Self {
        Self::Connection(e)
    }
}

impl From<TooLong> for ModelError {
    fn from(e: TooLong) -> Self {
        Self::TooLong(e.to_string())
    }
}

/// What an error is good for besides being said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cure {
    /// The same request may do better later, after this time if the server says one.
    Later(Option<Duration>),
    /// This model has had enough for now: the same, or another one.
    LaterOrAnother(Option<Duration>),
    /// Nothing of this server will do, whatever the model: its account is the fault.
    AnotherServer,
    /// The request is larger than the model takes.
    Less,
    /// The model takes no tools.
    NoTools,
    /// None.
    None,
}

impl ModelError {
    /// What may help.
    pub fn cure(&self) -> Cure {
        match self {
            Self::Refused(401..=403, ..) => Cure::AnotherServer,
            Self::Refused(429, _, wait) | Self::Refused(503 | 529, _, wait) => Cure::LaterOrAnother(*wait),
            Self::Refused(408 | 409 | 425 | 500..=599, _, wait) => Cure::Later(*wait),
            Self::Refused(400 | 413 | 422, words, _) if speaks_of_length(words) => Cure::Less,
            Self::Refused(400 | 404 | 422, words, _) if speaks_of_tools(words) => Cure::NoTools,
            Self::Said(words) if speaks_of_length(words) => Cure::Less,
            Self::Connection(RequestError::BadRequest(_)) => Cure::None,
            Self::Connection(_) | Self::Cut | Self::Said(_) => Cure::Later(None),
            Self::Refused(..) | Self::NotAStream(..) | Self::TooLong(_) | Self::Empty => Cure::None,
        }
    }

    /// `errorKind` of an event.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Refused(429, ..) => "rate_limit",
            Self::Connection(RequestError::Idle(_) | RequestError::Deadline(_)) => "timeout",
            _ if self.cure() == Cure::Less => "context_length",
            _ => "unknown",
        }
    }
}

/// Whether a server's words are of a request that is too long, as OpenAI, Anthropic, llama.cpp and vLLM say it.
fn speaks_of_length(words: &str) -> bool {
    let words = words.to_lowercase();
    let said = [
        "context length",
        "context_length",
        "context size",
        "context window",
        "prompt is too long",
        "too many tokens",
    ];
    said.iter().any(|part| words.contains(part))
}

/// Whether they are of a model that takes no tools, as Ollama and llama.cpp say it.
fn speaks_of_tools(words: &str) -> bool {
    let words = words.to_lowercase();
    words.contains("support tools")
        || words.contains("tools param requires")
        || words.contains("tool calling is not supported")
}

/// What a server says is wrong: the message of its JSON, or the beginning of anything else.
pub(super) fn words(body: &str) -> String {
    let said = error_message(body).unwrap_or_else(|| body.to_owned());
    let line = said.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.is_empty() {
        true => "without a word".into(),
        false => line.chars().filter(|c| !c.is_control()).take(300).collect(),
    }
}

/// `error.message`, or `error` itself, of a JSON object.
fn error_message(object: &str) -> Option<String> {
    let error = json::member(object, "error")?;
    let text = json::text(error).or_else(|| json::text(json::member(error, "message")?))?;
    Some(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_one_line() {
        let rows = [
            (r#"{"error":{"message":"no\nkey"}}"#, "no key"),
            (r#"{"error":"model 'x' not found"}"#, "model 'x' not found"),
            ("<html>\n <b>502</b>", "<html> <b>502</b>"),
            ("", "without a word"),
        ];
        for (body, expected) in rows {
            assert_eq!(words(body), expected, "{body}");
        }
    }

    #[test]
    fn each_refusal_has_its_cure() {
        let second = Some(Duration::from_secs(1));
        let rows = [
            (401, "bad key", Cure::AnotherServer),
            (402, "credit", Cure::AnotherServer),
            (429, "slow down", Cure::LaterOrAnother(second)),
            (529, "overloaded", Cure::LaterOrAnother(second)),
            (500, "oops", Cure::Later(second)),
            (400, "This model's maximum context length is 8192 tokens", Cure::Less),
            (400, "the request exceeds the available context size", Cure::Less),
            (400, "prompt is too long: 210000 tokens > 200000 maximum", Cure::Less),
            (400, "registry.ollama.ai/library/gemma does not support tools", Cure::NoTools),
            (500, "tools param requires --jinja flag", Cure::Later(second)),
            (400, "what is this", Cure::None),
            (404, "no such model", Cure::None),
        ];
        for (status, words, cure) in rows {
            assert_eq!(ModelError::Refused(status, words.into(), second).cure(), cure, "{status} {words}");
        }
        assert_eq!(ModelError::Cut.cure(), Cure::Later(None));
        assert_eq!(ModelError::Empty.cure(), Cure::None);
    }
}
