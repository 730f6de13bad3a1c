//! The process is killed, at any moment and at every system call of a change: what was acknowledged is there.

use crate::wire::{Client, Home, Strace, flag, items, json, number, text};
use std::{
    collections::BTreeSet,
    fs,
    sync::atomic::{AtomicBool, Ordering},
};

/// Texts of a session's history, the oldest first.
fn said(client: &mut Client, key: &str) -> Vec<String> {
    let page = client.ok("chat.history", &format!(r#"{{"sessionKey":"{key}","limit":1000}}"#));
    items(&page, "messages").iter().map(|message| text(message, "content.0.text")).collect()
}

/// Does a few changes, one after the other; which were acknowledged, up to the end of the gateway.
fn changes(client: &mut Client) -> Vec<&'static str> {
    let steps = [
        ("sessions.create", r#"{"key":"one","label":"First"}"#),
        ("chat.inject", r#"{"sessionKey":"one","message":"said 1"}"#),
        ("chat.inject", r#"{"sessionKey":"one","message":"said 2"}"#),
        ("sessions.patch", r#"{"key":"one","label":"Second"}"#),
        ("sessions.create", r#"{"key":"two"}"#),
        ("sessions.delete", r#"{"key":"two"}"#),
    ];
    let mut done = Vec::new();
    for (method, params) in steps {
        let id = client.ask(method, params);
        loop {
            match client.frame() {
                Err(_) => return done,
                Ok(frame) if text(&frame, "id") == id => {
                    break assert!(flag(&frame, "ok"), "{}", json(&frame));
                }
                Ok(_) => {}
            }
        }
        done.push(params);
    }
    done
}

#[test]
fn killed_at_every_call_of_a_change_nothing_acknowledged_is_lost() {
    let mut kills = 0;
    for call in ["pwrite64", "fdatasync", "fsync", "open", "mkdir", "unlink", "ftruncate"] {
        for n in 1.. {
            let home = Home::fix();
            let mut server = home.start();
            let mut client = server.admin();
            let (trace, inject) = (format!("trace={call}"), format!("inject={call}:signal=SIGKILL:when={n}"));
            let strace = Strace::attach(server.pid(), &["-e", &trace, "-e", &inject]);
            let done = changes(&mut client);
            drop(strace);
            if done.len() == 6 {
                // Each call was killed at once, the last one of its kind before this.
                break;
            }
            server.child.wait().unwrap();
            drop(server);
            kills += 1;
            let server = home.start();
            let mut client = server.admin();
            let at = format!("killed at {call} number {n}, {} acknowledged", done.len());
            let row = client.ok("sessions.describe", r#"{"key":"one"}"#);
            let label = text(&row, "session.label");
            let labels = ["", "First", "First", "First", "Second", "Second", "Second"];
            // What was asked for may have happened, acknowledged or not.
            assert!([labels[done.len()], labels[done.len() + 1]].contains(&&*label), "{at}: {label:?}");
            let said = said(&mut client, "one");
            let (least, most) = (done.len().saturating_sub(1).min(2), done.len().min(2));
            assert!((least..=most).contains(&said.len()), "{at}: {said:?}");
            assert_eq!(said, ["said 1", "said 2"][..said.len()], "{at}");
            let two = client.ok("sessions.list", r#"{"search":"two"}"#);
            if matches!(done.len(), 5) {
                assert!(number(&two, "totalCount") <= 1, "{at}");
            } else if done.len() < 4 {
                assert_eq!(number(&two, "totalCount"), 0, "{at}");
            }
            // And it goes on.
            client.ok("sessions.create", r#"{"key":"one"}"#);
            client.ok("chat.inject", r#"{"sessionKey":"one","message":"on"}"#);
        }
    }
    println!("killed {kills} times");
    assert!(kills >= 12, "only {kills} kills: the calls of a change are not among them");
}

#[test]
fn killed_under_load_every_acknowledged_message_is_there_once_and_in_order() {
    let home = Home::fix();
    // Round and number of each, in the order in which they were sent; the answers may come in another.
    let mut acknowledged: Vec<BTreeSet<(u32, usize)>> = vec![BTreeSet::new(); 4];
    for round in 0..6 {
        let server = home.start();
        let mut clients: Vec<Client> = (0..4).map(|_| server.admin()).collect();
        for (n, client) in clients.iter_mut().enumerate() {
            client.ok("sessions.create", &format!(r#"{{"key":"s{n}"}}"#));
            // All at once: they are written in groups.
            for message in 0..20 {
                let said = format!("{round}-{message}");
                client.ask("chat.inject", &format!(r#"{{"sessionKey":"s{n}","message":"{said}"}}"#));
            }
        }
        // Another one each round is heard of so many before the kill, and what the others were told is read after it.
        let (first, heard) = (round as usize % 4, 3 * round + 1);
        let note =
            |n: usize, frame: &miniserde::json::Value, acknowledged: &mut Vec<BTreeSet<(u32, usize)>>| {
                let number: usize = text(frame, "id")[1..].parse().unwrap();
                assert!(flag(frame, "ok"), "{}", json(frame));
                acknowledged[n].insert((round, number - 2));
            };
        let mut count = 0;
        while count < heard {
            let frame = clients[first].frame().unwrap();
            if text(&frame, "type") == "res" {
                note(first, &frame, &mut acknowledged);
                count += 1;
            }
        }
        server.kill();
        for (n, client) in clients.iter_mut().enumerate() {
            while let Ok(frame) = client.frame() {
                if text(&frame, "type") == "res" {
                    note(n, &frame, &mut acknowledged);
                }
            }
        }
    }
    let server = home.start();
    let mut client = server.admin();
    for (n, acknowledged) in acknowledged.iter().enumerate() {
        let said = said(&mut client, &format!("s{n}"));
        let once: BTreeSet<&String> = said.iter().collect();
        assert_eq!(once.len(), said.len(), "twice in s{n}: {said:?}");
        let acknowledged: Vec<String> =
            acknowledged.iter().map(|(round, n)| format!("{round}-{n}")).collect();
        let there: Vec<&String> = said.iter().filter(|text| acknowledged.contains(text)).collect();
        assert_eq!(there, acknowledged.iter().collect::<Vec<_>>(), "s{n}");
    }
}

#[test]
fn a_torn_end_is_cut_off_and_said() {
    let home = Home::fix();
    let server = home.start();
    let mut client = server.admin();
    let made = client.ok("sessions.create", r#"{"key":"one","label":"First"}"#);
    client.ok("chat.inject", r#"{"sessionKey":"one","message":"said 1"}"#);
    drop(client);
    server.stop();
    let agents = home.store().join("agents");
    let transcript = agents.join(format!("main/sessions/{}.jsonl", text(&made, "sessionId")));
    let tear = |path: &std::path::Path, with: &[u8]| {
        let mut bytes = fs::read(path).unwrap();
        bytes.extend_from_slice(with);
        fs::write(path, bytes).unwrap();
    };
    tear(&transcript, br#"{"type":"message","id":"x","message":{"role":"user","content":"never ackn"#);
    tear(&agents.join("sessions.log"), &[0; 4096]);
    let server = home.start();
    server.wait_log(&["sessions.log: its last 4096 bytes are no whole line"]);
    let mut client = server.admin();
    let status = client.ok("status", "{}");
    assert!(json(&status).contains("a change that was never acknowledged, left out"), "{}", json(&status));
    assert_eq!(said(&mut client, "one"), ["said 1"]);
    client.ok("chat.inject", r#"{"sessionKey":"one","message":"said 2"}"#);
    server.wait_log(&["no whole entry: one that was never acknowledged; cut off"]);
    client.ok("sessions.patch", r#"{"key":"one","label":"Second"}"#);
    drop(client);
    server.kill();
    let server = home.start();
    let mut client = server.admin();
    assert_eq!(said(&mut client, "one"), ["said 1", "said 2"]);
    assert_eq!(text(&client.ok("sessions.describe", r#"{"key":"one"}"#), "session.label"), "Second");
    assert!(!fs::read(&transcript).unwrap().windows(10).any(|part| part == b"never ackn"));
    // A damaged line elsewhere costs itself alone, and stays.
    drop(client);
    server.stop();
    let text = fs::read_to_string(&transcript).unwrap().replace("said 1", "said 9");
    fs::write(&transcript, &text).unwrap();
    let server = home.start();
    let mut client = server.admin();
    assert_eq!(said(&mut client, "one"), ["said 2"]);
    client.ok("chat.inject", r#"{"sessionKey":"one","message":"said 3"}"#);
    assert_eq!(said(&mut client, "one"), ["said 2", "said 3"]);
    assert!(fs::read_to_string(&transcript).unwrap().starts_with(&text));
}

#[test]
fn what_a_later_version_wrote_is_left_alone() {
    let home = Home::fix();
    let log = home.store().join("agents/sessions.log");
    fs::create_dir_all(log.parent().unwrap()).unwrap();
    fs::write(&log, "{\"log\":\"sessions\",\"format\":2}\n").unwrap();
    let server = home.start();
    let mut client = server.admin();
    for (method, params) in [("sessions.list", "{}"), ("sessions.create", r#"{"key":"one"}"#)] {
        let refused = client.err(method, params);
        assert!(text(&refused, "message").contains("format 2 is newer"), "{}", json(&refused));
        assert!(flag(&refused, "retryable"));
    }
    client.ok("health", "{}");
    assert_eq!(fs::read_to_string(&log).unwrap(), "{\"log\":\"sessions\",\"format\":2}\n");
}

#[test]
fn g24_the_command_line_reads_sessions_while_they_are_written() {
    let home = Home::fix();
    let server = home.start();
    let mut client = server.admin();
    for key in ["one", "two"] {
        client.ok("sessions.create", &format!(r#"{{"key":"{key}"}}"#));
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut times = 0;
            while !done.load(Ordering::SeqCst) || times < 3 {
                let (code, out, err) = home.run(&["sessions", "list"]);
                assert!(code == 0 && out.contains("agent:main:one"), "{code}: {out}{err}");
                times += 1;
            }
            times
        });
        for n in 0..300 {
            let key = ["one", "two"][n % 2];
            client.ok("chat.inject", &format!(r#"{{"sessionKey":"{key}","message":"{n}"}}"#));
        }
        done.store(true, Ordering::SeqCst);
        println!("read {} times", reader.join().unwrap());
    });
    assert_eq!((said(&mut client, "one").len(), said(&mut client, "two").len()), (150, 150));
    drop(client);
    server.kill();
    let server = home.start();
    assert_eq!(said(&mut server.admin(), "two").len(), 150);
    assert!(!server.log().contains("damaged"), "{}", server.log());
}
