//! Checks of the state directory and of the token store.

use super::{Facts, Finding};
use crate::{
    clock::timestamp,
    store::{Notice, OpenError},
};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

/// The store cannot be opened, or was damaged, or will not last.
pub fn store(facts: &Facts) -> Vec<Finding> {
    let locked_out = "no gateway starts on it, and nothing was changed";
    match &facts.store {
        Err(e @ OpenError::Newer(..)) => {
            vec![Finding::fault(e.to_string(), locked_out, "install the version of Barnacle that wrote it")]
        }
        Err(e @ OpenError::Unreadable(path, _)) => {
            let dir = path.parent().unwrap_or(path).display();
            vec![Finding::fault(e.to_string(), locked_out, format!("sudo chown -R $(id -u):$(id -g) {dir}"))]
        }
        Err(e @ OpenError::KeyDamaged(..)) => {
            let fix = "sudo systemctl edit barnacle, and correct LoadCredential=barnacle-key:";
            vec![Finding::fault(e.to_string(), locked_out, fix)]
        }
        Err(e) => {
            let dir = facts.paths.barnacle_dir.display();
            let mend = format!(
                "restore it from a backup; or begin without devices: mkdir -p {dir}/damaged && mv {dir}/tokens.bin* {dir}/damaged/"
            );
            vec![Finding::fault(e.to_string(), locked_out, mend)]
        }
        Ok((_, notices)) => notices.iter().map(notice).collect(),
    }
}

fn notice(notice: &Notice) -> Finding {
    match notice {
        Notice::Previous(path, why) => Finding::fault(
            format!("{}: {why}; the one before it is whole", path.display()),
            "a gateway goes on with that: the last change of a pairing, rotation or revocation is lost",
            "barnacle devices list, and do again what is missing there",
        ),
        Notice::ReadOnly(why) => {
            let (what, mend) = why.split_once("; ").unwrap_or((why, "make it writable"));
            let mend = mend.split_once(": ").map_or(mend, |(_, command)| command);
            Finding::fault(what, "paired devices are served, and no new one can be paired", mend)
        }
        Notice::Volatile(path, kind) => Finding::fault(
            format!("{} is on {kind}", path.display()),
            "pairings and the first token do not survive a reboot",
            "OPENCLAW_STATE_DIR=<a directory on a disk> barnacle gateway install",
        ),
        Notice::KeyDamaged(path, why, _) => Finding::fault(
            format!("the key {} {why}", path.display()),
            "a gateway sets it aside and makes a new one; devices get in by their own keys and are handed new tokens",
            "restore it from a backup, if there is one; or start the gateway",
        ),
        Notice::LockWasLink(path) => Finding::fault(
            format!("{} is a link", path.display()),
            "a gateway that starts removes it: no link is followed there",
            format!("ls -l {}", path.display()),
        ),
        Notice::KeyLost(path) | Notice::KeyPassing(path) => Finding::note(
            format!("{} is gone", path.display()),
            "a gateway makes a new one; devices get in by their own keys and are handed new tokens",
            "restore it from a backup, if there is one",
        ),
    }
}

/// Files that others may read, or that are another's.
pub fn permissions(facts: &Facts) -> Vec<Finding> {
    let dir = &facts.paths.barnacle_dir;
    let Ok(own) = fs::metadata(dir) else { return Vec::new() };
    let names = ["tokens.bin", "tokens.bin.prev", "key", "cli.key", "openclaw.json.last", "lock"];
    let files = names.iter().map(|name| (dir.join(name), 0o600));
    let mut found = Vec::new();
    for (path, wanted) in [(dir.clone(), 0o700)].into_iter().chain(files) {
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        let (mode, shown) = (meta.permissions().mode() & 0o777, path.display().to_string());
        if meta.uid() != own.uid() {
            let mend = format!("sudo chown {}:{} {shown}", own.uid(), own.gid());
            let what = format!("{shown} belongs to uid {}, its directory to uid {}", meta.uid(), own.uid());
            found.push(Finding::fault(what, "as after sudo: the gateway may not be able to read it", mend));
        }
        if mode & 0o077 != 0 && !meta.file_type().is_symlink() {
            let what = format!("{shown} is open to other accounts (mode {mode:04o})");
            let mend = format!("chmod {wanted:o} {shown}");
            let fault = Finding::fault(what, "it says who is paired, or holds what tokens are made of", mend);
            found.push(fault.fixed_by(move || {
                fs::set_permissions(&path, fs::Permissions::from_mode(wanted))?;
                Ok(format!("{} is mode {wanted:04o} now", path.display()))
            }));
        }
    }
    found
}

/// A disk that is full, or nearly.
pub fn disk(facts: &Facts) -> Vec<Finding> {
    /// Less than this, bytes, and the next change may fail: a store of 10,000 devices with its copies.
    const LITTLE: u64 = 16 << 20;
    let dir = &facts.paths.barnacle_dir;
    let there = dir.ancestors().find(|d| d.exists()).unwrap_or(Path::new("/"));
    let Ok(disk) = rustix::fs::statvfs(there) else { return Vec::new() };
    let free = disk.f_bavail * disk.f_frsize;
    let no_names = disk.f_files > 0 && disk.f_favail == 0;
    if free >= LITTLE && !no_names {
        return Vec::new();
    }
    let left = if no_names { "no inode".into() } else { format!("{} KiB", free / 1024) };
    let why = "pairings, rotations and edits fail when it is full; what is paired is served all the same";
    let mend = format!("free some space there: df -h {0}; du -xh {0} | sort -h | tail", there.display());
    vec![Finding::fault(format!("{left} left on the disk of {}", dir.display()), why, mend)]
}

/// Devices that have not taken up the token that is theirs.
pub fn stale_tokens(facts: &Facts) -> Vec<Finding> {
    let Ok((registry, _)) = &facts.store else { return Vec::new() };
    let mut found = Vec::new();
    for device in registry.devices() {
        let id = device.key.device_id();
        for grant in &device.grants {
            let role = grant.role.as_str();
            let why = "it is let in by its key, and handed the new token; where it shows neither, the old one counts \
                       a day longer and then no more";
            let mend =
                format!("have it connect; or barnacle devices rotate {id} --role {role}, to see the new one");
            if let (Some(ms), Some(at)) = (grant.grace_ms, grant.rotated_ms) {
                let hours = ms / 3_600_000;
                let what = format!(
                    "device {id} ({role}) has not used the token made {}; the one before it counts for {hours} h more",
                    timestamp(at)
                );
                found.push(Finding::note(what, why, mend));
            } else if grant.imported.is_some() {
                let what = format!("device {id} ({role}) still holds the token that OpenClaw gave it");
                found.push(Finding::note(
                    what,
                    "it counts until the device has connected once",
                    "nothing needs to be done",
                ));
            }
        }
    }
    found
}
