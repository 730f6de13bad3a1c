//! Replacing the store's file, so that whenever the power goes there is a whole one.

use super::atomic;
use std::{io, path::Path};

/// Writes the new file beside the old, keeps the old as `.prev`, and puts the new in its place. An old
/// file that is not `intact` goes to `.damaged` for whoever wants to look: `.prev` is all there is then.
pub(super) fn replace(path: &Path, file: &[u8], intact: bool) -> io::Result<()> {
    let temp = atomic::beside(path, ".tmp");
    let result = atomic::write(&temp, file, 0o600)
        .and_then(|()| if intact { keep_previous(path) } else { put_aside(path) })
        .and_then(|()| std::fs::rename(&temp, path));
    if result.is_err() {
        let _ = std::fs::remove_file(&temp);
    }
    result?;
    atomic::sync_directory(path)
}

fn put_aside(path: &Path) -> io::Result<()> {
    match std::fs::rename(path, atomic::beside(path, ".damaged")) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

fn keep_previous(path: &Path) -> io::Result<()> {
    let (previous, temp) = (atomic::beside(path, ".prev"), atomic::beside(path, ".prev.tmp"));
    match std::fs::remove_file(&temp) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    match std::fs::hard_link(path, &temp) {
        Ok(()) => std::fs::rename(&temp, &previous),
        // The first one, or it was taken away.
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) if no_links(&e) => match std::fs::read(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            bytes => atomic::write(&temp, &bytes?, 0o600).and_then(|()| std::fs::rename(&temp, &previous)),
        },
        Err(e) => Err(e),
    }
}

/// Whether this is how a file system without hard links (FAT, many network ones) says so: link(2).
fn no_links(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported | io::ErrorKind::TooManyLinks
    )
}
