//! A home directory, and the gateway that lives in it.

use super::{
    ADMIN, Client, LONG, Offer, Refused,
    client::{Payloads, passes_on},
    json, number,
};
use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, ChildStderr, Command, Stdio},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

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
        let mut command = self.program(env!("CARGO_BIN_EXE_barnacle"));
        command.args(args);
        command
    }

    /// Another program with the same environment.
    pub fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("HOME", &self.dir).env("PATH", std::env::var_os("PATH").unwrap());
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

    /// Starts the gateway with arguments by another program, which runs what its last arguments say.
    fn start_by(&self, mut program: Command, args: &[&str]) -> Server {
        program
            .args([env!("CARGO_BIN_EXE_barnacle"), "gateway", "--port", &self.port.to_string()])
            .args(args);
        Server::spawn(program, self.port)
    }

    /// Starts the gateway with arguments in namespaces of its own, as `unshare` has them, after a shell did
    /// `prepare` there.
    pub fn start_unshared(&self, unshare: &[&str], prepare: &str, args: &[&str]) -> Server {
        let mut command = self.program("unshare");
        command.args(unshare).args(["sh", "-euc", &format!("{prepare}\nexec \"$@\""), "sh"]);
        self.start_by(command, args)
    }

    /// Starts the gateway on a disk whose every fsync takes `delay`, as on a worn SD card. What ends
    /// with the server is strace, not the gateway: end that by [`Client::terminate`].
    pub fn start_on_slow_disk(&self, delay: Duration) -> Server {
        let mut command = self.program("strace");
        let inject = format!("inject=fsync:delay_enter={}", delay.as_micros());
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync", "-e", &inject]);
        self.start_by(command, &[])
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
        self.wait_new(0, words)
    }

    /// The same, of the lines after the first `before`.
    pub fn wait_new(&self, before: usize, words: &[&str]) -> String {
        let (lines, change) = &*self.log;
        let end = Instant::now() + LONG;
        let mut lines = lines.lock().unwrap();
        loop {
            if let Some(line) = lines.iter().skip(before).find(|l| words.iter().any(|w| l.contains(w))) {
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

    /// Tells it to restart, and waits until it has; `by` is attached all the time.
    #[track_caller]
    pub fn restart(&self, by: &mut Client) {
        let mut count = || number(&by.ok("status", "{}"), "barnacle.restarts");
        let before = count();
        signal(self.pid(), "USR1");
        let end = Instant::now() + LONG;
        while count() == before {
            assert!(Instant::now() < end, "it does not restart:\n{}", self.log());
        }
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

    /// Keeps its frames with that in mind.
    pub fn passes_on(&self, payloads: Payloads) {
        passes_on(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)), payloads);
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

/// strace, attached to a running process until this is dropped.
pub struct Strace {
    child: Child,
    /// What it writes to, which must stay open.
    _stderr: BufReader<ChildStderr>,
}

impl Strace {
    /// Attaches strace with these arguments to `pid` and all its threads.
    pub fn attach(pid: u32, args: &[&str]) -> Self {
        let mut command = Command::new("strace");
        command.args(["-f", "-o", "/dev/null", "-p", &pid.to_string()]).args(args);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let attached = stderr.by_ref().lines().any(|line| line.unwrap().contains("attached"));
        assert!(attached, "strace does not attach");
        Self { child, _stderr: stderr }
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap().success());
}

/// This host's own address in its network, if it has one.
pub fn own_address() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|a| a.ip()).filter(|ip| !ip.is_unspecified() && !ip.is_loopback())
}
