//! OpenClaw as it is installed, and a gateway of whatever kind as a process tree: started in a home of its
//! own, and ended with all that it started.

use super::{Failure, field};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// What starts a gateway.
pub struct Words {
    /// Its name and version.
    pub name: String,
    /// The command and its arguments.
    pub words: Vec<String>,
    /// The directory that commands are looked for in first.
    pub path: PathBuf,
}

impl Words {
    /// OpenClaw as it is installed in `modules`, with the Node beside it or the system's.
    pub fn of_openclaw(modules: &Path) -> Result<Self, Failure> {
        let named = |e: io::Error| {
            format!("{}/openclaw: {e} (tests/peers/install.sh puts it there)", modules.display())
        };
        let modules = modules.canonicalize().map_err(named)?;
        let manifest = fs::read_to_string(modules.join("openclaw/package.json")).map_err(named)?;
        let version = field(&manifest, "\"version\": \"").unwrap_or("?");
        let beside = fs::read_dir(&modules)?.flatten().map(|entry| entry.path().join("bin/node"));
        let node = beside.into_iter().find(|path| path.is_file()).unwrap_or_else(|| "/usr/bin/node".into());
        let program = modules.join("openclaw/openclaw.mjs");
        let words = [node.to_string_lossy(), program.to_string_lossy(), "gateway".into(), "run".into()];
        Ok(Self {
            name: format!("OpenClaw {version}"),
            words: words.map(String::from).to_vec(),
            path: node.parent().unwrap_or(&modules).to_owned(),
        })
    }

    /// Starts it in `home`, in a process group of its own.
    pub fn start(
        &self,
        home: &Path,
        output: impl Into<Stdio>,
        warned: impl Into<Stdio>,
    ) -> io::Result<Child> {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).env_clear().env("HOME", home).process_group(0);
        command.env("PATH", format!("{}:/usr/bin:/bin", self.path.display()));
        command.stdin(Stdio::null()).stdout(output).stderr(warned).spawn()
    }
}

/// Every process that lives in `home`.
pub fn living_in(home: &Path) -> Vec<i32> {
    let home = format!("HOME={}", home.display());
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let environ = fs::read(entry.path().join("environ")).ok()?;
        environ.split(|byte| *byte == 0).any(|one| one == home.as_bytes()).then_some(pid)
    });
    pids.collect()
}

/// Ends `child` and all that lives in its home: not all that it starts is in its process group.
pub fn end(child: &mut Child, home: &Path) {
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    for pid in living_in(home).into_iter().filter_map(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}
