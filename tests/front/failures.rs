//! Where a step fails, what was there runs on, and its files are what they were.

use crate::host::{UNIT, shared};
use crate::scene::{DROP_IN, OPENCLAW, Scene};
use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
};

#[test]
fn what_cannot_be_moved_is_left_as_it_is() {
    let scene = Scene::user();
    let (port, host) = (scene.port, &scene.host);
    let said = scene.fails("openclaw-gateway.service is not there, so nothing was changed");
    assert!(said.contains("docs/openclaw.md"), "{said}");
    scene.unit(&scene.stand_in(&format!("gateway --port {port}")), "");
    scene.fails("does not run (inactive), and only a running OpenClaw gives its paired devices: systemctl --user start");
    scene.start();
    let before = scene.files();
    let pid = host.property(OPENCLAW, "MainPID");
    // Another token than OpenClaw runs with; none at all; a service of Barnacle that is there already.
    host.config(&scene.config("token:\"T2\""));
    scene.fails("does not answer Barnacle's call (unauthorized: gateway token mismatch");
    host.config(&scene.config(""));
    scene.fails("openclaw doctor --generate-gateway-token");
    host.config(&shared(port));
    host.write(".openclaw/barnacle/barnacle.json", "{upstream:{url:\"ws://127.0.0.1:1\"}}");
    scene.fails("upstream.url is ws://127.0.0.1:1");
    fs::remove_file(host.home.join(".openclaw/barnacle/barnacle.json")).unwrap();
    host.config(&scene.config("token:\"T1\""));
    host.write(
        &format!(".config/systemd/user/{UNIT}"),
        "# Written by `barnacle gateway install`.\n[Service]\nExecStart=/bin/true\n",
    );
    scene.fails("barnacle-gateway.service is installed already");
    fs::remove_file(host.units().join(UNIT)).unwrap();
    // Nothing can be written.
    fs::set_permissions(host.units(), fs::Permissions::from_mode(0o555)).unwrap();
    let said = scene.fails("the drop-in failed: ");
    assert!(said.contains("What was done is undone"), "{said}");
    fs::set_permissions(host.units(), fs::Permissions::from_mode(before[&host.units()].0)).unwrap();
    assert_eq!(host.property(OPENCLAW, "MainPID"), pid, "it was restarted, though nothing was changed");
    scene.assert_as_before(&before);
}

#[test]
fn an_openclaw_that_does_not_come_back_gets_its_old_port() {
    let scene = Scene::user();
    let port = scene.port;
    scene.unit(&scene.stand_in(&format!("gateway --port {port} --only {port}")), "");
    scene.start();
    let before = scene.files();
    let said = scene
        .fails("the restart of OpenClaw on its new port failed: openclaw-gateway.service ends (exit code 1)");
    let undone = format!("What was done is undone: OpenClaw listens on port {port}, as before");
    assert!(
        said.contains(&undone) && said.contains("journalctl --user -u openclaw-gateway.service"),
        "{said}"
    );
    scene.assert_as_before(&before);
}

#[test]
fn whoever_takes_the_port_meanwhile_does_not_cost_openclaw_its_own() {
    let scene = Scene::user().with_stand_in();
    let before = scene.files();
    let (port, over) = (scene.port, AtomicBool::new(false));
    thread::scope(|threads| {
        threads.spawn(|| {
            // From when OpenClaw leaves it until Barnacle fails for it.
            let thief = loop {
                match TcpListener::bind(("127.0.0.1", port)) {
                    Ok(thief) => break thief,
                    Err(_) if over.load(SeqCst) => return,
                    Err(_) => thread::yield_now(),
                }
            };
            while scene.host.property(UNIT, "ActiveState") != "failed" && !over.load(SeqCst) {}
            drop(thief);
        });
        let said = scene.fails("the service of Barnacle failed: the gateway does not start (exit code 78)");
        over.store(true, SeqCst);
        assert!(said.contains("What was done is undone"), "{said}");
    });
    scene.assert_as_before(&before);
}

/// Killed in the middle, it is undone, or done, by the next command.
#[test]
fn an_interrupted_installation_is_undone_or_finished() {
    let scene = Scene::user().with_stand_in();
    let (host, before) = (&scene.host, scene.files());
    let interrupted = || {
        host.write("slow", "");
        let mut installer = host
            .command(crate::host::PROGRAM, &["gateway", "install", "--in-front-of-openclaw"])
            .spawn()
            .unwrap();
        let restarted = || {
            (!host.property(OPENCLAW, "DropInPaths").is_empty()
                && host.property(OPENCLAW, "ActiveState") == "active")
                .then_some(())
        };
        host.until("OpenClaw is not restarted", restarted);
        // nsenter forks; the installer itself is its child.
        let pid = installer.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        for pid in children.split_whitespace().map(String::from).chain([pid.to_string()]) {
            let _ = std::process::Command::new("kill").args(["-KILL", &pid]).status();
        }
        installer.wait().unwrap();
        fs::remove_file(host.home.join("slow")).unwrap();
    };
    interrupted();
    let (_, doctor, _) = host.run(&["doctor"]);
    assert!(doctor.contains("barnacle gateway uninstall --restore-openclaw"), "{doctor}");
    let (code, _, err) = host.run(&["gateway", "uninstall"]);
    assert!(code == 1 && err.contains("--restore-openclaw"), "{err}");
    scene.restore();
    scene.until_listens(scene.port);
    scene.assert_as_before(&before);
    interrupted();
    scene.install();
    assert!(host.units().join(DROP_IN).exists());
    scene.restore();
    scene.until_listens(scene.port);
    scene.assert_as_before(&before);
}
