//! Writes of the configuration: what they must not touch, and whom they must not close.

use crate::wire::{ADMIN, Device, Home, LONG, Offer, Server, flag, get, json, signal, text};
use miniserde::json::Value;
use nanoserde::SerJson;
use std::{fs, time::Instant};

fn read(home: &Home) -> String {
    fs::read_to_string(home.config_path()).unwrap()
}

/// Patches over an operator's connection, on top of what stands there.
#[track_caller]
fn patch(server: &Server, raw: &str) -> Result<Value, Value> {
    let mut client = server.admin();
    let base = text(&client.ok("config.get", "{}"), "hash");
    let raw = raw.serialize_json();
    client.call("config.patch", &format!(r#"{{"raw":{raw},"baseHash":"{base}"}}"#))
}

/// Comments, order, layout, unknown keys and neighbours outlive a patch, a form's save and a command.
#[test]
fn a50_b15_b80_only_what_was_asked() {
    let home = Home::empty();
    let of = |reaction: &str, more: &str| {
        format!(
            "\u{feff}// mine\r\n{{\r\n\tgateway: {{ mode: \"local\", port: {}, /* here */ auth: {{mode:'token', token:'T1'}},\r\n\t\t\
             controlUi: {{allowedOrigins: ['https://own.example']}} }},\r\n\thotCocoa: {{with: ['milk',]}}, // nobody's\r\n\t\
             channels: {{whatsapp: {{ackReaction: {{emoji: '{reaction}'}}{more}}}}},\r\n}}\r\n",
            home.port
        )
    };
    home.config(&of("👀", ""));
    let server = home.start();
    patch(&server, "{channels: {whatsapp: {ackReaction: {emoji: '🙂'}}}}").unwrap();
    assert_eq!(read(&home), of("🙂", ""));
    // A form sends back everything it was shown, without comments.
    let mut client = server.admin();
    let shown = client.ok("config.get", "{}");
    let form = json(get(&shown, "config").unwrap()).replace("🙂", "🎉").serialize_json();
    let done = client.ok("config.set", &format!(r#"{{"raw":{form},"baseHash":"{}"}}"#, text(&shown, "hash")));
    assert!(flag(&done, "ok"));
    assert_eq!(read(&home), of("🎉", ""));
    let (code, out, err) = home.run(&["config", "set", "channels.whatsapp.allowFrom", "['+49 1']"]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(read(&home), of("🎉", ", allowFrom: ['+49 1']"));
    let (code, out, err) = home.run(&["config", "unset", "channels.whatsapp.allowFrom"]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(read(&home), of("🎉", ""));
    server.connect(&Offer::new().token("T1"));
}

/// What other programs could read before they can read after.
#[test]
fn b151_strict_stays_strict() {
    let home = Home::empty();
    home.config(&format!(
        "{{\n    \"gateway\": {{\n        \"mode\": \"local\",\n        \"port\": {},\n        \"auth\": {{\"mode\": \"token\", \"token\": \"T1\"}}\n    }}\n}}\n",
        home.port
    ));
    let server = home.start();
    patch(&server, "{channels: {x: {allowFrom: ['it\\'s',], deep: {n: 0x10, f: .5}}}}").unwrap();
    let (code, _, err) = home.run(&["config", "set", "list", "[1, {a: 'b'}]"]);
    assert_eq!(code, 0, "{err}");
    let (code, _, err) = home.run(&["config", "unset", "channels.x.deep.n"]);
    assert_eq!(code, 0, "{err}");
    let now = read(&home);
    let parsed: Result<Value, _> = miniserde::json::from_str(&now);
    assert!(parsed.is_ok(), "{now}");
    assert!(
        now.contains(
            "        \"x\": {\n            \"allowFrom\": [\n                \"it's\"\n            ],"
        ),
        "{now}"
    );
}

/// The gateway writes only what was asked for: no start, restart, stop, or reload does.
#[test]
fn b95_b136_nothing_is_written_unasked() {
    let home = Home::empty();
    let of = |token: &str| {
        format!(
            "// 2026.2's keys and nobody's\n{{gateway:{{mode:'local',port:{},auth:{{mode:'token',token:'{token}'}},nonsense:1}},\
             agents:{{list:[{{id:'main'}}]}},channels:{{whatsapp:{{ackReaction:{{emoji:'x'}}}}}},}}",
            home.port
        )
    };
    home.config(&of("T1"));
    let server = home.start();
    let attached = Device::pair(&server, &["operator.read"]);
    // Edited behind its back, and restarted at once: the edit is what counts, and it stays.
    home.config(&of("T2"));
    signal(server.pid(), "USR1");
    let end = Instant::now() + LONG;
    while server.try_connect(&Offer::new().token("T2").scopes(ADMIN)).is_err() {
        assert!(Instant::now() < end, "{}", server.log());
    }
    server.connect(&Offer::device(&attached).token(attached.token()));
    assert_eq!(read(&home), of("T2"));
    // A key that is wrong, beside a good change.
    let wrong = of("T3").replace("mode:'local'", "mode:'local',bind:'nowhere'");
    home.config(&wrong);
    server.stop();
    let server = home.start();
    server.connect(&Offer::new().token("T3").scopes(ADMIN));
    server.stop();
    assert_eq!(read(&home), wrong);
}

/// Half of a file is the user's as much as a whole one.
#[test]
fn b58_half_a_file_is_not_written_to() {
    let home = Home::fix();
    let server = home.start();
    let whole = read(&home);
    home.config(&whole[..whole.len() / 2]);
    let half = read(&home);
    let error = patch(&server, "{ui: {seamColor: '#112233'}}").unwrap_err();
    assert!(
        text(&error, "message").contains("nothing is written to a file that cannot be read"),
        "{}",
        json(&error)
    );
    let (code, _, err) = home.run(&["config", "set", "ui.seamColor", "#112233"]);
    assert_eq!(code, 78, "{err}");
    server.stop();
    let server = Server::spawn(home.command(&["gateway"]), home.port);
    server.connect(&Offer::new().token("T1"));
    assert_eq!(read(&home), half);
}

/// A key that an include brings is written where it stands, or not at all.
#[test]
fn b90_includes_are_not_flattened() {
    let home = Home::empty();
    let root = format!(
        "{{gateway:{{mode:'local',port:{},auth:{{$include:'./auth.json5'}}}}, channels: {{$include: ['a.json5', 'b.json5']}}, b: 1}}",
        home.port
    );
    home.config(&root);
    let beside = |name: &str| home.dir.join(".openclaw").join(name);
    fs::write(beside("auth.json5"), "{mode: 'token', // how\n token: 'T1'}").unwrap();
    fs::write(beside("a.json5"), "{x: {n: 1}}").unwrap();
    fs::write(beside("b.json5"), "{y: 1}").unwrap();
    let server = home.start();
    let error = patch(&server, "{channels: {x: {n: 2}}}").unwrap_err();
    for word in ["channels.x.n", "a.json5", "by hand"] {
        assert!(text(&error, "message").contains(word), "{}", json(&error));
    }
    patch(&server, "{gateway: {auth: {rateLimit: {maxAttempts: 5}}}}").unwrap();
    let auth = fs::read_to_string(beside("auth.json5")).unwrap();
    assert_eq!(auth, "{mode: 'token', // how\n token: 'T1',\n rateLimit: {\n   maxAttempts: 5\n }}");
    assert_eq!(read(&home), root);
}

/// Who changes the shared token has the answer, and stays if it is a device that is paired.
#[test]
fn a94_a_device_that_changes_the_token_stays() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, ADMIN);
    let mut client = server.connect(&Offer::device(&device).token(device.token()).scopes(ADMIN));
    let mut shared = server.admin();
    let base = text(&client.ok("config.get", "{}"), "hash");
    let params = format!(r#"{{"raw":"{{gateway:{{auth:{{token:'T2'}}}}}}","baseHash":"{base}"}}"#);
    client.ok("config.patch", &params);
    client.ok("health", "{}");
    assert_eq!(shared.closed().0, 4001);
    server.connect(&Offer::new().token("T2"));
}
