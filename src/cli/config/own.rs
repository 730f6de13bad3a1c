//! `barnacle config set` and `unset` of a key of Barnacle's own file.

use super::set::PATIENCE;
use crate::{
    cli::{Failure, print},
    config::{
        Env, KeyPath, Paths, Refused,
        change::{diff::diff, merge::MergeError, plan::Plan},
        keys::own::{OWN, is_moved},
        own::write::{OwnWritten, is_own, is_taken, write_own},
        text::node::Node,
    },
    store::lock_holder,
};
use std::time::{Duration, Instant};

/// The path in Barnacle's own file of the key at `path`, if it is one; also by the path that an earlier version read it
/// at in `openclaw.json`.
pub(super) fn path(path: &KeyPath) -> Option<KeyPath> {
    match is_moved(&path.to_string()) {
        true => Some(KeyPath(path.0[1..].to_vec())),
        false => is_own(path).then(|| path.clone()),
    }
}

/// A change that was made, or would be.
pub(super) struct Change {
    done: String,
    paths: Paths,
    written: OwnWritten,
    dry: bool,
}

/// Applies the change to the file.
pub(super) fn change(
    (paths, env): &(Paths, Env),
    dry: bool,
    done: &str,
    path: &KeyPath,
    to: impl Fn(&Node) -> Result<Node, MergeError>,
) -> Result<Change, Refused> {
    let written = write_own(paths, env, dry, to)?;
    Ok(Change { done: format!("{done} {path}"), paths: paths.clone(), written, dry })
}

/// Prints what was done, once the gateway that runs on this state has applied it or clearly has not.
pub(super) fn report(change: Change) -> Result<(), Failure> {
    let Change { done, paths, written, dry } = change;
    let OwnWritten { file, backup, before, now } = written;
    let mut plan = Plan::default();
    plan.add(OWN, diff(&before, &now));
    if plan.changes.is_empty() {
        return print("No change\n");
    }
    if dry {
        let path = done.split(' ').nth(1).unwrap_or_default();
        return print(&format!("Dry run: {path} would change; applied: {}.\n", plan.done()));
    }
    let hint = match lock_holder(&paths.barnacle_dir) {
        None => "No gateway runs on it: it counts from the next start.".into(),
        Some(pid) if !waits_until_taken(&paths, &now) => format!(
            "The gateway that runs (process {pid}) has not taken it within {} s: barnacle logs says why.",
            PATIENCE.as_secs()
        ),
        Some(_) => format!("Applied without restarting the gateway: {}.", plan.done()),
    };
    let kept = backup.map(|b| format!(" What was before is in {}.", b.display())).unwrap_or_default();
    let file = file.unwrap_or_else(|| paths.own_file());
    print(&format!("{done}. {hint}\nWritten to {}.{kept}\n", file.display()))
}

fn waits_until_taken(paths: &Paths, now: &Node) -> bool {
    let end = Instant::now() + PATIENCE;
    while !is_taken(paths, now) {
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}
