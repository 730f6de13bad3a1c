//! `barnacle config get|validate|diff|file|schema`, and the schema over RPC.

use crate::wire::{Home, flag, items, json, text};
use std::fs;

const SECRET: &str = "sk-live-123";

fn home() -> Home {
    let home = Home::empty();
    home.config(&format!(
        "{{
  // a comment
  gateway: {{mode: 'local', port: {}, auth: {{token: '{SECRET}'}}}},
  channels: {{telegram: {{botToken: '${{TG}}', allowFrom: ['a', 'b']}}}},
  models: {{providers: {{x: {{apiKey: '{SECRET}', models: [{{id: 'one'}}]}}}}}},
}}",
        home.port
    ));
    home
}

#[test]
fn get() {
    let home = home();
    let rows = [
        ("gateway.mode", "local\n"),
        ("gateway.auth.token", "__OPENCLAW_REDACTED__\n"),
        ("channels.telegram.botToken", "${TG}\n"),
        ("channels.telegram.allowFrom[1]", "b\n"),
        ("gateway.auth", "{\n  \"token\": \"__OPENCLAW_REDACTED__\"\n}\n"),
        ("models.providers.x.models[0]", "{\n  \"id\": \"one\"\n}\n"),
    ];
    for (path, printed) in rows {
        let (code, out, err) = home.run(&["config", "get", path]);
        assert_eq!((code, out.as_str()), (0, printed), "{path}");
        // A hidden secret is said to be hidden, where it does not get into a pipe.
        assert_eq!(err.contains("--reveal"), printed.contains("REDACTED"), "{path}: {err}");
    }
    assert_eq!(home.run(&["config", "get", "gateway.mode", "--json"]).1, "\"local\"\n");
    assert_eq!(home.run(&["config", "get", "gateway.auth.token", "--reveal"]).1, format!("{SECRET}\n"));
    assert!(home.run(&["config", "get", "models", "--reveal"]).1.contains(SECRET));
    assert!(!home.run(&["config", "get", "models", "--json"]).1.contains(SECRET));
    let (code, out, err) = home.run(&["config", "get", "gateway.nope"]);
    assert!(code == 1 && out.is_empty() && err.contains("has no gateway.nope"), "{err}");
    assert_eq!(home.run(&["config", "get"]).0, 2);
    home.config("{gateway: ");
    let (code, _, err) = home.run(&["config", "get", "gateway"]);
    assert!(code == 78 && err.contains("openclaw.json:1:"), "{err}");
}

#[test]
fn validate_says_all_at_once() {
    let home = home();
    let (code, out, err) = home.run(&["config", "validate"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("${TG} is set neither") && out.contains("kept, not used by Barnacle"), "{out}");
    assert!(out.ends_with(&format!("valid: {}\n", home.config_path().display())), "{out}");
    home.config(&format!(
        "{{gateway: {{mode: 'local', port: 'x', prot: 1,\n auth: {{token: '{SECRET}', mode: 'tokn'}}}},\n nonsense: '{SECRET}'}}"
    ));
    let (code, out, err) = home.run(&["config", "validate"]);
    assert!(code == 1 && err.contains("is not valid"), "{err}");
    for words in [
        ":1:33: gateway.port is",
        ":2:37: gateway.auth.mode is \"tokn\"",
        ":1:38: gateway.prot",
        ":3:2: nonsense",
    ] {
        assert!(out.contains(words), "{words}: {out}");
    }
    assert!(!out.contains(SECRET) && !out.contains("valid:"), "{out}");
    let (code, out, _) = home.run(&["config", "validate", "--json"]);
    let verdict = miniserde::json::from_str(&out).unwrap();
    assert!(code == 1 && !flag(&verdict, "valid"), "{out}");
    let issues = items(&verdict, "issues");
    assert_eq!(issues.len(), 2, "{out}");
    assert_eq!((text(issues[0], "path"), crate::wire::number(issues[0], "line")), ("gateway.port".into(), 1));
    assert!(items(&verdict, "warnings").len() >= 2, "{out}");
    home.config("{gateway: {}} {}");
    let (code, out, _) = home.run(&["config", "validate"]);
    assert!(code == 1 && out.contains(":1:15: "), "{out}");
    // A file that is not there is no wrong one.
    fs::remove_file(home.config_path()).unwrap();
    assert_eq!(home.run(&["config", "validate"]).0, 0);
}

/// B14: what starts is called valid, with the same words.
#[test]
fn validate_and_start_agree() {
    let home = Home::empty();
    home.config("{gateway: {auth: {token: 'T1'}}}");
    let (code, out, _) = home.run(&["config", "validate"]);
    let words = "gateway.mode is not set";
    assert!(code == 0 && out.contains(words), "{out}");
    assert!(home.start().log().contains(words));
    home.config("{gateway: {mode: 'remote'}}");
    let (code, out, _) = home.run(&["config", "validate"]);
    assert!(code == 1 && out.contains("gateway.mode is \"remote\""), "{out}");
    let (code, _, err) = home.run(&["gateway"]);
    assert!(code == 78 && err.contains("gateway.mode is \"remote\""), "{err}");
}

#[test]
fn diff_against_what_ran_last() {
    let home = home();
    assert!(home.run(&["config", "diff"]).1.contains("nothing ran yet"));
    let server = home.start();
    let end = std::time::Instant::now() + crate::wire::LONG;
    while !home.store().join("openclaw.json.last").exists() {
        assert!(std::time::Instant::now() < end, "what runs is not kept");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    server.stop();
    let same = home.run(&["config", "diff"]).1;
    assert!(same.contains("says what ran last"), "{same}");
    let text = fs::read_to_string(home.config_path()).unwrap();
    home.config(&text.replace(SECRET, "sk-live-456").replace("'b'", "'c'").replace("mode: 'local', ", ""));
    let (code, out, _) = home.run(&["config", "diff"]);
    assert_eq!(code, 0);
    for line in [
        "- gateway.mode: \"local\"\n",
        "~ gateway.auth.token: \"__OPENCLAW_REDACTED__\" → \"__OPENCLAW_REDACTED__\"\n",
        "~ channels.telegram.allowFrom: [\"a\",\"b\"] → [\"a\",\"c\"]\n",
    ] {
        assert!(out.contains(line), "{line}: {out}");
    }
    assert!(!out.contains("sk-live"), "{out}");
}

#[test]
fn files() {
    let home = home();
    home.config("{$include: './more.json5'}");
    fs::write(home.config_path().with_file_name("more.json5"), "{}").unwrap();
    assert_eq!(home.run(&["config", "file"]).1, format!("{}\n", home.config_path().display()));
    let all = home.run(&["config", "file", "--all"]).1;
    for words in
        ["includes ", "more.json5\n", ".openclaw/.env (not there)", "openclaw.json.last (not there)", ".bak"]
    {
        assert!(all.contains(words), "{words}: {all}");
    }
}

#[test]
fn the_schema_as_clients_ask_for_it() {
    let home = home();
    let (code, out, _) = home.run(&["config", "schema"]);
    let printed = miniserde::json::from_str(&out).unwrap();
    assert!(code == 0 && text(&printed, "properties.gateway.properties.port.type") == "integer");
    let server = home.start();
    let mut client = server.connect(&crate::wire::Offer::new().token(SECRET).scopes(crate::wire::READ));
    let answer = client.ok("config.schema", "{}");
    assert_eq!(json(crate::wire::get(&answer, "schema").unwrap()), json(&printed));
    let hints = json(crate::wire::get(&answer, "uiHints").unwrap());
    assert!(hints.contains(r#""gateway.auth.token":{"#) && hints.contains(r#""sensitive":true"#), "{hints}");
    assert!(!text(&answer, "version").is_empty() && text(&answer, "generatedAt").ends_with('Z'));
    let mut ask = |path: &str| client.ok("config.schema.lookup", &format!(r#"{{"path":"{path}"}}"#));
    let port = ask("gateway.port");
    assert_eq!((text(&port, "schema.type"), text(&port, "reloadKind")), ("integer".into(), "hot".into()));
    let gateway = ask("gateway");
    let child = items(&gateway, "children").into_iter().find(|c| text(c, "key") == "auth").cloned();
    assert!(child.is_some_and(|c| text(&c, "path") == "gateway.auth" && flag(&c, "hasChildren")));
    assert!(items(&ask("."), "children").iter().any(|c| text(c, "key") == "gateway"));
    let unknown = client.err("config.schema.lookup", r#"{"path":"gateway.nope"}"#);
    assert!(json(&unknown).contains("config schema path not found"));
}

#[test]
fn a_token_of_digits_is_a_text() {
    let home = Home::fix();
    for token in ["12345", "0x10", "true", "-5"] {
        let (code, out, err) = home.run(&["config", "set", "gateway.auth.token", "--", token]);
        assert!(code == 0, "{token}: {out}{err}");
        let file = std::fs::read_to_string(home.config_path()).unwrap();
        assert!(file.contains(&format!("\"{token}\"")), "{file}");
    }
    // Not where it must be JSON, nor for a key that is no text.
    let (code, _, err) = home.run(&["config", "set", "gateway.auth.token", "12345", "--strict-json"]);
    assert!(code == 1 && err.contains("must be a string in quotes"), "{err}");
    let (code, _, err) = home.run(&["config", "set", "gateway.port", "seven"]);
    assert!(code == 1 && err.contains("must be a whole number"), "{err}");
    let (code, _, err) = home.run(&["config", "set", "gateway.auth.token", "-5"]);
    assert!(code == 2 && err.contains("goes last, behind --"), "{err}");
}
