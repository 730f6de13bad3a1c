//! Sessions are begun, named, listed, archived, reset and removed, and whoever subscribed hears of it.

use crate::wire::{Client, Home, flag, get, items, json, list, number, text};

fn keys(answer: &miniserde::json::Value) -> Vec<String> {
    items(answer, "sessions").iter().map(|row| text(row, "key")).collect()
}

#[track_caller]
fn changed(client: &mut Client, key: &str, reason: &str) -> miniserde::json::Value {
    let event = client.event("sessions.changed");
    assert_eq!(
        (text(&event, "payload.sessionKey"), text(&event, "payload.reason")),
        (key.into(), reason.into())
    );
    event
}

#[test]
fn a_session_from_its_beginning_to_its_end() {
    let home = Home::fix();
    let server = home.start();
    let (mut client, mut other) = (server.admin(), server.admin());
    assert!(flag(&other.ok("sessions.subscribe", "{}"), "subscribed"));
    let empty = client.ok("sessions.list", "{}");
    assert_eq!((number(&empty, "totalCount"), number(&empty, "limitApplied")), (0, 100));
    assert!(
        get(&client.ok("sessions.describe", r#"{"key":"one"}"#), "session")
            .is_some_and(|s| json(s) == "null")
    );

    let made = client.ok("sessions.create", r#"{"key":"One","label":"First","displayName":"A title"}"#);
    let (key, id) = (text(&made, "key"), text(&made, "sessionId"));
    assert_eq!((key.as_str(), flag(&made, "runStarted")), ("agent:main:one", false));
    let event = changed(&mut other, &key, "create");
    assert_eq!(text(&event, "payload.session.label"), "First");
    // Taken, not made again; its title stays.
    let taken =
        client.ok("sessions.create", r#"{"key":"agent:main:one","label":"Second","displayName":"Other"}"#);
    assert_eq!(text(&taken, "sessionId"), id);
    let row = client.ok("sessions.describe", r#"{"key":"one"}"#);
    assert_eq!(
        (text(&row, "session.label"), text(&row, "session.displayName")),
        ("Second".into(), "A title".into())
    );
    changed(&mut other, &key, "create");
    let refused = client.err("sessions.create", r#"{"key":"two","label":"Second"}"#);
    assert_eq!(text(&refused, "message"), "label already in use: Second (agent:main:one)");
    for (method, params) in [
        ("sessions.create", r#"{"agentId":"nobody"}"#),
        ("sessions.create", r#"{"key":"agent:nobody:x"}"#),
        ("sessions.patch", r#"{"key":"agent:nobody:x","label":"l"}"#),
        ("sessions.reset", r#"{"key":"agent:nobody:x"}"#),
    ] {
        assert_eq!(text(&client.err(method, params), "message"), "Unknown agent id \"nobody\"", "{method}");
    }

    for by in [r#"{"key":"one"}"#, r#"{"label":"Second"}"#, &format!(r#"{{"sessionId":"{id}"}}"#)] {
        assert_eq!(text(&client.ok("sessions.resolve", by), "key"), key, "{by}");
    }
    let missing = r#"{"key":"agent:main:none"}"#;
    assert_eq!(
        text(&client.err("sessions.resolve", missing), "message"),
        "No session found: agent:main:none"
    );
    assert!(!flag(&client.ok("sessions.resolve", r#"{"key":"none","allowMissing":true}"#), "ok"));

    let patch = |more: &str| format!(r#"{{"key":"one",{more}}}"#);
    let done = client.ok("sessions.patch", &patch(r#""pinned":true,"category":"Work","statusNote":"busy""#));
    assert_eq!(text(&done, "entry.category"), "Work");
    assert!(number(&done, "entry.pinnedAt") > 0);
    assert!(flag(&changed(&mut other, &key, "patch"), "payload.session.pinned"));
    for (more, why) in [
        (r#""label":"x","expectedSessionId":"other""#, "Session agent:main:one changed before patch. Retry."),
        (r#""bogus":true"#, "invalid sessions.patch params: at root: unexpected property 'bogus'"),
        (r#""archived":true"#, "expectedSessionId required for session lifecycle patch: agent:main:one"),
        (r#""label":"""#, "invalid sessions.patch params: at /label: must be a non-empty string or null"),
    ] {
        assert_eq!(text(&client.err("sessions.patch", &patch(more)), "message"), why, "{more}");
    }
    let not_here = client.err("sessions.patch", &patch(r#""thinkingLevel":"high""#));
    assert!(
        text(&not_here, "message").contains("thinkingLevel says how runs are to be"),
        "{}",
        json(&not_here)
    );
    client.ok("sessions.patch", &patch(r#""thinkingLevel":null,"category":null"#));
    changed(&mut other, &key, "patch");

    client.ok("sessions.patch", &patch(&format!(r#""archived":true,"expectedSessionId":"{id}""#)));
    changed(&mut other, &key, "patch");
    assert!(keys(&client.ok("sessions.list", "{}")).is_empty());
    assert_eq!(keys(&client.ok("sessions.list", r#"{"archived":true}"#)).join(" "), key);
    assert_eq!(keys(&client.ok("sessions.list", r#"{"archived":"all"}"#)).join(" "), key);

    let reset = client.ok("sessions.reset", r#"{"key":"one","reason":"new"}"#);
    assert_eq!(text(&reset, "entry.sessionId"), id, "it keeps its id");
    changed(&mut other, &key, "new");
    let refused = client.err("sessions.delete", r#"{"key":"one","expectedSessionId":"other"}"#);
    assert_eq!(text(&refused, "details.reason"), "session-changed");
    assert!(flag(&client.ok("sessions.delete", r#"{"key":"one"}"#), "deleted"));
    assert_eq!(text(&changed(&mut other, &key, "delete"), "payload.sessionId"), id);
    assert!(!flag(&client.ok("sessions.delete", r#"{"key":"one"}"#), "deleted"));
    let main = client.err("sessions.delete", r#"{"key":"main"}"#);
    assert_eq!(text(&main, "message"), "Cannot delete the main session (agent:main:main).");

    // What is left after a restart, and after a hand-over in which the subscription lives on.
    client.ok("sessions.create", r#"{"key":"kept","label":"Kept"}"#);
    changed(&mut other, "agent:main:kept", "create");
    server.restart(&mut client);
    client.ok("sessions.patch", r#"{"key":"kept","label":"Kept on"}"#);
    changed(&mut other, "agent:main:kept", "patch");
    drop((client, other));
    server.stop();
    let server = home.start();
    let row = server.admin().ok("sessions.describe", r#"{"key":"kept"}"#);
    assert_eq!(text(&row, "session.label"), "Kept on");
}

#[test]
fn the_same_request_makes_the_same_session() {
    let home = Home::fix();
    let server = home.start();
    let once = server.admin().ok("sessions.create", r#"{"idempotencyKey":"k1"}"#);
    server.kill();
    let server = home.start();
    let mut client = server.admin();
    let again = client.ok("sessions.create", r#"{"idempotencyKey":"k1"}"#);
    assert_eq!(text(&once, "key"), text(&again, "key"));
    assert_eq!(text(&once, "sessionId"), text(&again, "sessionId"));
    let other = client.ok("sessions.create", r#"{"idempotencyKey":"k2"}"#);
    let random = client.ok("sessions.create", "{}");
    assert_ne!(text(&other, "key"), text(&again, "key"));
    assert!(text(&random, "key").starts_with("agent:main:dashboard:"));
    assert_eq!(number(&client.ok("sessions.list", "{}"), "totalCount"), 3);
    // Without a model no run is begun, and the session is there all the same.
    let asked = client.ok("sessions.create", r#"{"key":"asked","message":"do it"}"#);
    assert!(!flag(&asked, "runStarted"));
    assert_eq!(text(&asked, "runError.code"), "UNAVAILABLE");
}

#[test]
fn lists_are_paged_and_told_at_once_to_who_subscribes() {
    let home = Home::fix();
    let server = home.start();
    let mut client = server.admin();
    for n in 0..7 {
        client.ok("sessions.create", &format!(r#"{{"key":"s{n}","label":"Label {n}"}}"#));
    }
    client.ok("sessions.patch", r#"{"key":"s3","pinned":true}"#);
    let mut all = Vec::new();
    let mut offset = 0;
    loop {
        let page = client.ok("sessions.list", &format!(r#"{{"limit":3,"offset":{offset}}}"#));
        assert_eq!(number(&page, "totalCount"), 7);
        all.extend(items(&page, "sessions").iter().map(|row| (text(row, "key"), number(row, "updatedAt"))));
        if !flag(&page, "hasMore") {
            break assert!(get(&page, "nextOffset").is_some_and(|next| json(next) == "null"));
        }
        offset = number(&page, "nextOffset");
    }
    // Pinned first, then the newest; of those of one millisecond by their keys.
    assert_eq!(all[0].0, "agent:main:s3");
    assert!(
        all[1..].is_sorted_by_key(|(key, updated)| (std::cmp::Reverse(*updated), key.clone())),
        "{all:?}"
    );
    let different: std::collections::BTreeSet<_> = all.iter().map(|(key, _)| key).collect();
    assert_eq!(different.len(), 7);
    assert_eq!(keys(&client.ok("sessions.list", r#"{"search":"label 5"}"#)), ["agent:main:s5"]);
    let subscribed = client.ok("sessions.subscribe", r#"{"limit":2}"#);
    assert!(flag(&subscribed, "subscribed"));
    assert_eq!(items(&subscribed, "list.sessions").len(), 2);
    let hello = list(&client.hello, "features.methods");
    let listed = ["sessions.list", "sessions.create", "chat.history", "chat.inject"];
    assert!(listed.iter().all(|name| hello.iter().any(|known| known == name)));
    assert!(!hello.iter().any(|name| name == "cron.add"), "nothing that does not work");
}
