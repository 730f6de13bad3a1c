//! Why the service is not installed, removed or started.

use super::{Name, Scope, Unreachable, systemd::Refused};
use std::{fmt, io, path::PathBuf};

/// Why the service was not installed, removed or started.
#[derive(Debug)]
pub enum Failed {
    /// OpenClaw's unit is in use.
    OpenClaw(String),
    /// OpenClaw's unit is that of another systemd than the one that is asked.
    OpenClawElsewhere(String, Scope),
    /// A gateway runs on the same state that is not this service.
    ByHand(u32, PathBuf),
    /// The file was not written by Barnacle.
    NotOurs(PathBuf),
    /// The service belongs to another state directory.
    OtherState(PathBuf, String),
    NotInstalled(Name),
    /// The service stands in front of this unit of OpenClaw's, which nobody would find without it.
    InFront(String),
    Unreachable(Unreachable),
    /// The file cannot be written.
    Io(PathBuf, io::Error),
    Systemd(String, Refused),
    /// The service does not start: its exit code, and how to see why.
    NotStarted(Option<u8>, String),
}

impl Failed {
    /// The exit code of the command.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotStarted(Some(78), _) => 78,
            _ => 1,
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OpenClaw(unit) => write!(
                f,
                "{unit} is in use, with the same port. To take its place (it is kept, and restored by barnacle gateway \
                 uninstall --restore-openclaw): barnacle gateway install --replace-openclaw. To keep both, it behind \
                 Barnacle: barnacle gateway install --in-front-of-openclaw. To run beside it: OPENCLAW_PROFILE=<name> barnacle gateway install"
            ),
            Self::OpenClawElsewhere(unit, scope) => write!(
                f,
                "{unit} is in use, with the same port. It belongs to another systemd than this service, so \
                 stop it first: {} disable --now {unit}",
                scope.systemctl()
            ),
            Self::ByHand(pid, dir) => write!(
                f,
                "process {pid} runs a gateway on {}, started by hand. Stop it first (kill {pid}), then again",
                dir.display()
            ),
            Self::NotOurs(path) => {
                write!(
                    f,
                    "{0} was not written by Barnacle; to have it replaced: mv {0} {0}.old",
                    path.display()
                )
            }
            Self::OtherState(path, state) => write!(
                f,
                "{} is the service of another gateway ({state}). Give this one a name of its own: \
                 OPENCLAW_PROFILE=<name> barnacle gateway install",
                path.display()
            ),
            Self::InFront(unit) => write!(
                f,
                "it stands in front of {unit}, which has another port for that and would be found by nobody; to remove it \
                 and give {unit} its port back: barnacle gateway uninstall --restore-openclaw"
            ),
            Self::NotInstalled(name) => write!(
                f,
                "no service of Barnacle is installed ({} is not there): barnacle gateway install",
                name.file(&name.service()).display()
            ),
            Self::Unreachable(e) => e.fmt(f),
            Self::Io(path, e) => write!(f, "{}: {e}", path.display()),
            Self::Systemd(what, e) => write!(f, "systemctl {what}: {e}"),
            Self::NotStarted(code, see) => {
                f.write_str("the gateway does not start")?;
                code.iter().try_for_each(|code| write!(f, " (exit code {code})"))?;
                write!(f, "; see why: {see}")
            }
        }
    }
}

impl std::error::Error for Failed {}
