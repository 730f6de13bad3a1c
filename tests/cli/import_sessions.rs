//! Import of sessions: from the files of 2026.2, torn, aliased and foreign ones among them, and from a running gateway.

use crate::wire::{Home, Server, get, items, number, text};
use miniserde::json::Value;
use std::{collections::BTreeMap, fs, os::unix::process::ExitStatusExt, path::Path};

const MAIN: &str = "11111111-1111-4111-8111-111111111111";
const TREE: &str = "22222222-2222-4222-8222-222222222222";
const TORN: &str = "33333333-3333-4333-8333-333333333333";

/// Every file below `dir`.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.insert(path.display().to_string(), fs::read(&path).unwrap());
        }
    }
    all
}

fn header(id: &str) -> String {
    format!(
        r#"{{"type":"session","version":3,"id":"{id}","timestamp":"2026-02-17T10:00:00.000Z","cwd":"/home/x"}}"#
    )
}

fn said(id: &str, parent: Option<&str>, role: &str, words: &str) -> String {
    let parent = parent.map_or("null".into(), |parent| format!("\"{parent}\""));
    format!(
        r#"{{"type":"message","id":"{id}","parentId":{parent},"timestamp":"2026-02-17T10:00:01.000Z","message":{{"role":"{role}","content":[{{"type":"text","text":"{words}"}}]}}}}"#
    )
}

/// A state directory of 2026.2 with sessions of all sorts.
fn old(home: &Home) -> std::path::PathBuf {
    let dir = home.dir.join("old");
    let sessions = dir.join("agents/main/sessions");
    fs::create_dir_all(&sessions).unwrap();
    let write = |name: &str, lines: &[String]| fs::write(sessions.join(name), lines.join("\n")).unwrap();
    let model =
        r#"{"type":"model_change","id":"m1","parentId":null,"provider":"x","modelId":"y"}"#.to_owned();
    write(
        &format!("{MAIN}.jsonl"),
        &[
            header(MAIN),
            model,
            said("a1", Some("m1"), "user", "hello"),
            said("a2", Some("a1"), "assistant", "hi there"),
            r#"{"type":"compaction","id":"c1","parentId":"a2","timestamp":"2026-02-17T10:00:02.000Z","summary":"they met","firstKeptEntryId":"a2","tokensBefore":9}"#.into(),
            said("a3", Some("c1"), "user", "and on"),
            String::new(),
        ],
    );
    // Two branches: the one that the last entry ends counts. A damaged line in it costs itself.
    write(
        &format!("{TREE}.jsonl"),
        &[
            header(TREE),
            said("b1", None, "user", "root"),
            said("b2", Some("b1"), "assistant", "given up"),
            said("b3", Some("b1"), "assistant", "kept"),
            r#"{"type":"message","id":"b4","parentId":"b3","message":{"role""#.into(),
            said("b5", Some("b4"), "user", "after the damage"),
            String::new(),
        ],
    );
    // Cut in the middle of the last line.
    let last = said("t2", Some("t1"), "assistant", "never whole");
    write(&format!("{TORN}.jsonl"), &[header(TORN), said("t1", None, "user", "whole"), last[..40].into()]);
    let outside = home.dir.join("outside.jsonl");
    fs::write(&outside, said("x", None, "user", "secret")).unwrap();
    std::os::unix::fs::symlink(&outside, sessions.join("link.jsonl")).unwrap();
    let record =
        |id: &str, updated: u64, more: &str| format!(r#"{{"sessionId":"{id}","updatedAt":{updated}{more}}}"#);
    let store = [
        ("agent:main:main", record(MAIN, 1_771_322_400_000, "")),
        ("main", record(TREE, 1, "")),
        ("agent:main:tree", record(TREE, 1_771_322_300_000, r#","label":"A tree","modelOverride":"x""#)),
        // Another name for the same transcript.
        ("agent:main:alias", record(TREE, 1_771_322_200_000, "")),
        (
            "agent:main:discord:channel:7",
            record(
                "not-a-uuid",
                5,
                &format!(r#","subject":"Team","sessionFile":"/elsewhere/sessions/{TORN}.jsonl""#),
            ),
        ),
        ("agent:main:link", record("x", 5, r#","sessionFile":"link.jsonl""#)),
        ("agent:main:out", record("x", 5, r#","sessionFile":"/etc/passwd.jsonl""#)),
        ("agent:main:gone", record("44444444-4444-4444-8444-444444444444", 5, "")),
        ("agent:main:none", "{}".into()),
    ];
    let store = store.map(|(key, record)| format!("\"{key}\":{record}"));
    fs::write(sessions.join("sessions.json"), format!("{{{}}}", store.join(","))).unwrap();
    // The store of another agent was torn.
    fs::create_dir_all(dir.join("agents/work/sessions")).unwrap();
    fs::write(dir.join("agents/work/sessions/sessions.json"), r#"{"agent:work:main":{"sess"#).unwrap();
    dir
}

/// The last member of each line of `text` that is for `key`: what is done, and why.
fn fates(out: &str) -> BTreeMap<String, String> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let (action, key) = (words.next()?, words.next()?);
        key.contains(':')
            .then(|| (key.to_owned(), format!("{action} {}", words.collect::<Vec<_>>().join(" "))))
    };
    out.lines().filter_map(line).collect()
}

fn texts(server: &Server, session: &str) -> Vec<String> {
    let page = server.admin().ok("chat.history", &format!(r#"{{"sessionKey":"{session}"}}"#));
    items(&page, "messages").iter().map(|m| text(m, "content.0.text")).collect()
}

#[test]
fn sessions_of_files_are_brought_and_brought_again() {
    let home = Home::fix();
    let from = old(&home);
    let path = from.to_str().unwrap().to_owned();
    let before = files(&from);
    let (code, out, err) = home.run(&["import", "--from", &path]);
    assert_eq!(code, 0, "{err}");
    assert!(!home.store().join("agents").exists(), "a preview writes nothing");
    assert!(err.contains("agents/work/sessions/sessions.json cannot be read"), "{err}");
    let expected = [
        ("agent:main:main", "add 3 messages"),
        ("agent:main:tree", "add 3 messages, 1 damaged lines left out"),
        ("agent:main:alias", "add 3 messages, 1 damaged lines left out"),
        ("agent:main:discord:channel:7", "add 1 messages, 1 damaged lines left out"),
        ("agent:main:link", "reject "),
        ("agent:main:out", "reject its transcript /etc/passwd.jsonl is not in"),
        ("agent:main:gone", "reject "),
        ("agent:main:none", "reject it has no session id"),
    ];
    let shown = fates(&out);
    for (key, fate) in expected {
        assert!(shown[key].starts_with(fate), "{key}: {out}");
    }
    assert!(out.contains("it is the same session as agent:main:main"), "{out}");
    let (code, out, err) = home.run(&["import", "--from", &path, "--apply"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("4 sessions imported"), "{out}");
    assert!(files(&from) == before, "nothing of the source has changed");
    let server = home.start();
    assert_eq!(texts(&server, "main"), ["hello", "hi there", "Compaction", "and on"]);
    for session in ["tree", "alias"] {
        assert_eq!(texts(&server, session), ["root", "kept", "after the damage"], "{session}");
    }
    assert_eq!(texts(&server, "discord:channel:7"), ["whole"]);
    let mut admin = server.admin();
    let row = admin.ok("sessions.describe", r#"{"key":"tree"}"#);
    assert_eq!(text(&row, "session.sessionId"), TREE);
    assert_eq!(text(&row, "session.label"), "A tree");
    assert_eq!(number(&row, "session.updatedAt"), 1_771_322_300_000);
    let alias = admin.ok("sessions.describe", r#"{"key":"alias"}"#);
    assert_ne!(text(&alias, "session.sessionId"), TREE, "each has a transcript of its own");
    // One goes on here; the other goes on there.
    admin.ok("chat.inject", r#"{"sessionKey":"main","message":"said here"}"#);
    drop(admin);
    server.stop();
    let tree = from.join(format!("agents/main/sessions/{TREE}.jsonl"));
    let longer =
        fs::read_to_string(&tree).unwrap() + &said("b6", Some("b5"), "assistant", "said there") + "\n";
    fs::write(&tree, longer).unwrap();
    let store = from.join("agents/main/sessions/sessions.json");
    let newer = fs::read_to_string(&store).unwrap().replace("1771322300000", "1771322300001");
    fs::write(&store, newer.replace("1771322400000", "1771322400009")).unwrap();
    let (_, out, _) = home.run(&["import", "--from", &path, "--apply"]);
    let shown = fates(&out);
    assert_eq!(shown["agent:main:main"], "keep it went on here");
    assert_eq!(shown["agent:main:alias"], "keep it is here");
    assert!(shown["agent:main:tree"].starts_with("update 4 messages"), "{out}");
    let server = home.start();
    assert_eq!(texts(&server, "tree").last().unwrap(), "said there");
    assert_eq!(texts(&server, "main").last().unwrap(), "said here");
}

#[test]
fn g23_an_import_that_is_cut_anywhere_is_done_again() {
    let home = Home::fix();
    let from = old(&home);
    let path = from.to_str().unwrap().to_owned();
    let before = files(&from);
    let mut cuts = 0;
    for call in ["openat", "write", "pwrite64", "rename", "fsync", "fdatasync", "ftruncate", "mkdir"] {
        // Most files are opened before the first that is written.
        let step = if call == "openat" { 5 } else { 1 };
        for n in (1..).step_by(step) {
            let _ = fs::remove_dir_all(home.store().join("agents"));
            let mut command = home.program("strace");
            command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e"]);
            command.arg(format!("inject={call}:signal=SIGKILL:when={n}"));
            command.args([env!("CARGO_BIN_EXE_barnacle"), "import", "--from", &path, "--apply"]);
            let out = command.output().unwrap();
            if out.status.success() {
                break;
            }
            let killed = out.status.signal() == Some(9) || out.status.code() == Some(137);
            assert!(killed, "{:?}: {}", out.status, String::from_utf8_lossy(&out.stderr));
            cuts += 1;
            assert!(files(&from) == before, "{call} {n}");
            // Whatever is left is no hindrance, and the same again makes it whole.
            let (code, out, err) = home.run(&["import", "--from", &path, "--apply"]);
            assert_eq!(code, 0, "{call} {n}: {out}{err}");
            let shown = fates(&home.run(&["import", "--from", &path]).1);
            for key in
                ["agent:main:main", "agent:main:tree", "agent:main:alias", "agent:main:discord:channel:7"]
            {
                assert_eq!(shown[key], "keep it is here", "{call} {n}");
            }
        }
    }
    assert!(cuts > 20, "{cuts} cuts");
    let server = home.start();
    assert_eq!(texts(&server, "main"), ["hello", "hi there", "Compaction", "and on"]);
    assert_eq!(texts(&server, "alias"), ["root", "kept", "after the damage"]);
    assert!(!server.log().contains("damaged"), "{}", server.log());
}

#[test]
fn sessions_of_a_running_gateway_are_asked_for() {
    let there = Home::fix();
    let server = there.start();
    let mut admin = server.admin();
    for session in ["long", "main"] {
        admin.ok("sessions.create", &format!(r#"{{"key":"{session}"}}"#));
    }
    for n in 0..450 {
        admin.ok("chat.inject", &format!(r#"{{"sessionKey":"long","message":"said {n}"}}"#));
    }
    admin.ok("chat.inject", r#"{"sessionKey":"main","message":"short"}"#);
    let here = Home::fix();
    let url = server.url();
    let from = ["import", "--from", &url, "--token", "T1"];
    let (code, out, err) = here.run(&from);
    assert_eq!(code, 0, "{err}");
    assert_eq!(fates(&out)["agent:main:long"], "add ");
    let (_, out, err) = here.run(&[&from[..], &["--apply"]].concat());
    assert_eq!(fates(&out)["agent:main:long"], "add 450 messages", "{err}");
    let again = here.run(&[&from[..], &["--apply", "--json"]].concat()).1;
    let again: Value = miniserde::json::from_str(&again).unwrap();
    let actions: Vec<String> = items(&again, "sessions").iter().map(|line| text(line, "action")).collect();
    assert_eq!(actions, ["keep", "keep"]);
    let brought = here.start();
    let page = brought.admin().ok("chat.history", r#"{"sessionKey":"long","limit":1000}"#);
    let said: Vec<String> = items(&page, "messages").iter().map(|m| text(m, "content.0.text")).collect();
    assert_eq!(said, (0..450).map(|n| format!("said {n}")).collect::<Vec<_>>());
    assert!(get(&page, "messages.0.__openclaw.importedId").is_none());
}
