//! Deployment over a real sshd, onto hosts with the real systemd: put there, upgraded and taken back with a client
//! attached, by the commands that one types. And the same for a board that fetches it by itself.
//!
//! This file is a program of its own (no test harness), because it is the other version, too: called as
//! `… gateway …` and the like it is Barnacle 9.9.9.

mod host;
mod wire;

use barnacle::gateway::handover::{DIALECT, Dialect};
use host::{ACCOUNT, Host};
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Output, Stdio},
};
use wire::{ADMIN, Client, Device, Home, Offer, Server, free_port, number};

const UNIT: &str = "barnacle-gateway.service";
const OPENCLAW: &str = "openclaw-gateway.service";
const SYSTEM: &str = "/usr/local/bin/barnacle";

static NEXT: Dialect = Dialect {
    version: "9.9.9",
    format: DIALECT.format,
    encode: DIALECT.encode,
    decode: DIALECT.decode,
    older: DIALECT.older,
};

/// Where this is, the other version answers no `status`.
const MUTE: &str = "/tmp/barnacle-test-mute";

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1).peekable();
    let own = ["gateway", "--version", "status", "import", "config"];
    if args.peek().is_some_and(|word| own.iter().any(|o| word == o)) {
        if args.peek().is_some_and(|word| word == "status") && Path::new(MUTE).exists() {
            return ExitCode::FAILURE;
        }
        return barnacle::cli::main_as(args, &NEXT);
    }
    let tests: [(&str, fn()); 4] = [
        ("over_ssh_as_root", over_ssh_as_root),
        ("over_ssh_in_openclaws_place", over_ssh_in_openclaws_place),
        ("fetched_by_the_board", fetched_by_the_board),
        ("without_systemd", without_systemd),
    ];
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|w| name.contains(w.as_str()));
    // Most of it is waiting for systemd and ssh.
    std::thread::scope(|scope| {
        for (name, test) in tests.into_iter().filter(|(name, _)| wants(name)) {
            scope.spawn(move || {
                test();
                println!("test {name} ... ok");
            });
        }
    });
    ExitCode::SUCCESS
}

/// A release set of this machine's kind, in a directory that is removed again.
struct Set(PathBuf);

impl Set {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("barnacle-set-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        fs::copy("cross/install.sh", dir.join("install.sh")).unwrap();
        Self(dir)
    }

    /// Has it hold `program`.
    fn of(&self, program: impl AsRef<Path>) -> &Self {
        fs::copy(program, self.binary()).unwrap();
        self.sum()
    }

    /// Has it hold a script.
    fn of_script(&self, text: &str) -> &Self {
        fs::write(self.binary(), text).unwrap();
        self.sum()
    }

    fn binary(&self) -> PathBuf {
        self.0.join("barnacle-0.1.0-x86_64")
    }

    fn sum(&self) -> &Self {
        fs::set_permissions(self.binary(), fs::Permissions::from_mode(0o755)).unwrap();
        let sums =
            Command::new("sha256sum").arg("barnacle-0.1.0-x86_64").current_dir(&self.0).output().unwrap();
        fs::write(self.0.join("SHA256SUMS"), sums.stdout).unwrap();
        self
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process that ends with its owner.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A host that one reaches by ssh, and what a `Set` has for it.
struct Board {
    host: Host,
    set: Set,
    /// Where its gateway listens.
    at: SocketAddr,
    /// The home of who logs in, as the host knows it.
    home: String,
    /// The ssh client's own configuration.
    config: PathBuf,
    _sshd: [Ends; 2],
}

impl Board {
    fn new(user: bool) -> Self {
        let host = Host::for_packages(user);
        let (name, home) =
            if user { (ACCOUNT, format!("/home/{ACCOUNT}")) } else { ("root", "/root".into()) };
        let set = Set::new(name);
        let dir = host.path(&home).join("sshd");
        fs::create_dir_all(&dir).unwrap();
        for key in [dir.join("host"), set.0.join("key")] {
            let made =
                Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(key).status();
            assert!(made.unwrap().success());
        }
        fs::copy(set.0.join("key.pub"), dir.join("authorized")).unwrap();
        // Of who may log in sshd asks the host, and root's it gives up its privileges to.
        let passwd = host.path("etc/passwd");
        let with = fs::read_to_string(&passwd).unwrap() + "sshd:x:101:101::/run/sshd:/bin/false\n";
        fs::write(passwd, with).unwrap();
        fs::create_dir_all(host.path("run/sshd")).unwrap();
        let (port, other) = (free_port(), free_port());
        // The second one tells whoever comes that this is a processor of another kind.
        let sshd = |port: u16, words: &[&str]| {
            let config = format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {home}/sshd/host\nPidFile none\nStrictModes no\n\
                 AuthorizedKeysFile {home}/sshd/authorized\nUsePAM no\nPermitRootLogin yes\n"
            );
            let file = format!("{home}/sshd/config-{port}");
            fs::write(host.path(&file), config).unwrap();
            let all: Vec<_> = dir.read_dir().unwrap().map(|e| e.unwrap().path()).collect();
            let id = fs::metadata(host.path(&home)).map(|m| std::os::unix::fs::MetadataExt::uid(&m)).unwrap();
            all.iter().for_each(|path| chown(path, Some(id), Some(id)).unwrap());
            let words = [words, &["/usr/sbin/sshd", "-D", "-e", "-f", &file]].concat();
            let log = fs::File::create(set.0.join(format!("sshd-{port}"))).unwrap();
            let child = host.command(words[0], &words[1..]).stdin(Stdio::null()).stderr(log).spawn().unwrap();
            let ends = Ends(child);
            host.until("no sshd listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
            ends
        };
        let sshd = [sshd(port, &[]), sshd(other, &["setarch", "i686"])];
        let config = set.0.join("ssh_config");
        let client = format!(
            "Host board\n Port {port}\nHost foreign\n Port {other}\nHost *\n HostName 127.0.0.1\n User {name}\n \
             IdentityFile {dir}/key\n IdentitiesOnly yes\n UserKnownHostsFile {dir}/known\n \
             StrictHostKeyChecking accept-new\n BatchMode yes\n LogLevel ERROR\n",
            dir = set.0.display(),
        );
        fs::write(&config, client).unwrap();
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let board = Self { host, set, at, home, config, _sshd: sshd };
        let port = at.port();
        board.write(
            ".openclaw/openclaw.json",
            &format!("{{gateway:{{mode:\"local\",port:{port},auth:{{mode:\"token\",token:\"T1\"}}}}}}"),
        );
        board
    }

    /// Writes a file of who logs in.
    fn write(&self, name: &str, text: &str) {
        if self.home != "/root" {
            self.host.write(name, text);
        } else {
            let path = self.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.host.path(&format!("{}/{name}", self.home))
    }

    /// Runs a script of `cross/` against the host; its exit code, and what it says.
    fn script(&self, name: &str, args: &[&str]) -> (i32, String) {
        let mut command = Command::new(format!("cross/{name}.sh"));
        command.args(args).arg("--set").arg(&self.set.0).stdin(Stdio::null());
        said(command.env("SSH", format!("ssh -F {}", self.config.display())).output().unwrap())
    }

    #[track_caller]
    fn deploy(&self, args: &[&str]) -> String {
        let (code, said) = self.script("deploy", &[&["board"], args].concat());
        assert_eq!(code, 0, "{said}\nlog:\n{}", self.host.log());
        said
    }

    /// A deployment that fails, and says why.
    #[track_caller]
    fn fails(&self, args: &[&str], why: &str) {
        let (code, said) = self.script("deploy", &[&["board"], args].concat());
        assert!(code == 1 && said.contains(why), "{why}: {code} {said}\nlog:\n{}", self.host.log());
    }

    #[track_caller]
    fn attach(&self) -> Client {
        attach(self.at, &self.host)
    }
}

fn said(output: Output) -> (i32, String) {
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (output.status.code().unwrap_or(-1), text)
}

#[track_caller]
fn attach(at: SocketAddr, host: &Host) -> Client {
    match Client::connect(at, &Offer::new().token("T1").scopes(ADMIN)) {
        Ok(client) => client,
        Err(_) => panic!("refused; log:\n{}", host.log()),
    }
}

fn this() -> &'static str {
    env!("CARGO_BIN_EXE_barnacle")
}

fn next() -> PathBuf {
    std::env::current_exe().unwrap()
}

/// One that runs, and neither starts nor goes on.
const LAME: &str = "#!/bin/sh\n[ \"$1\" != --version ] || { echo barnacle 9.9.10; exit; }\nexit 1\n";

fn over_ssh_as_root() {
    let board = Board::new(false);
    let program = board.host.path(SYSTEM);
    // What must not get there does not.
    let (code, text) = board.script("deploy", &["foreign"]);
    assert!(code == 1 && text.contains("no binary for this processor (i686)"), "{text}");
    board.set.of(this());
    fs::write(board.set.binary(), "cut short").unwrap();
    board.fails(&[], "the checksum is wrong");
    board.set.of_script("#!/bin/sh\necho it does not work >&2\nexit 1\n");
    board.fails(&[], "does not run here: it does not work");
    board.set.of_script(LAME);
    board.fails(&[], "nothing of Barnacle is left");
    assert!(!program.exists() && !board.host.units().join(UNIT).exists());

    let text = board.set.of(this()).0.display().to_string();
    let text = text + &board.deploy(&[]);
    assert!(text.contains(&format!("{SYSTEM} is 0.1.0")) && text.contains("Barnacle 0.1.0"), "{text}");
    assert_eq!(board.host.property(UNIT, "UnitFileState"), "enabled");
    let mut client = board.attach();
    let pid = board.host.property(UNIT, "MainPID");
    assert!(board.deploy(&[]).contains("is this program already"));
    let mut serves = |restarts: u64| {
        assert_eq!(number(&client.ok("status", "{}"), "barnacle.restarts"), restarts, "{}", board.host.log());
        assert_eq!(board.host.property(UNIT, "MainPID"), pid);
    };
    serves(0);
    board.set.of(next());
    board.deploy(&[]);
    serves(1);
    board.host.wait_log("Barnacle 9.9.9 goes on from 0.1.0", 1);

    // One that cannot go on is found out before anything is given up.
    board.set.of_script(LAME);
    board.fails(&[], "Barnacle 0.1.0 serves on, as before");
    serves(1);
    assert_eq!(fs::read(&program).unwrap(), fs::read(next()).unwrap());
    board.deploy(&["--rollback"]);
    serves(2);
    board.host.wait_log("Barnacle 0.1.0 goes on from 9.9.9", 1);
    // One that takes over and then is not what it should be hands back.
    fs::write(board.host.path(MUTE), "").unwrap();
    board.set.of(next());
    board.fails(&[], "Barnacle 0.1.0 serves on, as before");
    serves(4);
    board.host.wait_log("Barnacle 0.1.0 goes on from 9.9.9", 2);
    assert_eq!(board.host.property(UNIT, "NRestarts"), "0");
    let left = board
        .path("")
        .read_dir()
        .unwrap()
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().starts_with(".barnacle"));
    assert_eq!(left.count(), 0, "what was sent is there yet");

    // It may take as long as a client may be silent.
    drop(client);
    bench(&board);
}

/// The bench, carried there, run there, its figures carried back.
fn bench(board: &Board) {
    board.set.of(this());
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--profile", "quick", "--bench", "board", "--message-format=json"])
        .output()
        .unwrap();
    let built = String::from_utf8(built.stdout).unwrap();
    let built = built.lines().find(|line| line.contains("\"kind\":[\"bench\"]")).expect("the bench");
    let program = built.split("\"executable\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let plot = board.set.0.join("plot.svg");
    let (code, text) = board.script(
        "bench",
        &["board", "--bench", program, "--quick", "--only", "handshake", "--svg", plot.to_str().unwrap()],
    );
    assert_eq!(code, 0, "{text}");
    for word in ["page size ", "governor ", "throttled ", "gateway      barnacle 0.1.0", "device token"] {
        assert!(text.contains(word), "no {word:?} in {text}");
    }
    assert!(fs::read_to_string(plot).unwrap().starts_with("<svg"));
}

fn over_ssh_in_openclaws_place() {
    let board = Board::new(true);
    let theirs = "[Service]\nExecStart=/bin/sleep 1000\n[Install]\nWantedBy=default.target\n";
    board.write(&format!(".config/systemd/user/{OPENCLAW}"), theirs);
    board.host.systemctl(&["daemon-reload"]);
    board.host.systemctl(&["enable", "--now", OPENCLAW]);
    let device = Device::new();
    let paired = format!(
        r#"{{"{0}":{{"deviceId":"{0}","publicKey":"{1}","displayName":"Phone","clientId":"openclaw-ios",
        "clientMode":"ui","role":"operator","roles":["operator"],"scopes":["operator.read"],"tokens":{{}}}}}}"#,
        device.id(),
        device.key.public_key(),
    );
    board.write(".openclaw/devices/paired.json", &paired);
    let openclaw = |state: &str| {
        assert_eq!(board.host.property(OPENCLAW, "ActiveState"), state, "{}", board.host.log());
    };

    board.set.of(this());
    board.fails(&[], "gateway install --replace-openclaw");
    openclaw("active");
    // Stopped by then: it gets its place back.
    board.set.of_script(&format!(
        "#!/bin/sh\n[ \"$1 $2\" != 'gateway install' ] || systemctl --user disable --now {OPENCLAW}\n{}",
        &LAME[10..]
    ));
    board.fails(&["--replace-openclaw"], "OpenClaw's gateway runs, as before");
    openclaw("active");
    board.set.of(this());
    let text = board.deploy(&["--import-openclaw", "--replace-openclaw"]);
    assert!(text.contains("1 devices came over"), "{text}");
    openclaw("inactive");
    assert!(Client::connect(board.at, &Offer::device(&device).scopes(&["operator.read"])).is_ok());
    board.set.of(next());
    board.fails(&["--import-openclaw"], "stop it first");
    board.deploy(&["--back-to-openclaw"]);
    openclaw("active");
    assert_eq!(board.host.property(UNIT, "LoadState"), "not-found");
}

fn fetched_by_the_board() {
    let (host, set) = (Host::for_packages(false), Set::new("http"));
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let port = at.port();
    fs::create_dir_all(host.path("root/.openclaw")).unwrap();
    fs::write(
        host.path("root/.openclaw/openclaw.json"),
        format!("{{gateway:{{mode:\"local\",port:{port},auth:{{mode:\"token\",token:\"T1\"}}}}}}"),
    )
    .unwrap();
    let web = free_port();
    let base = format!("http://127.0.0.1:{web}");
    let server = Command::new("python3")
        .args(["-m", "http.server", "--bind", "127.0.0.1", "--directory"])
        .arg(&set.0)
        .arg(web.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _server = Ends(server.unwrap());
    host.until("no HTTP server listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, web)).ok());
    let run = |args: &str| {
        let line = format!("curl -fsSL {base}/install.sh | sh -s -- {args}");
        said(host.command("sh", &["-c", &line]).env_remove("SUDO_USER").output().unwrap())
    };
    let fetch = format!("--from {base}");
    let (code, text) = run("");
    assert!(code == 2 && text.contains("none is published yet"), "{text}");
    let (code, text) = run(&fetch);
    assert!(code == 1 && text.contains("cannot download"), "{text}");
    set.of(this());
    fs::write(set.binary(), "another").unwrap();
    let (code, text) = run(&fetch);
    assert!(code == 1 && text.contains("the checksum is wrong"), "{text}");
    assert!(!host.path(SYSTEM).exists());
    set.of(this());
    let (code, text) = run(&fetch);
    assert_eq!(code, 0, "{text}\n{}", host.log());
    let mut client = attach(at, &host);
    set.of(next());
    let (code, text) = run(&fetch);
    assert_eq!(code, 0, "{text}\n{}", host.log());
    assert_eq!(number(&client.ok("status", "{}"), "barnacle.restarts"), 1);
    host.wait_log("Barnacle 9.9.9 goes on from 0.1.0", 1);
    let (code, text) = run("--rollback");
    assert_eq!(code, 0, "{text}\n{}", host.log());
    assert_eq!(number(&client.ok("status", "{}"), "barnacle.restarts"), 2);
}

/// As in a container, or with another init: a clear word; a gateway that runs goes on with the new program.
fn without_systemd() {
    let (home, set) = (Home::fix(), Set::new("plain"));
    home.gateway("auth:{mode:\"token\",token:\"T1\"}");
    let install = |program: PathBuf| {
        set.of(&program);
        let sums = fs::read_to_string(set.0.join("SHA256SUMS")).unwrap();
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "sh",
            "-c",
            "mount -t tmpfs none /run && exec sh \"$@\"",
            "-",
            "cross/install.sh",
            "--user",
        ]);
        command.arg("--binary").arg(set.binary()).args(["--sha256", sums.split(' ').next().unwrap()]);
        command.env_clear().env("HOME", &home.dir).env("PATH", std::env::var_os("PATH").unwrap());
        said(command.output().unwrap())
    };
    let (code, text) = install(this().into());
    assert!(code == 1 && text.contains("nothing was started, for want of systemd"), "{text}");
    let mut command = Command::new(home.dir.join(".local/bin/barnacle"));
    command.arg("gateway").env_clear().env("HOME", &home.dir);
    let server = Server::spawn(command, home.port);
    let mut client = server.connect(&Offer::new().token("T1").scopes(ADMIN));
    let (code, text) = install(next());
    assert_eq!(code, 0, "{text}");
    assert_eq!(number(&client.ok("status", "{}"), "barnacle.restarts"), 1);
    server.wait_log(&["Barnacle 9.9.9 goes on from 0.1.0"]);
}
