//! A power cut while the configuration is written: the file is the one before or the one after, whole, and its
//! backup is beside it.

use crate::crash::Step;
use crate::home::Home;
use barnacle::internals::config::change::merge::with;
use barnacle::internals::config::change::write::{WriteOptions, WriteTarget, write};
use barnacle::internals::config::text::node::Node;
use barnacle::internals::config::{Env, KeyPath, Paths, Refused};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::{env, fs};

/// Writes in a row.
const WRITES: u32 = 5;

fn set(home: &Path, n: u32) -> Result<(), Refused> {
    let env: Env = [("HOME", home.to_str().unwrap())].into_iter().collect();
    let paths = Paths::resolve(&env).unwrap();
    let key = KeyPath::dotted("notes.number");
    let value = Node::of_text(&n.to_string());
    write(&paths, &env, WriteOptions::default(), |present| {
        Ok::<_, Refused>(WriteTarget::Sum(with(&present.source.root, &key, Some(value.clone()))?))
    })
    .map(drop)
}

/// The file after write `n`.
fn said(n: u32) -> String {
    format!("{{\n  \"notes\": {{\n    \"number\": \"{n}\"\n  }}\n}}\n")
}

/// The second process.
#[test]
#[ignore = "the process that other tests start, kill and record"]
fn writer_process() {
    let home = env::var_os("BARNACLE_TEST_WRITER").expect("a home from the test that starts this");
    // The line the test harness has begun is ended first; one write a line, as the recording expects.
    for n in 1..=WRITES {
        set(Path::new(&home), n).unwrap();
        print!("\nack {n}\n");
    }
}

fn strace(home: &Path, args: &[&str]) -> Output {
    let found = Command::new("strace").arg("--version").output();
    assert!(found.is_ok(), "these tests need strace: apt-get install strace");
    Command::new("strace")
        .args(["-f", "-qq"])
        .args(args)
        .arg(env::current_exe().unwrap())
        .args(["power_cut::writer_process", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env("BARNACLE_TEST_WRITER", home)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn acks(output: &Output) -> u32 {
    String::from_utf8_lossy(&output.stdout).lines().filter(|l| l.starts_with("ack ")).count() as u32
}

/// What is wrong with what the crash left, `acks` writes having been acknowledged.
fn loss(home: &Path, acks: u32) -> Option<String> {
    let file = |name: &str| fs::read_to_string(home.join(".openclaw").join(name)).ok();
    // One more may be on disk whose acknowledgement did not get out.
    let held = match file("openclaw.json") {
        None if acks == 0 => 0,
        None => return Some("the file is gone".into()),
        Some(text) => match (acks.max(1)..=acks + 1).find(|n| said(*n) == text) {
            Some(n) => n,
            None => return Some(format!("the file is neither {acks} nor {}: {text:?}", acks + 1)),
        },
    };
    let backup = file("openclaw.json.bak");
    let whole = backup.as_ref().is_some_and(|text| [held - 1, held].iter().any(|n| said(*n) == *text));
    if held >= 2 && !whole {
        return Some(format!("{held} stands there, and its backup is {backup:?}"));
    }
    if let Err(e) = set(home, 99) {
        return Some(format!("no further write: {e}"));
    }
    let left = fs::read_dir(home.join(".openclaw")).unwrap().flatten();
    let stale = left.map(|e| e.file_name().into_string().unwrap()).find(|name| name.ends_with(".tmp"));
    stale.map(|name| format!("{name} is left"))
}

#[test]
fn killed_at_every_call_the_file_is_whole() {
    let mut kills = 0;
    // As patterns, since the names of calls differ between machines.
    for call in ["/^open", "write", "/chmod", "fsync", "/^rename", "/^link", "/^unlink", "/^mkdir", "flock"] {
        for n in 1.. {
            let home = Home::new();
            let inject = format!("inject={call}:signal=SIGKILL:when={n}");
            let output = strace(&home.0, &["-o", "/dev/null", "-e", &inject]);
            let killed = output.status.signal() == Some(9);
            assert!(killed || output.status.success(), "{output:?}");
            if !killed {
                assert_eq!(acks(&output), WRITES, "{output:?}");
                break;
            }
            kills += 1;
            assert_eq!(loss(&home.0, acks(&output)), None, "killed at {call} number {n}");
        }
    }
    println!("killed {kills} times");
    assert!(kills > 60, "only {kills} kills: the calls of a write are not among them");
}

#[test]
fn whatever_a_power_cut_leaves_is_whole() {
    let (home, log) = (Home::new(), Home::new());
    let path = log.path("log");
    let calls = "trace=/^open,/^rename,/^link,/^unlink,/^mkdir,write,fsync,close,ftruncate,pwrite64";
    let output = strace(&home.0, &["-xx", "-s", "1000000", "-e", calls, "-o", path.to_str().unwrap()]);
    assert_eq!(acks(&output), WRITES, "{output:?}");
    let run = crate::crash::read(&fs::read_to_string(&path).unwrap(), &home.0);
    let check = |tree: &crate::crash::Tree, acks: u32| {
        let left = Home::new();
        tree.build(&left.0);
        loss(&left.0, acks)
    };
    let (trees, first) = crate::crash::first_loss(&run, check);
    println!("{} steps, {trees} trees", run.steps.len());
    assert_eq!(first, None);
    assert!(trees > 60, "only {trees} trees from {} steps", run.steps.len());
    // The same run without its syncs does lose something: the model can tell.
    let without = |lost| crate::crash::first_loss(&run.without(lost), check).1;
    assert!(without(|step| matches!(step, Step::Sync { directory: false, .. })).is_some());
    assert!(without(|step| matches!(step, Step::Sync { directory: true, .. })).is_some());
}
