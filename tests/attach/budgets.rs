//! What a hostile or careless peer cannot take from others: places, memory, time and log lines; a test for each row
//! by its id.

use crate::wire::{ADMIN, Client, Device, Home, LONG, Offer, READ, Server, get, items, json, number, text};
use async_tungstenite::tungstenite::Message;
use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, TcpStream},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// A masked frame head of a text of so many bytes, with a mask of zeros.
fn head(length: usize) -> Vec<u8> {
    let mut bytes = vec![0x81, 0xff];
    bytes.extend((length as u64).to_be_bytes());
    bytes.extend([0; 4]);
    bytes
}

/// A state of `status` about one budget.
fn budget(admin: &mut Client, name: &str, field: &str) -> u64 {
    let status = admin.ok("status", "{}");
    let budgets = items(&status, "barnacle.budgets");
    let found = budgets.into_iter().find(|budget| text(budget, "of").contains(name));
    number(found.unwrap_or_else(|| panic!("no budget {name}")), field)
}

fn resident(admin: &mut Client) -> u64 {
    number(&admin.ok("status", "{}"), "barnacle.residentKb")
}

/// Polls until something holds.
#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < end, "never: {what}");
        thread::yield_now();
    }
}

/// A flood of connections, opened again as they are closed, until it is dropped.
struct Flood {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Flood {
    /// Connections of `from(n)` to `port`, `count` of them at a time, each of which sends `first` and nothing more.
    fn new(port: u16, count: usize, first: &'static [u8]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let worker = |_| {
            let stop = stop.clone();
            thread::spawn(move || {
                let mut held = std::collections::VecDeque::new();
                while !stop.load(Ordering::Relaxed) {
                    let Ok(mut socket) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
                    let _ = socket.write_all(first);
                    held.push_back(socket);
                    if held.len() > count / 2 {
                        held.pop_front();
                    }
                }
            })
        };
        let threads = (0..2).map(worker).collect();
        Self { stop, threads }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

/// A gateway that may open so many descriptors.
fn with_descriptors(home: &Home, limit: usize) -> Server {
    let mut command = Command::new("sh");
    let script = format!("ulimit -n {limit}; exec \"$0\" gateway --port {}", home.port);
    command.args(["-c", &script, env!("CARGO_BIN_EXE_barnacle")]);
    command.env_clear().env("HOME", &home.dir).env("PATH", std::env::var_os("PATH").unwrap());
    Server::spawn(command, home.port)
}

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn h3_under(first: &'static [u8]) {
    let home = Home::fix();
    let server = with_descriptors(&home, 4096);
    let device = Device::pair(&server, READ);
    let mut admin = server.admin();
    let flood = Flood::new(server.port, 1400, first);
    until("all places are taken", || budget(&mut admin, "have not attached", "madeRoom") > 500);
    for _ in 0..20 {
        // The flood comes from the same address, so one that is slow may have to connect again.
        until("the device attaches", || server.try_connect(&Offer::device(&device)).is_ok());
    }
    assert_eq!(server.get("/healthz").0, 200);
    drop(flood);
    assert!(
        server.log().contains("connections that have not attached are at their limit"),
        "{}",
        server.log()
    );
    let lines = server.log().lines().filter(|line| line.contains("are at their limit")).count();
    assert!(lines <= 2, "{lines} lines");
}

#[test]
fn h3_silent_connections_keep_nobody_out() {
    h3_under(b"");
}

#[test]
fn h3_connections_that_only_upgrade_keep_nobody_out() {
    h3_under(UPGRADE);
}

#[test]
fn h3_half_a_request_keeps_nobody_out() {
    h3_under(b"GET / HTTP/1.1\r\nHost:");
}

#[test]
fn h4_few_descriptors_are_enough_for_those_who_matter() {
    let home = Home::fix();
    let server = with_descriptors(&home, 64);
    let device = Device::pair(&server, READ);
    let mut admin = server.admin();
    let silent: Vec<_> =
        (0..200).filter_map(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).ok()).collect();
    until("places are taken", || budget(&mut admin, "have not attached", "madeRoom") > 100);
    let mut held = Vec::new();
    let refused = (0..64).find_map(|_| match server.try_connect(&Offer::device(&device)) {
        Ok(client) => {
            held.push(client);
            None
        }
        Err(refused) => Some(refused),
    });
    let refused = refused.expect("one device takes all it likes");
    assert!(refused.get("message").contains("this device has"), "{}", json(&refused.error));
    assert_eq!(refused.get("code"), "UNAVAILABLE");
    // Another device attaches, and the store, the configuration and the restart have what they need.
    let other = Device::pair(&server, READ);
    admin.ok("device.token.rotate", &format!(r#"{{"deviceId":"{}","role":"operator"}}"#, other.id()));
    let hash = text(&admin.ok("config.get", "{}"), "hash");
    let patch = format!(r#"{{"raw":"{{gateway:{{controlUi:{{enabled:false}}}}}}","baseHash":"{hash}"}}"#);
    admin.ok("config.patch", &patch);
    server.restart(&mut admin);
    held[0].ok("health", "{}");
    drop(silent);
}

#[test]
fn h4_a_device_has_64_connections() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    let _held: Vec<_> = (0..64).map(|_| server.connect(&Offer::device(&device))).collect();
    let refused = server.refuse(&Offer::device(&device));
    assert!(refused.get("message").contains("this device has 64 connections"), "{}", json(&refused.error));
    // Others are not concerned.
    Device::pair(&server, READ);
    server.admin();
}

#[test]
fn h1_a_frame_of_many_values_costs_its_bytes() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    let mut admin = server.admin();
    let mut reader = server.connect(&Offer::device(&device));
    let before = resident(&mut admin);
    let values = [r#"[0,0]"#, r#"{"a":{}}"#, r#""x""#];
    for (n, value) in values.into_iter().enumerate() {
        let start = format!(r#"{{"type":"req","id":"big{n}","method":"health","params":{{"x":["#);
        let many = format!("{value},").repeat((25 << 20) / (value.len() + 1) - 64);
        reader.send(&format!("{start}{many}{value}]}}}}"));
        let error = reader.answer(&format!("big{n}")).unwrap_err();
        assert!(text(&error, "message").contains("65536"), "{}", json(&error));
        reader.ok("health", "{}");
    }
    let high = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let high = high.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let high: u64 = high.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(high - before < 2 * (25 << 10), "{} KiB at most for a frame of 25 MiB", high - before);
    assert!(resident(&mut admin) < before + (4 << 10), "{} KiB kept", resident(&mut admin) - before);
}

#[test]
fn h1_scope_and_method_are_judged_before_params_are() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    let mut reader = server.connect(&Offer::device(&device));
    let large = format!(r#"{{"x":"{}"}}"#, "x".repeat(1 << 20));
    let message = |error| text(&error, "message");
    assert!(message(reader.err("device.pair.list", &large)).contains("missing scope"));
    assert!(message(reader.err("no.such.method", &large)).contains("unknown method"));
    assert!(message(reader.err("node.event", &large)).contains("is for nodes"));
    assert!(message(reader.err("status", &large)).contains("more than the"));
    reader.ok("status", "{}");
}

#[test]
fn h2_unfinished_messages_share_a_budget() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    let mut admin = server.admin();
    let before = resident(&mut admin);
    let mut clients: Vec<_> = (0..10).map(|_| server.connect(&Offer::device(&device))).collect();
    let half = vec![b' '; 8 << 20];
    for client in &mut clients {
        let raw = client.raw();
        raw.set_write_timeout(Some(LONG)).unwrap();
        // One that was closed meanwhile takes no more.
        let _ = raw.write_all(&head(24 << 20)).and_then(|()| raw.write_all(&half));
    }
    until("some were closed", || budget(&mut admin, "unfinished messages", "used") < 33 << 20);
    let grown = resident(&mut admin).saturating_sub(before);
    assert!(grown < 56 << 10, "{grown} KiB more for one device");
    let closed = clients.iter_mut().filter_map(|client| {
        client.raw().set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        match client.message() {
            Ok(Message::Close(Some(frame))) => Some((u16::from(frame.code), frame.reason.to_string())),
            _ => None,
        }
    });
    let closed: Vec<_> = closed.collect();
    assert!(closed.len() >= 5, "{} of 10 were closed", closed.len());
    for (code, reason) in closed {
        assert!(code == 1008 && reason.contains("unfinished messages"), "{code} {reason}");
    }
    // One other device's message of any size is still taken.
    let other = Device::pair(&server, READ);
    let mut other = server.connect(&Offer::device(&other));
    other.send(&format!(
        r#"{{"type":"req","id":"large","method":"health","params":{{"x":"{}"}}}}"#,
        "x".repeat(20 << 20)
    ));
    assert!(text(&other.answer("large").unwrap_err(), "message").contains("more than the"));
    drop(clients);
    until("the memory is free again", || resident(&mut admin) < before + (8 << 10));
}

/// A node that may do `camera.snap`, and its id.
fn camera(server: &Server) -> (Client, String) {
    let device = Device::new();
    let node = server.connect(&Offer::node(&device, &["camera.snap"]).token("T1"));
    let mut admin = server.admin();
    let request = text(&admin.ok("node.pair.list", "{}"), "pending.0.requestId");
    admin.ok("node.pair.approve", &format!(r#"{{"requestId":"{request}"}}"#));
    (node, device.id())
}

#[test]
fn h8_a_picture_and_large_params_are_delivered() {
    let home = Home::fix();
    let server = home.start();
    let (mut node, id) = camera(&server);
    let mut operator = server.admin();
    let large = "p".repeat(9 << 20);
    let invoke = |extra: &str| {
        format!(
            r#"{{"nodeId":"{id}","command":"camera.snap","idempotencyKey":"k"{extra},"timeoutMs":60000}}"#
        )
    };
    let asked = operator.ask("node.invoke", &invoke(&format!(r#","params":{{"x":"{large}"}}"#)));
    let event = node.event("node.invoke.request");
    assert_eq!(text(&event, "payload.paramsJSON").len(), large.len() + 8);
    // The operator reads nothing until the picture is on its way, as a slow line does.
    let picture = "j".repeat(9 << 19);
    let result = format!(
        r#"{{"id":"{}","nodeId":"{id}","ok":true,"payloadJSON":"{{\"image\":\"{picture}\"}}"}}"#,
        text(&event, "payload.id")
    );
    node.ok("node.invoke.result", &result);
    node.ok("node.event", r#"{"event":"x"}"#);
    let answer = operator.answer(&asked).unwrap();
    assert_eq!(text(&answer, "payload.image").len(), picture.len());
    operator.ok("health", "{}");
    node.ok("node.event", r#"{"event":"y"}"#);
}

#[test]
fn h8_what_is_not_delivered_is_answered_to_its_sender() {
    let home = Home::fix();
    let server = home.start();
    let (mut node, id) = camera(&server);
    let mut operator = server.admin();
    let mut invoke = |n: usize| {
        let params = format!(
            r#"{{"nodeId":"{id}","command":"camera.snap","idempotencyKey":"k{n}","timeoutMs":60000,"params":{{"x":"{}"}}}}"#,
            "p".repeat(9 << 20)
        );
        operator.ask("node.invoke", &params)
    };
    // The node reads none of them; the second one does not fit behind the first.
    let (_first, second) = (invoke(1), invoke(2));
    let error = operator.answer(&second).unwrap_err();
    assert_eq!(text(&error, "details.code"), "NOT_DELIVERED", "{}", json(&error));
    operator.ok("health", "{}");
    // And the node was not closed for it.
    assert_eq!(text(&node.event("node.invoke.request"), "payload.idempotencyKey"), "k1");
    node.ok("node.event", r#"{"event":"x"}"#);
}

#[test]
fn h5_a_log_that_nobody_reads_stops_nothing() {
    let home = Home::fix();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = home.command(&["gateway", "--port", &home.port.to_string()]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(writer).spawn().unwrap();
    let at = (Ipv4Addr::LOCALHOST, home.port);
    until("it listens", || TcpStream::connect(at).is_ok());
    drop(command);
    let connect = |token: &str| Client::connect(at.into(), &Offer::new().token(token).scopes(ADMIN));
    let mut admin = connect("T1").map_err(|r| json(&r.error)).unwrap();
    // Lines of their own each, far more than a pipe takes.
    let end = Instant::now() + LONG;
    while number(&admin.ok("status", "{}"), "barnacle.logLinesDropped") == 0 {
        assert!(Instant::now() < end, "no line is dropped");
        drop(connect("T1").map_err(|r| json(&r.error)).unwrap());
    }
    // Whoever reads again is told how much is missing.
    let reader = thread::spawn(move || {
        let lines = std::io::BufRead::lines(std::io::BufReader::new(reader)).map_while(Result::ok);
        lines.into_iter().find(|line| line.contains("log lines were dropped"))
    });
    until("the reader is told", || {
        drop(connect("T1"));
        reader.is_finished()
    });
    assert!(reader.join().unwrap().is_some());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn h6_refusals_are_short_counted_and_push_out_nothing() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    let mut admin = server.admin();
    admin.ok("device.pair.rename", &format!(r#"{{"deviceId":"{}","label":"kept"}}"#, device.id()));
    for n in 0..400 {
        let origin = format!("https://evil{n}.example/{}", "o".repeat(10_000));
        server.refuse(&Offer::new().token("T1").header("Origin", &origin));
    }
    let log = server.log();
    assert!(
        log.lines().all(|line| line.len() <= 520),
        "a line of {}",
        log.lines().map(str::len).max().unwrap()
    );
    let refused = log.lines().filter(|line| line.contains("refused 127.0.0.1")).count();
    assert!((1..=5).contains(&refused), "{refused} lines");
    let lines = crate::wire::list(&admin.ok("logs.tail", "{}"), "lines");
    assert!(lines.iter().any(|line| line.contains("approved (silent)")), "{}", lines.join("\n"));
}

#[test]
fn h9_one_source_pushes_out_nobody_elses_request() {
    let home = Home::fix();
    home.gateway(r#"auth:{mode:"token",token:"T1"},trustedProxies:["127.0.0.1"]"#);
    let server = home.start();
    let from = |device: &Device, ip: &str| {
        let offer = Offer::device(device).token("T1").header("X-Forwarded-For", ip);
        server.try_connect(&offer).err().map(|refused| refused.code()).unwrap_or_default()
    };
    let waiting = Device::new();
    assert_eq!(from(&waiting, "203.0.113.7"), "PAIRING_REQUIRED");
    let mut admin = server.admin();
    let commits = |admin: &mut Client| number(&admin.ok("status", "{}"), "barnacle.storeCommits");
    let before = commits(&mut admin);
    let codes: Vec<_> = (0..300).map(|_| from(&Device::new(), "198.51.100.9")).collect();
    assert!(codes.iter().any(|code| code.is_empty()), "no request is refused");
    let written = commits(&mut admin) - before;
    assert!(written <= 64, "{written} writes");
    let pending = admin.ok("device.pair.list", "{}");
    let ids: Vec<_> = items(&pending, "pending").iter().map(|p| text(p, "deviceId")).collect();
    assert!(ids.contains(&waiting.id()) && ids.len() <= 33, "{} wait", ids.len());
}

#[test]
fn h11_a_known_device_does_not_guess_for_free() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    let offer = |secret: &str, n: usize| {
        Offer::device(&device)
            .device_token(device.token())
            .token(&format!("same{}", n / 1000))
            .password(secret)
            .scopes(ADMIN)
            .header("X-Forwarded-For", "203.0.113.7")
    };
    for n in 0..12 {
        // It keeps its session whatever it guesses.
        let client = server.connect(&offer(&format!("guess {n}"), n));
        assert_eq!(client.scopes(), "operator.read");
    }
    assert!(server.log().contains("too many different wrong secrets"), "{}", server.log());
    // Without a header it would be silent approval: the right one is not looked at while guesses are refused.
    assert_eq!(server.connect(&offer("T1", 13)).scopes(), "operator.read");
}

#[test]
fn h15_what_a_device_says_of_itself_is_cleaned_and_cut() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::new();
    let mut offer = Offer::device(&device).token("T1").remote();
    let id = format!("cli\u{1b}[31m\u{7}\u{202e}{}", "x".repeat(3000));
    offer.client_id = &id;
    offer.platform = "lin\u{2066}ux";
    server.refuse(&offer);
    let pending = server.admin().ok("device.pair.list", "{}");
    let shown = json(get(&pending, "pending.0").unwrap());
    assert!(
        !shown.contains("\\u001b")
            && !shown.chars().any(|c| c.is_control() || ('\u{202a}'..='\u{2069}').contains(&c)),
        "{shown}"
    );
    assert_eq!(text(&pending, "pending.0.clientId").len(), 64, "{shown}");
    assert_eq!(text(&pending, "pending.0.platform"), "linux");
    assert!(server.log().chars().all(|c| c == '\n' || !c.is_control()), "{}", server.log());
}

#[test]
fn h23_half_an_emoji_costs_no_connection() {
    let home = Home::fix();
    let server = home.start();
    let mut admin = server.admin();
    admin.send(r#"{"type":"req","id":"half\ud83e","method":"health","params":{"x":"\udd80"}}"#);
    admin.answer("half\u{fffd}").unwrap();
    let device = Device::pair(&server, READ);
    let rename = format!(r#"{{"deviceId":"{}","label":"crab \ud83e"}}"#, device.id());
    admin.ok("device.pair.rename", &rename);
    let listed = json(&admin.ok("device.pair.list", "{}"));
    assert!(listed.contains("crab \u{fffd}"), "{listed}");
    // A node's answer is passed on in whole characters.
    let (mut node, id) = camera(&server);
    let invoke = format!(
        r#"{{"nodeId":"{id}","command":"camera.snap","idempotencyKey":"k","params":{{"x":"\ud83e"}}}}"#
    );
    let asked = admin.ask("node.invoke", &invoke);
    let event = node.event("node.invoke.request");
    let result = format!(
        r#"{{"id":"{}","nodeId":"{id}","ok":true,"payload":{{"y":"\udd80"}}}}"#,
        text(&event, "payload.id")
    );
    node.ok("node.invoke.result", &result);
    assert_eq!(text(&admin.answer(&asked).unwrap(), "payload.y"), "\u{fffd}");
}

#[test]
fn h37_a_text_that_is_not_utf8_is_closed_with_1007() {
    let home = Home::fix();
    let server = home.start();
    let mut admin = server.admin();
    let mut bytes = vec![0x81, 0x82, 0, 0, 0, 0];
    bytes.extend([0xc3, 0x28]);
    admin.raw().write_all(&bytes).unwrap();
    assert_eq!(admin.closed().0, 1007);
    // Before it has attached, too.
    let mut stranger = server.socket();
    stranger.raw().write_all(&bytes).unwrap();
    assert_eq!(stranger.closed().0, 1007);
}

#[test]
fn h37_a_broken_frame_is_closed_with_1002() {
    let home = Home::fix();
    let server = home.start();
    for bytes in [
        &[0x81, 1, b'x'][..],
        &[0x83, 0x80, 0, 0, 0, 0],
        &[0xc1, 0x80, 0, 0, 0, 0],
        &[0x80, 0x80, 0, 0, 0, 0],
    ] {
        let mut admin = server.admin();
        admin.raw().write_all(bytes).unwrap();
        assert_eq!(admin.closed().0, 1002, "{bytes:?}");
    }
    let mut left = String::new();
    let mut plain = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).unwrap();
    plain.set_read_timeout(Some(LONG)).unwrap();
    plain.write_all(b"\x81\x80nonsense\r\n\r\n").unwrap();
    match plain.read_to_string(&mut left) {
        Ok(_) => {}
        Err(e) => assert_eq!(e.kind(), ErrorKind::ConnectionReset),
    }
}

#[test]
fn h43_those_who_never_read_share_a_budget() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    let mut admin = server.admin();
    let before = resident(&mut admin);
    // The kernel takes some 5 MiB of it; what is left is within what may wait for one client, and not for all.
    let size = json(&admin.ok("config.schema", "{}")).len();
    let requests = (12 << 20) / size;
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let mut client = server.connect(&Offer::device(&device));
            (0..requests).for_each(|_| _ = client.ask("config.schema", "{}"));
            client
        })
        .collect();
    server.wait_log(&["all together have"]);
    let grown = resident(&mut admin).saturating_sub(before);
    assert!(grown < 72 << 10, "{grown} KiB more for one device that never reads");
    drop(clients);
    until("the memory is free again", || resident(&mut admin) < before + (8 << 10));
}
