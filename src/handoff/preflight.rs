//! Asks the program that is on disk now, before anything is given up, whether it can go on from here.
//!
//! It is run beside the gateway as `barnacle gateway <the gateway's own options> --can-resume 0` with the
//! state as its standard input. It reads the state, the configuration and the store, touches neither the
//! lock nor the port, and says which state it was. One that says no, or nothing, or nothing in time, is
//! not what this process gives its place to.

use super::state::{Sealed, StateFormat, mark};
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

/// How long it may think: a board that reads it from a slow card takes seconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between its version and the mark of the state, in what it says.
const SAYS: &str = "can go on from";

/// The program that runs, as it was called.
#[derive(Clone, Debug)]
pub struct Program {
    /// Where it is; what is there now need not be what runs.
    pub path: PathBuf,
    /// Its arguments, its name first.
    pub args: Vec<OsString>,
}

/// Which file it was that was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Which(u64, u64, u64, i64, i64);

impl Program {
    /// This process's. To be asked at the start: once the file is replaced, `/proc/self/exe` names the old.
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

    /// The file that is there now.
    ///
    /// # Errors
    /// When there is none that can be run.
    pub fn which(&self) -> Result<Which, String> {
        let m = fs::metadata(&self.path).map_err(|e| format!("{}: {e}", self.path.display()))?;
        if !m.is_file() || m.mode() & 0o111 == 0 {
            return Err(format!("{} is no program", self.path.display()));
        }
        Ok(Which(m.dev(), m.ino(), m.size(), m.mtime(), m.mtime_nsec()))
    }

    /// What runs it with the gateway's own options.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        if let Some((name, options)) = self.args.split_first() {
            command.arg0(name).args(options);
        }
        command
    }

    /// Asks it about `state`; its version. Blocks for up to [`PATIENCE`].
    ///
    /// # Errors
    /// Why it is not fit to go on, as a sentence.
    pub fn prove(&self, state: &Sealed) -> Result<(String, Which), String> {
        let which = self.which()?;
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
        let said = text(child.stdout.take());
        let words: Vec<&str> = said.trim().splitn(3, ' ').collect();
        match words[..] {
            ["barnacle", version, rest] if status.success() && rest == format!("{SAYS} {}", state.mark()) => {
                Ok((version.into(), which))
            }
            _ => {
                let why = text(child.stderr.take());
                let why = why.lines().find(|l| !l.trim().is_empty()).unwrap_or("it says nothing of why");
                let why = why.trim().trim_start_matches("barnacle: ").chars().take(300).collect::<String>();
                Err(format!("{path} does not go on from here ({}): {why}", ending(status)))
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

/// Where `name`, as a program is called, is found.
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

/// The beginning of what it said. It has ended, so nobody is waited for; a child of its own that holds the
/// pipe open is none of ours to wait for either.
fn text(pipe: Option<impl Read + std::os::fd::AsFd>) -> String {
    let mut bytes = vec![0; 4096];
    let Some(mut pipe) = pipe else { return String::new() };
    let _ = rustix::io::ioctl_fionbio(&pipe, true);
    let n = pipe.read(&mut bytes).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..n]).into_owned()
}

/// The other side: whether this program can go on from the state on its standard input. Only reads.
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
    if state.memory.conns.read().any(|one| one.is_none()) {
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
