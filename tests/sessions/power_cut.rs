//! The power goes, at every call that touches a session's files, and with everything lost that was not synced.
//!
//! The calls of a gateway are recorded while a client makes changes, and every disk that a power cut could leave is made from
//! them: after each call, with each choice of the names and bytes that no sync had made safe. A gateway that starts there
//! must hold what was acknowledged by then.

use crate::{
    crash_model::{Run, Step, Tree, first_loss, read},
    wire::{Client, Home, Server, get, items, json, signal, text},
};
use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
};

/// The changes, one after the other.
const STEPS: [(&str, &str); 6] = [
    ("sessions.create", r#"{"key":"one","label":"First"}"#),
    ("chat.inject", r#"{"sessionKey":"one","message":"said 1"}"#),
    ("chat.inject", r#"{"sessionKey":"one","message":"said 2"}"#),
    ("sessions.patch", r#"{"key":"one","label":"Second"}"#),
    ("sessions.reset", r#"{"key":"one"}"#),
    ("sessions.delete", r#"{"key":"one"}"#),
];

/// What a client sees: the label, and the texts of the history.
fn seen(client: &mut Client) -> Result<(String, Vec<String>), String> {
    let row = client.call("sessions.describe", r#"{"key":"one"}"#).map_err(|e| json(&e))?;
    let page = client.call("chat.history", r#"{"sessionKey":"one"}"#).map_err(|e| json(&e))?;
    let said = items(&page, "messages").iter().map(|message| text(message, "content.0.text")).collect();
    Ok((text(&row, "session.label"), said))
}

/// What is to be seen after so many changes.
fn after(changes: usize) -> (String, Vec<String>) {
    let (label, said): (&str, &[&str]) = [
        ("", &[][..]),
        ("First", &[]),
        ("First", &["said 1"]),
        ("First", &["said 1", "said 2"]),
        ("Second", &["said 1", "said 2"]),
        ("Second", &["Reset"]),
        ("", &[]),
    ][changes];
    (label.into(), said.iter().map(|text| (*text).to_owned()).collect())
}

/// Starts a gateway on what the power cut left, and says what of `acks` changes is not there.
fn loss(tree: &Tree, acks: u32) -> Option<String> {
    let home = Home::fix();
    let agents = home.store().join("agents");
    fs::create_dir_all(&agents).unwrap();
    tree.build(&agents);
    let server = home.start();
    let mut client = server.admin();
    let found = match seen(&mut client) {
        Ok(found) => found,
        Err(e) => return Some(e),
    };
    // The change that was under way may be there whole, or its entry without its row, or not at all.
    let (acks, next) = (acks as usize, (acks as usize + 1).min(STEPS.len()));
    let (before, then) = (after(acks), after(next));
    let fits = [&before, &then].iter().any(|(label, _)| *label == found.0)
        && [&before, &then].iter().any(|(_, said)| *said == found.1);
    if !fits {
        return Some(format!("{found:?} after {acks} changes"));
    }
    let on = client.call("sessions.create", r#"{"key":"one"}"#);
    let on = on.and_then(|_| client.call("chat.inject", r#"{"sessionKey":"one","message":"on"}"#));
    match on {
        Err(e) => Some(format!("no further change: {}", json(&e))),
        Ok(_) => match seen(&mut client) {
            Ok((_, said)) if said.last().is_some_and(|last| last == "on") => None,
            other => Some(format!("what was added is not there: {other:?}")),
        },
    }
}

/// Records what a gateway does to the files of its sessions while a client does `work`.
pub fn recorded(home: &Home, work: impl FnOnce(&Server)) -> Run {
    let agents = home.store().join("agents");
    fs::create_dir_all(&agents).unwrap();
    let server = home.start();
    let log = home.dir.join("calls");
    let mut strace = Command::new("strace")
        .args(["-f", "-xx", "-s", "1000000", "-p", &server.pid().to_string(), "-o"])
        .arg(&log)
        .args([
            "-e",
            "trace=open,openat,close,mkdir,fsync,fdatasync,ftruncate,write,pwrite64,unlink,rename,sendto",
        ])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It stays open: strace has a line for each new thread.
    let mut stderr = BufReader::new(strace.stderr.take().unwrap());
    assert!(stderr.by_ref().lines().any(|line| line.unwrap().contains("attached")));
    work(&server);
    signal(strace.id(), "INT");
    strace.wait().unwrap();
    read(&fs::read_to_string(&log).unwrap(), &agents)
}

#[test]
fn whatever_was_not_synced_nothing_acknowledged_is_lost() {
    let run = recorded(&Home::fix(), |server| {
        let mut client = server.admin();
        STEPS.iter().for_each(|(method, params)| _ = client.ok(method, params));
        assert!(get(&client.ok("status", "{}"), "barnacle").is_some());
    });
    let acknowledged = run.steps.iter().filter(|(step, _)| matches!(step, Step::Ack)).count();
    // The hello before them, and the status after.
    assert_eq!(acknowledged, STEPS.len() + 2);
    let check = |tree: &Tree, acks: u32| match acks.checked_sub(1) {
        Some(acks) if acks as usize <= STEPS.len() => loss(tree, acks),
        _ => None,
    };
    let (trees, lost) = first_loss(&run, check);
    println!("{} steps, {trees} trees", run.steps.len());
    assert_eq!(lost, None);
    assert!(trees > 40, "only {trees} trees from {} steps", run.steps.len());

    // The same run without its syncs does lose something: the model can tell.
    let without = |left_out| first_loss(&run.without(left_out), check).1;
    assert!(without(|step| matches!(step, Step::Sync { directory: false, .. })).is_some());
    assert!(without(|step| matches!(step, Step::Sync { directory: true, .. })).is_some());
}
