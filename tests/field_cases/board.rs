//! What went wrong on boards, around files, and between restarts.

use crate::wire::{ADMIN, Device, Home, Offer, READ, Server, flag, json, list, number, signal, text};
use crate::{
    Case::{self, Elsewhere, Left, Shown},
    life, proof, requests, writes,
};
use std::{fs, process::Command, time::Instant};

/// The rows of the collection about boards, and where each is shown.
pub const CASES: &[(&str, Case)] = &[
    ("B1", Elsewhere("tests/restart.rs: a restart closes nobody at all")),
    ("B2", Left("needs a board of 512 MiB with the Node CLI beside it; the figures are in the readme")),
    ("B3", Shown(ready_means_served)),
    ("B4", Shown(answers_while_others_read)),
    ("B5", Shown(life::slow_clients)),
    ("B6", Elsewhere("tests/systemd.rs, tests/systemd_protocol.rs: STATUS tells the memory")),
    (
        "B8",
        Elsewhere("tests/run boards: it runs where there is no C library; cross/check.sh: each is static"),
    ),
    ("B9", Elsewhere("tests/install.rs; cross/smoke.sh, by hand: armv6 on an ARM1176")),
    ("B10", Elsewhere("tests/install.rs: no room; tests/deploy: 64 MB a process, nothing is compiled")),
    ("B11", Elsewhere("tests/config_keys.rs, tests/reload")),
    (
        "B13",
        Elsewhere("tests/reload, tests/config_write.rs: what is not acted on is neither judged nor touched"),
    ),
    ("B14", Shown(mode_is_missing)),
    ("B15", Shown(writes::only_what_was_asked)),
    ("B17", Elsewhere("tests/config_token.rs")),
    ("B18", Elsewhere("tests/config_faults.rs")),
    ("B19", Elsewhere("tests/systemd.rs, tests/service.rs")),
    ("B20", Elsewhere("tests/service.rs, tests/doctor.rs; A1 and A2")),
    ("B21", Elsewhere("tests/config_token.rs")),
    ("B22", Elsewhere("tests/systemd.rs")),
    ("B23", Elsewhere("tests/service.rs")),
    ("B24", Elsewhere("tests/restart.rs, tests/systemd.rs")),
    ("B25", Elsewhere("tests/restart.rs")),
    ("B26", Shown(a_restart_reads_the_file_anew)),
    ("B27", Shown(patches_in_a_row)),
    ("B28", Shown(patches_in_a_row)),
    ("B29", Shown(a_restart_reads_the_file_anew)),
    ("B30", Elsewhere("tests/run boards: pi5, with pages of 16 KiB; cross/check.sh: alignment")),
    ("B55", Shown(a_copied_home)),
    ("B56", Left("there are no sessions in this version")),
    ("B58", Shown(writes::half_a_file_is_not_written_to)),
    ("B61", Elsewhere("tests/config_faults.rs, tests/doctor.rs, tests/reload")),
    ("B63", Elsewhere("tests/doctor.rs; A97")),
    ("B64", Elsewhere("tests/clock.rs")),
    ("B65", Shown(life::no_network)),
    ("B66", Shown(no_resolver)),
    ("B67", Elsewhere("tests/reload")),
    ("B68", Elsewhere("tests/reload")),
    ("B69", Elsewhere("tests/doors.rs")),
    ("B70", Shown(no_ipv6)),
    ("B71", Shown(life::lan_keeps_loopback)),
    ("B72", Shown(life::own_address_is_local)),
    ("B73", Elsewhere("tests/deploy: one file goes there, and nothing is compiled")),
    (
        "B74",
        Left("no image for ARM has been run; the binary runs where there is no C library: tests/run boards"),
    ),
    ("B77", Shown(strange_names_in_shared_files)),
    ("B78", Elsewhere("tests/upgrade.rs")),
    (
        "B79",
        Left("what Barnacle writes is in a folder of its own; going back and forth is in tests/import.rs"),
    ),
    ("B80", Shown(writes::only_what_was_asked)),
    ("B81", Left("no 32-bit board is emulated in CI; by hand: cross/smoke.sh armv6 armv7")),
    ("B82", Elsewhere("tests/package.rs: from a home that is closed to others, by dpkg")),
    ("B83", Elsewhere("tests/install.rs: cross/check.sh wants the same files of every target")),
    ("B84", Left("nothing goes out in this version")),
    ("B85", Elsewhere("tests/service.rs")),
    ("B86", Elsewhere("tests/doors.rs, tests/doctor.rs")),
    ("B87", Elsewhere("tests/systemd.rs")),
    ("B88", Elsewhere("tests/reload")),
    ("B89", Elsewhere("tests/reload")),
    ("B90", Shown(writes::includes_are_not_flattened)),
    ("B91", Elsewhere("tests/config_include.rs, tests/reload")),
    ("B92", Elsewhere("tests/config_keys.rs")),
    ("B94", Elsewhere("tests/service.rs, tests/doctor.rs; A120")),
    ("B95", Shown(writes::nothing_is_written_unasked)),
    ("B97", Elsewhere("tests/config_keys.rs")),
    ("B101", Shown(life::slow_clients)),
    ("B102", Shown(two_side_by_side)),
    ("B103", Elsewhere("tests/store_full.rs")),
    ("B104", Elsewhere("tests/config_crash.rs, tests/config_faults.rs")),
    ("B105", Shown(proof::control_ui_over_http)),
    ("B106", Shown(requests::forwarded_is_not_local)),
    ("B109", Elsewhere("benches/footprint.rs")),
    ("B111", Elsewhere("tests/systemd.rs, tests/restart.rs")),
    ("B112", Shown(life::a_slow_disk_holds_nobody_up)),
    ("B113", Shown(health_is_cheap)),
    ("B114", Shown(approved_and_killed)),
    ("B115", Shown(an_invented_key)),
    ("B116", Elsewhere("tests/reload: sixty edits")),
    ("B117", Elsewhere("tests/reload: off, hot, hybrid and restart")),
    ("B118", Elsewhere("tests/clock.rs")),
    (
        "B119",
        Elsewhere(
            "tests/reload: a pit of 100,000 brackets, on a thread of Rust's 2 MiB, which musl has no say in",
        ),
    ),
    ("B120", Elsewhere("tests/systemd.rs")),
    ("B121", Left("nothing goes out in this version")),
    ("B122", Elsewhere("tests/first_boot.rs; tests/run boards: raspi3b")),
    ("B123", Left("no 32-bit board is emulated in CI; by hand: cross/smoke.sh armv6 armv7")),
    ("B129", Elsewhere("tests/systemd.rs")),
    ("B130", Elsewhere("tests/deploy: installed and upgraded with 64 MB a process")),
    ("B131", Elsewhere("benches/footprint.rs")),
    (
        "B132",
        Elsewhere(
            "tests/install.rs: a set that is not whole; tests/deploy: the installer says what it lacks",
        ),
    ),
    ("B133", Elsewhere("tests/deploy, tests/install.rs")),
    ("B134", Elsewhere("tests/deploy: nothing is compiled, wherever one could")),
    ("B135", Elsewhere("tests/config_file.rs, tests/config_keys.rs: every key has a default")),
    ("B136", Shown(writes::nothing_is_written_unasked)),
    ("B137", Elsewhere("tests/config_file.rs: what decides who gets in fails closed")),
    ("B138", Elsewhere("tests/config_keys.rs; A83")),
    ("B139", Shown(a_copied_home)),
    ("B142", Elsewhere("tests/systemd.rs, tests/systemd_protocol.rs")),
    ("B143", Elsewhere("tests/systemd.rs")),
    ("B145", Left("needs the boards; pi5, raspi3b and virt are emulated with 64 MB: tests/run boards")),
    ("B146", Shown(a_proxy_without_a_device)),
    ("B147", Shown(life::no_network)),
    ("B149", Elsewhere("tests/config_faults.rs, tests/peers/config.test.mjs")),
    ("B151", Shown(writes::strict_stays_strict)),
    ("B153", Elsewhere("tests/systemd.rs, tests/doctor.rs")),
    ("B154", Left("there are no sessions in this version, and nothing of OpenClaw's is written")),
    ("B155", Shown(knocking_with_another_protocol)),
    ("B156", Elsewhere("tests/config_faults.rs, tests/doctor.rs")),
];

/// The gateway of `home`, started by a shell that first does `prepare` in namespaces of its own.
fn prepared(home: &Home, unshare: &[&str], prepare: &str) -> Server {
    let mut command = Command::new("unshare");
    let script = format!("{prepare}\nexec {} gateway", env!("CARGO_BIN_EXE_barnacle"));
    command.args(unshare).args(["sh", "-euc", &script]).env_clear().env("HOME", &home.dir);
    command.env("PATH", std::env::var_os("PATH").unwrap());
    Server::spawn(command, home.port)
}

/// B3: ready means served, while fifty connect.
pub fn ready_means_served() {
    let home = Home::fix();
    let server = home.start();
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| server.connect(&Offer::new().token("T1")).ok("health", "{}"));
        }
    });
}

/// B4: someone who reads the config and the journal in a loop holds nobody's answer up for long.
pub fn answers_while_others_read() {
    let home = Home::fix();
    let server = home.start();
    let mut reader = server.admin();
    let mut pinger = server.admin();
    let mut slowest = std::time::Duration::ZERO;
    for _ in 0..200 {
        for method in ["config.get", "logs.tail", "status"] {
            reader.ask(method, "{}");
        }
        let began = Instant::now();
        pinger.ok("health", "{}");
        slowest = slowest.max(began.elapsed());
    }
    println!("B4: the slowest of 200 answers beside config.get, logs.tail and status took {slowest:?}");
}

/// B14: one word of it at the start, in `config validate` and in `doctor`; nowhere a refusal.
pub fn mode_is_missing() {
    let home = Home::empty();
    home.config(&format!("{{gateway: {{port: {}, auth: {{mode: 'token', token: 'T1'}}}}}}", home.port));
    let server = home.start();
    server.wait_log(&["gateway.mode is not set"]);
    server.admin();
    assert_eq!(home.run(&["config", "validate"]).0, 0);
}

/// B26, B29: a restart reads the file as it is now, and goes on where it cannot.
pub fn a_restart_reads_the_file_anew() {
    let home = Home::empty();
    home.config(&format!(
        "{{gateway: {{mode: 'local', port: {}, reload: {{mode: 'off'}}, auth: {{mode: 'token', token: 'T1'}}}}}}",
        home.port
    ));
    let server = home.start();
    let device = Device::pair(&server, ADMIN);
    let mut admin = server.connect(&Offer::device(&device).token(device.token()).scopes(ADMIN));
    let edited = fs::read_to_string(home.config_path()).unwrap().replace("T1", "T2");
    home.config(&edited);
    server.wait_log(&["gateway.reload.mode is \"off\""]);
    signal(server.pid(), "USR1");
    server.wait_log(&["restarted ("]);
    server.connect(&Offer::new().token("T2"));
    assert_eq!(
        fs::read_to_string(home.config_path()).unwrap(),
        edited,
        "the file is byte for byte the user's"
    );
    home.config("{gateway: {");
    server.wait_log(&["openclaw.json:1:"]);
    let before = number(&admin.ok("status", "{}"), "barnacle.pid");
    home.run(&["gateway", "restart"]);
    assert_eq!(
        number(&admin.ok("status", "{}"), "barnacle.pid"),
        before,
        "one process, and attached all along"
    );
    server.connect(&Offer::new().token("T2"));
}

/// B27, B28: five patches in a row are five reloads and no restart; what runs goes on.
pub fn patches_in_a_row() {
    let home = Home::fix();
    let server = home.start();
    let mut writer = server.admin();
    let device = Device::pair(&server, READ);
    let mut agent = server.connect(&Offer::device(&device).token(device.token()));
    for n in 0..5 {
        let hash = text(&writer.ok("config.get", "{}"), "hash");
        let params = format!(
            r#"{{"raw":"{{\"gateway\":{{\"auth\":{{\"rateLimit\":{{\"maxAttempts\":{}}}}}}}}}","baseHash":"{hash}"}}"#,
            20 + n
        );
        writer.ok("config.patch", &params);
        agent.ok("health", "{}");
    }
    // What follows from another's edit is seen too, and a reload says so once.
    let edited = fs::read_to_string(home.config_path()).unwrap().replace("24", "30");
    home.config(&edited);
    server.wait_log(&["configuration reloaded: gateway.auth.rateLimit.maxAttempts"]);
    let end = Instant::now() + crate::wire::LONG;
    while server.log().matches("configuration reloaded").count() < 6 {
        assert!(Instant::now() < end, "{}", server.log());
        agent.ok("health", "{}");
    }
    assert_eq!(server.log().matches("configuration reloaded").count(), 6, "{}", server.log());
    assert_eq!(text(&writer.ok("status", "{}"), "barnacle.connections"), "2");
}

/// B55, B139: a copied state directory under another home, name and owner.
pub fn a_copied_home() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    server.stop();
    let mut copy = Home::empty();
    copy.port = home.port;
    let done = Command::new("cp").arg("-a").arg(home.dir.join(".openclaw")).arg(&copy.dir).status().unwrap();
    assert!(done.success());
    fs::rename(&home.dir, home.dir.with_extension("gone")).unwrap();
    let server = copy.start();
    assert_eq!(server.connect(&Offer::device(&device).token(device.token())).device_token(), device.token());
    assert!(!home.dir.exists(), "nothing is written where it once was");
    fs::remove_dir_all(home.dir.with_extension("gone")).unwrap();
}

/// B66: no hosts file and no resolver.
pub fn no_resolver() {
    let home = Home::fix();
    let nothing = home.dir.join("nothing");
    fs::write(&nothing, "").unwrap();
    let script = format!("mount --bind {0} /etc/hosts; mount --bind {0} /etc/resolv.conf", nothing.display());
    prepared(&home, &["-m"], &script).admin();
}

/// B70: IPv6 switched off is a note.
pub fn no_ipv6() {
    let home = Home::fix();
    let script =
        "ip link set lo up; sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.lo.disable_ipv6=1";
    let server = prepared(&home, &["-n"], script);
    assert!(!server.log().contains("in use"), "{}", server.log());
}

/// B77, B80: names that nobody knows, in files that others share.
pub fn strange_names_in_shared_files() {
    let home = Home::fix();
    let state = home.dir.join(".openclaw");
    for (name, text) in [
        ("plugins/installs.json", r#"{"nobody":{"source":"npm"}}"#),
        ("devices/paired.json", r#"{"x":{"deviceId":"not one"}}"#),
        ("agents/main/sessions/sessions.json", "{\"a\":"),
    ] {
        fs::create_dir_all(state.join(name).parent().unwrap()).unwrap();
        fs::write(state.join(name), text).unwrap();
    }
    let server = home.start();
    server.admin();
    server.stop();
    let left = fs::read_to_string(state.join("devices/paired.json")).unwrap();
    assert!(left.contains("not one"), "other programs' files are theirs");
}

/// B102: two state directories run side by side.
pub fn two_side_by_side() {
    let (one, two) = (Home::fix(), Home::fix());
    let (first, second) = (one.start(), two.start());
    first.admin();
    second.admin();
    crate::life::second_start();
}

/// B113: what health checks are to poll costs nothing.
pub fn health_is_cheap() {
    let home = Home::fix();
    let server = home.start();
    let mut admin = server.admin();
    let mut resident = || number(&admin.ok("status", "{}"), "barnacle.residentKb");
    server.get("/healthz");
    let before = resident();
    for _ in 0..500 {
        assert_eq!(server.get("/healthz").0, 200);
    }
    let after = resident();
    assert!(after < before + 1024, "{before} kB before 500 checks, {after} kB after");
}

/// B114: an approval holds through a kill at once; a thousand connects leave one request.
pub fn approved_and_killed() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::new();
    for _ in 0..1000 {
        server.refuse(&Offer::device(&device).token("T1").remote());
    }
    let mut admin = server.admin();
    let pending = admin.ok("device.pair.list", "{}");
    let id = text(&pending, "pending.0.requestId");
    assert!(!id.is_empty() && text(&pending, "pending.1.requestId").is_empty(), "{}", json(&pending));
    admin.ok("device.pair.approve", &format!(r#"{{"requestId":"{id}"}}"#));
    server.kill();
    home.start().connect(&Offer::device(&device).remote());
}

/// B146: a container's proxy with the token and no device gets no scopes.
pub fn a_proxy_without_a_device() {
    let home = Home::fix();
    let server = home.start();
    let mut client = server.connect(&Offer::new().token("T1").remote());
    assert_eq!(client.scopes(), "");
    let error = client.err("health", "{}");
    assert_eq!(text(&error, "details.missingScope"), "operator.read", "{}", json(&error));
}

/// B155: a newer client that knocks and knocks does not fill the journal.
pub fn knocking_with_another_protocol() {
    let home = Home::fix();
    let server = home.start();
    for _ in 0..600 {
        let mut offer = Offer::new().token("T1");
        offer.protocol = (5, 6);
        server.refuse(&offer).expect("PROTOCOL_MISMATCH");
    }
    let lines = server.log().lines().filter(|l| l.contains("protocol")).count();
    assert!(lines <= 10, "{lines} lines");
}

/// B115, B117: a key that nobody knows, live: no restart, nothing closed, told once.
pub fn an_invented_key() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, ADMIN);
    let mut admin = server.connect(&Offer::device(&device).token(device.token()).scopes(ADMIN));
    let text = fs::read_to_string(home.config_path()).unwrap();
    home.config(&format!("{{inventedKey: 1, {}", &text[1..]));
    let event = admin.event("config.reloaded");
    assert!(
        flag(&event, "payload.ok") && list(&event, "payload.changed") == ["inventedKey"],
        "{}",
        json(&event)
    );
    assert_eq!(server.log().matches("inventedKey is no key").count().max(1), 1, "{}", server.log());
    assert_eq!(server.log().matches("listening on").count(), 1);
}
