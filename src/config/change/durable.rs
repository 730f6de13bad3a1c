//! How a configuration file is replaced: whole or not at all, with the bytes before it kept.
//!
//! Unlike the store's files this one is the user's. It keeps its link, its mode and its owner; where a
//! new file cannot take its place (it is a mount, its directory is not writable, its owner could not be
//! kept) it is written over in place, its bytes having been put aside first.

use crate::{
    config::Paths,
    store::atomic::{beside, make_directory, sync_directory},
};
use rustix::fs::{Access, AtFlags, CWD, FallocateFlags, FlockOperation, accessat, fallocate, flock};
use rustix::io::Errno;
use rustix::process::geteuid;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Number of former contents that are kept.
const BACKUPS: u32 = 5;
/// Time to wait for other writers.
const PATIENCE: Duration = Duration::from_secs(20);

/// Held while the configuration is changed; let go of when dropped.
pub struct Lock {
    _directory: File,
}

impl Lock {
    /// Waits until no other writer of ours is at the configuration whose root file is `config_file`. The
    /// lock is on its directory, so that nothing is left behind; OpenClaw's own writers have none.
    ///
    /// # Errors
    /// The system's; `TimedOut` where another holds it for too long.
    pub fn take(config_file: &Path) -> io::Result<Self> {
        let real = fs::canonicalize(config_file).unwrap_or_else(|_| config_file.into());
        let directory = real.parent().ok_or(io::ErrorKind::InvalidInput)?;
        make_directory(directory)?;
        let directory = File::open(directory)?;
        let end = Instant::now() + PATIENCE;
        loop {
            match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) if Instant::now() < end => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(Errno::WOULDBLOCK) => return Err(io::ErrorKind::TimedOut.into()),
                // Network and FAT file systems may have no locks; the comparison before the write remains.
                _ => return Ok(Self { _directory: directory }),
            }
        }
    }
}

/// Why a file that is there may not be written.
pub enum NotWritable {
    /// The file's mode allows nobody to write; its permission bits.
    ReadOnly(u32),
    /// The file belongs to another account, and this process lacks the permission to replace it.
    Anothers {
        /// User id of the owner.
        owner: u32,
        /// User id of this process.
        us: u32,
    },
}

/// Whether the file at `path` may be written: a rename would not ask.
pub fn closed(path: &Path, meta: &Metadata) -> Option<NotWritable> {
    let mode = meta.mode() & 0o7777;
    if mode & 0o222 == 0 {
        return Some(NotWritable::ReadOnly(mode));
    }
    let may = accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS);
    let not = matches!(may, Err(Errno::ACCESS | Errno::PERM));
    not.then(|| NotWritable::Anothers { owner: meta.uid(), us: geteuid().as_raw() })
}

/// Replaces the file at `path`, following links, by `bytes`; `before` is what it holds, `None` where
/// there is no file. With `private` only its owner may read it from then on. Returns where `before` was put.
///
/// # Errors
/// The system's; the file then holds `before`.
pub fn replace(
    path: &Path,
    before: Option<&[u8]>,
    bytes: &[u8],
    private: bool,
    paths: &Paths,
) -> io::Result<Option<PathBuf>> {
    // A link stays a link: the file it leads to is the one that changes.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let dir = target.parent().ok_or(io::ErrorKind::InvalidInput)?;
    forget_temporaries(&target);
    let Some(before) = before else {
        renamed(&target, bytes, &fs::metadata(dir)?, 0o600)?;
        return Ok(None);
    };
    let meta = fs::metadata(&target)?;
    let backup = put_aside(path, before, &meta, paths)?;
    // A file of several names stays one.
    if meta.nlink() > 1 {
        over(&target, before, bytes)?;
        return Ok(Some(backup));
    }
    match renamed(&target, bytes, &meta, meta.mode() & if private { 0o700 } else { 0o7777 }) {
        Err(e) if in_place_may_do(&e) => over(&target, before, bytes)?,
        done => done?,
    }
    Ok(Some(backup))
}

/// Whether a file that cannot be replaced may still be written over: it is not for want of space.
fn in_place_may_do(e: &io::Error) -> bool {
    let errno = e.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::BUSY | Errno::XDEV | Errno::ACCESS | Errno::PERM | Errno::ROFS))
}

/// Puts `bytes` in a new file of `owner`'s and `mode`, and that in the place of `target`.
fn renamed(target: &Path, bytes: &[u8], owner: &Metadata, mode: u32) -> io::Result<()> {
    let temp = temporary(target);
    let done = fresh(&temp, bytes, owner, mode).and_then(|()| fs::rename(&temp, target));
    if done.is_err() {
        _ = fs::remove_file(&temp);
    }
    done?;
    sync_directory(target)
}

fn fresh(temp: &Path, bytes: &[u8], owner: &Metadata, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temp)?;
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (owner.uid(), owner.gid()) {
        // `sudo barnacle` must not take the file from its owner.
        fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
    }
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Writes `bytes` over `target`, which holds `before`.
fn over(target: &Path, before: &[u8], bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(target)?;
    if bytes.len() > before.len() {
        // A full disk shows before anything is lost. Not every file system can say.
        let room = fallocate(&file, FallocateFlags::KEEP_SIZE, 0, bytes.len() as u64);
        if let Err(e @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) = room {
            return Err(e.into());
        }
    }
    let mut put = |bytes: &[u8]| {
        file.rewind()?;
        file.write_all(bytes)?;
        file.set_len(bytes.len() as u64)?;
        file.sync_all()
    };
    put(bytes).inspect_err(|_| _ = put(before))
}

/// Keeps `bytes`, which stand at `path`, as the newest of its former contents. Beside it if that can be,
/// else with Barnacle's own state.
fn put_aside(path: &Path, bytes: &[u8], owner: &Metadata, paths: &Paths) -> io::Result<PathBuf> {
    let here = beside(path, ".bak");
    match keep(&here, bytes, owner) {
        Err(e) if in_place_may_do(&e) => {
            let there = paths.barnacle_dir.join(here.file_name().ok_or(io::ErrorKind::InvalidInput)?);
            keep(&there, bytes, owner).map_err(|_| e)?;
            Ok(there)
        }
        done => done.map(|()| here),
    }
}

/// Makes `bytes` the newest of the ring at `newest`: `.bak`, `.bak.1` … `.bak.4`, as OpenClaw names them.
fn keep(newest: &Path, bytes: &[u8], owner: &Metadata) -> io::Result<()> {
    forget_temporaries(newest);
    let temp = temporary(newest);
    let older = |n: u32| beside(newest, &format!(".{n}"));
    let turn = || {
        fresh(&temp, bytes, owner, 0o600)?;
        for n in (1..BACKUPS - 1).rev().filter(|n| older(*n).exists()) {
            fs::rename(older(n), older(n + 1))?;
        }
        // A second name before the first goes: there is always a newest one.
        if newest.exists() && fs::hard_link(newest, older(1)).is_err() {
            fs::rename(newest, older(1))?;
        }
        fs::rename(&temp, newest)
    };
    if let Err(e) = turn() {
        _ = fs::remove_file(&temp);
        return Err(e);
    }
    sync_directory(newest)
}

fn temporary(path: &Path) -> PathBuf {
    beside(path, &format!(".{}.tmp", std::process::id()))
}

/// Removes what a writer that was killed left beside `path`. Only for who holds the lock.
fn forget_temporaries(path: &Path) {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else { return };
    let stale = |file: &str| {
        let pid = file.strip_prefix(name)?.strip_prefix('.')?.strip_suffix(".tmp")?;
        (!pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit())).then_some(())
    };
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name().to_str().and_then(stale).is_some() {
            _ = fs::remove_file(entry.path());
        }
    }
}
