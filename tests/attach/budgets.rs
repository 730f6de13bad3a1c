//! What a hostile or careless peer cannot take from others: places, descriptors, log lines and guesses; a test for
//! each row by its id. `messages` has those about messages.

use crate::wire::{ADMIN, Client, Device, Home, LONG, Offer, READ, Server, get, items, json, number, text};
use std::{
    io::Write,
    net::{Ipv4Addr, TcpStream},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};

/// A masked frame head of a text of so many bytes, with a mask of zeros.
pub(super) fn head(length: usize) -> Vec<u8> {
    let mut bytes = vec![0x81, 0xff];
    bytes.extend((length as u64).to_be_bytes());
    bytes.extend([0; 4]);
    bytes
}

/// A state of `status` about one budget.
pub(super) fn budget(admin: &mut Client, name: &str, field: &str) -> u64 {
    let status = admin.ok("status", "{}");
    let budgets = items(&status, "barnacle.budgets");
    let found = budgets.into_iter().find(|budget| text(budget, "of").contains(name));
    number(found.unwrap_or_else(|| panic!("no budget {name}")), field)
}

pub(super) fn resident(admin: &mut Client) -> u64 {
    number(&admin.ok("status", "{}"), "barnacle.residentKb")
}

/// Polls until something holds.
#[track_caller]
pub(super) fn until(what: &str, mut holds: impl FnMut() -> bool) {
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
