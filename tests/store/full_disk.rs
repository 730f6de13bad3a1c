//! Full and read-only disks, mounted in a mount namespace of this program's own (unshare(1)): the change fails by
//! name, every device that was read is served, and the next change succeeds once there is room, without a restart.

use crate::store_dir::{Dir, add, disk_error, held, key, open};
use barnacle::internals::{
    protocol::Role,
    store::{Notice, OpenError, Store},
};
use std::{
    env,
    fs::{self, File},
    io::Write,
    path::Path,
    process::Command,
};

#[test]
fn full_and_read_only_disks() {
    const INSIDE: &str = "BARNACLE_TEST_MOUNTS";
    if env::var_os(INSIDE).is_some() {
        full_while_running();
        full_from_the_start();
        read_only_while_running();
        read_only_from_the_start();
        return;
    }
    let mut inside = Command::new("unshare");
    inside.arg(if rustix::process::geteuid().is_root() { "-m" } else { "-rm" }).env(INSIDE, "1");
    inside.arg(env::current_exe().unwrap()).args(["full_disk::full_and_read_only_disks", "--exact"]);
    let output = inside.output().expect("this test needs unshare: apt-get install util-linux");
    let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(printed.contains("1 passed"), "(may this machine make mounts? unshare -rm true)\n{printed}");
}

/// The error of adding device `n`, which must not be added.
fn fails(store: &Store, n: u32) -> String {
    let before = held(&store.registry());
    let error = disk_error(smol::block_on(add(store, n)).unwrap_err()).to_string();
    assert_eq!(held(&store.registry()), before, "{error}");
    assert!(store.read_only().is_some());
    error
}

fn mount(args: &[&str], path: &Path) {
    let mut command = Command::new("mount");
    assert!(command.args(args).arg(path).status().unwrap().success(), "{command:?}");
}

/// Takes a mount away from the tree, whoever still uses it.
fn unmount(path: &Path) {
    assert!(Command::new("umount").arg("-l").arg(path).status().unwrap().success());
}

/// Makes what is in `path` read-only until it is unmounted.
fn freeze(path: &Path) {
    mount(&["--bind", path.to_str().unwrap()], path);
    mount(&["-o", "remount,ro,bind"], path);
}

/// A disk of 256 KiB under `dir`, and the file that fills it.
fn small(dir: &Dir) -> (&Path, std::path::PathBuf) {
    let path = dir.root();
    mount(&["-t", "tmpfs", "-o", "size=256k", "none"], path);
    (path, path.join("ballast"))
}

/// Writes until nothing fits.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    while file.write_all(&[0; 1024]).is_ok() {}
}

fn full_while_running() {
    let dir = Dir::new();
    let (disk, ballast) = small(&dir);
    let (store, notices) = open(&dir.path()).unwrap();
    assert!(notices.iter().any(|n| matches!(n, Notice::Volatile(_, "tmpfs"))), "{notices:?}");
    (1..=3).for_each(|n| smol::block_on(add(&store, n)).unwrap());
    fill(&ballast);
    for n in 4..=6 {
        let error = fails(&store, n);
        assert!(
            error.starts_with(dir.path().to_str().unwrap()) && error.contains("free some space"),
            "{error}"
        );
    }
    fs::remove_file(ballast).unwrap();
    smol::block_on(add(&store, 7)).unwrap();
    assert_eq!(store.read_only(), None);
    drop(store);
    assert_eq!(held(&open(&dir.path()).unwrap().0.registry()), [1, 2, 3, 7]);
    unmount(disk);
}

fn full_from_the_start() {
    let dir = Dir::new();
    let (disk, ballast) = small(&dir);
    fill(&ballast);
    let (store, notices) = open(&dir.path()).unwrap();
    assert!(notices.iter().any(|n| matches!(n, Notice::KeyPassing(_))), "{notices:?}");
    fails(&store, 1);
    fs::remove_file(ballast).unwrap();
    smol::block_on(add(&store, 2)).unwrap();
    let token =
        |store: &Store| store.key().device_token(&key(2).device_id(), Role::Operator, 1).as_str().to_owned();
    let handed_out = token(&store);
    drop(store);
    let (store, _) = open(&dir.path()).unwrap();
    assert_eq!(held(&store.registry()), [2]);
    assert_eq!(token(&store), handed_out, "the key that made it was not kept");
    unmount(disk);
}

fn read_only_while_running() {
    let dir = Dir::holding(1..=3);
    let (store, _) = open(&dir.path()).unwrap();
    freeze(&dir.path());
    let error = fails(&store, 4);
    assert!(error.contains("remount,rw") && error.contains("uid"), "{error}");
    unmount(&dir.path());
    smol::block_on(add(&store, 5)).unwrap();
    assert_eq!(held(&store.registry()), [1, 2, 3, 5]);
}

fn read_only_from_the_start() {
    let dir = Dir::holding(1..=3);
    freeze(&dir.path());
    let (store, notices) = open(&dir.path()).unwrap();
    assert_eq!(held(&store.registry()), [1, 2, 3]);
    let [Notice::ReadOnly(why)] = &notices[..] else { panic!("{notices:?}") };
    let uid = format!("uid {}", rustix::process::geteuid().as_raw());
    assert!(why.contains(dir.path().to_str().unwrap()) && why.contains(&uid), "{why}");
    fails(&store, 4);
    assert!(matches!(Store::open(&dir.path()), Err(OpenError::Locked(..))), "still one owner");
    unmount(&dir.path());
    smol::block_on(add(&store, 5)).unwrap();
    drop(store);
    assert_eq!(held(&open(&dir.path()).unwrap().0.registry()), [1, 2, 3, 5]);

    // Not even a lock: served, and never written.
    fs::remove_file(dir.file("lock")).unwrap();
    freeze(&dir.path());
    let (store, _) = open(&dir.path()).unwrap();
    assert_eq!(held(&store.registry()), [1, 2, 3, 5]);
    unmount(&dir.path());
    let error = fails(&store, 6);
    assert!(error.contains("start the gateway again"), "{error}");

    // Nothing at all, and nowhere to put it.
    let dir = Dir::new();
    freeze(dir.root());
    let (store, notices) = open(&dir.path()).unwrap();
    assert_eq!(held(&store.registry()), []);
    assert!(notices.iter().any(|n| matches!(n, Notice::ReadOnly(_))), "{notices:?}");
    unmount(dir.root());
}
