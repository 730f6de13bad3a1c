//! The service under a real systemd, its own manager in namespaces (`support/host`).

use crate::host::{ACCOUNT, Host, PROGRAM, UNIT, shared};
use crate::wire::{Client, free_port, number, signal};
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::Path,
};

#[test]
fn nothing_of_the_machine_is_within_reach_of_its_systemd() {
    let canary = std::env::temp_dir().join(format!("barnacle-canary-{}", std::process::id()));
    fs::write(&canary, "alive").unwrap();
    for host in [Host::user(), Host::system()] {
        assert!(
            !host.path(canary.to_str().unwrap()).exists(),
            "the machine's temporary files are in the host"
        );
        let mounts = fs::read_to_string(host.path("proc/1/mountinfo")).unwrap();
        for mount in mounts.lines() {
            let (left, right) = mount.split_once(" - ").unwrap();
            let (at, options) = {
                let mut f = left.split(' ').skip(4);
                (f.next().unwrap(), f.next().unwrap())
            };
            let kind = right.split(' ').next().unwrap();
            let own = matches!(kind, "tmpfs" | "proc" | "sysfs" | "cgroup2" | "ramfs" | "mqueue" | "devpts");
            assert!(
                own || options.split(',').any(|o| o == "ro"),
                "{at} ({kind}) is the machine's, and writable"
            );
        }
    }
    assert_eq!(fs::read_to_string(&canary).unwrap(), "alive");
    fs::remove_file(canary).unwrap();
}

/// A host with a configuration; its port.
fn configured(host: Host) -> (Host, u16) {
    let port = free_port();
    host.config(&shared(port));
    (host, port)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_user_unit_is_installed_runs_and_is_taken_away() {
    let (host, port) = configured(Host::user());
    let output = host.ok(&["gateway", "install"]);
    assert!(output.contains(&format!("{UNIT} runs: port {port}, as {ACCOUNT}")), "{output}");
    assert!(
        output.contains(&format!("sudo loginctl enable-linger {ACCOUNT}")),
        "nobody told of lingering: {output}"
    );
    host.wait_log("listening on", 1);
    assert_eq!(host.property(UNIT, "UnitFileState"), "enabled");
    let before = host.property(UNIT, "MainPID");
    assert!(host.ok(&["gateway", "install"]).contains("runs"), "a second time is no error");
    assert_eq!(host.property(UNIT, "MainPID"), before, "nothing changed, so nothing is restarted");
    let status = host.ok(&["gateway", "status"]);
    for part in ["Service: systemd user (enabled)", "Runtime: running (pid ", "Connectivity probe: ok"] {
        assert!(status.contains(part), "no {part:?} in {status}");
    }
    let (code, doctor, _) = host.run(&["doctor"]);
    let problems: Vec<_> = doctor.lines().filter_map(|line| line.strip_prefix("! ")).collect();
    assert!(code == 1 && problems.len() == 2, "{doctor}");
    // The host is in memory, as a board with an overlay is: B153.
    assert!(
        problems[0].ends_with("is on tmpfs") && problems[1] == "lingering is off for barnacle-test",
        "{doctor}"
    );
    // B120: limits of memory do nothing here, and no harm.
    assert!(doctor.contains("- the kernel's memory controller is off"), "{doctor}");
    // What the sandbox must not take: a write of the store, and one of the configuration's owner.
    host.ok(&["call", "device.pair.setupCode"]);
    let output = host.ok(&["gateway", "uninstall"]);
    assert!(output.contains("removed"), "{output}");
    assert_eq!(host.property(UNIT, "LoadState"), "not-found");
    assert_eq!(fs::read_dir(host.units()).unwrap().flatten().filter(|e| e.path().is_file()).count(), 0);
    assert!(host.home.join(".openclaw/barnacle/key").exists(), "what the gateway knows stays");
    let (code, _, err) = host.run(&["gateway", "uninstall"]);
    assert!(code == 1 && err.contains("no service of Barnacle is installed"), "{err}");
    let (code, _, err) = host.run(&["gateway", "start"]);
    assert!(code == 1 && err.contains("barnacle gateway install"), "{err}");
}

#[test]
fn root_installs_a_system_unit_that_runs_as_the_account() {
    let (host, port) = configured(Host::system());
    let output = host.ok(&["gateway", "install"]);
    assert!(output.contains(&format!("port {port}, as {ACCOUNT}")), "{output}");
    host.wait_log("listening on", 1);
    let pid = host.main_pid(UNIT).unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).unwrap().trim().to_owned();
    assert!(field("Uid:").starts_with("23456\t"), "{status}");
    assert_eq!(field("NoNewPrivs:"), "1");
    assert_eq!(field("Seccomp:"), "2");
    assert_eq!(field("CapBnd:"), "0000000000000000");
    // Whether it may be lowered is the machine's to say.
    assert_eq!(host.property(UNIT, "OOMScoreAdjust"), "-500", "the agents are to be killed first");
    // It can write what is its own, from within the sandbox.
    let url = format!("ws://127.0.0.1:{port}");
    host.ok(&["call", "device.pair.setupCode", "--url", &url, "--token", "T1"]);
    host.ok(&["gateway", "uninstall"]);
    assert_eq!(host.property(UNIT, "LoadState"), "not-found");
}

#[test]
fn a_permanent_failure_is_not_restarted() {
    let (host, port) = configured(Host::user());
    let holder = TcpListener::bind(("127.0.0.1", port)).unwrap();
    host.run(&["gateway", "install"]);
    host.until_property(UNIT, "ActiveState", "failed");
    assert_eq!(host.property(UNIT, "ExecMainStatus"), "78");
    assert_eq!(host.property(UNIT, "NRestarts"), "0");
    drop(holder);
    host.ok(&["gateway", "start"]);
    host.wait_log("listening on", 1);
    // A crash is.
    host.systemctl(&["kill", "-s", "KILL", UNIT]);
    host.until_property(UNIT, "NRestarts", "1");
    host.wait_log("listening on", 2);
}

#[test]
fn openclaws_unit_is_replaced_on_request_and_restored() {
    let (host, _) = configured(Host::user());
    let theirs = "[Service]\nEnvironment=OPENCLAW_GATEWAY_TOKEN=T0\nExecStart=/bin/sleep 1000\n\
                  [Install]\nWantedBy=default.target\n";
    let file = host.write(".config/systemd/user/openclaw-gateway.service", theirs);
    host.systemctl(&["daemon-reload"]);
    host.systemctl(&["enable", "--now", "openclaw-gateway.service"]);
    let (code, _, err) = host.run(&["gateway", "install"]);
    assert!(code == 1 && err.contains("--replace-openclaw"), "{err}");
    assert!(!host.units().join(UNIT).exists());
    host.ok(&["gateway", "install", "--replace-openclaw"]);
    assert_eq!(host.property("openclaw-gateway.service", "ActiveState"), "inactive");
    assert_eq!(host.property("openclaw-gateway.service", "UnitFileState"), "disabled");
    // It is still known whose place it took after another install.
    host.ok(&["gateway", "install"]);
    host.ok(&["gateway", "uninstall", "--restore-openclaw"]);
    assert_eq!(host.property("openclaw-gateway.service", "ActiveState"), "active");
    assert_eq!(host.property("openclaw-gateway.service", "UnitFileState"), "enabled");
    assert_eq!(fs::read_to_string(file).unwrap(), theirs);
}

#[test]
fn foreign_units_are_kept_and_backups_hold_no_secret() {
    let (host, _) = configured(Host::user());
    let unit = host.write(&format!(".config/systemd/user/{UNIT}"), "[Service]\nExecStart=/bin/true\n");
    let (code, _, err) = host.run(&["gateway", "install"]);
    assert!(code == 1 && err.contains("was not written by Barnacle"), "{err}");
    fs::remove_file(&unit).unwrap();
    host.ok(&["gateway", "install"]);
    assert_eq!(mode(&unit), 0o644);
    let ours = fs::read_to_string(&unit).unwrap();
    let changed =
        ours.replace("[Service]", "[Service]\nEnvironment=OPENCLAW_GATEWAY_TOKEN=T-OLD FOO=bar\nNice=1");
    host.write(&format!(".config/systemd/user/{UNIT}"), &changed);
    let drop_in = "[Service]\nType=exec\nExecStart=\nExecStart=/bin/sleep 1000\n";
    host.write(&format!(".config/systemd/user/{UNIT}.d/x.conf"), drop_in);
    let output = host.ok(&["gateway", "install"]);
    assert_eq!(fs::read_to_string(&unit).unwrap(), ours);
    let kept = unit.with_extension("service.bak");
    let text = fs::read_to_string(&kept).unwrap();
    assert!(text.contains("Nice=1") && !text.contains("T-OLD"), "{text}");
    assert_eq!(mode(&kept), 0o600);
    assert!(
        output.contains("x.conf") && output.contains("/bin/sleep"),
        "nobody told of the drop-in: {output}"
    );
}

#[test]
fn a_socket_unit_has_the_port_before_the_gateway_and_after_it() {
    let (host, port) = configured(Host::user());
    host.ok(&["gateway", "install", "--socket"]);
    host.wait_log("listening on", 1);
    assert_eq!(host.property("barnacle-gateway.socket", "ActiveState"), "active");
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut client = host.attach(at);
    assert_eq!(host.systemctl(&["restart", UNIT]).0, 0, "{}", host.log());
    client.ok("health", "{}");
    // Whoever comes while it is stopped has it started.
    assert_eq!(host.systemctl(&["stop", UNIT]).0, 0, "{}", host.log());
    assert_eq!(client.closed().0, 1012);
    host.attach(at).ok("health", "{}");
    assert_eq!(host.property(UNIT, "ActiveState"), "active");
    host.ok(&["gateway", "uninstall"]);
    assert!(!host.units().join("barnacle-gateway.socket").exists());
}

#[test]
fn status_names_drift_and_its_fix() {
    let (host, port) = configured(Host::user());
    host.ok(&["gateway", "install", "--port", &port.to_string()]);
    let socket =
        format!("# Written by `barnacle gateway install`.\n[Socket]\nListenStream=127.0.0.1:{port}\n");
    host.write(".config/systemd/user/barnacle-gateway.socket", &socket);
    fs::write(host.path(&format!("var/lib/systemd/linger/{ACCOUNT}")), "").unwrap();
    let drifted = |word: &str| host.ok(&["gateway", "status", "--timeout", "2000"]).contains(word);
    assert!(!drifted("Findings:"), "{}", host.ok(&["gateway", "status"]));
    let other = free_port();
    host.config(&shared(other));
    assert!(drifted(&format!("--port={port}; the configuration says {other}")), "the port in the unit");
    assert!(
        drifted(&format!("holds 127.0.0.1:{port}; the configuration says port {other}")),
        "the socket unit"
    );
    host.ok(&["gateway", "install"]);
    assert!(!drifted("the configuration says"), "{}", host.ok(&["gateway", "status"]));
    assert!(!host.units().join("barnacle-gateway.socket").exists());
    // A unit that is changed by hand is not what systemd does until it has read it.
    let unit = host.units().join(UNIT);
    fs::write(&unit, fs::read_to_string(&unit).unwrap() + "\n[X-Mine]\na=b\n").unwrap();
    assert!(drifted("changed since systemd read them"), "{}", host.ok(&["gateway", "status"]));
    assert!(host.run(&["doctor", "--fix"]).1.contains("fixed: systemd reloaded its units"));
    assert!(!drifted("changed since systemd read them"));
    host.systemctl(&["disable", UNIT]);
    assert!(drifted("is not enabled"));
    // B143: each class of failure shows what it is.
    let holder = TcpListener::bind(("127.0.0.1", other)).ok();
    host.systemctl(&["stop", UNIT]);
    let holder = holder.or_else(|| TcpListener::bind(("127.0.0.1", other)).ok()).unwrap();
    host.run(&["gateway", "start"]);
    host.until_property(UNIT, "ActiveState", "failed");
    assert!(drifted("so systemd does not try again"), "{}", host.ok(&["gateway", "status"]));
    drop(holder);
}

#[test]
fn without_a_bus_it_is_installed_for_the_next_login() {
    // B129: su, sudo -i, no dbus-user-session.
    let (host, _) = configured(Host::user());
    let install = |vars: &[(&str, &str)]| {
        let mut command = host.command(PROGRAM, &["gateway", "install"]);
        command.env_remove("XDG_RUNTIME_DIR").envs(vars.iter().copied());
        let out = command.output().unwrap();
        (out.status.code(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
    };
    let runtime = host.path("run/user/23456");
    fs::rename(&runtime, host.path("run/user/away")).unwrap();
    let (code, output) = install(&[]);
    assert_eq!(code, Some(0), "{output}");
    assert!(
        output.contains(&format!("sudo loginctl enable-linger {ACCOUNT}"))
            && output.contains("su and sudo -i"),
        "{output}"
    );
    assert!(host.units().join("default.target.wants").join(UNIT).is_symlink());
    assert!(host.ok(&["gateway", "status"]).contains("Runtime: unknown"));
    fs::rename(host.path("run/user/away"), &runtime).unwrap();
    // The directory is there, and only the variable is missing.
    let (code, output) = install(&[]);
    assert!(code == Some(0) && output.contains(&format!("{UNIT} runs")), "{output}");
    assert!(
        install(&[("XDG_RUNTIME_DIR", "/run/user/0")]).1.contains("export XDG_RUNTIME_DIR=/run/user/23456")
    );
    host.ok(&["gateway", "uninstall"]);
}

#[test]
fn a_user_does_not_install_for_the_host_nor_root_for_a_user() {
    let user = Host::user();
    let (code, _, err) = user.run(&["gateway", "install", "--system"]);
    assert!(code == 1 && err.contains("sudo barnacle gateway install --system"), "{err}");
    let root = Host::system();
    let (code, _, err) = root.run(&["gateway", "install", "--user"]);
    assert!(code == 2 && err.contains("without sudo"), "{err}");
    let (code, _, err) = root.run(&["gateway", "install", "--run-as", "nobody-knows"]);
    assert!(code == 2 && err.contains("no account nobody-knows"), "{err}");
}

#[test]
fn a_reload_keeps_every_connection() {
    // Within each sandbox: the hand-over needs a memory file, a child for the preflight, and exec.
    for host in [Host::user(), Host::system()] {
        let (host, port) = configured(host);
        host.ok(&["gateway", "install"]);
        host.wait_log("listening on", 1);
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut client = host.attach(at);
        let pid = host.property(UNIT, "MainPID");
        assert_eq!(host.systemctl(&["reload", UNIT]).0, 0, "{}", host.log());
        host.until("not restarted", || {
            (number(&client.ok("status", "{}"), "barnacle.restarts") == 1).then_some(())
        });
        assert_eq!(host.property(UNIT, "MainPID"), pid);
        assert_eq!(host.property(UNIT, "ActiveState"), "active");
        assert_eq!(host.property(UNIT, "NRestarts"), "0");
    }
}

#[test]
fn a_stop_tells_every_client() {
    let (host, port) = configured(Host::user());
    host.ok(&["gateway", "install"]);
    host.wait_log("listening on", 1);
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut client = host.attach(at);
    // Under `Restart=always` too: B111, it takes less than the unit allows.
    host.ok(&["gateway", "stop"]);
    client.event("shutdown");
    assert_eq!(client.closed().0, 1012);
    assert_eq!(host.property(UNIT, "ActiveState"), "inactive");
    assert_eq!(host.property(UNIT, "Result"), "success");
    assert!(TcpListener::bind(at).is_ok(), "the port is still held");
    host.ok(&["gateway", "start"]);
    host.wait_log("listening on", 2);
}

#[test]
fn a_restart_by_systemd_and_the_watchdog() {
    let (host, port) = configured(Host::user());
    host.ok(&["gateway", "install"]);
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    // READY came after the sockets were open, or `install` would not have waited for it: B142.
    let mut client = host.attach(at);
    let before = host.property(UNIT, "MainPID");
    assert_eq!(host.systemctl(&["restart", UNIT]).0, 0, "{}", host.log());
    assert_ne!(host.property(UNIT, "MainPID"), before, "it was not restarted");
    let kept = client.ask("health", "{}");
    assert!(client.answer(&kept).is_ok(), "{}", host.log());
    // A loop that hangs is killed, and started again; the port stays open all the while.
    host.write(&format!(".config/systemd/user/{UNIT}.d/watchdog.conf"), "[Service]\nWatchdogSec=1\n");
    host.systemctl(&["daemon-reload"]);
    assert_eq!(host.systemctl(&["restart", UNIT]).0, 0, "{}", host.log());
    client.ok("health", "{}");
    let pid = host.main_pid(UNIT).unwrap();
    signal(pid, "STOP");
    host.until_property(UNIT, "NRestarts", "1");
    assert!(Client::open(at, &[]).is_ok(), "nobody is there again");
}
