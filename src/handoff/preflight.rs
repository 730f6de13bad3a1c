//! Preflight: asks the program on disk whether it can take over, before anything is given up.
//!
//! It is run beside the gateway as `barnacle gateway <the gateway's own options> --can-resume 0` with the
//! state as its standard input. It reads the state, the configuration and the store, touches neither the
//! lock nor the port, and says which state it was. One that says no, or nothing, or nothing in time, is
//! not what this process hands over to.
//!
//! It is offered the format of the state that this version prefers. Where it answers that it does not read that
//! one, it is offered the next older that this version writes: so a program of the release before can be put
//! back.

use super::{
    sections::{Sealed, StateFormat, mark},
    state::{DamagedState, State},
};
use crate::{config::Settings, store::Store};
use std::{
    ffi::OsString,
    fs,
    io::{self, Read},
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// Time-out of the preflight: a board that reads the program from a slow card takes seconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// The words between its version and the mark of the state in its answer. Every version says and expects them.
const SAYS: &str = "can go on from";

/// The program that runs, as it was called.
#[derive(Clone, Debug)]
pub struct Program {
    /// Path of the program; the file there may have been replaced.
    pub path: PathBuf,
    /// Arguments of the process, beginning with its name.
    pub args: Vec<OsString>,
}

/// Identifies a file and its content: device, inode, size, time of the last change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FileId(u64, u64, u64, i64, i64);

/// A program that passed the preflight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Accepted {
    /// Identity of the program's file.
    pub file: FileId,
    /// The format of the state that it reads.
    pub format: u32,
}

impl Program {
    /// Path of this process's program. Call this at the start: once the file is replaced, `/proc/self/exe` names the
    /// old one.
    ///
    /// # Errors
    /// When there is no telling where it is.
    pub fn of_process() -> io::Result<Self> {
        let exe = crate::host::program()?;
        let args: Vec<OsString> = std::env::args_os().collect();
        // As it was called, if that is the same file: an upgrade may turn a symbolic link.
        let called = args.first().and_then(|name| called(Path::new(name)));
        let path = called.filter(|path| fs::canonicalize(path).is_ok_and(|real| real == exe)).unwrap_or(exe);
        Ok(Self { path, args })
    }

    /// Identifies the file that is there now.
    ///
    /// # Errors
    /// When there is none that can be run.
    pub(crate) fn file(&self) -> Result<FileId, String> {
        let m = fs::metadata(&self.path).map_err(|e| format!("{}: {e}", self.path.display()))?;
        if !m.is_file() || m.mode() & 0o111 == 0 {
            return Err(format!("{} is no program", self.path.display()));
        }
        Ok(FileId(m.dev(), m.ino(), m.size(), m.mtime(), m.mtime_nsec()))
    }

    /// Makes the command that runs the program with the gateway's own options.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        if let Some((name, options)) = self.args.split_first() {
            command.arg0(name).args(options);
        }
        command
    }

    /// Asks it whether it can take over with `state`, in one of the formats that `state_format` writes; its
    /// version. Blocks for up to [`PATIENCE`] a format.
    ///
    /// # Errors
    /// Why it cannot, as a sentence.
    pub(crate) fn preflight(
        &self,
        state_format: &StateFormat,
        state: &State,
    ) -> Result<(String, Accepted), String> {
        let mut refused = String::new();
        for format in state_format.writes {
            match self.offer(&state_format.seal(state, *format)) {
                Ok((version, file)) => return Ok((version, Accepted { file, format: *format })),
                // Of what it says of several formats the first is what an operator can do something about.
                Err(e) if e.contains(&does_not_read(*format)) => {
                    refused = if refused.is_empty() { e } else { refused }
                }
                Err(e) => return Err(e),
            }
        }
        Err(refused)
    }

    fn offer(&self, state: &Sealed<'_>) -> Result<(String, FileId), String> {
        let file_id = self.file()?;
        let path = self.path.display();
        let file = state.memory_file().map_err(|e| format!("the state cannot be written down: {e}"))?;
        let mut command = self.command();
        command.args(["--can-resume", "0"]).env_remove(super::VARIABLE).env_remove("NOTIFY_SOCKET");
        command.stdin(file).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("{path} cannot be run: {e}"))?;
        let status = match wait(&mut child) {
            Ok(Some(status)) => status,
            Ok(None) => return Err(format!("{path} says nothing for {} s", PATIENCE.as_secs())),
            Err(e) => return Err(format!("{path}: {e}")),
        };
        let output = text(child.stdout.take());
        let words: Vec<&str> = output.trim().splitn(3, ' ').collect();
        match words[..] {
            ["barnacle", version, rest] if status.success() && rest == format!("{SAYS} {}", state.mark()) => {
                Ok((version.into(), file_id))
            }
            _ => {
                let why = text(child.stderr.take());
                let why = why.lines().find(|l| !l.trim().is_empty()).unwrap_or("it says nothing of why");
                let why = why.trim().trim_start_matches("barnacle: ").chars().take(300).collect::<String>();
                Err(format!("{path} cannot take over ({}): {why}", ending(status)))
            }
        }
    }
}

fn ending(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        _ => "it ended".into(),
    }
}

/// Finds the path of the program `name`, as a shell would.
fn called(name: &Path) -> Option<PathBuf> {
    if name.components().count() > 1 {
        return std::path::absolute(name).ok();
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// Waits for its end; `None` if that does not come in time, and it is then killed.
fn wait(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    let end = Instant::now() + PATIENCE;
    let mut nap = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(nap);
        nap = (nap * 2).min(Duration::from_millis(20));
    }
}

/// The beginning of its output. It has ended, so nobody is waited for; a child of its own that holds the
/// pipe open is none of ours to wait for either.
fn text(pipe: Option<impl Read + std::os::fd::AsFd>) -> String {
    let mut bytes = vec![0; 4096];
    let Some(mut pipe) = pipe else { return String::new() };
    let _ = rustix::io::ioctl_fionbio(&pipe, true);
    let n = pipe.read(&mut bytes).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..n]).into_owned()
}

/// The words by which a program refuses a format that it does not read, whatever its version.
fn does_not_read(format: u32) -> String {
    let words = DamagedState::Format(format, "").to_string();
    words.split_once(" Barnacle").map_or_else(String::new, |(words, _)| words.into())
}

/// Answers a preflight: whether this program can take over with the state on its standard input. Only reads.
///
/// # Errors
/// Why not.
pub fn can_resume(settings: &Settings, state_format: &StateFormat) -> Result<String, String> {
    let bytes = read_all(io::stdin()).map_err(|e| format!("the state cannot be read: {e}"))?;
    let state = state_format.open(&bytes).map_err(|e| e.to_string())?;
    if let Some((dir, _)) = &state.lock
        && Path::new(dir) != settings.paths.barnacle_dir
    {
        return Err(format!(
            "the state is that of a gateway on {dir}, not on {}",
            settings.paths.barnacle_dir.display()
        ));
    }
    if !state.is_whole() {
        return Err("a connection in the state makes no sense".into());
    }
    Store::check(&settings.paths.barnacle_dir).map_err(|e| e.to_string())?;
    Ok(format!("barnacle {} {SAYS} {}", state_format.version, mark(&bytes)))
}

/// A whole file from its beginning, wherever it was read to: the offset is shared with whoever gave it.
pub fn read_all(file: impl std::os::fd::AsFd) -> io::Result<Vec<u8>> {
    let size = rustix::fs::fstat(&file)?.st_size;
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    let mut at = 0;
    while at < bytes.len() {
        match rustix::io::pread(&file, &mut bytes[at..], at as u64)? {
            0 => break,
            n => at += n,
        }
    }
    bytes.truncate(at);
    Ok(bytes)
}
