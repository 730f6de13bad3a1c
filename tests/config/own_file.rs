//! Barnacle's own file, `barnacle.json`: its errors and precedence, keys that move to it, and its hot reload.

use crate::home::{Home as Files, lines, mode};
use crate::wire::{ADMIN, Client, Device, Home, Offer, READ, Server, flag, json, list, number, text};
use barnacle::internals::config::{Flags, RevokeOnRotate, Settings, lint::Rule};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::{Duration, Instant},
};

const SECRET: &str = "jX3hT9vQ2LmN8pRs7KdZ5yWc4BfA6gUe";
const PIN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn own_path(home: &Home) -> PathBuf {
    home.store().join("barnacle.json")
}

fn own(home: &Home, text: &str) {
    fs::create_dir_all(home.store()).unwrap();
    fs::write(own_path(home), text).unwrap();
}

/// A home in process whose own file holds `text`.
fn files(text: &str) -> Files {
    let home = Files::with(
        "{gateway: {mode: 'local', auth: {mode: 'token', token: 'T1'}}, env: {vars: {THEIRS: 'T8'}}}",
    );
    home.write(".openclaw/barnacle/barnacle.json", text);
    home
}

fn upstream(url: &str) -> Flags {
    Flags { upstream: Some(url.into()), ..Flags::default() }
}

#[test]
fn errors_name_line_and_column() {
    let home = Home::fix();
    own(
        &home,
        "{
  upstream: { url: 'ws://10.0.0.1:1?token=secret-1', tlsFingerprint: 'abc', waitMs: 600001,
    prot: 1, urll: 'x', caFile: 7 },
  auth: { deviceKeyProof: 'no', revokeOnRotate: 'all', revokeOnRotate: 'some' },
  upstrem: {}, waitBytes: 1,
}",
    );
    let (code, out, err) = home.run(&["config", "validate"]);
    assert!(code == 1 && err.contains("barnacle.json is not valid"), "{err}");
    for words in [
        ":2:20: upstream.url is \"ws://10.0.0.1:1\", which would send credentials to another host in the clear",
        "must be ws://127.0.0.1:<port> for a gateway on this host, or wss://<host>:<port> for one elsewhere",
        ":2:70: upstream.tlsFingerprint is \"abc\", must be the SHA-256 fingerprint",
        ":2:85: upstream.waitMs is 600001, must be a whole number from 0 to 600000",
        ":4:27: auth.deviceKeyProof is a string, must be true or false; until then: false",
        ":4:72: auth.revokeOnRotate is \"some\"",
        ":3:5: upstream.prot (a number) is no key of Barnacle's",
        ":3:14: upstream.urll (a string) is no key of Barnacle's, and is ignored; did you mean upstream.url?",
        ":5:3: upstrem (an object) is no key of Barnacle's, and is ignored; did you mean upstream?",
        ":5:16: waitBytes (a number) is no key of Barnacle's, and is ignored; did you mean upstream.waitBytes?",
        "auth.revokeOnRotate stands twice",
    ] {
        assert!(out.contains(words), "{words}:\n{out}");
    }
    assert!(!out.contains("secret-1"), "{out}");
    let (code, told, _) = home.run(&["doctor"]);
    assert!(code == 1 && told.contains("barnacle.json:2:20: upstream.url is"), "{told}");
    own(&home, "{\n  upstream: {");
    for command in [&["config", "validate"][..], &["doctor"]] {
        let (code, out, _) = home.run(command);
        assert!(code == 1 && out.matches("barnacle.json:2:13: ").count() == 1, "{command:?}: {out}");
    }
    // Whatever is in it, the gateway starts, and says so.
    let server = home.start();
    assert!(server.log().contains("barnacle.json:2:13: "), "{}", server.log());
    server.admin().ok("health", "{}");
    server.stop();
    for text in ["", "[]", "7"] {
        own(&home, text);
        assert_eq!(home.run(&["config", "validate"]).0, 1, "{text:?}");
    }
    fs::remove_file(own_path(&home)).unwrap();
    assert_eq!(home.run(&["config", "validate"]).0, 0);
}

#[test]
fn the_upstream_and_its_defaults() {
    let home = files("{upstream: {url: 'ws://127.0.0.1:18790'}}");
    let settings = home.settings();
    let behind = settings.upstream.as_ref().unwrap();
    assert_eq!((behind.url.to_string(), behind.is_local()), ("ws://127.0.0.1:18790".into(), true));
    assert!(behind.token.is_none() && behind.closed.is_none());
    assert_eq!((behind.wait, behind.waiting, behind.waiting_bytes), (Duration::from_secs(120), 256, 4 << 20));
    assert!(!lines(&settings).contains("--upstream"), "{}", lines(&settings));
    // The command line wins, and says so.
    let settings = home.start(&[], &upstream("wss://pi.example:1")).unwrap();
    assert_eq!(settings.upstream.as_ref().unwrap().url.to_string(), "wss://pi.example:1");
    assert!(lines(&settings).contains("--upstream on the command line overrides upstream.url"));
    for bad in ["ws://10.0.0.1:1", "ftp://x", "127.0.0.1:1"] {
        let error = home.start(&[], &upstream(bad)).err().unwrap().to_string();
        assert!(error.starts_with("--upstream is ") && error.contains("wss://<host>:<port>"), "{error}");
    }
    // No file is an empty one.
    for text in [None, Some("{}")] {
        let home = Files::with("{gateway: {mode: 'local', auth: {token: 'T1'}}}");
        text.map(|text| home.write(".openclaw/barnacle/barnacle.json", text));
        let settings = home.settings();
        assert!(settings.upstream.is_none() && settings.errors.is_empty() && settings.lint.is_empty());
        assert!(settings.config.auth.device_key_proof);
    }
}

#[test]
fn tokens_and_trust() {
    let with = |keys: &str| files(&format!("{{upstream: {{url: 'wss://pi.example:1', {keys}}}}}"));
    let token = |home: &Files| {
        let settings = home.start(&[("OURS", "T7")], &Flags::default()).unwrap();
        let behind = settings.upstream.unwrap();
        (behind.token.and_then(|token| token.reveal().map(str::to_owned)), behind.closed)
    };
    for (keys, expected) in [
        ("token: 'T6'", "T6"),
        ("token: '${OURS}'", "T7"),
        ("token: '${THEIRS}'", "T8"),
        ("token: {source: 'env', provider: 'default', id: 'OURS'}", "T7"),
        ("token: 'T6', tokenFile: '/not/there'", "T6"),
        ("tokenFile: '~/token'", "T5"),
    ] {
        let home = with(keys);
        home.write("token", "T5\n");
        assert_eq!(token(&home), (Some(expected.into()), None), "{keys}");
    }
    // Nothing is sent to whom it was not meant for, or without what vouches for it.
    for (keys, error) in [
        (
            "token: '${UNSET}'",
            "upstream.token is a secret that cannot be had (the variable UNSET is set neither",
        ),
        ("token: 7", "upstream.token is a number"),
        ("tokenFile: '/not/there'", "upstream.tokenFile is /not/there, which cannot be read"),
        ("tlsFingerprint: 'abc'", "upstream.tlsFingerprint is \"abc\""),
        ("caFile: '~/token'", "upstream.caFile is "),
    ] {
        let home = with(keys);
        home.write("token", "T5\n");
        let settings = home.settings();
        assert_eq!(settings.errors.len(), 1, "{keys}: {}", lines(&settings));
        assert!(lines(&settings).contains(error), "{keys}: {}", lines(&settings));
        assert!(lines(&settings).contains("until then: no connection is made to it"), "{}", lines(&settings));
        assert!(token(&home).1.is_some_and(|why| why.contains(error)), "{keys}");
    }
    let trust = |home: &Files| format!("{:?}", home.settings().upstream.unwrap().trust);
    let colons: Vec<_> =
        PIN.as_bytes().chunks(2).map(|two| String::from_utf8_lossy(two).to_uppercase()).collect();
    assert!(trust(&with(&format!("tlsFingerprint: 'sha256:{}'", colons.join(":")))).contains(PIN));
    let home = with("caFile: '~/ca.pem'");
    home.write("ca.pem", "-----BEGIN CERTIFICATE-----\n");
    assert!(trust(&home).contains("CaFile"));
    assert_eq!(trust(&with("")), "Authorities");
}

/// A running gateway keeps the connection that it has where a key of it makes no sense, and all else is applied.
#[test]
fn a_wrong_key_keeps_the_connection() {
    let good = format!("{{upstream: {{url: 'wss://pi.example:1', token: 'T6', tlsFingerprint: '{PIN}'}}}}");
    let home = files(&good);
    let running = home.settings();
    let write = |text: &str| home.write(".openclaw/barnacle/barnacle.json", text);
    let again = |settings: &Settings| settings.again().resolve().unwrap();
    for wrong in [
        "url: 'pi', token: 'T6'",
        "url: 'wss://evil.example:1', tlsFingerprint: 'x'",
        "url: 'wss://evil.example:1', token: '${UNSET}'",
    ] {
        write(&format!("{{upstream: {{{wrong}, waitMs: 5}}, auth: {{deviceKeyProof: false}}}}"));
        let settings = again(&running);
        let (now, before) = (settings.upstream.as_ref().unwrap(), running.upstream.as_ref().unwrap());
        assert!(now.is_dialled_as(before), "{wrong}: {now:?}");
        assert_eq!(now.wait, Duration::from_millis(5));
        assert!(!settings.config.auth.device_key_proof);
        assert!(lines(&settings).contains("until then: what it was before"), "{}", lines(&settings));
        // And on.
        assert!(again(&settings).upstream.unwrap().is_dialled_as(before));
    }
    write("{upstream: {");
    let settings = again(&running);
    assert_eq!(settings.upstream, running.upstream);
    assert!(lines(&settings).contains("until it is fixed, what it held last counts"), "{}", lines(&settings));
    // Who takes it away means it.
    write("{}");
    assert!(again(&running).upstream.is_none());
}

const OPENCLAW: &str = "{
  // Ours.
  gateway: {
    mode: 'local',
    auth: {
      mode: 'token', token: 'T1', // the token
      deviceKeyProof: false,
      revokeOnRotate: 'browsers',
    },
  },
  channels: {},
}
";

#[test]
fn keys_in_openclaw_json_are_read_warned_of_and_moved() {
    let home = Files::with(OPENCLAW);
    let settings = home.settings();
    assert!(!settings.config.auth.device_key_proof && settings.errors.is_empty());
    assert_eq!(settings.config.auth.revoke_on_rotate, RevokeOnRotate::Browsers);
    let warned: Vec<_> = settings.lint.iter().filter(|w| w.rule == Rule::Own).collect();
    let line = warned.first().unwrap().to_string();
    assert!(warned.len() == 2 && line.contains("openclaw.json:7:23: gateway.auth.deviceKeyProof"), "{line}");
    assert!(
        line.contains("OpenClaw refuses a file that has it") && line.contains("barnacle doctor --fix"),
        "{line}"
    );
    // Its own file wins.
    home.write(".openclaw/barnacle/barnacle.json", "{auth: {deviceKeyProof: true}}");
    let settings = home.settings();
    assert!(settings.config.auth.device_key_proof);
    assert_eq!(settings.config.auth.revoke_on_rotate, RevokeOnRotate::Browsers);
    assert!(lines(&settings).contains("it is there too, and counts"), "{}", lines(&settings));
}

/// A home with nothing wrong but where those keys are.
fn unmoved() -> Home {
    let home = Home::empty();
    home.config(OPENCLAW);
    fs::set_permissions(home.config_path(), fs::Permissions::from_mode(0o600)).unwrap();
    home
}

#[test]
fn the_doctor_moves_them() {
    let home = unmoved();
    let (code, told, _) = home.run(&["doctor"]);
    assert!(code == 0 && told.matches("fix: barnacle doctor --fix").count() == 2, "{told}");
    assert_eq!(fs::read_to_string(home.config_path()).unwrap(), OPENCLAW, "nothing is changed without --fix");
    assert!(!own_path(&home).exists());
    let (code, told, _) = home.run(&["doctor", "--fix"]);
    let moved = "fixed: gateway.auth.deviceKeyProof of ";
    assert!(code == 0 && told.contains(moved) && told.contains("is auth.deviceKeyProof in "), "{told}");
    let left = OPENCLAW.replace("      deviceKeyProof: false,\n      revokeOnRotate: 'browsers',\n", "");
    assert_eq!(fs::read_to_string(home.config_path()).unwrap(), left);
    let written = fs::read_to_string(own_path(&home)).unwrap();
    assert_eq!(
        written,
        "{\n  \"auth\": {\n    \"deviceKeyProof\": false,\n    \"revokeOnRotate\": \"browsers\"\n  }\n}\n"
    );
    assert_eq!(mode(&own_path(&home)), 0o600);
    let (_, told, _) = home.run(&["doctor"]);
    assert!(!told.contains("deviceKeyProof") && !told.contains("revokeOnRotate"), "{told}");
}

#[test]
fn what_the_own_file_holds_stays_when_keys_are_moved() {
    let home = unmoved();
    let text = "{\n  // behind\n  upstream: {url: 'ws://127.0.0.1:1'}, // here\n  auth: {revokeOnRotate: 'none'}\n}\n";
    own(&home, text);
    fs::set_permissions(own_path(&home), fs::Permissions::from_mode(0o644)).unwrap();
    let (_, told, _) = home.run(&["doctor", "--fix"]);
    assert!(told.contains("removed gateway.auth.revokeOnRotate from"), "{told}");
    let written = fs::read_to_string(own_path(&home)).unwrap();
    assert_eq!(written, text.replace("'none'}", "'none', deviceKeyProof: false}"));
    assert_eq!(mode(&own_path(&home)), 0o600);
    assert!(!fs::read_to_string(home.config_path()).unwrap().contains("revokeOnRotate"));
}

/// What cannot be moved stays where it is, and counts.
#[test]
fn a_move_that_cannot_be_made_changes_nothing() {
    let refused = |home: &Home, vars: &[(&str, &str)]| {
        let done = home.command(&["doctor", "--fix"]).envs(vars.iter().copied()).output().unwrap();
        let told = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(told.contains("--fix could not: "), "{told}");
        assert_eq!(fs::read_to_string(home.config_path()).unwrap(), OPENCLAW, "{told}");
        told
    };
    let home = unmoved();
    assert!(refused(&home, &[("OPENCLAW_CONFIG_READONLY", "1")]).contains("managed elsewhere"));
    assert!(!own_path(&home).exists());
    own(&home, "{ half");
    assert!(refused(&home, &[]).contains("barnacle.json:1:"));
    assert_eq!(fs::read_to_string(own_path(&home)).unwrap(), "{ half");
}

struct Watched {
    home: Home,
    server: Server,
    device: Device,
    admin: Client,
}

impl Watched {
    fn started(home: Home) -> Self {
        let server = home.start();
        let device = Device::pair(&server, ADMIN);
        let admin = server.connect(&Offer::device(&device).token(device.token()).scopes(ADMIN));
        Self { home, server, device, admin }
    }

    /// Saves the own file; what was applied, and that nobody was closed.
    fn save(&mut self, text_of_file: &str) -> (String, Vec<String>) {
        own(&self.home, text_of_file);
        let event = self.admin.event("config.reloaded");
        assert!(flag(&event, "payload.ok") && number(&event, "payload.closed") == 0, "{}", json(&event));
        (text(&event, "payload.applied"), list(&event, "payload.changed"))
    }

    fn notices(&mut self) -> String {
        list(&self.admin.ok("status", "{}"), "barnacle.notices").join("\n")
    }

    /// Whether a device is let in by its key alone.
    fn admits_by_key(&self) -> bool {
        self.server.try_connect(&Offer::device(&self.device)).is_ok()
    }
}

#[test]
fn it_is_applied_as_it_is_saved() {
    let home = Home::fix();
    let mut w = Watched::started(home);
    assert!(w.admits_by_key());
    // Into a file, and a directory's name, that were not there.
    let changed = w.save("{auth: {deviceKeyProof: false}}");
    assert_eq!(changed, ("new connections".into(), vec!["auth.deviceKeyProof".into()]));
    assert!(!w.admits_by_key());
    let (applied, changed) = w.save("{auth: {deviceKeyProof: true}, upstream: {waitMs: 7}}");
    assert_eq!((&*applied, changed.len()), ("new connections, next waiting requests", 2));
    assert!(w.admits_by_key());
    let token = format!("{{upstream: {{url: 'ws://127.0.0.1:9', token: '{SECRET}'}}}}");
    assert!(w.save(&token).0.contains("upstream connections"));
    // A plan says the same before it is done, of a file that is saved already.
    let plan = w.admin.ok("config.plan", "{}");
    assert_eq!(text(&plan, "applies"), "nothing", "{}", json(&plan));
    // Its secrets are nowhere to be seen.
    let all = [
        json(&w.admin.ok("config.get", "{}")),
        json(&w.admin.ok("status", "{}")),
        w.server.log(),
        w.home.run(&["config", "validate"]).1,
        w.home.run(&["doctor", "--json"]).1,
    ];
    all.iter().for_each(|shown| assert!(!shown.contains(SECRET), "{shown}"));
    // Gone is empty, and says nothing.
    fs::remove_file(own_path(&w.home)).unwrap();
    let event = w.admin.event("config.reloaded");
    assert!(flag(&event, "payload.ok"), "{}", json(&event));
    assert!(!w.notices().contains("barnacle.json"), "{}", w.notices());
}

#[test]
fn while_it_is_broken_what_ran_last_holds() {
    let home = Home::fix();
    own(&home, &format!("{{auth: {{deviceKeyProof: false}}, upstream: {{token: '{SECRET}'}}}}"));
    let mut w = Watched::started(home);
    assert!(!w.admits_by_key());
    own(&w.home, "{\n  auth: {deviceKeyProof: true");
    w.server.wait_log(&["barnacle.json:2:9: ", "until it is fixed, what it held last counts"]);
    assert!(w.notices().contains("barnacle.json:2:9: "), "{}", w.notices());
    let event = w.admin.event("config.reloaded");
    assert!(!flag(&event, "payload.ok"), "{}", json(&event));
    assert!(text(&event, "payload.issue").contains("barnacle.json:2:9: "), "{}", json(&event));
    assert!(!w.admits_by_key());
    // The other file is applied all the same.
    w.home.auth(r#"{mode:"token",token:"T2"}"#);
    assert_eq!(list(&w.admin.event("config.reloaded"), "payload.changed"), ["gateway.auth.token"]);
    assert!(w.server.try_connect(&Offer::new().token("T2").scopes(READ)).is_ok());
    assert!(!w.admits_by_key());
    w.server.restart(&mut w.admin);
    assert!(!w.admits_by_key(), "restarted in place");
    let last = w.home.store().join("barnacle.json.last");
    assert_eq!(mode(&last), 0o600);
    let Watched { home, server, device, .. } = w;
    server.stop();
    let server = home.start();
    assert!(server.try_connect(&Offer::device(&device)).is_err(), "started anew");
    assert!(server.log().contains("barnacle.json:2:9: "), "{}", server.log());
    // It is fixed, and counts.
    own(&home, "{auth: {deviceKeyProof: true}}");
    server.wait_log(&["configuration reloaded: auth.deviceKeyProof"]);
    assert!(server.try_connect(&Offer::device(&device)).is_ok());
    let end = Instant::now() + Duration::from_secs(5);
    while fs::read_to_string(&last).unwrap() != "{auth: {deviceKeyProof: true}}" {
        assert!(Instant::now() < end, "what runs is not kept");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_schema_of_openclaw_json_has_no_key_of_ours() {
    let (_, schema, _) = Home::empty().run(&["config", "schema"]);
    assert!(schema.contains("rateLimit") && !schema.contains("deviceKeyProof"), "{schema}");
    assert!(!schema.contains("revokeOnRotate") && !schema.contains("upstream"), "{schema}");
}

#[test]
fn the_command_line_changes_it() {
    let home = Home::fix();
    let mut w = Watched::started(home);
    let before = fs::read_to_string(w.home.config_path()).unwrap();
    let file = own_path(&w.home);
    let run = |w: &Watched, args: &[&str]| {
        let (code, out, err) = w.home.run(&[&["config"][..], args].concat());
        (code, out + &err)
    };
    let (code, said) = run(&w, &["set", "upstream.waitMs", "5000"]);
    assert!(
        code == 0 && said.contains("Applied without restarting the gateway: next waiting requests"),
        "{said}"
    );
    assert!(said.contains(&format!("Written to {}", file.display())), "{said}");
    assert_eq!(list(&w.admin.event("config.reloaded"), "payload.changed"), ["upstream.waitMs"]);
    fs::write(&file, "{\n  // mine\n  upstream: {waitMs: 5000}, // here\n}\n").unwrap();
    // Also by the path at which an earlier version read it.
    let (code, said) = run(&w, &["set", "gateway.auth.deviceKeyProof", "false"]);
    assert!(code == 0 && said.contains("Updated auth.deviceKeyProof"), "{said}");
    assert!(!w.admits_by_key());
    let text_now = fs::read_to_string(&file).unwrap();
    assert!(text_now.contains("// mine") && text_now.contains("// here"), "{text_now}");
    assert!(said.contains(".bak"), "{said}");
    for (args, code, words) in [
        (&["set", "upstream.waitMs", "soon"][..], 1, "upstream.waitMs: is"),
        (&["set", "upstream.url", "ws://pi.example:1"], 1, "upstream.url: is"),
        (&["set", "upstream.waitMs", "5000"], 0, "No change"),
        (&["set", "--dry-run", "upstream.waitMs", "7"], 0, "Dry run: upstream.waitMs would change"),
        (&["unset", "upstream.tokenFile"], 1, "Config path not found: upstream.tokenFile"),
    ] {
        let (got, said) = run(&w, args);
        assert!(got == code && said.contains(words), "{args:?}: {got} {said}");
        assert_eq!(fs::read_to_string(&file).unwrap(), text_now, "{args:?}");
    }
    assert_eq!(run(&w, &["unset", "auth.deviceKeyProof"]).0, 0);
    assert!(w.admits_by_key());
    fs::write(&file, "{").unwrap();
    let (code, said) = run(&w, &["set", "upstream.waitMs", "1"]);
    assert!(code == 78 && said.contains("nothing is written to a file that cannot be read"), "{code} {said}");
    assert_eq!(fs::read_to_string(w.home.config_path()).unwrap(), before, "the other file is as it was");
}

#[test]
fn clients_are_told_where_its_keys_belong() {
    let mut w = Watched::started(Home::fix());
    let before = fs::read_to_string(w.home.config_path()).unwrap();
    let hash = text(&w.admin.ok("config.get", "{}"), "hash");
    let raw = r#""{\"upstream\":{\"waitMs\":5}}""#;
    let error = w.admin.err("config.patch", &format!(r#"{{"raw":{raw},"baseHash":"{hash}"}}"#));
    assert!(text(&error, "message").contains("barnacle config set upstream"), "{}", json(&error));
    assert_eq!(fs::read_to_string(w.home.config_path()).unwrap(), before);
}

#[test]
fn in_front_of_openclaw_its_keys_are_not_called_unused() {
    let home = Home::fix();
    own(&home, "{upstream: {url: 'ws://127.0.0.1:9'}}");
    let mut w = Watched::started(home);
    let (code, said, err) = w.home.run(&["config", "set", "--dry-run", "messages.responsePrefix", "x"]);
    assert!(code == 0 && said.contains("nothing here (OpenClaw uses it)"), "{said}{err}");
    assert_eq!(w.home.run(&["config", "set", "messages.responsePrefix", "x"]).0, 0);
    let event = w.admin.event("config.reloaded");
    assert_eq!(text(&event, "payload.applied"), "nothing here (OpenClaw uses it)", "{}", json(&event));
}
