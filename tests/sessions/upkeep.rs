//! Sessions are tidied at a start: `session.maintenance`.

use crate::wire::{Client, Home, flag, items, text};

const DAY_MS: u64 = 86_400_000;

fn config(home: &Home, maintenance: &str) {
    home.config(&format!(
        "{{gateway:{{mode:\"local\",bind:\"loopback\",port:{},auth:{{mode:\"token\",token:\"T1\"}}}},session:{{maintenance:{{{maintenance}}}}}}}",
        home.port
    ));
}

fn keys(client: &mut Client, archived: bool) -> Vec<String> {
    let list = client.ok("sessions.list", &format!(r#"{{"archived":{archived}}}"#));
    let mut keys: Vec<String> =
        items(&list, "sessions").iter().map(|row| text(row, "key").replace("agent:main:", "")).collect();
    keys.sort();
    keys
}

/// Has a session's row say that it changed last so many days ago.
fn age(home: &Home, name: &str, days: u64) {
    let path = home.store().join("agents/sessions.log");
    let log = std::fs::read_to_string(&path).unwrap();
    let line = log.lines().rfind(|line| line.contains(&format!("agent:main:{name}\""))).unwrap();
    // Without its checksum, as another program may write it.
    let object = line.split_once(r#","crc":"#).unwrap().0;
    let at = object.find(r#""updated":"#).unwrap() + 10;
    let end = at + object[at..].find(|c: char| !c.is_ascii_digit()).unwrap();
    let updated: u64 = object[at..end].parse().unwrap();
    let older = format!("{}{}{}}}\n", &object[..at], updated - days * DAY_MS, &object[end..]);
    std::fs::write(&path, log + &older).unwrap();
}

#[test]
fn what_is_old_or_too_much_is_archived_and_can_be_read() {
    let home = Home::empty();
    config(&home, "maxEntries:4");
    let server = home.start();
    let mut client = server.admin();
    for name in ["main", "a", "b", "c", "d", "old", "cron:old", "pinned"] {
        client.ok("sessions.create", &format!(r#"{{"key":"{name}"}}"#));
        client.ok("chat.inject", &format!(r#"{{"sessionKey":"{name}","message":"said in {name}"}}"#));
    }
    client.ok("sessions.patch", r#"{"key":"pinned","pinned":true}"#);
    drop(client);
    server.stop();
    for (name, days) in [("old", 31), ("cron:old", 31), ("main", 40), ("pinned", 40), ("a", 3), ("b", 2)] {
        age(&home, name, days);
    }
    // Said, and not done.
    config(&home, "maxEntries:4,mode:\"warn\"");
    let server = home.start();
    server.wait_log(&["would have archived 3 and removed 1"]);
    assert_eq!(keys(&mut server.admin(), false).len(), 8);
    server.stop();
    config(&home, "maxEntries:4");
    let server = home.start();
    server.wait_log(&["sessions: archived 3 and removed 1"]);
    let mut client = server.admin();
    let mut archived = Vec::new();
    // The log line comes before the changes.
    while archived.len() < 3 {
        archived = keys(&mut client, true);
    }
    assert_eq!(archived, ["a", "b", "old"]);
    assert_eq!(keys(&mut client, false), ["c", "d", "main", "pinned"]);
    let page = client.ok("chat.history", r#"{"sessionKey":"old"}"#);
    assert_eq!(text(&page, "messages.0.content.0.text"), "said in old");
    let row = client.ok("sessions.describe", r#"{"key":"a"}"#);
    assert!(flag(&row, "session.archived") && text(&row, "session.archiveReason").is_empty());
    drop(client);
    server.stop();
    // The disk is spared by what was archived as one of too many, and by nothing else.
    config(&home, "maxEntries:4,maxDiskBytes:1");
    let server = home.start();
    server.wait_log(&["removed agent:main:b"]);
    let mut client = server.admin();
    let mut archived = keys(&mut client, true);
    while archived.len() > 1 {
        archived = keys(&mut client, true);
    }
    assert_eq!(archived, ["old"]);
    assert_eq!(keys(&mut client, false), ["c", "d", "main", "pinned"]);
}
