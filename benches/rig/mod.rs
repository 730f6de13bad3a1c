//! What the benches stand on: the release gateway in a home of its own, and a client so thin that what
//! is measured is the gateway.
//!
//! The client is blocking and has one thread: hand-built masked frames over a `TcpStream`, no
//! WebSocket library, no JSON parser.

#![allow(dead_code)]

pub mod bare_relay;
pub mod openclaw;

use barnacle::internals::{
    auth::{
        identity::Identity,
        payload::{Payload, Version},
    },
    protocol::base64url_encode,
};
use std::{
    fs, io,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// The shared token of every gateway started here.
pub const TOKEN: &str = "bench-shared-token-0123456789abcdef";

/// The gateway's binary, as `cargo bench` built it.
pub const BINARY: &str = env!("CARGO_BIN_EXE_barnacle");

/// The longest that a start is waited for.
const START: Duration = Duration::from_secs(60);

/// Why a bench cannot go on.
pub type Failure = Box<dyn std::error::Error>;

/// A running gateway.
pub struct Gateway {
    child: Child,
    words: Vec<String>,
    home: PathBuf,
    /// Where it listens.
    pub at: SocketAddr,
}

impl Gateway {
    /// Starts one in a fresh home, and waits until it listens.
    pub fn start() -> Result<Self, Failure> {
        Self::start_under(&[])
    }

    /// The same, in front of the gateway at `upstream`.
    pub fn start_in_front_of(upstream: SocketAddr) -> Result<Self, Failure> {
        Self::start_as(&[BINARY.into()], &["--upstream".into(), format!("ws://{upstream}")])
    }

    /// The same, by a program that becomes it and watches it: `words` and then its own command.
    pub fn start_under(words: &[String]) -> Result<Self, Failure> {
        Self::start_by(&words.iter().cloned().chain([BINARY.into()]).collect::<Vec<_>>())
    }

    /// A gateway of another build, which these words start.
    pub fn start_by(words: &[String]) -> Result<Self, Failure> {
        Self::start_as(words, &[])
    }

    fn start_as(words: &[String], args: &[String]) -> Result<Self, Failure> {
        let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{}", std::process::id()));
        let at = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        fs::create_dir_all(home.join(".openclaw"))?;
        let config = format!(
            r#"{{gateway:{{mode:"local",port:{},auth:{{mode:"token",token:"{TOKEN}"}}}}}}"#,
            at.port()
        );
        fs::write(home.join(".openclaw/openclaw.json"), config)?;
        let words = words.iter().cloned().chain(["gateway".into()]);
        let words: Vec<String> = words.chain(args.iter().cloned()).collect();
        let child = spawn(&words, &home)?;
        let mut gateway = Self { child, words, home, at };
        gateway.wait()?;
        Ok(gateway)
    }

    /// Kills it, starts it again in the same home; how long until it took a connection.
    pub fn restart(&mut self) -> Result<Duration, Failure> {
        self.stop();
        let began = Instant::now();
        self.child = spawn(&self.words, &self.home)?;
        self.wait()?;
        Ok(began.elapsed())
    }

    fn wait(&mut self) -> Result<(), Failure> {
        let end = Instant::now() + START;
        while !listens(self.at) {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("the gateway did not start ({status})").into());
            }
            if Instant::now() > end {
                return Err(format!("the gateway does not listen after {} s", START.as_secs()).into());
            }
            sleep(Duration::from_micros(100));
        }
        Ok(())
    }

    fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Keeps it on one processor.
    pub fn pin(&self, cpu: usize) -> Result<(), Failure> {
        pin(Some(&self.child), cpu)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it lives.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// A file of its `/proc/<pid>`.
    pub fn proc(&self, name: &str) -> io::Result<String> {
        fs::read_to_string(format!("/proc/{}/{name}", self.child.id()))
    }

    /// The number behind `key` in one of those files, in the unit it stands in there.
    pub fn figure(&self, file: &str, key: &str) -> Result<u64, Failure> {
        let text = self.proc(file)?;
        let line = text.lines().find_map(|l| l.strip_prefix(key)).ok_or("no such key")?;
        Ok(line.split_whitespace().next().ok_or("no figure")?.parse()?)
    }

    /// What its main thread has run so far.
    pub fn cpu(&self) -> Result<Duration, Failure> {
        let text = self.proc("schedstat")?;
        Ok(Duration::from_nanos(text.split(' ').next().ok_or("no figure")?.parse()?))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(&self.home);
    }
}

fn spawn(words: &[String], home: &PathBuf) -> Result<Child, Failure> {
    let mut command = Command::new(&words[0]);
    // The journal goes nowhere: what a terminal or journald costs is not the gateway's.
    command.args(&words[1..]).env_clear().env("HOME", home).stdin(Stdio::null());
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Ok(child.map_err(|e| format!("{}: {e}", words[0]))?)
}

/// Whether a connection is taken there. It comes from an address of its own: while nobody listens, a connect from a
/// port that an earlier connection was closed on is answered in that one's name (`TIME_WAIT`), and goes on only
/// after two ticks of the kernel, 8 to 12 ms.
pub fn listens(at: SocketAddr) -> bool {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let knock = || {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        bind(&socket, &SocketAddr::from(([127, 0, 0, 2], 0)))?;
        connect(&socket, &at)
    };
    knock().is_ok()
}

/// Waits for a process to end, and kills it if that takes longer than `time`.
pub fn wait_for(mut child: Child, time: Duration) -> Result<ExitStatus, Failure> {
    let end = Instant::now() + time;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() > end {
            child.kill()?;
            child.wait()?;
            return Err(format!("took longer than {} s", time.as_secs()).into());
        }
        sleep(Duration::from_millis(1));
    }
}

/// Keeps a process (this one if none is named) on one processor, so that the scheduler does not place the
/// measured and its floor differently.
pub fn pin(child: Option<&Child>, cpu: usize) -> Result<(), Failure> {
    use rustix::{process::Pid, thread};
    let mut set = thread::CpuSet::new();
    set.set(cpu);
    Ok(thread::sched_setaffinity(child.map(Pid::from_child), &set)?)
}

/// As many descriptors as the system allows: one a connection, here and in what is started from here.
pub fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(e) = setrlimit(Resource::Nofile, limit) {
        eprintln!("descriptor limit: {e}");
    }
}

/// What a client attaches with.
pub struct Offer<'a> {
    /// Its device, if it has one.
    pub device: Option<&'a Identity>,
    /// `auth.token`, if it has one.
    pub token: Option<&'a str>,
}

/// A connection to a gateway.
pub struct Client {
    socket: TcpStream,
    input: Vec<u8>,
    /// How much of `input` was handed out.
    used: usize,
}

impl Client {
    /// Connects and asks for the upgrade.
    pub fn open(at: SocketAddr) -> io::Result<Self> {
        let mut client = Self::dial(at)?;
        client.upgrade(at)?;
        Ok(client)
    }

    /// Connects.
    pub fn dial(at: SocketAddr) -> io::Result<Self> {
        let socket = TcpStream::connect_timeout(&at, Duration::from_secs(20))?;
        socket.set_nodelay(true)?;
        Ok(Self { socket, input: Vec::with_capacity(8192), used: 0 })
    }

    /// Asks for the upgrade.
    pub fn upgrade(&mut self, at: SocketAddr) -> io::Result<()> {
        let upgrade = format!(
            "GET / HTTP/1.1\r\nHost: {at}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        self.socket.write_all(upgrade.as_bytes())
    }

    /// Reads the challenge and answers it.
    pub fn connect(&mut self, offer: &Offer<'_>) -> Result<(), Failure> {
        let challenge = self.challenge()?;
        let connect = answer_to(&challenge, offer)?;
        self.send(0x81, connect.as_bytes())?;
        Ok(())
    }

    /// Reads the answer to the upgrade, and the challenge.
    pub fn challenge(&mut self) -> Result<String, Failure> {
        while !self.input.windows(4).any(|w| w == b"\r\n\r\n") {
            self.fill()?;
        }
        let head = self.input.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or_default();
        if !self.input.starts_with(b"HTTP/1.1 101") {
            return Err(String::from_utf8_lossy(&self.input).into());
        }
        self.used = head + 4;
        self.text()
    }

    /// Reads up to the answer to `connect`; its text if it is `hello-ok`.
    pub fn hello(&mut self) -> Result<String, Failure> {
        loop {
            let text = self.text()?;
            if text.starts_with(r#"{"type":"res""#) {
                return if text.contains("\"hello-ok\"") { Ok(text) } else { Err(text.into()) };
            }
        }
    }

    /// All of it: TCP connect to `hello-ok`.
    pub fn attach(at: SocketAddr, offer: &Offer<'_>) -> Result<(Self, String), Failure> {
        let mut client = Self::open(at)?;
        client.connect(offer)?;
        let hello = client.hello()?;
        Ok((client, hello))
    }

    /// Asks, and waits for the answer; what comes between is passed over.
    pub fn call(&mut self, method: &str, params: &str) -> Result<String, Failure> {
        self.ask(method, params)?;
        self.answer()
    }

    /// Asks.
    pub fn ask(&mut self, method: &str, params: &str) -> io::Result<()> {
        let request = format!(r#"{{"type":"req","id":"c","method":"{method}","params":{params}}}"#);
        self.send(0x81, request.as_bytes())
    }

    /// Waits for the next answer.
    pub fn answer(&mut self) -> Result<String, Failure> {
        loop {
            let text = self.text()?;
            if text.starts_with(r#"{"type":"res""#) {
                return Ok(text);
            }
            if text.starts_with('\u{3}') {
                return Err("closed".into());
            }
        }
    }

    /// The socket itself, for bytes of any kind.
    pub fn raw(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Waits no longer than this for anything.
    pub fn wait_at_most(&self, time: Duration) -> io::Result<()> {
        self.socket.set_read_timeout(Some(time))
    }

    /// Closes as RFC 6455 §7 asks, and waits until the gateway has closed too.
    pub fn close(mut self) -> io::Result<()> {
        self.send(0x88, &1000u16.to_be_bytes())?;
        while self.socket.read(&mut [0; 1024]).is_ok_and(|n| n > 0) {}
        Ok(())
    }

    /// Sends one masked frame. The mask is zero: it costs the gateway the same.
    pub fn send(&mut self, first: u8, payload: &[u8]) -> io::Result<()> {
        let mut frame = Vec::with_capacity(payload.len() + 8);
        frame.push(first);
        match u16::try_from(payload.len()).unwrap_or(u16::MAX) {
            n @ 0..=125 => frame.push(0x80 | n as u8),
            n => {
                frame.push(0x80 | 126);
                frame.extend(n.to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(payload);
        self.socket.write_all(&frame)
    }

    /// The payload of the next frame.
    pub fn text(&mut self) -> Result<String, Failure> {
        loop {
            let unread = &self.input[self.used..];
            let (head, payload) = match unread {
                [_, 127, n @ ..] if n.len() >= 8 => (10, u64::from_be_bytes(n[..8].try_into()?) as usize),
                [_, 126, a, b, ..] => (4, usize::from(u16::from_be_bytes([*a, *b]))),
                [_, n @ 0..=125, ..] => (2, usize::from(*n)),
                _ => (2, usize::MAX - 2),
            };
            if let Some(text) = unread.get(head..head + payload) {
                let text = String::from_utf8_lossy(text).into_owned();
                self.used += head + payload;
                if self.used == self.input.len() {
                    self.input.clear();
                    self.used = 0;
                }
                return Ok(text);
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut chunk = [0; 16384];
        let n = self.socket.read(&mut chunk)?;
        self.input.extend_from_slice(&chunk[..n]);
        if n == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

/// A client with the shared token alone. A gateway that starts or ends may take a connection and say nothing.
pub fn attach(at: SocketAddr) -> Result<Client, Failure> {
    let mut client = Client::open(at)?;
    client.wait_at_most(Duration::from_secs(20))?;
    client.connect(&Offer { device: None, token: Some(TOKEN) })?;
    client.hello()?;
    Ok(client)
}

/// Connections of one device in a crowd: the gateway takes 64.
pub const OF_ONE_DEVICE: usize = 60;

/// The text behind `key` in a JSON text, up to the end of the string or number.
pub fn field<'a>(json: &'a str, key: &str) -> Option<&'a str> {
    let rest = &json[json.find(key)? + key.len()..];
    Some(&rest[..rest.find(['"', ',', '}'])?])
}

/// The `connect` that answers a challenge.
pub fn answer_to(challenge: &str, offer: &Offer<'_>) -> Result<String, Failure> {
    let nonce = field(challenge, "\"nonce\":\"").ok_or("no nonce in the challenge")?;
    let ts = field(challenge, "\"ts\":").ok_or("no time in the challenge")?.parse()?;
    Ok(connect_frame(offer, nonce, ts))
}

/// The `connect` of a command-line client.
pub fn connect_frame(offer: &Offer<'_>, nonce: &str, ts: u64) -> String {
    const SCOPES: [&str; 3] = ["operator.admin", "operator.read", "operator.write"];
    let device = offer.device.map(|identity| {
        let key = identity.public_key();
        let id = key.device_id().to_string();
        let payload = Payload {
            device_id: &id,
            client_id: "cli",
            client_mode: "cli",
            role: "operator",
            scopes: &SCOPES,
            signed_at: ts,
            nonce,
            platform: "linux",
            device_family: "",
        };
        let signature = identity.sign(&payload.text(Version::V3, offer.token.unwrap_or_default()));
        let key = base64url_encode(&key.0);
        format!(
            r#","device":{{"id":"{id}","publicKey":"{key}","signature":"{signature}","signedAt":{ts},"nonce":"{nonce}"}}"#
        )
    });
    let auth = offer.token.map(|token| format!(r#","auth":{{"token":"{token}"}}"#));
    format!(
        r#"{{"type":"req","id":"1","method":"connect","params":{{"minProtocol":3,"maxProtocol":4,"client":{{"id":"cli","version":"1.0.0","platform":"linux","mode":"cli"}},"role":"operator","scopes":{SCOPES:?},"caps":[]{}{}}}}}"#,
        auth.unwrap_or_default(),
        device.unwrap_or_default(),
    )
}

/// A device that no gateway has seen.
pub fn stranger() -> Result<Identity, Failure> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    Ok(Identity::from_seed(&seed))
}

/// The value below which `share` of the sorted `times` lie.
pub fn quantile<T: Copy + Default>(sorted: &[T], share: f64) -> T {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
}

/// Microseconds.
pub fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
