//! An open connection, read frame by frame.

use super::{
    LONG, Offer, flag, get,
    json::{ClonedFlat, json, number, text},
    list, signal,
};
use async_tungstenite::tungstenite::{
    self, Message, WebSocket,
    client::IntoClientRequest,
    http::{HeaderName, HeaderValue},
};
use barnacle::internals::tls::{Secured, Trust, secure};
use miniserde::json::Value;
use nanoserde::SerJson;
use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Mutex,
    time::Instant,
};

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

/// What a connection is over.
pub enum Stream {
    Plain(TcpStream),
    Tls(Box<Secured<TcpStream>>),
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = match self {
                Self::Plain(socket) => socket.read(buf),
                Self::Tls(secured) => secured.read(buf),
            };
            // A read with a time limit ends so where the process was stopped and continued: signal(7).
            match read {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(buf),
            Self::Tls(secured) => secured.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(secured) => secured.flush(),
        }
    }
}

/// An open connection.
pub struct Client {
    ws: WebSocket<Stream>,
    pub nonce: String,
    pub ts: u64,
    pub hello: Value,
    /// Those that came before an answer.
    pub events: Vec<Value>,
    asked: HashMap<String, String>,
    next: u32,
    /// Whether its frames are kept, to be held against the schema.
    ours: bool,
    at: SocketAddr,
}

/// What a gateway passes on of another program's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Payloads {
    /// Answers that a test makes up.
    MadeUp,
    /// Frames that are deliberately malformed: none of them is kept.
    Malformed,
}

/// Gateways that pass on another program's answers.
static PAYLOADS: Mutex<BTreeMap<SocketAddr, Payloads>> = Mutex::new(BTreeMap::new());

/// The gateway at `at` passes on such answers.
pub(super) fn passes_on(at: SocketAddr, payloads: Payloads) {
    PAYLOADS.lock().unwrap().insert(at, payloads);
}

impl Client {
    /// Opens a socket and waits for the challenge.
    pub fn open(at: SocketAddr, offer_headers: &[(&str, String)]) -> Result<Self, String> {
        Self::open_at(at, "/", offer_headers)
    }

    pub fn open_at(at: SocketAddr, path: &str, headers: &[(&str, String)]) -> Result<Self, String> {
        Self::open_over(at, None, path, headers)
    }

    /// By TLS where there is somebody to trust.
    pub fn open_over(
        at: SocketAddr,
        trust: Option<&Trust>,
        path: &str,
        headers: &[(&str, String)],
    ) -> Result<Self, String> {
        let socket = TcpStream::connect(at).map_err(|e| e.to_string())?;
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        let (scheme, socket) = match trust {
            None => ("ws", Stream::Plain(socket)),
            Some(trust) => {
                let secured = secure(socket, &at.ip().to_string(), trust).map_err(|e| e.to_string())?;
                ("wss", Stream::Tls(Box::new(secured)))
            }
        };
        let mut request = format!("{scheme}://{at}{path}").into_client_request().unwrap();
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
            ours: true,
            at,
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

    /// Connects to another program's gateway.
    pub fn connect_to_other(at: SocketAddr, offer: &Offer<'_>) -> Result<Self, Refused> {
        let none = |why: String| Refused { error: Value::String(why), close: (0, String::new()) };
        let mut client = Self::open_at(at, offer.path, &offer.headers).map_err(none)?;
        client.ours = false;
        client.offer(offer)
    }

    /// Connects by TLS.
    pub fn connect_tls(at: SocketAddr, trust: &Trust, offer: &Offer<'_>) -> Result<Self, Refused> {
        let none = |why: String| Refused { error: Value::String(why), close: (0, String::new()) };
        Self::open_over(at, Some(trust), offer.path, &offer.headers).map_err(none)?.offer(offer)
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
        match self.ws.get_mut() {
            Stream::Plain(socket) => socket,
            Stream::Tls(secured) => &mut secured.sock,
        }
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
        let payloads = PAYLOADS.lock().unwrap().get(&self.at).copied();
        let kept = self.ours && payloads != Some(Payloads::Malformed);
        let Some(dir) = std::env::var_os("BARNACLE_FRAMES").filter(|_| kept) else { return };
        // What the schema says of an answer to a method is not asked of another program's.
        let method = self.asked.get(&text(value, "id")).filter(|_| payloads.is_none());
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
        let end = Instant::now() + LONG;
        loop {
            assert!(Instant::now() < end, "no answer to {id}");
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
        let end = Instant::now() + LONG;
        loop {
            // Others come by themselves every now and then.
            assert!(Instant::now() < end, "no event {name}");
            let frame = self.frame().unwrap_or_else(|close| panic!("closed {close:?} before event {name}"));
            if text(&frame, "event") == name {
                return frame;
            }
            self.events.push(frame);
        }
    }

    /// Reads until the connection is closed.
    pub fn closed(&mut self) -> (u16, String) {
        let end = Instant::now() + LONG;
        loop {
            assert!(Instant::now() < end, "it is not closed");
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

    /// Ends the gateway by the process id it gives, whichever process started it.
    pub fn terminate(mut self) {
        signal(number(&self.ok("status", "{}"), "barnacle.pid") as u32, "TERM");
    }

    /// `hello-ok.auth.scopes`, joined.
    pub fn scopes(&self) -> String {
        list(&self.hello, "auth.scopes").join(" ")
    }
}
