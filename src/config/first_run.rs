//! The first token: made where there is none anywhere, and put where it belongs, the config file.
//!
//! Only into a file that is not there, or that was read whole and says nothing of a token. Its
//! comments, its other keys and its line ends stay: it is the user's.

use super::file::{self, Document, Read, Unreadable};
use super::source::Broken;
use super::{Credential, Env, Paths, Secret, load};
use crate::protocol::base64url_encode;
use jsonc_parser::cst::{CstInputValue, CstRootNode};
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// Why the token could not be stored. Nothing was changed then.
#[derive(Debug)]
pub enum NotStored {
    /// Someone declared the file to be none of ours (`OPENCLAW_CONFIG_READONLY`, `OPENCLAW_NIX_MODE`).
    ManagedElsewhere(PathBuf),
    /// The file is marked read-only.
    ReadOnly(PathBuf),
    /// The file cannot be read.
    Unreadable(Unreadable),
    /// The file, or one that it includes, is not JSON5.
    Broken(Broken),
    /// The token would not be what the file says afterwards (its keys stand there twice, say).
    NoPlace(PathBuf),
    /// Writing failed.
    Io(PathBuf, io::Error),
    /// The kernel has no randomness to give.
    Random(getrandom::Error),
}

impl fmt::Display for NotStored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no shared token was made: ")?;
        match self {
            Self::ManagedElsewhere(path) => {
                write!(f, "{} is managed elsewhere; set gateway.auth.token there", path.display())
            }
            Self::ReadOnly(path) => write!(f, "{0} is read-only; `chmod u+w {0}`", path.display()),
            Self::Unreadable(fault) => fault.fmt(f),
            Self::Broken(fault) => fault.fmt(f),
            Self::NoPlace(path) => {
                write!(f, "{} cannot take it; set gateway.auth.token there by hand", path.display())
            }
            Self::Io(path, e) => write!(f, "{} cannot be written ({e})", path.display()),
            Self::Random(e) => write!(f, "the kernel gave no random bytes ({e})"),
        }
    }
}

impl std::error::Error for NotStored {}

/// Makes a random token of 32 bytes and stores it in the config file, durably, readable by its owner
/// only.
///
/// # Errors
/// [`NotStored`], with the file as it was.
pub fn make_token(paths: &Paths, env: &Env) -> Result<Secret, NotStored> {
    let path = &paths.config_file;
    if ["OPENCLAW_CONFIG_READONLY", "OPENCLAW_NIX_MODE"].iter().any(|n| env.get(n) == Some("1")) {
        return Err(NotStored::ManagedElsewhere(path.clone()));
    }
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(NotStored::Random)?;
    let token = base64url_encode(&bytes);
    let after = match file::read(path) {
        Read::Missing => fresh(&token),
        Read::Unreadable(fault) => return Err(NotStored::Unreadable(fault)),
        Read::Text(source) => {
            // Someone may have been quicker since the file was last read.
            let now = load::would_be(source.clone(), paths, env).map_err(NotStored::Broken)?;
            let set = now.config.auth.token;
            match set {
                Credential::Absent => {}
                Credential::Given(secret) => return Ok(secret),
                Credential::Unresolved { .. } => return Err(NotStored::NoPlace(path.clone())),
            }
            let after = insert(&source, &token).ok_or_else(|| NotStored::NoPlace(path.clone()))?;
            let bom = if source.bom { "\u{feff}" } else { "" };
            format!("{bom}{after}")
        }
    };
    let now = Document::unwritten(path, after.trim_start_matches('\u{feff}'));
    let stored = load::would_be(now, paths, env).ok().and_then(|l| l.config.auth.token.given().cloned());
    let stored = stored.ok_or_else(|| NotStored::NoPlace(path.clone()))?;
    // A link stays a link: the file it leads to is the one that changes.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
    if fs::metadata(&target).is_ok_and(|m| m.permissions().readonly()) {
        return Err(NotStored::ReadOnly(target));
    }
    replace(&target, after.as_bytes()).map_err(|e| NotStored::Io(target, e))?;
    Ok(stored)
}

fn fresh(token: &str) -> String {
    format!(
        "{{\n  \"gateway\": {{\n    \"mode\": \"local\",\n    \"auth\": {{\n      \"mode\": \"token\",\n      \
         \"token\": \"{token}\"\n    }}\n  }}\n}}\n"
    )
}

/// The text with `gateway.auth.token` set. `None` where the tree has no place for it.
fn insert(document: &Document, token: &str) -> Option<String> {
    let root = CstRootNode::parse(&document.text, &file::options()).ok().filter(|_| document.exact)?;
    let auth = root.object_value()?.object_value_or_set("gateway").object_value_or_set("auth");
    let value = CstInputValue::String(token.to_owned());
    match auth.get("token") {
        Some(blank) => blank.set_value(value),
        None => _ = auth.append("token", value),
    }
    Some(root.to_string())
}

/// Replaces a file whole or not at all.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temp = dir.join(name);
    let written = write_new(&temp, path, bytes).and_then(|()| fs::rename(&temp, path));
    if written.is_err() {
        _ = fs::remove_file(&temp);
        return written;
    }
    File::open(dir)?.sync_all()
}

fn write_new(temp: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    _ = fs::remove_file(temp);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temp)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    if let Ok(old) = fs::metadata(path) {
        // `sudo barnacle` must not take the file from its owner.
        fchown(&file, Some(old.uid()), Some(old.gid()))?;
    }
    file.write_all(bytes)?;
    file.sync_all()
}
