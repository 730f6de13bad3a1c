//! The systemd that runs the gateway, called through systemctl(1) by the command line only.

use super::{Account, Init, Scope};
use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
    process::Command,
};

#[derive(Clone)]
pub struct Manager {
    scope: Scope,
    /// Version number, for example 252.
    pub version: u32,
}

/// Why no systemd can be asked.
#[derive(Debug)]
pub enum Unreachable {
    OtherInit(Init),
    /// systemd runs, but `systemctl` cannot.
    NoSystemctl(io::Error),
    /// The user's own does not answer; its error, and the fix.
    NoBus(String, String),
    /// The host's does not answer.
    Failed(String),
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherInit(init) => write!(f, "no systemd runs here ({init})"),
            Self::NoSystemctl(e) => write!(f, "systemctl cannot be run ({e})"),
            Self::NoBus(text, fix) => write!(f, "your own systemd does not answer ({text}). {fix}"),
            Self::Failed(text) => write!(f, "systemd does not answer: {text}"),
        }
    }
}

impl std::error::Error for Unreachable {}

/// The properties of a unit: the answer of `systemctl show`.
#[derive(Default)]
pub struct Properties(BTreeMap<String, String>);

impl Properties {
    /// Value of a property; empty where systemd does not know it.
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// The number of the main process, if it runs.
    pub fn main_pid(&self) -> Option<u32> {
        self.get("MainPID").parse().ok().filter(|pid| *pid != 0)
    }
}

impl Manager {
    /// The systemd of `scope`.
    ///
    /// # Errors
    /// [`Unreachable`], in words that help.
    pub fn find(scope: Scope) -> Result<Self, Unreachable> {
        // sd_booted(3)
        if !Path::new("/run/systemd/system").is_dir() {
            return Err(Unreachable::OtherInit(Init::detect()));
        }
        let asked = Self { scope, version: 0 };
        let version = asked.run(&["show", "-p", "Version", "--value"]).map_err(|e| match (e, scope) {
            (Refused::NotRun(e), _) => Unreachable::NoSystemctl(e),
            (Refused::Failed(text), Scope::User) => Unreachable::NoBus(text, no_bus()),
            (Refused::Failed(text), Scope::System) => Unreachable::Failed(text),
        })?;
        let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
        Ok(Self { scope, version: digits.parse().unwrap_or(0) })
    }

    /// Runs `systemctl` with these arguments; what it printed.
    ///
    /// # Errors
    /// The error output of `systemctl`.
    pub fn run(&self, arguments: &[&str]) -> Result<String, Refused> {
        let mut command = Command::new("systemctl");
        if self.scope == Scope::User {
            command.arg("--user");
            // `su` and `sudo -i` leave it out, though it is there.
            if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
                command.env("XDG_RUNTIME_DIR", runtime_dir());
            }
        }
        let output = command.args(arguments).env("LC_ALL", "C").output().map_err(Refused::NotRun)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(Refused::Failed(text(&output.stderr))),
        }
    }

    /// The properties of `unit`.
    ///
    /// # Errors
    /// The error output of `systemctl`.
    pub fn show(&self, unit: &str) -> Result<Properties, Refused> {
        let text = self.run(&["show", unit])?;
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Ok(Properties(pairs.map(|(name, value)| (name.into(), value.into())).collect()))
    }
}

/// Why `systemctl` failed.
#[derive(Debug)]
pub enum Refused {
    /// The command could not be run.
    NotRun(io::Error),
    Failed(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRun(e) => write!(f, "systemctl cannot be run ({e})"),
            Self::Failed(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Refused {}

fn runtime_dir() -> PathBuf {
    format!("/run/user/{}", rustix::process::geteuid().as_raw()).into()
}

/// The fix where a user's systemd does not answer.
fn no_bus() -> String {
    let uid = rustix::process::geteuid().as_raw();
    let system = "Or let the system run it: sudo barnacle gateway install";
    let name = Account::with_uid(uid).map_or_else(|| uid.to_string(), |a| a.name);
    if !runtime_dir().exists() {
        return format!(
            "None runs for {name}: su and sudo -i are no login to it. Let it run from boot on, and log in \
             anew: sudo loginctl enable-linger {name}. {system}"
        );
    }
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(dir) if Path::new(&dir) != runtime_dir() => {
            format!(
                "XDG_RUNTIME_DIR names another's directory: export XDG_RUNTIME_DIR={}",
                runtime_dir().display()
            )
        }
        _ => format!(
            "Its bus is missing, as on Debian without dbus-user-session: sudo apt install dbus-user-session, \
             and log in anew. {system}"
        ),
    }
}

/// Whether the services of `account` outlive its login: logind's own flag file.
pub fn lingers(account: &Account) -> bool {
    Path::new("/var/lib/systemd/linger").join(&account.name).exists()
}
