//! Commands that change the configuration: what they say is so.

use crate::wire::{Home, Offer, READ, list, signal};
use std::fs;

/// The next command after `config set` finds the gateway as it was set.
#[test]
fn h26_a_set_returns_when_the_running_gateway_has_taken_it() {
    let home = Home::fix();
    let server = home.start();
    for n in 0..10 {
        let token = format!("token-number-{n}");
        let (code, out, err) = home.run(&["config", "set", "gateway.auth.token", &token]);
        assert!(code == 0 && err.is_empty() && out.contains("Applied"), "{out}{err}");
        server.connect(&Offer::new().token(&token).scopes(READ));
        assert_eq!(home.run(&["health"]).0, 0, "{n}");
    }
    for (args, key) in [
        (&["config", "set", "logging.level", "debug"][..], "logging.level"),
        (&["config", "set", "ui.seamColor", "#112233"], "ui.seamColor"),
        (&["config", "unset", "ui.seamColor"], "ui.seamColor"),
    ] {
        let (code, _, err) = home.run(args);
        assert!(code == 0 && err.is_empty(), "{key}: {err}");
        // It is applied by then; what the log says of it may still be on its way here.
        server.wait_log(&[key]);
    }
}

/// One that does not look, or does not run at all, is not said to have applied anything.
#[test]
fn h26_a_gateway_that_does_not_take_it_is_reported() {
    let home = Home::fix();
    let server = home.start();
    signal(server.pid(), "STOP");
    let (code, out, err) = home.run(&["config", "set", "gateway.auth.token", "T2"]);
    signal(server.pid(), "CONT");
    assert!(code == 0 && !out.contains("Applied"), "{out}");
    assert!(err.contains("has not taken it") && err.contains(&server.pid().to_string()), "{err}");
    server.wait_log(&["configuration reloaded: gateway.auth.token"]);
    server.stop();
    let (code, out, _) = home.run(&["config", "set", "gateway.auth.token", "T3"]);
    assert!(code == 0 && out.contains("No gateway runs on it"), "{out}");
}

#[test]
fn h28_what_begins_like_a_list_must_be_one() {
    let home = Home::fix();
    let before = fs::read_to_string(home.config_path()).unwrap();
    for (value, column) in [
        ("[\"\"a\"\"]", "column 4"),
        ("{a: 1", "column"),
        ("[1, 2", "column"),
        (" {a 1}", "column"),
        ("[a]", "column"),
    ] {
        for command in ["set", "plan"] {
            let (code, out, err) = home.run(&["config", command, "plugins.allow", value]);
            assert!(code == 1 && err.contains(column) && err.contains("--string"), "{value}: {out}{err}");
        }
        assert_eq!(fs::read_to_string(home.config_path()).unwrap(), before, "{value}");
        let (code, _, err) = home.run(&["config", "set", "ui.assistant.name", value, "--string"]);
        assert_eq!(code, 0, "{err}");
        assert_eq!(home.run(&["config", "get", "ui.assistant.name"]).1, format!("{value}\n"));
        home.config(&before);
    }
    assert_eq!(home.run(&["config", "set", "plugins.allow", "['a', \"b\"]"]).0, 0);
}

#[test]
fn h29_a_key_that_is_misspelt_is_not_written() {
    let home = Home::fix();
    let before = fs::read_to_string(home.config_path()).unwrap();
    for (key, meant) in [
        ("gateway.prot", "did you mean gateway.port?"),
        ("gateway.auth.tokn", "did you mean gateway.auth.token?"),
        ("gatway.port", "did you mean gateway?"),
    ] {
        let (code, out, err) = home.run(&["config", "set", key, "1"]);
        assert!(code != 0 && err.contains(meant) && err.contains("--force"), "{key}: {out}{err}");
        assert_eq!(fs::read_to_string(home.config_path()).unwrap(), before, "{key}");
    }
    assert_eq!(home.run(&["config", "set", "gateway.prot", "1", "--force"]).0, 0);
    assert_eq!(home.run(&["config", "get", "gateway.prot"]).1, "1\n");
    // What is like nothing known may be a plugin's.
    assert_eq!(home.run(&["config", "set", "zzqq.some", "1"]).0, 0);
}

#[test]
fn h30_a_file_that_no_gateway_reads_is_said_to_be_one() {
    let home = Home::empty();
    let (code, out, err) = home.run(&["config", "set", "gateway.port", "4711"]);
    assert!(code == 0 && out.contains("a new file; no gateway runs on it"), "{out}{err}");
    assert!(!out.contains("without restarting"), "{out}");
}

/// A file, or its whole directory, that is gone under a running gateway.
#[test]
fn h21_a_write_on_a_missing_file_begins_with_what_runs() {
    for whole in [false, true] {
        for rpc in [false, true] {
            let home = Home::fix();
            let server = home.start();
            let mut admin = server.admin();
            let dir = home.config_path().parent().unwrap().to_owned();
            match whole {
                true => fs::rename(&dir, home.dir.join("away")).unwrap(),
                false => fs::rename(home.config_path(), home.dir.join("away.json")).unwrap(),
            }
            if rpc {
                admin.ok("config.patch", r#"{"raw":"{ui: {seamColor: '#112233'}}","baseHash":"x"}"#);
            } else {
                server.wait_log(&["openclaw.json is gone"]);
                // It keeps what it runs with first.
                server.admin().ok("config.get", "{}");
                while !home.store().join("openclaw.json.last").exists() {
                    server.admin();
                }
                let (code, out, err) = home.run(&["config", "set", "ui.seamColor", "#112233"]);
                assert_eq!(code, 0, "{out}{err}");
            }
            let text = fs::read_to_string(home.config_path()).unwrap();
            assert!(text.contains("T1") && text.contains("#112233"), "whole {whole}, rpc {rpc}: {text}");
            server.admin();
            admin.ok("health", "{}");
            server.stop();
            home.start().admin();
        }
    }
}

/// The command comes before the gateway has seen that its directory is gone.
#[test]
fn h41_a_set_right_after_the_directory_is_removed_begins_with_what_runs() {
    let home = Home::fix();
    let server = home.start();
    let mut admin = server.admin();
    while !home.store().join("openclaw.json.last").exists() {
        admin.ok("health", "{}");
    }
    fs::rename(home.config_path().parent().unwrap(), home.dir.join("away")).unwrap();
    let (code, out, err) = home.run(&["config", "set", "ui.seamColor", "#112233"]);
    assert!(code == 0 && err.is_empty() && out.contains("No gateway restart needed"), "{out}{err}");
    let text = fs::read_to_string(home.config_path()).unwrap();
    assert!(text.contains("T1") && text.contains("#112233"), "{text}");
    admin.ok("health", "{}");
    server.stop();
    home.start().admin();
}

/// Another program begins the file anew, with its own key alone.
#[test]
fn h21_a_file_begun_anew_without_the_gateway_changes_nothing() {
    let home = Home::fix();
    let server = home.start();
    let mut admin = server.admin();
    home.config("{ui: {seamColor: '#112233'}}");
    server.wait_log(&["no gateway section any more"]);
    server.admin();
    let notices = list(&admin.ok("status", "{}"), "barnacle.notices").join("\n");
    assert!(notices.contains("no gateway section"), "{notices}");
}
