//! Changes of the registry in use: its owner, how many become one commit, and cancelled callers.

use crate::store_dir::{Dir, add, approve, as_writer, disk_error, held, key, open};
use barnacle::internals::store::{ChangeError, Device, Display, OpenError, Store, Via};
use std::{
    cell::RefCell,
    convert::Infallible,
    fs::{self, File},
    io::{BufRead, BufReader},
    net::TcpListener,
    pin::pin,
    process::Command,
    rc::Rc,
};

#[test]
fn concurrent_changes_share_commits() {
    let dir = Dir::new();
    let store = Rc::new(open(&dir.path()).unwrap().0);
    let executor = smol::LocalExecutor::new();
    let tasks: Vec<_> = (1..=200)
        .map(|n| {
            let store = store.clone();
            executor.spawn(async move {
                add(&store, n).await.unwrap();
                assert!(held(&store.registry()).contains(&n), "seen as soon as acknowledged");
            })
        })
        .collect();
    smol::block_on(executor.run(async {
        for task in tasks {
            task.await;
        }
    }));
    // Whoever comes while one is being written goes with the next; how many that are is the disk's to say.
    assert!(store.commits() <= 20, "{} commits", store.commits());
    assert_eq!(held(&store.registry()), (1..=200).collect::<Vec<_>>());
}

#[test]
fn a_change_that_changes_nothing_writes_nothing() {
    let dir = Dir::holding(1..=2);
    let (store, _) = open(&dir.path()).unwrap();
    smol::block_on(async {
        store.change(|_| Ok::<_, Infallible>(())).await.unwrap();
        // A record that is touched and stays as it was.
        store
            .change(|registry| {
                registry.device_mut(&key(1).device_id()).unwrap().label = None;
                Ok::<_, Infallible>(())
            })
            .await
            .unwrap();
    });
    assert_eq!(store.commits(), 0);
}

#[test]
fn nothing_of_a_refused_change_remains() {
    let dir = Dir::new();
    let (store, _) = open(&dir.path()).unwrap();
    let refused = smol::block_on(store.change(|registry| {
        registry.insert(Device::new(key(1), Display::default(), Via::Operator, 1));
        Err::<(), _>("no")
    }));
    assert!(matches!(refused, Err(ChangeError::Refused("no"))));
    smol::block_on(add(&store, 2)).unwrap();
    assert_eq!((held(&store.registry()), store.commits()), (vec![2], 1));
}

#[test]
fn a_change_sees_the_staged_one_and_others_only_the_durable() {
    let dir = Dir::new();
    let (store, _) = open(&dir.path()).unwrap();
    smol::block_on(async {
        let mut first = pin!(add(&store, 1));
        assert!(smol::future::poll_once(first.as_mut()).await.is_none());
        let seen = RefCell::new(Vec::new());
        let second = store.change(|registry| {
            *seen.borrow_mut() = held(registry);
            Ok::<_, Infallible>(())
        });
        // It changes nothing, but what it saw is only true once the first is on disk.
        second.await.unwrap();
        assert_eq!((seen.into_inner(), held(&store.registry()), store.commits()), (vec![1], vec![1], 1));
        first.await.unwrap();
    });
}

#[test]
fn a_cancelled_change_blocks_nobody() {
    let dir = Dir::new();
    let (store, _) = open(&dir.path()).unwrap();
    smol::block_on(async {
        {
            let mut flying = Box::pin(add(&store, 1));
            let mut staged = Box::pin(add(&store, 2));
            assert!(smol::future::poll_once(&mut flying).await.is_none());
            assert!(smol::future::poll_once(&mut staged).await.is_none());
            let mut waiting = Box::pin(add(&store, 3));
            assert!(smol::future::poll_once(&mut waiting).await.is_none());
            drop((flying, staged));
            waiting.await.unwrap();
        }
        assert_eq!(held(&store.registry()), [1, 2, 3]);
        let mut flying = Box::pin(add(&store, 4));
        assert!(smol::future::poll_once(&mut flying).await.is_none());
        drop(flying);
        // Nobody waits for the fourth: the next one does.
        add(&store, 5).await.unwrap();
        assert_eq!(held(&store.registry()), [1, 2, 3, 4, 5]);
    });
}

#[test]
fn a_store_dropped_in_a_commit_stays_locked_until_that_has_ended() {
    for n in 1..=20 {
        let dir = Dir::new();
        let (store, _) = open(&dir.path()).unwrap();
        smol::block_on(async {
            let mut flying = Box::pin(add(&store, n));
            let _ = smol::future::poll_once(&mut flying).await;
        });
        drop(store);
        let (reopened, _) = open(&dir.path()).unwrap();
        assert_eq!(held(&reopened.registry()), [n]);
    }
}

#[test]
fn the_lock_names_its_owner_and_ends_with_it() {
    let dir = Dir::new();
    let mut command = Command::new(std::env::current_exe().unwrap());
    as_writer(&mut command, &dir.path(), 2, true);
    let mut owner = command.spawn().unwrap();
    let lines = BufReader::new(owner.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!({ lines }.any(|line| line == "ack 2"));
    let Err(refused) = Store::open(&dir.path()) else { panic!("two owners") };
    assert!(matches!(refused, OpenError::Locked(_, Some(pid)) if pid == owner.id()), "{refused}");
    assert!(refused.to_string().contains(&owner.id().to_string()));
    owner.kill().unwrap();
    owner.wait().unwrap();
    let (store, _) = open(&dir.path()).unwrap();
    assert_eq!(held(&store.registry()), [1, 2]);
    assert!(matches!(Store::open(&dir.path()), Err(OpenError::Locked(..))), "twice in one process");
}

#[test]
fn what_is_read_is_what_was_written() {
    let dir = Dir::new();
    let (store, _) = open(&dir.path()).unwrap();
    smol::block_on(store.change(|registry| {
        (1..=300).for_each(|n| approve(registry, n));
        registry.remove(&key(300).device_id(), 5);
        Ok::<_, Infallible>(())
    }))
    .unwrap();
    let written = store.registry();
    drop(store);
    assert_eq!(*open(&dir.path()).unwrap().0.registry(), *written);
}

#[test]
fn a_second_gateway_ends_with_78_names_the_first_and_touches_nothing() {
    let dir = Dir::holding(1..=2);
    let (store, _) = open(&dir.path()).unwrap();
    let files = || {
        let entries = |dir| fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect::<Vec<_>>();
        let mut all = [entries(dir.root()), entries(&dir.path())].concat();
        all.sort();
        all.into_iter().map(|path| (fs::read(&path).ok(), path)).collect::<Vec<_>>()
    };
    let before = files();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let mut second = Command::new(env!("CARGO_BIN_EXE_barnacle"));
    second.args(["gateway", "--token", "t", "--port", &port]).env_clear();
    let output = second.env("HOME", dir.root()).env("OPENCLAW_STATE_DIR", dir.root()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains(&format!("process {}", std::process::id())), "{said}");
    assert!(said.contains("OPENCLAW_STATE_DIR="), "{said}");
    assert_eq!(files(), before);
    smol::block_on(add(&store, 3)).unwrap();
}

/// A commit that stands still until it is let go, and then fails: a pipe stands where its file goes.
#[test]
fn nothing_is_visible_before_it_is_durable() {
    let dir = Dir::holding(1..=1);
    let (store, _) = open(&dir.path()).unwrap();
    let pipe = dir.file("tokens.bin.tmp");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    smol::block_on(async {
        let mut flying = pin!(add(&store, 2));
        let mut staged = pin!(add(&store, 3));
        let mut looking = pin!(store.change(|registry| Ok::<_, Infallible>(held(registry))));
        let mut refusing = pin!(store.change(|registry| Err::<(), _>(held(registry))));
        assert!(smol::future::poll_once(flying.as_mut()).await.is_none());
        assert!(smol::future::poll_once(staged.as_mut()).await.is_none());
        // These two change nothing, but have seen what is not on disk: they wait for it.
        assert!(smol::future::poll_once(looking.as_mut()).await.is_none());
        assert!(smol::future::poll_once(refusing.as_mut()).await.is_none());
        assert_eq!(held(&store.registry()), [1]);
        drop(smol::unblock(move || File::open(pipe)).await.unwrap());
        disk_error(flying.await.unwrap_err());
        // What was staged on it goes with it.
        disk_error(staged.await.unwrap_err());
        disk_error(looking.await.unwrap_err());
        assert!(matches!(refusing.await, Err(ChangeError::Disk(_))));
        assert_eq!(held(&store.registry()), [1]);
        assert!(store.read_only().is_some());
        add(&store, 4).await.unwrap();
    });
    assert_eq!(held(&store.registry()), [1, 4]);
    assert_eq!(store.read_only(), None);
}
