//! The disk is full: reading goes on, a change is refused in words, and once there is room all goes on.

use crate::{
    model::Model,
    runs::{said, send, until_end},
    wire::{Home, flag, items, json, text},
};
use std::io::Write;

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

#[test]
fn a_run_on_a_full_disk_ends_once_there_is_room() {
    let model = Model::start();
    let home = Home::empty();
    home.config(&model.config_with(home.port, "\"stand-in/echo\"", ""));
    let dir = home.store();
    std::fs::create_dir_all(&dir).unwrap();
    let mount = format!("mount -t tmpfs -o size=1m none {}", dir.display());
    let server = home.start_unshared(&["--mount"], &mount, &[]);
    let mut client = server.admin();
    send(&mut client, "held call message {}", "K1").unwrap();
    model.wait(1);
    let filler = format!("/proc/{}/root{}/filler", server.pid(), dir.display());
    let mut file = std::fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    drop(file);
    // What is left of the last page of the rows.
    let label = |n: u32| format!(r#"{{"key":"main","label":"label {n}"}}"#);
    let mut labels = 0..;
    while client.call("sessions.patch", &label(labels.next().unwrap())).is_ok() {}
    let refused = send(&mut client, "say more", "K2").unwrap_err();
    assert!(text(&refused, "message").contains("No space left") && flag(&refused, "retryable"));
    model.release();
    server.wait_log(&["run K1 cannot be ended yet"]);
    client.ok("health", "{}");
    assert!(!client.events.iter().any(|event| text(event, "payload.state") == "final"), "it has not ended");
    std::fs::remove_file(filler).unwrap();
    assert_eq!(until_end(&mut client, "K1").pop().unwrap().0, "final");
    send(&mut client, "say more", "K2").unwrap();
    assert_eq!(until_end(&mut client, "K2").pop().unwrap().0, "final");
    let roles: Vec<String> = said(&mut client).into_iter().map(|(role, _)| role).collect();
    assert_eq!(roles, ["user", "assistant", "toolResult", "assistant", "user", "assistant"]);
    client.terminate();
}
