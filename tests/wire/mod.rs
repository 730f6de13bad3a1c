//! The real gateway as a process, and a client that speaks the protocol to it over a socket.
//!
//! The client is deliberately literal: every field of the connect frame can be set, left out or broken.
//! Where `BARNACLE_FRAMES` names a directory, every frame the gateway sends is written there, for the
//! validation against OpenClaw's schema.

#![allow(dead_code)]

use async_tungstenite::tungstenite::{
    self, Message, WebSocket,
    client::IntoClientRequest,
    http::{HeaderName, HeaderValue},
};
use barnacle::auth::{
    identity::Identity,
    payload::{Payload, Version},
};
use miniserde::json::{Number, Value};
use nanoserde::SerJson;
use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// Nothing on a loopback takes this long; a wait that does has failed.
pub const LONG: Duration = Duration::from_secs(20);

pub const ADMIN: &[&str] =
    &["operator.admin", "operator.read", "operator.write", "operator.approvals", "operator.pairing"];
pub const READ: &[&str] = &["operator.read"];

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// A home directory with a gateway that can be started, killed and started again on the same port.
pub struct Home {
    pub dir: PathBuf,
    pub port: u16,
}

impl Home {
    /// A home without any file.
    pub fn empty() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("barnacle-wire-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(&dir).unwrap();
        Self { dir, port: free_port() }
    }

    /// The fixture of the field cases: token `T1`, loopback.
    pub fn fix() -> Self {
        let home = Self::empty();
        home.auth(r#"{mode:"token",token:"T1"}"#);
        home
    }

    /// Writes a config with this `gateway.auth`.
    pub fn auth(&self, auth: &str) {
        self.gateway(&format!("auth:{auth}"));
    }

    /// Writes a config with these keys under `gateway`.
    pub fn gateway(&self, keys: &str) {
        self.config(&format!("{{gateway:{{mode:\"local\",bind:\"loopback\",port:{},{keys}}}}}", self.port));
    }

    /// Writes the config.
    pub fn config(&self, text: &str) {
        let path = self.config_path();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn config_path(&self) -> PathBuf {
        self.dir.join(".openclaw/openclaw.json")
    }

    pub fn store(&self) -> PathBuf {
        self.dir.join(".openclaw/barnacle")
    }

    pub fn tokens(&self) -> PathBuf {
        self.store().join("tokens.bin")
    }

    /// `barnacle` with this home as its environment, and nothing else of ours.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_barnacle"));
        command.args(args).env_clear().env("HOME", &self.dir).env("PATH", std::env::var_os("PATH").unwrap());
        command
    }

    /// Runs a command of the CLI to its end: exit code, stdout, stderr.
    pub fn run(&self, args: &[&str]) -> (i32, String, String) {
        let out = self.command(args).output().unwrap();
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        (out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr))
    }

    pub fn start(&self) -> Server {
        self.start_with(&[], &[])
    }

    /// Starts the gateway with arguments and environment; returns when it listens.
    pub fn start_with(&self, args: &[&str], vars: &[(&str, &str)]) -> Server {
        let port = self.port.to_string();
        let mut all = vec!["gateway", "--port", &port];
        all.extend(args);
        let mut command = self.command(&all);
        command.envs(vars.iter().copied());
        Server::spawn(command, self.port)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

type Log = Arc<(Mutex<Vec<String>>, Condvar)>;

/// A running gateway; killed when dropped.
pub struct Server {
    pub child: Child,
    pub port: u16,
    log: Log,
}

impl Server {
    /// Starts `command` and waits until it says that it listens.
    pub fn spawn(mut command: Command, port: u16) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log: Log = Arc::default();
        let (stderr, to) = (child.stderr.take().unwrap(), log.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                to.0.lock().unwrap().push(line);
                to.1.notify_all();
            }
            to.0.lock().unwrap().push("(end of log)".into());
            to.1.notify_all();
        });
        let server = Self { child, port, log };
        let line = server.wait_log(&["listening on", "(end of log)"]);
        assert!(line.contains("listening on"), "the gateway did not start:\n{}", server.log());
        server
    }

    /// Waits for a log line that holds one of `words`.
    pub fn wait_log(&self, words: &[&str]) -> String {
        let (lines, change) = &*self.log;
        let end = Instant::now() + LONG;
        let mut lines = lines.lock().unwrap();
        loop {
            if let Some(line) = lines.iter().find(|l| words.iter().any(|w| l.contains(w))) {
                return line.clone();
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no log line with {words:?} in:\n{}", lines.join("\n"));
            lines = change.wait_timeout(lines, left).unwrap().0;
        }
    }

    pub fn log(&self) -> String {
        self.log.0.lock().unwrap().join("\n")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells it to stop, and waits for its end.
    pub fn stop(mut self) {
        signal(self.pid(), "TERM");
        assert!(self.child.wait().unwrap().success(), "{}", self.log());
    }

    /// The power goes.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}/", self.port)
    }

    /// A socket that has only been challenged.
    pub fn socket(&self) -> Client {
        Client::open(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)), &[]).unwrap()
    }

    /// Connects as the offer says.
    pub fn try_connect(&self, offer: &Offer<'_>) -> Result<Client, Refused> {
        Client::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)), offer)
    }

    /// Connects, and expects to be let in.
    #[track_caller]
    pub fn connect(&self, offer: &Offer<'_>) -> Client {
        match self.try_connect(offer) {
            Ok(client) => client,
            Err(r) => panic!("refused: {} (close {:?})\nlog:\n{}", json(&r.error), r.close, self.log()),
        }
    }

    /// Connects, and expects to be turned away.
    #[track_caller]
    pub fn refuse(&self, offer: &Offer<'_>) -> Refused {
        match self.try_connect(offer) {
            Ok(client) => panic!("let in: {}", json(&client.hello)),
            Err(refused) => refused,
        }
    }

    /// An operator on this host with the shared token and no device, as the real CLI is.
    #[track_caller]
    pub fn admin(&self) -> Client {
        self.connect(&Offer::new().token("T1").scopes(ADMIN))
    }

    /// Plain HTTP: status and body.
    pub fn get(&self, path: &str) -> (u16, String) {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        write!(socket, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).unwrap();
        let status = text.split(' ').nth(1).unwrap().parse().unwrap();
        (status, text.split_once("\r\n\r\n").unwrap().1.into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap().success());
}

/// A device: a key, and the token it was handed.
pub struct Device {
    pub key: Identity,
    pub token: Option<String>,
}

impl Device {
    /// A device of which no one has heard.
    pub fn new() -> Self {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).unwrap();
        Self { key: Identity::from_seed(&seed), token: None }
    }

    pub fn id(&self) -> String {
        self.key.public_key().device_id().to_string()
    }

    /// The token it was handed.
    pub fn token(&self) -> &str {
        self.token.as_deref().expect("a device that was handed a token")
    }

    /// Pairs as a local operator with the shared token `T1`, and keeps the token it is handed.
    #[track_caller]
    pub fn pair(server: &Server, scopes: &[&str]) -> Self {
        let mut device = Self::new();
        let client = server.connect(&Offer::device(&device).token("T1").scopes(scopes));
        device.token = Some(client.device_token());
        device
    }
}

/// What a client offers to be let in.
#[derive(Clone)]
pub struct Offer<'a> {
    pub device: Option<&'a Device>,
    pub auth: Vec<(&'a str, String)>,
    pub scopes: Vec<&'a str>,
    pub role: &'a str,
    pub client_id: &'a str,
    pub mode: &'a str,
    pub platform: &'a str,
    pub protocol: (u64, u64),
    pub caps: Vec<&'a str>,
    pub commands: Vec<&'a str>,
    pub headers: Vec<(&'a str, String)>,
    pub path: &'a str,
    /// What is signed in the token's place; by default what OpenClaw's client signs.
    pub signed_token: Option<String>,
    pub version: Version,
    /// Off the challenge's `ts`, milliseconds.
    pub clock_off: i64,
    pub nonce: Option<String>,
    pub id: Option<String>,
    pub signature: Option<String>,
    pub without_nonce: bool,
    /// More JSON members of `params`, each with its comma before it.
    pub extra: &'a str,
}

impl<'a> Offer<'a> {
    pub fn new() -> Self {
        Self {
            device: None,
            auth: Vec::new(),
            scopes: READ.to_vec(),
            role: "operator",
            client_id: "cli",
            mode: "cli",
            platform: "linux",
            protocol: (3, 4),
            caps: Vec::new(),
            commands: Vec::new(),
            headers: Vec::new(),
            path: "/",
            signed_token: None,
            version: Version::V3,
            clock_off: 0,
            nonce: None,
            id: None,
            signature: None,
            without_nonce: false,
            extra: "",
        }
    }

    pub fn device(device: &'a Device) -> Self {
        Self { device: Some(device), ..Self::new() }
    }

    /// A node with commands.
    pub fn node(device: &'a Device, commands: &[&'a str]) -> Self {
        Self {
            commands: commands.to_vec(),
            ..Self::device(device).role("node").client("node-host", "node").scopes(&[])
        }
    }

    fn and(mut self, name: &'a str, value: &str) -> Self {
        self.auth.push((name, value.into()));
        self
    }

    pub fn token(self, token: &str) -> Self {
        self.and("token", token)
    }

    pub fn device_token(self, token: &str) -> Self {
        self.and("deviceToken", token)
    }

    pub fn password(self, password: &str) -> Self {
        self.and("password", password)
    }

    pub fn bootstrap(self, token: &str) -> Self {
        self.and("bootstrapToken", token)
    }

    pub fn scopes(mut self, scopes: &[&'a str]) -> Self {
        self.scopes = scopes.to_vec();
        self
    }

    pub fn role(mut self, role: &'a str) -> Self {
        self.role = role;
        self
    }

    pub fn client(mut self, id: &'a str, mode: &'a str) -> Self {
        (self.client_id, self.mode) = (id, mode);
        self
    }

    pub fn header(mut self, name: &'a str, value: &str) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// As somebody from elsewhere, through a proxy on this host that is not trusted.
    pub fn remote(self) -> Self {
        self.header("X-Forwarded-For", "203.0.113.7")
    }

    fn frame(&self, nonce: &str, ts: u64) -> String {
        let list = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<Vec<_>>().serialize_json();
        let auth: Vec<String> =
            self.auth.iter().map(|(k, v)| format!("\"{k}\":{}", v.serialize_json())).collect();
        let auth = if auth.is_empty() { String::new() } else { format!(",\"auth\":{{{}}}", auth.join(",")) };
        let device = self.device.map_or_else(String::new, |d| self.proof(d, nonce, ts));
        format!(
            r#"{{"type":"req","id":"c1","method":"connect","params":{{"minProtocol":{},"maxProtocol":{},"client":{{"id":{},"version":"1.0.0","platform":{},"mode":{}}},"role":{},"scopes":{},"caps":{},"commands":{}{auth}{device}{}}}}}"#,
            self.protocol.0,
            self.protocol.1,
            self.client_id.serialize_json(),
            self.platform.serialize_json(),
            self.mode.serialize_json(),
            self.role.serialize_json(),
            list(&self.scopes),
            list(&self.caps),
            list(&self.commands),
            self.extra,
        )
    }

    fn proof(&self, device: &Device, nonce: &str, ts: u64) -> String {
        let id = self.id.clone().unwrap_or_else(|| device.id());
        let signed_at = ts.saturating_add_signed(self.clock_off);
        let nonce = self.nonce.as_deref().unwrap_or(nonce);
        let named = |name: &str| self.auth.iter().find(|(k, _)| *k == name).map(|(_, v)| v.clone());
        let token = self.signed_token.clone().unwrap_or_else(|| {
            ["token", "deviceToken", "bootstrapToken"].into_iter().find_map(named).unwrap_or_default()
        });
        let payload = Payload {
            device_id: &id,
            client_id: self.client_id,
            client_mode: self.mode,
            role: self.role,
            scopes: &self.scopes,
            signed_at,
            nonce,
            platform: self.platform,
            device_family: "",
        };
        let signature =
            self.signature.clone().unwrap_or_else(|| device.key.sign(&payload.text(self.version, &token)));
        let nonce = if self.without_nonce { String::new() } else { format!(",\"nonce\":\"{nonce}\"") };
        format!(
            r#","device":{{"id":"{id}","publicKey":"{}","signature":"{signature}","signedAt":{signed_at}{nonce}}}"#,
            device.key.public_key()
        )
    }
}

/// A connect that was turned away.
#[derive(Debug)]
pub struct Refused {
    pub error: Value,
    pub close: (u16, String),
}

impl Refused {
    /// A field of the error, by its path.
    pub fn get(&self, path: &str) -> String {
        text(&self.error, path)
    }

    /// `details.code`.
    pub fn code(&self) -> String {
        self.get("details.code")
    }

    /// Checks what every refusal owes its reader.
    #[track_caller]
    pub fn expect(&self, code: &str) -> &Self {
        assert_eq!(self.code(), code, "{}", json(&self.error));
        assert!(!self.get("message").is_empty());
        assert!(!self.get("details.hint").is_empty(), "no hint: {}", json(&self.error));
        assert!(!self.close.1.is_empty() && self.close.0 != 1000, "closed {:?}", self.close);
        self
    }
}

/// An open connection.
pub struct Client {
    ws: WebSocket<TcpStream>,
    pub nonce: String,
    pub ts: u64,
    pub hello: Value,
    events: Vec<Value>,
    asked: HashMap<String, String>,
    next: u32,
}

impl Client {
    /// Opens a socket and waits for the challenge.
    pub fn open(at: SocketAddr, offer_headers: &[(&str, String)]) -> Result<Self, String> {
        Self::open_at(at, "/", offer_headers)
    }

    fn open_at(at: SocketAddr, path: &str, headers: &[(&str, String)]) -> Result<Self, String> {
        let socket = TcpStream::connect(at).map_err(|e| e.to_string())?;
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        let mut request = format!("ws://{at}{path}").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let (ws, _) = tungstenite::client(request, socket).map_err(|e| e.to_string())?;
        let mut client = Self {
            ws,
            nonce: String::new(),
            ts: 0,
            hello: Value::Null,
            events: Vec::new(),
            asked: HashMap::new(),
            next: 0,
        };
        let first = client.frame().map_err(|close| format!("closed before the challenge: {close:?}"))?;
        assert_eq!(text(&first, "event"), "connect.challenge", "{}", json(&first));
        client.nonce = text(&first, "payload.nonce");
        client.ts = number(&first, "payload.ts");
        Ok(client)
    }

    pub fn connect(at: SocketAddr, offer: &Offer<'_>) -> Result<Self, Refused> {
        let none = |why: String| Refused { error: Value::String(why), close: (0, String::new()) };
        let client = Self::open_at(at, offer.path, &offer.headers).map_err(none)?;
        client.offer(offer)
    }

    /// Goes on from the challenge.
    pub fn offer(mut self, offer: &Offer<'_>) -> Result<Self, Refused> {
        self.asked.insert("c1".into(), "connect".into());
        self.send(&offer.frame(&self.nonce, self.ts));
        let refused = |close| Refused { error: Value::Null, close };
        let answer = self.frame().map_err(refused)?;
        if flag(&answer, "ok") {
            self.hello = get(&answer, "payload").cloned_flat();
            return Ok(self);
        }
        let error = get(&answer, "error").cloned_flat();
        let close = self.closed();
        Err(Refused { error, close })
    }

    /// The frame an offer would be, for this connection.
    pub fn connect_frame(&self, offer: &Offer<'_>) -> String {
        offer.frame(&self.nonce, self.ts)
    }

    pub fn send(&mut self, text: &str) {
        let _ = self.ws.send(Message::text(text));
    }

    pub fn send_ping(&mut self) {
        self.ws.send(Message::Ping(vec![7].into())).unwrap();
    }

    /// Closes with a code and a reason.
    pub fn close(&mut self, code: u16, reason: &str) {
        let frame = tungstenite::protocol::CloseFrame { code: code.into(), reason: reason.to_owned().into() };
        self.ws.close(Some(frame)).unwrap();
    }

    /// The socket below.
    pub fn raw(&mut self) -> &mut TcpStream {
        self.ws.get_mut()
    }

    /// The next message, whatever it is.
    pub fn message(&mut self) -> Result<Message, tungstenite::Error> {
        self.ws.read()
    }

    /// The next frame, or how the connection ended.
    pub fn frame(&mut self) -> Result<Value, (u16, String)> {
        loop {
            match self.ws.read() {
                Ok(Message::Text(t)) => {
                    let value: Value =
                        miniserde::json::from_str(&t).unwrap_or_else(|_| panic!("not JSON: {t}"));
                    self.record(&value, &t);
                    return Ok(value);
                }
                Ok(Message::Close(Some(f))) => return Err((f.code.into(), f.reason.to_string())),
                Ok(Message::Close(None)) => return Err((1005, String::new())),
                Ok(_) => {}
                Err(e) => return Err((1006, e.to_string())),
            }
        }
    }

    fn record(&self, value: &Value, raw: &str) {
        let Some(dir) = std::env::var_os("BARNACLE_FRAMES") else { return };
        let method = self.asked.get(&text(value, "id"));
        let method = method.map_or("null".into(), |m| m.serialize_json());
        let line = format!("{{\"method\":{method},\"frame\":{raw}}}\n");
        let path = Path::new(&dir).join(format!("rust-{}.jsonl", std::process::id()));
        let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }

    /// Asks, without waiting for the answer.
    pub fn ask(&mut self, method: &str, params: &str) -> String {
        self.next += 1;
        let id = format!("r{}", self.next);
        self.asked.insert(id.clone(), method.into());
        self.send(&format!(r#"{{"type":"req","id":"{id}","method":"{method}","params":{params}}}"#));
        id
    }

    /// The answer to a request; events that come before it are kept.
    #[track_caller]
    pub fn answer(&mut self, id: &str) -> Result<Value, Value> {
        loop {
            let frame = match self.frame() {
                Ok(frame) => frame,
                Err(close) => panic!("closed {close:?} before the answer to {id}"),
            };
            if text(&frame, "type") == "event" {
                self.events.push(frame);
            } else if text(&frame, "id") == id {
                let part = if flag(&frame, "ok") { "payload" } else { "error" };
                let value = get(&frame, part).cloned_flat();
                return if flag(&frame, "ok") { Ok(value) } else { Err(value) };
            }
        }
    }

    /// Asks and waits.
    #[track_caller]
    pub fn call(&mut self, method: &str, params: &str) -> Result<Value, Value> {
        let id = self.ask(method, params);
        self.answer(&id)
    }

    /// Asks, and expects to be answered well.
    #[track_caller]
    pub fn ok(&mut self, method: &str, params: &str) -> Value {
        self.call(method, params).unwrap_or_else(|e| panic!("{method}: {}", json(&e)))
    }

    /// Asks, and expects to be refused.
    #[track_caller]
    pub fn err(&mut self, method: &str, params: &str) -> Value {
        match self.call(method, params) {
            Ok(v) => panic!("{method} was answered: {}", json(&v)),
            Err(e) => e,
        }
    }

    /// The next event of a name.
    #[track_caller]
    pub fn event(&mut self, name: &str) -> Value {
        if let Some(at) = self.events.iter().position(|e| text(e, "event") == name) {
            return self.events.remove(at);
        }
        loop {
            let frame = self.frame().unwrap_or_else(|close| panic!("closed {close:?} before event {name}"));
            if text(&frame, "event") == name {
                return frame;
            }
            self.events.push(frame);
        }
    }

    /// Reads until the connection is closed.
    pub fn closed(&mut self) -> (u16, String) {
        loop {
            match self.frame() {
                Ok(frame) => self.events.push(frame),
                Err(close) => return close,
            }
        }
    }

    #[track_caller]
    pub fn device_token(&self) -> String {
        let token = text(&self.hello, "auth.deviceToken");
        assert!(!token.is_empty(), "no device token in {}", json(&self.hello));
        token
    }

    /// `hello-ok.auth.scopes`, joined.
    pub fn scopes(&self) -> String {
        list(&self.hello, "auth.scopes").join(" ")
    }
}

/// miniserde's values cannot be cloned; what is kept is written and read again.
trait ClonedFlat {
    fn cloned_flat(&self) -> Value;
}

impl ClonedFlat for Option<&Value> {
    fn cloned_flat(&self) -> Value {
        self.map_or(Value::Null, |v| miniserde::json::from_str(&miniserde::json::to_string(v)).unwrap())
    }
}

/// A member by its path; a number selects an item of a list.
pub fn get<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(value, |v, name| match v {
        Value::Object(o) => o.get(name),
        Value::Array(a) => a.get(name.parse::<usize>().ok()?),
        _ => None,
    })
}

pub fn text(value: &Value, path: &str) -> String {
    match get(value, path) {
        Some(Value::String(s)) => s.clone(),
        Some(Value::Number(n)) => n.to_string(),
        Some(Value::Bool(b)) => b.to_string(),
        _ => String::new(),
    }
}

pub fn flag(value: &Value, path: &str) -> bool {
    matches!(get(value, path), Some(Value::Bool(true)))
}

pub fn number(value: &Value, path: &str) -> u64 {
    match get(value, path) {
        Some(Value::Number(Number::U64(n))) => *n,
        other => panic!("{path} is {}", other.map_or("missing".into(), json)),
    }
}

pub fn list(value: &Value, path: &str) -> Vec<String> {
    match get(value, path) {
        Some(Value::Array(a)) => a
            .iter()
            .map(|v| match v {
                Value::String(s) => s.clone(),
                other => json(other),
            })
            .collect(),
        _ => Vec::new(),
    }
}

pub fn items<'v>(value: &'v Value, path: &str) -> Vec<&'v Value> {
    match get(value, path) {
        Some(Value::Array(a)) => a.iter().collect(),
        _ => Vec::new(),
    }
}

pub fn json(value: &Value) -> String {
    miniserde::json::to_string(value)
}

/// This host's own address in its network, if it has one.
pub fn own_address() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|a| a.ip()).filter(|ip| !ip.is_unspecified() && !ip.is_loopback())
}
