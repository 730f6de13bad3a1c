//! A store directory of its own, numbered devices to put into it, and a second process that writes to
//! it: this test binary again, so that it can be killed and lied to without a mode in the product.
#![allow(dead_code)]

use barnacle::internals::{
    protocol::{PublicKey, Role, Scope, Scopes},
    store::{ChangeError, DiskError, Display, Notice, OpenError, Registry, Store, Via},
};
use std::{
    convert::Infallible,
    env, fmt, fs,
    io::Read,
    ops::RangeInclusive,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

/// An empty directory for a store, removed at the end.
pub struct Dir(PathBuf);

impl Dir {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("barnacle-store-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = env::temp_dir().join(name);
        fs::create_dir(&dir).unwrap();
        // The store is a directory further in: that the store makes itself.
        Self(dir)
    }

    pub fn path(&self) -> PathBuf {
        self.0.join("barnacle")
    }

    /// The directory it is in.
    pub fn root(&self) -> &Path {
        &self.0
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// A store that holds `devices`, one commit each.
    pub fn holding(devices: RangeInclusive<u32>) -> Self {
        let dir = Self::new();
        let (store, _) = Store::open(&dir.path()).unwrap();
        devices.for_each(|n| smol::block_on(add(&store, n)).unwrap());
        dir
    }
}

/// Opens a store that this process held before. A child that another test is just spawning has a copy of
/// the lock until it execs, so being told that this process has it means: in a moment.
pub fn open(dir: &Path) -> Result<(Store, Vec<Notice>), OpenError> {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        match Store::open(dir) {
            Err(OpenError::Locked(_, Some(pid))) if pid == std::process::id() && Instant::now() < until => {
                std::thread::yield_now();
            }
            other => return other,
        }
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::set_permissions(self.path(), fs::Permissions::from_mode(0o700));
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn key(n: u32) -> PublicKey {
    let mut key = [0; 32];
    key[..4].copy_from_slice(&n.to_le_bytes());
    PublicKey(key)
}

pub fn approve(registry: &mut Registry, n: u32) {
    let scopes = Scopes::from_iter([Scope::Read]);
    registry.approve(key(n), Role::Operator, scopes, &Display::default(), Via::Operator, n.into());
}

pub async fn add(store: &Store, n: u32) -> Result<(), ChangeError<Infallible>> {
    store
        .change(|registry| {
            approve(registry, n);
            Ok(())
        })
        .await
}

/// The numbers of the devices in the registry.
pub fn held(registry: &Registry) -> Vec<u32> {
    let number = |key: &PublicKey| u32::from_le_bytes([key.0[0], key.0[1], key.0[2], key.0[3]]);
    let mut held: Vec<_> = registry.devices().map(|d| number(&d.key)).collect();
    held.sort_unstable();
    held
}

pub fn disk_error(e: ChangeError<Infallible>) -> DiskError {
    match e {
        ChangeError::Disk(e) => e,
        ChangeError::Refused(never) => match never {},
    }
}

/// `program` as a command that runs [`writer_process`] in `dir`: `changes` devices, then the end, or with
/// `hold` the end of its standard input.
pub fn as_writer(program: &mut Command, dir: &Path, changes: u32, hold: bool) {
    program
        .args(["store_dir::writer_process", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env("BARNACLE_TEST_WRITER", dir)
        .env("BARNACLE_TEST_CHANGES", changes.to_string())
        .env("BARNACLE_TEST_HOLD", if hold { "1" } else { "" })
        // One worker thread, so that its system calls can be counted.
        .env("BLOCKING_MAX_THREADS", "1")
        .stdin(if hold { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
}

/// What the writer said, a line each: `open`, `ack 1`, `fail 2 why`, `notice …`, `refused …`, `holds [1]`.
pub struct Said(Vec<String>);

impl Said {
    pub fn of(output: &Output) -> Self {
        Self(String::from_utf8_lossy(&output.stdout).lines().map(String::from).collect())
    }

    /// What follows `word` on the lines that begin with it.
    pub fn all(&self, word: &str) -> Vec<&str> {
        self.0.iter().filter_map(|l| l.strip_prefix(word)?.strip_prefix(' ')).collect()
    }

    pub fn acks(&self) -> Vec<u32> {
        self.all("ack").iter().map(|n| n.parse().unwrap()).collect()
    }
}

/// The second process.
#[test]
#[ignore = "the process that other tests start, kill and lie to"]
fn writer_process() {
    let dir = env::var_os("BARNACLE_TEST_WRITER").expect("a directory from the test that starts this");
    let changes: u32 = env::var("BARNACLE_TEST_CHANGES").unwrap().parse().unwrap();
    // The line the test harness has begun is ended first; one write a line, as the recording expects.
    let say = |line: String| print!("\n{line}\n");
    let (store, notices) = match Store::open(Path::new(&dir)) {
        Ok(opened) => opened,
        Err(e) => return say(format!("refused {e}")),
    };
    notices.iter().for_each(|n| say(format!("notice {n}")));
    say(format!("holds {:?}", held(&store.registry())));
    for n in 1..=changes {
        say(match smol::block_on(add(&store, n)) {
            Ok(()) => format!("ack {n}"),
            Err(e) => format!("fail {n} {}", disk_error(e)),
        });
    }
    say(format!("holds {:?}", held(&store.registry())));
    if env::var("BARNACLE_TEST_HOLD").is_ok_and(|h| !h.is_empty()) {
        let _ = std::io::stdin().read(&mut [0]);
    }
}

/// strace around the writer, with its arguments. It is a prerequisite of the tests, as the kernel is.
pub fn strace(args: &[&str]) -> Command {
    let found = Command::new("strace").arg("--version").output();
    assert!(found.is_ok(), "these tests need strace: apt-get install strace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq"]).args(args).arg(env::current_exe().unwrap());
    strace
}

/// The calls a commit changes the disk by; as patterns, since their names differ between machines.
pub const CALLS: [&str; 8] =
    ["/^open", "write", "fchmod", "fsync", "/^rename", "/^link", "/^unlink", "/^mkdir"];

/// Runs the writer with `fault` at the calls `when` of `call` within its directory: the fifth is `5`, all
/// are `1+`. Tells whether that came to pass.
pub fn with_fault(
    dir: &Dir,
    changes: u32,
    call: &str,
    fault: &str,
    when: impl fmt::Display,
) -> (Output, bool) {
    let log = dir.0.join("strace.log");
    let inject = format!("inject={call}:{fault}:when={when}");
    let mut args = vec!["-o".to_owned(), log.display().to_string(), "-e".into(), inject];
    for name in [
        "",
        "lock",
        "key",
        "key.tmp",
        "tokens.bin",
        "tokens.bin.tmp",
        "tokens.bin.prev",
        "tokens.bin.prev.tmp",
    ] {
        args.extend(["-P".into(), dir.path().join(name).display().to_string().trim_end_matches('/').into()]);
    }
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let mut command = strace(&args);
    as_writer(&mut command, &dir.path(), changes, false);
    let output = command.output().unwrap();
    let log = fs::read_to_string(log).unwrap();
    let hit = log.contains("(INJECTED)") || log.contains("+++ killed by SIGKILL");
    assert!(!log.is_empty() && !output.stdout.is_empty() || hit, "strace failed: {output:?}");
    (output, hit)
}
