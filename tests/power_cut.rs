//! The power goes: at every system call of a commit, and with everything lost that was not synced.
//!
//! First the process is killed at each call in turn, on the real file system. Then the calls of a run
//! are recorded and every disk that a power cut could leave is made from them: after each call, with
//! each choice of the names and the bytes that no fsync had made safe. Whatever was acknowledged by
//! then must be there.

mod store_dir;

use barnacle::store::{Notice, Store};
use std::{
    collections::{BTreeMap, HashSet},
    fs,
    os::unix::process::ExitStatusExt,
    path::Path,
};
use store_dir::{CALLS, Dir, Said, add, as_writer, held, open, strace, with_fault};

/// More than the calls of opening, so that each call of a commit comes to be the nth of its kind.
const CHANGES: u32 = 6;

/// Opens what the crash left, and says what of `acks` is not there, or is there without being asked for.
fn loss(dir: &Path, acks: u32) -> Option<String> {
    let (store, notices) = match open(dir) {
        Ok(opened) => opened,
        Err(e) => return Some(e.to_string()),
    };
    if let Some(notice) = notices.iter().find(|n| matches!(n, Notice::Previous(..) | Notice::ReadOnly(_))) {
        return Some(notice.to_string());
    }
    let held = held(&store.book());
    // One more may be on disk whose acknowledgement did not get out.
    if held != (1..=acks).collect::<Vec<_>>() && held != (1..=acks + 1).collect::<Vec<_>>() {
        return Some(format!("{acks} acknowledged, {held:?} held"));
    }
    let token = |store: &Store| store.key().identity_seed();
    let before = token(&store);
    if let Err(e) = smol::block_on(add(&store, 1000)) {
        return Some(format!("no further change: {e:?}"));
    }
    drop(store);
    let after = open(dir).map(|(store, _)| token(&store));
    (after.ok() != Some(before)).then(|| "the key does not stay".into())
}

#[test]
fn killed_at_every_call_nothing_acknowledged_is_lost() {
    let mut kills = 0;
    for call in CALLS {
        for n in 1.. {
            let dir = Dir::new();
            let (output, hit) = with_fault(&dir, CHANGES, call, "signal=SIGKILL", n);
            let acks = Said::of(&output).acks().len() as u32;
            assert_eq!(hit, output.status.signal() == Some(9), "{output:?}");
            if !hit {
                assert_eq!(acks, CHANGES, "{output:?}");
                assert!(n > 1, "the store never calls {call}");
                break;
            }
            kills += 1;
            assert_eq!(loss(&dir.path(), acks), None, "killed at {call} number {n}");
        }
    }
    println!("killed {kills} times");
    assert!(kills > 40, "only {kills} kills: the calls of a commit are not among them");
}

/// A call, as far as a disk remembers it. Files are numbered, names come and go.
#[derive(Clone, Debug)]
enum Op {
    Names(Vec<(String, Option<usize>)>),
    Data(usize, Vec<u8>),
    SyncFile(usize),
    SyncDirectory,
    Ack,
}

/// What strace's hexadecimal stands for.
fn unescape(text: &str) -> Vec<u8> {
    text.split("\\x").skip(1).map(|pair| u8::from_str_radix(&pair[..2], 16).unwrap()).collect()
}

fn between(line: &str, open: char, close: char) -> Vec<Vec<u8>> {
    let mut rest = line;
    let mut found = Vec::new();
    while let Some((_, after)) = rest.split_once(open) {
        let Some((text, after)) = after.split_once(close) else { break };
        found.push(unescape(text));
        rest = after;
    }
    found
}

/// Reads a recording: strace's lines of one run.
fn operations(log: &str, dir: &Path) -> Vec<Op> {
    let prefix = format!("{}/", dir.display());
    let mut ops = Vec::new();
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    let mut files = 0;
    for line in log.lines() {
        let Some((call, rest)) = line.split_once(' ').and_then(|(_, l)| l.trim_start().split_once('('))
        else {
            continue;
        };
        if rest.contains("= -1 ") {
            continue;
        }
        let texts = between(rest, '"', '"');
        let fds = between(rest, '<', '>');
        let path = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let name =
            |bytes: &Vec<u8>| path(bytes).strip_prefix(&prefix).filter(|n| *n != "lock").map(String::from);
        if call == "write" && texts.first().is_some_and(|t| path(t).trim_start().starts_with("ack ")) {
            ops.push(Op::Ack);
            continue;
        }
        let ours = texts.iter().chain(&fds).any(|p| name(p).is_some());
        assert!(!(ours && line.contains("unfinished")), "two threads at once: {line}");
        match call {
            "open" | "openat" if rest.contains("O_CREAT") => {
                let Some(name) = name(&texts[0]) else { continue };
                let file = names.get(&name).copied().unwrap_or(files);
                if file == files {
                    files += 1;
                    ops.push(Op::Names(vec![(name.clone(), Some(file))]));
                    names.insert(name, file);
                }
                ops.push(Op::Data(file, Vec::new()));
            }
            "write" => {
                let Some(name) = fds.first().and_then(name) else { continue };
                ops.push(Op::Data(names[&name], texts[0].clone()));
            }
            "fsync" if path(&fds[0]) == dir.display().to_string() => ops.push(Op::SyncDirectory),
            "fsync" => ops.extend(fds.first().and_then(name).map(|n| Op::SyncFile(names[&n]))),
            _ if call.starts_with("rename") || call.starts_with("link") => {
                let (Some(from), Some(to)) = (name(&texts[0]), name(&texts[1])) else { continue };
                let file = names[&from];
                names.insert(to.clone(), file);
                let mut change = vec![(to, Some(file))];
                if call.starts_with("rename") {
                    names.remove(&from);
                    change.push((from, None));
                }
                ops.push(Op::Names(change));
            }
            _ if call.starts_with("unlink") => {
                let Some(name) = name(&texts[0]) else { continue };
                names.remove(&name);
                ops.push(Op::Names(vec![(name, None)]));
            }
            _ => {}
        }
    }
    ops
}

type Disk = BTreeMap<String, Vec<u8>>;

/// Every disk a power cut after `ops` could leave.
fn disks(ops: &[Op]) -> HashSet<Disk> {
    let (mut safe_names, mut pending) = (BTreeMap::new(), Vec::new());
    let (mut safe, mut written) = (BTreeMap::new(), BTreeMap::new());
    for op in ops {
        match op {
            Op::Names(change) => pending.push(change),
            Op::Data(file, bytes) => {
                written.insert(*file, bytes.clone());
            }
            Op::SyncFile(file) => {
                safe.insert(*file, written[file].clone());
            }
            Op::SyncDirectory => pending.drain(..).for_each(|change| apply(&mut safe_names, change)),
            Op::Ack => {}
        }
    }
    let mut disks = HashSet::new();
    for kept in 0u32..1 << pending.len() {
        let mut names = safe_names.clone();
        let kept_changes = pending.iter().enumerate().filter(|(i, _)| kept >> i & 1 == 1);
        kept_changes.for_each(|(_, change)| apply(&mut names, change));
        // What was written and not synced: all there, none, half of it, or its length in zeros.
        for fate in 0..4 {
            let content = |file: &usize| {
                let now = written.get(file).cloned().unwrap_or_default();
                let old = safe.get(file).cloned().unwrap_or_default();
                match fate {
                    _ if now == old => now,
                    0 => now,
                    1 => old,
                    2 => now[..now.len() / 2].to_vec(),
                    _ => vec![0; now.len()],
                }
            };
            disks.insert(names.iter().map(|(name, file)| (name.clone(), content(file))).collect());
        }
    }
    disks
}

fn apply(names: &mut BTreeMap<String, usize>, change: &[(String, Option<usize>)]) {
    for (name, file) in change {
        match file {
            Some(file) => names.insert(name.clone(), *file),
            None => names.remove(name),
        };
    }
}

/// The first loss in all the disks that a power cut at any moment of `ops` could leave.
fn first_loss(ops: &[Op]) -> (usize, Option<String>) {
    let mut seen = HashSet::new();
    for end in 0..=ops.len() {
        let acks = ops[..end].iter().filter(|op| matches!(op, Op::Ack)).count() as u32;
        for disk in disks(&ops[..end]) {
            if !seen.insert((disk.clone(), acks)) {
                continue;
            }
            let dir = Dir::new();
            fs::create_dir(dir.path()).unwrap();
            disk.iter().for_each(|(name, bytes)| fs::write(dir.file(name), bytes).unwrap());
            if let Some(loss) = loss(&dir.path(), acks) {
                let names: Vec<_> = disk.iter().map(|(name, bytes)| (name, bytes.len())).collect();
                return (
                    seen.len(),
                    Some(format!("after {end} calls, {acks} acknowledged, {names:?}: {loss}")),
                );
            }
        }
    }
    (seen.len(), None)
}

#[test]
fn whatever_was_not_synced_nothing_acknowledged_is_lost() {
    let (dir, log) = (Dir::new(), Dir::new());
    let calls = format!("trace={}", CALLS.join(","));
    let mut command =
        strace(&["-y", "-xx", "-s", "1000000", "-e", &calls, "-o", &log.path().display().to_string()]);
    as_writer(&mut command, &dir.path(), 4, false);
    let output = command.output().unwrap();
    assert_eq!(Said::of(&output).acks(), [1, 2, 3, 4], "{output:?}");
    let ops = operations(&fs::read_to_string(log.path()).unwrap(), &dir.path());

    let (disks, loss) = first_loss(&ops);
    println!("{} calls, {disks} disks", ops.len());
    assert_eq!(loss, None);
    assert!(disks > 40, "only {disks} disks from {} calls", ops.len());

    // The same run without its syncs does lose something: the model can tell.
    let without = |drop: fn(&Op) -> bool| ops.iter().filter(|op| !drop(op)).cloned().collect::<Vec<_>>();
    assert!(first_loss(&without(|op| matches!(op, Op::SyncFile(_)))).1.is_some());
    assert!(first_loss(&without(|op| matches!(op, Op::SyncDirectory))).1.is_some());
}
