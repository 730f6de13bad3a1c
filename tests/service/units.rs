//! The text of the units, and the service where there is no systemd; with a real one: `systemd.rs`.

use crate::wire::{Home, Server};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

/// Runs `script` with `/run` empty, in a mount namespace of its own; `$B` is the program.
fn within(home: &Home, script: &str) -> Output {
    let path = format!("{}:{}", home.dir.join("bin").display(), std::env::var("PATH").unwrap());
    Command::new("unshare")
        .args([
            "-m",
            "sh",
            "-c",
            &format!("mount --make-rprivate / && mount -t tmpfs tmpfs /run || exit 99\n{script}"),
        ])
        .env_clear()
        .env("PATH", path)
        .env("HOME", &home.dir)
        .env("B", env!("CARGO_BIN_EXE_barnacle"))
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Puts a program of the test's own on the PATH of [`within`].
fn stand_in(home: &Home, name: &str, script: &str) -> PathBuf {
    let path = home.dir.join("bin").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// A host whose systemd says that it is of this version: a stand-in for `systemctl`.
fn units(home: &Home, version: &str, args: &str) -> String {
    stand_in(home, "systemctl", &format!("echo {version}"));
    let out = within(home, &format!("mkdir -p /run/systemd/system; \"$B\" gateway install --print {args}"));
    assert!(out.status.success(), "{}", text(&out.stderr));
    text(&out.stdout)
}

#[test]
fn without_systemd_the_init_that_is_there_is_named_and_its_example_runs() {
    // B85
    for (marker, name, run) in [
        ("/run/openrc", "OpenRC", None),
        ("/run/runit", "runit", Some("chpst")),
        ("/run/s6", "s6", Some("s6-setuidgid")),
        ("/run/nothing", "nothing here supervises", None),
    ] {
        let home = Home::fix();
        let out = within(&home, &format!("mkdir {marker}; \"$B\" gateway install"));
        let (output, example) = (text(&out.stderr), text(&out.stdout));
        assert_eq!(out.status.code(), Some(1), "{output}");
        assert!(output.contains("no systemd runs here") && output.contains(name), "{output}");
        let mut shell = Command::new("sh").args(["-n", "/dev/stdin"]).stdin(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut shell.stdin.take().unwrap(), example.as_bytes()).unwrap();
        assert!(shell.wait().unwrap().success(), "no shell reads this:\n{example}");
        if name == "OpenRC" {
            for line in ["supervisor=supervise-daemon", "command_user=root", "rc-update add barnacle-gateway"]
            {
                assert!(example.contains(line), "no {line} in:\n{example}");
            }
        }
        let Some(setuid) = run else { continue };
        // What sets the user takes an option or not, then the user, then the program: a stand-in passes on.
        let skip = if setuid == "chpst" { "shift 2" } else { "shift" };
        stand_in(&home, setuid, &format!("{skip}\nexec \"$@\""));
        let script = example.split("<<'EOF'\n").nth(1).unwrap().split("\nEOF\n").next().unwrap();
        let mut command = Command::new("sh");
        // The example's log goes to stdout, as runit and s6 want it.
        command.args(["-c", &script.replace("exec 2>&1", "")]).env_clear();
        command.env("PATH", format!("{}:/usr/bin:/bin", home.dir.join("bin").display()));
        command.env("OPENCLAW_STATE_DIR", home.dir.join(".openclaw"));
        Server::spawn(command, home.port).stop();
    }
}

#[test]
fn unit_options_of_newer_systemds_are_left_out() {
    let home = Home::fix();
    let (old, new) = (units(&home, "252.38-1", "--system"), units(&home, "257.9", "--system"));
    assert!(old.contains("\nRestartSec=1\n") && !old.contains("RestartSteps"), "{old}");
    assert!(new.contains("\nRestartSteps=10\n") && new.contains("\nRestartMaxDelaySec=60\n"), "{new}");
    for unit in [&old, &new] {
        assert!(
            unit.contains("\nRestartPreventExitStatus=78\n") && unit.contains("\nStartLimitBurst=30\n"),
            "{unit}"
        );
    }
}

#[test]
fn units_say_which_gateway_is_meant_and_hold_no_secret() {
    let home = Home::fix();
    stand_in(&home, "systemctl", "echo 252");
    let state = home.dir.join("a b%c");
    let script = format!(
        "mkdir -p /run/systemd/system; export OPENCLAW_PROFILE=work OPENCLAW_STATE_DIR='{}' \
         OPENCLAW_GATEWAY_TOKEN=T-SECRET OPENCLAW_GATEWAY_PASSWORD=T-SECRET SOMETHING_KEY=T-SECRET; \
         \"$B\" gateway install --print --system --socket --port 80",
        state.display()
    );
    let out = within(&home, &script);
    let output = text(&out.stdout);
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert!(output.contains("/barnacle-gateway-work.service\n"), "{output}");
    assert!(output.contains("\nEnvironment=OPENCLAW_PROFILE=work\n"), "{output}");
    let escaped = state.display().to_string().replace('%', "%%");
    assert!(output.contains(&format!("\nEnvironment=\"OPENCLAW_STATE_DIR={escaped}\"\n")), "{output}");
    assert!(output.contains(&format!("\nReadWritePaths=\"{escaped}\"\n")), "{output}");
    assert!(!output.contains("SECRET"), "{output}");
    // A port that takes a privilege has that one and no other.
    assert!(
        output.contains("\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n") && !output.contains("PrivateUsers"),
        "{output}"
    );
    assert!(
        output.contains("\nListenStream=127.0.0.1:80\n") && output.contains(" gateway --port=80\n"),
        "{output}"
    );
    let out = within(&home, "\"$B\" gateway install --token x");
    assert!(out.status.code() == Some(2) && text(&out.stderr).contains("a unit holds no secret"));
}

/// What `systemd-analyze security` says of the system unit. The readme shows the same.
#[test]
fn the_sandbox_score_is_that_of_the_readme() {
    let home = Home::fix();
    let program = PathBuf::from("/usr/local/bin/barnacle");
    let all =
        units(&home, "252", "--system").replace(env!("CARGO_BIN_EXE_barnacle"), program.to_str().unwrap());
    // As on a board: the account's home is no temporary directory.
    let unit = all.replace(home.dir.to_str().unwrap(), "/home/pi").replace("User=root", "User=pi");
    let unit = unit.replace("ReadWritePaths=", "PrivateTmp=yes\nReadWritePaths=");
    let file = home.dir.join("barnacle-gateway.service");
    fs::write(&file, unit).unwrap();
    let out = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager"])
        .arg(&file)
        .output();
    let output = text(&out.unwrap().stdout);
    let figure =
        output.lines().find_map(|line| line.split("exposure level for barnacle-gateway.service: ").nth(1));
    let figure = figure.unwrap().split(' ').next().unwrap();
    println!("systemd-analyze security: {figure}");
    assert!(figure.parse::<f32>().unwrap() < 2.0, "{output}");
    let page = include_str!("../../docs/service.md");
    assert!(
        page.contains(&format!("`systemd-analyze security`: {figure}")),
        "docs/service.md does not say {figure}"
    );
}

/// The templates are units and scripts themselves: an editor and these programs can check them.
#[test]
fn the_templates_are_units_and_scripts() {
    let dir = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src/service/templates"));
    for entry in fs::read_dir(&dir).unwrap().flatten() {
        let path = entry.path();
        let mut check = match path.extension().unwrap().to_str().unwrap() {
            "sh" => Command::new("sh"),
            _ => Command::new("systemd-analyze"),
        };
        check.args(if path.extension().unwrap() == "sh" { &["-n"][..] } else { &["verify", "--man=no"] });
        let out = check.arg(&path).output().unwrap();
        assert!(out.status.success() && out.stderr.is_empty(), "{path:?}: {}", text(&out.stderr));
    }
}
