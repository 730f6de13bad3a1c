//! What is too large for a transcript, in files of their own beside it: results of tools.
//!
//! ```text
//! <state>/barnacle/agents/<agent>/sessions/<session>.results/<random>.txt
//! ```
//!
//! A file is whole and on disk before anything names it, and goes with its session.

use crate::{protocol::hex, sessions::SessionId};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// The files of a session.
fn folder(agents: &Path, agent: &str, id: &SessionId) -> PathBuf {
    agents.join(agent).join("sessions").join(format!("{id}.results"))
}

/// Keeps a text; where it is.
pub(in crate::sessions) fn keep(
    agents: &Path,
    agent: &str,
    id: &SessionId,
    text: &str,
) -> io::Result<PathBuf> {
    let folder = folder(agents, agent, id);
    fs::create_dir_all(&folder)?;
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let path = folder.join(format!("{}.txt", hex(&random)));
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        File::open(&folder)?.sync_all()
    };
    write().inspect_err(|_| {
        // Half of it is worth nothing, and the card is full.
        let _ = fs::remove_file(&path);
    })?;
    Ok(path)
}

/// Removes the files of a session that is gone.
pub(in crate::sessions) fn remove(agents: &Path, agent: &str, id: &SessionId) {
    let folder = folder(agents, agent, id);
    if let Err(e) = fs::remove_dir_all(&folder)
        && e.kind() != io::ErrorKind::NotFound
    {
        log::warn!("{} is no session's any more, and cannot be removed: {e}", folder.display());
    }
}
