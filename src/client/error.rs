//! Errors of a call from the command line to a gateway.

use crate::protocol::Fields;
use miniserde::json::Value;
use std::{fmt, io, path::PathBuf, time::Duration};

/// The error that a gateway answered with.
#[derive(Clone, Default, Debug)]
pub struct ErrorResponse {
    /// `error.code`.
    pub code: String,
    /// `error.message`.
    pub message: String,
    /// `error.details.hint`, or OpenClaw's `remediationHint`.
    pub hint: Option<String>,
    /// Whether `error.retryable` says that the same request is refused again.
    pub is_final: bool,
}

impl ErrorResponse {
    pub fn of(error: Option<Fields<'_>>) -> Self {
        let Some(error) = error else { return Self::default() };
        let details = error.object("details");
        let hint = details.and_then(|d| d.str("hint").or_else(|| d.str("remediationHint")));
        Self {
            code: error.text("code").into(),
            message: error.str("message").unwrap_or("the gateway gave no reason").into(),
            hint: hint.map(String::from),
            is_final: matches!(error.0.get("retryable"), Some(Value::Bool(false))),
        }
    }
}

/// Why a call failed. The first text of most is the gateway's URL.
#[derive(Debug)]
pub enum CallError {
    /// No connection can be made.
    Unreachable(String, io::Error),
    /// No answer within the time limit.
    TimedOut(String, Duration),
    /// The peer speaks another protocol; which, or how it shows.
    NotGateway(String, String),
    /// The peer speaks TLS where the URL says `ws://`, or the other way round; the URL that works.
    WrongScheme(String, String),
    /// The gateway closed the connection; code and reason.
    Closed(String, u16, String),
    /// The gateway refused the connection.
    Refused(Box<ErrorResponse>),
    /// The gateway refused the request.
    Failed(Box<ErrorResponse>),
    /// The key of this command line cannot be read or made.
    Key(PathBuf, String),
    /// The store of a gateway that does not run cannot be used.
    Store(String),
}

impl CallError {
    /// 3 where no gateway was reached, 4 where it refused, 1 for the rest.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Unreachable(..)
            | Self::TimedOut(..)
            | Self::NotGateway(..)
            | Self::WrongScheme(..)
            | Self::Closed(..) => 3,
            Self::Refused(_) => 4,
            Self::Failed(error) if matches!(error.code.as_str(), "FORBIDDEN" | "NOT_PAIRED") => 4,
            Self::Failed(_) | Self::Key(..) | Self::Store(_) => 1,
        }
    }

    /// Whether nobody listens there: then no gateway runs.
    pub fn is_connection_refused(&self) -> bool {
        matches!(self, Self::Unreachable(_, e) if e.kind() == io::ErrorKind::ConnectionRefused)
    }

    /// Whether trying again may help: the gateway restarts, or is not ready.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(..) | Self::Closed(..) => true,
            Self::Refused(error) | Self::Failed(error) => error.code == "UNAVAILABLE" && !error.is_final,
            _ => false,
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(url, e) if e.kind() == io::ErrorKind::ConnectionRefused => {
                write!(f, "no gateway at {url}: nobody listens there. Start one: barnacle gateway")
            }
            Self::Unreachable(url, e) => write!(f, "{url} cannot be reached: {e}"),
            Self::TimedOut(url, limit) => {
                let ms = limit.as_millis();
                write!(f, "{url} did not answer within {ms} ms; for more time: --timeout <ms>")
            }
            Self::NotGateway(url, why) => write!(f, "{url} is not a gateway: {why}"),
            Self::WrongScheme(url, other) => {
                let word = if other.starts_with("ws://") { "no TLS" } else { "TLS" };
                write!(f, "{url}: it speaks {word}: {other}")
            }
            Self::Closed(url, code, reason) if reason.is_empty() => {
                write!(f, "{url} closed the connection ({code})")
            }
            Self::Closed(url, code, reason) => write!(f, "{url} closed the connection ({code}): {reason}"),
            Self::Refused(error) | Self::Failed(error) => {
                f.write_str(&error.message)?;
                error.hint.iter().try_for_each(|hint| write!(f, "\n{hint}"))
            }
            Self::Key(path, why) => write!(f, "{}: {why}", path.display()),
            Self::Store(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for CallError {}
