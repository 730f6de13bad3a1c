//! What can go wrong between the command line and a gateway, in words.

use crate::protocol::Fields;
use std::{fmt, io, path::PathBuf, time::Duration};

/// What a gateway said no with.
#[derive(Clone, Default, Debug)]
pub struct Said {
    /// `error.code`.
    pub code: String,
    /// `error.message`.
    pub message: String,
    /// `error.details.hint`, or OpenClaw's `remediationHint`.
    pub hint: Option<String>,
}

impl Said {
    /// Reads an error shape.
    pub fn of(error: Option<Fields<'_>>) -> Self {
        let Some(error) = error else { return Self::default() };
        let details = error.object("details");
        let hint = details.and_then(|d| d.str("hint").or_else(|| d.str("remediationHint")));
        Self {
            code: error.text("code").into(),
            message: error.str("message").unwrap_or("the gateway gave no reason").into(),
            hint: hint.map(String::from),
        }
    }
}

/// Why a call has no answer. The first text of most is the gateway's URL.
#[derive(Debug)]
pub enum Fault {
    /// Nobody answers there.
    Unreachable(String, io::Error),
    /// The answer takes longer than it may.
    Slow(String, Duration),
    /// Someone answers who is no gateway; why.
    NotGateway(String, String),
    /// It closed the connection; code and reason.
    Closed(String, u16, String),
    /// It did not let us in.
    Refused(Box<Said>),
    /// It did not do what was asked.
    Failed(Box<Said>),
    /// The key of this command line cannot be had.
    Key(PathBuf, String),
    /// The store of a gateway that does not run cannot be used.
    Store(String),
}

impl Fault {
    /// 3 where no gateway was reached, 4 where it refused, 1 for the rest.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Unreachable(..) | Self::Slow(..) | Self::NotGateway(..) | Self::Closed(..) => 3,
            Self::Refused(_) => 4,
            Self::Failed(said) if matches!(said.code.as_str(), "FORBIDDEN" | "NOT_PAIRED") => 4,
            Self::Failed(_) | Self::Key(..) | Self::Store(_) => 1,
        }
    }

    /// Whether nobody listens there: then no gateway runs.
    pub fn nobody_there(&self) -> bool {
        matches!(self, Self::Unreachable(_, e) if e.kind() == io::ErrorKind::ConnectionRefused)
    }

    /// Whether trying again may help: the gateway restarts, or is not ready.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(..) | Self::Closed(..) => true,
            Self::Refused(said) | Self::Failed(said) => said.code == "UNAVAILABLE",
            _ => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(url, e) if e.kind() == io::ErrorKind::ConnectionRefused => {
                write!(f, "no gateway at {url}: nobody listens there. Start one there: barnacle gateway")
            }
            Self::Unreachable(url, e) => write!(f, "{url} cannot be reached: {e}"),
            Self::Slow(url, limit) => {
                let ms = limit.as_millis();
                write!(f, "{url} did not answer within {ms} ms; give it longer with --timeout <ms>")
            }
            Self::NotGateway(url, why) => write!(f, "{url} is no gateway: {why}"),
            Self::Closed(url, code, reason) if reason.is_empty() => {
                write!(f, "{url} closed the connection ({code})")
            }
            Self::Closed(url, code, reason) => write!(f, "{url} closed the connection ({code}): {reason}"),
            Self::Refused(said) | Self::Failed(said) => {
                f.write_str(&said.message)?;
                said.hint.iter().try_for_each(|hint| write!(f, "\n{hint}"))
            }
            Self::Key(path, why) => write!(f, "{}: {why}", path.display()),
            Self::Store(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Fault {}
