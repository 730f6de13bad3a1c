//! Moves a key of Barnacle's own from `openclaw.json` to its own file.
//!
//! It is written there first, and removed here once that is on disk: at no moment is it in neither.

use super::write::write_own;
use crate::config::{
    Env, KeyPath, Paths, Refused,
    change::{
        merge,
        write::{WriteOptions, WriteTarget, write},
    },
    text::node::Node,
};

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
    let added = write_own(paths, env, false, |root| match merge::at(root, &own) {
        Some(_) => Ok(root.clone()),
        None => merge::with(root, &own, Some(value.clone())),
    })?;
    let written = added.file.is_some();
    let from = remove(WriteOptions { dry: false, ..dry }, &mut None)?;
    let from = from.file.unwrap_or_else(|| paths.config_file.clone());
    let (from, to) = (from.display(), paths.own_file());
    Ok(match written {
        true => format!("{theirs} of {from} is {own} in {} now", to.display()),
        false => format!("removed {theirs} from {from}: {own} in {} counts", to.display()),
    })
}
