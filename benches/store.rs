//! How long a change of the token store takes until it is acknowledged, which is until it is on disk,
//! beside what the disk itself takes.
//!
//! The floor is the least that replaces a file safely: write as many bytes, sync them, rename, sync the
//! directory. It is measured in turn with the commits, so that whatever else the machine does falls on
//! both alike.

use barnacle::internals::{
    protocol::{PublicKey, Role, Scope, Scopes},
    store::{Display, Registry, Store, Via, atomic},
};
use smol::LocalExecutor;
use std::{
    convert::Infallible,
    error::Error,
    fs,
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, Instant},
};

const HELP: &str = "\
cargo bench --bench store -- [--rounds <n>] [--dir <path>]

  --rounds <n>  commits of each kind [100]
  --dir <path>  a directory on the disk to measure [the build's own]
";

/// Changes under way together.
const GROUP: u32 = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (mut rounds, mut dir) = (100, PathBuf::from(env!("CARGO_TARGET_TMPDIR")));
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(HELP);
        match arg.as_str() {
            "--bench" => {}
            "--rounds" => rounds = value()?.parse()?,
            "--dir" => dir = value()?.into(),
            _ => {
                print!("{HELP}");
                return Ok(());
            }
        }
    }
    println!("{rounds} rounds on {}; milliseconds", dir.display());
    println!("                     floor           alone             {GROUP} at once, each");
    println!("devices      KiB    p50    p99    p50    p99  x p50    p50    p99  changes/s");
    for devices in [10, 1_000, 10_000] {
        let path = dir.join(format!("barnacle-bench-{}", std::process::id()));
        let result = measure(&path, devices, rounds);
        fs::remove_dir_all(&path)?;
        result?;
    }
    Ok(())
}

fn measure(dir: &Path, devices: u32, rounds: u32) -> Result<(), Box<dyn Error>> {
    let store = Rc::new(Store::open(dir).map_err(|e| e.to_string())?.0);
    let pairing = store.change(|registry| {
        (0..devices).for_each(|n| pair(registry, n));
        Ok::<_, Infallible>(())
    });
    smol::block_on(pairing).map_err(|e| format!("{e:?}"))?;
    let bytes = fs::read(dir.join("tokens.bin"))?;
    let (mut floor, mut alone, mut grouped) = (Vec::new(), Vec::new(), Vec::new());
    let mut together = Duration::ZERO;
    for round in 1..=rounds {
        let began = Instant::now();
        atomic::replace(&dir.join("floor"), &bytes, 0o600)?;
        floor.push(began.elapsed());
        alone.push(smol::block_on(rotate(&store, round % devices)));
        let began = Instant::now();
        grouped.extend(at_once(&store, devices));
        together += began.elapsed();
    }
    let figures = [&mut floor, &mut alone, &mut grouped].map(|times| {
        times.sort_unstable();
        (ms(times[times.len() / 2]), ms(times[times.len() * 99 / 100]))
    });
    let [(floor, floor_99), (alone, alone_99), (each, each_99)] = figures;
    let (size, ratio) = (bytes.len() as f64 / 1024.0, alone / floor);
    let rate = f64::from(rounds * GROUP) / together.as_secs_f64();
    print!("{devices:7} {size:8.1} {floor:6.2} {floor_99:6.2} {alone:6.2} {alone_99:6.2} ");
    println!("{ratio:6.2} {each:6.2} {each_99:6.2} {rate:10.0}");
    Ok(())
}

/// Rotates the token of device `n`; how long that took.
async fn rotate(store: &Store, n: u32) -> Duration {
    let began = Instant::now();
    let changed = store
        .change(|registry| {
            let grant = registry.device_mut(&key(n).device_id()).and_then(|d| d.grant_mut(Role::Operator));
            grant.map(|g| g.generation += 1).ok_or("no such device")
        })
        .await;
    changed.unwrap_or_else(|e| panic!("{e:?}"));
    began.elapsed()
}

/// How long each of [`GROUP`] changes took that came at the same moment.
fn at_once(store: &Rc<Store>, devices: u32) -> Vec<Duration> {
    let executor = LocalExecutor::new();
    let began = Instant::now();
    let tasks: Vec<_> = (0..GROUP)
        .map(|n| {
            let store = store.clone();
            executor.spawn(async move {
                rotate(&store, n % devices).await;
                began.elapsed()
            })
        })
        .collect();
    smol::block_on(executor.run(async {
        let mut times = Vec::new();
        for task in tasks {
            times.push(task.await);
        }
        times
    }))
}

fn key(n: u32) -> PublicKey {
    let mut key = [0; 32];
    key[..4].copy_from_slice(&n.to_le_bytes());
    PublicKey(key)
}

/// Pairs device `n`, with what a client says of itself.
fn pair(registry: &mut Registry, n: u32) {
    let display = Display {
        name: Some(format!("agent {n}")),
        platform: Some("linux".into()),
        version: Some("2026.9.6".into()),
        client_id: Some("cli".into()),
        client_mode: Some("cli".into()),
        ip: Some("192.168.1.20".into()),
        ..Display::default()
    };
    let scopes = Scopes::from_iter([Scope::Read, Scope::Write]);
    registry.approve(key(n), Role::Operator, scopes, &display, Via::Operator, 1_795_512_523_916);
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
