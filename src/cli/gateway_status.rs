//! `barnacle gateway status`: the service, the configuration and the gateway that answers, side by side.
//!
//! Names in the JSON are those of `openclaw gateway status --json` (2026.9.6), as far as there is such a thing.

use super::{
    Failure,
    args::{Args, OPTIONS, Word},
    print,
    table::plain,
};
use crate::{
    client::Url,
    config::Env,
    doctor::{Facts, Finding, Service, Weight, drift, token_homes},
    net::port_owner,
    service::Properties,
    tls::Certificate,
};
use nanoserde::SerJson;
use std::net::IpAddr;

const HELP: &str = "\
Say what the service, the configuration and the running gateway are, and where they differ.

Usage: barnacle gateway status [options]

  --no-probe             do not ask the gateway
  --require-rpc          exit with 3 or 4 where it does not answer
  --deep                 taken for OpenClaw's sake: system units are always looked at
";

#[derive(SerJson)]
struct Cli {
    version: &'static str,
    entrypoint: String,
}

#[derive(SerJson)]
#[allow(non_snake_case)]
struct Runtime {
    status: String,
    pid: Option<u32>,
    state: Option<String>,
    subState: Option<String>,
    lastExitStatus: Option<String>,
    restarts: Option<String>,
    detail: Option<String>,
}

#[derive(SerJson)]
#[allow(non_snake_case)]
struct ServiceShown {
    label: String,
    unit: Option<String>,
    file: Option<String>,
    command: Option<String>,
    loaded: bool,
    enabled: bool,
    runtime: Runtime,
}

#[derive(SerJson)]
struct ConfigFile {
    path: String,
    exists: bool,
    valid: bool,
    issue: Option<String>,
}

#[derive(SerJson)]
struct Configs {
    cli: ConfigFile,
}

#[derive(SerJson)]
#[allow(non_snake_case)]
struct Gateway {
    bindMode: String,
    bindHost: String,
    port: u16,
    probeUrl: String,
    version: Option<String>,
    stateDir: String,
    authMode: String,
    authFrom: String,
    tlsEnabled: bool,
    tlsFingerprintSha256: Option<String>,
}

#[derive(SerJson)]
struct Port {
    port: u16,
    status: &'static str,
    listeners: Vec<String>,
}

#[derive(SerJson)]
struct Rpc {
    ok: bool,
    url: Option<String>,
    ms: Option<u64>,
    error: Option<String>,
}

#[derive(SerJson)]
struct Drift {
    weight: &'static str,
    what: String,
    why: String,
    mend: String,
}

#[derive(SerJson)]
struct Report {
    cli: Cli,
    service: ServiceShown,
    config: Configs,
    gateway: Option<Gateway>,
    port: Option<Port>,
    rpc: Rpc,
    drift: Vec<Drift>,
}

/// Runs `barnacle gateway status`.
pub fn run(mut args: Args) -> Result<(), Failure> {
    let (mut probe, mut required) = (true, false);
    while let Some(word) = args.next()? {
        match word {
            Word::Flag(name) if name == "no-probe" => probe = false,
            Word::Flag(name) if name == "require-rpc" => required = true,
            Word::Flag(name) if name == "deep" => {}
            other => return Err(other.unexpected()),
        }
    }
    if args.help {
        return print(&format!("{HELP}{OPTIONS}"));
    }
    let facts = Facts::gather(Env::of_process(), args.options(), probe);
    let facts = facts.map_err(|e| Failure::new(e.exit_code(), e))?;
    let report = Report::of(&facts);
    print(&if args.json { report.serialize_json() + "\n" } else { report.text() })?;
    match &facts.running {
        Err(no) if required => Err(Failure::new(no.code.max(1), &no.why)),
        _ => Ok(()),
    }
}

impl Report {
    fn of(facts: &Facts) -> Self {
        let settings = facts.settings.as_ref().ok();
        let own = facts.running.as_ref().ok().and_then(|r| r.own());
        let path = |p: &std::path::Path| p.to_string_lossy().into_owned();
        let issue = match (&facts.settings, settings.filter(|s| !s.found.is_whole())) {
            (Err(e), _) => Some(e.to_string()),
            (_, Some(s)) => s.notices.iter().find(|n| n.contains("until it is mended")).cloned(),
            _ => None,
        };
        let at = settings.map(Url::own);
        let gateway = settings.zip(at.as_ref()).map(|(s, at)| Gateway {
            bindMode: s.bind.to_string(),
            bindHost: s.reachable_at().unwrap_or(IpAddr::from([127, 0, 0, 1])).to_string(),
            port: at.port(),
            probeUrl: at.to_string(),
            version: facts.running.as_ref().ok().map(|r| r.version()),
            stateDir: path(&facts.paths.barnacle_dir),
            authMode: s.auth.as_str().into(),
            authFrom: own.map_or_else(|| s.credential_source(), |o| o.text("authFrom").into()),
            tlsEnabled: s.config.tls.enabled,
            tlsFingerprintSha256: (s.config.tls.files(&s.paths))
                .and_then(|files| Certificate::fingerprint_in(&files.cert)),
        });
        Self {
            cli: Cli {
                version: env!("CARGO_PKG_VERSION"),
                entrypoint: std::env::current_exe().map(|p| path(&p)).unwrap_or_default(),
            },
            service: service(facts),
            config: Configs {
                cli: ConfigFile {
                    path: path(&facts.paths.config_file),
                    exists: facts.paths.config_file.exists(),
                    valid: issue.is_none(),
                    issue,
                },
            },
            gateway,
            port: at.map(|at| port(at.port())),
            rpc: match &facts.running {
                Ok(r) => Rpc { ok: true, url: Some(r.url.clone()), ms: Some(r.ms as u64), error: None },
                Err(no) => Rpc { ok: false, url: None, ms: None, error: Some(no.why.clone()) },
            },
            drift: drift(facts).into_iter().chain(token_homes(facts)).map(told).collect(),
        }
    }

    fn text(&self) -> String {
        let service = &self.service;
        let mut lines = vec![format!("Service: {}", service.label)];
        lines.extend(service.file.iter().map(|file| format!("Service file: {file}")));
        lines.extend(service.command.iter().map(|command| format!("Command: {command}")));
        lines.push(format!("Runtime: {}", service.runtime.text()));
        lines.push(String::new());
        let config = &self.config.cli;
        let state = match (config.exists, &config.issue) {
            (_, Some(issue)) => format!(" · {issue}"),
            (false, None) => " · not there, so the defaults hold".into(),
            (true, None) => String::new(),
        };
        lines.push(format!("Config: {}{state}", config.path));
        if let Some(gateway) = &self.gateway {
            lines.push(format!("State: {}", gateway.stateDir));
            lines.push(format!(
                "Gateway: bind={} ({}), port={}",
                gateway.bindMode, gateway.bindHost, gateway.port
            ));
            lines.push(format!("Auth: {} ({})", gateway.authMode, gateway.authFrom));
            if gateway.tlsEnabled {
                let fingerprint = gateway.tlsFingerprintSha256.as_deref();
                lines.push(format!(
                    "TLS: fingerprint {}",
                    fingerprint.unwrap_or("none, there is no certificate")
                ));
            }
            lines.push(format!("Probe target: {}", gateway.probeUrl));
        }
        lines.push(match (&self.rpc, &self.gateway) {
            (Rpc { ok: true, ms: Some(ms), .. }, Some(Gateway { version: Some(version), .. })) => {
                format!("Connectivity probe: ok · version {version}, answered in {ms} ms")
            }
            (Rpc { ok: true, .. }, _) => "Connectivity probe: ok".into(),
            (Rpc { error, .. }, _) => {
                format!("Connectivity probe: failed · {}", error.as_deref().unwrap_or_default())
            }
        });
        if let Some(Port { port, status: "busy", listeners }) = &self.port {
            lines.push(format!("Port {port}: {}", listeners.join(", ")));
        }
        if !self.drift.is_empty() {
            lines.extend(["".into(), "To mend, or to know:".into()]);
        }
        for drift in &self.drift {
            let sign = if drift.weight == "fault" { "!" } else { "-" };
            lines.push(format!("{sign} {}", drift.what));
            lines.push(format!("    {}", drift.why));
            lines.push(format!("    mend: {}", drift.mend));
        }
        lines.extend([
            "".into(),
            "More: barnacle status (what the gateway says), barnacle doctor (every check)".into(),
        ]);
        lines.iter().map(|line| plain(line) + "\n").collect()
    }
}

impl Runtime {
    fn text(&self) -> String {
        let mut text = self.status.clone();
        let parts = [
            self.pid.map(|pid| format!("pid {pid}")),
            self.state.as_ref().map(|state| format!("state {state}")),
            self.subState.as_ref().map(|sub| format!("sub {sub}")),
            self.lastExitStatus.as_ref().filter(|s| *s != "0").map(|status| format!("last exit {status}")),
            self.restarts.as_ref().filter(|n| *n != "0").map(|n| format!("started again {n} times")),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        if !parts.is_empty() {
            text.push_str(&format!(" ({})", parts.join(", ")));
        }
        self.detail.iter().for_each(|detail| text.push_str(&format!(" · {detail}")));
        text
    }
}

fn service(facts: &Facts) -> ServiceShown {
    let pid = facts.running.as_ref().ok().and_then(|r| r.pid());
    let Some(service) = facts.services.first() else {
        let status = if pid.is_some() { "running" } else { "stopped" };
        let detail = match pid {
            Some(_) => "started by hand; have the host run it: barnacle gateway install",
            None => "start it: barnacle gateway install, or barnacle gateway",
        };
        return ServiceShown {
            label: "none installed".into(),
            unit: None,
            file: None,
            command: None,
            loaded: false,
            enabled: false,
            runtime: Runtime { pid, ..Runtime::bare(status, Some(detail.into())) },
        };
    };
    let name = &service.name;
    let enabled = match &service.shown {
        Ok(shown) => shown.get("UnitFileState") == "enabled",
        Err(_) => ["default.target.wants", "multi-user.target.wants"]
            .iter()
            .any(|wants| name.dir.join(wants).join(name.service()).is_symlink()),
    };
    let word = if enabled { "enabled" } else { "disabled" };
    ServiceShown {
        label: format!("systemd {} ({word}) · {}", name.scope.word(), name.service()),
        unit: Some(name.service()),
        file: name.service_file().map(|file| file.to_string_lossy().into_owned()),
        command: service.line("ExecStart").map(String::from),
        loaded: service.shown.as_ref().is_ok_and(|s| s.get("LoadState") == "loaded"),
        enabled,
        runtime: runtime(service, pid),
    }
}

impl Runtime {
    fn bare(status: &str, detail: Option<String>) -> Self {
        Self {
            status: status.into(),
            pid: None,
            state: None,
            subState: None,
            lastExitStatus: None,
            restarts: None,
            detail,
        }
    }
}

fn runtime(service: &Service, pid: Option<u32>) -> Runtime {
    let shown = match &service.shown {
        Ok(shown) => shown,
        Err(e) => return Runtime { pid, ..Runtime::bare("unknown", Some(e.to_string())) },
    };
    let said = |properties: &Properties, name| {
        Some(properties.get(name).to_owned()).filter(|value| !value.is_empty())
    };
    Runtime {
        pid: shown.main_pid(),
        state: said(shown, "ActiveState"),
        subState: said(shown, "SubState"),
        lastExitStatus: said(shown, "ExecMainStatus"),
        restarts: said(shown, "NRestarts"),
        ..Runtime::bare(if shown.main_pid().is_some() { "running" } else { "stopped" }, None)
    }
}

fn port(port: u16) -> Port {
    let held = port_owner::is_held(port);
    let listener = port_owner::holder(port).map(|holder| holder.to_string());
    Port { port, status: if held { "busy" } else { "free" }, listeners: listener.into_iter().collect() }
}

fn told(finding: Finding) -> Drift {
    let Finding { weight, what, why, mend, .. } = finding;
    Drift { weight: if weight == Weight::Fault { "fault" } else { "note" }, what, why, mend }
}
