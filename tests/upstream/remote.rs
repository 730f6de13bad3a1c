//! A gateway on another host behind this one: this gateway is a device there, which somebody there approves.
//!
//! The stand-in is on this host; `0.0.0.0` leads there, and is no address of loopback to whoever reads the URL.

use crate::{
    stand_in::{Manner, StandIn, hello, waits},
    wire::{ADMIN, Device, Home, Offer, READ, Server, json, list, text},
};
use miniserde::json::Value;
use std::{
    collections::BTreeSet,
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    sync::{Arc, Mutex},
};

/// What the other gateway has granted so far.
#[derive(Default)]
struct There {
    /// Scopes that it has approved for this gateway's device; `None` while the request waits.
    approved: Option<Vec<&'static str>>,
    /// Number of the token that is good.
    token: u32,
    /// Number of the request that waits.
    request: u32,
}

fn refusal(code: &str, details: &str) -> String {
    format!(r#"{{"code":"NOT_PAIRED","message":"no","details":{{"code":"{code}"{details}}}}}"#)
}

impl There {
    /// Judges as OpenClaw 2026.9.6 was seen to.
    fn judge(&self, connect: &Value, link: usize) -> Result<String, String> {
        let asked: Vec<String> = list(connect, "scopes");
        let (shared, token) = (text(connect, "auth.token"), text(connect, "auth.deviceToken"));
        let good = format!("token-{}", self.token);
        if !token.is_empty() && (token != good || self.approved.is_none()) {
            return Err(refusal("AUTH_DEVICE_TOKEN_MISMATCH", ""));
        }
        if token.is_empty() && shared != "S1" {
            return Err(refusal("AUTH_TOKEN_MISMATCH", ""));
        }
        let request = self.request;
        let Some(approved) = &self.approved else {
            let details =
                format!(r#","reason":"not-paired","requestId":"r{request}","requestedRole":"operator""#);
            return Err(refusal("PAIRING_REQUIRED", &details));
        };
        if !asked.iter().all(|scope| approved.contains(&scope.as_str())) {
            let names = format!("{approved:?}");
            let details =
                format!(r#","reason":"scope-upgrade","requestId":"u{request}","approvedScopes":{names}"#);
            let code = if token.is_empty() { "PAIRING_REQUIRED" } else { "AUTH_SCOPE_MISMATCH" };
            return Err(refusal(code, &details));
        }
        let auth = format!(r#""auth":{{"role":"operator","deviceToken":"{good}","scopes":{asked:?}}}"#);
        Ok(hello(1, link).replace(r#""auth":{"role":"operator","scopes":["operator.read"]}"#, &auth))
    }
}

struct Scene {
    home: Home,
    behind: StandIn,
    there: Arc<Mutex<There>>,
}

impl Scene {
    fn new() -> Self {
        let (home, behind, there) = (Home::fix(), StandIn::new(), Arc::new(Mutex::new(There::default())));
        let judge = there.clone();
        behind.behaves(move |_, head| {
            if !head.contains("Sec-WebSocket-Key") {
                return Manner::Http("HTTP/1.1 204 No Content\r\n\r\n");
            }
            let judge = judge.clone();
            Manner::Judge(Arc::new(move |connect, link| judge.lock().unwrap().judge(connect, link)))
        });
        Self { home, behind, there }
    }

    fn url(&self) -> String {
        format!("url:\"ws://0.0.0.0:{}\",allowCleartext:true", self.behind.at.port())
    }

    fn token_file(&self, text: &str, mode: u32) -> String {
        let path = self.home.store().join("there");
        std::fs::create_dir_all(self.home.store()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        format!("tokenFile:\"{}\"", path.display())
    }

    fn start(&self, more: &str) -> Server {
        waits(&self.home, &format!("{},{},{more}", self.url(), self.token_file("S1\n", 0o600)));
        self.home.start_with(&[], &[])
    }

    fn approves(&self, scopes: &[&'static str]) {
        let mut there = self.there.lock().unwrap();
        there.approved = Some(scopes.to_vec());
        there.request += 1;
    }
}

fn every_scope() -> Vec<&'static str> {
    [ADMIN, &["operator.questions", "operator.talk", "operator.talk.secrets"]].concat()
}

#[test]
fn an_approval_is_asked_for_named_and_used() {
    let scene = Scene::new();
    let front = scene.start("");
    front.wait_log(&["openclaw devices approve r0"]);
    let mut admin = front.admin();
    let refused = admin.err("sessions.list", "{}");
    assert_eq!(text(&refused, "code"), "UNAVAILABLE");
    assert!(text(&refused, "message").contains("openclaw devices approve r0"), "{}", json(&refused));
    let waits: Value = miniserde::json::from_str(&front.get("/readyz").1).unwrap();
    assert_eq!(text(&waits, "upstream.pairings.0.requestId"), "r0");
    let connect = scene.behind.latest_connect();
    assert_eq!(
        list(&connect, "scopes").into_iter().collect::<BTreeSet<_>>(),
        every_scope().into_iter().map(String::from).collect()
    );
    assert_eq!(text(&connect, "auth.token"), "S1");
    scene.approves(&every_scope());
    front.wait_log(&["is back"]);
    let watcher = scene.behind.watcher().connect();
    assert_eq!(list(&watcher, "scopes"), READ);
    assert_eq!(text(&watcher, "auth.deviceToken"), "token-0");
    assert_eq!(text(&watcher, "auth.token"), "", "only the approval is asked for with the shared token");
    let file = scene.home.store().join("upstream-tokens.json");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // Also in another process.
    front.stop();
    scene.there.lock().unwrap().request = 7;
    let front = scene.home.start_with(&[], &[]);
    front.wait_log(&["in front of OpenClaw"]);
    assert_eq!(text(&scene.behind.watcher().connect(), "auth.deviceToken"), "token-0");
}

#[test]
fn operators_go_by_its_device_with_the_scopes_of_both() {
    let scene = Scene::new();
    scene.approves(&["operator.read", "operator.write"]);
    let front = scene.start("");
    front.wait_log(&["openclaw devices approve u1"]);
    front.wait_log(&["in front of OpenClaw"]);
    let own = text(&scene.behind.watcher().connect(), "device.id");
    let device = Device::pair(&front, READ);
    for (offer, expected) in [
        (Offer::device(&device).device_token(device.token()).scopes(READ), vec!["operator.read"]),
        (Offer::new().token("T1").scopes(ADMIN), vec!["operator.read", "operator.write"]),
    ] {
        let mut client = front.connect(&offer);
        let before = scene.behind.links();
        client.ok("agents.list", "{}");
        let connect = scene.behind.link_after(before).connect();
        assert_eq!(list(&connect, "scopes"), expected, "{}", json(&connect));
        assert_eq!(text(&connect, "device.id"), own);
        assert_eq!(text(&connect, "client.platform"), "linux");
        assert_ne!(text(&connect, "client.displayName"), "Barnacle");
    }
    // More is granted: it is asked for again in time, and clients get it.
    scene.approves(&every_scope());
    front.wait_log(&["has granted what was asked for"]);
    let mut admin = front.admin();
    let before = scene.behind.links();
    admin.ok("agents.list", "{}");
    let connect = scene.behind.link_after(before).connect();
    assert!(list(&connect, "scopes").contains(&"operator.admin".into()), "{}", json(&connect));
}

#[test]
fn nothing_goes_on_in_the_clear_once_that_is_not_allowed() {
    let scene = Scene::new();
    scene.approves(&every_scope());
    let front = scene.start("");
    front.wait_log(&["in front of OpenClaw"]);
    let watcher = scene.behind.watcher().number;
    waits(&scene.home, &scene.url().replace("allowCleartext:true", "waitMs:120000"));
    scene.behind.gone(watcher);
    front.wait_log(&["is away: "]);
    let line = front.wait_log(&["in the clear"]);
    assert!(line.contains("0.0.0.0"), "{line}");
}

#[test]
fn it_asks_for_no_more_than_the_file_says() {
    let scene = Scene::new();
    let front = scene.start("scopes:[\"operator.write\"]");
    front.wait_log(&["openclaw devices approve r0"]);
    assert_eq!(list(&scene.behind.latest_connect(), "scopes"), ["operator.read", "operator.write"]);
}

#[test]
fn a_token_that_was_replaced_there_is_taken_over() {
    let scene = Scene::new();
    scene.approves(&every_scope());
    let front = scene.start("");
    front.wait_log(&["in front of OpenClaw"]);
    let mut admin = front.admin();
    admin.ok("agents.list", "{}");
    scene.there.lock().unwrap().token = 1;
    scene.behind.end_all();
    admin.ok("agents.list", "{}");
    assert_eq!(text(&scene.behind.last_link().connect(), "auth.deviceToken"), "token-1");
    // Removed there: the request is named again, and nobody is closed.
    {
        let mut there = scene.there.lock().unwrap();
        (there.approved, there.request) = (None, 9);
    }
    scene.behind.end_all();
    front.wait_log(&["openclaw devices approve r9"]);
    let refused = admin.err("agents.list", "{}");
    assert!(text(&refused, "message").contains("approve r9"), "{}", json(&refused));
    let before = front.log().lines().count();
    scene.approves(&every_scope());
    front.wait_new(before, &["is back"]);
    admin.ok("agents.list", "{}");
}

#[test]
fn only_what_was_given_for_it_is_shown_to_it() {
    let scene = Scene::new();
    waits(&scene.home, &scene.url());
    let front = scene.home.start_with(&[], &[]);
    front.wait_log(&["upstream.tokenFile"]);
    assert_eq!(scene.behind.links(), 0, "there is nothing to show");
    // A request that is let in here is passed on without what let it in.
    let mut http = std::net::TcpStream::connect(("127.0.0.1", front.port)).unwrap();
    let request =
        "GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer T1\r\nConnection: close\r\n\r\n";
    http.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    http.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    assert!(!scene.behind.heads().concat().contains("Bearer T1"));
    for (file, mode, said) in [
        ("", 0o600, "holds no token"),
        ("S1", 0o644, "can be read by every account"),
        ("S2", 0o600, "refuses the shared token"),
    ] {
        waits(&scene.home, &format!("{},{}", scene.url(), scene.token_file(file, mode)));
        front.wait_log(&[said]);
    }
    let shown = scene.behind.connects();
    assert!(!shown.is_empty() && !shown.iter().any(|text| text.contains(r#""T1""#)), "{shown:?}");
}
