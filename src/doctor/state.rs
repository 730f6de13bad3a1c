//! Checks of the state directory and of the token store.

use super::{Facts, Finding};
use crate::{
    clock::timestamp,
    host::Disk,
    store::{Notice, OpenError},
};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

/// Reports a store that cannot be opened, was damaged, or will not survive a reboot.
pub fn store(facts: &Facts) -> Vec<Finding> {
    let locked_out = "no gateway starts on it, and nothing was changed";
    match &facts.store {
        Err(e @ OpenError::Newer(..)) => {
            vec![Finding::error(e.to_string(), locked_out, "install the version of Barnacle that wrote it")]
        }
        Err(e @ OpenError::Unreadable(path, _)) => {
            let dir = path.parent().unwrap_or(path).display();
            vec![Finding::error(e.to_string(), locked_out, format!("sudo chown -R $(id -u):$(id -g) {dir}"))]
        }
        Err(e @ OpenError::KeyDamaged(..)) => {
            let fix = "sudo systemctl edit barnacle, and correct LoadCredential=barnacle-key:";
            vec![Finding::error(e.to_string(), locked_out, fix)]
        }
        Err(e) => {
            let dir = facts.paths.barnacle_dir.display();
            let fix = format!(
                "restore it from a backup; or start without devices: mkdir -p {dir}/damaged && mv {dir}/tokens.bin* {dir}/damaged/"
            );
            vec![Finding::error(e.to_string(), locked_out, fix)]
        }
        Ok((_, notices)) => notices.iter().map(notice).collect(),
    }
}

fn notice(notice: &Notice) -> Finding {
    match notice {
        Notice::Previous(path, why) => Finding::error(
            format!("{}: {why}; the previous one is intact", path.display()),
            "a gateway continues with that: the last pairing, rotation or revocation is lost",
            "barnacle devices list, and repeat what is missing there",
        ),
        Notice::ReadOnly(why) => {
            let (what, fix) = why.split_once("; ").unwrap_or((why, "make it writable"));
            let fix = fix.split_once(": ").map_or(fix, |(_, command)| command);
            Finding::error(what, "paired devices are served, and no new device can be paired", fix)
        }
        Notice::Volatile(path, kind) => Finding::error(
            format!("{} is on {kind}", path.display()),
            "pairings and the first token do not survive a reboot",
            "OPENCLAW_STATE_DIR=<a directory on a disk> barnacle gateway install",
        ),
        Notice::KeyDamaged(path, why, _) => Finding::error(
            format!("the key {} {why}", path.display()),
            "a gateway sets it aside and makes a new one; devices are admitted by their own keys and get new tokens",
            "restore it from a backup, if there is one; or start the gateway",
        ),
        Notice::LockWasLink(path) => Finding::error(
            format!("{} is a link", path.display()),
            "a gateway that starts removes it: no link is followed there",
            format!("ls -l {}", path.display()),
        ),
        Notice::KeyLost(path) | Notice::KeyPassing(path) => Finding::warning(
            format!("{} is gone", path.display()),
            "a gateway makes a new one; devices are admitted by their own keys and get new tokens",
            "restore it from a backup, if there is one",
        ),
    }
}

/// Reports files that other accounts can read or that belong to another account.
pub fn permissions(facts: &Facts) -> Vec<Finding> {
    let dir = &facts.paths.barnacle_dir;
    let Ok(own) = fs::metadata(dir) else { return Vec::new() };
    let names = [
        "tokens.bin",
        "tokens.bin.prev",
        "key",
        "cli.key",
        "barnacle.json",
        "barnacle.json.last",
        "openclaw.json.last",
        "upstream-tokens.json",
        "upstream-hello.json",
        "lock",
    ];
    let files = names.iter().map(|name| (dir.join(name), 0o600));
    let mut found = Vec::new();
    for (path, wanted) in [(dir.clone(), 0o700)].into_iter().chain(files) {
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        let (mode, shown) = (meta.permissions().mode() & 0o777, path.display().to_string());
        if meta.uid() != own.uid() {
            let fix = format!("sudo chown {}:{} {shown}", own.uid(), own.gid());
            let what = format!("{shown} belongs to uid {}, its directory to uid {}", meta.uid(), own.uid());
            found.push(Finding::error(what, "as after sudo: the gateway may be unable to read it", fix));
        }
        if mode & 0o077 != 0 && !meta.file_type().is_symlink() {
            let what = format!("{shown} is open to other accounts (mode {mode:04o})");
            let fix = format!("chmod {wanted:o} {shown}");
            let finding = Finding::error(
                what,
                "it lists the paired devices, or holds a token or what tokens are derived from",
                fix,
            );
            found.push(finding.repaired_by(move || {
                fs::set_permissions(&path, fs::Permissions::from_mode(wanted))?;
                Ok(format!("{} is mode {wanted:04o} now", path.display()))
            }));
        }
    }
    found
}

/// Reports directories in which another account could replace what the gateway reads, or that belong to one: H14.
pub fn directories(facts: &Facts) -> Vec<Finding> {
    let paths = &facts.paths;
    let own = match rustix::process::geteuid() {
        // Of who called sudo, or whose home it is.
        root if root.is_root() => fs::metadata(&paths.os_home).map_or(0, |home| home.uid()),
        uid => uid.as_raw(),
    };
    let mut dirs = vec![paths.state_dir.clone(), paths.barnacle_dir.clone()];
    dirs.extend(paths.config_file.parent().map(Path::to_path_buf));
    dirs.sort();
    dirs.dedup();
    let mut found = Vec::new();
    for dir in dirs {
        let Ok(meta) = fs::metadata(&dir) else { continue };
        let (mode, shown) = (meta.permissions().mode() & 0o7777, dir.display().to_string());
        if meta.uid() != own && meta.uid() != 0 {
            let what =
                format!("{shown} belongs to uid {}, and the gateway's account is uid {own}", meta.uid());
            let why = "that account can replace what the gateway reads there, and take it over";
            found.push(Finding::error(what, why, format!("sudo chown -R {own} {shown}")));
        }
        // The modes of the gateway's own directory are checked with its files.
        if mode & 0o022 != 0 && dir != paths.barnacle_dir {
            let what = format!("{shown} can be written by other accounts (mode {mode:04o})");
            let why = "they can replace openclaw.json, and take the gateway over";
            let finding = Finding::error(what, why, format!("chmod go-w {shown}"));
            found.push(finding.repaired_by(move || {
                fs::set_permissions(&dir, fs::Permissions::from_mode(mode & !0o022))?;
                Ok(format!("{} is mode {:04o} now", dir.display(), mode & !0o022))
            }));
        }
    }
    found
}

/// Reports a disk that is full, or nearly.
pub fn disk(facts: &Facts) -> Vec<Finding> {
    /// Less than this, bytes, and the next change may fail: a store of 10,000 devices with its copies.
    const LITTLE: u64 = 16 << 20;
    let dir = &facts.paths.barnacle_dir;
    let there = dir.ancestors().find(|d| d.exists()).unwrap_or(Path::new("/"));
    let Some(Disk { free, no_inodes, .. }) = Disk::of(there) else { return Vec::new() };
    if free >= LITTLE && !no_inodes {
        return Vec::new();
    }
    let left = if no_inodes { "no inode".into() } else { format!("{} KiB", free / 1024) };
    let why = "pairings, rotations and edits fail when it is full; paired devices are still served";
    let fix = format!("free some space there: df -h {0}; du -xh {0} | sort -h | tail", there.display());
    vec![Finding::error(format!("{left} left on the disk of {}", dir.display()), why, fix)]
}

/// Reports devices that have not used their current token.
pub fn stale_tokens(facts: &Facts) -> Vec<Finding> {
    let Ok((registry, _)) = &facts.store else { return Vec::new() };
    let mut found = Vec::new();
    for device in registry.devices() {
        let id = device.key.device_id();
        for grant in &device.grants {
            let role = grant.role.as_str();
            let why = "it is admitted by its key and gets the new token; without that proof, the old token is valid for a day after \
                       the rotation";
            let fix =
                format!("have it connect; or barnacle devices rotate {id} --role {role}, to see the new one");
            if let (Some(ms), Some(at)) = (grant.grace_ms, grant.rotated_ms) {
                let hours = ms / 3_600_000;
                let what = format!(
                    "device {id} ({role}) has not used the token made {}; the previous one is valid for {hours} h more",
                    timestamp(at)
                );
                found.push(Finding::warning(what, why, fix));
            } else if grant.imported.is_some() {
                let what = format!("device {id} ({role}) still holds the token that OpenClaw gave it");
                found.push(Finding::warning(
                    what,
                    "it is valid until the device has connected once",
                    "nothing needs to be done",
                ));
            }
        }
    }
    found
}
