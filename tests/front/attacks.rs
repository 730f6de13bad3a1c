//! What people do with it: other units, edits in between, installations over one another.

use crate::host::{ACCOUNT, PROGRAM, UNIT};
use crate::scene::{DROP_IN, OPENCLAW, Scene, assert_same};
use std::{fs, net::SocketAddr};

#[test]
fn the_system_runs_both_as_the_account() {
    // The unit's port is not the configuration's, and counts.
    let scene = Scene::system();
    let (port, other) = (format!("port: {}", scene.port), format!("port: {}", scene.port - 1));
    scene.host.config(&scene.config("token:\"T1\"").replacen(&port, &other, 1));
    let scene = scene.with_stand_in();
    let before = scene.files();
    let said = scene.install();
    assert!(said.contains(&format!("as {ACCOUNT}")), "{said}");
    assert!(scene.host.property(UNIT, "ExecStart").contains(&format!(" --port={} ", scene.port)));
    let status = scene.version_at(scene.port).unwrap();
    assert!(status.contains("\"state\":\"connected\""), "{status}");
    let owner =
        |name: &str| std::os::unix::fs::MetadataExt::uid(&fs::metadata(scene.host.home.join(name)).unwrap());
    for entry in fs::read_dir(scene.host.home.join(".openclaw/barnacle")).unwrap().flatten() {
        let path = entry.path();
        let name = path.strip_prefix(&scene.host.home).unwrap().to_str().unwrap().to_owned();
        assert_eq!(owner(&name), owner(""), "{name} belongs to another account");
    }
    let (code, _, err) =
        scene.host.run(&["gateway", "install", "--in-front-of-openclaw", "--run-as", "root"]);
    assert!(code == 1 && err.contains(&format!("OpenClaw runs as {ACCOUNT}")), "{err}");
    // The account itself is told that this takes root.
    for arguments in ["install --in-front-of-openclaw", "uninstall --restore-openclaw"] {
        let script = format!("{PROGRAM} gateway {arguments}");
        let mut account =
            scene.host.command("setpriv", &["--reuid", "23456", "--regid", "23456", "--clear-groups"]);
        account
            .args(["sh", "-c", &script])
            .env("HOME", format!("/home/{ACCOUNT}"))
            .env("USER", ACCOUNT)
            .env_remove("SUDO_USER");
        let out = account.output().unwrap();
        let err = String::from_utf8_lossy(&out.stderr);
        assert!(
            out.status.code() == Some(1) && err.contains("the same command with sudo"),
            "{arguments}: {err}"
        );
    }
    scene.restore();
    scene.until_listens(scene.port);
    scene.assert_as_before(&before);
}

#[test]
fn edits_in_between_are_kept() {
    // No port in the unit: the configuration's counts. Another file beside ours.
    let scene = Scene::user();
    let (host, port) = (&scene.host, scene.port);
    scene.unit(&scene.stand_in("gateway --bind lan"), "");
    host.write(&format!(".config/systemd/user/{OPENCLAW}.d/override.conf"), "[Service]\nNice=1\n");
    host.systemctl(&["daemon-reload"]);
    scene.start();
    let before = scene.files();
    scene.install();
    assert_eq!(host.property(OPENCLAW, "Nice"), "1");
    // OpenClaw's unit said where to listen; Barnacle does there now, and OpenClaw on loopback alone.
    let start = host.property(UNIT, "ExecStart");
    assert!(
        start.contains("--bind=lan") && start.contains(&format!("--upstream=ws://127.0.0.1:{}", port + 1)),
        "{start}"
    );
    let listens = |port: u16| {
        let hex = format!(":{port:04X} ");
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        let lines = table.lines().filter(|line| line.contains(&hex) && line.contains(" 0A "));
        lines.map(|line| line.split_whitespace().nth(1).unwrap()[..8].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(listens(port + 1), ["0100007F"]);
    // An ordinary install leaves it there, and its uninstall refuses to.
    host.ok(&["gateway", "install"]);
    assert_eq!(host.property(UNIT, "ExecStart").split(" ; ").nth(1), start.split(" ; ").nth(1));
    let (code, _, err) = host.run(&["gateway", "uninstall"]);
    assert!(code == 1 && err.contains("uninstall --restore-openclaw"), "{err}");
    // OpenClaw writes its unit anew: the next install follows it.
    let unit = scene.unit(&scene.stand_in("gateway --verbose"), "Environment=NEWER=1\n");
    let newer = fs::read(&unit).unwrap();
    let (_, doctor, _) = host.run(&["doctor"]);
    assert!(doctor.contains("barnacle gateway install --in-front-of-openclaw"), "{doctor}");
    scene.install();
    assert!(fs::read_to_string(host.units().join(DROP_IN)).unwrap().contains("gateway --verbose --port"));
    let mut client = host.attach(SocketAddr::from(([127, 0, 0, 1], port)));
    client.ok("sessions.list", "{}");
    // A drop-in that somebody changed is neither written over nor lost.
    let changed = fs::read_to_string(host.units().join(DROP_IN)).unwrap() + "CPUWeight=50\n";
    host.write(&format!(".config/systemd/user/{DROP_IN}"), &changed);
    scene.fails("was changed by hand, and would be written anew");
    client.ok("sessions.list", "{}");
    let said = scene.restore();
    assert!(said.contains("was changed by hand; it has no effect any more"), "{said}");
    scene.until_listens(port);
    let kept = host.units().join(DROP_IN).with_extension("conf.edited");
    assert_eq!(fs::read_to_string(&kept).unwrap(), changed);
    fs::remove_file(kept).unwrap();
    let mut expected = before;
    expected.get_mut(&unit).unwrap().1 = newer;
    assert_same(&expected, &scene.files());
    scene.assert_as_before(&expected);
    // There is nothing to undo any more.
    let (code, _, err) = host.run(&["gateway", "uninstall"]);
    assert!(code == 1 && err.contains("no service of Barnacle is installed"), "{err}");
}

#[test]
fn a_profile_has_its_own_unit() {
    let scene = Scene::user();
    let (host, port, unit) = (&scene.host, scene.port, "openclaw-gateway-work.service");
    let openclaw =
        scene.unit(&scene.stand_in(&format!("gateway --port {port}")), "Environment=OPENCLAW_PROFILE=work\n");
    let theirs = host.units().join(unit);
    fs::rename(openclaw, &theirs).unwrap();
    host.write(".openclaw-work/openclaw.json", &scene.config("token:\"T1\""));
    host.systemctl(&["daemon-reload"]);
    host.systemctl(&["start", unit]);
    scene.until_listens(port);
    let before = scene.files();
    let said = scene.fails("openclaw-gateway.service is not there, so nothing was changed");
    assert!(
        said.contains(
            "There is openclaw-gateway-work.service: for one of another profile, set OPENCLAW_PROFILE"
        ),
        "{said}"
    );
    let run = |args: &[&str]| {
        let out = host.command(PROGRAM, args).env("OPENCLAW_PROFILE", "work").output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    };
    run(&["gateway", "install", "--in-front-of-openclaw"]);
    assert_eq!(host.property("barnacle-gateway-work.service", "ActiveState"), "active");
    let mut client = host.attach(SocketAddr::from(([127, 0, 0, 1], port)));
    client.ok("sessions.list", "{}");
    assert!(
        host.home.join(".openclaw-work/barnacle").exists() && !host.home.join(".openclaw/barnacle").exists()
    );
    run(&["gateway", "uninstall", "--restore-openclaw"]);
    scene.until_listens(port);
    assert_same(&before, &scene.files());
}

/// Each way in which the two may be at odds is a finding, with the command that ends it.
#[test]
fn doctor_sees_the_pair() {
    let scene = Scene::user().with_stand_in();
    let (host, port) = (&scene.host, scene.port);
    let behind = port + 1;
    scene.install();
    let doctor = || host.run(&["doctor"]).1;
    let problems = |text: &str| text.lines().filter(|line| line.starts_with("! ")).count();
    let well = doctor();
    // The host is in memory, and nobody lingers there.
    assert!(problems(&well) == 2 && !well.contains("openclaw-gateway"), "{well}");
    let unit = host.units().join(OPENCLAW);
    let text = fs::read_to_string(&unit).unwrap();
    let with = |line: &str| {
        fs::write(&unit, text.replacen("[Service]\n", &format!("[Service]\n{line}\n"), 1)).unwrap();
        host.systemctl(&["daemon-reload"]);
        host.systemctl(&["restart", OPENCLAW]);
        host.until_property(OPENCLAW, "ActiveState", "active");
    };
    #[track_caller]
    fn finds(doctor: &str, what: &str, fix: &str) {
        let at = doctor.find(what).unwrap_or_else(|| panic!("{what:?} is not in {doctor}"));
        let line = doctor[at..].lines().nth(2).unwrap_or_default();
        assert!(line.contains("fix: ") && line.contains(fix), "{fix:?} is not in {line:?}");
    }
    let install = "barnacle gateway install --in-front-of-openclaw";
    host.write("openclaw.env", "OPENCLAW_GATEWAY_TOKEN=T9\n");
    with("EnvironmentFile=-%h/openclaw.env");
    finds(
        &doctor(),
        "gives OpenClaw another token (OPENCLAW_GATEWAY_TOKEN)",
        "systemctl --user cat openclaw-gateway.service",
    );
    host.until("Barnacle does not see that it is refused", || {
        doctor().contains(" is away since ").then_some(())
    });
    finds(
        &doctor(),
        &format!("OpenClaw at ws://127.0.0.1:{behind} is away since "),
        "systemctl --user status openclaw-gateway.service",
    );
    with("Environment=OPENCLAW_STATE_DIR=/home/barnacle-test/other");
    finds(
        &doctor(),
        "openclaw-gateway.service reads /home/barnacle-test/other/openclaw.json, and Barnacle",
        install,
    );
    with("");
    let drop_in = host.units().join(DROP_IN);
    let ours = fs::read_to_string(&drop_in).unwrap();
    fs::write(&drop_in, ours.replacen("--bind loopback", "--bind lan", 1)).unwrap();
    with("");
    host.until("OpenClaw is not back", || scene.version_at(behind));
    finds(&doctor(), &format!("listens on 0.0.0.0, port {behind}, for other hosts"), install);
    fs::remove_file(&drop_in).unwrap();
    finds(
        &doctor(),
        "openclaw-gateway.service.d/zz-barnacle.conf is gone: openclaw-gateway.service starts OpenClaw on the port",
        install,
    );
    fs::write(&drop_in, ours).unwrap();
    with("");
    let start = fs::read_to_string(host.units().join(UNIT)).unwrap();
    fs::write(
        host.units().join(UNIT),
        start.replacen(&format!("127.0.0.1:{behind}"), &format!("127.0.0.1:{port}"), 1),
    )
    .unwrap();
    finds(
        &doctor(),
        &format!("OpenClaw is expected at ws://127.0.0.1:{port}, and port {port} is Barnacle's own"),
        install,
    );
}
