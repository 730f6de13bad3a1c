//! What a handshake costs, counted instead of timed: the same on a busy machine as on an idle one, so that a
//! test can hold it.
//!
//! ```text
//! tools ─ the gateway under valgrind and strace     baseline ─ what was counted before, and what grew
//! ```
//!
//! `cargo test` runs it, and fails if a count has grown. See `benches/README.md`.

#[path = "../rig/mod.rs"]
mod rig;

mod baseline;
mod tools;

use baseline::Baseline;
use rig::{Client, Failure, Offer, TOKEN, field, stranger};
use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};
use tools::Tool;

const HELP: &str = "\
cargo test --profile quick --bench counts -- [--write]
cargo bench --bench counts                     the release build, which no baseline holds

  --write   hold what is counted now as benches/baseline.json
";

/// The ways in that are counted.
pub const WAYS: [&str; 4] = ["device token", "key proof", "shared token", "new device"];
/// Handshakes before counting, so that what happens once has happened, and those that are counted.
const WARM: u32 = 20;
const COUNTED: u32 = 100;
/// The longest that one answer is waited for.
const ANSWER: Duration = Duration::from_secs(20);

fn main() -> Result<ExitCode, Failure> {
    let (mut write, mut release) = (false, false);
    for arg in std::env::args().skip(1) {
        match arg.as_str() {
            "--write" => write = true,
            "--bench" => release = true,
            _ => {
                print!("{HELP}");
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
    let held = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/baseline.json");
    let mut now = Baseline::of_this_machine();
    for start in [Tool::callgrind, Tool::strace] {
        let mut tool = start()?;
        let mut visitors = Visitors::new(tool.at())?;
        for way in WAYS {
            let mut visit = |times| (0..times).try_for_each(|_| visitors.visit(way));
            visit(WARM)?;
            tool.begin()?;
            visit(COUNTED)?;
            tool.end(now.of(way), COUNTED)?;
        }
    }
    print!("{}", now.table());
    if release {
        return Ok(ExitCode::SUCCESS);
    }
    if write {
        std::fs::write(&held, now.text())?;
        return Ok(ExitCode::SUCCESS);
    }
    let before = Baseline::read(&held)?;
    if before.machine != now.machine {
        println!("instructions are not compared: {} against {}", now.machine, before.machine);
    }
    let changed = now.against(&before);
    changed.iter().for_each(|change| println!("{change}"));
    if changed.iter().any(|change| change.is_growth()) {
        println!("\nIf it is worth that: cargo test --profile quick --bench counts -- --write");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Who comes, one after the other.
struct Visitors {
    at: SocketAddr,
    me: barnacle::internals::auth::identity::Identity,
    token: String,
}

impl Visitors {
    /// A device that pairs, to come back later.
    fn new(at: SocketAddr) -> Result<Self, Failure> {
        let me = stranger()?;
        let hello = visit(at, &Offer { device: Some(&me), token: Some(TOKEN) })?;
        let token = field(&hello, "\"deviceToken\":\"").ok_or("no device token in hello-ok")?.into();
        Ok(Self { at, me, token })
    }

    /// Attaches by that way, and leaves.
    fn visit(&mut self, way: &str) -> Result<(), Failure> {
        let new = stranger()?;
        let (device, token) = match way {
            "device token" => (Some(&self.me), Some(self.token.as_str())),
            "key proof" => (Some(&self.me), None),
            "shared token" => (None, Some(TOKEN)),
            _ => (Some(&new), Some(TOKEN)),
        };
        visit(self.at, &Offer { device, token }).map(drop)
    }
}

fn visit(at: SocketAddr, offer: &Offer<'_>) -> Result<String, Failure> {
    let mut client = Client::dial(at)?;
    client.wait_at_most(ANSWER)?;
    client.upgrade(at)?;
    client.connect(offer)?;
    let hello = client.hello()?;
    client.close()?;
    Ok(hello)
}
