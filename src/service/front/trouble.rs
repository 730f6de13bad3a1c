//! Why Barnacle does not stand in front of OpenClaw, or still does.

use super::{
    super::{Failed, NoPlan, Unreachable},
    Refusal,
};
use std::{fmt, io, path::PathBuf};

/// Why an installation, or the way back, failed.
#[derive(Debug)]
pub enum Trouble {
    /// There is no such unit; those that are named similarly.
    NotFound(String, Vec<String>),
    /// The unit is the system's, and this is not root.
    AsRoot(String),
    /// The unit is that of an account's own systemd, and this is root.
    AsUser(String, PathBuf),
    Unreachable(Unreachable),
    Plan(NoPlan),
    Refused(Refusal),
    /// OpenClaw does not answer as it is to begin with.
    NoAnswer(u16, String),
    /// A service is to run as another account than OpenClaw does.
    OtherAccount(String, String),
    Service(Failed),
    /// A file cannot be read or written.
    Io(PathBuf, io::Error),
    Step(Box<FailedStep>),
    /// OpenClaw does not come back on its old port; how to see why.
    NotBack(u16, String, String),
}

/// A step that failed, and what became of those before it.
#[derive(Debug)]
pub struct FailedStep {
    /// What was to be done.
    pub(super) step: &'static str,
    pub(super) why: String,
    /// What there is now, or why it could not be undone.
    pub(super) undone: Result<String, String>,
    /// The command that shows more.
    pub(super) see: String,
}

impl Trouble {
    /// The exit code of the command.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Plan(e) => e.exit_code(),
            Self::Service(e) => e.exit_code(),
            _ => 1,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(unit, similar) => {
                write!(f, "{unit} is not there, so nothing was changed. ")?;
                match similar.as_slice() {
                    [] => f.write_str("OpenClaw installs it: openclaw gateway install. ")?,
                    names => write!(
                        f,
                        "There is {}: for one of another profile, set OPENCLAW_PROFILE=<name>. ",
                        names.join(", ")
                    )?,
                }
                f.write_str("An OpenClaw that is no service is set up by hand: docs/openclaw.md")
            }
            Self::AsRoot(unit) => {
                write!(f, "{unit} is a unit of the system, which takes root: the same command with sudo")
            }
            Self::AsUser(unit, home) => write!(
                f,
                "{unit} belongs to the systemd of the account with the home {}, which root cannot ask: as that account, \
                 without sudo, the same command",
                home.display()
            ),
            Self::Unreachable(e @ Unreachable::OtherInit(_)) => write!(
                f,
                "{e}, so there is no unit of OpenClaw's to move. It is set up by hand: docs/openclaw.md"
            ),
            Self::Unreachable(e) => e.fmt(f),
            Self::Plan(e) => e.fmt(f),
            Self::Refused(e) => write!(f, "{e}\nNothing was changed."),
            Self::NoAnswer(port, why) => write!(
                f,
                "OpenClaw on port {port} does not answer Barnacle's call ({why}), so nothing was changed. See both: \
                 openclaw gateway status --deep"
            ),
            Self::OtherAccount(theirs, given) => write!(
                f,
                "OpenClaw runs as {theirs}, and both need the same files: --run-as {theirs}, not {given}"
            ),
            Self::Service(e) => e.fmt(f),
            Self::Io(path, e) => write!(f, "{}: {e}", path.display()),
            Self::Step(failed) => {
                let FailedStep { step, why, undone, see } = &**failed;
                writeln!(f, "{step} failed: {why}")?;
                match undone {
                    Ok(now) => write!(f, "What was done is undone: {now}. See why: {see}"),
                    Err(e) => write!(
                        f,
                        "It could not be undone ({e}). See why: {see}; then try again: barnacle gateway uninstall \
                         --restore-openclaw"
                    ),
                }
            }
            Self::NotBack(port, why, see) => write!(
                f,
                "Barnacle is gone and OpenClaw's unit is as it was, but OpenClaw does not listen on port {port}: {why}. \
                 See why: {see}"
            ),
        }
    }
}

impl std::error::Error for Trouble {}
