//! The Debian package on a host with the real systemd and dpkg: installed, upgraded, rolled back and taken away
//! with a client attached.
//!
//! This file is a program of its own (no test harness), because it is the other version, too: called as
//! `… gateway …` or with `--version` it is Barnacle 9.9.9.

#[path = "../support/host/mod.rs"]
mod host;
#[path = "../support/versions.rs"]
mod versions;
#[path = "../support/wire/mod.rs"]
mod wire;

use host::{ACCOUNT, Host, UNIT, shared};
use std::{
    collections::BTreeSet,
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, ExitCode},
};
use versions::{next, this};
use wire::{Home, free_port, number};

fn main() -> ExitCode {
    if versions::is_called(&["gateway", "--version"]) {
        return versions::be(&versions::NEXT);
    }
    versions::pass(
        &[
            ("upgraded_and_rolled_back_unseen", upgraded_and_rolled_back_unseen),
            ("a_users_own_service", a_users_own_service),
            ("its_unit_is_the_one_that_install_writes", its_unit_is_the_one_that_install_writes),
            ("its_manual_knows_every_command_and_option", its_manual_knows_every_command_and_option),
        ],
        false,
    )
}

/// Packs `program` as `version`; the package's path on the host.
fn pack(host: &Host, program: &Path, version: &str) -> String {
    // B82: from a home that is closed to everyone else.
    let inside = format!("/root/private/barnacle_{version}.deb");
    let out = host.path(&inside);
    fs::create_dir_all(out.parent().unwrap()).unwrap();
    fs::set_permissions(out.parent().unwrap(), fs::Permissions::from_mode(0o700)).unwrap();
    let packed = Command::new("cross/deb.sh")
        .arg("--of")
        .arg(program)
        .args(["x86_64", version])
        .arg(out)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
    inside
}

/// A host with a configuration, and where its gateway will be.
fn configured(user: bool) -> (Host, SocketAddr) {
    let (host, at) = (Host::for_packages(user), SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
    host.config(&shared(at.port()));
    (host, at)
}

fn upgraded_and_rolled_back_unseen() {
    let (host, at) = configured(false);
    let output = host.dpkg(&["-i", &pack(&host, this(), "0.1.0")], true);
    assert!(
        output.contains("/usr/bin/barnacle") && output.contains("sudo barnacle gateway install"),
        "{output}"
    );
    host.ok(&["gateway", "install"]);
    let mut client = host.attach(at);
    let unit = fs::read_to_string(host.units().join(UNIT)).unwrap();
    assert!(unit.contains("\nExecStart=/usr/bin/barnacle gateway\n"), "{unit}");
    let pid = host.property(UNIT, "MainPID");
    let next = pack(&host, &next(), "9.9.9");
    for (n, package, goes_on) in [
        (1, next.as_str(), "Barnacle 9.9.9 handed over from 0.1.0"),
        (2, "/root/private/barnacle_0.1.0.deb", "Barnacle 0.1.0 handed over from 9.9.9"),
    ] {
        let output = host.dpkg(&["-i", package], true);
        assert!(output.contains(&format!("process {pid} runs the new program")), "{output}\n{}", host.log());
        host.wait_log(goes_on, 1);
        assert_eq!(number(&client.ok("status", "{}"), "barnacle.restarts"), n);
        assert_eq!(host.property(UNIT, "MainPID"), pid);
        assert_eq!(host.property(UNIT, "ActiveState"), "active");
    }
    // One that does not run is told of at once, and changes nothing for who is attached.
    let broken = host.path("/root/broken");
    fs::write(&broken, "#!/bin/sh\necho it does not work >&2\nexit 1\n").unwrap();
    let output = host.dpkg(&["-i", &pack(&host, &broken, "9.9.10")], false);
    assert!(output.contains("does not run here: it does not work"), "{output}");
    // Nor does one that runs, and cannot go on from here.
    fs::write(&broken, "#!/bin/sh\n[ \"$1\" = --version ] || exit 1\n").unwrap();
    let output = host.dpkg(&["-i", &pack(&host, &broken, "9.9.11")], true);
    assert!(output.contains(&format!("process {pid} still runs the previous program")), "{output}");
    host.wait_log("not restarted (SIGUSR1)", 1);
    assert_eq!(number(&client.ok("status", "{}"), "barnacle.restarts"), 2);
    host.dpkg(&["-i", "/root/private/barnacle_0.1.0.deb"], true);
    assert_eq!(number(&client.ok("status", "{}"), "barnacle.restarts"), 3);
    assert_eq!(host.property(UNIT, "NRestarts"), "0");
    // Taken away it ends, and what it knows stays.
    host.dpkg(&["--purge", "barnacle"], true);
    assert_eq!(client.closed().0, 1012);
    assert_eq!(host.property(UNIT, "ActiveState"), "inactive");
    assert_eq!(host.property(UNIT, "UnitFileState"), "disabled");
    assert!(host.home.join(".openclaw/barnacle/key").exists(), "what the gateway knows is gone");
    assert!(!host.path("/usr/bin/barnacle").exists());
}

fn a_users_own_service() {
    let (host, at) = configured(true);
    host.dpkg(&["-i", &pack(&host, this(), "0.1.0")], true);
    assert!(host.ok(&["gateway", "status"]).contains("Service: none installed"));
    assert_eq!(host.systemctl(&["enable", "--now", UNIT]).0, 0, "{}", host.log());
    let status = host.ok(&["gateway", "status"]);
    assert!(status.contains(&format!("Service file: /usr/lib/systemd/user/{UNIT}")), "{status}");
    let mut client = host.attach(at);
    let output = host.dpkg(&["-i", &pack(&host, &next(), "9.9.9")], true);
    let status = client.ok("status", "{}");
    assert_eq!(number(&status, "barnacle.restarts"), 1, "{output}\n{}", host.log());
    host.dpkg(&["-i", "/root/private/barnacle_0.1.0.deb"], true);
    client.ok("health", "{}");
    // One's own unit takes the place of the package's; it holds what is true of this account alone.
    host.ok(&["gateway", "install"]);
    client.ok("health", "{}");
    assert_eq!(host.property(UNIT, "FragmentPath"), format!("/home/{ACCOUNT}/.config/systemd/user/{UNIT}"));
    host.ok(&["gateway", "uninstall"]);
    assert_eq!(client.closed().0, 1012);
    assert_eq!(host.systemctl(&["enable", "--now", UNIT]).0, 0, "{}", host.log());
    let mut client = host.attach(at);
    let output = host.ok(&["gateway", "uninstall"]);
    assert!(output.contains(&format!("stopped and disabled {UNIT}")), "{output}");
    assert_eq!(client.closed().0, 1012);
    assert!(host.path(&format!("/usr/lib/systemd/user/{UNIT}")).exists(), "the package's file was removed");
}

fn its_unit_is_the_one_that_install_writes() {
    let (code, printed, err) = Home::fix().run(&["gateway", "install", "--user", "--print"]);
    assert_eq!(code, 0, "{err}");
    let of = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.starts_with("Documentation="));
        lines.map(String::from).collect()
    };
    let written = printed.replace(this().to_str().unwrap(), "/usr/bin/barnacle");
    assert_eq!(of(include_str!("../../cross/deb/barnacle-gateway.service")), of(&written));
}

fn its_manual_knows_every_command_and_option() {
    let page = include_str!("../../cross/deb/barnacle.1");
    let known: BTreeSet<&str> = page.split_whitespace().collect();
    let home = Home::fix();
    let commands = [
        "",
        "gateway",
        "gateway install",
        "gateway uninstall",
        "gateway start",
        "gateway status",
        "gateway restart",
        "gateway stop",
        "status",
        "health",
        "doctor",
        "config",
        "devices",
        "chat",
        "agent",
        "sessions",
        "models",
        "import",
        "logs",
        "call",
    ];
    for command in commands {
        let words: Vec<_> = command.split_whitespace().chain(["--help"]).collect();
        let help = home.run(&words).1;
        // What stands first in an indented line is a command or an option.
        let first = help.lines().filter(|l| l.starts_with("  ") && !l.starts_with("   ")).flat_map(|l| {
            l.trim().split("  ").next().unwrap().split([' ', ',', '[', ']', '|', '(']).collect::<Vec<_>>()
        });
        let options =
            help.split([' ', ',', '[', ']', '|', '(', ')', ':', '\n']).filter(|w| w.starts_with("--"));
        let subject = |word: &&str| word.len() > 2 && word.chars().all(|c| c.is_ascii_lowercase());
        let commands = first.filter(subject).filter(|w| !command.is_empty() || *w != "barnacle");
        for option in options {
            assert!(known.contains(&option[1..]), "barnacle {command} has {option}: not in the manual");
        }
        if command.is_empty() || command == "devices" || command == "config" {
            for word in commands.take_while(|w| *w != "says") {
                assert!(known.contains(word), "barnacle {command} {word}: not in the manual");
            }
        }
    }
}
