//! The text of the units. Source: systemd.service(5), systemd.exec(5), systemd.socket(5).
//!
//! A pure function from a [`Plan`] and systemd's version to text: what that version does not know is left
//! out, and so is what a user's systemd may not do. No secret ever stands in it: units are world-readable,
//! outlive changes of the configuration, and are copied into backups.

use super::{Plan, Scope};
use std::path::Path;

/// The first line of every unit of ours: what does not begin with it is never overwritten.
pub const MARK: &str = "# Written by `barnacle gateway install`.";
/// Where a unit says whose place it takes; systemd passes over sections that begin with `X-`.
pub const REPLACES: &str = "Replaces=";

/// The service unit.
pub fn service(plan: &Plan, systemd: u32) -> String {
    let system = plan.name.scope == Scope::System;
    let mut lines = vec![
        MARK.to_owned(),
        format!(
            "# Changes made here are lost at the next one: {} edit {}",
            systemctl(plan),
            plan.name.service()
        ),
        "[Unit]".into(),
        "Description=Barnacle gateway".into(),
        // A failure that repeats is tried again for minutes, then left to be looked at.
        "StartLimitIntervalSec=300".into(),
        "StartLimitBurst=30".into(),
    ];
    if system {
        // Not network-online.target, nor time-sync.target: loopback is there at once.
        lines.push("After=network.target".into());
    }
    lines.extend(["".into(), "[Service]".into()]);
    match systemd {
        253.. => lines.extend(["Type=notify-reload".into(), "ReloadSignal=SIGUSR1".into()]),
        // The shell's own kill: a small Debian has no other.
        _ => lines.extend(["Type=notify".into(), "ExecReload=/bin/sh -c 'kill -USR1 $MAINPID'".into()]),
    }
    lines.push(exec_start(plan));
    if system {
        lines.push(format!("User={}", plan.account.name));
    }
    lines.extend(
        plan.variables
            .iter()
            .map(|(name, value)| format!("Environment={}", quote(&format!("{name}={value}")))),
    );
    lines.extend(RUNNING.lines().map(String::from));
    lines.extend(
        match systemd {
            254.. => "RestartSec=100ms\nRestartSteps=10\nRestartMaxDelaySec=60",
            _ => "RestartSec=1",
        }
        .lines()
        .map(String::from),
    );
    lines.extend(HARDENING.lines().map(String::from));
    if system {
        lines.extend(SYSTEM_HARDENING.lines().map(String::from));
        let capability = if plan.port < 1024 { "CAP_NET_BIND_SERVICE" } else { "" };
        lines.push(format!("CapabilityBoundingSet={capability}"));
        lines.push(format!("AmbientCapabilities={capability}"));
        if capability.is_empty() {
            // Within a user namespace of its own a service could not bind such a port.
            lines.push("PrivateUsers=yes".into());
        }
        if !plan.writes.iter().chain([&plan.program]).any(|dir| under_tmp(dir)) {
            lines.push("PrivateTmp=yes".into());
        }
        lines.extend(
            plan.writes.iter().map(|dir| format!("ReadWritePaths={}", quote(&dir.to_string_lossy()))),
        );
    }
    let target = if system { "multi-user.target" } else { "default.target" };
    lines.extend(["".into(), "[Install]".into(), format!("WantedBy={target}")]);
    if let Some(unit) = &plan.replaces {
        lines.extend(["".into(), "[X-Barnacle]".into(), format!("{REPLACES}{unit}")]);
    }
    lines.join("\n") + "\n"
}

/// The socket unit, if the plan has one.
pub fn socket(plan: &Plan) -> Option<String> {
    let first = plan.sockets.first()?;
    let mut lines = vec![
        MARK.to_owned(),
        "[Unit]".into(),
        format!("Description=Port {} of the Barnacle gateway", first.port()),
        "".into(),
        "[Socket]".into(),
    ];
    lines.extend(plan.sockets.iter().map(|at| format!("ListenStream={at}")));
    lines.extend([
        "BindIPv6Only=ipv6-only".into(),
        "FreeBind=yes".into(),
        "NoDelay=yes".into(),
        "Backlog=4096".into(),
    ]);
    lines.extend(["".into(), "[Install]".into(), "WantedBy=sockets.target".into()]);
    Some(lines.join("\n") + "\n")
}

/// Whatever systemd it is.
///
/// The watchdog is fed by the loop itself, at least once a tick of 30 s. Stopping takes the gateway less than ten seconds. A core dump
/// would hold keys. A board's memory is shared with the agents, which are to be killed first.
const RUNNING: &str = "\
NotifyAccess=main
WatchdogSec=90
FileDescriptorStoreMax=16384
LimitNOFILE=524288
LimitCORE=0
TimeoutStartSec=60
TimeoutStopSec=20
KillMode=mixed
Restart=always
RestartPreventExitStatus=78
OOMPolicy=continue
OOMScoreAdjust=-500
MemoryHigh=25%
MemoryMax=40%
TasksMax=256";

/// What needs no privilege, and so holds for a user's unit too. Files change their owner when `sudo barnacle`
/// wrote one, hence @chown.
const HARDENING: &str = "\
UMask=0077
NoNewPrivileges=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallFilter=@chown
SystemCallErrorNumber=EPERM
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes";

/// What a user's systemd has not the power to do: it fails the unit there, or is passed over.
const SYSTEM_HARDENING: &str = "\
ProtectSystem=strict
ProtectHome=read-only
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProcSubset=pid
PrivateDevices=yes
PrivateMounts=yes
RemoveIPC=yes
KeyringMode=private";

fn systemctl(plan: &Plan) -> &'static str {
    plan.name.scope.systemctl()
}

/// The `ExecStart=` line of a plan.
pub fn exec_start(plan: &Plan) -> String {
    let arguments = plan.arguments.iter().map(|word| quote(&word.replace('$', "$$")));
    let words: Vec<_> = [quote(&plan.program.to_string_lossy())].into_iter().chain(arguments).collect();
    format!("ExecStart={}", words.join(" "))
}

/// A word of a unit: systemd.syntax(7), with `%` for itself.
fn quote(word: &str) -> String {
    let word = word.replace('%', "%%");
    if word.chars().any(|c| c.is_whitespace() || matches!(c, '"' | '\'' | '\\' | ';')) {
        format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
    } else {
        word
    }
}

fn under_tmp(path: &Path) -> bool {
    ["/tmp", "/var/tmp"].iter().any(|tmp| path.starts_with(tmp))
}
