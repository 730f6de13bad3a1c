//! Whom the bench measures: a gateway in a home of its own, Barnacle or OpenClaw, from its start to its end.

use crate::rig::{
    Failure, TOKEN, attach, listens,
    openclaw::{Words, end, living_in},
    pin,
};
use crate::table::Column;
use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// The longest that a start is waited for.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A gateway that runs.
pub struct Subject {
    /// Where its figures go.
    pub column: Column,
    /// Where it listens.
    pub at: SocketAddr,
    /// What starts it.
    pub words: Words,
    home: PathBuf,
    child: Child,
    cpu: usize,
}

impl Subject {
    /// Starts Barnacle's program by `words`, in a home below `dir`.
    pub fn barnacle(words: &[String], dir: &Path, cpu: usize) -> Result<Self, Failure> {
        let version = Command::new(&words[0]).args(&words[1..]).arg("--version").output();
        let version = version.map_err(|e| format!("{}: {e} (--gateway <path> names it)", words.join(" ")))?;
        let name = String::from_utf8_lossy(&version.stdout).trim().to_owned();
        let words = words.iter().cloned().chain(["gateway".into()]).collect();
        let words = Words { name, words, path: PathBuf::from("/nonexistent") };
        Self::start(Column::Barnacle, words, dir, cpu)
    }

    /// Starts OpenClaw as it is installed in `modules`, with the Node beside it or the system's.
    pub fn openclaw(modules: &Path, dir: &Path, cpu: usize) -> Result<Self, Failure> {
        Self::start(Column::OpenClaw, Words::of_openclaw(modules)?, dir, cpu)
    }

    fn start(column: Column, words: Words, dir: &Path, cpu: usize) -> Result<Self, Failure> {
        let home = dir.join(format!("bench-{}-{}", column as usize, std::process::id()));
        fs::create_dir_all(home.join(".openclaw"))?;
        let at = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let config = format!(
            r#"{{"gateway":{{"mode":"local","bind":"loopback","port":{},"auth":{{"mode":"token","token":"{TOKEN}"}}}}}}"#,
            at.port()
        );
        fs::write(home.join(".openclaw/openclaw.json"), config)?;
        let child = spawn(&words, &home, cpu)?;
        let mut subject = Self { column, at, words, home, child, cpu };
        subject.wait()?;
        Ok(subject)
    }

    /// Kills all of it with SIGKILL and starts it again; how long until it took a connection.
    pub fn kill_and_start(&mut self) -> Result<Duration, Failure> {
        self.kill();
        let began = Instant::now();
        self.child = spawn(&self.words, &self.home, self.cpu)?;
        self.wait_listening()?;
        Ok(began.elapsed())
    }

    /// Waits until it listens and serves.
    pub fn wait(&mut self) -> Result<(), Failure> {
        self.wait_listening()?;
        let end = Instant::now() + PATIENCE;
        while let Err(e) = attach(self.at) {
            if Instant::now() > end {
                return Err(format!("{} serves nobody: {e}", self.words.name).into());
            }
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn wait_listening(&mut self) -> Result<(), Failure> {
        let end = Instant::now() + PATIENCE;
        while !listens(self.at) {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("{} did not start ({status})", self.words.name).into());
            }
            if Instant::now() > end {
                return Err(format!("{} does not listen", self.words.name).into());
            }
            sleep(Duration::from_micros(100));
        }
        Ok(())
    }

    fn kill(&mut self) {
        end(&mut self.child, &self.home);
    }

    /// Every process that lives in its home.
    fn pids(&self) -> Vec<i32> {
        match self.column {
            Column::Barnacle => vec![self.child.id() as i32],
            _ => living_in(&self.home),
        }
    }

    /// Where it keeps its files.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The sum over its processes of what stands behind `keys` in that file of `/proc/<pid>`.
    pub fn sum(&self, file: &str, keys: &[&str]) -> Result<f64, Failure> {
        let mut sum = 0.0;
        for pid in self.pids() {
            let Ok(text) = fs::read_to_string(format!("/proc/{pid}/{file}")) else { continue };
            for line in text.lines() {
                if let Some(rest) = keys.iter().find_map(|key| line.strip_prefix(key)) {
                    sum += rest.split_whitespace().next().ok_or("no figure")?.parse::<f64>()?;
                }
            }
        }
        Ok(sum)
    }

    /// What all its threads have run so far.
    pub fn cpu(&self) -> Result<Duration, Failure> {
        let mut sum = 0;
        for pid in self.pids() {
            for thread in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
                let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
                sum += text.split(' ').next().unwrap_or_default().parse().unwrap_or(0);
            }
        }
        if sum == 0 { Err("the kernel keeps no schedstat".into()) } else { Ok(Duration::from_nanos(sum)) }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.home);
    }
}

/// Starts it on its processor, from which what it starts itself does not go either.
fn spawn(words: &Words, home: &Path, cpu: usize) -> Result<Child, Failure> {
    // The journal goes nowhere: what a terminal or journald costs is not the gateway's.
    let child = words.start(home, Stdio::null(), Stdio::null())?;
    pin(Some(&child), cpu)?;
    Ok(child)
}
