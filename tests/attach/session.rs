//! An attached session: sequence numbers, presence, concurrent requests, the log, and plain HTTP.

use crate::wire::{ADMIN, Device, Home, Offer, READ, flag, get, items, json, list, number, text};
use async_tungstenite::tungstenite::Message;

#[test]
fn a_ping_is_answered_and_a_close_is_echoed() {
    let home = Home::fix();
    let server = home.start();
    let mut client = server.connect(&Offer::new().token("T1"));
    client.send_ping();
    assert!(matches!(client.message().unwrap(), Message::Pong(p) if p[..] == [7]));
    client.raw();
    let mut other = server.connect(&Offer::new().token("T1"));
    other.close(4000, "bye");
    assert_eq!(other.closed().0, 4000);
    client.ok("health", "{}");
}

#[test]
fn events_are_counted_for_each_client_and_go_to_those_who_may_hear_them() {
    let home = Home::fix();
    let server = home.start();
    let mut admin = server.admin();
    let mut reader = server.connect(&Offer::new().token("T1"));
    let mut deaf = server.connect(&Offer::new().token("T1").scopes(&[]));
    let devices: Vec<Device> = (0..3).map(|_| Device::new()).collect();
    for (n, device) in devices.iter().enumerate() {
        let refused = server.refuse(&Offer::device(device).token("T1").remote());
        let event = admin.event("device.pair.requested");
        assert_eq!(number(&event, "seq"), n as u64 + 1);
        assert_eq!(text(&event, "payload.requestId"), refused.get("details.requestId"));
        assert_eq!(text(&event, "payload.deviceId"), device.id());
    }
    // A retry changes nothing.
    server.refuse(&Offer::device(&devices[0]).token("T1").remote());
    let reject = format!(r#"{{"requestId":"{}"}}"#, devices[0].id());
    admin.ok("device.pair.reject", &reject);
    let event = admin.event("device.pair.resolved");
    assert_eq!((number(&event, "seq"), text(&event, "payload.decision")), (4, "rejected".into()));
    // Presence is for those who may read; a page on this host is present, a command line is not.
    let page = Device::new();
    let ui = server.connect(&Offer::device(&page).token("T1").client("openclaw-tui", "ui"));
    for (client, first) in [(&mut admin, 5), (&mut reader, 1)] {
        let event = client.event("presence");
        assert_eq!(number(&event, "seq"), first);
        assert!(number(&event, "stateVersion.presence") > 1);
        let present = items(&event, "payload.presence");
        assert_eq!(present.len(), 2, "{}", json(&event));
        assert_eq!(text(present[1], "deviceId"), page.id());
    }
    drop(ui);
    assert_eq!(items(&reader.event("presence"), "payload.presence").len(), 1);
    assert_eq!(items(&reader.ok("system-presence", "{}"), "").len(), 0);
    // Whoever may neither read nor pair has heard of none of it.
    let error = deaf.err("health", "{}");
    assert_eq!(text(&error, "details.code"), "MISSING_SCOPE");
    let shutdown = {
        crate::wire::signal(server.pid(), "TERM");
        deaf.event("shutdown")
    };
    assert_eq!(number(&shutdown, "seq"), 1);
    assert_eq!(text(&shutdown, "payload.reason"), "gateway stopping");
    assert_eq!(deaf.closed(), (1012, "gateway stopping".into()));
}

#[test]
fn hello_ok_says_how_things_are_now() {
    let home = Home::fix();
    let server = home.start();
    let mut watcher = server.admin();
    // Of each: who is present, in which version of that list, and the session of the default agent.
    let hello = || {
        let hello = server.connect(&Offer::new().token("T1")).hello;
        let present = items(&hello, "snapshot.presence").len();
        let version = number(&hello, "snapshot.stateVersion.presence");
        (present, version, text(&hello, "snapshot.sessionDefaults.mainSessionKey"))
    };
    let (present, version, session) = hello();
    assert_eq!((present, session.as_str()), (1, "agent:main:main"));
    assert_eq!(hello(), (present, version, session.clone()));
    let page = Device::new();
    let ui = server.connect(&Offer::device(&page).token("T1").client("openclaw-tui", "ui"));
    let here = number(&watcher.event("presence"), "stateVersion.presence");
    assert!(here > version);
    assert_eq!(hello(), (2, here, session.clone()));
    drop(ui);
    let gone = number(&watcher.event("presence"), "stateVersion.presence");
    assert_eq!(hello(), (1, gone, session));
    let gateway = format!("gateway: {{mode: 'local', port: {}, auth: {{token: 'T1'}}}}", home.port);
    home.config(&format!("{{{gateway}, session: {{mainKey: 'desk'}}}}"));
    watcher.event("config.reloaded");
    assert_eq!(hello(), (1, gone, "agent:main:desk".into()));
}

#[test]
fn requests_are_answered_together_and_too_many_are_told_so() {
    let home = Home::fix();
    let server = home.start();
    let mut device = Device::new();
    let mut node = server.connect(&Offer::node(&device, &["wait"]).token("T1"));
    device.token = Some(node.device_token());
    let mut admin = server.admin();
    let pending = admin.ok("node.pair.list", "{}");
    let request = text(&pending, "pending.0.requestId");
    admin.ok("node.pair.approve", &format!(r#"{{"requestId":"{request}"}}"#));
    let params = |ms| {
        format!(r#"{{"nodeId":"{}","command":"wait","idempotencyKey":"k","timeoutMs":{ms}}}"#, device.id())
    };
    // Sixty-four wait for the node; the next is told to come back, and other methods still answer... later.
    let waiting: Vec<String> = (0..64).map(|_| admin.ask("node.invoke", &params(LONG_MS))).collect();
    let error = admin.err("health", "{}");
    assert_eq!((text(&error, "code"), text(&error, "retryable")), ("UNAVAILABLE".into(), "true".into()));
    assert!(number(&error, "retryAfterMs") > 0);
    for id in waiting {
        let asked = node.event("node.invoke.request");
        let result = format!(
            r#"{{"id":"{}","nodeId":"{}","ok":false,"error":{{"code":"NO","message":"not today"}}}}"#,
            text(&asked, "payload.id"),
            device.id()
        );
        node.ok("node.invoke.result", &result);
        let error = admin.answer(&id).unwrap_err();
        assert_eq!(
            (text(&error, "details.code"), text(&error, "message")),
            ("NO".into(), "not today".into())
        );
    }
    // A node that is slow, and one that leaves.
    let error = admin.err("node.invoke", &params(50));
    assert_eq!(text(&error, "details.code"), "TIMEOUT");
    let id = admin.ask("node.invoke", &params(LONG_MS));
    node.event("node.invoke.request");
    node.event("node.invoke.request");
    drop(node);
    assert_eq!(text(&admin.answer(&id).unwrap_err(), "details.code"), "NOT_CONNECTED");
    assert_eq!(text(&admin.err("node.invoke", &params(50)), "details.code"), "NOT_CONNECTED");
}

const LONG_MS: u64 = 60_000;

#[test]
fn an_answer_counts_only_from_the_connection_that_was_asked() {
    let home = Home::fix();
    let server = home.start();
    let (one, two) = (Device::new(), Device::new());
    let mut asked = server.connect(&Offer::node(&one, &["x"]).token("T1"));
    let mut other = server.connect(&Offer::node(&two, &["x"]).token("T1"));
    let mut admin = server.admin();
    admin.ok("node.pair.approve", &format!(r#"{{"requestId":"{}"}}"#, one.id()));
    let params = format!(r#"{{"nodeId":"{}","command":"x","idempotencyKey":"k"}}"#, one.id());
    let id = admin.ask("node.invoke", &params);
    let event = asked.event("node.invoke.request");
    let answer = |by: &Device, what: &str| {
        format!(
            r#"{{"id":"{}","nodeId":"{}","ok":true,"payload":"{what}"}}"#,
            text(&event, "payload.id"),
            by.id()
        )
    };
    assert!(flag(&other.ok("node.invoke.result", &answer(&one, "forged")), "ignored"));
    asked.ok("node.invoke.result", &answer(&one, "true"));
    assert_eq!(text(&admin.answer(&id).unwrap(), "payload"), "true");
    // A gateway that stops answers whoever still waits.
    let id = admin.ask("node.invoke", &params);
    asked.event("node.invoke.request");
    crate::wire::signal(server.pid(), "TERM");
    let error = admin.answer(&id).unwrap_err();
    assert_eq!((text(&error, "code"), text(&error, "retryable")), ("UNAVAILABLE".into(), "true".into()));
    assert!(number(&error, "retryAfterMs") > 0);
    assert_eq!(admin.closed(), (1012, "gateway stopping".into()));
}

#[test]
fn methods_identity_logs_and_http() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, ADMIN);
    let mut client = server.connect(&Offer::device(&device).scopes(ADMIN));
    let methods = list(&client.hello, "features.methods");
    assert!(methods.contains(&"device.token.rotate".into()) && !methods.contains(&"cron.add".into()));
    for method in &methods {
        // Whatever is listed is there: it may want parameters, or a node.
        if let Err(error) = client.call(method, "{}") {
            assert_ne!(text(&error, "code"), "UNAVAILABLE", "{method}: {}", json(&error));
            assert!(!text(&error, "message").starts_with("unknown method"), "{method}");
        }
    }
    let identity = client.ok("gateway.identity.get", "{}");
    server.stop();
    let server = home.start();
    let mut client = server.connect(&Offer::device(&device).scopes(ADMIN));
    assert_eq!(json(&client.ok("gateway.identity.get", "{}")), json(&identity), "the gateway's own identity");
    assert!(get(&client.ok("last-heartbeat", "{}"), "x").is_none());
    let tail = client.ok("logs.tail", r#"{"limit":1}"#);
    assert_eq!(list(&tail, "lines").len(), 1);
    let more = client.ok("logs.tail", &format!(r#"{{"cursor":{}}}"#, number(&tail, "cursor")));
    assert!(list(&more, "lines").is_empty() && !flag(&more, "reset"));
    let own = client.ok("status", "{}");
    assert_eq!(number(&own, "barnacle.pid"), u64::from(server.pid()));
    assert_eq!(text(&own, "barnacle.authMode"), "token");
    for path in ["/health", "/healthz", "/readyz", "/"] {
        assert_eq!(server.get(path).0, 200, "{path}");
    }
    assert_eq!(server.get("/nothing").0, 404);
}

#[test]
fn a_read_scope_reads_and_no_more() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    let mut client = server.connect(&Offer::device(&device));
    for method in ["health", "status", "system-presence", "node.list", "logs.tail"] {
        client.ok(method, "{}");
    }
    for method in ["device.pair.list", "node.invoke", "device.pair.setupCode", "node.pair.list"] {
        assert_eq!(text(&client.err(method, "{}"), "code"), "FORBIDDEN", "{method}");
    }
}

#[test]
fn the_config_is_shown_without_its_secrets() {
    let home = Home::empty();
    // Long enough not to come up by chance in what is random in the answer.
    const TOKEN: &str = "T-hidden-4711";
    let hidden = [TOKEN, "P-hidden", "K-hidden", "B-hidden", "E-hidden", "hook-hidden", "U-hidden"];
    home.config(&format!(
        r#"{{ // a comment with B-hidden in it
  gateway: {{ mode: 'local', port: {}, bind: "loopback", auth: {{ mode: "token", token: "{TOKEN}", password: "P-hidden" }},
    remote: {{ token: "${{FROM_ENV}}", url: "wss://me:U-hidden@example/" }} }},
  models: {{ providers: {{ x: {{ apiKey: "K-hidden", port: 0x10, temperature: .5, }} }} }},
  channels: {{ telegram: {{ botToken: "B-hidden", webhookUrl: "https://x/hook-hidden" }}, whatsapp: {{ allowFrom: ["+1"] }} }},
  env: {{ vars: {{ ANYTHING: "E-hidden" }} }},
  secrets: {{ store: {{ source: "file", provider: "p", id: "/x" }} }},
}}"#,
        home.port
    ));
    let server = home.start();
    let mut client = server.connect(&Offer::new().token(TOKEN));
    let shown = client.ok("config.get", "{}");
    let text_of = json(&shown);
    for secret in hidden {
        assert!(!text_of.contains(secret), "{secret} in {text_of}");
    }
    assert!(flag(&shown, "exists") && flag(&shown, "valid"));
    assert_eq!(text(&shown, "parsed.gateway.auth.token"), "__OPENCLAW_REDACTED__");
    assert_eq!(text(&shown, "parsed.gateway.remote.token"), "${FROM_ENV}");
    assert_eq!(text(&shown, "parsed.models.providers.x.port"), "16");
    assert_eq!(text(&shown, "parsed.models.providers.x.temperature"), "0.5");
    assert_eq!(list(&shown, "parsed.channels.whatsapp.allowFrom"), ["+1"]);
    assert_eq!(text(&shown, "parsed.secrets.store.id"), "/x");
    home.config("{ gateway: { mode: 'local' ");
    let broken = client.ok("config.get", "{}");
    assert!(
        !flag(&broken, "valid") && text(&broken, "issues.0.message").contains(":1:"),
        "{}",
        json(&broken)
    );
    let mut admin = server.connect(&Offer::new().token(TOKEN).scopes(ADMIN));
    assert_eq!(text(&admin.err("config.set", r#"{"raw":"{}","baseHash":"x"}"#), "code"), "UNAVAILABLE");
}
