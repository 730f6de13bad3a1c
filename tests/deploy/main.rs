//! Deployment over a real sshd, onto hosts with the real systemd: put there, upgraded and taken back with a client
//! attached, by the commands that one types. And the same for a board that fetches it by itself.
//!
//! This file is a program of its own (no test harness), because it is the other version, too: called as
//! `… gateway …` and the like it is Barnacle 9.9.9.

#[path = "../support/host/mod.rs"]
mod host;
#[path = "../support/versions.rs"]
mod versions;
#[path = "../support/wire/mod.rs"]
mod wire;

mod board;

use board::{Board, Ends, Login, Set, said};
use host::{ACCOUNT, Host, UNIT, shared};
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::Duration,
};
use versions::{next, this};
use wire::{ADMIN, Client, Device, Home, Offer, Server, free_port, number};

const OPENCLAW: &str = "openclaw-gateway.service";
const SYSTEM: &str = "/usr/local/bin/barnacle";

/// Where this is, the other version answers no `status`.
const MUTE: &str = "/tmp/barnacle-test-mute";

fn main() -> ExitCode {
    if versions::is_called(&["status"]) && Path::new(MUTE).exists() {
        return ExitCode::FAILURE;
    }
    if versions::is_called(&["gateway", "--version", "status", "import", "config"]) {
        return versions::be(&versions::NEXT);
    }
    // Most of it is waiting for systemd and ssh.
    versions::pass(
        &[
            ("over_ssh_as_root", over_ssh_as_root),
            ("over_ssh_by_sudo", over_ssh_by_sudo),
            ("over_ssh_in_openclaws_place", over_ssh_in_openclaws_place),
            ("over_ssh_while_openclaw_runs", over_ssh_while_openclaw_runs),
            ("fetched_by_the_board", fetched_by_the_board),
            ("without_systemd", without_systemd),
        ],
        true,
    )
}

/// A program that runs, but starts no gateway and takes over from none.
const LAME: &str = "#!/bin/sh\n[ \"$1\" != --version ] || { echo barnacle 9.9.10; exit; }\nexit 1\n";

fn over_ssh_as_root() {
    let board = Board::new(Login::Root);
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
    board.host.wait_log("Barnacle 9.9.9 handed over from 0.1.0", 1);

    // One that cannot go on is found out before anything is given up.
    board.set.of_script(LAME);
    board.fails(&[], "Barnacle 0.1.0 serves on, as before");
    serves(1);
    assert_eq!(fs::read(&program).unwrap(), fs::read(next()).unwrap());
    board.deploy(&["--rollback"]);
    serves(2);
    board.host.wait_log("Barnacle 0.1.0 handed over from 9.9.9", 1);
    // One that takes over and then is not what it should be hands back.
    fs::write(board.host.path(MUTE), "").unwrap();
    board.set.of(next());
    board.fails(&[], "Barnacle 0.1.0 serves on, as before");
    serves(4);
    board.host.wait_log("Barnacle 0.1.0 handed over from 9.9.9", 2);
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
    let board = Board::new(Login::Account);
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
    assert!(text.contains("1 devices imported"), "{text}");
    openclaw("inactive");
    assert!(Client::connect(board.at, &Offer::device(&device).scopes(&["operator.read"])).is_ok());
    board.set.of(next());
    board.fails(&["--import-openclaw"], "stop it first");
    board.deploy(&["--back-to-openclaw"]);
    openclaw("active");
    assert_eq!(board.host.property(UNIT, "LoadState"), "not-found");
}

/// As on a board whose first account may be root: by `sudo` alone, with a password where it asks for one.
fn over_ssh_by_sudo() {
    let board = Board::new(Login::Sudoer);
    board.set.of(this());
    board.sudoers("/bin/false");
    board.fails(&["--system"], "takes root or sudo, and neither can be had here");
    board.sudoers("NOPASSWD: ALL");
    board.deploy(&[]);
    assert_eq!(board.host.property(UNIT, "User"), ACCOUNT);
    assert!(board.host.path(SYSTEM).exists());
    let mut client = board.attach();
    board.set.of(next());
    board.sudoers("ALL");
    board.fails(&[], "takes root or sudo, and neither can be had here");
    let (code, text) = board.at_a_terminal(&[], "swordfish");
    assert_eq!(code, 0, "{text}\n{}", board.host.log());
    board.host.wait_log("Barnacle 9.9.9 handed over from 0.1.0", 1);
    assert_eq!(text.matches("password for").count(), 1, "{text}");
    assert_eq!(number(&client.ok("status", "{}"), "barnacle.restarts"), 1, "{}", board.host.log());
}

/// Not a file of an old version but a gateway of OpenClaw's own, asked while it serves.
fn over_ssh_while_openclaw_runs() {
    let modules = fs::canonicalize("tests/peers/node_modules").expect("OpenClaw; tests/peers/install.sh");
    let board = Board::new(Login::Beside(&modules));
    let node = modules.read_dir().unwrap().flatten().find(|e| e.path().join("bin/node").exists());
    let node = node.expect("its Node");
    // The first time it runs it ends its own installation, and on the board its folder cannot be written.
    let (home, mut first) = (Home::empty(), Command::new(node.path().join("bin/node")));
    first.arg(modules.join("openclaw/openclaw.mjs")).arg("--version").env("HOME", &home.dir);
    assert!(first.status().unwrap().success());
    let node = format!("/opt/node_modules/{}/bin", node.file_name().to_string_lossy());
    let unit = format!(
        "[Service]\nEnvironment=PATH={node}:/usr/bin:/bin\n\
         ExecStart={node}/node /opt/node_modules/openclaw/openclaw.mjs gateway run\n[Install]\nWantedBy=default.target\n"
    );
    board.write(&format!(".config/systemd/user/{OPENCLAW}"), &unit);
    board.host.systemctl(&["daemon-reload"]);
    board.host.systemctl(&["enable", "--now", OPENCLAW]);
    let mut phone = Device::new();
    let pairing = Offer::device(&phone).token("T1");
    let paired = board.host.until_in(Duration::from_secs(90), "OpenClaw lets nobody in", || {
        Client::connect_to_other(board.at, &pairing).ok()
    });
    phone.token = Some(paired.device_token());
    drop(paired);

    board.set.of(this());
    let text = board.deploy(&["--import-openclaw", "--replace-openclaw"]);
    assert!(text.contains("1 devices imported"), "{text}");
    assert_eq!(board.host.property(OPENCLAW, "ActiveState"), "inactive");
    // By what OpenClaw gave it, and nobody has to approve it again.
    let client = Client::connect(board.at, &Offer::device(&phone).token(phone.token()));
    let Ok(mut client) = client else { panic!("refused; log:\n{}", board.host.log()) };
    assert_eq!(number(&client.ok("status", "{}"), "barnacle.restarts"), 0);
}

fn fetched_by_the_board() {
    let (host, set) = (Host::for_packages(false), Set::new("http"));
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    fs::create_dir_all(host.path("root/.openclaw")).unwrap();
    fs::write(host.path("root/.openclaw/openclaw.json"), shared(at.port())).unwrap();
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
    // B10, B130, B134: no process may have more than 64 MB, and nothing is compiled, wherever one could.
    let compilers = host.path("root/compilers");
    fs::create_dir_all(&compilers).unwrap();
    for name in ["cargo", "rustc", "rustup", "cc", "gcc", "make", "npm", "node"] {
        let path = compilers.join(name);
        fs::write(&path, "#!/bin/sh\ntouch /root/compiled\n").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let run = |args: &str| {
        let line = format!("ulimit -v 65536; curl -fsSL {base}/install.sh | sh -s -- {args}");
        let line = format!("PATH=/root/compilers:$PATH; {line}");
        said(host.command("sh", &["-c", &line]).env_remove("SUDO_USER").output().unwrap())
    };
    let fetch = format!("--from {base}");
    let (code, text) = run("");
    assert!(code == 2 && text.contains("none is published yet"), "{text}");
    let (code, text) = run(&fetch);
    assert!(code == 1 && text.contains("cannot download"), "{text}");
    set.of(this());
    let sums = fs::read_to_string(set.0.join("SHA256SUMS")).unwrap();
    fs::write(set.0.join("SHA256SUMS"), sums.replace("x86_64", "armv6")).unwrap();
    let (code, text) = run(&fetch);
    assert!(code == 1 && text.contains("has no binary for x86_64"), "{text}");
    fs::write(set.0.join("SHA256SUMS"), sums).unwrap();
    fs::write(set.binary(), "another").unwrap();
    let (code, text) = run(&fetch);
    assert!(code == 1 && text.contains("the checksum is wrong"), "{text}");
    assert!(!host.path(SYSTEM).exists());
    set.of(this());
    let (code, text) = run(&fetch);
    assert_eq!(code, 0, "{text}\n{}", host.log());
    let mut client = host.attach(at);
    set.of(next());
    let (code, text) = run(&fetch);
    assert_eq!(code, 0, "{text}\n{}", host.log());
    assert_eq!(number(&client.ok("status", "{}"), "barnacle.restarts"), 1);
    host.wait_log("Barnacle 9.9.9 handed over from 0.1.0", 1);
    let (code, text) = run("--rollback");
    assert_eq!(code, 0, "{text}\n{}", host.log());
    assert_eq!(number(&client.ok("status", "{}"), "barnacle.restarts"), 2);
    assert!(!host.path("root/compiled").exists(), "something was to be compiled");
}

/// As in a container, or with another init: a clear message; a running gateway changes to the new program.
fn without_systemd() {
    let (home, set) = (Home::fix(), Set::new("plain"));
    home.gateway("auth:{mode:\"token\",token:\"T1\"}");
    let install = |program: PathBuf| {
        set.of(&program);
        let sums = fs::read_to_string(set.0.join("SHA256SUMS")).unwrap();
        let mut command = home.program("unshare");
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
        said(command.output().unwrap())
    };
    let (code, text) = install(this().into());
    assert!(code == 1 && text.contains("nothing was started, for want of systemd"), "{text}");
    let mut command = home.program(home.dir.join(".local/bin/barnacle"));
    command.arg("gateway");
    let server = Server::spawn(command, home.port);
    let mut client = server.connect(&Offer::new().token("T1").scopes(ADMIN));
    let (code, text) = install(next());
    assert_eq!(code, 0, "{text}");
    assert_eq!(number(&client.ok("status", "{}"), "barnacle.restarts"), 1);
    server.wait_log(&["Barnacle 9.9.9 handed over from 0.1.0"]);
}
