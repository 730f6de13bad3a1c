//! What a gateway with another one behind it passes on by HTTP. Behind it stands a server made by hand, which answers
//! by path: see [`Behind`].

use crate::{
    server::Http,
    wire::{Device, Home, LONG, Offer, READ, Server, number, signal},
};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

/// A stand-in for the gateway behind.
struct Behind {
    at: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    /// Tells `/events` to go on by one, or `/held` to answer.
    go: mpsc::Sender<()>,
    /// Bytes that `/endless` could send.
    sent: Arc<AtomicUsize>,
}

#[derive(Clone)]
struct Shared {
    heads: Arc<Mutex<Vec<String>>>,
    going: Arc<Mutex<mpsc::Receiver<()>>>,
    sent: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
}

impl Behind {
    fn new() -> Self {
        Self::at("127.0.0.1:0")
    }

    fn at(at: &str) -> Self {
        let end = Instant::now() + LONG;
        let listener = loop {
            match TcpListener::bind(at) {
                Ok(listener) => break listener,
                Err(e) => assert!(Instant::now() < end, "{at}: {e}"),
            }
        };
        let at = listener.local_addr().unwrap();
        let (go, going) = mpsc::channel();
        let (heads, connections) = <(Arc<Mutex<Vec<String>>>, Arc<AtomicUsize>)>::default();
        let sent = Arc::new(AtomicUsize::new(0));
        let going = Arc::new(Mutex::new(going));
        let shared =
            Shared { heads: heads.clone(), going, sent: sent.clone(), connections: connections.clone() };
        thread::spawn(move || {
            for socket in listener.incoming() {
                let shared = shared.clone();
                thread::spawn(move || serve(socket.unwrap(), &shared));
            }
        });
        Self { at, heads, connections, go, sent }
    }

    /// A gateway in front of it.
    fn front(&self, home: &Home) -> Server {
        front(home, self.at)
    }

    fn last(&self) -> String {
        self.heads.lock().unwrap().last().unwrap().clone()
    }
}

fn front(home: &Home, behind: SocketAddr) -> Server {
    home.start_with(&["--upstream", &format!("ws://{behind}")], &[])
}

fn serve(socket: TcpStream, shared: &Shared) {
    let mut socket = BufReader::new(socket);
    let (mut first, mut last) = (true, false);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if socket.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        if last {
            return;
        }
        let lower = head.to_ascii_lowercase();
        if lower.starts_with("get / ") && lower.contains("upgrade: websocket") {
            // The relay looks whether a gateway is there: this is none.
            let _ = socket.get_mut().write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
            return;
        }
        if std::mem::take(&mut first) {
            shared.connections.fetch_add(1, Ordering::SeqCst);
        }
        shared.heads.lock().unwrap().push(lower.clone());
        let path = head.split(' ').nth(1).unwrap().to_owned();
        if lower.contains("upgrade: websocket") {
            let _ = socket.get_mut().write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\nhello ");
            let mut byte = [0];
            while let Ok(1) = socket.read(&mut byte) {
                let _ = socket.get_mut().write_all(&byte);
            }
            return;
        }
        let body = body(&mut socket, &lower);
        let close = lower.contains("connection: close");
        let out = socket.get_mut();
        if lower.starts_with("head ") {
            let _ = out.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
            continue;
        }
        let done = match path.split('?').next().unwrap() {
            "/head" => whole(out, "", lower.as_bytes()),
            "/echo" => whole(out, "", &body),
            "/count" => whole(out, "", format!("{} {:x}", body.len(), sum(&body)).as_bytes()),
            "/chunks" => whole(
                out,
                "ETag: \"1\"\r\nCache-Control: public, max-age=9\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
                 X-Hop: 1\r\nKeep-Alive: timeout=5\r\nConnection: X-Hop\r\nContent-Type: text/x\r\n",
                b"page",
            ),
            "/none" => out.write_all(b"HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n"),
            "/once" => {
                last = true;
                whole(out, "", b"once")
            }
            "/held" => {
                let _ = shared.going.lock().unwrap().recv_timeout(LONG);
                whole(out, "", b"held")
            }
            "/events" => events(out, shared),
            "/endless" => endless(out, shared),
            "/cut" => {
                let _ = out.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
                return;
            }
            "/drop" => return,
            _ => whole(out, "", b"behind"),
        };
        if done.is_err() || close {
            return;
        }
    }
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(7, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)))
}

fn whole(out: &mut TcpStream, headers: &str, body: &[u8]) -> std::io::Result<()> {
    write!(out, "HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n", body.len())?;
    out.write_all(body)
}

fn body(socket: &mut BufReader<TcpStream>, head: &str) -> Vec<u8> {
    let mut body = Vec::new();
    if let Some(length) = head.split("content-length: ").nth(1) {
        body.resize(length.split("\r\n").next().unwrap().parse().unwrap(), 0);
        if socket.read_exact(&mut body).is_err() {
            body.clear();
        }
    } else if head.contains("transfer-encoding: chunked") {
        loop {
            let mut size = String::new();
            socket.read_line(&mut size).unwrap();
            let Ok(size) = usize::from_str_radix(size.trim(), 16) else { return body };
            let mut chunk = vec![0; size + 2];
            socket.read_exact(&mut chunk).unwrap();
            body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                break;
            }
        }
    }
    body
}

fn events(out: &mut TcpStream, shared: &Shared) -> std::io::Result<()> {
    out.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    )?;
    for n in 0..5 {
        out.write_all(format!("9\r\ndata: {n}\n\n\r\n").as_bytes())?;
        let _ = shared.going.lock().unwrap().recv_timeout(LONG);
    }
    out.write_all(b"0\r\n\r\n")
}

/// An event of a stream, in however many chunks it comes.
fn event(http: &mut Http) -> String {
    let mut event = String::new();
    while !event.ends_with("\n\n") {
        let chunk = http.chunk();
        assert!(!chunk.is_empty(), "ended after {event:?}");
        event += &chunk;
    }
    event
}

/// Sends until the socket takes no more, and again no more after the reader had its turn.
fn endless(out: &mut TcpStream, shared: &Shared) -> std::io::Result<()> {
    out.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")?;
    out.set_nonblocking(true)?;
    let (mut sent, mut since) = (0, Instant::now());
    while since.elapsed() < Duration::from_millis(500) {
        match out.write(&[b'x'; 1 << 16]) {
            Ok(n) => (sent, since) = (sent + n, Instant::now()),
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
    shared.sent.store(sent, Ordering::SeqCst);
    let _ = shared.going.lock().unwrap().recv_timeout(LONG);
    Ok(())
}

/// The most memory that a process ever held, KiB.
fn most_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: front\r\n{headers}\r\n")
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

#[test]
fn its_own_paths_and_all_others() {
    let (home, behind) = (Home::fix(), Behind::new());
    let server = behind.front(&home);
    let mut http = Http::dial(&server);
    for (method, path, status, body) in [
        ("GET", "/health", 200, r#"{"ok":true,"status":"live"}"#),
        ("GET", "/", 200, "behind"),
        ("GET", "/any/path?q=%20", 200, "behind"),
        ("DELETE", "/any", 200, "behind"),
        ("OPTIONS", "/any", 200, "behind"),
        (
            "POST",
            "/health",
            405,
            r#"{"error":{"message":"/health takes GET alone","type":"method_not_allowed"}}"#,
        ),
    ] {
        http.send(&format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        let answer = http.answer();
        assert_eq!((answer.status, answer.body.as_str()), (status, body), "{method} {path}");
    }
    let heads = behind.heads.lock().unwrap();
    let seen: Vec<_> = heads.iter().map(|head| head.lines().next().unwrap()).collect();
    let expected = ["get / http/1.1", "get /any/path?q=%20 http/1.1", "delete /any http/1.1"];
    assert_eq!(seen[..3], expected);
}

#[test]
fn headers_both_ways() {
    let (home, behind) = (Home::fix(), Behind::new());
    let server = behind.front(&home);
    let mut http = Http::dial(&server);
    let forged = "Forwarded: for=127.0.0.1\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-User: root\r\nX-Real-IP: \
                  127.0.0.1\r\nTailscale-User-Login: root\r\n";
    let more = "Connection: X-Mine\r\nX-Mine: 1\r\nTE: trailers\r\nCookie: a=1\r\nX-OpenClaw-Token: h\r\n";
    http.send(&get("/head", &format!("{forged}{more}Origin: http://front\r\n")));
    let head = http.answer().body;
    for name in ["host: front", "cookie: a=1", "origin: http://front", "x-openclaw-token: h"] {
        assert!(head.contains(&format!("\r\n{name}\r\n")), "{name}: {head}");
    }
    for name in ["forwarded", "x-real", "tailscale", "x-mine", "te:", "connection", "127.0.0.1", "root"] {
        assert!(!head.contains(name), "{name}: {head}");
    }
    http.send(&get("/chunks", ""));
    let answer = http.answer();
    for line in ["etag: \"1\"", "cache-control: public, max-age=9", "set-cookie: a=1", "set-cookie: b=2"] {
        assert!(answer.head.contains(&format!("\r\n{line}\r\n")), "{line}: {}", answer.head);
    }
    for name in ["x-hop", "keep-alive", "no-store", "nosniff"] {
        assert!(!answer.head.contains(name), "{name}: {}", answer.head);
    }
    http.send("HEAD /chunks HTTP/1.1\r\nHost: x\r\n\r\n");
    let (status, head) = http.head();
    assert!(status == 200 && head.contains("content-length: 4"), "{head}");
    http.send(&get("/none", ""));
    let (status, head) = http.head();
    assert!(status == 304 && head.contains("etag"), "{head}");
    http.send(&get("/", ""));
    assert_eq!(http.answer().body, "behind");
}

#[test]
fn bodies_of_any_length() {
    let (home, behind) = (Home::fix(), Behind::new());
    let server = behind.front(&home);
    let mut http = Http::dial(&server);
    for length in [0, 1, 70_000] {
        let body = "b".repeat(length);
        http.send(&format!("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}"));
        let answer = http.answer();
        assert!(answer.status == 200 && answer.body == body, "{length}: {}", answer.head);
    }
    http.send("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    assert_eq!(http.answer().body, "abc");
    assert_eq!(http.rest(), "");
    // One that is not passed on whole, as it would not fit.
    let mut http = Http::dial(&server);
    http.send("PUT /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 26214401\r\n\r\n");
    assert_eq!(http.answer().status, 413);
}

#[test]
fn a_long_body_is_not_kept() {
    let (home, behind) = (Home::fix(), Behind::new());
    let server = behind.front(&home);
    server.get("/");
    let before = most_memory(server.pid());
    let body: Vec<u8> = (0..20_000_000u32).map(|n| (n / 7) as u8).collect();
    let mut http = Http::dial(&server);
    http.send(&format!("POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len()));
    let mut writer = http.socket.get_ref().try_clone().unwrap();
    let expected = format!("20000000 {:x}", sum(&body));
    let sender = thread::spawn(move || writer.write_all(&body));
    assert_eq!(http.answer().body, expected);
    sender.join().unwrap().unwrap();
    let more = most_memory(server.pid()) - before;
    assert!(more < 4 << 10, "{more} KiB more");
}

#[test]
fn a_slow_reader_holds_no_memory() {
    let (home, behind) = (Home::fix(), Behind::new());
    let server = behind.front(&home);
    server.get("/");
    let before = most_memory(server.pid());
    let mut http = Http::dial(&server);
    http.send(&get("/endless", ""));
    assert_eq!(http.head().0, 200);
    let end = Instant::now() + LONG;
    while behind.sent.load(Ordering::SeqCst) == 0 {
        assert!(Instant::now() < end, "it sends without an end");
        thread::sleep(Duration::from_millis(20));
    }
    let sent = behind.sent.load(Ordering::SeqCst);
    assert!(sent < 64 << 20, "{sent} bytes were taken");
    let more = most_memory(server.pid()) - before;
    assert!(more < 4 << 10, "{more} KiB more");
    behind.go.send(()).unwrap();
}

#[test]
fn events_come_at_once() {
    let (home, behind) = (Home::fix(), Behind::new());
    let server = behind.front(&home);
    let mut http = Http::dial(&server);
    http.send(&get("/events", ""));
    let (_, head) = http.head();
    assert!(head.contains("text/event-stream"), "{head}");
    for n in 0..5 {
        assert_eq!(event(&mut http), format!("data: {n}\n\n"));
        behind.go.send(()).unwrap();
    }
    assert_eq!(http.chunk(), "");
}

#[test]
fn an_answer_that_is_cut_is_seen_to_be() {
    let (home, behind) = (Home::fix(), Behind::new());
    let server = behind.front(&home);
    let mut http = Http::dial(&server);
    http.send(&get("/cut", ""));
    // The head, too, may not have been sent by then.
    let rest = http.rest();
    assert!(rest.is_empty() || rest.ends_with("\r\n\r\nhalf"), "{rest:?}");
}

#[test]
fn authorization_is_judged_and_exchanged() {
    let (home, behind) = (Home::fix(), Behind::new());
    let server = behind.front(&home);
    let reader = Device::pair(&server, READ);
    let mut node = Device::new();
    let client = server.connect(&Offer::node(&node, &[]).token("T1"));
    node.token = Some(client.device_token());
    let ask = |method: &str, path: &str, headers: &str| {
        let mut http = Http::dial(&server);
        http.send(&format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n"));
        http.answer()
    };
    let secret = "\r\nauthorization: bearer t1\r\n";
    for (method, token, status) in [
        ("GET", "T1", 200),
        ("POST", "T1", 200),
        ("GET", reader.token(), 200),
        ("POST", reader.token(), 403),
        ("GET", node.token(), 401),
    ] {
        let answer = ask(method, "/head", &bearer(token));
        assert_eq!(answer.status, status, "{method} {token}: {}", answer.body);
        let exchanged = answer.body.contains(secret);
        assert_eq!(exchanged, status == 200, "{method} {token}: {}", answer.body);
    }
    let scope = ask("POST", "/head", &bearer(reader.token()));
    assert!(scope.body.contains("operator.write"), "{}", scope.body);
    let wrong = ask("GET", "/head", &bearer("nonsense"));
    assert!(wrong.head.contains("www-authenticate: bearer"), "{}", wrong.head);
    assert!(wrong.body.contains("pair the device"), "{}", wrong.body);
    // What is not ours to judge.
    assert!(!ask("GET", "/head", "").body.contains("authorization"));
    for (path, authorization) in
        [("/hooks/x", "Bearer hook"), ("/head", "Basic eA=="), ("/head", "Bearer eyJ.a.b")]
    {
        let answer = ask("POST", path, &format!("Authorization: {authorization}\r\n"));
        assert_eq!(answer.status, 200, "{}", answer.body);
        let line = format!("authorization: {}", authorization.to_ascii_lowercase());
        assert!(behind.last().contains(&line), "{}", behind.last());
    }
    let media = ask("GET", &format!("/__openclaw__/assistant-media?token={}", reader.token()), "");
    assert_eq!(media.status, 200);
    assert!(behind.last().contains(secret), "{}", behind.last());
    // A device that is removed is a stranger.
    server.admin().ok("device.pair.remove", &format!(r#"{{"deviceId":"{}"}}"#, reader.id()));
    assert_eq!(ask("GET", "/head", &bearer(reader.token())).status, 401);
}

#[test]
fn guesses_are_counted_as_those_of_a_connect() {
    let (home, behind) = (Home::empty(), Behind::new());
    home.auth(
        r#"{mode:"token",token:"T1",rateLimit:{maxAttempts:3,windowMs:60000,lockoutMs:60000,exemptLoopback:false}}"#,
    );
    let server = behind.front(&home);
    let ask = |token: &str| {
        let mut http = Http::dial(&server);
        http.send(&get("/v1/models", &bearer(token)));
        http.answer()
    };
    let device = Device::pair(&server, READ);
    for _ in 0..5 {
        assert_eq!(ask("stale").status, 401, "the same one counts once");
    }
    assert_eq!((ask("two").status, ask("three").status), (401, 401));
    let locked = ask("four");
    assert_eq!(locked.status, 429);
    assert!(locked.head.contains("retry-after: "), "{}", locked.head);
    assert_eq!(ask("T1").status, 429, "a guesser is not told that it is right");
    assert_eq!(ask(device.token()).status, 200);
    let refused = server.refuse(&Offer::new().token("T1"));
    assert_eq!(refused.code(), "AUTH_RATE_LIMITED");
}

#[test]
fn away_and_back() {
    let home = Home::fix();
    let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = front(&home, at);
    let mut http = Http::dial(&server);
    http.send(&get("/", ""));
    let answer = http.answer();
    assert_eq!(answer.status, 503);
    assert!(answer.head.contains("retry-after: 1\r\n"), "{}", answer.head);
    assert!(answer.body.contains("does not answer"), "{}", answer.body);
    assert_eq!(server.get("/health").0, 200);
    let behind = Behind::at(&at.to_string());
    http.send(&get("/", ""));
    assert_eq!(http.answer().body, "behind");
    http.send(&get("/drop", ""));
    assert_eq!(http.answer().status, 502);
    drop(behind);
}

#[test]
fn a_connection_is_used_again_and_a_stale_one_is_replaced() {
    let (home, behind) = (Home::fix(), Behind::new());
    let server = behind.front(&home);
    let mut http = Http::dial(&server);
    for _ in 0..3 {
        http.send(&get("/", ""));
        assert_eq!(http.answer().body, "behind");
    }
    assert_eq!(behind.connections.load(Ordering::SeqCst), 1);
    http.send(&get("/once", ""));
    assert_eq!(http.answer().body, "once");
    // It ends with the next request, unanswered.
    http.send(&get("/", ""));
    assert_eq!(http.answer().body, "behind");
    assert_eq!(behind.connections.load(Ordering::SeqCst), 2);
    // What may not be repeated has one of its own.
    http.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na");
    assert_eq!(http.answer().body, "a");
    assert_eq!(behind.connections.load(Ordering::SeqCst), 3);
    assert!(behind.last().contains("connection: close"), "{}", behind.last());
}

#[test]
fn a_restart_waits_for_an_answer_or_says_503() {
    let (home, behind) = (Home::fix(), Behind::new());
    let server = behind.front(&home);
    let mut http = Http::dial(&server);
    http.send(&get("/events", ""));
    http.head();
    assert_eq!(event(&mut http), "data: 0\n\n");
    signal(server.pid(), "USR1");
    server.wait_log(&["waiting for 1 HTTP requests under way"]);
    for n in 1..5 {
        behind.go.send(()).unwrap();
        assert_eq!(event(&mut http), format!("data: {n}\n\n"));
    }
    behind.go.send(()).unwrap();
    assert_eq!(http.chunk(), "");
    let mut admin = server.admin();
    let end = Instant::now() + LONG;
    while number(&admin.ok("status", "{}"), "barnacle.restarts") == 0 {
        assert!(Instant::now() < end, "it does not restart:\n{}", server.log());
    }
    // The connection, which was idle by then, goes on in the next process image.
    http.send(&get("/held", ""));
    let heads = behind.heads.clone();
    while !heads.lock().unwrap().iter().any(|head| head.contains("/held")) {
        assert!(Instant::now() < end, "it is not passed on:\n{}", server.log());
        thread::sleep(Duration::from_millis(5));
    }
    signal(server.pid(), "USR1");
    let answer = http.answer();
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.head.contains("retry-after: 1\r\n"), "{}", answer.head);
    behind.go.send(()).unwrap();
}

#[test]
fn an_upgrade_on_a_path_of_its_own_is_passed_through() {
    let (home, behind) = (Home::fix(), Behind::new());
    let server = behind.front(&home);
    let device = Device::pair(&server, READ);
    let upgrade = |path: &str, more: &str| {
        let mut http = Http::dial(&server);
        let key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        http.send(&get(path, &format!("Connection: Upgrade\r\nUpgrade: websocket\r\n{key}{more}")));
        http
    };
    // The gateway's own protocol is spoken here, on any other path.
    for path in ["/", "/gateway", "/ui/", "/ws", "/any", "/voice/stream"] {
        let mut http = upgrade(path, "");
        assert_eq!((http.head().0, behind.connections.load(Ordering::SeqCst)), (101, 0), "{path}");
    }
    // Unless the file says that a plugin has it.
    fs::write(home.store().join("barnacle.json"), "{upstream: {webSocketPaths: ['/voice/stream', 'x']}}")
        .unwrap();
    server.wait_log(&["upstream.webSocketPaths is \"x\"", "configuration reloaded"]);
    assert_eq!(upgrade("/voice/stream/7", &bearer("T1")).head().0, 101);
    assert!(behind.last().starts_with("get /voice/stream/7 http/1.1\r\n"), "{}", behind.last());
    assert_eq!(upgrade("/voice/stream", &bearer("nonsense")).answer().status, 401);
    let mut http = upgrade("/api/plugin/live?x=1", &(bearer("T1") + "X-Forwarded-For: 127.0.0.1\r\n"));
    assert_eq!(http.head().0, 101);
    http.send("world");
    let mut said = [0; 11];
    http.socket.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"hello world");
    let head = behind.last();
    assert!(head.starts_with("get /api/plugin/live?x=1 http/1.1\r\n"), "{head}");
    for line in
        ["upgrade: websocket", "connection: upgrade", "sec-websocket-key: ", "authorization: bearer t1"]
    {
        assert!(head.contains(&format!("\r\n{line}")), "{line}: {head}");
    }
    assert!(!head.contains("forwarded"), "{head}");
    // It does not hold up a restart, and is seen to end.
    server.restart(&mut server.admin());
    assert_eq!(http.rest(), "");
    assert_eq!(upgrade("/api/plugin/live", &bearer("nonsense")).answer().status, 401);
    assert_eq!(upgrade("/api/plugin/live", &bearer(device.token())).answer().status, 403);
}
