//! The configuration over RPC: read without its secrets, changed without losing what others wrote.

use crate::wire::{ADMIN, Client, Home, Offer, READ, Server, flag, get, json, list, text};
use miniserde::json::Value;
use nanoserde::SerJson;
use std::fs;

/// The shared token: long enough not to come up by chance in what is random in an answer.
const TOKEN: &str = "T1-of-the-owner-4711";

fn admin(server: &Server) -> Client {
    server.connect(&Offer::new().token(TOKEN).scopes(ADMIN))
}

/// A home whose file has a layout of its own.
fn home() -> Home {
    let home = Home::empty();
    home.config(&format!(
        "// mine\n{{\n  gateway: {{\n    mode: 'local', // here\n    port: {},\n    auth: {{mode: 'token', token: '{TOKEN}'}},\n  }},\n  \
         ui: {{seamColor: '#112233'}},\n  list: [1, 2, 3],\n}}\n",
        home.port
    ));
    home
}

fn read(home: &Home) -> String {
    fs::read_to_string(home.config_path()).unwrap()
}

fn hash(client: &mut Client) -> String {
    text(&client.ok("config.get", "{}"), "hash")
}

/// The parameters of a write of `raw` based on `hash`.
fn based(raw: &str, hash: &str) -> String {
    format!(r#"{{"raw":{},"baseHash":{}}}"#, raw.serialize_json(), hash.serialize_json())
}

#[test]
fn config_get_without_secrets() {
    let home = home();
    let server = home.start();
    let mut client = admin(&server);
    let shown = client.ok("config.get", "{}");
    let token = "__OPENCLAW_REDACTED__";
    assert!(flag(&shown, "exists") && flag(&shown, "valid"));
    for tree in ["parsed", "sourceConfig", "resolved", "runtimeConfig", "config"] {
        assert_eq!(text(&shown, &format!("{tree}.gateway.auth.token")), token, "{tree}");
        assert_eq!(text(&shown, &format!("{tree}.ui.seamColor")), "#112233", "{tree}");
    }
    assert_eq!(text(&shown, "raw"), read(&home).replace(TOKEN, token));
    assert!(text(&shown, "hash").starts_with("hmac-sha256:v1:"));
    assert_eq!(text(&shown, "appliedConfigHash"), text(&shown, "configRevisionHash"));
    assert!(!json(&shown).contains(TOKEN));
    // A secret that was commented out is one all the same; so is one that stands twice.
    for extra in ["// token: 'OLD'", "/* \"apiKey\" = OLD */", "x: {apiKey: 'OLD', apiKey: 'NEW'}"] {
        home.config(
            &read(&home).replace(
                "list:",
                &format!("{extra}\n{}list:", if extra.starts_with('x') { "," } else { "" }),
            ),
        );
        let shown = client.ok("config.get", "{}");
        assert!(matches!(get(&shown, "raw"), None | Some(Value::Null)), "{extra}");
        assert!(!json(&shown).contains("OLD") && flag(&shown, "valid"), "{extra}: {}", json(&shown));
    }
}

#[test]
fn a_patch_is_applied_before_it_is_answered() {
    let home = home();
    let server = home.start();
    let mut client = admin(&server);
    let before = read(&home);
    let base = hash(&mut client);
    let done = client.ok(
        "config.patch",
        &based("{gateway: {auth: {rateLimit: {maxAttempts: 3}}}, ui: {seamColor: '#445566'}}", &base),
    );
    server.wait_log(&["configuration reloaded"]);
    assert_eq!(list(&done, "changedPaths"), ["gateway.auth.rateLimit", "ui.seamColor"]);
    assert_eq!(text(&done, "config.gateway.auth.token"), "__OPENCLAW_REDACTED__");
    assert!(!flag(&done, "sentinel.payload.stats.requiresRestart"));
    let after = before
        .replace(
            &format!("token: '{TOKEN}'}}"),
            &format!("token: '{TOKEN}', rateLimit: {{maxAttempts: 3}}}}"),
        )
        .replace("#112233", "#445566");
    assert_eq!(read(&home), after);
    assert_eq!(fs::read_to_string(home.config_path().with_extension("json.bak")).unwrap(), before);
    assert_eq!(text(&done, "hash"), hash(&mut client));
    // Without effect, no base is needed and nothing is written.
    let done = client.ok("config.patch", r##"{"raw":"{ui:{seamColor:'#445566'}}"}"##);
    assert!(flag(&done, "noop") && list(&done, "changedPaths").is_empty());
    assert_eq!(read(&home), after);
}

#[test]
fn refusals_leave_the_file_alone() {
    let home = home();
    let server = home.start();
    let mut client = admin(&server);
    let (before, base) = (read(&home), hash(&mut client));
    let wide = "x".repeat(9000);
    let rows = [
        (
            "config.patch",
            r##"{"raw":"{ui:{seamColor:'#1'}}"}"##.to_owned(),
            "INVALID_REQUEST",
            "config base hash required; re-run config.get and retry",
        ),
        ("config.set", r#"{"raw":"{}"}"#.into(), "INVALID_REQUEST", "config base hash required"),
        (
            "config.patch",
            based("{ui: {a: 1}}", "abc"),
            "INVALID_REQUEST",
            "config changed since last load; re-run config.get and retry",
        ),
        ("config.patch", based("{nope", &base), "INVALID_REQUEST", "SyntaxError: JSON5: "),
        ("config.patch", based("[1]", &base), "INVALID_REQUEST", "config.patch raw must be an object"),
        (
            "config.patch",
            r#"{"raw":1}"#.into(),
            "INVALID_REQUEST",
            "invalid config.patch params: at /raw: must be string",
        ),
        (
            "config.patch",
            based("{gateway: {port: 'x'}, other: 1}", &base),
            "INVALID_REQUEST",
            "invalid config: gateway.port: ",
        ),
        ("config.patch", based("{list: [1, 2]}", &base), "INVALID_REQUEST", "replacePaths: [\"list\"]"),
        ("config.patch", based("{list: null}", &base), "INVALID_REQUEST", "list would lose entries"),
        (
            "config.patch",
            based("{ui: {seamColor: '__OPENCLAW_REDACTED__'}}", &base),
            "INVALID_REQUEST",
            "ui.seamColor is __OPENCLAW_REDACTED__",
        ),
        (
            "config.patch",
            based("{channels: {x: {token: '__OPENCLAW_REDACTED__'}}}", &base),
            "INVALID_REQUEST",
            "channels.x.token is",
        ),
        ("config.patch", based("{gateway: {$include: './x'}}", &base), "INVALID_REQUEST", "$include"),
        ("config.set", based("{ui: {}}", &base), "UNAVAILABLE", "(gateway-mode-removed)"),
        (
            "config.set",
            based("{gateway: {bind: 'nowhere'}}", &base),
            "INVALID_REQUEST",
            "invalid config: gateway.bind: ",
        ),
        ("config.apply", based("", &base), "INVALID_REQUEST", "raw"),
    ];
    for (method, params, code, message) in rows {
        let error = client.err(method, &params);
        assert_eq!(text(&error, "code"), code, "{params}: {}", json(&error));
        assert!(text(&error, "message").contains(message), "{params}: {}", json(&error));
        assert!(!json(&error).contains(TOKEN));
        assert_eq!(read(&home), before, "{params}");
    }
    let error = client.err("config.patch", &based("{gateway: {port: 'x'}}", &base));
    assert!(json(&error).contains(r#""path":"gateway.port""#), "{}", json(&error));
    // A large file does not become a small one by accident.
    let done = client.ok("config.patch", &based(&format!("{{notes: '{wide}'}}"), &base));
    let small = read(&home).replace(&wide, "");
    let error = client.err("config.set", &based(&small, &text(&done, "hash")));
    assert!(text(&error, "message").contains("(size-drop)"), "{}", json(&error));
    let mut reader = server.connect(&Offer::new().token(TOKEN).scopes(READ));
    for method in ["config.set", "config.patch", "config.apply"] {
        assert_eq!(text(&reader.err(method, "{}"), "details.missingScope"), "operator.admin");
    }
}

#[test]
fn config_set_keeps_comments_and_secrets() {
    let home = home();
    let server = home.start();
    let mut client = admin(&server);
    // As a form saves: what was parsed, changed in one place, printed by a program.
    let shown = client.ok("config.get", "{}");
    let form = json(get(&shown, "parsed").unwrap()).replace("#112233", "#000000");
    let before = read(&home);
    let done = client.ok("config.set", &based(&form, &text(&shown, "hash")));
    assert_eq!(read(&home), before.replace("#112233", "#000000"));
    // As a person edits: the text, comments and all.
    let raw = text(&client.ok("config.get", "{}"), "raw")
        .replace("// mine", "// mine, still")
        .replace("[1, 2, 3]", "[ 1 ]");
    client.ok("config.apply", &based(&raw, &text(&done, "hash")));
    let expected = before
        .replace("#112233", "#000000")
        .replace("// mine", "// mine, still")
        .replace("[1, 2, 3]", "[ 1 ]");
    assert_eq!(read(&home), expected);
    // What is on disk counts, not what was read earlier.
    home.config(&expected.replace("// here", "// there"));
    let error = client.err("config.apply", &based(&raw, &text(&done, "hash")));
    assert!(text(&error, "message").starts_with("config changed since last load"));
}

#[test]
fn a_new_token_is_answered_before_it_closes() {
    let home = home();
    let server = home.start();
    let mut client = admin(&server);
    let base = hash(&mut client);
    client.ok("config.patch", &based("{gateway: {auth: {token: 'T2'}}}", &base));
    let (code, reason) = client.closed();
    assert_eq!((code, reason.as_str()), (4001, "gateway auth changed"));
    assert!(read(&home).contains("token: 'T2'"));
    server.connect(&Offer::new().token("T2").scopes(ADMIN));
}

#[test]
fn list_entries_merge_by_id() {
    let home = home();
    home.config(&read(&home).replace(
        "list: [1, 2, 3]",
        "agents: {list: [\n    {id: 'a', apiKey: 'K1'}, // first\n    {id: 'b', n: 1},\n  ]}",
    ));
    let server = home.start();
    let mut client = admin(&server);
    let base = hash(&mut client);
    let done = client.ok("config.patch", &based("{agents: {list: [{id: 'b', n: 2}, {id: 'c'}]}}", &base));
    assert!(
        read(&home).contains("{id: 'a', apiKey: 'K1'}, // first\n    {id: 'b', n: 2},\n    {id: 'c'},\n  ]"),
        "{}",
        read(&home)
    );
    // The placeholder finds its entry wherever that stands.
    let params = format!(
        r#"{{"raw":"{{agents:{{list:[{{id:'c'}},{{id:'a',apiKey:'__OPENCLAW_REDACTED__'}}]}}}}","baseHash":"{}","replacePaths":["agents.list"]}}"#,
        text(&done, "hash")
    );
    client.ok("config.patch", &params);
    let now = read(&home);
    assert!(now.contains("K1") && !now.contains("'b'") && !now.contains("REDACTED"), "{now}");
}
