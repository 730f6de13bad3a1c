//! Files that are broken, odd, or not writable.

use crate::wire::{Device, Home, Offer, READ, Server, text};
use std::{fs, os::unix::fs::PermissionsExt};

#[track_caller]
fn attached(server: &Server, device: &Device) {
    let client = server.connect(&Offer::device(device).token(device.token()));
    assert_eq!(client.device_token(), device.token());
}

fn paired() -> (Home, Device) {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    // A second change, so that the file before the last one holds the device too.
    Device::pair(&server, READ);
    server.stop();
    (home, device)
}

#[test]
fn a30_a_truncated_store_is_recovered() {
    let (home, device) = paired();
    for broken in [&b""[..], b"{}", b"BARNACLE"] {
        fs::write(home.tokens(), broken).unwrap();
        let server = home.start();
        server.wait_log(&["continuing with the state before the last change"]);
        attached(&server, &device);
        // Writes a good file again, and a good one before it.
        Device::pair(&server, READ);
        assert_eq!(fs::read(home.store().join("tokens.bin.damaged")).unwrap(), broken, "put aside, not lost");
        Device::pair(&server, READ);
        server.stop();
    }
}

#[test]
fn a31_store_unreadable() {
    let (home, device) = paired();
    let aside = home.store().join("aside");
    fs::rename(home.tokens(), &aside).unwrap();
    // Root reads whatever the mode: a directory in the file's place cannot be read by anyone.
    fs::create_dir(home.tokens()).unwrap();
    let (code, _, err) = home.run(&["gateway", "--port", &home.port.to_string()]);
    assert_eq!(code, 78, "{err}");
    assert!(err.contains("cannot be read") && err.contains("Nothing was changed"), "{err}");
    fs::remove_dir(home.tokens()).unwrap();
    fs::rename(&aside, home.tokens()).unwrap();
    attached(&home.start(), &device);
}

#[test]
fn a34_a35_a105_unknown_keys() {
    let (home, device) = paired();
    let text = format!(
        r#"{{
  // no meta, keys of nobody, keys of others
  gateway: {{ mode: "local", port: {}, auth: {{ mode: "token", token: "T1" }}, hotCocoa: true }},
  agents: {{ defaults: {{ foo: 1 }} }},
  plugins: {{ installs: {{ x: {{ source: "npm" }} }} }},
}}"#,
        home.port
    );
    home.config(&text);
    let server = home.start();
    attached(&server, &device);
    server.connect(&Offer::new().token("T1"));
    server.stop();
    assert_eq!(fs::read_to_string(home.config_path()).unwrap(), text);
}

#[test]
fn a36_a125_half_a_config() {
    let (home, device) = paired();
    let last = home.store().join("openclaw.json.last");
    let whole = fs::read_to_string(home.config_path()).unwrap();
    assert_eq!(fs::read_to_string(&last).unwrap(), whole);
    assert_eq!(fs::metadata(&last).unwrap().permissions().mode() & 0o777, 0o600, "it holds the token");
    for text in [&whole[..whole.len() / 2], &format!("{whole}garbage"), &format!("{whole}{whole}"), ""] {
        home.config(text);
        // The port stands in the file, and nowhere else.
        let server = Server::spawn(home.command(&["gateway"]), home.port);
        attached(&server, &device);
        server.connect(&Offer::device(&device));
        server.connect(&Offer::new().token("T1"));
        server.wait_log(&["what it ran with last, and writes nothing to it"]);
        server.stop();
        assert_eq!(fs::read_to_string(home.config_path()).unwrap(), text, "the user's file was written to");
        assert_eq!(fs::read_to_string(&last).unwrap(), whole);
    }
    fs::remove_file(&last).unwrap();
    home.config("{ half");
    let server = home.start();
    attached(&server, &device);
    server.wait_log(&["paired devices only, and writes nothing to it"]);
    assert!(server.try_connect(&Offer::new().token("T1")).is_err(), "nobody knows the shared token");
}

#[test]
fn a58_secret_references() {
    let (home, device) = paired();
    home.auth(r#"{mode:"token",token:{source:"file",provider:"p",id:"/nowhere/x"}}"#);
    let server = home.start();
    server.wait_log(&["gateway.auth.token lets no one in"]);
    attached(&server, &device);
    let refused = server.refuse(&Offer::new().token("T1"));
    refused.expect("AUTH_TOKEN_NOT_CONFIGURED");
    drop(server);
    home.auth(r#"{mode:"token",token:"${NOT_SET_ANYWHERE}"}"#);
    let server = home.start();
    attached(&server, &device);
    // The text itself is not a secret.
    server.refuse(&Offer::new().token("${NOT_SET_ANYWHERE}")).expect("AUTH_TOKEN_NOT_CONFIGURED");
    drop(server);
    fs::write(home.dir.join(".openclaw/.env"), "FROM_ENV=T7\n").unwrap();
    home.auth(r#"{mode:"token",token:"${FROM_ENV}"}"#);
    home.start().connect(&Offer::new().token("T7"));
}

#[test]
fn a65_a95_auth_block_dropped() {
    let (home, device) = paired();
    home.config(&format!("{{gateway:{{mode:\"local\",port:{}}}}}", home.port));
    let server = home.start();
    attached(&server, &device);
    server.wait_log(&["no shared token was set; a random one is now gateway.auth.token in"]);
    server.connect(&Offer::device(&device));
}

#[test]
fn a66_token_made_once() {
    let home = Home::empty();
    let server = home.start();
    let made = fs::read_to_string(home.config_path()).unwrap();
    server.stop();
    for _ in 0..2 {
        home.start().stop();
        assert_eq!(fs::read_to_string(home.config_path()).unwrap(), made);
    }
    let token = made.split('"').find(|part| part.len() == 43).unwrap().to_owned();
    home.start().connect(&Offer::new().token(&token));
}

#[test]
fn a83_old_names() {
    let (home, device) = paired();
    fs::create_dir(home.dir.join(".clawdbot")).unwrap();
    let server = home.start_with(&[], &[("CLAWDBOT_GATEWAY_TOKEN", "old")]);
    server.wait_log(&[".clawdbot"]);
    server.wait_log(&["CLAWDBOT_GATEWAY_TOKEN"]);
    server.stop();
    // A home that is itself the state directory does not nest.
    let inner = home.dir.join(".openclaw");
    let server = home.start_with(&[], &[("OPENCLAW_HOME", inner.to_str().unwrap())]);
    assert!(!inner.join(".openclaw").exists());
    attached(&server, &device);
    let line = server.wait_log(&["listening on"]);
    assert!(line.contains(home.store().to_str().unwrap()) && line.contains("2 devices paired"), "{line}");
}

#[test]
fn a84_bind_without_auth() {
    let home = Home::empty();
    for (bind, mode) in [("lan", "none"), ("0.0.0.0", "none"), ("tailnet", "none")] {
        home.config(&format!(
            "{{gateway:{{mode:\"local\",bind:\"{bind}\",port:{},auth:{{mode:\"{mode}\"}}}}}}",
            home.port
        ));
        let server = home.start();
        server.wait_log(&["listening on loopback instead of"]);
        let line = server.wait_log(&[" · auth "]);
        assert!(line.contains("127.0.0.1:") && !line.contains("0.0.0.0"), "{line}");
        server.connect(&Offer::new());
        server.stop();
    }
}

#[test]
fn a93_edits_while_running() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    let mut client = server.connect(&Offer::device(&device));
    for group in ["always", "mentions"] {
        home.config(&format!(
            "{{gateway:{{mode:\"local\",port:{},auth:{{token:\"T1\"}}}},channels:{{whatsapp:{{ackReaction:{{group:\"{group}\"}}}}}}}}",
            home.port
        ));
        client.ok("health", "{}");
    }
    home.config("{ half");
    client.ok("health", "{}");
}

#[test]
fn a97_read_only_state() {
    let (home, device) = paired();
    let dir = home.store();
    let script = format!("mount --bind {0} {0} && mount -o remount,ro,bind {0}", dir.to_str().unwrap());
    let server = home.start_unshared(&["-m"], &script, &[]);
    server.wait_log(&["paired devices are served, new pairings are refused"]);
    attached(&server, &device);
    // It asks for more, which on this host is granted and written down at once: it keeps what it has.
    let wider = server.connect(&Offer::device(&device).token("T1").scopes(crate::wire::ADMIN));
    assert!(!wider.scopes().contains("operator.admin") && wider.scopes().contains("operator.read"));
    let new = Device::new();
    for offer in [Offer::device(&new).token("T1"), Offer::device(&new).token("T1").remote()] {
        let refused = server.refuse(&offer);
        assert_eq!(refused.get("code"), "UNAVAILABLE");
        assert_eq!(refused.get("retryable"), "true");
        assert_eq!(refused.close.0, 1013);
        assert!(refused.get("message").contains(dir.to_str().unwrap()), "{}", refused.get("message"));
        assert!(refused.get("message").contains("uid 0"), "{}", refused.get("message"));
    }
    let status = server.admin().ok("status", "{}");
    assert!(!text(&status, "barnacle.readOnly").is_empty());
}
