//! Boards: what went wrong around files, memory and restarts.

use crate::wire::{ADMIN, Device, Home, Offer, READ, flag, json, list, number, signal, text};
use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Instant,
};

/// Ready means served, while fifty connect.
#[test]
fn b3_ready_means_served() {
    let home = Home::fix();
    let server = home.start();
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| server.connect(&Offer::new().token("T1")).ok("health", "{}"));
        }
    });
}

/// Someone who reads the config and the journal in a loop holds nobody's answer up for long.
#[test]
fn b4_answers_while_others_read() {
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

/// One word of it at the start, in `config validate` and in `doctor`; nowhere a refusal.
#[test]
fn b14_mode_is_missing() {
    let home = Home::empty();
    home.config(&format!("{{gateway: {{port: {}, auth: {{mode: 'token', token: 'T1'}}}}}}", home.port));
    let server = home.start();
    server.wait_log(&["gateway.mode is not set"]);
    server.admin();
    assert_eq!(home.run(&["config", "validate"]).0, 0);
}

/// A restart reads the file as it is now, and continues where it cannot.
#[test]
fn b26_b29_a_restart_reads_the_file_anew() {
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

/// Five patches in a row are five reloads and no restart; what runs continues.
#[test]
fn b27_b28_patches_in_a_row() {
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

/// A copied state directory under another home, name and owner.
#[test]
fn b55_b139_a_copied_home() {
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

/// No hosts file and no resolver.
#[test]
fn b66_no_resolver() {
    let home = Home::fix();
    let nothing = home.dir.join("nothing");
    fs::write(&nothing, "").unwrap();
    let script = format!("mount --bind {0} /etc/hosts; mount --bind {0} /etc/resolv.conf", nothing.display());
    home.start_unshared(&["-m"], &script, &[]).admin();
}

/// IPv6 switched off is a note.
#[test]
fn b70_no_ipv6() {
    let home = Home::fix();
    let script =
        "ip link set lo up; sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.lo.disable_ipv6=1";
    let server = home.start_unshared(&["-n"], script, &[]);
    assert!(!server.log().contains("in use"), "{}", server.log());
}

/// Names that nobody knows, in files that others share.
#[test]
fn b77_unknown_names_in_shared_files() {
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

/// Two state directories run side by side.
#[test]
fn b102_two_side_by_side() {
    let (one, two) = (Home::fix(), Home::fix());
    let (first, second) = (one.start(), two.start());
    first.admin();
    second.admin();
}

/// What health checks are to poll costs nothing.
#[test]
fn b113_health_is_cheap() {
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

/// An approval holds through a kill at once; a thousand connects leave one request.
#[test]
fn b114_approved_and_killed() {
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

/// A container's proxy with the token and no device gets no scopes.
#[test]
fn b146_a_proxy_without_a_device() {
    let home = Home::fix();
    let server = home.start();
    let mut client = server.connect(&Offer::new().token("T1").remote());
    assert_eq!(client.scopes(), "");
    let error = client.err("health", "{}");
    assert_eq!(text(&error, "details.missingScope"), "operator.read", "{}", json(&error));
}

/// A newer client that knocks and knocks does not fill the journal.
#[test]
fn b155_refusals_of_another_protocol_do_not_fill_the_log() {
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

/// A key that nobody knows, live: no restart, nothing closed, told once.
#[test]
fn b115_an_unknown_key_closes_nothing() {
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

/// A command of the command line needs little beside the agents of a small board.
#[test]
fn b131_memory_of_a_command() {
    let home = Home::fix();
    let _server = home.start();
    let mut following = home.command(&["logs", "--follow"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(following.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", following.id())).unwrap();
    following.kill().unwrap();
    following.wait().unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim();
    let peak: u64 = peak.strip_suffix(" kB").unwrap().parse().unwrap();
    assert!(!line.is_empty() && peak < 10_000, "{peak} kB");
    println!("`barnacle logs --follow` needs {peak} kB at most");
}
