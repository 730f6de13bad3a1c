//! What agents may do, done by clients with `tools.invoke`.

use crate::wire::{Client, Device, Home, Offer, READ, Server, flag, get, items, json, number, text};
use miniserde::json::Value;

/// A gateway with the agents `main` and `work`, and `more` in its configuration.
fn gateway(more: &str) -> (Home, Server) {
    let home = Home::empty();
    home.config(&format!(
        "{{gateway:{{mode:\"local\",bind:\"loopback\",port:{},auth:{{mode:\"token\",token:\"T1\"}}}},\
         agents:{{entries:{{main:{{}},work:{{}}}}}}{more}}}",
        home.port
    ));
    let server = home.start();
    (home, server)
}

fn invoke(client: &mut Client, name: &str, args: &str, beside: &str) -> Value {
    client.ok("tools.invoke", &format!(r#"{{"name":"{name}","args":{args}{beside}}}"#))
}

/// What a model would read.
#[track_caller]
fn used(client: &mut Client, name: &str, args: &str, beside: &str) -> Value {
    let answer = invoke(client, name, args, beside);
    assert!(flag(&answer, "ok"), "{}", json(&answer));
    miniserde::json::from_str(&text(&answer, "output.content.0.text")).unwrap()
}

/// Why a tool did not do it: the code, and the sentence.
#[track_caller]
fn refused(client: &mut Client, name: &str, args: &str, beside: &str) -> (String, String) {
    let answer = invoke(client, name, args, beside);
    assert!(!flag(&answer, "ok"), "{}", json(&answer));
    (text(&answer, "error.code"), text(&answer, "error.message"))
}

fn keys(list: &Value) -> Vec<String> {
    let mut keys: Vec<String> = items(list, "sessions").iter().map(|row| text(row, "key")).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn a_message_is_sent_and_the_list_shows_its_session() {
    let (_home, server) = gateway("");
    let (mut client, mut listener) = (server.admin(), server.admin());
    client.ok("sessions.create", r#"{"key":"one","label":"First"}"#);
    client.ok("sessions.create", r#"{"key":"agent:work:two"}"#);
    let list = used(&mut client, "sessions_list", "{}", "");
    assert_eq!(keys(&list), ["agent:main:one", "agent:work:two"]);
    assert_eq!((number(&list, "count"), flag(&list, "hasMore")), (2, false));
    assert!(get(&list, "visibility").is_none());
    listener.ok("sessions.messages.subscribe", r#"{"key":"one"}"#);
    let sent =
        used(&mut client, "message", r#"{"action":"send","target":"one","message":"good morning"}"#, "");
    assert_eq!((text(&sent, "status"), text(&sent, "target")), ("ok".into(), "agent:main:one".into()));
    assert_eq!(text(&listener.event("chat"), "payload.message.content.0.text"), "good morning");
    assert_eq!(text(&listener.event("session.message"), "payload.messageId"), text(&sent, "messageId"));
    let page = client.ok("chat.history", r#"{"sessionKey":"one"}"#);
    assert_eq!(text(&page, "messages.0.content.0.text"), "good morning");
}

#[test]
fn what_a_model_does_wrong_is_told_in_a_sentence() {
    let (_home, server) = gateway("");
    let mut client = server.admin();
    client.ok("sessions.create", r#"{"key":"one"}"#);
    let deep = format!(r#"{{"kinds":{}{}}}"#, "[".repeat(50_000), "]".repeat(50_000));
    let long = format!(r#"{{"message":"{}"}}"#, "x".repeat(200_000));
    let rows = [
        ("rm_rf", "{}", "not_found", "there is no tool \"rm_rf\"; there are sessions_list"),
        (
            "sessions_list",
            r#"{"limit":"5"}"#,
            "invalid_request",
            "limit must be a whole number, and is \"5\"",
        ),
        ("sessions_list", r#"{"limit":0}"#, "invalid_request", "limit must be at least 1"),
        ("sessions_list", r#"{"kinds":["all"]}"#, "invalid_request", "kinds[0] must be one of"),
        ("sessions_list", &deep, "invalid_request", "kinds[0] must be a text"),
        (
            "sessions_list",
            r#"{"where":"here"}"#,
            "invalid_request",
            "the tool has no property where; it has kinds",
        ),
        ("sessions_list", r#"{"agentId":"gone"}"#, "invalid_request", "Unknown agent id"),
        ("message", "{}", "invalid_request", "message is required, and is missing"),
        ("message", &long, "invalid_request", "message must be at most 100000 characters"),
        (
            "message",
            r#"{"message":"x","target":"gone"}"#,
            "invalid_request",
            "nothing was sent: there is no session agent:main:gone",
        ),
        (
            "message",
            r#"{"message":"x","target":"one","channel":"whatsapp"}"#,
            "invalid_request",
            "nothing was sent: this gateway has no channel \"whatsapp\"",
        ),
        (
            "message",
            r#"{"message":"x","action":"delete"}"#,
            "invalid_request",
            "action must be one of \"send\"",
        ),
        ("sessions_history", r#"{"sessionKey":"a\nb"}"#, "invalid_request", "sessionKey: a session key has"),
        ("gateway", r#"{"action":"config.get","path":"no.such"}"#, "invalid_request", "no.such is not set"),
        ("gateway", r#"{"action":"config.patch"}"#, "invalid_request", "config.patch takes patch"),
        (
            "gateway",
            r#"{"action":"config.patch","patch":{"session":{"scope":"x"}}}"#,
            "invalid_request",
            "session.scope",
        ),
        (
            "gateway",
            r#"{"action":"config.patch","patch":{"gateway":{"auth":{"mode":"none"}}}}"#,
            "not_allowed",
            "gateway.auth decides who gets in",
        ),
        ("nodes", r#"{"action":"invoke","node":"none"}"#, "invalid_request", "command is required"),
        ("nodes", r#"{"action":"describe","node":"none"}"#, "invalid_request", "unknown nodeId"),
    ];
    for (name, args, code, sentence) in rows {
        let (found, message) = refused(&mut client, name, args, "");
        assert_eq!(found, code, "{name}: {message}");
        assert!(message.contains(sentence), "{name}: {message}");
    }
    let page = client.ok("chat.history", r#"{"sessionKey":"one"}"#);
    assert_eq!(items(&page, "messages").len(), 0, "nothing of it was said");
    // A request that is wrong itself is refused as any other.
    for params in
        [r#"{"args":{}}"#, r#"{"name":"message","args":[]}"#, r#"{"name":"message","agentId":"gone"}"#]
    {
        let error = client.err("tools.invoke", params);
        assert_eq!(text(&error, "code"), "INVALID_REQUEST", "{}", json(&error));
    }
}

#[test]
fn who_may_use_which() {
    let (_home, server) = gateway("");
    let mut admin = server.admin();
    admin.ok("sessions.create", r#"{"key":"one"}"#);
    let of = |scopes: &[&'static str]| server.connect(&Offer::new().token("T1").scopes(scopes));
    let (mut reader, mut writer) = (of(READ), of(&["operator.write"]));
    let catalog = reader.ok("tools.catalog", "{}");
    assert_eq!(items(&catalog, "profiles").len(), 4);
    let groups: Vec<String> = items(&catalog, "groups").iter().map(|group| text(group, "id")).collect();
    assert_eq!(groups, ["sessions", "messaging", "agents", "automation", "nodes"]);
    let effective = reader.ok("tools.effective", r#"{"sessionKey":"one"}"#);
    assert_eq!((text(&effective, "agentId"), text(&effective, "profile")), ("main".into(), "full".into()));
    assert_eq!(items(&effective, "groups.0.tools").len(), 7);
    let error = reader.err("tools.invoke", r#"{"name":"sessions_list"}"#);
    assert_eq!(text(&error, "details.missingScope"), "operator.write");
    used(&mut writer, "sessions_list", "{}", "");
    used(&mut writer, "message", r#"{"target":"one","message":"x"}"#, "");
    for name in ["gateway", "nodes", "cron"] {
        let (code, message) = refused(&mut writer, name, "{}", "");
        assert_eq!(code, "not_allowed", "{message}");
        assert!(message.contains("operator.admin"), "{message}");
    }
}

#[test]
fn the_policy_is_that_of_the_file_now() {
    let (home, server) = gateway(",tools:{deny:[\"group:nodes\"]}");
    let mut client = server.admin();
    assert_eq!(refused(&mut client, "nodes", r#"{"action":"list"}"#, "").0, "not_allowed");
    used(&mut client, "agents_list", "{}", "");
    let lines = server.log().lines().count();
    home.config(&format!(
        "{{gateway:{{mode:\"local\",bind:\"loopback\",port:{},auth:{{mode:\"token\",token:\"T1\"}}}},\
         tools:{{profile:\"minimal\"}},\
         agents:{{entries:{{main:{{}},work:{{tools:{{profile:\"full\",deny:[\"Message\"]}}}}}}}}}}",
        home.port
    ));
    server.wait_new(lines, &["next calls of tools"]);
    let names = |client: &mut Client, key: &str| -> Vec<String> {
        let effective = client.ok("tools.effective", &format!(r#"{{"sessionKey":"{key}"}}"#));
        items(&effective, "groups.0.tools").iter().map(|tool| text(tool, "id")).collect()
    };
    assert_eq!(names(&mut client, "main"), ["session_status"]);
    assert_eq!(
        names(&mut client, "agent:work:main"),
        ["sessions_list", "sessions_history", "session_status", "agents_list", "gateway", "nodes"]
    );
    let (code, message) = refused(&mut client, "sessions_list", "{}", "");
    assert_eq!(code, "not_allowed");
    assert!(message.contains("the tool profile \"minimal\" does not have it"), "{message}");
    used(&mut client, "sessions_list", "{}", r#","agentId":"work""#);
}

#[test]
fn sessions_are_seen_as_far_as_the_file_says() {
    let rows: [(&str, &[&str]); 5] = [
        ("", &["agent:main:main", "agent:main:one", "agent:work:main"]),
        ("sessions:{visibility:\"agent\"}", &["agent:main:main", "agent:main:one"]),
        ("sessions:{visibility:\"tree\"}", &["agent:main:one"]),
        ("sessions:{visibility:\"self\"}", &["agent:main:one"]),
        ("agentToAgent:{enabled:false}", &["agent:main:main", "agent:main:one"]),
    ];
    for (keys_of_tools, expected) in rows {
        let (_home, server) = gateway(&format!(",tools:{{{keys_of_tools}}}"));
        let mut client = server.admin();
        for key in ["agent:main:main", "agent:main:one", "agent:work:main"] {
            client.ok("sessions.create", &format!(r#"{{"key":"{key}"}}"#));
        }
        let from_one = r#","sessionKey":"one""#;
        let listed = used(&mut client, "sessions_list", "{}", from_one);
        assert_eq!(keys(&listed), expected, "{keys_of_tools}");
        for key in ["agent:main:main", "agent:work:main"] {
            let args = format!(r#"{{"sessionKey":"{key}"}}"#);
            let send = format!(r#"{{"target":"{key}","message":"x"}}"#);
            if expected.contains(&key) {
                used(&mut client, "sessions_history", &args, from_one);
                used(&mut client, "session_status", &args, from_one);
                used(&mut client, "message", &send, from_one);
            } else {
                for (tool, args) in
                    [("sessions_history", &args), ("session_status", &args), ("message", &send)]
                {
                    let (_, message) = refused(&mut client, tool, args, from_one);
                    assert!(message.contains("is not to be seen"), "{keys_of_tools} {tool}: {message}");
                }
            }
        }
        let agents = used(&mut client, "agents_list", "{}", from_one);
        let sees_work = expected.contains(&"agent:work:main");
        assert_eq!(number(&agents, "count"), 1 + u64::from(sees_work), "{keys_of_tools}");
    }
}

#[test]
fn a_history_is_bounded_and_holds_no_credentials() {
    let (_home, server) = gateway("");
    let mut client = server.admin();
    let created = client.ok("sessions.create", r#"{"key":"one"}"#);
    for n in 0..30 {
        let said = format!("number {n}: {}", "word ".repeat(1000));
        client.ok("chat.inject", &format!(r#"{{"sessionKey":"one","message":"{said}"}}"#));
    }
    client.ok("chat.inject", r#"{"sessionKey":"one","message":"the key is sk-abcdef0123456789 there"}"#);
    let one = r#","sessionKey":"agent:main:main""#;
    let page = used(&mut client, "sessions_history", r#"{"sessionKey":"one"}"#, one);
    let messages = items(&page, "messages");
    let last = text(messages.last().unwrap(), "content.0.text");
    assert_eq!(last, "the key is __OPENCLAW_REDACTED__ there");
    assert!(
        flag(&page, "contentRedacted") && flag(&page, "contentTruncated") && flag(&page, "droppedMessages")
    );
    assert!(number(&page, "bytes") <= 80 << 10 && json(&page).len() < 82 << 10);
    assert!(flag(&page, "hasMore"));
    let next = number(&page, "nextOffset");
    assert_eq!(next, messages.len() as u64);
    // By the session's id, and on from where the first ended: nothing is missed.
    let id = text(&created, "sessionId");
    let older =
        used(&mut client, "sessions_history", &format!(r#"{{"sessionKey":"{id}","offset":{next}}}"#), one);
    let first = text(messages[0], "content.0.text");
    let before = text(items(&older, "messages").last().unwrap(), "content.0.text");
    let number_of = |text: &str| text.split([' ', ':']).nth(1).unwrap().parse::<u64>().unwrap();
    assert_eq!(number_of(&first), number_of(&before) + 1);
    let listed = used(&mut client, "sessions_list", r#"{"messageLimit":2,"includeLastMessage":true}"#, one);
    assert_eq!(items(&listed, "sessions.0.messages").len(), 2);
    assert!(!json(&listed).contains("sk-abcdef"), "{}", json(&listed));
}

#[test]
fn a_list_is_paged_within_its_size() {
    let (_home, server) = gateway("");
    let mut client = server.admin();
    for n in 0..260 {
        client.ok("sessions.create", &format!(r#"{{"key":"s{n}","label":"{n} {}"}}"#, "x".repeat(400)));
    }
    let (mut seen, mut offset, mut pages) = (Vec::new(), 0, 0);
    loop {
        let page = used(&mut client, "sessions_list", &format!(r#"{{"limit":500,"offset":{offset}}}"#), "");
        assert!(json(&page).len() <= 64 << 10);
        assert_eq!(number(&page, "limitApplied"), 200);
        seen.extend(keys(&page));
        pages += 1;
        if !flag(&page, "hasMore") {
            break;
        }
        assert_eq!(text(&page, "truncationReason"), "byte-limit");
        offset = number(&page, "nextOffset");
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 260, "in {pages} pages");
}

#[test]
fn the_gateway_is_changed_and_restarted_after_it_answered() {
    let (_home, server) = gateway("");
    let mut client = server.admin();
    let shown = used(&mut client, "gateway", r#"{"action":"config.get","path":"gateway.auth"}"#, "");
    assert_eq!(text(&shown, "value.token"), "__OPENCLAW_REDACTED__");
    let looked =
        used(&mut client, "gateway", r#"{"action":"config.schema.lookup","path":"gateway.port"}"#, "");
    assert_eq!(text(&looked, "schema.type"), "integer");
    let change = r#"{"action":"config.patch","patch":{"session":{"mainKey":"home"}},"note":"asked for"}"#;
    let changed = used(&mut client, "gateway", change, "");
    assert_eq!(text(&changed, "changedPaths.0"), "session");
    let shown = used(&mut client, "gateway", r#"{"action":"config.get","path":"session.mainKey"}"#, "");
    assert_eq!(text(&shown, "value"), "home");
    let restarts = |client: &mut Client| number(&client.ok("status", "{}"), "barnacle.restarts");
    let before = restarts(&mut client);
    let answer = used(&mut client, "gateway", r#"{"action":"restart","reason":"a test"}"#, "");
    assert_eq!(text(&answer, "restart"), "scheduled");
    // The same connection goes on.
    let end = std::time::Instant::now() + crate::wire::LONG;
    while restarts(&mut client) == before {
        assert!(std::time::Instant::now() < end, "{}", server.log());
    }
    used(&mut client, "sessions_list", "{}", "");
}

#[test]
fn a_node_runs_a_command_and_a_large_result_goes_beside() {
    let (home, server) = gateway("");
    let mut client = server.admin();
    client.ok("sessions.create", r#"{"key":"one"}"#);
    let device = Device::new();
    let mut node = server.connect(&Offer::node(&device, &["camera.snap"]).token("T1"));
    let id = device.id();
    let request = client.ok("node.pair.list", "{}");
    for pending in items(&request, "pending") {
        client.ok("node.pair.approve", &format!(r#"{{"requestId":"{}"}}"#, text(pending, "requestId")));
    }
    let nodes = used(&mut client, "nodes", r#"{"action":"list"}"#, "");
    assert_eq!((text(&nodes, "nodes.0.nodeId"), flag(&nodes, "nodes.0.connected")), (id.clone(), true));
    let use_of = |size: usize, client: &mut Client, node: &mut Client| {
        let args =
            format!(r#"{{"action":"invoke","node":"{id}","command":"camera.snap","params":{{"n":1}}}}"#);
        let asked =
            client.ask("tools.invoke", &format!(r#"{{"name":"nodes","sessionKey":"one","args":{args}}}"#));
        let event = node.event("node.invoke.request");
        assert_eq!(text(&event, "payload.paramsJSON"), r#"{"n":1}"#);
        let invoke = text(&event, "payload.id");
        let data = "x".repeat(size);
        node.ok(
            "node.invoke.result",
            &format!(r#"{{"id":"{invoke}","nodeId":"{id}","ok":true,"payload":{{"data":"{data}"}}}}"#),
        );
        let answer = client.answer(&asked).unwrap();
        assert!(flag(&answer, "ok"), "{}", json(&answer));
        miniserde::json::from_str::<Value>(&text(&answer, "output.content.0.text")).unwrap()
    };
    let small = use_of(10, &mut client, &mut node);
    assert_eq!(text(&small, "payload.data"), "x".repeat(10));
    let large = use_of(2 << 20, &mut client, &mut node);
    assert!(json(&large).len() < 10_000 && number(&large, "bytes") > 2 << 20);
    let file = std::path::PathBuf::from(text(&large, "file"));
    assert_eq!(std::fs::metadata(&file).unwrap().len(), number(&large, "bytes"));
    assert!(file.starts_with(&home.dir));
    // It goes with its session.
    client.ok("sessions.delete", r#"{"key":"one"}"#);
    assert!(!file.exists());
}
