//! OpenClaw's unit as it is on this host: its files, its state, its port.

use super::{
    super::{Manager, Name, Properties, Scope, install::is_in, systemd::Refused},
    DropIn, LOOK, Launch, Trouble, is_in_front,
    launch::BadLaunch,
};
use crate::{
    config::{Env, Paths},
    net::port_owner,
};
use std::{
    fs,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

/// An OpenClaw that a systemd of this host runs.
pub struct Behind {
    /// The names of the service of Barnacle in the same systemd.
    pub name: Name,
    pub unit: String,
    pub(super) manager: Manager,
}

/// Variables of the unit that say which files OpenClaw uses.
pub const WHICH: [&str; 4] =
    ["OPENCLAW_PROFILE", "OPENCLAW_HOME", "OPENCLAW_STATE_DIR", "OPENCLAW_CONFIG_PATH"];

impl Behind {
    /// Finds the unit that `env` and `scope` mean, whether it runs or not.
    ///
    /// # Errors
    /// There is none, or it is another account's.
    pub fn find(env: &Env, scope: Option<Scope>) -> Result<Self, Trouble> {
        let paths = Paths::resolve(env).map_err(|e| Trouble::Plan(e.into()))?;
        let [user, system] = Name::both(env, &paths);
        let unit = user.openclaw();
        let root = rustix::process::geteuid().is_root();
        let wanted = |s: Scope| scope.is_none_or(|scope| scope == s);
        let own = if root { &system } else { &user };
        let manager = Manager::find(own.scope);
        let there = |manager: &Manager, name: &Name| {
            let found = Self { name: name.clone(), unit: unit.clone(), manager: manager.clone() };
            found.is_loaded().then_some(found)
        };
        let own = wanted(own.scope).then(|| there(manager.as_ref().ok()?, own)).flatten();
        // The other systemd may show its units, and lets nothing be done to them.
        let other = match root {
            true => wanted(Scope::User) && user.file(&unit).exists(),
            false => {
                let system_runs = match Manager::find(Scope::System) {
                    Ok(manager) => there(&manager, &system).map(|system| system.is_active()),
                    Err(_) => system.file(&unit).exists().then_some(true),
                };
                let own_runs = own.as_ref().is_some_and(Self::is_active);
                let better = |active: bool| own.is_none() || active && !own_runs;
                wanted(Scope::System) && system_runs.is_some_and(better)
            }
        };
        match (own, other) {
            (Some(own), false) => Ok(own),
            (Some(own), true) if root => Ok(own),
            (_, true) if root => Err(Trouble::AsUser(unit, paths.os_home)),
            (_, true) => Err(Trouble::AsRoot(unit)),
            (None, false) => Err(match manager {
                Ok(manager) => Trouble::NotFound(unit, similar(&manager)),
                Err(e) => Trouble::Unreachable(e),
            }),
        }
    }

    /// The one that the service `name` stands before, or was to.
    ///
    /// # Errors
    /// The systemd of it does not answer.
    pub fn of(env: &Env, name: Name) -> Result<Self, Trouble> {
        let unit = is_in_front(&name).unwrap_or_else(|| name.openclaw());
        let root = rustix::process::geteuid().is_root();
        if name.scope == Scope::User && root && env.process("SUDO_USER").is_some_and(|user| user != "root") {
            return Err(Trouble::AsUser(unit, name.dir));
        }
        if name.scope == Scope::System && !root {
            return Err(Trouble::AsRoot(unit));
        }
        let manager = Manager::find(name.scope).map_err(Trouble::Unreachable)?;
        Ok(Self { name, unit, manager })
    }

    /// The one of the profile of `name`, where the systemd answers and has it.
    pub fn look(name: Name) -> Option<Self> {
        let manager = Manager::find(name.scope).ok()?;
        let behind = Self { unit: name.openclaw(), name, manager };
        behind.is_loaded().then_some(behind)
    }

    fn show(&self) -> Properties {
        self.manager.show(&self.unit).unwrap_or_default()
    }

    pub(super) fn is_loaded(&self) -> bool {
        !matches!(self.show().get("LoadState"), "" | "not-found")
    }

    fn is_active(&self) -> bool {
        self.state() == "active"
    }

    /// Whether it runs, in systemd's word.
    pub(super) fn state(&self) -> String {
        let shown = self.show();
        let masked = shown.get("LoadState") == "masked";
        if masked { "masked".into() } else { shown.get("ActiveState").into() }
    }

    /// The account that it runs as, where the unit names one.
    pub fn user(&self) -> Option<String> {
        Some(self.show().get("User").to_owned()).filter(|user| !user.is_empty())
    }

    /// The place of the drop-in.
    pub fn drop_in_file(&self) -> PathBuf {
        DropIn::path(&self.name, &self.unit)
    }

    /// How the unit launches it without our drop-in.
    pub fn launch(&self) -> Result<Launch, BadLaunch> {
        let shown = self.show();
        let ours = self.drop_in_file();
        let files =
            [shown.get("FragmentPath")].into_iter().chain(shown.get("DropInPaths").split_whitespace());
        launch(files.map(PathBuf::from).filter(|file| *file != ours))
    }

    /// `env` as OpenClaw has it: which files are meant, the unit says.
    pub(super) fn env(&self, env: &Env, launch: &Launch, home: &Path) -> Env {
        let unit = variables(launch, home, &WHICH);
        let kept = env.names().filter(|name| *name == "OPENCLAW_PROFILE" || !name.starts_with("OPENCLAW_"));
        let kept = kept.filter_map(|name| Some((name.to_owned(), env.process(name)?.to_owned())));
        kept.chain(unit).collect()
    }

    /// Whether its process listens on `port`.
    pub(super) fn listens(&self, port: u16) -> bool {
        port_owner::holder(port).is_some_and(|holder| is_in(holder.pid, &self.unit))
    }

    /// Who else listens on `port`.
    pub(super) fn stranger(&self, port: u16) -> Option<String> {
        match port_owner::holder(port) {
            Some(holder) => (!is_in(holder.pid, &self.unit)).then(|| holder.to_string()),
            None if port_owner::is_held(port) => Some("a process of another account".into()),
            None => Some("nobody".into()),
        }
    }

    pub(super) fn systemctl(&self, arguments: &[&str]) -> Result<(), String> {
        let done = self.manager.run(arguments);
        done.map(drop).map_err(|e: Refused| format!("systemctl {}: {e}", arguments.join(" ")))
    }

    /// Has systemd read its files again, and starts it anew.
    pub(super) fn restart(&self) -> Result<(), String> {
        // It may have failed too often of late, and be held back.
        let _ = self.manager.run(&["reset-failed", &self.unit]);
        self.systemctl(&["restart", &self.unit])
    }

    /// Waits until `look` sees what is waited for, at most `patience`, and no longer than the unit lives.
    pub(super) fn wait<T>(
        &self,
        patience: Duration,
        mut look: impl FnMut() -> Result<T, String>,
    ) -> Result<T, String> {
        let end = Instant::now() + patience;
        let before = self.show().get("NRestarts").to_owned();
        // systemd forgets it at the next start.
        let mut code = "0".to_owned();
        loop {
            let why = match look() {
                Ok(seen) => return Ok(seen),
                Err(why) => why,
            };
            let shown = self.show();
            if shown.get("ExecMainStatus") != "0" {
                code = shown.get("ExecMainStatus").into();
            }
            let ended = || format!("{} ends (exit code {code})", self.unit);
            let times = |text: &str| text.parse::<u32>().unwrap_or(0);
            match shown.get("ActiveState") {
                "failed" | "inactive" => return Err(ended()),
                _ if times(shown.get("NRestarts")) >= times(&before) + 2 => {
                    return Err(ended() + ", again and again");
                }
                _ if Instant::now() >= end => return Err(format!("{why}, after {} s", patience.as_secs())),
                _ => sleep(LOOK),
            }
        }
    }

    /// The command that shows its log.
    pub(super) fn journal(&self) -> String {
        match self.name.scope {
            Scope::User => format!("journalctl --user -u {} -n 50", self.unit),
            Scope::System => format!("sudo journalctl -u {} -n 50", self.unit),
        }
    }
}

/// Reads how the unit of these files launches OpenClaw.
fn launch(files: impl Iterator<Item = PathBuf>) -> Result<Launch, BadLaunch> {
    let texts: Vec<_> = files.filter_map(|file| fs::read_to_string(file).ok()).collect();
    Launch::read(texts.iter().map(String::as_str))
}

/// The values of the variables `names`, those that count last; `home` is its account's.
pub fn variables(launch: &Launch, home: &Path, names: &[&str]) -> Vec<(String, String)> {
    let home = home.to_string_lossy();
    let own = launch.variables.iter().map(|(name, value)| (name.clone(), value.clone()));
    let lines = |file: &PathBuf| {
        let text = fs::read_to_string(file.to_string_lossy().replace("%h", &home)).unwrap_or_default();
        let pair = |line: &str| {
            line.trim().split_once('=').map(|(n, v)| (n.to_owned(), v.trim_matches('"').to_owned()))
        };
        text.lines().filter_map(pair).collect::<Vec<_>>()
    };
    let all = own.chain(launch.files.iter().flat_map(lines));
    all.filter(|(name, _)| names.contains(&name.as_str())).map(|(n, v)| (n, v.replace("%h", &home))).collect()
}

/// Units that may be meant by somebody who means OpenClaw.
fn similar(manager: &Manager) -> Vec<String> {
    let listed = manager.run(&["list-unit-files", "--no-legend", "--no-pager", "*openclaw*"]);
    let text = listed.unwrap_or_default();
    text.lines().filter_map(|line| line.split_whitespace().next()).map(String::from).collect()
}
