//! Moves a key of Barnacle's own from `openclaw.json` to its own file.
//!
//! It is written there first, and removed here once that is on disk: at no moment is it in neither.

use super::own_paths;
use crate::config::{
    Env, KeyPath, Paths, Refused,
    change::{
        durable::{self, Lock},
        merge,
        write::{WriteOptions, WriteTarget, check_open, write},
    },
    text::{
        edit::edited,
        file::{self, Document, Read},
        node::Node,
        source::ReadError,
    },
};
use std::{fs, io};

/// Moves the key at `path` of `openclaw.json`, one of those whose path there begins with `gateway`, to
/// Barnacle's own file; returns what it did. Waits for the disk.
///
/// # Errors
/// [`Refused`]; the key then counts as before.
pub fn move_key(paths: &Paths, env: &Env, path: &str) -> Result<String, Refused> {
    let (theirs, own) = (KeyPath::dotted(path), KeyPath::dotted(path.trim_start_matches("gateway.")));
    let dry = WriteOptions { may_shrink: true, dry: true, ..WriteOptions::default() };
    let remove = |options: WriteOptions, value: &mut Option<Node>| {
        write(paths, env, options, |present| {
            let root = &present.source.root;
            *value = merge::at(root, &theirs).cloned().filter(|_| present.exists);
            // Gone meanwhile, or the whole file is.
            if value.is_none() {
                return Err(Refused::Changed);
            }
            Ok(WriteTarget::Sum(merge::with(root, &theirs, None)?))
        })
    };
    let mut value = None;
    remove(dry, &mut value)?;
    let value = value.ok_or(Refused::Changed)?;
    let written = add(paths, &own, value)?;
    let from = remove(WriteOptions { dry: false, ..dry }, &mut None)?;
    let from = from.file.unwrap_or_else(|| paths.config_file.clone());
    let (from, to) = (from.display(), paths.own_file());
    Ok(match written {
        true => format!("{theirs} of {from} is {own} in {} now", to.display()),
        false => format!("removed {theirs} from {from}: {own} in {} counts", to.display()),
    })
}

/// Sets `path` in the file, unless it is there; whether it was set.
fn add(paths: &Paths, path: &KeyPath, value: Node) -> Result<bool, Refused> {
    let at = paths.own_file();
    let io = |e: io::Error| Refused::Io(at.clone(), e);
    let _lock = Lock::take(&at).map_err(|e| match e.kind() {
        io::ErrorKind::TimedOut => Refused::Busy(at.clone()),
        _ => io(e),
    })?;
    let (document, exists) = match file::read(&at) {
        Read::Text(document) => (document, true),
        Read::Missing => (Document::unwritten(&at, "{\n}\n"), false),
        Read::Unreadable(why) => return Err(Refused::Broken(ReadError::Unreadable(why))),
    };
    let parsed = document.parse().map(|root| Node::of(&root, 0));
    let root = parsed.map_err(|invalid| Refused::Broken(ReadError::Invalid(invalid)))?;
    if merge::at(&root, path).is_some() {
        return Ok(false);
    }
    let before = if exists {
        check_open(&document)?;
        Some(fs::read(&at).map_err(io)?)
    } else {
        None
    };
    // Who heeds no lock may have written meanwhile.
    if before.as_ref().is_some_and(|bytes| *bytes != document.bytes()) {
        return Err(Refused::Changed);
    }
    let wanted = merge::with(&root, path, Some(value))?;
    let text = edited(&document, &wanted).ok_or_else(|| Refused::NoPlace(at.clone()))?;
    let bytes = document.with_text(text).bytes();
    durable::replace(&at, before.as_deref(), &bytes, true, &own_paths(paths)).map_err(io)?;
    Ok(true)
}
