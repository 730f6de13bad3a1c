//! What a durable change costs, beside what the disk alone costs in the same run.
//!
//! The floor is the least any store can do for the same bytes: write a file, fsync, rename, fsync the
//! directory. `alone` is one change at a time; `grouped` is 64 callers at once, each waiting for its own.
//! `encode` is the part that the gateway's one thread has to wait for.
//! Run it on the medium that counts: `TMPDIR=/mnt/card cargo bench --bench store`.

use barnacle::{
    protocol::{PublicKey, Role, Scope, Scopes},
    store::{Book, Display, Store, Via, atomic, codec},
};
use std::{
    convert::Infallible,
    path::Path,
    rc::Rc,
    time::{Duration, Instant},
};

const CALLERS: u64 = 64;

fn main() {
    let dir = std::env::temp_dir().join(format!("barnacle-bench-{}", std::process::id()));
    println!("store commits in {}, p50 / p99 in ms", dir.display());
    println!(
        "{:>8} {:>9} {:>15} {:>15} {:>15} {:>9} {:>10} {:>13}",
        "devices", "bytes", "floor", "alone", "grouped", "commits", "changes/s", "encode"
    );
    for (devices, rounds) in [(10, 300), (1_000, 300), (10_000, 100)] {
        row(&dir, devices, rounds);
        std::fs::remove_dir_all(&dir).expect("the bench's own directory");
    }
}

fn row(dir: &Path, devices: u64, rounds: u64) {
    let (store, _) = Store::open(dir).expect("a store in the temporary directory");
    let store = Rc::new(store);
    smol::block_on(store.change(|book| {
        (0..devices).for_each(|n| approve(book, n));
        Ok::<_, Infallible>(())
    }))
    .expect("room for the devices");
    let file = codec::seal(codec::encode(&store.book(), 1));

    // In turns, so that a disk that slows down does so for both.
    let (mut floor, mut alone) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        floor.push(time(|| atomic::replace(&dir.join("floor"), &file, 0o600).expect("a plain write")));
        alone.push(time(|| smol::block_on(touch(&store, 0))));
    }
    let encode = (0..rounds).map(|_| time(|| drop(codec::encode(&store.book(), 1)))).collect();

    let (before, began, mut grouped) = (store.commits(), Instant::now(), Vec::new());
    for _ in 0..rounds / 10 {
        round(&store, devices, &mut grouped);
    }
    println!(
        "{devices:>8} {:>9} {:>15} {:>15} {:>15} {:>9} {:>10.0} {:>13}",
        file.len(),
        shown(floor),
        shown(alone),
        shown(grouped.clone()),
        store.commits() - before,
        grouped.len() as f64 / began.elapsed().as_secs_f64(),
        shown(encode)
    );
}

/// All callers at once.
fn round(store: &Rc<Store>, devices: u64, latencies: &mut Vec<Duration>) {
    let executor = smol::LocalExecutor::new();
    let callers: Vec<_> = (0..CALLERS)
        .map(|n| {
            let store = store.clone();
            executor.spawn(async move {
                let began = Instant::now();
                touch(&store, n % devices).await;
                began.elapsed()
            })
        })
        .collect();
    smol::block_on(executor.run(async {
        for caller in callers {
            latencies.push(caller.await);
        }
    }));
}

fn key(n: u64) -> PublicKey {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&n.to_le_bytes());
    PublicKey(key)
}

/// A device as a real one looks: a name, a platform, an address.
fn approve(book: &mut Book, n: u64) {
    let text = |text: &str| Some(text.to_owned());
    let display = Display {
        name: Some(format!("agent {n}")),
        platform: text("linux"),
        version: text("2026.9.6"),
        client_id: text("cli"),
        client_mode: text("cli"),
        ip: text("192.168.1.20"),
        ..Display::default()
    };
    let scopes = Scopes::from_iter([Scope::Admin]);
    book.approve(key(n), Role::Operator, scopes, &display, Via::Operator, 1_700_000_000_000);
}

async fn touch(store: &Store, n: u64) {
    let id = key(n).device_id();
    let rotated = store.change(|book| {
        let grant = book.device_mut(&id).and_then(|d| d.grant_mut(Role::Operator));
        grant.map(|g| g.generation += 1).ok_or("the device is gone")
    });
    rotated.await.expect("a commit");
}

fn time(what: impl FnOnce()) -> Duration {
    let began = Instant::now();
    what();
    began.elapsed()
}

fn shown(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let ms = |at: usize| times[at].as_secs_f64() * 1e3;
    format!("{:.2} / {:.2}", ms(times.len() / 2), ms(times.len() * 99 / 100))
}
