//! `barnacle gateway status`: the service, the configuration and the gateway that answers, side by side.
//!
//! Names in the JSON are those of `openclaw gateway status --json` (2026.9.6), as far as there is such a thing.

use super::super::{Command, Failure, Opt, args::Args, finding::Shown, print, table::plain};
use crate::{
    client::Url,
    config::{Env, FileState},
    doctor::{Facts, Service, drift, token_homes, unresponsive},
    host,
    net::port_owner,
    service::Properties,
    store::lock_holder,
    tls::Certificate,
};
use nanoserde::SerJson;
use std::net::IpAddr;

pub(super) static COMMAND: Command = Command {
    name: "status",
    summary: "compare service, configuration and the running gateway",
    about: "Show the service, the configuration and the running gateway, and where they differ.",
    options: &[
        Opt::flag(&["no-probe"], "do not connect to the gateway"),
        Opt::flag(&["require-rpc"], "exit with 3 or 4 where it does not answer"),
        // OpenClaw's; system units are always looked at.
        Opt::flag(&["deep"], ""),
    ],
    calls: true,
    run,
    ..Command::NONE
};

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
struct Report {
    cli: Cli,
    service: ServiceShown,
    config: Configs,
    gateway: Option<Gateway>,
    port: Option<Port>,
    rpc: Rpc,
    drift: Vec<Shown>,
}

fn run(args: Args) -> Result<(), Failure> {
    let facts = Facts::gather(Env::of_process(), args.options()?, !args.has("no-probe"));
    let facts = facts.map_err(|e| Failure::new(e.exit_code(), e))?;
    let report = Report::of(&facts);
    print(&if args.json { report.serialize_json() + "\n" } else { report.text() })?;
    match &facts.running {
        Err(no) if args.has("require-rpc") => Err(Failure::new(no.code.max(1), &no.why)),
        _ => Ok(()),
    }
}

impl Report {
    fn of(facts: &Facts) -> Self {
        let settings = facts.settings.as_ref().ok();
        let own = facts.running.as_ref().ok().and_then(|r| r.own());
        let path = |p: &std::path::Path| p.to_string_lossy().into_owned();
        let issue = match &facts.settings {
            Err(e) => Some(e.to_string()),
            Ok(s) => match &s.found {
                FileState::Broken(broken) => Some(broken.to_string()),
                _ => None,
            },
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
                entrypoint: host::program().map(|p| path(&p)).unwrap_or_default(),
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
            port: at.map(|at| port(at.port(), facts)),
            rpc: match &facts.running {
                Ok(r) => Rpc { ok: true, url: Some(r.url.clone()), ms: Some(r.ms as u64), error: None },
                Err(no) => Rpc { ok: false, url: None, ms: None, error: Some(no.why.clone()) },
            },
            drift: unresponsive(facts)
                .into_iter()
                .chain(drift(facts))
                .chain(token_homes(facts))
                .map(|f| Shown::new(f, false))
                .collect(),
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
            (false, None) => " · missing; defaults apply".into(),
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
                lines.push(format!("TLS: fingerprint {}", fingerprint.unwrap_or("none, no certificate")));
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
        let mut text: String = lines.iter().map(|line| plain(line) + "\n").collect();
        if !self.drift.is_empty() {
            text.push_str("\nFindings:\n");
        }
        self.drift.iter().for_each(|finding| text.push_str(&finding.text()));
        text + "\nMore: barnacle status (reported by the gateway), barnacle doctor (every check)\n"
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
            self.restarts.as_ref().filter(|n| *n != "0").map(|n| format!("restarted {n} times")),
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
            Some(_) => "started by hand; to run it as a service: barnacle gateway install",
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
    let shown_as = |properties: &Properties, name| {
        Some(properties.get(name).to_owned()).filter(|value| !value.is_empty())
    };
    Runtime {
        pid: shown.main_pid(),
        state: shown_as(shown, "ActiveState"),
        subState: shown_as(shown, "SubState"),
        lastExitStatus: shown_as(shown, "ExecMainStatus"),
        restarts: shown_as(shown, "NRestarts"),
        ..Runtime::bare(if shown.main_pid().is_some() { "running" } else { "stopped" }, None)
    }
}

fn port(port: u16, facts: &Facts) -> Port {
    // The files of a gateway of this account are closed to us; its lock says who it is.
    let own = || lock_holder(&facts.paths.barnacle_dir).filter(|_| facts.lock_has_port(port));
    let listener = port_owner::holder(port).map(|holder| holder.to_string());
    let listener = listener.or_else(|| Some(host::process(own()?)));
    let held = port_owner::is_held(port);
    Port { port, status: if held { "busy" } else { "free" }, listeners: listener.into_iter().collect() }
}
