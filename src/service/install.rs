//! Installs and removes the units.
//!
//! No file of others is overwritten: OpenClaw's unit is disabled only on request, and kept; a file that was changed by
//! hand is kept beside the new one, without the secrets that may stand in it, for its owner only.

use super::{Manager, Name, Plan, Scope, Unreachable, lingers, systemd::Refused, unit};
use crate::store::{atomic, lock_holder};
use std::{
    fmt, io,
    os::unix::fs::{DirBuilderExt, chown, symlink},
    path::{Path, PathBuf},
};

/// Report of an installation, a line each.
#[derive(Default)]
pub struct Installed {
    pub lines: Vec<String>,
    /// Warnings of what may fail later.
    pub warnings: Vec<String>,
}

/// Why the service was not installed, removed or started.
#[derive(Debug)]
pub enum Failed {
    /// OpenClaw's unit is in use.
    OpenClaw(String),
    /// OpenClaw's unit is that of another systemd than the one that is asked.
    OpenClawElsewhere(String, Scope),
    /// A gateway runs on the same state that is not this service.
    ByHand(u32, PathBuf),
    /// The file was not written by Barnacle.
    NotOurs(PathBuf),
    /// The service belongs to another state directory.
    OtherState(PathBuf, String),
    NotInstalled(Name),
    Unreachable(Unreachable),
    /// The file cannot be written.
    Io(PathBuf, io::Error),
    Systemd(String, Refused),
    /// The service does not start: its exit code, and how to see why.
    NotStarted(Option<u8>, String),
}

impl Failed {
    /// The exit code of the command.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotStarted(Some(78), _) => 78,
            _ => 1,
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OpenClaw(unit) => write!(
                f,
                "{unit} is in use, with the same port. To take its place (it is kept, and restored by barnacle gateway \
                 uninstall --restore-openclaw): barnacle gateway install --replace-openclaw. To \
                 run beside it: OPENCLAW_PROFILE=<name> barnacle gateway install"
            ),
            Self::OpenClawElsewhere(unit, scope) => write!(
                f,
                "{unit} is in use, with the same port. It belongs to another systemd than this service, so \
                 stop it first: {} disable --now {unit}",
                scope.systemctl()
            ),
            Self::ByHand(pid, dir) => write!(
                f,
                "process {pid} runs a gateway on {}, started by hand. Stop it first (kill {pid}), then again",
                dir.display()
            ),
            Self::NotOurs(path) => {
                write!(
                    f,
                    "{0} was not written by Barnacle; to have it replaced: mv {0} {0}.old",
                    path.display()
                )
            }
            Self::OtherState(path, state) => write!(
                f,
                "{} is the service of another gateway ({state}). Give this one a name of its own: \
                 OPENCLAW_PROFILE=<name> barnacle gateway install",
                path.display()
            ),
            Self::NotInstalled(name) => write!(
                f,
                "no service of Barnacle is installed ({} is not there): barnacle gateway install",
                name.file(&name.service()).display()
            ),
            Self::Unreachable(e) => e.fmt(f),
            Self::Io(path, e) => write!(f, "{}: {e}", path.display()),
            Self::Systemd(what, e) => write!(f, "systemctl {what}: {e}"),
            Self::NotStarted(code, see) => {
                f.write_str("the gateway does not start")?;
                code.iter().try_for_each(|code| write!(f, " (exit code {code})"))?;
                write!(f, "; see why: {see}")
            }
        }
    }
}

impl std::error::Error for Failed {}

/// Installs `plan`, enables it and starts it. Where `manager` cannot be asked, the files are put so that
/// it starts at the next boot or login.
///
/// # Errors
/// [`Failed`]; nothing was changed, but for [`Failed::NotStarted`].
pub fn install(
    plan: &mut Plan,
    manager: Result<Manager, Unreachable>,
    replace_openclaw: bool,
) -> Result<Installed, Failed> {
    let manager = match manager {
        Err(e @ (Unreachable::OtherInit(_) | Unreachable::Failed(_))) => return Err(Failed::Unreachable(e)),
        other => other,
    };
    let mut done = Installed::default();
    let (service, socket) = (plan.name.service(), plan.name.socket());
    let running = manager.as_ref().ok().and_then(|m| m.show(&service).ok()?.main_pid());
    let dir = &plan.settings.paths.barnacle_dir;
    if let Some(pid) = lock_holder(dir).filter(|pid| Some(*pid) != running && !is_in(*pid, &service)) {
        return Err(Failed::ByHand(pid, dir.clone()));
    }
    let before = read_ours(&plan.name.file(&service))?;
    read_ours(&plan.name.file(&socket))?;
    check_state(plan, before.as_deref())?;
    plan.replaces = before.as_deref().and_then(replaced).or(plan.replaces.take());
    let openclaw = openclaw_in_use(plan, manager.as_ref().ok())?;
    if let Some(unit) = openclaw {
        if !replace_openclaw {
            return Err(Failed::OpenClaw(unit));
        }
        if let Ok(manager) = &manager {
            systemctl(manager, &["disable", "--now", &unit])?;
        }
        done.lines.push(format!("stopped and disabled {unit}; its file is kept"));
        plan.replaces = Some(unit);
    }
    make_directories(plan)?;
    // Without systemd's word, what every version understands.
    let version = manager.as_ref().map_or(0, |m| m.version);
    let changed = put(&plan.name.file(&service), &unit::service(plan, version), &mut done)?;
    let socket_file = plan.name.file(&socket);
    match unit::socket(plan) {
        Some(text) => _ = put(&socket_file, &text, &mut done)?,
        None if socket_file.exists() => {
            if let Ok(manager) = &manager {
                systemctl(manager, &["disable", "--now", &socket])?;
            }
            remove(&socket_file)?;
            done.lines.push(format!("removed {}", socket_file.display()));
        }
        None => {}
    }
    match manager {
        Ok(manager) => start_installed(plan, &manager, running.is_some(), changed, &mut done)?,
        Err(why) => {
            let wants = plan.name.dir.join("default.target.wants");
            link(&wants, &plan.name.file(&service))?;
            done.lines.push(format!(
                "it starts with your next login, or at boot if lingering is on. Not now: {why}"
            ));
        }
    }
    done.warnings.extend(drop_in_warnings(&plan.name));
    if plan.name.scope == Scope::User {
        done.warnings.extend(linger(plan));
    }
    Ok(done)
}

/// Whether `pid` belongs to `unit`, as its control group says: cgroups(7).
fn is_in(pid: u32, unit: &str) -> bool {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    groups.lines().any(|line| line.ends_with(&format!("/{unit}")))
}

/// Removes what `install` wrote, and restores OpenClaw's unit on request.
pub fn uninstall(
    name: &Name,
    manager: Result<Manager, Unreachable>,
    restore_openclaw: bool,
) -> Result<Installed, Failed> {
    let mut done = Installed::default();
    let (service, socket) = (name.file(&name.service()), name.file(&name.socket()));
    let text = read_ours(&service)?;
    if !name.is_installed() && read_ours(&socket)?.is_none() && !restore_openclaw {
        return Err(Failed::NotInstalled(name.clone()));
    }
    if let Ok(manager) = &manager {
        let units = [(socket.exists(), name.socket()), (name.is_installed(), name.service())];
        for (_, unit) in units.iter().filter(|(there, _)| *there) {
            systemctl(manager, &["disable", "--now", unit])?;
            done.lines.push(format!("stopped and disabled {unit}"));
        }
    }
    let wants =
        ["default.target.wants", "multi-user.target.wants"].map(|d| name.dir.join(d).join(name.service()));
    for file in
        wants.iter().filter(|f| f.is_symlink()).chain([&socket, &service].into_iter().filter(|f| f.exists()))
    {
        remove(file)?;
        done.lines.push(format!("removed {}", file.display()));
    }
    if let Ok(manager) = &manager {
        systemctl(manager, &["daemon-reload"])?;
        // Fails where it had not failed.
        let _ = manager.run(&["reset-failed", &name.service()]);
    }
    let replaced = text.as_deref().and_then(replaced);
    match (replaced, restore_openclaw) {
        (Some(unit), true) => restore(&unit, manager, &mut done)?,
        (None, true) => {
            let unit = name.openclaw();
            if !name.file(&unit).exists() {
                return Err(Failed::Io(name.file(&unit), io::ErrorKind::NotFound.into()));
            }
            restore(&unit, manager, &mut done)?;
        }
        (Some(unit), false) => done.warnings.push(format!(
            "{unit}, whose place this took, stays disabled; to restore it: {} enable --now {unit}",
            name.scope.systemctl()
        )),
        (None, false) => {}
    }
    done.warnings.extend(drop_in_warnings(name));
    Ok(done)
}

fn restore(unit: &str, manager: Result<Manager, Unreachable>, done: &mut Installed) -> Result<(), Failed> {
    let manager = manager.map_err(Failed::Unreachable)?;
    systemctl(&manager, &["enable", "--now", unit])?;
    done.lines.push(format!("enabled and started {unit}"));
    Ok(())
}

/// Starts the service that is installed as `name`, and waits until it is ready.
pub fn start(name: &Name, manager: &Manager) -> Result<(), Failed> {
    let service = name.service();
    // It may have failed too often of late, and be held back.
    let _ = manager.run(&["reset-failed", &service]);
    let Err(e) = manager.run(&["start", &service]) else { return Ok(()) };
    let code = manager.show(&service).ok().and_then(|p| p.get("ExecMainStatus").parse().ok());
    match e {
        Refused::NotRun(_) => Err(Failed::Systemd(format!("start {service}"), e)),
        Refused::Failed(_) => Err(Failed::NotStarted(code.filter(|c| *c != 0), journal(name))),
    }
}

/// The command that shows the log of the service.
pub fn journal(name: &Name) -> String {
    let user = if name.scope == Scope::User { " --user" } else { "" };
    format!("journalctl{user} -u {} -n 20", name.base)
}

fn start_installed(
    plan: &Plan,
    manager: &Manager,
    running: bool,
    changed: bool,
    done: &mut Installed,
) -> Result<(), Failed> {
    let (service, socket) = (plan.name.service(), plan.name.socket());
    systemctl(manager, &["daemon-reload"])?;
    systemctl(manager, &["enable", &service])?;
    if !plan.sockets.is_empty() {
        // systemd does not listen for a service that does so itself.
        if running && manager.show(&socket).is_ok_and(|p| p.get("ActiveState") != "active") {
            systemctl(manager, &["stop", &service])?;
        }
        systemctl(manager, &["enable", "--now", &socket])?;
    }
    if running && changed {
        systemctl(manager, &["restart", &service])?;
        done.lines.push(format!("restarted {service}"));
    } else {
        start(&plan.name, manager)?;
        done.lines.push(format!("{service} runs: port {}, as {}", plan.port, plan.account.name));
    }
    let runs = manager.show(&service).map_err(|e| Failed::Systemd("show".into(), e))?;
    let program = plan.program.to_string_lossy();
    if !runs.get("ExecStart").contains(&format!("path={program} ;")) {
        done.warnings
            .push(format!("a drop-in starts another program than {program}: {}", runs.get("ExecStart")));
    }
    Ok(())
}

fn systemctl(manager: &Manager, arguments: &[&str]) -> Result<String, Failed> {
    manager.run(arguments).map_err(|e| Failed::Systemd(arguments.join(" "), e))
}

/// Reads a unit that Barnacle wrote; `None` where there is none.
fn read_ours(path: &Path) -> Result<Option<String>, Failed> {
    match std::fs::read_to_string(path) {
        Ok(text) if text.starts_with(unit::MARK) => Ok(Some(text)),
        Ok(_) => Err(Failed::NotOurs(path.into())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Failed::Io(path.into(), e)),
    }
}

/// Refuses to replace the unit of a gateway with another state directory.
fn check_state(plan: &Plan, before: Option<&str>) -> Result<(), Failed> {
    let Some(before) = before else { return Ok(()) };
    let of = |text: &str| text.lines().find(|l| l.contains("OPENCLAW_STATE_DIR=")).map(String::from);
    let (old, new) = (of(before), of(&unit::service(plan, 0)));
    if old == new {
        return Ok(());
    }
    let old = old.unwrap_or_else(|| "the usual state directory".into());
    Err(Failed::OtherState(plan.name.file(&plan.name.service()), old))
}

fn replaced(text: &str) -> Option<String> {
    text.lines().find_map(|line| line.strip_prefix(unit::REPLACES)).map(String::from)
}

/// OpenClaw's unit of the same profile, if it is enabled or runs.
fn openclaw_in_use(plan: &Plan, manager: Option<&Manager>) -> Result<Option<String>, Failed> {
    let unit = plan.name.openclaw();
    let shown = manager.and_then(|m| m.show(&unit).ok());
    if shown.is_some_and(|p| matches!(p.get("ActiveState"), "active" | "activating" | "reloading")) {
        return Ok(Some(unit));
    }
    match openclaw_enabled(&plan.account.home, &plan.settings.paths.system_units, &unit) {
        Some((scope, unit)) if scope != plan.name.scope => Err(Failed::OpenClawElsewhere(unit, scope)),
        enabled => Ok(enabled.map(|(_, unit)| unit)),
    }
}

/// The systemd that starts `unit`, a unit of OpenClaw's, at boot or login. The links that `systemctl enable` makes show
/// it: this process may be unable to ask the other systemd.
pub fn openclaw_enabled(home: &Path, system_units: &Path, unit: &str) -> Option<(Scope, String)> {
    let user = home.join(".config/systemd/user");
    [(Scope::User, user.as_path()), (Scope::System, system_units)].into_iter().find_map(|(scope, dir)| {
        let mut wants = ["default.target.wants", "multi-user.target.wants"].iter();
        let enabled = dir.join(unit).exists() && wants.any(|wants| dir.join(wants).join(unit).is_symlink());
        enabled.then(|| (scope, unit.to_owned()))
    })
}

/// Creates the directories that the unit names: they must exist before it starts.
fn make_directories(plan: &Plan) -> Result<(), Failed> {
    for dir in plan.writes.iter().filter(|dir| !dir.exists()) {
        let missing: Vec<_> = dir.ancestors().take_while(|d| !d.exists()).collect();
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        let owned = made.and_then(|()| {
            missing.iter().try_for_each(|d| chown(d, Some(plan.account.uid), Some(plan.account.gid)))
        });
        owned.map_err(|e| Failed::Io(dir.clone(), e))?;
    }
    Ok(())
}

/// Writes a unit; returns whether its text changed.
fn put(path: &Path, text: &str, done: &mut Installed) -> Result<bool, Failed> {
    let io = |e| Failed::Io(path.into(), e);
    let before = std::fs::read_to_string(path).unwrap_or_default();
    if before == text {
        return Ok(false);
    }
    if !before.is_empty() {
        let kept = atomic::beside(path, ".bak");
        atomic::replace(&kept, without_secrets(&before).as_bytes(), 0o600).map_err(io)?;
        done.lines.push(format!("kept the previous one as {}", kept.display()));
    }
    path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(io)?;
    atomic::replace(path, text.as_bytes(), 0o644).map_err(io)?;
    done.lines.push(format!("wrote {}", path.display()));
    Ok(true)
}

/// Removes the values of variables and options that may be secrets from a unit's text.
fn without_secrets(text: &str) -> String {
    let sounds = |line: &str| {
        let line = line.to_ascii_uppercase();
        ["TOKEN", "PASSWORD", "SECRET", "_KEY", "CREDENTIAL"].iter().any(|word| line.contains(word))
    };
    let keep = |line: &str| match line.split_once('=') {
        Some((name, _)) if sounds(line) => format!("# {name}= left out: it may hold a secret\n"),
        _ => format!("{line}\n"),
    };
    text.replace("\\\n", " ").lines().map(keep).collect()
}

fn remove(path: &Path) -> Result<(), Failed> {
    std::fs::remove_file(path).map_err(|e| Failed::Io(path.into(), e))
}

/// Enables a unit as `systemctl enable` does, where that cannot run.
fn link(wants: &Path, unit: &Path) -> Result<(), Failed> {
    let at = unit.file_name().map(|name| wants.join(name)).unwrap_or_default();
    if at.is_symlink() {
        return Ok(());
    }
    let made = std::fs::create_dir_all(wants).and_then(|()| symlink(unit, &at));
    made.map_err(|e| Failed::Io(at, e))
}

/// The drop-ins of a service, which outlive every install and take precedence.
pub fn drop_ins(name: &Name) -> Vec<PathBuf> {
    let dir = name.file(&format!("{}.d", name.service()));
    let entries = std::fs::read_dir(&dir).into_iter().flatten().flatten().map(|e| e.path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "conf")).collect();
    files.sort();
    files
}

fn drop_in_warnings(name: &Name) -> impl Iterator<Item = String> {
    let see = match name.scope {
        Scope::User => "systemctl --user cat",
        Scope::System => "systemctl cat",
    };
    let unit = name.service();
    drop_ins(name)
        .into_iter()
        .map(move |path| format!("the drop-in {} changes the unit; see both: {see} {unit}", path.display()))
}

/// Turns lingering on, if that is allowed; returns a warning if not.
fn linger(plan: &Plan) -> Option<String> {
    let account = &plan.account;
    if !lingers(account) {
        let _ = std::process::Command::new("loginctl").args(["enable-linger", &account.name]).output();
    }
    (!lingers(account)).then(|| {
        format!(
            "lingering is off for {0}: the gateway stops when {0} logs out, and does not start at boot. Turn it on: \
             sudo loginctl enable-linger {0}",
            account.name
        )
    })
}
