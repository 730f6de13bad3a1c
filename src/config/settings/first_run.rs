//! The first token: generated where no credential is configured, and written to the config file.
//!
//! Only into a file that is not there, or that was read whole and says nothing of a token.

use super::load::{FileState, decode};
use crate::{
    config::{
        Credential, Env, Paths, Refused, Secret,
        change::{
            diff::KeyPath,
            merge,
            write::{WriteOptions, WriteTarget, write},
        },
        text::node::{Node, Value},
    },
    protocol::base64url_encode,
};
use std::fmt;
use std::path::PathBuf;

/// Why the token could not be stored. Nothing was changed then.
#[derive(Debug)]
pub enum NotStored {
    /// The file is not to be written, or cannot be.
    Refused(Refused),
    /// There is one already, and it cannot be known what it is.
    Unresolved(PathBuf),
    /// The kernel has no randomness to give.
    Random(getrandom::Error),
}

impl fmt::Display for NotStored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no shared token was made: ")?;
        match self {
            Self::Refused(refused) => refused.fmt(f),
            Self::Unresolved(path) => write!(f, "gateway.auth.token in {} names one", path.display()),
            Self::Random(e) => write!(f, "the kernel gave no random bytes ({e})"),
        }
    }
}

impl std::error::Error for NotStored {}

/// Reasons to end the write early.
enum Stop {
    NotStored(NotStored),
    /// Another writer set a token since the file was last read: that one counts.
    Theirs(Secret),
}

impl From<Refused> for Stop {
    fn from(refused: Refused) -> Self {
        Self::NotStored(NotStored::Refused(refused))
    }
}

/// Makes a random token of 32 bytes and stores it in the config file, durably, readable by its owner
/// only.
///
/// # Errors
/// [`NotStored`], with the file as it was.
pub fn make_token(paths: &Paths, env: &Env) -> Result<Secret, NotStored> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(NotStored::Random)?;
    let token = base64url_encode(&bytes);
    let options = WriteOptions { private: true, ..WriteOptions::default() };
    let written = write(paths, env, options, |present| {
        let now = decode(present.source.clone(), paths, env, FileState::Whole, Vec::new());
        match now.config.auth.token {
            Credential::Absent => {}
            Credential::Given(theirs) => return Err(Stop::Theirs(theirs)),
            Credential::Unresolved { .. } => {
                return Err(Stop::NotStored(NotStored::Unresolved(paths.config_file.clone())));
            }
        }
        let mut sum = present.source.root.clone();
        // A `null` on the way says nothing either.
        for path in ["gateway", "gateway.auth"].map(KeyPath::dotted) {
            if merge::at(&sum, &path).is_some_and(|node| matches!(node.value, Value::Null)) {
                sum = merge::with(&sum, &path, Some(Node::empty())).map_err(Refused::from)?;
            }
        }
        let set = |sum: &Node, path, text: &str| {
            merge::with(sum, &KeyPath::dotted(path), Some(Node::of_text(text))).map_err(Refused::from)
        };
        if !present.exists {
            sum = set(&sum, "gateway.mode", "local")?;
            sum = set(&sum, "gateway.auth.mode", "token")?;
        }
        Ok(WriteTarget::Sum(set(&sum, "gateway.auth.token", &token)?))
    });
    match written {
        Ok(written) => match written.now.config.auth.token {
            Credential::Given(secret) => Ok(secret),
            _ => Err(NotStored::Unresolved(paths.config_file.clone())),
        },
        Err(Stop::Theirs(secret)) => Ok(secret),
        Err(Stop::NotStored(why)) => Err(why),
    }
}
