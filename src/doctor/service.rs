//! Checks of the service: its unit against the configuration and the running gateway.

use super::{Facts, Finding, Service};
use crate::service::{
    Account, Manager, Name, Properties, Scope, drop_ins, journal, lingers, openclaw_enabled, stands_before,
};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

/// Reports where unit, environment, configuration and the running gateway differ.
pub fn drift(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for service in &facts.services {
        found.extend(program(service));
        found.extend(ports(facts, service));
        found.extend(overruled(service));
        found.extend(openclaw(facts, &service.name));
        if let Ok(shown) = &service.shown {
            found.extend(state(facts, service, shown));
        }
    }
    if let [user, system] = &facts.services[..] {
        let what = format!(
            "{} is installed twice: {} and {}",
            user.name.service(),
            user.name.dir.display(),
            system.name.dir.display()
        );
        let why = "both need the port: one of them fails with code 78 at every boot";
        found.push(Finding::error(what, why, "barnacle gateway uninstall --user"));
    }
    found.extend(running(facts));
    found
}

/// Reports a unit of the user that ends with the login.
pub fn survives_logout(facts: &Facts) -> Vec<Finding> {
    let Some(_) = facts.services.iter().find(|s| s.name.scope == Scope::User) else { return Vec::new() };
    let uid = fs::metadata(&facts.paths.os_home).map_or(0, |m| m.uid());
    let Some(account) = Account::with_uid(uid).filter(|account| !lingers(account)) else { return Vec::new() };
    let name = &account.name;
    let what = format!("lingering is off for {name}");
    let why = "the gateway stops when the last login ends, and does not start at boot";
    let finding = Finding::error(what, why, format!("sudo loginctl enable-linger {name}"));
    let fix = move || {
        let done = std::process::Command::new("loginctl").args(["enable-linger", &account.name]).output()?;
        match lingers(&account) {
            true => Ok(format!("lingering is on for {}", account.name)),
            false => Err(std::io::Error::other(String::from_utf8_lossy(&done.stderr).trim().to_owned())),
        }
    };
    vec![finding.repaired_by(fix)]
}

/// Reports a unit whose program is missing.
fn program(service: &Service) -> Option<Finding> {
    let start = service.line("ExecStart").unwrap_or_default();
    let path = start.trim_start_matches('"').split(['"', ' ']).next().unwrap_or_default().replace("%%", "%");
    let runs = fs::metadata(&path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    (!runs).then(|| {
        let what = format!("{} starts {path}, which is missing or not a program", service.name.service());
        Finding::error(what, "it does not start the next time", install(service))
    })
}

/// Reports a unit with another port than the configuration.
fn ports(facts: &Facts, service: &Service) -> Vec<Finding> {
    let Ok(settings) = &facts.settings else { return Vec::new() };
    let port = settings.port;
    let mut found = Vec::new();
    let start = service.line("ExecStart").unwrap_or_default();
    let given = start.split_whitespace().find_map(|word| word.strip_prefix("--port="));
    if given.is_some_and(|given| given != port.to_string()) {
        let given = given.unwrap_or_default();
        let what = format!(
            "{} starts the gateway with --port={given}; the configuration says {port}",
            service.name.service()
        );
        found.push(Finding::error(
            what,
            "the command line takes precedence, and clients of this host call the other",
            install(service),
        ));
    }
    let socket = fs::read_to_string(service.name.file(&service.name.socket())).unwrap_or_default();
    let stale = socket
        .lines()
        .filter_map(|l| l.strip_prefix("ListenStream="))
        .find(|at| !at.ends_with(&format!(":{port}")));
    if let Some(at) = stale {
        let what = format!("{} holds {at}; the configuration says port {port}", service.name.socket());
        let why = "clients that connect there get no answer";
        found.push(Finding::error(what, why, install(service) + " --socket"));
    }
    found
}

/// Reports drop-ins, which take precedence over the unit.
fn overruled(service: &Service) -> Vec<Finding> {
    let see = match service.name.scope {
        Scope::User => "systemctl --user cat",
        Scope::System => "systemctl cat",
    };
    let finding = |path: std::path::PathBuf| {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let keys: Vec<_> = text.lines().filter_map(|line| Some(line.split_once('=')?.0.trim())).collect();
        let what = format!("the drop-in {} sets {}", path.display(), keys.join(", "));
        let fix =
            format!("{see} {} shows both; rm {} if it is not wanted", service.name.service(), path.display());
        match keys.contains(&"ExecStart") {
            true => Finding::error(what, "it replaces the program that was installed", fix),
            false => {
                Finding::warning(what, "it takes precedence over the unit, and outlives every install", fix)
            }
        }
    };
    drop_ins(&service.name).into_iter().map(finding).collect()
}

/// Reports a unit of OpenClaw with the same port.
fn openclaw(facts: &Facts, name: &Name) -> Vec<Finding> {
    let finding = |(scope, unit): (Scope, String)| {
        let what = format!("{unit} is enabled beside {}", name.service());
        let fix = format!(
            "{} disable --now {unit}; or to have both: barnacle gateway uninstall, and barnacle gateway install \
             --in-front-of-openclaw",
            scope.systemctl()
        );
        Finding::error(what, "both need the port; the second one to start fails, at every boot", fix)
    };
    // One that has a port of its own is in nobody's way; one that lost it is reported as such.
    let apart = |(scope, _): &(Scope, String)| {
        let configured = facts.settings.as_ref().map_or(0, |settings| settings.port);
        let pair = facts.pairs.iter().find(|pair| pair.name.scope == *scope);
        stands_before(name).is_some() || pair.is_some_and(|pair| pair.port(configured) != configured)
    };
    openclaw_enabled(&facts.paths.os_home, &facts.paths.system_units, &name.openclaw())
        .filter(|found| !apart(found))
        .map(finding)
        .into_iter()
        .collect()
}

/// Reports problems that systemd knows of.
fn state(facts: &Facts, service: &Service, shown: &Properties) -> Vec<Finding> {
    let unit = service.name.service();
    let systemctl = service.name.scope.systemctl();
    let mut found = Vec::new();
    if shown.get("NeedDaemonReload") == "yes" {
        let scope = service.name.scope;
        let what = format!("the files of {unit} changed since systemd read them");
        let finding =
            Finding::error(what, "it does not run as they say", format!("{systemctl} daemon-reload"));
        found.push(finding.repaired_by(move || {
            let manager = Manager::find(scope).map_err(std::io::Error::other)?;
            manager.run(&["daemon-reload"]).map_err(std::io::Error::other)?;
            Ok("systemd reloaded its units".into())
        }));
    }
    if shown.get("ActiveState") == "failed" {
        let what =
            format!("{unit} has failed ({}, exit code {})", shown.get("Result"), shown.get("ExecMainStatus"));
        let why = match shown.get("ExecMainStatus") {
            "78" => "the configuration or the port is the cause, so systemd does not try again",
            _ => "systemd stopped restarting it",
        };
        let fix = format!("{}; then barnacle gateway start", journal(&service.name));
        found.push(Finding::error(what, why, fix));
    }
    if shown.get("UnitFileState") == "disabled" {
        let what = format!("{unit} is not enabled");
        found.push(Finding::error(what, "it does not start at boot", format!("{systemctl} enable {unit}")));
    }
    let pid = facts.running.as_ref().ok().and_then(|r| r.pid());
    if let (Some(pid), Some(main)) = (pid, shown.main_pid().or(Some(0)))
        && pid != main
    {
        let what = format!("process {pid} is the gateway that answers, and it does not belong to {unit}");
        let why = "it ends with the login or terminal that started it, and nothing restarts it";
        found.push(Finding::warning(what, why, format!("kill {pid}; barnacle gateway start")));
    }
    found
}

/// Reports a gateway that answers and is another than the one that is meant, or another version.
fn running(facts: &Facts) -> Vec<Finding> {
    let Ok(running) = &facts.running else { return Vec::new() };
    let Some(own) = running.own() else {
        let what = format!("{} is an OpenClaw gateway ({})", running.url, running.version());
        return vec![Finding::warning(
            what,
            "Barnacle does not answer there",
            "openclaw gateway stop; barnacle gateway start",
        )];
    };
    let mut found = Vec::new();
    let dir = facts.paths.barnacle_dir.to_string_lossy();
    if own.text("stateDir") != dir {
        let what = format!(
            "{} keeps its state in {}, this command looks in {dir}",
            running.url,
            own.text("stateDir")
        );
        let why =
            "it is another gateway than the one that is meant here: other devices, perhaps another token";
        found.push(Finding::error(
            what,
            why,
            "set OPENCLAW_STATE_DIR and OPENCLAW_PROFILE here as it has them",
        ));
    }
    // With a service, its unit says why.
    if let (Ok(settings), Some(port), []) = (&facts.settings, own.u64("port"), &facts.services[..])
        && u64::from(settings.port) != port
    {
        let what =
            format!("the gateway that runs listens on port {port}; the configuration says {}", settings.port);
        let why =
            "Barnacle's commands find it; a client that knows the configuration alone calls the other port";
        found.push(Finding::warning(what, why, format!("barnacle config set gateway.port {port}")));
    }
    let exe = running.pid().and_then(|pid| fs::read_link(format!("/proc/{pid}/exe")).ok());
    let replaced = exe.is_some_and(|path| path.to_string_lossy().ends_with(" (deleted)"));
    let version = env!("CARGO_PKG_VERSION");
    if replaced || own.text("version") != version {
        let what = format!(
            "the running gateway is version {}, and its program was replaced since (this one is {version})",
            own.text("version")
        );
        found.push(Finding::error(
            what,
            "the installed version is not the one that runs",
            "barnacle gateway restart",
        ));
    }
    found
}

fn install(service: &Service) -> String {
    match service.name.scope {
        Scope::User => "barnacle gateway install".into(),
        Scope::System => "sudo barnacle gateway install --system".into(),
    }
}
