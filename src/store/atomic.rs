//! The one way a file is replaced: after a crash it holds the old content or the new, whole.
//!
//! Write beside it, sync, rename over it, sync the directory: without the first sync the name may point
//! at nothing, without the second the old name may come back (rename(2), fsync(2)).

use rustix::{
    fs::{Mode, OFlags, fchmod, fsync, open},
    io::Errno,
};
use std::{
    ffi::OsString,
    fs::{DirBuilder, File},
    io::{self, Read, Write},
    os::{fd::OwnedFd, unix::fs::DirBuilderExt},
    path::{Path, PathBuf},
};

/// Replaces `path` by `bytes` with permissions `mode`, whatever the umask.
///
/// # Errors
/// The system's; `path` is then as it was, or already holds `bytes`.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temp = beside(path, ".tmp");
    let done = write(&temp, bytes, mode).and_then(|()| std::fs::rename(&temp, path));
    if done.is_err() {
        let _ = std::fs::remove_file(&temp);
    }
    done?;
    sync_directory(path)
}

/// Reads the regular file at `path`; a link is not followed, a pipe not waited for.
///
/// # Errors
/// The system's.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let fd = open(path, flags, Mode::empty()).map_err(|e| match e {
        Errno::LOOP => io::Error::other("it is a link, and no link is followed here"),
        e => e.into(),
    })?;
    let mut file = File::from(fd);
    let meta = file.metadata()?;
    if !meta.is_file() && !meta.is_dir() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::with_capacity(meta.len() as usize);
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes `bytes` to `path` and syncs them; the name itself is not yet safe.
///
/// # Errors
/// The system's.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = open(path, flags, Mode::from_raw_mode(mode))?;
    fchmod(&fd, Mode::from_raw_mode(mode))?;
    let mut file = File::from(fd);
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes a directory and those above it, durably, each its owner's alone.
///
/// # Errors
/// The system's.
pub fn make_directory(directory: &Path) -> io::Result<()> {
    if directory.as_os_str().is_empty() || directory.exists() {
        return Ok(());
    }
    directory.parent().map_or(Ok(()), make_directory)?;
    DirBuilder::new().mode(0o700).create(directory)?;
    sync_directory(directory)
}

/// Makes the names in the directory of `path` safe.
///
/// # Errors
/// The system's.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    let dir: OwnedFd = open(
        path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")),
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    Ok(fsync(&dir)?)
}

/// `path` with `suffix` after its whole name.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(suffix);
    name.into()
}
