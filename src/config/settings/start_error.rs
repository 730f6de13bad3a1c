//! Reasons why the gateway does not start, with what to do about each.

use super::{super::Bind, upstream::BadUpstream};
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why the gateway does not start.
#[derive(Debug)]
pub enum StartError {
    /// Neither `OPENCLAW_HOME` nor `HOME` is set.
    NoHome,
    /// `OPENCLAW_PROFILE` is not a valid name.
    BadProfile(String),
    /// `--bind` is no word of ours.
    BadBind(String),
    /// `--upstream` is no URL of a gateway to stand in front of.
    BadUpstream(BadUpstream),
    /// The file of `--token-file` gives no token.
    TokenFile(PathBuf, Option<io::Error>),
    /// The config says that the gateway is on another host.
    Remote(PathBuf),
}

impl StartError {
    /// The process's exit code: 78 (`EX_CONFIG`), at which systemd does not try again.
    pub fn exit_code(&self) -> u8 {
        78
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHome => f.write_str("no home directory: HOME is not set; set HOME or OPENCLAW_HOME"),
            Self::BadProfile(name) => write!(
                f,
                "OPENCLAW_PROFILE={name:?} is no profile name; use letters, digits, - and _, at most 64"
            ),
            Self::BadBind(word) => write!(f, "--bind {word}: must be one of {}", Bind::expected()),
            Self::BadUpstream(bad) => write!(f, "--upstream {bad}"),
            Self::TokenFile(path, why) => {
                let why = why.as_ref().map_or_else(
                    || "it holds no token (blank, or a placeholder that stands for one)".into(),
                    io::Error::to_string,
                );
                let path = path.display();
                write!(
                    f,
                    "--token-file {path}: {why}; it must be a file that holds the token and nothing else"
                )
            }
            Self::Remote(path) => write!(
                f,
                "gateway.mode is \"remote\" in {}: this host's gateway is elsewhere; set it to \"local\", or \
                 start with `barnacle gateway --allow-unconfigured`",
                path.display()
            ),
        }
    }
}

impl std::error::Error for StartError {}
