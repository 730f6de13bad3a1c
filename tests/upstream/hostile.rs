//! A gateway behind that misbehaves in every way: each client keeps its connection, and `health` is answered meanwhile.

use crate::{
    stand_in::{Link, Manner, StandIn, frame, greeting_bytes, hello, upstream_state, waits},
    wire::{ADMIN, Client, Home, LONG, Offer, Server, get, json, list, number, text},
};
use miniserde::json::Value;
use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

/// A figure of the gateway's memory, kB.
fn memory(server: &Server, key: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Whatever answers to connect or attach is wrong in these ways.
fn wrong() -> Vec<(&'static str, Manner)> {
    let replaced = |from: &str, to: &str| {
        let said = hello(1, 0).replace(from, to);
        assert_ne!(said, hello(1, 0), "{from}");
        Manner::Hello(said)
    };
    vec![
        ("silent upgrade", Manner::SilentUpgrade),
        ("silent connect", Manner::SilentConnect),
        ("no HTTP", Manner::Http("hello there\r\n\r\n")),
        ("half a head", Manner::Http("HTTP/1.1 101 Swi")),
        ("a page", Manner::Http("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage")),
        (
            "a redirect",
            Manner::Http("HTTP/1.1 302 Found\r\nLocation: ws://10.0.0.1/\r\nContent-Length: 0\r\n\r\n"),
        ),
        (
            "a wrong key",
            Manner::Http(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n",
            ),
        ),
        ("closed at once", Manner::Cut(0)),
        ("another protocol", replaced(r#""protocol":4"#, r#""protocol":3"#)),
        ("no boot id", replaced(r#""server":{"#, r#""servers":{"#)),
        ("no object", Manner::Hello("[1,2]".into())),
        ("null", Manner::Hello("null".into())),
        (
            "2 MB of hello-ok",
            replaced(
                r#""authMode":"token""#,
                &format!(r#""authMode":"token","x":"{}""#, "x".repeat(2 << 20)),
            ),
        ),
        (
            "the token refused",
            Manner::Refuse(
                r#"{"code":"INVALID_REQUEST","message":"unauthorized: gateway token mismatch","details":{"code":"AUTH_TOKEN_MISMATCH"}}"#,
            ),
        ),
        ("refused without a reason", Manner::Refuse("7")),
        (
            "starting for ever",
            Manner::Refuse(
                r#"{"code":"UNAVAILABLE","message":"starting","retryable":true,"details":{"reason":"startup-sidecars"}}"#,
            ),
        ),
    ]
}

/// Attached, and then it sends what breaks the protocol.
fn broken() -> Vec<(&'static str, Vec<u8>)> {
    let masked = |bytes: &mut Vec<u8>| bytes[1] |= 0x80;
    let mut mask = frame(0x81, br#"{"type":"event","event":"chat","payload":{}}"#);
    masked(&mut mask);
    mask.splice(2..2, [0; 4]);
    let fragments = || {
        let mut bytes = frame(0x01, &[b' '; 1 << 20]);
        (0..29).for_each(|_| bytes.extend(frame(0x00, &[b' '; 1 << 20])));
        bytes
    };
    vec![
        ("a masked frame", mask),
        ("a reserved bit", frame(0xc1, b"{}")),
        ("an unknown opcode", frame(0x83, b"{}")),
        ("a continuation of nothing", frame(0x80, b"{}")),
        ("no UTF-8", frame(0x81, &[0xff, 0xfe])),
        ("a long ping", frame(0x89, &[7; 300])),
        ("a length of 2^62", [&[0x81, 127][..], &(1u64 << 62).to_be_bytes()].concat()),
        ("30 MB in one message", frame(0x81, &vec![b' '; 30 << 20])),
        ("30 MB in fragments", fragments()),
        ("a close with a reason that is no UTF-8", frame(0x88, &[3, 0xe8, 0xff])),
    ]
}

#[test]
fn wrong_from_the_start() {
    let (home, behind) = (Home::fix(), StandIn::malformed());
    waits(&home, "waitMs:300");
    let (_, first) = wrong().remove(0);
    behind.behaves(move |_, _| first.clone());
    let front = behind.front_anyhow(&home);
    let mut client = front.admin();
    for (what, manner) in wrong() {
        let before = behind.links();
        behind.behaves(move |_, _| manner.clone());
        // The one before may be waited for in silence.
        behind.end_all();
        behind.more_links_than(before);
        assert_eq!(upstream_state(&front, &mut client), "away", "{what}");
        let error = client.err("sessions.list", "{}");
        assert_eq!(text(&error, "code"), "UNAVAILABLE", "{what}: {}", json(&error));
        assert!(!error_is_of_the_secret(&error), "{what}: {}", json(&error));
        // Others attach meanwhile.
        let mut other = front.admin();
        other.ok("health", "{}");
        assert_eq!(text(&client.ok("status", "{}"), "upstream.state"), "away", "{what}");
    }
    let lines = front.log().lines().count();
    behind.behaves(|_, _| Manner::Well);
    behind.end_all();
    front.wait_new(lines, &["in front of OpenClaw", "is back"]);
    client.ok("agents.list", "{}");
}

/// Whether a client would think that its own credentials are wrong.
fn error_is_of_the_secret(error: &Value) -> bool {
    text(error, "details.code").starts_with("AUTH_")
}

#[test]
fn wrong_towards_one_client() {
    for (what, manner) in wrong() {
        let (home, behind) = (Home::fix(), StandIn::malformed());
        waits(&home, "waitMs:300");
        let front = behind.front(&home);
        let mut bystander = front.admin();
        bystander.ok("agents.list", "{}");
        let to_one = manner.clone();
        behind.behaves(move |_, head| match head.contains("Host: one\r\n") {
            true => to_one.clone(),
            false => Manner::Well,
        });
        // A node is always introduced as itself.
        let device = crate::wire::Device::new();
        let offer = Offer::node(&device, &[]).token("T1").header("Host", "one");
        behind.answers("node.event", "{}");
        let before = behind.links();
        let mut one = front.connect(&offer);
        behind.more_links_than(before);
        let error = one.err("node.event", r#"{"event":"x"}"#);
        assert_eq!(text(&error, "code"), "UNAVAILABLE", "{what}: {}", json(&error));
        assert!(!error_is_of_the_secret(&error), "{what}: {}", json(&error));
        bystander.ok("agents.list", "{}");
        assert_eq!(upstream_state(&front, &mut bystander), "connected", "{what}");
        behind.behaves(|_, _| Manner::Well);
        behind.end_all();
        // It is tried again within seconds, and each request waits 300 ms.
        let end = Instant::now() + LONG;
        while let Err(error) = one.call("node.event", r#"{"event":"x"}"#) {
            assert_eq!(text(&error, "code"), "UNAVAILABLE", "{what}: {}", json(&error));
            assert!(Instant::now() < end, "{what}: not served again");
        }
    }
}

#[test]
fn lies_about_itself() {
    for (what, from, to) in [
        ("methods no list", r#""methods":["#, r#""methods":{"a":1},"more":["#),
        (
            "methods text",
            r#""methods":["health","status","sessions.list","chat.send","cron.add"]"#,
            r#""methods":"all""#,
        ),
        ("methods numbers", r#""methods":["#, r#""methods":[1,null,{"a":[]},"#),
        ("events no list", r#""events":["#, r#""events":7,"more":["#),
        ("features text", r#""features":{"#, r#""features":"none","more":{"#),
        ("features a list", r#""features":{"#, r#""features":["methods"],"more":{"#),
        ("snapshot a list", r#""snapshot":{"#, r#""snapshot":[],"more":{"#),
        ("policy text", r#""policy":{"#, r#""policy":"x","more":{"#),
        ("a limit of nothing", "26214400", "-1"),
        ("health text", r#""health":{"ok":true,"ts":1795512524141}"#, r#""health":"well""#),
        ("names twice", r#""authMode":"token""#, r#""authMode":"token","authMode":"none","presence":7"#),
    ] {
        let (home, behind) = (Home::fix(), StandIn::malformed());
        let said = hello(1, 0).replacen(from, to, 1);
        assert_ne!(said, hello(1, 0), "{what}");
        behind.behaves(move |_, _| Manner::Hello(said.clone()));
        let front = behind.front(&home);
        let mut client = front.admin();
        client.ok("agents.list", "{}");
        assert_eq!(upstream_state(&front, &mut client), "connected", "{what}");
        let methods = list(&client.hello, "features.methods");
        for own in ["health", "device.pair.list"] {
            assert!(methods.iter().any(|method| method == own), "{what}: {}", json(&client.hello));
        }
        let health = get(&client.hello, "snapshot.health");
        assert!(matches!(health, Some(Value::Object(_))), "{what}: {}", json(&client.hello));
        let events = list(&client.hello, "features.events");
        assert!(events.iter().any(|event| event == "tick"), "{what}: {}", json(&client.hello));
        let scopes: Vec<&str> = ADMIN.to_vec();
        assert_eq!(list(&client.hello, "auth.scopes").len(), scopes.len(), "{what}");
        assert!(number(&client.hello, "policy.maxPayload") > 0, "{what}");
    }
}

#[test]
fn closed_at_every_byte_of_its_greeting() {
    let (home, behind) = (Home::fix(), StandIn::malformed());
    behind.answers("sessions.list", r#"{"sessions":[]}"#);
    let front = behind.front(&home);
    let mut cut = HashSet::new();
    behind.behaves(move |_, head| {
        let at = head.split("Host: cut-").nth(1).and_then(|rest| rest.lines().next());
        match at.and_then(|at| at.parse().ok()) {
            // The next connection of the same client is served.
            Some(at) if cut.insert(at) => Manner::Cut(at),
            _ => Manner::Well,
        }
    });
    let mut bystander = front.admin();
    let positions: Vec<usize> = (0..greeting_bytes()).collect();
    let before = behind.links();
    for positions in positions.chunks(50) {
        let mut clients: Vec<(Client, String)> = positions
            .iter()
            .map(|at| {
                let offer = Offer::new().token("T1").header("Host", &format!("cut-{at}"));
                let mut client = front.connect(&offer);
                let asked = client.ask("sessions.list", "{}");
                (client, asked)
            })
            .collect();
        bystander.ok("agents.list", "{}");
        bystander.ok("health", "{}");
        for ((client, asked), at) in clients.iter_mut().zip(positions) {
            let answer = client.answer(asked).unwrap_or_else(|e| panic!("cut at {at}: {}", json(&e)));
            assert_eq!(json(&answer), r#"{"sessions":[]}"#, "cut at {at}");
            client.ok("health", "{}");
        }
    }
    // Most needed a second connection.
    assert!(behind.links() - before > positions.len() + hello(1, 0).len(), "hardly one was cut");
}

#[test]
fn breaks_the_protocol() {
    let (home, behind) = (Home::fix(), StandIn::malformed());
    let front = behind.front(&home);
    let mut bystander = front.admin();
    bystander.ok("agents.list", "{}");
    for (what, bytes) in broken() {
        let mut client = front.admin();
        client.ok("agents.list", "{}");
        let asked = client.ask("sessions.list", "{}");
        let request = behind.request("sessions.list");
        let (link, number) = (request.link.clone(), request.link.number);
        std::thread::spawn(move || link.bytes(&bytes));
        client.ok("health", "{}");
        bystander.ok("agents.list", "{}");
        // It is given up, and the request sent again by another.
        behind.gone(number);
        let again = behind.request("sessions.list");
        assert_ne!(again.link.number, number, "{what}");
        again.ok("{}");
        client.answer(&asked).unwrap();
    }
    let peak = memory(&front, "VmHWM:");
    assert!(peak < 96 << 10, "{peak} kB at most");
}

#[test]
fn half_frames_hold_nobody_up() {
    let (home, behind) = (Home::fix(), StandIn::malformed());
    waits(&home, "waitMs:500");
    let front = behind.front(&home);
    let mut bystander = front.admin();
    for half in [&[0x81][..], &[0x81, 126, 1], &[0x81, 100, b'{'], &[0x89, 4, 1]] {
        let mut client = front.admin();
        let asked = client.ask("sessions.list", "{}");
        let request = behind.request("sessions.list");
        request.link.bytes(half);
        client.ok("health", "{}");
        bystander.ok("agents.list", "{}");
        request.link.end();
        behind.request("sessions.list").ok("{}");
        client.answer(&asked).unwrap();
    }
}

#[test]
fn nonsense_is_not_passed_on() {
    let (home, behind) = (Home::fix(), StandIn::malformed());
    let front = behind.front(&home);
    let mut client = front.connect(&Offer::new().token("T1").scopes(ADMIN).client("gateway-client", "ui"));
    client.ok("agents.list", "{}");
    let link = behind.link_after(0);
    let asked = client.ask("sessions.list", "{}");
    let request = behind.request("sessions.list");
    let deep = "[".repeat(200_000);
    for nonsense in [
        r#"{"type":"res","id":"nobody","ok":true,"payload":{}}"#,
        r#"{"type":"res","id":"c1","ok":true,"payload":{"type":"hello-ok"}}"#,
        r#"{"type":"res","id":"connect","ok":true,"payload":{"type":"hello-ok"}}"#,
        r#"{"type":"res","id":"","ok":true}"#,
        r#"{"type":"res","id":7,"ok":true}"#,
        r#"{"type":"req","id":"1","method":"device.pair.list","params":{}}"#,
        r#"{"type":"event","event":"connect.challenge","payload":{"nonce":"x","ts":1}}"#,
        r#"{"type":"event","event":"shutdown","payload":{}}"#,
        r#"{"type":"event","payload":{}}"#,
        r#"{"type":"event","event":"chat","payload":{"#,
        "{}",
        "[]",
        "null",
        "",
        "]]]",
        "\u{0}",
        &deep,
    ] {
        link.send(nonsense);
    }
    (0..5000).for_each(|_| link.send(r#"{"type":"res","id":"nobody","ok":true,"payload":{}}"#));
    link.bytes(&frame(0x82, b"binary"));
    // A pong that nobody asked for, and a ping.
    link.bytes(&frame(0x8a, b"x"));
    link.bytes(&frame(0x89, b"x"));
    request.ok(r#"{"sessions":[]}"#);
    // An answer that comes twice, or to what was answered.
    request.ok(r#"{"twice":true}"#);
    link.event("cron", "{}");
    let mut seen = Vec::new();
    loop {
        let frame = client.frame().unwrap();
        match (text(&frame, "type").as_str(), text(&frame, "event").as_str()) {
            ("event", "cron") => break,
            // This gateway's own.
            ("event", "presence" | "tick" | "health") => {}
            _ => seen.push(json(&frame)),
        }
    }
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(seen[0].contains(r#"{"sessions":[]}"#) && seen[0].contains(&asked), "{seen:?}");
    assert!(behind.is_open(&link));
}

#[test]
fn events_whose_payload_is_no_json_are_not_passed_on() {
    let (home, behind) = (Home::fix(), StandIn::malformed());
    let front = behind.front(&home);
    let mut client = front.connect(&Offer::new().token("T1").scopes(ADMIN).client("gateway-client", "ui"));
    client.ok("agents.list", "{}");
    let link = behind.link_after(0);
    for payload in ["", "nonsense", "{]", r#"{"a":}"#, r#""x"#, "1 2"] {
        link.send(&format!(r#"{{"type":"event","event":"chat","payload":{payload},"seq":1}}"#));
    }
    link.send(r#"{"type":"event","event":"chat","payload":{},"seq":1,,}"#);
    link.send(r#"{"type":"event","event":"chat","payload":{},"seq":1}}"#);
    link.event("cron", "{}");
    // Each frame is read as JSON, so what is none would fail here.
    client.event("cron");
}

#[test]
fn a_flood_to_a_client_that_does_not_read() {
    let (home, behind) = (Home::fix(), StandIn::malformed());
    let front = behind.front(&home);
    let offer = || Offer::new().token("T1").scopes(ADMIN).client("gateway-client", "ui");
    let mut slow = front.connect(&offer());
    slow.ok("agents.list", "{}");
    let link = behind.link_after(0);
    let mut other = front.admin();
    other.ok("agents.list", "{}");
    let before = memory(&front, "RssAnon:");
    const EVENTS: usize = 64 << 10;
    link.give_up_after(Duration::from_secs(2));
    let flood = {
        let link = link.clone();
        std::thread::spawn(move || flood(&link, EVENTS))
    };
    // Others are served until nothing of it is taken any more.
    let mut calls = 0;
    while !flood.is_finished() {
        other.ok("agents.list", "{}");
        other.ok("health", "{}");
        calls += 1;
    }
    let sent = flood.join().unwrap();
    assert!(sent < EVENTS, "256 MB were taken for a client that does not read");
    assert!(calls > 10, "{calls} calls of another were answered meanwhile");
    let grown = memory(&front, "RssAnon:").saturating_sub(before);
    assert!(grown < 4 << 10, "{grown} kB for a client that does not read");
    // It reads after all, and has missed nothing.
    let (mut seqs, mut next) = (Vec::new(), 0);
    while next < sent {
        let event = slow.frame().unwrap();
        if get(&event, "seq").is_some() {
            seqs.push(number(&event, "seq"));
        }
        if text(&event, "event") == "chat" {
            assert_eq!(number(&event, "payload.n"), next as u64);
            next += 1;
        }
    }
    assert_eq!(seqs, (seqs[0]..).take(seqs.len()).collect::<Vec<_>>());
}

/// Sends events of 4 KB until the socket takes no more; returns how many it took whole.
fn flood(link: &Link, most: usize) -> usize {
    let text = "z".repeat(4000);
    (0..most)
        .take_while(|n| {
            let event = format!(
                r#"{{"type":"event","event":"chat","payload":{{"n":{n},"text":"{text}"}},"seq":{n}}}"#
            );
            link.bytes(&frame(0x81, event.as_bytes()))
        })
        .count()
}

#[test]
fn floods_of_small_frames_let_others_through() {
    let (home, behind) = (Home::fix(), StandIn::malformed());
    let front = behind.front(&home);
    let mut noisy = front.admin();
    noisy.ok("agents.list", "{}");
    let link = behind.link_after(0);
    let mut other = front.admin();
    other.ok("agents.list", "{}");
    // Pings, whose pongs nobody reads soon, and answers to nobody.
    let mut bytes = Vec::new();
    for _ in 0..20_000 {
        bytes.extend(frame(0x89, &[7; 125]));
        bytes.extend(frame(0x81, br#"{"type":"res","id":"nobody","ok":true}"#));
    }
    let flood = std::thread::spawn(move || (0..4).all(|_| link.bytes(&bytes)));
    let mut calls = 0;
    while !flood.is_finished() {
        other.ok("agents.list", "{}");
        other.ok("health", "{}");
        calls += 1;
    }
    assert!(flood.join().unwrap(), "the connection was given up");
    assert!(calls > 0, "nobody was served meanwhile");
    noisy.ok("agents.list", "{}");
    let peak = memory(&front, "VmHWM:");
    assert!(peak < 48 << 10, "{peak} kB at most");
}

#[test]
fn answers_by_the_wrong_connection_reach_nobody() {
    let (home, behind) = (Home::fix(), StandIn::malformed());
    let front = behind.front(&home);
    let (mut one, mut two) = (front.admin(), front.admin());
    one.ok("agents.list", "{}");
    two.ok("agents.list", "{}");
    let asked = one.ask("sessions.list", "{}");
    let request = behind.request("sessions.list");
    let links: Vec<Link> = vec![behind.link_after(0), behind.last_link()];
    let wrong = links.iter().find(|link| link.number != request.link.number).unwrap();
    wrong.send(&format!(r#"{{"type":"res","id":"{asked}","ok":true,"payload":{{"of":"the other"}}}}"#));
    two.ok("agents.list", "{}");
    request.ok(r#"{"of":"its own"}"#);
    assert_eq!(text(&one.answer(&asked).unwrap(), "of"), "its own");
}

#[test]
fn this_gateways_own_port_is_no_gateway_behind() {
    let home = Home::fix();
    let front = home.start_with(&["--upstream", &format!("ws://localhost:{}", home.port)], &[]);
    let mut client = front.connect(&Offer::new().token("T1").scopes(ADMIN));
    let end = Instant::now() + LONG;
    loop {
        let status = client.ok("status", "{}");
        if get(&status, "upstream.why").is_some_and(|why| json(why).contains("this gateway's own")) {
            break;
        }
        assert!(Instant::now() < end, "{}", front.log());
    }
    client.ok("health", "{}");
}
