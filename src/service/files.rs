//! The files of the units. No file of others is overwritten; one that was changed by hand is kept beside the new one,
//! without the secrets that may stand in it, for its owner only.

use super::{Failed, Installed, Plan, unit};
use crate::store::atomic;
use std::{
    io,
    os::unix::fs::{DirBuilderExt, chown, symlink},
    path::Path,
};

/// Options that say where the gateway listens, and what is behind it.
pub(super) const PLACE: [&str; 3] = ["--port=", "--bind=", "--upstream="];

/// Reads a unit that Barnacle wrote; `None` where there is none.
pub(super) fn read_ours(path: &Path) -> Result<Option<String>, Failed> {
    match std::fs::read_to_string(path) {
        Ok(text) if text.starts_with(unit::MARK) => Ok(Some(text)),
        Ok(_) => Err(Failed::NotOurs(path.into())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Failed::Io(path.into(), e)),
    }
}

/// Creates the directories that the unit names: they must exist before it starts.
pub(super) fn make_directories(plan: &Plan) -> Result<(), Failed> {
    for dir in plan.writes.iter().filter(|dir| !dir.exists()) {
        let missing: Vec<_> = dir.ancestors().take_while(|d| !d.exists()).collect();
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        let owned = made.and_then(|()| {
            missing.iter().try_for_each(|d| chown(d, Some(plan.account.uid), Some(plan.account.gid)))
        });
        owned.map_err(|e| Failed::Io(dir.clone(), e))?;
    }
    Ok(())
}

/// Writes a unit; returns whether its text changed.
pub(super) fn put(path: &Path, text: &str, done: &mut Installed) -> Result<bool, Failed> {
    let io = |e| Failed::Io(path.into(), e);
    let before = std::fs::read_to_string(path).unwrap_or_default();
    if before == text {
        return Ok(false);
    }
    // Of the command's options none is a hand's.
    if !before.is_empty() && without_place(&before) != without_place(text) {
        let kept = atomic::beside(path, ".bak");
        atomic::replace(&kept, without_secrets(&before).as_bytes(), 0o600).map_err(io)?;
        done.lines.push(format!("kept the previous one as {}", kept.display()));
    }
    path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(io)?;
    atomic::replace(path, text.as_bytes(), 0o644).map_err(io)?;
    done.lines.push(format!("wrote {}", path.display()));
    Ok(true)
}

/// The unit without those of its command.
fn without_place(text: &str) -> Vec<String> {
    let command = |line: &str| {
        let words = line.split_whitespace().filter(|word| !PLACE.iter().any(|name| word.starts_with(name)));
        words.collect::<Vec<_>>().join(" ")
    };
    text.lines()
        .map(|line| if line.starts_with("ExecStart=") { command(line) } else { line.into() })
        .collect()
}

/// Removes the values of variables and options that may be secrets from a unit's text.
fn without_secrets(text: &str) -> String {
    let sounds = |line: &str| {
        let line = line.to_ascii_uppercase();
        ["TOKEN", "PASSWORD", "SECRET", "_KEY", "CREDENTIAL"].iter().any(|word| line.contains(word))
    };
    let keep = |line: &str| match line.split_once('=') {
        Some((name, _)) if sounds(line) => format!("# {name}= left out: it may hold a secret\n"),
        _ => format!("{line}\n"),
    };
    text.replace("\\\n", " ").lines().map(keep).collect()
}

pub(super) fn remove(path: &Path) -> Result<(), Failed> {
    std::fs::remove_file(path).map_err(|e| Failed::Io(path.into(), e))
}

/// Enables a unit as `systemctl enable` does, where that cannot run.
pub(super) fn link(wants: &Path, unit: &Path) -> Result<(), Failed> {
    let at = unit.file_name().map(|name| wants.join(name)).unwrap_or_default();
    if at.is_symlink() {
        return Ok(());
    }
    let made = std::fs::create_dir_all(wants).and_then(|()| symlink(unit, &at));
    made.map_err(|e| Failed::Io(at, e))
}
