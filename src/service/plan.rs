//! The plan of a service: which gateway, which account, which units.
//!
//! A user's own unit needs no root, but ends with the login unless lingering is on; a system unit starts
//! with the board. So root gets a system unit, which runs as whoever called sudo, and everyone else their own.

use super::{Account, Manager, unit};
use crate::{
    config::{Env, Flags, Paths, Settings, StartError},
    host,
    net::listen,
};
use std::{
    fmt,
    net::{Ipv6Addr, SocketAddr, TcpListener},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// The systemd that runs the gateway: the user's or the system's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// The user's own (`systemctl --user`).
    User,
    System,
}

impl Scope {
    pub fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::System => "system",
        }
    }

    /// Name of `systemctl` in a command to be pasted.
    pub fn systemctl(self) -> &'static str {
        match self {
            Self::User => "systemctl --user",
            Self::System => "sudo systemctl",
        }
    }
}

/// The name of a unit, and the directory of its files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Name {
    /// The systemd it belongs to.
    pub scope: Scope,
    /// The directory of its files.
    pub dir: PathBuf,
    /// Base of the unit names: `barnacle-gateway`, or with `-<profile>`.
    pub base: String,
    profile: Option<String>,
}

impl Name {
    /// The name in `scope` that `env` means.
    pub fn new(scope: Scope, env: &Env, paths: &Paths) -> Self {
        let profile = env.process("OPENCLAW_PROFILE").filter(|p| !p.eq_ignore_ascii_case("default"));
        let dir = match scope {
            Scope::User => paths.os_home.join(".config/systemd/user"),
            Scope::System => paths.system_units.clone(),
        };
        let profile = profile.map(String::from);
        Self { scope, dir, base: with_profile("barnacle-gateway", profile.as_deref()), profile }
    }

    /// Both names that `env` means, a user's first.
    pub fn both(env: &Env, paths: &Paths) -> [Self; 2] {
        [Self::new(Scope::User, env, paths), Self::new(Scope::System, env, paths)]
    }

    /// `barnacle-gateway.service`.
    pub fn service(&self) -> String {
        format!("{}.service", self.base)
    }

    /// `barnacle-gateway.socket`.
    pub fn socket(&self) -> String {
        format!("{}.socket", self.base)
    }

    /// The unit of an OpenClaw gateway of the same profile.
    pub fn openclaw(&self) -> String {
        with_profile("openclaw-gateway", self.profile.as_deref()) + ".service"
    }

    pub fn file(&self, unit: &str) -> PathBuf {
        self.dir.join(unit)
    }

    /// The file of the service that holds: what `install` wrote; else the one that a package brought, where
    /// it was enabled.
    pub fn service_file(&self) -> Option<PathBuf> {
        let enabled = || std::fs::canonicalize(self.dir.join("default.target.wants").join(self.service()));
        Some(self.file(&self.service())).filter(|file| file.exists()).or_else(|| enabled().ok())
    }

    /// Whether there is such a file.
    pub fn is_installed(&self) -> bool {
        self.service_file().is_some()
    }
}

fn with_profile(base: &str, profile: Option<&str>) -> String {
    profile.map_or_else(|| base.into(), |profile| format!("{base}-{profile}"))
}

/// The options of `barnacle gateway install`.
#[derive(Clone, Default)]
pub struct Options {
    /// `--user` or `--system`.
    pub scope: Option<Scope>,
    /// `--run-as`.
    pub run_as: Option<String>,
    /// `--port`.
    pub port: Option<u16>,
    /// `--socket`.
    pub socket: bool,
    /// The OpenClaw that it stands before.
    pub in_front: Option<InFront>,
}

/// An OpenClaw of this host that a service of Barnacle stands before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InFront {
    /// The unit of OpenClaw's.
    pub unit: String,
    /// The URL at which OpenClaw listens.
    pub upstream: String,
    /// The addresses to listen on, where OpenClaw's unit says so and not its configuration.
    pub bind: Option<String>,
}

pub struct Plan {
    pub name: Name,
    pub program: PathBuf,
    pub arguments: Vec<String>,
    /// The variables of its environment.
    pub variables: Vec<(&'static str, String)>,
    /// Account that the gateway runs as.
    pub account: Account,
    /// The directories it writes to.
    pub writes: Vec<PathBuf>,
    /// The port it listens on.
    pub port: u16,
    /// Addresses of the socket unit, if there is one.
    pub sockets: Vec<SocketAddr>,
    /// OpenClaw's unit that it replaces.
    pub replaces: Option<String>,
    /// OpenClaw's unit that it stands before.
    pub in_front_of: Option<String>,
    /// The settings of the gateway.
    pub settings: Settings,
}

/// Why no service can be planned.
#[derive(Debug)]
pub enum NoPlan {
    /// The gateway would not start.
    Settings(StartError),
    NoAccount(String),
    /// A system unit, but no root.
    NotRoot,
    /// Root cannot ask a user's systemd.
    UserAsRoot(String),
    /// The service's account cannot run the program.
    OutOfReach(PathBuf, PathBuf, String),
    /// The program is not to be found.
    NoProgram(std::io::Error),
}

impl NoPlan {
    /// 78 for the configuration, 2 for the command line, 1 for the rest.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Settings(e) => e.exit_code(),
            Self::NoAccount(_) | Self::UserAsRoot(_) => 2,
            Self::NotRoot | Self::OutOfReach(..) | Self::NoProgram(_) => 1,
        }
    }
}

impl From<StartError> for NoPlan {
    fn from(e: StartError) -> Self {
        Self::Settings(e)
    }
}

impl fmt::Display for NoPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings(e) => e.fmt(f),
            Self::NoAccount(name) => {
                write!(f, "there is no account {name} on this host; name another with --run-as <account>")
            }
            Self::NotRoot => f.write_str("a system unit takes root: sudo barnacle gateway install --system"),
            Self::UserAsRoot(name) => write!(
                f,
                "root cannot ask {name}'s own systemd: as {name}, without sudo, barnacle gateway install; or let the system \
                 run it as {name}: sudo barnacle gateway install --system --run-as {name}"
            ),
            Self::OutOfReach(program, at, name) => write!(
                f,
                "{name} cannot run {}: {} is closed to others. Put it where all may: \
                 sudo install -m 755 {0} /usr/local/bin/barnacle && sudo /usr/local/bin/barnacle gateway install",
                program.display(),
                at.display()
            ),
            Self::NoProgram(e) => write!(f, "this program cannot be found ({e})"),
        }
    }
}

impl std::error::Error for NoPlan {}

/// Variables that say which gateway is meant; no others go into a unit, and never a secret.
const VARIABLES: [&str; 4] =
    ["OPENCLAW_PROFILE", "OPENCLAW_HOME", "OPENCLAW_STATE_DIR", "OPENCLAW_CONFIG_PATH"];

impl Plan {
    /// Makes a plan out of the environment, the configuration and `options`. Writes nothing.
    pub fn find(env: &Env, options: &Options) -> Result<Self, NoPlan> {
        let uid = rustix::process::geteuid().as_raw();
        let scope = options.scope.unwrap_or(if uid == 0 { Scope::System } else { Scope::User });
        let account = account(env, options, uid, scope)?;
        // Under sudo HOME is root's; the gateway that is meant is that of the service's account.
        let env = if account.uid == uid { env.clone() } else { with_home(env, &account.home) };
        let in_front = options.in_front.as_ref();
        let bind = in_front.and_then(|in_front| in_front.bind.clone());
        let upstream = in_front.map(|in_front| in_front.upstream.clone());
        let flags = Flags { port: options.port, bind, upstream, ..Flags::default() };
        let settings = Settings::resolve(&env, &flags).map_err(NoPlan::Settings)?;
        let program = program(&env).map_err(NoPlan::NoProgram)?;
        if let Some(closed) = closed_to(&program, &account) {
            return Err(NoPlan::OutOfReach(program, closed, account.name));
        }
        let mut arguments = vec!["gateway".to_owned()];
        arguments.extend(flags.port.map(|port| format!("--port={port}")));
        arguments.extend(flags.bind.iter().map(|bind| format!("--bind={bind}")));
        arguments.extend(flags.upstream.iter().map(|url| format!("--upstream={url}")));
        let mut writes = vec![settings.paths.state_dir.clone()];
        let config_dir = settings.paths.config_file.parent().unwrap_or(Path::new("/")).to_owned();
        if !config_dir.starts_with(&settings.paths.state_dir) {
            writes.push(config_dir);
        }
        let variables = VARIABLES.iter().filter_map(|name| Some((*name, env.process(name)?.to_owned())));
        Ok(Self {
            name: Name::new(scope, &env, &settings.paths),
            program,
            arguments,
            variables: variables.collect(),
            account,
            writes,
            port: settings.port,
            sockets: if options.socket { sockets(&settings) } else { Vec::new() },
            replaces: None,
            in_front_of: in_front.map(|in_front| in_front.unit.clone()),
            settings,
        })
    }
}

impl Plan {
    /// The units as they would be written, for `manager` or for any.
    pub fn text(&self, manager: Option<&Manager>) -> String {
        let service = unit::service(self, manager.map_or(0, |m| m.version));
        let mut text = format!("# {}\n{service}", self.name.file(&self.name.service()).display());
        if let Some(socket) = unit::socket(self) {
            text.push_str(&format!("\n# {}\n{socket}", self.name.file(&self.name.socket()).display()));
        }
        text
    }
}

fn account(env: &Env, options: &Options, uid: u32, scope: Scope) -> Result<Account, NoPlan> {
    let caller = env.process("SUDO_USER").filter(|name| uid == 0 && *name != "root");
    if scope == Scope::System && uid != 0 {
        return Err(NoPlan::NotRoot);
    }
    if let (Scope::User, Some(name)) = (scope, options.run_as.as_deref().or(caller)) {
        return Err(NoPlan::UserAsRoot(name.into()));
    }
    if let Some(name) = options.run_as.as_deref().or(caller) {
        return Account::named(name).ok_or_else(|| NoPlan::NoAccount(name.into()));
    }
    // An account that a directory service knows is in no file.
    let own = || Account {
        name: env.process("USER").map_or_else(|| uid.to_string(), String::from),
        uid,
        gid: rustix::process::getegid().as_raw(),
        home: env.process("HOME").unwrap_or("/").into(),
    };
    Ok(Account::with_uid(uid).unwrap_or_else(own))
}

/// The environment of the caller of sudo, where HOME is root's and the gateway that is meant is not.
pub fn as_caller(env: Env) -> Env {
    let caller = env.process("SUDO_USER").filter(|_| rustix::process::geteuid().is_root());
    match caller.filter(|name| *name != "root").and_then(Account::named) {
        Some(account) => with_home(&env, &account.home),
        None => env,
    }
}

fn with_home(env: &Env, home: &Path) -> Env {
    let kept = env.names().filter(|name| *name != "HOME");
    let kept = kept.filter_map(|name| Some((name.to_owned(), env.process(name)?.to_owned())));
    kept.chain([("HOME".to_owned(), home.to_string_lossy().into_owned())]).collect()
}

/// The program as it was called, so that a link that an upgrade moves is followed; else where it lies.
fn program(env: &Env) -> std::io::Result<PathBuf> {
    let exact = host::program()?;
    let called = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    let named = match called.components().count() {
        0 | 1 => std::env::split_paths(env.process("PATH").unwrap_or_default())
            .map(|dir| dir.join(&called))
            .find(|path| path.is_file()),
        _ => std::path::absolute(&called).ok(),
    };
    let same = |path: &PathBuf| path.is_absolute() && std::fs::canonicalize(path).is_ok_and(|p| p == exact);
    Ok(named.filter(same).unwrap_or(exact))
}

/// The first directory on the way to `program` that `account` may not traverse.
fn closed_to(program: &Path, account: &Account) -> Option<PathBuf> {
    let open = |dir: &&Path| match std::fs::metadata(dir) {
        Ok(m) => m.permissions().mode() & 0o001 != 0 || m.uid() == account.uid || m.gid() == account.gid,
        Err(_) => true,
    };
    if account.uid == 0 {
        return None;
    }
    program.ancestors().skip(1).find(|dir| !open(dir)).map(Path::to_owned)
}

/// The addresses of a socket unit. One that cannot be bound fails the unit whole, so IPv6 is asked first.
fn sockets(settings: &Settings) -> Vec<SocketAddr> {
    let v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    listen::addresses(settings.where_to_listen(), settings.port)
        .into_iter()
        .filter(|at| v6 || at.is_ipv4())
        .collect()
}
