//! The lock of the store's directory: one gateway has it, and says in it who it is and where it listens.

use super::atomic;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, ftruncate};
use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    process,
};

/// Flags that every lock is opened with.
const NO_LINK: OFlags = OFlags::CLOEXEC.union(OFlags::NOFOLLOW);

/// Why the lock cannot be taken.
pub enum LockError {
    /// Another process has it; its pid, if that could be read.
    By(Option<u32>),
    /// Error of the system.
    Io(io::Error),
}

/// Whether `fd` is the file of the lock in `dir`, which was neither removed nor replaced.
pub fn is_at(fd: &OwnedFd, dir: &Path) -> bool {
    let here = rustix::fs::lstat(dir.join("lock"));
    here.is_ok_and(|h| rustix::fs::fstat(fd).is_ok_and(|f| (f.st_dev, f.st_ino) == (h.st_dev, h.st_ino)))
}

/// Whether `fd` is the lock in `dir`, and held.
pub fn is_lock_of(fd: &OwnedFd, dir: &Path) -> bool {
    is_at(fd, dir) && flock(fd, FlockOperation::NonBlockingLockExclusive).is_ok()
}

/// The lock is the kernel's (flock(2)): it ends with the process, however that ends.
///
/// # Errors
/// [`LockError`].
pub fn take(dir: &Path) -> Result<OwnedFd, LockError> {
    let path = dir.join("lock");
    // A link could make this truncate and re-permission any file of this user's.
    if path.is_symlink() {
        fs::remove_file(&path).map_err(LockError::Io)?;
    }
    let flags = OFlags::RDWR | OFlags::CREATE | NO_LINK;
    let fd = rustix::fs::open(&path, flags, Mode::from_raw_mode(0o600))
        // On a read-only mount it can be locked too: its holder may write once the mount is fixed.
        .or_else(|e| rustix::fs::open(&path, OFlags::RDONLY | NO_LINK, Mode::empty()).map_err(|_| e))
        .map_err(|e| LockError::Io(e.into()))?;
    let _ = rustix::fs::fchmod(&fd, Mode::from_raw_mode(0o600));
    match flock(&fd, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            let _ = ftruncate(&fd, 0);
            write(&fd, "");
            Ok(fd)
        }
        Err(rustix::io::Errno::WOULDBLOCK) => Err(LockError::By(text(&path).and_then(pid))),
        Err(e) => Err(LockError::Io(e.into())),
    }
}

/// Writes into the lock that this process has it, and is to be called at `url`.
pub fn tell(lock: &impl AsFd, url: &str) {
    write(lock, &format!("{url}\n"));
}

/// Whether it is held is the kernel's to say; what stands in it is for messages, and for who looks for the
/// gateway. On a read-only mount nothing does.
fn write(lock: &impl AsFd, more: &str) {
    let text = format!("{}\n{more}", process::id());
    // After a restart in place it says so already, and that costs the card nothing.
    let mut there = vec![0; text.len() + 1];
    if rustix::io::pread(lock, &mut there, 0) == Ok(text.len()) && there.starts_with(text.as_bytes()) {
        return;
    }
    if rustix::io::pwrite(lock, text.as_bytes(), 0) == Ok(text.len()) {
        let _ = ftruncate(lock, text.len() as u64);
    }
}

fn text(path: &Path) -> Option<String> {
    String::from_utf8(atomic::read(path).ok()?).ok()
}

fn pid(text: String) -> Option<u32> {
    text.lines().next()?.trim().parse().ok()
}

/// Reads the lock of `dir`, if a process holds it.
fn held(dir: &Path) -> Option<String> {
    let path = dir.join("lock");
    let fd = rustix::fs::open(&path, OFlags::RDONLY | NO_LINK, Mode::empty()).ok()?;
    match flock(&fd, FlockOperation::NonBlockingLockShared) {
        Err(rustix::io::Errno::WOULDBLOCK) => text(&path),
        _ => None,
    }
}

/// The process that has the store in `dir` open, if one has.
pub fn lock_holder(dir: &Path) -> Option<u32> {
    held(dir).and_then(pid)
}

/// Reads the URL of the gateway that has the store in `dir` open, if there is one.
pub fn gateway_at(dir: &Path) -> Option<String> {
    Some(held(dir)?.lines().nth(1)?.to_owned())
}
