//! The service under the real systemd: its own manager in namespaces, started here (`host`).

#[path = "wire/mod.rs"]
mod wire;

#[path = "host/mod.rs"]
mod host;

use host::{ACCOUNT, Host};
use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt, path::Path};
use wire::free_port;

const UNIT: &str = "barnacle-gateway.service";

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
    host.config(&format!("{{gateway:{{mode:\"local\",port:{port},auth:{{mode:\"token\",token:\"T1\"}}}}}}"));
    (host, port)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_user_unit_is_installed_runs_and_is_taken_away() {
    let (host, port) = configured(Host::user());
    let said = host.ok(&["gateway", "install"]);
    assert!(said.contains(&format!("{UNIT} runs: port {port}, as {ACCOUNT}")), "{said}");
    assert!(
        said.contains(&format!("sudo loginctl enable-linger {ACCOUNT}")),
        "nobody told of lingering: {said}"
    );
    host.wait_log("listening on", 1);
    assert_eq!(host.property(UNIT, "UnitFileState"), "enabled");
    let before = host.property(UNIT, "MainPID");
    assert!(host.ok(&["gateway", "install"]).contains("runs"), "a second time is no fault");
    assert_eq!(host.property(UNIT, "MainPID"), before, "nothing changed, so nothing is restarted");
    // What the sandbox must not take: a write of the store, and one of the configuration's owner.
    host.ok(&["call", "device.pair.setupCode"]);
    let said = host.ok(&["gateway", "uninstall"]);
    assert!(said.contains("removed"), "{said}");
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
    let said = host.ok(&["gateway", "install"]);
    assert!(said.contains(&format!("port {port}, as {ACCOUNT}")), "{said}");
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
fn what_starting_again_does_not_mend_is_not_tried_again() {
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
fn openclaws_unit_is_replaced_when_told_and_given_back() {
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
fn what_is_not_ours_is_not_written_over_and_what_is_put_aside_holds_no_secret() {
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
    let drop_in = "[Service]\nExecStart=\nExecStart=/bin/sleep 1000\n";
    host.write(&format!(".config/systemd/user/{UNIT}.d/x.conf"), drop_in);
    let said = host.ok(&["gateway", "install"]);
    assert_eq!(fs::read_to_string(&unit).unwrap(), ours);
    let kept = unit.with_extension("service.bak");
    let text = fs::read_to_string(&kept).unwrap();
    assert!(text.contains("Nice=1") && !text.contains("T-OLD"), "{text}");
    assert_eq!(mode(&kept), 0o600);
    assert!(said.contains("x.conf") && said.contains("/bin/sleep"), "nobody told of the drop-in: {said}");
}
