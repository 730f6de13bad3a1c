//! Installs and removes the units. OpenClaw's unit is disabled only on request, and kept.

use super::{
    Failed, Manager, Name, Plan, Scope, Unreachable,
    files::{PLACE, link, make_directories, put, read_ours, remove},
    front, lingers,
    systemd::Refused,
    unit,
};
use crate::store::lock_holder;
use std::{
    io,
    path::{Path, PathBuf},
};

/// Report of an installation, a line each.
#[derive(Default)]
pub struct Installed {
    pub lines: Vec<String>,
    /// Warnings of what may fail later.
    pub warnings: Vec<String>,
}

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
    keep_in_front(plan, before.as_deref());
    let openclaw = match plan.in_front_of {
        Some(_) => None,
        None => openclaw_in_use(plan, manager.as_ref().ok())?,
    };
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

/// Has a service that stands in front of OpenClaw stay there, whoever installs it anew.
fn keep_in_front(plan: &mut Plan, before: Option<&str>) {
    let Some((before, unit)) = before.and_then(|before| Some((before, in_front_of(before)?))) else { return };
    if plan.in_front_of.is_some() {
        return;
    }
    plan.in_front_of = Some(unit);
    let start = before.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap_or_default();
    for word in start.split_whitespace() {
        let name = PLACE.into_iter().find(|name| word.starts_with(name));
        if name.is_some_and(|name| !plan.arguments.iter().any(|given| given.starts_with(name))) {
            plan.arguments.push(word.to_owned());
        }
    }
}

/// Whether `pid` belongs to `unit`, as its control group says: cgroups(7).
pub(super) fn is_in(pid: u32, unit: &str) -> bool {
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
    if let Some(unit) = front::is_in_front(name) {
        return Err(Failed::InFront(unit));
    }
    if !name.is_installed() && read_ours(&socket)?.is_none() && !restore_openclaw {
        return Err(Failed::NotInstalled(name.clone()));
    }
    remove_units(name, manager.as_ref(), &mut done)?;
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

/// Stops the units of `name` and removes them.
pub(crate) fn remove_units(
    name: &Name,
    manager: Result<&Manager, &Unreachable>,
    done: &mut Installed,
) -> Result<(), Failed> {
    let (service, socket) = (name.file(&name.service()), name.file(&name.socket()));
    read_ours(&service)?;
    read_ours(&socket)?;
    if let Ok(manager) = manager {
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
    if let Ok(manager) = manager {
        systemctl(manager, &["daemon-reload"])?;
        // Fails where it had not failed.
        let _ = manager.run(&["reset-failed", &name.service()]);
    }
    Ok(())
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

/// Whether there is a service of that name, which Barnacle or its package wrote.
pub(crate) fn is_ours(name: &Name) -> bool {
    name.is_installed() || name.file(&name.socket()).exists()
}

/// The unit of OpenClaw's that the service stands before.
pub fn stands_before(name: &Name) -> Option<String> {
    in_front_of(&std::fs::read_to_string(name.file(&name.service())).ok()?)
}

fn in_front_of(text: &str) -> Option<String> {
    text.lines().find_map(|line| line.strip_prefix(unit::IN_FRONT_OF)).map(String::from)
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
    // OpenClaw's own unit lives as long.
    if !lingers(account) && plan.in_front_of.is_none() {
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
