//! A host with a systemd of its own: the real one, in namespaces, so that units are installed, started,
//! killed and reloaded as on a board. Its files, processes and control groups are its own, in memory; only the
//! network is the machine's.
//!
//! `Host::system` has it as process 1, `Host::user` as the own systemd of an unprivileged account. What the
//! services print is taken from the journal's socket, at which this end listens in journald's place.

#![allow(dead_code)]

use crate::wire::{ADMIN, Client, LONG, Offer};
use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    os::unix::{
        fs::{PermissionsExt, chown},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// The gateway's service.
pub const UNIT: &str = "barnacle-gateway.service";
/// The account whose gateway it is.
pub const ACCOUNT: &str = "barnacle-test";
const ID: &str = "23456";

/// A frame around the host; see there.
const OUTER: &str = include_str!("outer.sh");
/// Its process 1, which sees to it that nothing of the machine is within its reach.
const INNER: &str = include_str!("inner.sh");
/// The home of [`ACCOUNT`], as the host knows it.
const HOME: &str = "/home/barnacle-test";
/// The program, as the host knows it.
pub const PROGRAM: &str = "/opt/barnacle";

/// A host; everything on it ends when it is dropped.
pub struct Host {
    /// The home of [`ACCOUNT`].
    pub home: PathBuf,
    dir: PathBuf,
    outer: Child,
    /// A process in its namespaces, by its outer number.
    first: u32,
    user: bool,
    program: &'static str,
    log: Arc<(Mutex<Vec<String>>, Condvar)>,
}

impl Host {
    /// One whose process 1 is systemd; commands are root's.
    pub fn system() -> Self {
        Self::start(false, false, Path::new(""))
    }

    /// One on which an unprivileged account has a systemd of its own; commands are that account's.
    pub fn user() -> Self {
        Self::start(true, false, Path::new(""))
    }

    /// Like [`Self::user`] or [`Self::system`], with a `/usr` (a copy in memory) into which packages can be
    /// installed; `barnacle` is what a package brought.
    pub fn for_packages(user: bool) -> Self {
        let mut host = Self::start(user, true, Path::new(""));
        host.program = "/usr/bin/barnacle";
        host
    }

    /// Like [`Self::for_packages`], with the directory `beside` in its `/opt`, read-only.
    pub fn beside(user: bool, beside: &Path) -> Self {
        Self::start(user, true, beside)
    }

    fn start(user: bool, packages: bool, beside: &Path) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("barnacle-host-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(dir.join("root")).unwrap();
        fs::create_dir(dir.join("cgroup")).unwrap();
        let outer = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "--mount", "sh", "-c", OUTER, "outer"])
            .envs([("INNER", INNER), ("ID", ID), ("SCOPE", if user { "user" } else { "system" })])
            .env("D", &dir)
            .env("BESIDE", beside)
            .env("PROGRAM", env!("CARGO_BIN_EXE_barnacle"))
            .env("PACKAGES", if packages { "yes" } else { "" })
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.join("errors")).unwrap())
            .spawn()
            .unwrap();
        let mut host =
            Self { home: PathBuf::new(), dir, outer, first: 0, user, program: PROGRAM, log: Arc::default() };
        let socket = match user {
            true => format!("run/user/{ID}/systemd/private"),
            false => "run/systemd/private".into(),
        };
        host.first = host.until("systemd does not come up", || {
            let first = child(child(host.outer.id())?)?;
            Path::new(&format!("/proc/{first}/root/{socket}")).exists().then_some(first)
        });
        host.home = host.path(HOME);
        host.listen();
        host
    }

    /// Takes journald's place: lines of a head, then what the service prints.
    fn listen(&self) {
        let socket = UnixListener::bind(self.path("run/systemd/journal/stdout")).unwrap();
        fs::set_permissions(self.path("run/systemd/journal/stdout"), fs::Permissions::from_mode(0o666))
            .unwrap();
        let log = self.log.clone();
        thread::spawn(move || {
            for stream in socket.incoming().map_while(Result::ok) {
                let log = log.clone();
                thread::spawn(move || {
                    for line in BufReader::new(stream).lines().map_while(Result::ok) {
                        log.0.lock().unwrap().push(line);
                        log.1.notify_all();
                    }
                });
            }
        });
    }

    /// A path of the host, as it is reached from outside.
    pub fn path(&self, path: &str) -> PathBuf {
        format!("/proc/{}/root/{}", self.first, path.trim_start_matches('/')).into()
    }

    /// The units of the service that is installed.
    pub fn units(&self) -> PathBuf {
        match self.user {
            true => self.home.join(".config/systemd/user"),
            false => self.path("etc/systemd/system"),
        }
    }

    /// Writes `openclaw.json`.
    pub fn config(&self, text: &str) {
        let path = self.write(".openclaw/openclaw.json", text);
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Writes a file of the account; its path from outside.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        for made in path.ancestors().take_while(|p| *p != self.home) {
            chown(made, ID.parse().ok(), ID.parse().ok()).unwrap();
        }
        path
    }

    /// `program` on the host, with nothing of the outer environment.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Command {
        let mut command = self.enter();
        if self.user {
            command.args(["setpriv", "--reuid", ID, "--regid", ID, "--clear-groups"]);
        }
        command.arg(program).args(args);
        if self.user {
            command.env("HOME", HOME).env("USER", ACCOUNT).env("XDG_RUNTIME_DIR", format!("/run/user/{ID}"));
        } else {
            command.env("HOME", "/root").env("USER", "root").env("SUDO_USER", ACCOUNT);
        }
        command
    }

    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.first.to_string(), "-m", "-p", "-C", "-u"]);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command
    }

    /// Runs `dpkg` as root, which succeeds or not as `well` says; what it prints.
    #[track_caller]
    pub fn dpkg(&self, args: &[&str], well: bool) -> String {
        let (code, out, err) = texts(&self.enter().arg("dpkg").args(args).output().unwrap());
        assert_eq!(code == 0, well, "dpkg {}: {out}{err}\nlog:\n{}", args.join(" "), self.log());
        out + &err
    }

    /// Runs `barnacle`: exit code, stdout, stderr.
    pub fn run(&self, args: &[&str]) -> (i32, String, String) {
        texts(&self.command(self.program, args).output().unwrap())
    }

    /// Runs `barnacle`, which succeeds; what it prints on stdout and stderr.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        let (code, out, err) = self.run(args);
        assert_eq!(code, 0, "barnacle {}: {out}{err}\nlog:\n{}", args.join(" "), self.log());
        out + &err
    }

    /// Runs `systemctl`, whatever comes of it.
    pub fn systemctl(&self, args: &[&str]) -> (i32, String, String) {
        let args: Vec<_> = self.user.then_some("--user").into_iter().chain(args.iter().copied()).collect();
        texts(&self.command("systemctl", &args).output().unwrap())
    }

    /// A property of a unit.
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.systemctl(&["show", "-p", name, "--value", unit]).1.trim().into()
    }

    /// The outer number of a unit's main process.
    pub fn main_pid(&self, unit: &str) -> Option<u32> {
        let inner: u32 = self.property(unit, "MainPID").parse().unwrap();
        if inner == 0 {
            return None;
        }
        let status = |pid: &str| fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let is = |pid: &String| {
            let of = |status: &str| Some(status.lines().find_map(|l| l.strip_prefix("NSpid:"))?.to_owned());
            let same = fs::read_link(format!("/proc/{pid}/ns/pid")).ok()
                == fs::read_link(self.path("proc/1/ns/pid")).ok();
            same && of(&status(pid))
                .is_some_and(|ids| ids.split_whitespace().last() == Some(&inner.to_string()))
        };
        let pids = fs::read_dir("/proc").unwrap().filter_map(|e| e.unwrap().file_name().into_string().ok());
        pids.filter(|name| name.parse::<u32>().is_ok()).find(is).and_then(|pid| pid.parse().ok())
    }

    /// Attaches to the gateway that listens there, with the token of [`shared`].
    #[track_caller]
    pub fn attach(&self, at: SocketAddr) -> Client {
        match Client::connect(at, &Offer::new().token("T1").scopes(ADMIN)) {
            Ok(client) => client,
            Err(_) => panic!("refused; log:\n{}", self.log()),
        }
    }

    /// Waits for `look` to find something.
    #[track_caller]
    pub fn until<T>(&self, what: &str, look: impl FnMut() -> Option<T>) -> T {
        self.until_in(LONG, what, look)
    }

    /// The same, for so long.
    #[track_caller]
    pub fn until_in<T>(&self, time: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let end = Instant::now() + time;
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < end, "{what}; log:\n{}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until a unit's property has this value.
    #[track_caller]
    pub fn until_property(&self, unit: &str, name: &str, value: &str) {
        self.until(&format!("{name} of {unit} is not {value}"), || {
            (self.property(unit, name) == value).then_some(())
        });
    }

    /// What the services printed, and what went wrong before that.
    pub fn log(&self) -> String {
        let errors = fs::read_to_string(self.dir.join("errors")).unwrap_or_default();
        format!("{}\n{errors}", self.log.0.lock().unwrap().join("\n"))
    }

    /// Waits for the `n`th line that holds `word`.
    #[track_caller]
    pub fn wait_log(&self, word: &str, n: usize) {
        self.until(&format!("not {n} lines with {word:?}"), || {
            let lines = self.log.0.lock().unwrap();
            (lines.iter().filter(|line| line.contains(word)).count() >= n).then_some(())
        });
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // With its process 1 everything on it ends, and the frame cleans up behind it.
        if let Some(first) = child(self.outer.id()).and_then(child) {
            let _ = Command::new("kill").args(["-KILL", &first.to_string()]).status();
        }
        let _ = self.outer.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A configuration with the shared token `T1`.
pub fn shared(port: u16) -> String {
    format!("{{gateway:{{mode:\"local\",port:{port},auth:{{mode:\"token\",token:\"T1\"}}}}}}")
}

/// The first child of `pid`.
fn child(pid: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

fn texts(output: &Output) -> (i32, String, String) {
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}
