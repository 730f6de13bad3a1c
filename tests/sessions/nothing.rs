//! Methods about what a gateway alone has none of, or knows of its host: each is answered, and offered to pages only where
//! a page makes something of the answer.

use crate::wire::{Home, Offer, get, items, json, list, number, text};

/// Methods, their parameters, and a part of the answer.
const ANSWERED: &[(&str, &str, &str)] = &[
    ("question.list", "{}", r#""questions":[]"#),
    ("exec.approval.list", "{}", "[]"),
    ("plugin.approval.list", "{}", "[]"),
    ("openclaw.approval.list", "{}", "[]"),
    ("approval.history", "{}", r#""items":[]"#),
    ("exec.approvals.get", "{}", r#""exists":false"#),
    ("tasks.list", r#"{"status":["running"]}"#, r#""tasks":[]"#),
    ("cron.list", r#"{"limit":20,"offset":5}"#, r#""jobs":[]"#),
    ("cron.status", "{}", r#""enabled":false"#),
    ("cron.runs", r#"{"scope":"all"}"#, r#""entries":[]"#),
    ("sessions.branches.list", r#"{"sessionKey":"agent:main:main"}"#, r#""branches":[]"#),
    ("sessions.companion.state", r#"{"sessionKey":"agent:main:main"}"#, r#""exchanges":[]"#),
    ("progressCard.get", r#"{"sessionKey":"agent:main:main"}"#, r#""card":null"#),
    ("sessions.observer.visibility", r#"{"visible":true}"#, r#""ok":true"#),
    ("talk.catalog", "{}", r#""modes":[]"#),
    ("diagnostics.stability", r#"{"limit":5}"#, r#""events":[]"#),
    ("diagnostics.lanes", "{}", r#""lane":"main""#),
    ("plugins.list", "{}", r#""plugins":[]"#),
    ("skills.library.list", "{}", r#""entries":[]"#),
    ("commands.list", "{}", r#""commands":"#),
    ("update.status", "{}", r#""updateAvailable":null"#),
    ("worktrees.list", "{}", r#""worktrees":[]"#),
    ("channels.status", "{}", r#""channelOrder":[]"#),
    ("channels.pairing.list", "{}", r#""requests":[]"#),
    ("audit.activity.list", "{}", r#""events":[]"#),
    ("environments.list", "{}", r#""id":"gateway""#),
    ("system.info", "{}", r#""platform":"linux""#),
    ("usage.cost", r#"{"days":7}"#, r#""days":7,"#),
    ("sessions.usage", r#"{"range":"7d"}"#, r#""sessions":[]"#),
    ("secrets.reload", "{}", r#""ok":true"#),
];

/// The same, which no page is offered.
const NOT_OFFERED: &[(&str, &str, &str)] = &[
    ("users.list", "{}", r#""profiles":[]"#),
    ("exec.approval.grants.list", "{}", r#""grants":[]"#),
    ("themes.list", "{}", r#""id":"claw""#),
    ("plugins.catalog.browse", "{}", r#""items":[]"#),
    ("skills.search", r#"{"query":"x"}"#, r#""results":[]"#),
    ("skills.proposals.list", "{}", r#""proposals":[]"#),
    ("migrations.memory.plan", r#"{"agentId":"m\"x"}"#, r#""agentId":"m\"x""#),
    ("doctor.memory.status", "{}", r#""agentId":"main""#),
    ("tools.github.status", r#"{"agentId":"main","selectedScope":"agent"}"#, r#""scope":"agent""#),
    ("skills.status", "{}", r#""skills":[]"#),
];

#[test]
fn what_there_is_none_of_is_answered() {
    let home = Home::fix();
    let server = home.start();
    let mut client = server.connect(&Offer::new().token("T1").scopes(&["operator.admin"]));
    let offered = list(&client.hello, "features.methods");
    for (rows, is_offered) in [(ANSWERED, true), (NOT_OFFERED, false)] {
        for (method, params, part) in rows {
            let answer = json(&client.ok(method, params));
            assert!(answer.contains(part), "{method}: {answer}");
            assert_eq!(offered.iter().any(|name| name == method), is_offered, "{method}");
        }
    }
    let page = client.ok("cron.list", r#"{"limit":20,"offset":5}"#);
    assert_eq!((number(&page, "limit"), number(&page, "offset")), (20, 5));
    let error = client.err("sessions.branches.list", "{}");
    let wanted = "invalid sessions.branches.list params: must have required property 'sessionKey'";
    assert_eq!(text(&error, "message"), wanted);
    // What another version of OpenClaw's has, and nothing.
    for (method, wanted) in [
        ("wake", "is a method of OpenClaw that this version of Barnacle does not have"),
        ("github.preview", "is a method of OpenClaw that this version of Barnacle does not have"),
        ("no.such.method", "unknown method: no.such.method"),
    ] {
        let message = text(&client.err(method, "{}"), "message");
        assert!(message.ends_with(wanted), "{message}");
    }
}

#[test]
fn configured_channels_are_shown_as_not_running() {
    let home = Home::empty();
    home.config(&format!(
        "{{gateway: {{mode: 'local', port: {}, auth: {{token: 'T1'}}}}, channels: {{whatsapp: {{allowFrom: ['+1']}}, telegram: {{enabled: false}}}}}}",
        home.port
    ));
    let server = home.start();
    let status = server.admin().ok("channels.status", "{}");
    assert_eq!(list(&status, "channelOrder"), ["whatsapp"]);
    let account = &items(&status, "channelAccounts.whatsapp")[0];
    assert!(text(account, "lastError").contains("runs no channels") && get(account, "running").is_some());
    assert_eq!(list(&status, "warnings").len(), 1);
}

#[test]
fn log_lines_are_json() {
    let home = Home::fix();
    let server = home.start();
    let line = list(&server.admin().ok("logs.tail", "{}"), "lines").remove(0);
    let line = miniserde::json::from_str(&line).unwrap();
    assert_eq!((text(&line, "level"), text(&line, "subsystem")), ("info".into(), "gateway".into()));
    assert!(text(&line, "time").ends_with('Z') && !text(&line, "message").is_empty());
}
