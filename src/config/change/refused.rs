//! Errors of a write of the configuration.

use super::{diff::KeyPath, merge::MergeError, owner::OwnershipError};
use crate::config::{
    model::tree::ConfigError,
    text::{file::Invalid, source::ReadError},
};
use std::path::PathBuf;
use std::{fmt, io};

/// Reasons why a write was refused.
#[derive(Debug)]
pub enum Refused {
    /// The file is declared to be managed by another program.
    ManagedElsewhere(PathBuf),
    /// The file's mode allows nobody to write.
    ReadOnly {
        /// Path of the file.
        path: PathBuf,
        /// Permission bits of the file.
        mode: u32,
    },
    /// The file belongs to another account.
    Anothers {
        /// Path of the file.
        path: PathBuf,
        /// User id of the owner.
        owner: u32,
        /// User id of this process.
        us: u32,
    },
    /// The file, or one that it includes, cannot be read.
    Broken(ReadError),
    /// The file is not UTF-8, so it could not be written back unchanged.
    NotText(PathBuf),
    /// A key that belongs into Barnacle's own file, at the second path.
    Own(KeyPath, PathBuf),
    /// The file differs from what the caller last saw.
    Changed,
    /// The caller does not say what it last saw.
    NoBase,
    /// The given text is no JSON5 object.
    BadText(Invalid),
    /// The change cannot be merged into the file.
    Merge(MergeError),
    /// No file is ours to write it to.
    Ownership(OwnershipError),
    /// Keys would make no sense.
    Invalid(Vec<ConfigError>),
    /// The write would drop so much that it looks like an accident.
    Clobber {
        /// Path of the file.
        path: PathBuf,
        /// What would be lost, in OpenClaw's term.
        why: &'static str,
    },
    /// The text has no place for the change.
    NoPlace(PathBuf),
    /// Another writer does not let go.
    Busy(PathBuf),
    /// Writing the file failed.
    Io(PathBuf, io::Error),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ManagedElsewhere(path) => write!(
                f,
                "{} is managed elsewhere (OPENCLAW_CONFIG_READONLY or OPENCLAW_NIX_MODE is 1); change it there",
                path.display()
            ),
            Self::ReadOnly { path, mode } => {
                write!(f, "{0} is read-only (mode {mode:04o}); to allow it: chmod u+w {0}", path.display())
            }
            Self::Anothers { path, owner, us } => write!(
                f,
                "{0} belongs to uid {owner} and this is uid {us}; to allow it: sudo chown {us} {0}",
                path.display()
            ),
            Self::Broken(broken) => write!(f, "nothing is written to a file that cannot be read: {broken}"),
            Self::NotText(path) => {
                write!(f, "{} is not UTF-8, so it is not written; convert it first", path.display())
            }
            Self::Own(key, file) => write!(
                f,
                "{key} is a key of Barnacle's own file, {}, and OpenClaw refuses an openclaw.json that has it; on the \
                 gateway's host: barnacle config set {key} <value>",
                file.display()
            ),
            // The words are OpenClaw's, known to its clients.
            Self::Changed => f.write_str("config changed since last load; re-run config.get and retry"),
            Self::NoBase => f.write_str("config base hash required; re-run config.get and retry"),
            Self::BadText(Invalid { line, column, message, .. }) => {
                write!(f, "SyntaxError: JSON5: {message} at {line}:{column}")
            }
            Self::Merge(e) => e.fmt(f),
            Self::Ownership(e) => e.fmt(f),
            Self::Invalid(errors) => {
                f.write_str("invalid config: ")?;
                for (n, ConfigError { path, found, expected, .. }) in errors.iter().enumerate() {
                    write!(f, "{}{path}: is {found}, must be {expected}", if n > 0 { "; " } else { "" })?;
                }
                Ok(())
            }
            Self::Clobber { path, why } => {
                write!(f, "Config write rejected: {} ({why}); nothing was written", path.display())
            }
            Self::NoPlace(path) => write!(f, "{} has no place for it; edit it by hand", path.display()),
            Self::Busy(path) => write!(f, "another writer holds {}; try again", path.display()),
            Self::Io(path, e) => write!(f, "{} cannot be written ({e}); nothing has changed", path.display()),
        }
    }
}

impl std::error::Error for Refused {}

impl From<MergeError> for Refused {
    fn from(e: MergeError) -> Self {
        Self::Merge(e)
    }
}
