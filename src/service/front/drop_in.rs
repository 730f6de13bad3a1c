//! The drop-in that gives OpenClaw's unit another port. It also is the record of what was done: while it is there,
//! OpenClaw listens on a port of its own, and what it says of itself is enough to undo that.

use super::super::Name;
use super::launch::Launch;
use crate::store::atomic;
use sha2::{Digest, Sha256};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Sorted after every other drop-in, so that nothing overrules it.
const FILE: &str = "zz-barnacle.conf";
const SUM: &str = "Sum=";

/// What a drop-in says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DropIn {
    /// The port that OpenClaw has by it.
    pub port: u16,
    /// The port that OpenClaw had, and Barnacle has.
    pub old_port: u16,
    /// Whether its directory was made for it.
    pub made_directory: bool,
    /// The command in it.
    pub command: String,
    /// Whether somebody changed it since it was written.
    pub edited: bool,
}

impl DropIn {
    /// The drop-in that moves `launch` from `old_port` to `port`.
    pub fn new(launch: &Launch, old_port: u16, port: u16, made_directory: bool) -> Self {
        Self { port, old_port, made_directory, command: launch.moved_to(port), edited: false }
    }

    /// The place of the drop-in for `unit`.
    pub fn path(name: &Name, unit: &str) -> PathBuf {
        name.file(&format!("{unit}.d")).join(FILE)
    }

    /// Reads the drop-in at `path`; `None` where there is none.
    ///
    /// # Errors
    /// It cannot be read, or was not written by Barnacle.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text)
                .map(Some)
                .ok_or_else(|| io::Error::other("it does not say which port OpenClaw had")),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        let mut commands = text.lines().filter_map(|line| line.strip_prefix("ExecStart="));
        Some(Self {
            port: value("Port")?.parse().ok()?,
            old_port: value("OldPort")?.parse().ok()?,
            made_directory: value("MadeDirectory") == Some("yes"),
            command: commands.next_back().unwrap_or_default().to_owned(),
            edited: value("Sum") != Some(&sum(text)),
        })
    }

    pub fn text(&self) -> String {
        let Self { port, old_port, command, .. } = self;
        let made = if self.made_directory { "yes" } else { "no" };
        let text = format!(
            "# Written by `barnacle gateway install --in-front-of-openclaw`.\n\
             # Barnacle listens on port {old_port}, and OpenClaw behind it on this one.\n\
             # To undo it: barnacle gateway uninstall --restore-openclaw\n\
             [X-Barnacle]\n\
             Port={port}\n\
             OldPort={old_port}\n\
             MadeDirectory={made}\n\
             {SUM}\n\
             \n\
             [Service]\n\
             ExecStart=\n\
             ExecStart={command}\n\
             Environment=OPENCLAW_GATEWAY_PORT={port}\n",
        );
        let sum = sum(&text);
        text.replacen(SUM, &format!("{SUM}{sum}"), 1)
    }

    /// Writes it to `path`, whole or not at all.
    ///
    /// # Errors
    /// The system's.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        atomic::replace(path, self.text().as_bytes(), 0o644)
    }

    /// Removes it from `path`, with the directory that was made for it. One that somebody changed is kept beside it,
    /// where systemd does not read it: its new place.
    ///
    /// # Errors
    /// The system's.
    pub fn remove(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        if self.edited {
            let kept = atomic::beside(path, ".edited");
            fs::rename(path, &kept)?;
            return Ok(Some(kept));
        }
        fs::remove_file(path)?;
        if let Some(dir) = path.parent().filter(|_| self.made_directory) {
            // Others may have put something there since.
            let _ = fs::remove_dir(dir);
        }
        Ok(None)
    }
}

/// The checksum of a text, whatever its own line of it says.
fn sum(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with(SUM));
    let hash = lines.fold(Sha256::new(), |hash, line| hash.chain_update(line).chain_update("\n"));
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_in_says_what_was_done_and_whether_it_was_changed() {
        let launch = Launch::read(["[Service]\nExecStart=/o gateway --port 18789\n"]).unwrap();
        let drop_in = DropIn::new(&launch, 18789, 18790, true);
        let text = drop_in.text();
        assert_eq!(DropIn::parse(&text), Some(drop_in.clone()));
        for (from, to) in [("[Service]\n", "[Service]\nNice=5\n"), ("18790 --bind", "18791 --bind")] {
            let edited = DropIn::parse(&text.replacen(from, to, 1)).unwrap();
            assert!(edited.edited && edited.old_port == 18789, "{to}");
        }
        assert_eq!(DropIn::parse("[Service]\nNice=1\n"), None);
        // systemd reads the same command out of it, and the port.
        let both = Launch::read(["[Service]\nExecStart=/o gateway --port 18789\n", &text]).unwrap();
        assert_eq!((both.port(), both.moved_to(18790)), (Some(18790), drop_in.command));
    }
}
