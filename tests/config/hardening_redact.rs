//! What a client that may only read sees of the configuration: nothing that is or may be a secret.

use crate::wire::{ADMIN, Client, Home, Offer, READ, Server, get, json, text};
use miniserde::json::Value;
use std::fs;

const TOKEN: &str = "T1-of-the-owner-4711";

fn clients(server: &Server) -> (Client, Client) {
    let connect = |scopes| server.connect(&Offer::new().token(TOKEN).scopes(scopes));
    (connect(READ), connect(ADMIN))
}

fn config(home: &Home, body: &str) -> String {
    format!("{{gateway: {{mode: 'local', port: {}, auth: {{token: '{TOKEN}'}}}}, {body}}}", home.port)
}

/// Every place that was seen to be shown, and its neighbours.
#[test]
fn h13_unknown_is_hidden() {
    let home = Home::empty();
    home.config(&config(&home, ""));
    let server = home.start();
    let (mut reader, mut admin) = clients(&server);
    let rows = [
        "a: {apiKeys: ['SECRET']}",
        "a: {privateKeyPem: 'SECRET'}",
        "a: {sshKeyData: 'SECRET'}",
        "a: {bearer: 'SECRET'}",
        "a: {jwt: 'SECRET', pat: 'SECRET', pass: 'SECRET', pwd: 'SECRET'}",
        "a: {basicAuth: 'SECRET', auth: 'SECRET'}",
        "a: {oauth: {access: 'SECRET', expires: 1}}",
        "a: {url: 'https://hooks.example.org/services/SECRET'}",
        "a: {url: 'https://example.org/x?token=SECRET&y=1'}",
        "a: {url: 'https://example.org/x#access_token=SECRET'}",
        "a: {url: 'redis://:SECRET@localhost'}",
        "a: {db: 'Server=x;User=y;Password=SECRET;'}",
        "mcp: {servers: {x: {args: ['--api-key', 'SECRET', '--fast']}}}",
        "mcp: {servers: {x: {args: ['--api-key=SECRET']}}}",
        "mcp: {servers: {x: {env: {ANY: 'SECRET'}}}}",
        "mcp: {servers: {x: {headers: {ANY: 'SECRET'}}}}",
        "a: {headers: [{name: 'X-Api-Key', value: 'SECRET'}]}",
        "a: {list: ['Authorization', 'SECRET']}",
        "channels: {telegram: {botToken: {source: 'file', id: 'SECRET', token: 'SECRET'}}}",
        "channels: {telegram: {botToken: {id: 'SECRET'}}}",
        "channels: {telegram: {pin: 4711471147}}",
        "a: {note: 'Bearer SECRET'}",
    ];
    for row in rows {
        // Short, so that nothing but name, neighbour or surroundings tells; and one whose form tells.
        for secret in ["hush-hush-7", "4711471147", "Zq81kdLp93mxQaYt72vB"] {
            home.config(&config(&home, &row.replace("SECRET", secret)));
            let shown = reader.ok("config.get", "{}");
            let text = json(&shown);
            assert!(
                !text.contains(secret) || secret == "4711471147" && text.contains("hmac"),
                "{row}: {text}"
            );
            if !row.contains("471147") {
                let whole = json(get(&shown, "parsed.a").or(get(&shown, "parsed")).unwrap());
                assert!(!whole.contains(secret), "{row}: {whole}");
            }
            assert!(!json(&admin.ok("config.get", "{}")).contains(&format!("\"{secret}\"")), "{row}");
            for command in
                [&["config", "get", "a"][..], &["config", "get", "mcp"], &["config", "get", "channels"]]
            {
                let (_, out, err) = home.run(command);
                assert!(!out.contains(secret) && !err.contains(secret), "{row}: {command:?}: {out}{err}");
            }
        }
    }
    // What is known to be harmless is shown.
    let body = "ui: {seamColor: '#112233'}, agents: {defaults: {workspace: '/home/pi/.openclaw/workspace-2026-11-29', \
                model: {primary: 'anthropic/claude-opus-4-20250514'}, contextTokens: 200000}}, \
                channels: {telegram: {botToken: '${TG}', allowFrom: ['491701234567']}}";
    home.config(&config(&home, body));
    let shown = reader.ok("config.get", "{}");
    for (path, value) in [
        ("ui.seamColor", "#112233"),
        ("agents.defaults.workspace", "/home/pi/.openclaw/workspace-2026-11-29"),
        ("agents.defaults.model.primary", "anthropic/claude-opus-4-20250514"),
        ("channels.telegram.botToken", "${TG}"),
        ("gateway.mode", "local"),
    ] {
        assert_eq!(text(&shown, &format!("parsed.{path}")), value, "{path}");
    }
    assert!(json(&shown).contains("491701234567") && json(&shown).contains("200000"), "{}", json(&shown));
}

#[test]
fn h13_the_text_of_the_file_is_for_administrators() {
    let home = Home::empty();
    home.config(&config(&home, "ui: {seamColor: '#112233'} /* mine */"));
    let server = home.start();
    let (mut reader, mut admin) = clients(&server);
    assert!(matches!(get(&reader.ok("config.get", "{}"), "raw"), None | Some(Value::Null)));
    let raw = text(&admin.ok("config.get", "{}"), "raw");
    assert!(raw.contains("/* mine */") && !raw.contains(TOKEN), "{raw}");
    // What is shown can be written back.
    let hash = text(&admin.ok("config.get", "{}"), "hash");
    let tree = json(get(&admin.ok("config.get", "{}"), "config").unwrap());
    let params = format!(
        r#"{{"raw":{},"baseHash":"{hash}"}}"#,
        nanoserde::SerJson::serialize_json(&tree.replace("#112233", "#445566"))
    );
    admin.ok("config.set", &params);
    let now = fs::read_to_string(home.config_path()).unwrap();
    assert!(now.contains(TOKEN) && now.contains("#445566"), "{now}");
}

/// A generator of its own, so that a failure can be made again from its seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn of<'a>(&mut self, items: &[&'a str]) -> &'a str {
        items[self.below(items.len())]
    }

    fn marker(&mut self) -> String {
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        (0..32).map(|_| char::from(letters[self.below(letters.len())])).collect()
    }
}

const PLAIN: &[&str] =
    &["a", "value", "note", "url", "server", "list", "options", "x1", "data", "text", "content", "label"];
const SECRET: &[&str] =
    &["token", "apiKey", "password", "clientSecret", "pat", "jwt", "auth", "cookie", "pem", "privateKey"];
const KNOWN: &[&str] =
    &["ui", "channels", "models", "agents", "tools", "hooks", "plugins", "mcp", "session", "messages"];

/// A value that holds marked secrets, all of which are added to `markers`.
fn value(r: &mut Random, depth: usize, markers: &mut Vec<String>) -> String {
    let marker = r.marker();
    let kinds = if depth == 0 { 10 } else { 13 };
    let text = match r.below(kinds) {
        0 => format!("'{marker}'"),
        1 => format!("'https://example.org/{}?{}={marker}'", r.of(PLAIN), r.of(SECRET)),
        2 => format!("'https://user:{marker}@example.org/'"),
        3 => format!("'Host=x;Password={marker};Port=1'"),
        4 => format!("['--{}', '{marker}', '--{}=x']", r.of(SECRET), r.of(PLAIN)),
        5 => format!("{{name: '{}', value: '{marker}'}}", r.of(SECRET)),
        6 => format!("{{source: 'env', provider: '{marker}', id: 'x'}}"),
        7 => format!("{{'{marker}': 1}}"),
        8 => format!("'Bearer {marker}'"),
        9 => format!("1 /* {}: {marker} */", r.of(SECRET)),
        10 => format!("[{}, '{marker}']", value(r, depth - 1, markers)),
        11 => format!("{{{}: '{marker}', inner: {}}}", r.of(SECRET), value(r, depth - 1, markers)),
        _ => format!("{{{}: {}, '{marker}': true}}", r.of(PLAIN), value(r, depth - 1, markers)),
    };
    markers.push(marker);
    text
}

#[test]
fn h13_no_marked_secret_comes_out_of_a_random_configuration() {
    let seed = 0x0bad_5eed_0000_0000 | u64::from(std::process::id());
    println!("seed {seed:#x}");
    let home = Home::empty();
    home.config(&config(&home, ""));
    let server = home.start();
    let (mut reader, _) = clients(&server);
    let mut random = Random(seed);
    for round in 0..60 {
        let (mut markers, mut body) = (Vec::new(), String::new());
        for n in 0..8 {
            let section = random.of(KNOWN);
            let key = if random.below(2) == 0 { random.of(PLAIN) } else { random.of(SECRET) };
            let value = value(&mut random, 3, &mut markers);
            body.push_str(&format!("\n{section}{n}: {{{key}: {value}}}, // {}\n", random.of(PLAIN)));
        }
        home.config(&config(&home, &body));
        for method in ["config.get", "status", "health", "logs.tail"] {
            let shown = json(&reader.ok(method, "{}"));
            let leaked = markers.iter().find(|marker| shown.contains(&***marker));
            assert_eq!(leaked, None, "seed {seed:#x}, round {round}, {method}\n{body}\n{shown}");
        }
        let log = server.log();
        let leaked = markers.iter().find(|marker| log.contains(&***marker));
        assert_eq!(leaked, None, "seed {seed:#x}, round {round}, log\n{body}\n{log}");
    }
}
