//! Restarts and the configuration: it is read anew, never written, and a restart happens once.

use crate::wire::{ADMIN, Device, Home, LONG, Offer, READ, Server, flag, json, number, signal, text};
use std::{fs, time::Instant};

#[test]
fn edits_apply_at_a_restart_and_the_refused_are_closed() {
    let home = Home::fix();
    home.gateway(r#"auth:{mode:"token",token:"T1"},reload:{mode:"off"}"#);
    let server = home.start();
    let device = Device::pair(&server, ADMIN);
    let mut own = server.connect(&Offer::device(&device).scopes(ADMIN));
    let mut shared = server.connect(&Offer::new().token("T1").scopes(READ));
    // Nothing is applied, until a restart.
    home.gateway(r#"auth:{mode:"token",token:"T2"},reload:{mode:"off"} /* by hand */"#);
    signal(server.pid(), "HUP");
    server.wait_log(&["takes effect at the next restart"]);
    let bytes = fs::read(home.config_path()).unwrap();
    server.restart(&mut own);
    assert_eq!(shared.closed(), (4001, "gateway auth changed".into()));
    own.ok("health", "{}");
    server.connect(&Offer::new().token("T2").scopes(READ)).ok("health", "{}");
    server.refuse(&Offer::new().token("T1").scopes(READ));
    assert_eq!(fs::read(home.config_path()).unwrap(), bytes, "the file is the user's");
}

#[test]
fn a_broken_config_closes_nobody() {
    let home = Home::fix();
    let server = home.start();
    let mut admin = server.admin();
    home.config("{gateway:{mode:");
    let bytes = fs::read(home.config_path()).unwrap();
    server.restart(&mut admin);
    admin.ok("health", "{}");
    server.admin().ok("health", "{}");
    assert_eq!(fs::read(home.config_path()).unwrap(), bytes);
}

#[test]
fn mode_restart_restarts_once() {
    let home = Home::fix();
    home.gateway(r#"auth:{mode:"token",token:"T1"},reload:{mode:"restart"}"#);
    let server = home.start();
    let mut admin = server.admin();
    let one = format!("barnacle.{}", "restarts");
    home.gateway(r#"auth:{mode:"token",token:"T1"},reload:{mode:"restart"},trustedProxies:["203.0.113.1"]"#);
    server.wait_log(&["restarted (gateway.reload.mode"]);
    assert_eq!(number(&admin.ok("status", "{}"), &one), 1);
    // One process, no child, and no second restart by the one that came after.
    let children = format!("/proc/{0}/task/{0}/children", server.pid());
    for _ in 0..100 {
        assert_eq!(number(&admin.ok("status", "{}"), &one), 1);
    }
    assert_eq!(fs::read_to_string(children).unwrap(), "");
    // The same by whatever way the file is written.
    let mut restarted = |count| {
        let end = Instant::now() + LONG;
        while number(&admin.ok("status", "{}"), &one) != count {
            assert!(Instant::now() < end, "{}", server.log());
        }
    };
    let mut other = server.admin();
    let hash = text(&other.ok("config.get", "{}"), "hash");
    let done = other.ok(
        "config.patch",
        &format!(r#"{{"raw":"{{gateway:{{handshakeTimeoutMs:9000}}}}","baseHash":"{hash}"}}"#),
    );
    assert!(flag(&done, "sentinel.payload.stats.requiresRestart"), "{}", json(&done));
    restarted(2);
    home.run(&["config", "set", "gateway.handshakeTimeoutMs", "9001"]);
    restarted(3);
}

#[test]
fn locks_and_lockouts_outlive_a_restart() {
    let home = Home::fix();
    home.gateway(
        r#"auth:{mode:"token",token:"T1",rateLimit:{maxAttempts:3,windowMs:60000,lockoutMs:600000,exemptLoopback:false}}"#,
    );
    let server = home.start();
    let mut admin = server.admin();
    for n in 0..30 {
        let guess = format!("wrong {n}");
        server.refuse(&Offer::new().token(&guess).remote());
    }
    server.refuse(&Offer::new().token("T1").remote()).expect("AUTH_RATE_LIMITED");
    let other = home.dir.join("other.json");
    fs::write(&other, "{gateway:{mode:\"local\"}}").unwrap();
    for _ in 0..5 {
        server.restart(&mut admin);
        server.refuse(&Offer::new().token("T1").remote()).expect("AUTH_RATE_LIMITED");
        // No second gateway on this state directory, whatever its port.
        let port = crate::wire::free_port().to_string();
        let (code, _, err) = home.run(&["gateway", "--port", &port]);
        assert!(code == 78 && err.contains(&format!("process {}", server.pid())), "{code} {err}");
    }
    let status = admin.ok("status", "{}");
    assert_eq!(number(&status, "barnacle.restarts"), 5, "{}", json(&status));
    let (code, out, err) = home.run(&["gateway", "stop"]);
    assert!(code == 0 && out.contains("stopped process"), "{out}{err}");
    assert_eq!(admin.closed().0, 1012);
    let (code, out, _) = home.run(&["gateway", "stop"]);
    assert!(code == 0 && out.starts_with("no gateway runs"), "{out}");
    assert_eq!(text(&status, "barnacle.lastRestart.reason"), "SIGUSR1");
}

#[test]
fn an_invalid_port_keeps_the_one_in_use() {
    let home = Home::fix();
    let start = || Server::spawn(home.command(&["gateway"]), home.port);
    let mut server = start();
    let token = r#"mode:"local",auth:{mode:"token",token:"T1"}"#;
    for gateway in [&format!("{{port:\"{}\",{token}}}", home.port), "'x'", "[]"] {
        let mut admin = server.admin();
        let before = server.log().lines().count();
        home.config(&format!("{{gateway:{gateway}}}"));
        server.wait_new(before, &["gateway.port is a string", "gateway is a "]);
        // Whether it is reloaded, restarted, or started again: it is where it was, and the commands find it there.
        let found = || {
            let (code, out, err) = home.run(&["status"]);
            assert!(code == 0 && out.contains(&format!("ws://127.0.0.1:{} ", home.port)), "{out}{err}");
        };
        found();
        server.restart(&mut admin);
        found();
        server.kill();
        server = start();
        found();
        assert!(!server.log().contains("lets no one in"), "{}", server.log());
    }
    // What was changed beside it is kept with it.
    home.config(&format!("{{gateway:{{port:0,{}}}}}", token.replace("T1", "T2")));
    server.wait_log(&["configuration reloaded: gateway"]);
    home.config("");
    server.kill();
    let server = start();
    server.refuse(&Offer::new().token("T1").scopes(ADMIN));
    server.connect(&Offer::new().token("T2").scopes(ADMIN)).ok("health", "{}");
}

#[test]
#[cfg(feature = "tls")]
fn tls_that_makes_no_sense_is_not_switched_off() {
    let home = Home::fix();
    let start = || Server::spawn(home.command(&["gateway"]), home.port);
    home.gateway(r#"tls:{enabled:true},auth:{mode:"token",token:"T1"}"#);
    let server = start();
    home.gateway(r#"tls:"on",auth:{mode:"token",token:"T1"}"#);
    server.wait_log(&["gateway.tls is a string"]);
    server.kill();
    let server = start();
    let (code, out, err) = home.run(&["status"]);
    assert!(code == 0 && out.contains("wss://"), "{out}{err}");
    let line = server.wait_log(&["gateway.tls is a string"]);
    assert!(line.contains("until then: what it was before"), "{line}");
}

#[test]
fn a_missing_token_file_is_reported_until_it_is_back() {
    let home = Home::fix();
    let file = home.dir.join("token");
    fs::write(&file, "\u{feff}F1\r\n").unwrap();
    let server = home.start_with(&["--token-file", file.to_str().unwrap()], &[]);
    let mut admin = server.connect(&Offer::new().token("F1").scopes(ADMIN));
    fs::remove_file(&file).unwrap();
    server.wait_log(&["token is gone; until it holds a whole value again"]);
    assert!(json(&admin.ok("status", "{}")).contains("token is gone; until it holds a whole value again"));
    server.connect(&Offer::new().token("F1").scopes(ADMIN));
    fs::write(&file, "F2").unwrap();
    server.wait_log(&["configuration reloaded: "]);
    server.connect(&Offer::new().token("F2").scopes(ADMIN));
    assert_eq!(admin.closed(), (4001, "gateway auth changed".into()));
}
