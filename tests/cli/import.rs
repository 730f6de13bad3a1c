//! Import of devices that were paired with OpenClaw, from its files and from a running gateway.

use crate::wire::{Device, Home, Offer, READ, get, items, list, text};
use barnacle::internals::protocol::hex;
use std::{collections::BTreeMap, fs, path::Path, time::SystemTime};

const OLD: &str = "openclaw-device-token-of-2026-2-17-0123456789";

/// Every file below `dir` with its bytes and when it was written.
fn files(dir: &Path) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            let modified = entry.metadata().unwrap().modified().unwrap();
            all.insert(path.display().to_string(), (fs::read(&path).unwrap(), modified));
        }
    }
    all
}

/// The SubjectPublicKeyInfo of a key as PEM, with `\n` as JSON writes it.
fn pem(device: &Device) -> String {
    let mut der = vec![0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    der.extend(device.key.public_key().0);
    let body = barnacle::internals::protocol::base64url_encode(&der).replace('-', "+").replace('_', "/");
    format!(r"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
}

struct Source {
    home: Home,
    phone: Device,
    node: Device,
    lost: Device,
}

impl Source {
    /// A home beside an OpenClaw of 2026.2 that paired three devices, and two records that are no good.
    fn new() -> Self {
        let home = Home::fix();
        let (phone, node, lost) = (Device::new(), Device::new(), Device::new());
        let key = |d: &Device| d.key.public_key().to_string();
        let (p, n, l, foreign) = (phone.id(), node.id(), lost.id(), hex(&[7; 32]));
        let paired = format!(
            r#"{{
  "{p}": {{"deviceId":"{p}","publicKey":"{}","displayName":"Phone","platform":"ios","clientId":"openclaw-ios",
    "clientMode":"ui","role":"operator","roles":["operator"],"scopes":["operator.read","operator.write"],
    "tokens":{{"operator":{{"token":"{OLD}","role":"operator","scopes":["operator.read"],"createdAtMs":5}},
               "node":{{"token":"stray","role":"node","scopes":[],"createdAtMs":5}}}},
    "createdAtMs":1770000000000,"approvedAtMs":1770000000001}},
  "{n}": {{"publicKey":"{}","displayName":"Board","role":"node","futureField":[{{}}],
    "tokens":[{{"token":"gone","role":"node","revokedAtMs":3}},{{"token":"node-token-0123456789","role":"node"}}]}},
  "{l}": {{"deviceId":"{l}","publicKey":"{}","displayName":"Lost","role":"operator","scopes":["operator.admin"],
    "tokens":{{"operator":{{"token":"t","scopes":[],"createdAtMs":1,"revokedAtMs":1770000000002}}}}}},
  "{foreign}": {{"deviceId":"{foreign}","publicKey":"{}","displayName":"Forged","role":"operator"}},
  "x": 7
}}"#,
            key(&phone),
            pem(&node),
            key(&lost),
            key(&phone),
        );
        let nodes = format!(
            r#"{{"{n}":{{"nodeId":"{n}","caps":["camera"],"commands":["camera.snap"],"permissions":{{"camera":true}},"approvedAtMs":9}}}}"#
        );
        for (name, text) in [("devices/paired.json", paired), ("nodes/paired.json", nodes)] {
            let path = home.dir.join(".openclaw").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self { home, phone, node, lost }
    }

    #[track_caller]
    fn import(&self, args: &[&str]) -> String {
        ok(&self.home, &[&["import", "--from", "~/.openclaw"], args].concat())
    }
}

#[track_caller]
fn ok(home: &Home, args: &[&str]) -> String {
    let (code, out, err) = home.run(args);
    assert_eq!(code, 0, "{args:?}: {out}{err}");
    out
}

#[test]
fn an_import_is_listed_before_it_is_done() {
    let source = Source::new();
    let before = files(&source.home.dir);
    let plan = source.import(&[]);
    for words in ["Phone", "Board", "Lost", "not the SHA-256", "no object", "Nothing was changed"] {
        assert!(plan.contains(words), "{words}: {plan}");
    }
    assert_eq!(files(&source.home.dir), before, "a dry run writes nothing at all");
    let report = source.import(&["--apply", "--json"]);
    let report = miniserde::json::from_str(&report).unwrap();
    let actions: Vec<String> = items(&report, "devices").iter().map(|d| text(d, "action")).collect();
    assert_eq!(actions.iter().filter(|a| *a == "add").count(), 3, "{actions:?}");
    assert_eq!(actions.iter().filter(|a| *a == "reject").count(), 2, "{actions:?}");
    let after = files(&source.home.dir);
    assert!(before.iter().all(|(path, file)| after.get(path) == Some(file)), "OpenClaw's files were touched");
}

#[test]
fn an_imported_device_attaches_with_what_it_has() {
    let source = Source::new();
    source.import(&["--apply"]);
    let server = source.home.start();
    let both = &["operator.read", "operator.write"];
    // Its old token counts, from elsewhere too.
    let old = server.connect(&Offer::device(&source.phone).token(OLD).scopes(both).remote());
    assert_eq!(old.scopes(), both.join(" "));
    let new = old.device_token();
    assert_ne!(new, OLD);
    // So does its key, and the token that it is handed is the same.
    let by_key = server.connect(&Offer::device(&source.phone).scopes(both).remote());
    assert_eq!(by_key.device_token(), new);
    server.wait_log(&["device-token"]);
    server.wait_log(&["device-key"]);
    // The token of a role that was not approved opens nothing.
    server.refuse(&Offer::node(&source.phone, &[]).token("stray").remote()).expect("PAIRING_REQUIRED");
    // A revoked role came over revoked.
    let refused = server.refuse(&Offer::device(&source.lost).token("t").remote());
    assert!(refused.get("message").contains("was revoked"), "{}", refused.get("message"));
    // The node may do at once what it was approved for.
    server.connect(&Offer { caps: vec!["camera"], ..Offer::node(&source.node, &["camera.snap"]) }.remote());
    let nodes = server.admin().ok("node.list", "{}");
    assert_eq!(text(&nodes, "nodes.0.approvalState"), "approved", "{}", crate::wire::json(&nodes));
    assert_eq!(list(&nodes, "nodes.0.commands"), ["camera.snap"]);
}

#[test]
fn an_old_token_is_proof_where_a_key_alone_is_not() {
    let source = Source::new();
    source.home.gateway(r#"auth:{mode:"token",token:"T1",deviceKeyProof:false}"#);
    source.import(&["--apply"]);
    let server = source.home.start();
    server.refuse(&Offer::device(&source.phone).remote()).expect("AUTH_TOKEN_MISSING");
    let new = server.connect(&Offer::device(&source.phone).token(OLD).remote()).device_token();
    server.connect(&Offer::device(&source.phone).token(&new).remote());
    server.wait_log(&["the old one ended"]);
    let dead = server.refuse(&Offer::device(&source.phone).device_token(OLD).remote());
    dead.expect("AUTH_DEVICE_TOKEN_MISMATCH");
}

#[test]
fn decisions_made_here_outlive_an_import() {
    let source = Source::new();
    source.import(&["--apply"]);
    assert!(source.import(&["--apply"]).contains("nothing to do"));
    let (phone, node) = (source.phone.id(), source.node.id());
    ok(&source.home, &["devices", "rotate", &phone, "--role", "operator", "--scope", "operator.read"]);
    ok(&source.home, &["devices", "revoke", &node, "--role", "node"]);
    ok(&source.home, &["devices", "remove", &source.lost.id()]);
    let again = source.import(&["--apply"]);
    assert!(again.contains("scopes operator.read,operator.write"), "{again}");
    assert!(again.contains("was removed here"), "{again}");
    let server = source.home.start();
    let wide = server.connect(&Offer::device(&source.phone).scopes(&["operator.write"]).remote());
    assert_eq!(wide.scopes(), "operator.write");
    let refused = server.refuse(&Offer::node(&source.node, &[]).remote());
    assert!(refused.get("message").contains("was revoked"));
    // A rotation here ended the old token, and an import does not bring it back.
    source.home.gateway(r#"auth:{mode:"token",token:"T1",deviceKeyProof:false}"#);
    server.stop();
    let server = source.home.start();
    server.refuse(&Offer::device(&source.phone).device_token(OLD).remote());
}

#[test]
fn import_from_a_running_gateway() {
    let there = Home::fix();
    let openclaw = there.start();
    let phone = Device::pair(&openclaw, READ);
    let node = Device::new();
    openclaw.connect(&Offer::node(&node, &["camera.snap"]).token("T1"));
    let mut admin = openclaw.admin();
    let pending = admin.ok("node.pair.list", "{}");
    let request = text(get(&pending, "pending.0").unwrap(), "requestId");
    admin.ok("node.pair.approve", &format!(r#"{{"requestId":"{request}"}}"#));
    let here = Home::fix();
    let url = openclaw.url();
    let (code, _, err) = here.run(&["import", "--from", &url, "--token", "wrong"]);
    assert!(code == 4 && err.contains("token mismatch"), "{err}");
    let import = ["import", "--from", &url, "--token", "T1", "--apply"];
    assert!(ok(&here, &import).contains("2 devices imported"));
    openclaw.stop();
    let server = here.start();
    server.connect(&Offer::device(&phone).token(phone.token()).remote());
    server.connect(&Offer::node(&node, &["camera.snap"]).remote());
    assert_eq!(list(&server.admin().ok("node.list", "{}"), "nodes.0.commands"), ["camera.snap"]);
}

#[test]
fn unreadable_sources_say_what_to_do() {
    let source = Source::new();
    let server = source.home.start();
    let (code, _, err) = source.home.run(&["import", "--from", "~/.openclaw", "--apply"]);
    assert!(code == 1 && err.contains(&format!("kill {}", server.pid())), "{err}");
    // To look is allowed all the same.
    source.import(&[]);
    server.stop();
    let dir = source.home.dir.join(".openclaw");
    fs::write(dir.join("devices/paired.json"), "{\"half\":").unwrap();
    let fails = |words: &str| {
        let (code, _, err) = source.home.run(&["import", "--from", dir.to_str().unwrap()]);
        assert!(code == 1 && err.contains(words), "{err}");
    };
    fails("is not JSON");
    fs::remove_dir_all(dir.join("devices")).unwrap();
    fails("barnacle import --from ws://127.0.0.1:18789");
    fs::create_dir_all(dir.join("state")).unwrap();
    fs::write(dir.join("state/openclaw.sqlite"), "").unwrap();
    fails("openclaw.sqlite; start that OpenClaw and ask it");
    assert_eq!(source.home.run(&["import"]).0, 2);
}
