//! Transcripts that are damaged, or that another program wrote: what is spoiled costs itself, and people go on talking.

use crate::{
    model::Model,
    runs::{gateway, said, send, until_end},
    wire::{Home, Server, flag, items, json, text},
};
use miniserde::json::Value;
use std::{fs, path::PathBuf, process::Command};

/// A gateway that has talked with tools; ended, with the transcript of that.
fn talked() -> (Model, Home, PathBuf) {
    let (model, home, server) = gateway();
    let mut client = server.admin();
    for (n, message) in ["say one", "calls sessions_list {}", "tell two"].iter().enumerate() {
        send(&mut client, message, &format!("K{n}")).unwrap();
        until_end(&mut client, &format!("K{n}"));
    }
    let row = client.ok("sessions.describe", r#"{"key":"main"}"#);
    let path = home.store().join(format!("agents/main/sessions/{}.jsonl", text(&row, "session.sessionId")));
    drop(client);
    server.stop();
    (model, home, path)
}

/// Says something, and expects the model to be asked what every server accepts.
#[track_caller]
fn goes_on(server: &Server, model: &Model, at: &str) {
    let mut client = server.admin();
    client.ok("chat.history", r#"{"sessionKey":"main"}"#);
    send(&mut client, "say on", "K9").unwrap_or_else(|e| panic!("{at}: {}", json(&e)));
    assert_eq!(until_end(&mut client, "K9").pop().unwrap().0, "final", "{at}");
    assert_eq!(said(&mut client).last().unwrap().1, "on", "{at}");
    let body: Value = miniserde::json::from_str(model.asked().last().unwrap()).unwrap();
    let mut open: Vec<String> = Vec::new();
    for message in items(&body, "messages") {
        match &*text(message, "role") {
            "tool" => {
                let id = text(message, "tool_call_id");
                assert!(open.contains(&id), "{at}: a result without its call: {}", json(&body));
                open.retain(|other| *other != id);
            }
            _ => {
                assert!(open.is_empty(), "{at}: a call without its result: {}", json(&body));
                open.extend(items(message, "tool_calls").iter().map(|call| text(call, "id")));
            }
        }
    }
    assert!(open.is_empty(), "{at}");
}

#[test]
fn a_line_that_is_flipped_torn_or_doubled_costs_itself() {
    let (model, home, path) = talked();
    let row_log = home.store().join("agents/sessions.log");
    let (whole, rows) = (fs::read(&path).unwrap(), fs::read(&row_log).unwrap());
    let mut begin = 0;
    for line in whole.split_inclusive(|byte| *byte == b'\n') {
        let (middle, end) = (begin + line.len() / 2, begin + line.len());
        let mut flipped = whole.clone();
        flipped[middle] ^= 1;
        let mut doubled = whole[..end].to_vec();
        doubled.extend_from_slice(&whole[begin..]);
        let zeros = [&whole[..middle], &vec![0; line.len()], &whole[end..]].concat();
        for (what, bytes) in
            [("flipped", &flipped[..]), ("torn", &whole[..middle]), ("doubled", &doubled), ("zeros", &zeros)]
        {
            fs::write(&path, bytes).unwrap();
            fs::write(&row_log, &rows).unwrap();
            goes_on(&home.start(), &model, &format!("{what} at {begin}"));
            // What is damaged is there still, and what was torn off is not.
            let after = fs::read(&path).unwrap();
            let is_torn = what == "torn" || (what == "zeros" && end == whole.len());
            let kept = if is_torn { begin } else { bytes.len() };
            assert!(after[..kept] == bytes[..kept], "{what} at {begin}");
        }
        begin = end;
    }
}

#[test]
fn what_is_no_transcript_of_ours_is_read_as_far_as_it_can_be() {
    let (model, home, path) = talked();
    let row_log = home.store().join("agents/sessions.log");
    let rows = fs::read(&row_log).unwrap();
    let message = r#"{"type":"message","id":"a","message":{"role":"user","content":"foreign"}}"#;
    let call = r#"{"type":"message","message":{"role":"assistant","content":[{"type":"toolCall","id":"c","name":"x","arguments":7}]}}"#;
    let texts: [(&str, Vec<u8>); 8] = [
        ("empty", Vec::new()),
        ("garbage", (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()),
        ("zeros", vec![0; 70_000]),
        ("another program's", format!("{message}\n{call}\n{message}").into_bytes()),
        ("with other line ends", format!("{message}\r\n{message}\r\n").into_bytes()),
        ("JSON of other shapes", b"[]\n7\n{\"type\":7,\"seq\":\"x\"}\n{\"message\":[]}\n".to_vec()),
        ("deep", format!("{}{}\n", "[".repeat(100_000), "]".repeat(100_000)).into_bytes()),
        ("one long line", [&b"{\"a\":\""[..], &vec![b'x'; 9 << 20]].concat()),
    ];
    for (what, bytes) in texts {
        fs::write(&path, bytes).unwrap();
        fs::write(&row_log, &rows).unwrap();
        goes_on(&home.start(), &model, what);
    }
    // What is no file is refused in words, at once, and other sessions know nothing of it.
    for make in ["mkdir", "mkfifo"] {
        let _ = fs::remove_file(&path);
        assert!(Command::new(make).arg(&path).status().unwrap().success());
        fs::write(&row_log, &rows).unwrap();
        let server = home.start();
        let mut client = server.admin();
        let refused = send(&mut client, "say on", "K9").unwrap_err();
        assert!(text(&refused, "message").contains(&*path.to_string_lossy()), "{}", json(&refused));
        client.ok("sessions.create", r#"{"key":"other"}"#);
        let sent = r#"{"sessionKey":"other","message":"say on","idempotencyKey":"K10"}"#;
        assert_eq!(text(&client.ok("chat.send", sent), "status"), "started");
        until_end(&mut client, "K10");
        assert!(flag(&client.ok("health", "{}"), "ok"));
        server.kill();
        let _ = fs::remove_dir(&path);
    }
}
