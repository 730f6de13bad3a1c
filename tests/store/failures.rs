//! Failing disks, damaged files, foreign directories: a request fails with a way out, nothing is lost, and what can
//! be read is served.

use crate::store_dir::{CALLS, Dir, Said, add, as_writer, disk_error, held, open, with_fault};
use barnacle::internals::store::{Notice, OpenError, codec};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    os::unix::process::CommandExt,
    process::{Command, Output},
};

const CHANGES: u32 = 6;

#[test]
fn each_failing_call_fails_one_change_and_the_next_goes_through() {
    let some = &["write", "fsync", "/^rename"][..];
    for (error, hint, calls) in
        [("ENOSPC", "df -h", &CALLS[..]), ("EIO", "dmesg", some), ("EROFS", "remount,rw", some)]
    {
        let mut refusals = 0;
        for call in calls {
            for n in 1.. {
                let dir = Dir::new();
                let (output, hit) = with_fault(&dir, CHANGES, call, &format!("error={error}"), n);
                if !hit {
                    break;
                }
                assert!(output.status.success(), "{call} {n}: {output:?}");
                refusals += one_failed_run(&dir, &Said::of(&output), hint, &format!("{call} {n} {error}"));
            }
        }
        assert!(refusals > 20, "{error}: only {refusals} changes failed");
    }
}

/// Checks a run with one failing call; how many changes it refused.
fn one_failed_run(dir: &Dir, said: &Said, hint: &str, what: &str) -> usize {
    let (acks, fails) = (said.acks(), said.all("fail"));
    let whole_life = said.all("notice").iter().any(|n| n.contains("cannot be written"));
    if said.all("refused").is_empty() {
        assert_eq!(acks.len() + fails.len(), CHANGES as usize, "{what}");
        assert!(whole_life || fails.len() <= 1, "{what}: {fails:?}");
        assert_eq!(*said.all("holds").last().unwrap(), format!("{acks:?}"), "{what}: memory is the disk's");
    }
    for fail in &fails {
        assert!(fail.contains(hint) && fail.contains(&dir.path().display().to_string()), "{what}: {fail}");
    }
    let (store, notices) = open(&dir.path()).unwrap();
    assert!(!notices.iter().any(|n| matches!(n, Notice::Previous(..))), "{what}: {notices:?}");
    let mut held = held(&store.registry());
    // A last change whose directory could not be synced may be on disk all the same.
    held.retain(|n| acks.contains(n) || *n != CHANGES);
    assert_eq!(held, acks, "{what}");
    fails.len()
}

#[test]
fn without_hard_links_the_file_before_is_a_copy() {
    let dir = Dir::new();
    let (output, hit) = with_fault(&dir, 3, "/^link", "error=EPERM", "1+");
    assert!(hit);
    assert_eq!(Said::of(&output).acks(), [1, 2, 3], "{output:?}");
    fs::remove_file(dir.file("tokens.bin")).unwrap();
    let (store, notices) = open(&dir.path()).unwrap();
    assert!(matches!(&notices[..], [.., Notice::Previous(..)]), "{notices:?}");
    assert_eq!(held(&store.registry()), [1, 2]);
}

#[test]
fn every_flipped_bit_and_every_cut_is_seen_and_the_state_before_is_used() {
    let dir = Dir::holding(1..=3);
    let path = dir.file("tokens.bin");
    let (whole, previous) = (fs::read(&path).unwrap(), fs::read(dir.file("tokens.bin.prev")).unwrap());
    let flipped = (0..whole.len() * 8).map(|bit| {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    });
    let cut = (0..whole.len()).map(|length| whole[..length].to_vec());
    let longer = [whole.clone(), vec![0]].concat();
    for damaged in flipped.chain(cut).chain([longer]) {
        assert!(codec::decode(&damaged).is_err());
        // A new file: ext4 would flush one that was cut, thousands of times.
        fs::remove_file(&path).unwrap();
        fs::write(&path, &damaged).unwrap();
        let (store, notices) = open(&dir.path()).unwrap();
        assert!(matches!(&notices[..], [.., Notice::Previous(..)]), "{notices:?}");
        assert_eq!(held(&store.registry()), [1, 2]);
        assert_eq!(fs::read(&path).unwrap(), damaged, "opening changes nothing");
        assert_eq!(fs::read(dir.file("tokens.bin.prev")).unwrap(), previous);
    }
}

#[test]
fn after_a_damage_the_good_file_stays_until_there_is_a_new_one() {
    let dir = Dir::holding(1..=3);
    fs::write(dir.file("tokens.bin"), "torn").unwrap();
    for _ in 0..2 {
        let (store, notices) = open(&dir.path()).unwrap();
        assert!(matches!(&notices[..], [.., Notice::Previous(..)]), "{notices:?}");
        assert_eq!(held(&store.registry()), [1, 2]);
    }
    let (store, _) = open(&dir.path()).unwrap();
    smol::block_on(add(&store, 4)).unwrap();
    assert!(codec::decode(&fs::read(dir.file("tokens.bin.prev")).unwrap()).is_ok());
    assert_eq!(fs::read(dir.file("tokens.bin.damaged")).unwrap(), b"torn", "kept to look at");
    drop(store);
    assert_eq!(held(&open(&dir.path()).unwrap().0.registry()), [1, 2, 4]);
}

#[test]
fn a_damage_that_cannot_be_put_aside_stops_writing_not_serving() {
    let dir = Dir::holding(1..=3);
    fs::write(dir.file("tokens.bin"), "torn").unwrap();
    fs::create_dir_all(dir.file("tokens.bin.damaged").join("in the way")).unwrap();
    let (store, _) = open(&dir.path()).unwrap();
    assert!(smol::block_on(add(&store, 4)).is_err());
    assert_eq!(held(&store.registry()), [1, 2]);
}

#[test]
fn with_both_files_damaged_it_says_what_to_do_and_that_helps() {
    for gone in [None, Some("tokens.bin"), Some("tokens.bin.prev")] {
        let dir = Dir::holding(1..=3);
        for name in ["tokens.bin", "tokens.bin.prev"] {
            fs::write(dir.file(name), "torn").unwrap();
        }
        if let Some(name) = gone {
            fs::remove_file(dir.file(name)).unwrap();
        }
        let Err(error) = open(&dir.path()) else { panic!("began empty without {gone:?}") };
        assert!(matches!(error, OpenError::Damaged(..)), "{error}");
        let text = error.to_string();
        let (_, command) = text.split_once("begin without devices: ").unwrap();
        assert!(Command::new("sh").args(["-c", command]).status().unwrap().success(), "{command}");
        assert_eq!(held(&open(&dir.path()).unwrap().0.registry()), [0; 0]);
    }
}

#[test]
fn a_file_from_a_newer_version_is_refused_and_left_alone() {
    let dir = Dir::holding(1..=1);
    let mut newer = codec::encode(&open(&dir.path()).unwrap().0.registry(), 9);
    newer[8..12].copy_from_slice(&(codec::FORMAT + 1).to_le_bytes());
    let newer = codec::seal(newer);
    fs::write(dir.file("tokens.bin"), &newer).unwrap();
    assert!(matches!(open(&dir.path()), Err(OpenError::Newer(..))));
    assert_eq!(fs::read(dir.file("tokens.bin")).unwrap(), newer);
    // Nor is it passed over where the file before is needed.
    fs::write(dir.file("tokens.bin"), "torn").unwrap();
    fs::write(dir.file("tokens.bin.prev"), &newer).unwrap();
    assert!(matches!(open(&dir.path()), Err(OpenError::Newer(..))));
}

#[test]
fn a_lost_key_is_made_anew_and_a_damaged_one_set_aside() {
    let dir = Dir::holding(1..=1);
    fs::remove_file(dir.file("key")).unwrap();
    let (store, notices) = open(&dir.path()).unwrap();
    assert!(notices.iter().any(|n| matches!(n, Notice::KeyLost(_))), "{notices:?}");
    drop(store);
    fs::write(dir.file("key"), "short").unwrap();
    let (_store, notices) = open(&dir.path()).unwrap();
    assert!(notices.iter().any(|n| matches!(n, Notice::KeyDamaged(..))), "{notices:?}");
    assert_eq!(fs::read(dir.file("key.damaged")).unwrap(), b"short");
    assert_eq!(fs::read(dir.file("key")).unwrap().len(), 32);
}

#[test]
fn what_a_crash_left_half_written_is_removed() {
    let dir = Dir::holding(1..=2);
    let leftovers = ["tokens.bin.tmp", "tokens.bin.prev.tmp", "key.tmp"];
    leftovers.iter().for_each(|name| fs::write(dir.file(name), "half").unwrap());
    let (store, _) = open(&dir.path()).unwrap();
    assert_eq!(held(&store.registry()), [1, 2]);
    assert_eq!(leftovers.map(|name| dir.file(name).exists()), [false; 3]);
}

#[test]
fn files_are_the_owners_alone_whatever_the_umask() {
    for umask in ["000", "377"] {
        let dir = Dir::new();
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")])
            .arg(std::env::current_exe().unwrap());
        as_writer(&mut shell, &dir.path(), 2, false);
        let output = shell.output().unwrap();
        assert_eq!(Said::of(&output).acks(), [1, 2], "{output:?}");
        let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(dir.path()), 0o700, "umask {umask}");
        for name in ["lock", "key", "tokens.bin", "tokens.bin.prev"] {
            assert_eq!(mode(dir.file(name)), 0o600, "{name}, umask {umask}");
        }
    }
}

/// Runs the writer as someone who does not own the directory: as another user where this is root, who
/// is not held by modes.
fn as_stranger(dir: &Dir) -> Output {
    let program = dir.file("../writer");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let mut command = Command::new(program);
    if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    as_writer(&mut command, &dir.path(), 3, false);
    command.output().unwrap()
}

fn set_mode(path: std::path::PathBuf, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_directory_that_cannot_be_written_is_still_served() {
    let dir = Dir::holding(7..=9);
    let root = rustix::process::geteuid().is_root();
    for name in ["lock", "key", "tokens.bin", "tokens.bin.prev"] {
        set_mode(dir.file(name), if root { 0o644 } else { 0o400 });
    }
    set_mode(dir.path(), if root { 0o755 } else { 0o500 });
    let said = Said::of(&as_stranger(&dir));
    assert_eq!(said.all("holds"), ["[7, 8, 9]", "[7, 8, 9]"]);
    assert_eq!(said.all("fail").len(), 3);
    for text in said.all("fail").iter().chain(&said.all("notice")[..1]) {
        assert!(text.contains("cannot be written by uid") && text.contains("chown"), "{text}");
    }
}

#[test]
fn a_directory_in_place_of_a_file_is_not_an_empty_one() {
    for name in ["tokens.bin", "tokens.bin.prev", "key"] {
        let dir = Dir::holding(1..=2);
        if name == "tokens.bin.prev" {
            fs::write(dir.file("tokens.bin"), "torn").unwrap();
        }
        fs::remove_file(dir.file(name)).unwrap();
        fs::create_dir(dir.file(name)).unwrap();
        let Err(error) = open(&dir.path()) else { panic!("began without {name}") };
        assert!(matches!(error, OpenError::Unreadable(..)), "{error}");
        assert!(error.to_string().contains(dir.file(name).to_str().unwrap()), "{error}");
    }
}

#[test]
fn an_unreadable_file_is_not_an_empty_one() {
    let dir = Dir::holding(7..=9);
    let root = rustix::process::geteuid().is_root();
    set_mode(dir.file("tokens.bin"), if root { 0o600 } else { 0 });
    set_mode(dir.path(), if root { 0o777 } else { 0o700 });
    let before = fs::read_dir(dir.path()).unwrap().count();
    let said = Said::of(&as_stranger(&dir));
    let [why] = said.all("refused")[..] else { panic!("{:?}", said.all("holds")) };
    assert!(why.contains("tokens.bin cannot be read") && why.contains("uid"), "{why}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), before, "nothing is put aside");
}

#[test]
fn a_disk_error_ends_when_the_disk_works_again() {
    let dir = Dir::holding(1..=1);
    let (store, _) = open(&dir.path()).unwrap();
    // A directory where the new file is to be written.
    fs::create_dir(dir.file("tokens.bin.tmp")).unwrap();
    let (one, two) = smol::block_on(smol::future::zip(add(&store, 2), add(&store, 3)));
    for failed in [one, two] {
        assert!(disk_error(failed.unwrap_err()).to_string().contains(&dir.path().display().to_string()));
    }
    assert_eq!((held(&store.registry()), store.commits()), (vec![1], 0));
    fs::remove_dir(dir.file("tokens.bin.tmp")).unwrap();
    smol::block_on(add(&store, 4)).unwrap();
    drop(store);
    assert_eq!(held(&open(&dir.path()).unwrap().0.registry()), [1, 4]);
}
