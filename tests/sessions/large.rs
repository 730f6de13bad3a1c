//! Many sessions, and one that is long: memory stays small, and the last messages are there at once.

use crate::{
    runs::{gateway, until_end},
    wire::{Client, Home, flag, items, json, number, text},
};
use std::{
    fs::{self, File},
    io::{BufWriter, Write},
};

/// Memory of the gateway that is its own, KiB.
fn resident(client: &mut Client) -> u64 {
    number(&client.ok("status", "{}"), "barnacle.residentKb")
}

fn id(n: usize) -> String {
    format!("{n:08x}-0000-4000-8000-000000000000")
}

#[test]
fn ten_thousand_sessions() {
    let home = Home::empty();
    home.config(&format!(
        "{{gateway:{{mode:\"local\",bind:\"loopback\",port:{},auth:{{mode:\"token\",token:\"T1\"}}}},\
         session:{{maintenance:{{maxEntries:20000}}}}}}",
        home.port
    ));
    let server = home.start();
    let mut client = server.admin();
    client.ok("sessions.create", r#"{"key":"one"}"#);
    client.ok("sessions.list", "{}");
    let before = resident(&mut client);
    drop(client);
    server.stop();
    let agents = home.store().join("agents");
    let mut log = BufWriter::new(File::create(agents.join("sessions.log")).unwrap());
    for n in 0..10_000 {
        let (id, at) = (id(n), 1_796_000_000_000 + n);
        writeln!(log, r#"{{"key":"agent:main:dashboard:{id}","id":"{id}","created":{at},"updated":{at},"started":{at}}}"#).unwrap();
    }
    log.into_inner().unwrap().sync_all().unwrap();
    let server = home.start();
    let mut client = server.admin();
    let list = client.ok("sessions.list", "{}");
    assert_eq!((number(&list, "totalCount"), items(&list, "sessions").len()), (10_000, 100));
    let after = resident(&mut client);
    println!("{before} KiB without, {after} KiB with 10,000 sessions");
    assert!(after < before + 4096, "{before} KiB without, {after} KiB with 10,000 sessions");
    let (mut offset, mut seen) = (0, 0);
    loop {
        let page = client.ok("sessions.list", &format!(r#"{{"limit":1000,"offset":{offset}}}"#));
        seen += items(&page, "sessions").len();
        if !flag(&page, "hasMore") {
            break;
        }
        offset = number(&page, "nextOffset");
    }
    assert_eq!(seen, 10_000);
    let key = format!("agent:main:dashboard:{}", id(9));
    client.ok("sessions.patch", &format!(r#"{{"key":"{key}","label":"The tenth"}}"#));
    assert_eq!(text(&client.ok("sessions.list", r#"{"limit":1}"#), "sessions.0.label"), "The tenth");
    assert_eq!(text(&client.ok("sessions.resolve", r#"{"label":"The tenth"}"#), "key"), key);
}

#[test]
fn a_transcript_of_a_hundred_megabytes() {
    let (_model, home, server) = gateway();
    let mut client = server.admin();
    let made = client.ok("sessions.create", r#"{"key":"one"}"#);
    client.ok("chat.history", r#"{"sessionKey":"one"}"#);
    let before = resident(&mut client);
    let path = home.store().join(format!("agents/main/sessions/{}.jsonl", text(&made, "sessionId")));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = BufWriter::new(File::create(&path).unwrap());
    writeln!(file, r#"{{"type":"session","version":1,"id":"{}"}}"#, text(&made, "sessionId")).unwrap();
    let filler = "x".repeat(4000);
    const COUNT: usize = 25_000;
    for n in 1..=COUNT {
        writeln!(
            file,
            r#"{{"type":"message","id":"{}","seq":{n},"shown":{n},"since":0,"message":{{"role":"user","timestamp":1700000000000,"content":"{n} {filler}"}}}}"#,
            id(n)
        )
        .unwrap();
    }
    file.into_inner().unwrap().sync_all().unwrap();
    assert!(fs::metadata(&path).unwrap().len() > 100_000_000);
    let page = |client: &mut Client, more: &str| {
        let page =
            client.ok("chat.history", &format!(r#"{{"sessionKey":"one","limit":50,"maxChars":20{more}}}"#));
        assert_eq!(number(&page, "totalMessages") as usize, COUNT);
        let first = items(&page, "messages").iter().map(|m| text(m, "content")).next();
        first
            .unwrap_or_else(|| panic!("{}", json(&page)))
            .split(' ')
            .next()
            .unwrap()
            .parse::<usize>()
            .unwrap()
    };
    assert_eq!(page(&mut client, ""), COUNT - 49);
    // Wherever it is, it is found without reading what lies between.
    for offset in [1, 50, 5000, 12_345, 24_000, 24_950] {
        assert_eq!(
            page(&mut client, &format!(r#","offset":{offset}"#)),
            COUNT - 49 - offset,
            "offset {offset}"
        );
    }
    let middle =
        client.ok("chat.message.get", &format!(r#"{{"sessionKey":"one","messageId":"{}"}}"#, id(777)));
    assert!(text(&middle, "message.content").starts_with("777 "));
    let io = fs::read_to_string(format!("/proc/{}/io", server.pid())).unwrap();
    let read: u64 = io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap();
    assert!(read < 32 << 20, "{read} bytes read for nine pages");
    client.ok("chat.inject", r#"{"sessionKey":"one","message":"the last"}"#);
    let last = client.ok("chat.history", r#"{"sessionKey":"one","limit":1}"#);
    assert_eq!(
        (text(&last, "messages.0.content.0.text"), number(&last, "totalMessages")),
        ("the last".into(), 25_001)
    );
    // A message to it is accepted without reading all of it, and answered.
    let io = || fs::read_to_string(format!("/proc/{}/io", server.pid())).unwrap();
    let read_so_far =
        || -> u64 { io().lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap() };
    let read_before = read_so_far();
    client.ok("chat.send", r#"{"sessionKey":"one","message":"say yes","idempotencyKey":"K1"}"#);
    assert_eq!(until_end(&mut client, "K1").pop().unwrap().0, "final");
    let read_for_it = read_so_far() - read_before;
    assert!(read_for_it < 8 << 20, "{read_for_it} bytes read for a message");
    let after = resident(&mut client);
    println!("{before} KiB before, {after} KiB after, {read} bytes read");
    assert!(after < before + 3072, "{before} KiB before, {after} KiB after");
}
