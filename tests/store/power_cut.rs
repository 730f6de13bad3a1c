//! The power goes: at every system call of a commit, and with everything lost that was not synced.
//!
//! First the process is killed at each call in turn, on the real file system. Then the calls of a run
//! are recorded and every disk that a power cut could leave is made from them: after each call, with
//! each choice of the names and the bytes that no fsync had made safe. Whatever was acknowledged by
//! then must be there.

use crate::crash::Step;
use crate::store_dir::{CALLS, Dir, Said, add, as_writer, held, open, strace, with_fault};
use barnacle::internals::store::{Notice, Store};
use std::{fs, os::unix::process::ExitStatusExt, path::Path};

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
    let held = held(&store.registry());
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

#[test]
fn whatever_was_not_synced_nothing_acknowledged_is_lost() {
    let (dir, log) = (Dir::new(), Dir::new());
    // Three directories deep, of which none is there.
    let below = Path::new("barnacle/state/barnacle");
    let root = dir.root().to_path_buf();
    let calls = format!("trace={},close,pwrite64,ftruncate", CALLS.join(","));
    let mut command =
        strace(&["-xx", "-s", "1000000", "-e", &calls, "-o", &log.path().display().to_string()]);
    as_writer(&mut command, &root.join(below), 4, false);
    let output = command.output().unwrap();
    assert_eq!(Said::of(&output).acks(), [1, 2, 3, 4], "{output:?}");
    let key = fs::read(root.join(below).join("key")).unwrap();
    let run = crate::crash::read(&fs::read_to_string(log.path()).unwrap(), &root);

    let check = |tree: &crate::crash::Tree, acks: u32| {
        let left = Dir::new();
        let root = left.root().to_path_buf();
        tree.build(&root);
        let kept = acks == 0 || fs::read(root.join(below).join("key")).is_ok_and(|k| k == key);
        if !kept {
            return Some("the key is not the one that made the tokens".into());
        }
        loss(&root.join(below), acks)
    };
    let (trees, loss) = crate::crash::first_loss(&run, check);
    println!("{} steps, {trees} trees", run.steps.len());
    assert_eq!(loss, None);
    assert!(trees > 100, "only {trees} trees from {} steps", run.steps.len());

    // The same run without its syncs does lose something: the model can tell.
    let without = |lost| crate::crash::first_loss(&run.without(lost), check).1;
    assert!(without(|step| matches!(step, Step::Sync { directory: false, .. })).is_some());
    assert!(without(|step| matches!(step, Step::Sync { directory: true, .. })).is_some());
    assert!(without(|step| matches!(step, Step::Sync { node: 0..=2, .. })).is_some(), "parent directories");
}
