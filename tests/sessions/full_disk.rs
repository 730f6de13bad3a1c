//! The disk is full: reading goes on, a change is refused in words, and once there is room all goes on.

use crate::wire::{Home, flag, items, json, text};

#[test]
fn a_full_disk_takes_nothing_and_loses_nothing() {
    let home = Home::fix();
    let dir = home.store();
    std::fs::create_dir_all(&dir).unwrap();
    let mount = format!("mount -t tmpfs -o size=1m none {}", dir.display());
    let server = home.start_unshared(&["--mount"], &mount, &[]);
    let mut client = server.admin();
    client.ok("sessions.create", r#"{"key":"one"}"#);
    client.ok("sessions.create", r#"{"key":"ballast"}"#);
    client.ok("chat.inject", r#"{"sessionKey":"one","message":"before"}"#);
    let filler = "x".repeat(40_000);
    let mut filled = 0;
    let refused = loop {
        let inject = format!(r#"{{"sessionKey":"ballast","message":"{filler}"}}"#);
        match client.call("chat.inject", &inject) {
            Ok(_) => filled += 1,
            Err(refused) => break refused,
        }
        assert!(filled < 100, "the disk does not get full");
    };
    let why = text(&refused, "message");
    assert!(
        why.starts_with("not saved, nothing changed: ") && why.contains("No space left"),
        "{}",
        json(&refused)
    );
    assert!(flag(&refused, "retryable"));
    let said = |client: &mut crate::wire::Client, key: &str| {
        let page = client.ok("chat.history", &format!(r#"{{"sessionKey":"{key}","maxChars":100}}"#));
        items(&page, "messages").iter().map(|m| text(m, "content.0.text")).collect::<Vec<_>>()
    };
    assert_eq!(said(&mut client, "one"), ["before"]);
    assert_eq!(said(&mut client, "ballast").len(), filled, "nothing of what was refused");
    assert!(flag(&client.ok("sessions.delete", r#"{"key":"ballast"}"#), "deleted"));
    client.ok("chat.inject", r#"{"sessionKey":"one","message":"after"}"#);
    assert_eq!(said(&mut client, "one"), ["before", "after"]);
    client.terminate();
}
