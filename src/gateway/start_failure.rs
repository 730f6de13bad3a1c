//! Errors at the start of a gateway, and the exit code of each.

use crate::{config::StartError, net::listen::ListenError, store::OpenError};
use std::fmt;

/// Why the gateway does not run.
#[derive(Debug)]
pub enum StartFailure {
    /// The settings do not allow a start.
    Settings(StartError),
    /// No socket could be opened.
    Listen(ListenError),
    /// The token store cannot be opened.
    Store(OpenError),
    /// The system refuses something else.
    System(String),
}

impl StartFailure {
    /// The exit code: 78 (`EX_CONFIG` of sysexits.h) where starting again would not help, so that a
    /// supervisor does not loop; 1 for what may pass.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Settings(e) => e.exit_code(),
            Self::Listen(_) | Self::Store(_) => 78,
            Self::System(_) => 1,
        }
    }
}

impl fmt::Display for StartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings(e) => e.fmt(f),
            Self::Listen(e) => e.fmt(f),
            Self::Store(e) => e.fmt(f),
            Self::System(e) => f.write_str(e),
        }
    }
}

impl std::error::Error for StartFailure {}
