//! A stand-in for an OpenClaw gateway: a small WebSocket server of this test, which speaks OpenClaw's protocol as it was
//! recorded of 2026.9.6. It has no sessions, agents or models: a test answers each request itself, as it likes.

use crate::wire::{Home, LONG, Payloads, Server, get, json, text};
use async_tungstenite::tungstenite::handshake::derive_accept_key;
use miniserde::json::Value;
use nanoserde::SerJson;
use rustix::net::{Shutdown, shutdown, sockopt::set_socket_linger};
use std::{
    collections::{HashMap, VecDeque},
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// Behaviour towards one connection.
#[derive(Clone)]
pub enum Manner {
    /// As OpenClaw.
    Well,
    /// Never answers the upgrade.
    SilentUpgrade,
    /// Never answers `connect`.
    SilentConnect,
    /// Closes after so many bytes of all that it sends up to the end of its `hello-ok`.
    Cut(usize),
    /// Answers the upgrade with these bytes.
    Http(&'static str),
    /// Attaches, and says this of itself.
    Hello(String),
    /// Refuses to attach, with this error.
    Refuse(&'static str),
    /// Answers `connect` by its parameters and the connection's number: the payload of `hello-ok`, or the error.
    Judge(Arc<Judge>),
}

/// Judges the parameters of a `connect` by a connection of this number.
pub type Judge = dyn Fn(&Value, usize) -> Result<String, String> + Send + Sync;

/// Chooses the behaviour towards a connection: by its number, counted from 0, and the head of its upgrade.
type Manners = dyn FnMut(usize, &str) -> Manner + Send;

/// The stand-in.
pub struct StandIn {
    pub at: SocketAddr,
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    change: Condvar,
}

struct State {
    listener: Option<Arc<TcpListener>>,
    links: Vec<Link>,
    /// Numbers of connections that are gone.
    gone: Vec<usize>,
    /// Requests that no test has taken yet.
    requests: VecDeque<Request>,
    /// Connection and method of every request.
    seen: Vec<(usize, String)>,
    /// Payloads of methods that are answered at once.
    at_once: HashMap<String, String>,
    manners: Box<Manners>,
    boot: u32,
    payloads: Payloads,
}

/// A connection to the stand-in.
#[derive(Clone)]
pub struct Link {
    pub number: usize,
    /// Head of the upgrade.
    pub head: String,
    connect: Arc<OnceLock<String>>,
    /// Set once its `hello-ok` was sent.
    attached: Arc<OnceLock<()>>,
    out: Arc<Mutex<Option<TcpStream>>>,
    seq: Arc<Mutex<u64>>,
}

/// A request that came by one of them.
pub struct Request {
    pub link: Link,
    pub id: String,
    pub method: String,
    /// The frame, as it came.
    pub raw: String,
}

impl Request {
    /// A value of `params`, by its path.
    pub fn param(&self, path: &str) -> String {
        text(&parse(&self.raw), &format!("params.{path}"))
    }

    /// Answers it.
    pub fn ok(&self, payload: &str) {
        self.link.send(&format!(r#"{{"type":"res","id":"{}","ok":true,"payload":{payload}}}"#, self.id));
    }

    /// Refuses it.
    pub fn err(&self, error: &str) {
        self.link.send(&format!(r#"{{"type":"res","id":"{}","ok":false,"error":{error}}}"#, self.id));
    }
}

impl Link {
    /// Sends a text frame.
    pub fn send(&self, text: &str) {
        self.bytes(&frame(0x81, text.as_bytes()));
    }

    /// Sends bytes; whether the socket took them.
    pub fn bytes(&self, bytes: &[u8]) -> bool {
        let mut out = self.out.lock().unwrap();
        out.as_mut().is_some_and(|out| out.write_all(bytes).is_ok())
    }

    /// Sends an event.
    pub fn event(&self, name: &str, payload: &str) {
        let mut seq = self.seq.lock().unwrap();
        *seq += 1;
        self.send(&format!(r#"{{"type":"event","event":"{name}","payload":{payload},"seq":{seq}}}"#));
    }

    /// Parameters of its `connect`.
    pub fn connect(&self) -> Value {
        let text = self.connect.get().expect("a connection that has attached");
        let parsed = parse(text);
        parse(&json(get(&parsed, "params").unwrap()))
    }

    /// Whether it is the gateway's own, which only watches.
    pub fn watches(&self) -> bool {
        self.connect.get().is_some_and(|text| text.contains(r#""displayName":"Barnacle""#))
    }

    /// Closes it as a WebSocket is closed.
    pub fn close(&self, code: u16) {
        self.bytes(&frame(0x88, &code.to_be_bytes()));
        self.end();
    }

    /// Closes the socket.
    pub fn end(&self) {
        if let Some(out) = self.out.lock().unwrap().take() {
            let _ = out.shutdown(std::net::Shutdown::Both);
        }
    }

    /// Resets the connection, as the kernel does for a process that was killed.
    pub fn reset(&self) {
        if let Some(out) = self.out.lock().unwrap().take() {
            set_socket_linger(&out, Some(Duration::ZERO)).unwrap();
            // Its reader lets go of it, and with the last of both it is reset.
            out.shutdown(std::net::Shutdown::Read).unwrap();
        }
    }

    /// Limits how long the socket may take nothing.
    pub fn give_up_after(&self, time: Duration) {
        let out = self.out.lock().unwrap();
        out.as_ref().unwrap().set_write_timeout(Some(time)).unwrap();
    }
}

/// A frame of a server.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        n @ 0..=125 => bytes.push(n as u8),
        n @ 126..=0xffff => {
            bytes.push(126);
            bytes.extend((n as u16).to_be_bytes());
        }
        n => {
            bytes.push(127);
            bytes.extend((n as u64).to_be_bytes());
        }
    }
    bytes.extend(payload);
    bytes
}

fn parse(text: &str) -> Value {
    miniserde::json::from_str(text).unwrap_or_else(|_| panic!("not JSON: {text}"))
}

/// The payload of a `hello-ok` of OpenClaw's form.
pub fn hello(boot: u32, link: usize) -> String {
    format!(
        r#"{{"type":"hello-ok","protocol":4,"server":{{"version":"2026.9.6","buildId":"2026.9.6-stand-in","bootId":"boot-{boot}","controlUiBuildSource":"bundled","connId":"conn-{link}"}},"features":{{"methods":["health","status","sessions.list","chat.send","cron.add"],"events":["connect.challenge","agent","chat","presence","tick","shutdown","cron","device.pair.requested"],"capabilities":["stand-in"]}},"snapshot":{{"presence":[],"health":{{"ok":true,"ts":1795512524141}},"stateVersion":{{"presence":1,"health":3}},"uptimeMs":9428,"sessionDefaults":{{"defaultAgentId":"main","mainKey":"main","mainSessionKey":"agent:main:main"}},"authMode":"token"}},"auth":{{"role":"operator","scopes":["operator.read"]}},"policy":{{"maxPayload":26214400,"maxBufferedBytes":52428800,"tickIntervalMs":30000}}}}"#
    )
}

impl StandIn {
    /// One that listens and behaves well.
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let at_once = [
            ("status", r#"{"runtimeVersion":"2026.9.6"}"#),
            ("agents.list", answer("agents.list")),
            ("sessions.subscribe", r#"{"subscribed":true}"#),
        ];
        let state = State {
            listener: None,
            links: Vec::new(),
            gone: Vec::new(),
            requests: VecDeque::new(),
            seen: Vec::new(),
            at_once: at_once.map(|(method, payload)| (method.into(), payload.into())).into(),
            manners: Box::new(|_, _| Manner::Well),
            boot: 1,
            payloads: Payloads::MadeUp,
        };
        let this = Self { at, inner: Arc::new(Inner { state: Mutex::new(state), change: Condvar::new() }) };
        this.listen(listener);
        this
    }

    /// One whose frames are not held against OpenClaw's schema, nor what a gateway in front passes on of them.
    pub fn malformed() -> Self {
        let this = Self::new();
        this.state().payloads = Payloads::Malformed;
        this
    }

    fn listen(&self, listener: TcpListener) {
        let listener = Arc::new(listener);
        self.state().listener = Some(listener.clone());
        let inner = self.inner.clone();
        thread::spawn(move || {
            while let Ok((socket, _)) = listener.accept() {
                let inner = inner.clone();
                thread::spawn(move || inner.serve(socket));
            }
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state()
    }

    /// Behaves towards the connections from now on as `manners` says.
    pub fn behaves(&self, manners: impl FnMut(usize, &str) -> Manner + Send + 'static) {
        self.state().manners = Box::new(manners);
    }

    /// Answers a method at once from now on.
    pub fn answers(&self, method: &str, payload: &str) {
        self.state().at_once.insert(method.into(), payload.into());
    }

    /// Waits until `found` finds something.
    #[track_caller]
    fn wait<T>(&self, what: &str, mut found: impl FnMut(&mut State) -> Option<T>) -> T {
        let end = Instant::now() + LONG;
        let mut state = self.state();
        loop {
            if let Some(found) = found(&mut state) {
                return found;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let seen = state.seen.clone();
                drop(state);
                panic!("the stand-in waits for {what}; seen: {seen:?}");
            }
            state = self.inner.change.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The next request of `method`.
    #[track_caller]
    pub fn request(&self, method: &str) -> Request {
        self.wait(method, |state| {
            let at = state.requests.iter().position(|request| request.method == method)?;
            state.requests.remove(at)
        })
    }

    /// The next request, whatever it is.
    #[track_caller]
    pub fn next(&self) -> Request {
        self.wait("a request", |state| state.requests.pop_front())
    }

    /// How many requests of `method` came so far.
    pub fn count(&self, method: &str) -> usize {
        self.state().seen.iter().filter(|(_, seen)| seen == method).count()
    }

    /// Methods that came by one connection.
    pub fn seen_by(&self, link: usize) -> Vec<String> {
        let state = self.state();
        state.seen.iter().filter(|(by, _)| *by == link).map(|(_, method)| method.clone()).collect()
    }

    /// The next attached connection of a client, after the first `before` of any.
    #[track_caller]
    pub fn link_after(&self, before: usize) -> Link {
        self.wait("a connection of a client", |state| {
            let mut links = state.links.iter().skip(before);
            links.find(|link| link.attached.get().is_some() && !link.watches()).cloned()
        })
    }

    /// Every attached connection of a client so far.
    pub fn all_links(&self) -> Vec<Link> {
        let state = self.state();
        state.links.iter().filter(|link| link.attached.get().is_some() && !link.watches()).cloned().collect()
    }

    /// The latest attached connection of a client.
    #[track_caller]
    pub fn last_link(&self) -> Link {
        self.wait("a connection of a client", |state| {
            let mut links = state.links.iter().rev();
            links.find(|link| link.attached.get().is_some() && !link.watches()).cloned()
        })
    }

    /// The next attached connection after the first `before`, also one as a backend.
    #[track_caller]
    pub fn any_link_after(&self, before: usize) -> Link {
        self.wait("a connection", |state| {
            state.links.iter().skip(before).find(|link| link.attached.get().is_some()).cloned()
        })
    }

    /// The latest connection of the gateway itself.
    #[track_caller]
    pub fn watcher(&self) -> Link {
        self.wait("a connection of the gateway", |state| {
            state.links.iter().rev().find(|link| link.attached.get().is_some() && link.watches()).cloned()
        })
    }

    /// Parameters of the latest `connect`, whatever came of it.
    #[track_caller]
    pub fn latest_connect(&self) -> Value {
        self.wait("a connect", |state| {
            let text = state.links.iter().rev().find_map(|link| link.connect.get())?;
            Some(parse(&json(get(&parse(text), "params").unwrap())))
        })
    }

    /// The `connect` of every connection, as it came.
    pub fn connects(&self) -> Vec<String> {
        self.state().links.iter().filter_map(|link| link.connect.get().cloned()).collect()
    }

    /// The head of every connection.
    pub fn heads(&self) -> Vec<String> {
        self.state().links.iter().map(|link| link.head.clone()).collect()
    }

    /// Connections so far.
    pub fn links(&self) -> usize {
        self.state().links.len()
    }

    /// Waits until there are more than `before` connections.
    #[track_caller]
    pub fn more_links_than(&self, before: usize) {
        self.wait("a connection", |state| (state.links.len() > before).then_some(()));
    }

    /// Whether a connection is open.
    pub fn is_open(&self, link: &Link) -> bool {
        !self.state().gone.contains(&link.number)
    }

    /// Waits until a connection is gone.
    #[track_caller]
    pub fn gone(&self, number: usize) {
        self.wait("the end of a connection", |state| state.gone.contains(&number).then_some(()));
    }

    /// Goes away: listens no more, and ends every connection by `end`.
    pub fn leave(&self, end: impl Fn(&Link)) {
        let mut state = self.state();
        if let Some(listener) = state.listener.take() {
            shutdown(&*listener, Shutdown::Both).unwrap();
        }
        let links = state.links.clone();
        drop(state);
        links.iter().for_each(end);
    }

    /// Ends every connection, and listens on.
    pub fn end_all(&self) {
        let links = self.state().links.clone();
        links.iter().for_each(Link::end);
    }

    /// Is back on the same port, as another incarnation.
    pub fn back(&self) {
        let end = Instant::now() + LONG;
        let listener = loop {
            match TcpListener::bind(self.at) {
                Ok(listener) => break listener,
                // The thread of the one before may still hold it.
                Err(e) => assert!(Instant::now() < end, "{}: {e}", self.at),
            }
        };
        self.state().boot += 1;
        self.listen(listener);
    }

    /// A gateway in front of it.
    pub fn front(&self, home: &Home) -> Server {
        let front = self.front_anyhow(home);
        front.wait_log(&["in front of OpenClaw"]);
        front
    }

    /// A gateway in front of it that may not reach it.
    pub fn front_anyhow(&self, home: &Home) -> Server {
        let front = home.start_with(&["--upstream", &format!("ws://{}", self.at)], &[]);
        front.passes_on(self.state().payloads);
        front
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.leave(Link::end);
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // A test that fails elsewhere is told of that, and not of this.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, socket: TcpStream) {
        socket.set_nodelay(true).unwrap();
        socket.set_write_timeout(Some(LONG)).unwrap();
        let mut input = BufReader::new(socket.try_clone().unwrap());
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if input.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let (link, manner, boot) = {
            let mut state = self.state();
            let number = state.links.len();
            let link = Link {
                number,
                head: head.clone(),
                connect: Arc::default(),
                attached: Arc::default(),
                out: Arc::new(Mutex::new(Some(socket))),
                seq: Arc::default(),
            };
            state.links.push(link.clone());
            let manner = (state.manners)(number, &head);
            (link, manner, state.boot)
        };
        self.change.notify_all();
        let _ = self.talk(&link, &mut input, manner, boot);
        link.end();
        self.state().gone.push(link.number);
        self.change.notify_all();
    }

    fn talk(&self, link: &Link, input: &mut impl Read, manner: Manner, boot: u32) -> io::Result<()> {
        let mut left = match manner {
            Manner::Cut(left) => left,
            _ => usize::MAX,
        };
        // Whether all of it was sent.
        let mut send = |bytes: &[u8]| {
            let part = left.min(bytes.len());
            left -= part;
            link.bytes(&bytes[..part]) && part == bytes.len()
        };
        match &manner {
            Manner::SilentUpgrade => return drain(input),
            Manner::Http(answer) => {
                send(answer.as_bytes());
                return Ok(());
            }
            _ => {}
        }
        let key = link.head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
        let upgrade = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
            derive_accept_key(key.as_bytes())
        );
        let challenge = r#"{"type":"event","event":"connect.challenge","payload":{"nonce":"cc82e5a0-aa37-47d4-a062-ec4884048e9c","ts":1795512528144,"capabilities":["model-catalog-snapshot"]}}"#;
        if !send(upgrade.as_bytes()) || !send(&frame(0x81, challenge.as_bytes())) {
            return Ok(());
        }
        let connect = next(link, input)?;
        let id = text(&parse(&connect), "id");
        assert_eq!(text(&parse(&connect), "method"), "connect", "{connect}");
        link.connect.set(connect).unwrap();
        drop(self.state());
        self.change.notify_all();
        let payload = match &manner {
            Manner::SilentConnect => return drain(input),
            Manner::Refuse(error) => {
                let answer = format!(r#"{{"type":"res","id":"{id}","ok":false,"error":{error}}}"#);
                send(&frame(0x81, answer.as_bytes()));
                return drain(input);
            }
            Manner::Judge(judge) => {
                let params = parse(&json(get(&parse(link.connect.get().unwrap()), "params").unwrap()));
                match judge(&params, link.number) {
                    Ok(payload) => payload,
                    Err(error) => {
                        let answer = format!(r#"{{"type":"res","id":"{id}","ok":false,"error":{error}}}"#);
                        send(&frame(0x81, answer.as_bytes()));
                        return drain(input);
                    }
                }
            }
            Manner::Hello(payload) => payload.clone(),
            _ => hello(boot, link.number),
        };
        let answer = format!(r#"{{"type":"res","id":"{id}","ok":true,"payload":{payload}}}"#);
        if !send(&frame(0x81, answer.as_bytes())) {
            return Ok(());
        }
        let _ = link.attached.set(());
        drop(self.state());
        self.change.notify_all();
        loop {
            let raw = next(link, input)?;
            let value = parse(&raw);
            let (id, method) = (text(&value, "id"), text(&value, "method"));
            let request = Request { link: link.clone(), id, method: method.clone(), raw };
            let mut state = self.state();
            state.seen.push((link.number, method.clone()));
            match state.at_once.get(&method).cloned() {
                Some(payload) => {
                    drop(state);
                    request.ok(&payload);
                }
                None => {
                    state.requests.push_back(request);
                    drop(state);
                }
            }
            self.change.notify_all();
        }
    }
}

/// Reads until the connection ends.
fn drain(input: &mut impl Read) -> io::Result<()> {
    io::copy(input, &mut io::sink()).map(drop)
}

/// The next text of a client; pings are answered on the way.
fn next(link: &Link, input: &mut impl Read) -> io::Result<String> {
    loop {
        let mut head = [0; 2];
        input.read_exact(&mut head)?;
        assert!(head[1] & 0x80 != 0, "a frame of a client without a mask");
        let length = match head[1] & 0x7f {
            126 => {
                let mut length = [0; 2];
                input.read_exact(&mut length)?;
                u64::from(u16::from_be_bytes(length))
            }
            127 => {
                let mut length = [0; 8];
                input.read_exact(&mut length)?;
                u64::from_be_bytes(length)
            }
            n => u64::from(n),
        };
        let mut mask = [0; 4];
        input.read_exact(&mut mask)?;
        let mut payload = vec![0; length as usize];
        input.read_exact(&mut payload)?;
        payload.iter_mut().enumerate().for_each(|(at, byte)| *byte ^= mask[at % 4]);
        match head[0] {
            0x81 => return Ok(String::from_utf8(payload).expect("a text is UTF-8")),
            0x89 => {
                link.bytes(&frame(0x8a, &payload));
            }
            0x8a => {}
            _ => return Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

/// A JSON string.
pub fn quoted(text: &str) -> String {
    text.to_owned().serialize_json()
}

/// An answer of OpenClaw's form, where the protocol's schema defines one.
pub fn answer(method: &str) -> &'static str {
    match method {
        "agents.list" => r#"{"agents":[],"defaultId":"main","mainKey":"main","scope":"per-sender"}"#,
        "cron.add" => {
            r#"{"id":"job-1","name":"a job","enabled":true,"createdAtMs":1,"updatedAtMs":1,"schedule":{"kind":"every","everyMs":60000},"sessionTarget":"main","wakeMode":"now","payload":{"kind":"systemEvent","text":"x"},"state":{}}"#
        }
        "sessions.list" => r#"{"sessions":[],"count":0,"totalCount":0,"hasMore":false}"#,
        "node.event" => r#"{"ok":true,"event":"x","handled":true}"#,
        _ => "{}",
    }
}

/// A piece of a streamed answer, as the `payload` of the event `chat`.
pub fn chat(seq: u64, text: &str) -> String {
    let text = quoted(text);
    format!(
        r#"{{"runId":"run-1","sessionKey":"agent:main:main","seq":{seq},"state":"delta","deltaText":{text}}}"#
    )
}

/// Sets keys of `upstream` in Barnacle's own file.
pub fn waits(home: &Home, keys: &str) {
    std::fs::create_dir_all(home.store()).unwrap();
    std::fs::write(home.store().join("barnacle.json"), format!("{{upstream:{{{keys}}}}}")).unwrap();
}

/// The state of the gateway behind, as `health` and `/readyz` say it.
#[track_caller]
pub fn upstream_state(front: &Server, client: &mut crate::wire::Client) -> String {
    let health = client.ok("health", "{}");
    let state = text(&health, "upstream.state");
    let ready = parse(&front.get("/readyz").1);
    assert_eq!(text(&ready, "upstream.state"), state, "{}", json(&ready));
    state
}

/// The bytes that a well-behaved stand-in sends up to the end of its `hello-ok`, at most.
pub fn greeting_bytes() -> usize {
    600 + hello(1, 10_000).len()
}
