//! The rows of configuration keys: the reference page, and what the gateway makes of each kind of value.

use crate::home::Home as Files;
use crate::wire::{ADMIN, Home, Offer, Server, own_address};
use barnacle::internals::config::{ConfigError, Flags};
use miniserde::json::{self, Number, Value};
use std::fs;
use std::net::{IpAddr, SocketAddr, TcpStream};

/// `BLESS=1` writes the page.
#[test]
fn the_reference_page_is_current() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let (code, printed, err) = Home::empty().run(&["config", "plan", "--table"]);
    assert_eq!((code, &*err), (0, ""));
    if std::env::var_os("BLESS").is_some() {
        fs::write(page, &printed).unwrap();
    }
    let held = fs::read_to_string(page).unwrap();
    assert!(held == printed, "{page} is not what `barnacle config plan --table` prints");
}

/// A key as `config.schema` describes it: its path (`*` for any name, `[]` for an entry of a list) and what it says.
struct Described {
    path: Vec<String>,
    schema: json::Object,
}

impl Described {
    fn text(&self, name: &str) -> &str {
        match self.schema.get(name) {
            Some(Value::String(text)) => text,
            _ => "",
        }
    }

    fn number(&self, name: &str) -> Option<u64> {
        match self.schema.get(name) {
            Some(Value::Number(Number::U64(n))) => Some(*n),
            _ => None,
        }
    }

    /// The configuration with `value` at this key alone.
    fn with(&self, value: &str) -> String {
        self.path.iter().rev().fold(value.to_owned(), |inner, name| match name.as_str() {
            "[]" => format!("[{inner}]"),
            "*" => format!("{{some: {inner}}}"),
            name => format!("{{{name}: {inner}}}"),
        })
    }

    /// Whether `value` there is an error of the key.
    fn refuses(&self, value: &str) -> bool {
        let steps: Vec<_> = self.path.iter().map(|s| if s == "*" { "some" } else { s }).collect();
        let path = steps.join(".").replace(".[]", "[0]");
        let errors = {
            let allowed = Flags { allow_unconfigured: true, ..Flags::default() };
            Files::with(&self.with(value)).start(&[], &allowed).unwrap().errors
        };
        errors.iter().any(|ConfigError { path: at, .. }| *at == path || at.starts_with(&format!("{path}[")))
    }
}

fn leaves(schema: json::Object, path: &mut Vec<String>, found: &mut Vec<Described>) {
    let mut inner = Vec::new();
    for (name, value) in &schema {
        match (name.as_str(), value) {
            ("properties", Value::Object(keys)) => {
                inner.extend(keys.iter().filter_map(|(key, value)| match value {
                    Value::Object(schema) => Some((key.clone(), schema.clone())),
                    _ => None,
                }));
            }
            ("additionalProperties", Value::Object(schema)) => inner.push(("*".into(), schema.clone())),
            ("items", Value::Object(schema)) if schema.get("properties").is_some() => {
                inner.push(("[]".into(), schema.clone()));
            }
            _ => {}
        }
    }
    if inner.is_empty() {
        found.push(Described { path: path.clone(), schema });
    }
    for (name, schema) in inner {
        path.push(name);
        leaves(schema, path, found);
        path.pop();
    }
}

/// What `config.schema` says of a key is what the gateway holds it to: no other range, word or kind anywhere.
#[test]
fn every_key_is_held_to_its_row() {
    let (_, printed, _) = Home::empty().run(&["config", "schema"]);
    let mut keys = Vec::new();
    leaves(json::from_str(&printed).unwrap(), &mut Vec::new(), &mut keys);
    let (mut numbers, mut words, mut others) = (0, 0, 0);
    for key in &keys {
        // Values of these are read only where something refers to them.
        if matches!(key.path[0].as_str(), "secrets" | "env") {
            continue;
        }
        let shown = key.path.join(".");
        if let (Some(min), Some(max)) = (key.number("minimum"), key.number("maximum")) {
            numbers += 1;
            for good in [min, max] {
                assert!(!key.refuses(&good.to_string()), "{shown} = {good}");
            }
            let less = min.checked_sub(1).map_or("-1".into(), |n| n.to_string());
            for bad in [less, (max + 1).to_string(), "1.5".into(), "'1'".into(), "[]".into()] {
                assert!(key.refuses(&bad), "{shown} = {bad}");
            }
        } else if let Some(Value::Array(all)) = key.schema.get("enum") {
            words += 1;
            for word in all {
                let Value::String(word) = word else { panic!("{shown}") };
                assert!(word == "custom" || !key.refuses(&format!("'{word}'")), "{shown} = {word}");
            }
            for bad in ["'nonsense'", "7", "true", "[]"] {
                assert!(key.refuses(bad), "{shown} = {bad}");
            }
        } else {
            others += 1;
            let (good, bad) = match key.text("type") {
                "boolean" => ("false", "'false'"),
                "array" => ("['192.0.2.1']", "[7]"),
                "string" => ("''", "[]"),
                _ if shown == "session.maintenance.maxDiskBytes" => ("'500mb'", "[]"),
                // A secret, or what is more than one kind.
                _ => ("'x'", "[]"),
            };
            assert!(!key.refuses(good), "{shown} = {good}");
            let open = matches!(shown.as_str(), "agents.entries.*" | "agents.list");
            assert!(open || key.refuses(bad), "{shown} = {bad}");
        }
    }
    assert!(numbers >= 7 && words >= 7 && others >= 20, "{numbers} {words} {others}");
}

/// The address that the gateway takes a client for, which one behind an untrusted proxy never is.
fn seen_as(proxies: &str, client: &str) -> String {
    let home = Home::fix();
    home.gateway(&format!("auth: {{mode: 'token', token: 'T1'}}, trustedProxies: {proxies}"));
    let server = home.start();
    server.refuse(&Offer::new().token("wrong").header("X-Forwarded-For", client).scopes(ADMIN));
    server.wait_log(&["refused "])
}

#[test]
fn h31_mapped_ranges_of_proxies_are_trusted() {
    for proxies in ["['::ffff:127.0.0.0/104']", "['::ffff:7f00:1']", "['127.0.0.1']"] {
        for client in ["203.0.113.9", "::ffff:203.0.113.9"] {
            let line = seen_as(proxies, client);
            assert!(line.contains("203.0.113.9"), "{proxies}: {line}");
        }
    }
    // The nearest address that is no proxy's, whatever form its range has.
    let line = seen_as("['127.0.0.1', '::ffff:203.0.113.0/120']", "198.51.100.4, 203.0.113.9");
    assert!(line.contains("198.51.100.4"), "{line}");
    let line = seen_as("['::ffff:10.0.0.0/104']", "203.0.113.9");
    assert!(!line.contains("203.0.113.9"), "{line}");
    // What would hold every address there is trusts none, and is an error.
    let home = Home::fix();
    home.gateway("auth: {mode: 'token', token: 'T1'}, trustedProxies: ['::ffff:10.0.0.0/8']");
    let (code, out, err) = home.run(&["config", "validate"]);
    assert!(code == 1 && format!("{out}{err}").contains("gateway.trustedProxies"), "{out}{err}");
}

/// Whether another host could reach the gateway.
fn is_open(port: u16) -> bool {
    own_address().is_some_and(|ip: IpAddr| TcpStream::connect(SocketAddr::new(ip, port)).is_ok())
}

const AUTH: &str = "auth: {mode: 'token', token: 'T1'}";

fn spawn(home: &Home) -> Server {
    Server::spawn(home.command(&["gateway"]), home.port)
}

#[test]
fn h32_words_of_bind() {
    assert!(own_address().is_some(), "no address but loopback to look from");
    for (bind, open) in [("'LAN'", true), ("'Lan'", true), ("'localhost'", false), ("'LocalHost'", false)] {
        let home = Home::fix();
        home.gateway(&format!("{AUTH}, bind: {bind}"));
        let server = spawn(&home);
        server.admin().ok("health", "{}");
        assert_eq!(is_open(home.port), open, "{bind}");
        assert!(!server.log().contains("gateway.bind is"), "{}", server.log());
    }
}

#[test]
fn h32_an_unknown_bind_is_loopback_at_a_cold_start() {
    let home = Home::fix();
    let wrong = [
        "bind: 'tailscale'",
        "bind: true",
        "bind: ['lan']",
        "bind: 'custom'",
        "bind: 'custom', customBindHost: 'here'",
        // What stands twice: the last counts, and no earlier one in its place.
        "bind: 'lan', bind: 'everywhere'",
    ];
    for bind in wrong {
        home.gateway(&format!("{AUTH}, bind: '::'"));
        let server = spawn(&home);
        let mut admin = server.admin();
        assert!(is_open(home.port), "{bind}");
        // Saved while it runs, it changes nothing; nor does a restart in place.
        home.gateway(&format!("{AUTH}, {bind}"));
        let line = server.wait_log(&["gateway.bind is "]);
        assert!(line.contains("what it was before"), "{bind}: {line}");
        assert!(is_open(home.port), "{bind}");
        server.restart(&mut admin);
        assert!(is_open(home.port), "{bind}, restarted in place");
        server.stop();
        let server = spawn(&home);
        server.admin().ok("health", "{}");
        assert!(!is_open(home.port), "{bind}: {}", server.log());
        assert!(server.log().contains("until then: \"loopback\""), "{bind}: {}", server.log());
        // Nor does the address come back when the whole file breaks.
        home.config("{");
        server.stop();
        let server = spawn(&home);
        server.admin().ok("health", "{}");
        assert!(!is_open(home.port), "{bind}, then a broken file: {}", server.log());
        server.stop();
    }
}

/// A narrower address is not undone by a port that makes no sense.
#[test]
fn h32_a_wrong_port_does_not_open_the_address() {
    let home = Home::fix();
    home.gateway(&format!("{AUTH}, bind: 'lan'"));
    let server = spawn(&home);
    assert!(is_open(home.port));
    server.stop();
    home.config(&format!("{{gateway: {{mode: 'local', {AUTH}, bind: 'loopback', port: '{}'}}}}", home.port));
    let server = spawn(&home);
    server.admin().ok("health", "{}");
    assert!(!is_open(home.port), "{}", server.log());
}

#[test]
fn h23_half_an_emoji_costs_nothing() {
    let home = Home::fix();
    let port = home.port;
    let text = format!(
        "{{\n  // \\ud83e\n  gateway: {{mode: 'local', port: {port}, auth: {{mode: 'token', token: 'T1'}}}},\n  \
         \"half \\uD83E\": 1,\n  agents: {{entries: {{main: {{name: \"bot \\ud83e\", last: '\\udd16!', whole: \
         \"\\ud83e\\udd16\"}}}}}},\n}}\n"
    );
    home.config(&text);
    let (code, out, err) = home.run(&["config", "validate"]);
    assert_eq!(code, 0, "{out}{err}");
    let (_, name, _) = home.run(&["config", "get", "agents.entries.main.name"]);
    assert_eq!(name, "bot \u{fffd}\n");
    let (_, whole, _) = home.run(&["config", "get", "agents.entries.main.whole"]);
    assert_eq!(whole, "\u{1f916}\n");
    let server = home.start();
    server.admin().ok("health", "{}");
    // A write of another key leaves those bytes alone, and one beside them, too.
    for (key, value) in [("session.mainKey", "desk"), ("agents.entries.main.workspace", "~/work")] {
        let (code, out, err) = home.run(&["config", "set", key, value]);
        assert_eq!(code, 0, "{out}{err}");
        let written = fs::read_to_string(home.config_path()).unwrap();
        for half in
            ["\"half \\uD83E\": 1", "\"bot \\ud83e\"", "'\\udd16!'", "\"\\ud83e\\udd16\"", "// \\ud83e"]
        {
            assert!(written.contains(half), "{key}: no {half} in {written}");
        }
    }
    let (code, _, _) = home.run(&["config", "set", "agents.entries.main.name", "bot"]);
    assert_eq!(code, 0);
    assert!(!fs::read_to_string(home.config_path()).unwrap().contains("bot \\ud83e"));
}
