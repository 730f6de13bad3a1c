//! Warnings about the configuration's keys: typos, misplaced, moved and unused keys, unset variables. None of them
//! prevents a start.

use crate::home::{Home, lines};
use crate::wire;
use barnacle::internals::config::Flags;
use barnacle::internals::config::lint::{Rule, shrunk};
use std::process::Command;

/// The warnings about `text`, one a line, without the file's name.
fn told(text: &str) -> String {
    let home = Home::with(text);
    let file = format!("{}", home.config().display());
    let settings = home.settings();
    settings.lint.iter().map(|c| c.to_string().replace(&file, "")).collect::<Vec<_>>().join("\n")
}

#[test]
fn unknown_keys_get_a_hint() {
    // the text, where, what, the hint
    let rows = [
        ("{gatway: {port: 1}}", ":1:2: ", "gatway (an object)", "did you mean gateway?"),
        ("{gateway: {\n  prot: 1}}", ":2:3: ", "gateway.prot (a number)", "did you mean gateway.port?"),
        ("{gateway: {auth: {tokn: 'x'}}}", ":1:19: ", "gateway.auth.tokn (a string)", "gateway.auth.token?"),
        ("{gateway: {controlUI: {}}}", ":1:12: ", "controlUI", "did you mean gateway.controlUi?"),
        ("{gateway: {hot_cocoa: true}}", ":1:12: ", "gateway.hot_cocoa (true or false)", "is ignored"),
        // B11: both reports, and what they were meant to be.
        (
            "{agents: {list: [{id: 'a', thinking: 'high'}]}}",
            ":1:28: ",
            "agents.list[].thinking",
            "agents.list[].thinkingDefault?",
        ),
        (
            "{groupAllowFrom: [], channels: {whatsapp: {}}}",
            ":1:2: ",
            "groupAllowFrom (a list)",
            "did you mean channels.whatsapp.groupAllowFrom?",
        ),
        ("{channels: {watsapp: {allowFrom: []}}}", ":1:13: ", "channels.watsapp", "channels.whatsapp?"),
        (
            "{models: {providers: {x: {apiKeys: 'sk-1'}}}}",
            ":1:27: ",
            "models.providers.x.apiKeys",
            "x.apiKey?",
        ),
    ];
    for (text, place, what, hint) in rows {
        let told = told(text);
        let line = told.lines().next().unwrap_or_default();
        assert!(line.starts_with(place) && line.contains(what) && line.contains(hint), "{text}: {told}");
    }
    assert!(!told("{gateway: {hot_cocoa: true}}").contains("did you mean"));
}

#[test]
fn variables_in_shell_syntax() {
    for token in ["${tok}", "${TOK:-none}", "Bearer ${TOK-x}", "${TOK:?unset}"] {
        let told = told(&format!("{{gateway: {{auth: {{\n token: '{token}'}}}}}}"));
        let wanted = "gateway.auth.token holds ${…} that is no variable";
        assert!(told.starts_with(":2:9: ") && told.contains(wanted) && told.contains("${TOK}?"), "{told}");
    }
    for token in ["a$b", "${", "${}", "p${a b}", "$${TOK}", "${1}"] {
        assert_eq!(told(&format!("{{gateway: {{auth: {{token: '{token}'}}}}}}")), "", "{token}");
    }
}

#[test]
fn duplicate_keys() {
    let told = told("{gateway: {port: 1, mode: 'local'}, gateway: {mode: 'remote',\n mode: 'local'}}");
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines.len(), 2, "{told}");
    assert!(lines[0].starts_with(":1:2: gateway stands twice"), "{told}");
    assert!(lines[1].starts_with(":1:47: gateway.mode stands twice"), "{told}");
}

#[test]
fn moved_keys_are_named() {
    let rows = [
        (
            "{channels: {whatsapp: {ackReaction: {emoji: '👀'}}}}",
            "messages.ackReaction and messages.ackReactionScope",
        ),
        ("{channels: {whatsapp: {accounts: {a: {ackReaction: {}}}}}}", "messages.ackReaction"),
        ("{agents: {list: [{id: 'main'}]}}", "agents.list is agents.entries.<id>"),
        (
            "{gateway: {nodes: {allowCommands: ['x']}}}",
            "gateway.nodes.allowCommands is gateway.nodes.commands.allow",
        ),
        ("{routing: {allowFrom: ['1']}}", "routing.allowFrom is channels.whatsapp.allowFrom"),
        ("{agent: {model: 'x'}}", "agent is agents.defaults"),
        // B138
        ("{compaction: {mode: 'safeguard'}}", "compaction is agents.defaults.compaction"),
        ("{memorySearch: {provider: 'openai'}}", "memorySearch is memory.search"),
    ];
    for (text, words) in rows {
        let told = told(text);
        assert!(told.contains(words) && !told.contains("no key of"), "{text}: {told}");
        assert_eq!(told.matches("in OpenClaw 2026.9").count(), 1, "{text}: {told}");
        assert!(!told.contains("that is there too"), "{text}: {told}");
    }
    let both = told("{gateway: {nodes: {allowCommands: ['x'], commands: {allow: ['y']}}}}");
    assert!(both.contains("that is there too, and counts"), "{both}");
    let gone = told("{cron: {store: 'x'}, messages: {removeAckAfterReply: true}}");
    assert!(gone.ends_with("ignored: cron.store, messages.removeAckAfterReply"), "{gone}");
}

#[test]
fn unused_keys_are_listed_once() {
    let told = told(
        "{$schema: 'x', meta: {lastTouchedVersion: '2027.1.1'}, wizard: {anything: 1},
          channels: {
            whatsapp: {dmPolicy: 'allowlist', allowFrom: ['+1'], groups: {'*': {requireMention: true}}},
            some: {x: 1},
          },
          agents: {defaults: {compaction: {mode: 'newer'}}},
          plugins: {entries: {x: {config: {anything: {goes: 1}}}}},
          gateway: {mode: 'local', auth: {token: 't'}}}",
    );
    assert_eq!(
        told,
        "kept, not used by Barnacle: channels.whatsapp (3 keys), channels.some, agents.defaults.compaction.mode, \
         plugins.entries.x.config"
    );
}

#[test]
fn warnings_never_show_values() {
    let secret = "sk-live-123";
    let text = format!(
        "{{gateway: {{tokens: '{secret}', auth: {{tokn: ['{secret}'], mode: 'local', mode: 'token'}}}},
           env: {{vars: {{K: '{secret}'}}}}, talk: {{apiKey: '{secret}'}},
           models: {{providers: {{p: {{apiKey: '${{UNSET}}{secret}', x: '{secret}'}}}}}},
           channels: {{telegram: {{botToken: '{secret}', tokens: '{secret}'}}}}}}"
    );
    let told = lines(&Home::with(&text).settings());
    assert!(told.lines().count() > 6 && !told.contains(secret), "{told}");
}

#[test]
fn unset_variables() {
    let home = Home::with(
        "{gateway: {mode: 'local', auth: {token: 't'}},
          channels: {telegram: {botToken: '${TG}', accounts: {two: {botToken: '${TG}'}}}},
          models: {providers: {x: {apiKey: '${HERE}-${lower}-$${NOT}', baseUrl: '${FILE_ONLY}'}}},
          env: {vars: {FILE_ONLY: 'x'}}}",
    );
    let settings = home.start(&[("HERE", "1")], &Flags::default()).unwrap();
    let told: Vec<_> = settings.lint.iter().filter(|c| c.rule == Rule::Unset).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    let line = told[0].to_string();
    assert!(line.contains(":2:43: ${TG} is set neither in the environment nor"), "{line}");
    assert!(line.ends_with("channels.telegram.botToken, channels.telegram.accounts.two.botToken"), "{line}");
    assert!(settings.credentials.admits("t"));
}

#[test]
fn lists_that_became_empty() {
    let source = |text: &str| Home::with(text).settings().source;
    let old = source(
        "{channels: {whatsapp: {allowFrom: ['+1', '+2'], groups: {x: 1}}, telegram: {groupAllowFrom: ['a']}},
          gateway: {trustedProxies: ['10.0.0.1']}, tools: {deny: ['exec'], media: {models: ['x']}}}",
    );
    let new = source(
        "{channels: {whatsapp: {\n allowFrom: []}, telegram: {groupAllowFrom: ['b']}}, gateway: {trustedProxies: null}}",
    );
    let told: Vec<_> = shrunk(&old, &new).iter().map(|c| c.to_string()).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(
        told[0].contains(":2:13: channels.whatsapp.allowFrom is empty: it had 2 entries before"),
        "{told:?}"
    );
    assert!(told[1].contains("gateway.trustedProxies is gone: it had 1 entry before"), "{told:?}");
    assert!(told[2].contains("tools.deny is gone"), "{told:?}");
    assert!(shrunk(&old, &old).is_empty() && shrunk(&new, &old).is_empty());
}

#[test]
fn thousands_of_warnings_are_cut_short() {
    let many: String = (0..5000).map(|n| format!("k{n}: {{}},")).collect();
    let told_of = |keys: &str| told(&format!("{{{keys} \"{}\": 1}}", "x".repeat(100_000)));
    let told = told_of(&many);
    assert!(told.lines().count() < 30 && told.len() < 10_000, "{} lines", told.lines().count());
    assert!(told.contains("and 4976 more like the line above"), "{told}");
}

/// The place of each line would be counted from the top. The limit is one of processor time, so a busy machine
/// does not reach it.
#[test]
fn many_warnings_about_a_long_file_take_little_processor_time() {
    let (home, text) = (wire::Home::empty(), "x".repeat(300));
    let keys: String = (0..12_000).map(|n| format!("k{n}: '{text}', k{n}: '{text}',")).collect();
    home.config(&format!("{{{keys}}}"));
    let mut limited = Command::new("prlimit");
    limited.args(["--cpu=3", env!("CARGO_BIN_EXE_barnacle"), "config", "validate"]);
    let output = limited
        .env_clear()
        .env("HOME", &home.dir)
        .env("PATH", std::env::var_os("PATH").unwrap())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(0), "{}: {printed}", output.status);
    assert!(printed.contains("stands twice") && printed.lines().count() < 60, "{printed}");
}
