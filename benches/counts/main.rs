//! What a handshake costs, counted instead of timed: the same on a busy machine as on an idle one, so that a
//! test can hold it.
//!
//! ```text
//! tools ─ what is counted, under valgrind, strace or an emulator     machine ─ the processors that are emulated
//! floor ─ what no gateway can do with less     baseline ─ what was counted before, and what grew
//! ```
//!
//! `cargo test` runs it, and fails if a count has grown. See `benches/README.md`.

#[path = "../rig/mod.rs"]
mod rig;

mod baseline;
#[path = "../board/floor.rs"]
#[allow(dead_code)]
mod floor;
mod machine;
mod tools;

use baseline::Baseline;
use floor::Floor;
use machine::{MACHINES, Machine};
use rig::{Client, Failure, Gateway, Offer, TOKEN, field, stranger};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};
use tools::{Subject, Tool};

const HELP: &str = "\
cargo test --profile quick --bench counts -- [--board <name>] [--write]
cargo bench --bench counts                     the release build, which no baseline holds

  --board <name>  instructions of the static build for a board, aarch64 or armv6, in an emulator
  --write         hold what is counted now in benches/baseline.json
";

/// The ways in that are counted.
pub const WAYS: [&str; 4] = ["device token", "key proof", "shared token", "new device"];
/// What no gateway can do with less, and the ways in that it is the floor of: a connection and two round trips of a
/// handshake's sizes, and of those with a signature one plain verification.
pub const FLOORS: [(&str, &[&str]); 2] = [("floor, signed", &["device token", "key proof"]), ("floor", &[])];
/// Handshakes before counting, so that what happens once has happened, and those that are counted.
const WARM: u32 = 20;
const COUNTED: u32 = 100;
/// The longest that one answer is waited for.
const ANSWER: Duration = Duration::from_secs(20);

fn main() -> Result<ExitCode, Failure> {
    let (mut write, mut release, mut board) = (false, false, None);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--write" => write = true,
            "--bench" => release = true,
            "--board" => board = args.next(),
            "--echo" => return floor::echo(args.next().ok_or(HELP)?.parse()?).map(|()| ExitCode::SUCCESS),
            _ => {
                print!("{HELP}");
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
    let held = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/baseline.json");
    if let Some(name) = board {
        let names = MACHINES.map(|machine| machine.name).join(", ");
        let machine = Machine::named(&name).ok_or_else(|| format!("no board {name:?}: {names}"))?;
        return of_board(machine, &held, write);
    }
    let mut now = of_this_machine()?;
    print!("{}", now.table());
    if release {
        return Ok(ExitCode::SUCCESS);
    }
    let before = Baseline::read(&held);
    if write {
        now.boards = before.map(|before| before.boards).unwrap_or_default();
        std::fs::write(&held, now.text())?;
        return Ok(ExitCode::SUCCESS);
    }
    let before = before?;
    if before.machine != now.machine {
        println!("instructions are not compared: {} against {}", now.machine, before.machine);
    }
    Ok(judged(&now.against(&before), ""))
}

/// Says what has changed; fails if there is more of anything.
fn judged(changed: &[baseline::Change], board: &str) -> ExitCode {
    changed.iter().for_each(|change| println!("{change}"));
    if changed.iter().any(|change| change.is_growth()) {
        println!("\nIf it is worth that: cargo test --profile quick --bench counts -- {board}--write");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn of_this_machine() -> Result<Baseline, Failure> {
    let mut now = Baseline::of_this_machine();
    // One after the other.
    for start in [|| Tool::callgrind(Gateway::start_under), || Tool::strace(Gateway::start_under)] {
        handshakes(&mut start()?, |way, tool| tool.end(now.of(way), COUNTED))?;
    }
    let this = std::env::current_exe()?.to_string_lossy().into_owned();
    let floor = |words: &[String]| Floor::start(&words.iter().cloned().chain([this]).collect::<Vec<_>>());
    floors(&mut Tool::callgrind(floor)?, |way, tool| tool.end(now.of(way), COUNTED))?;
    Ok(now)
}

/// Instructions of the static builds for a board.
fn of_board(machine: &Machine, held: &Path, write: bool) -> Result<ExitCode, Failure> {
    let mut now = baseline::Board::new(machine.described(&baseline::compiler())?);
    let by = |words: &[String], program: String| -> Vec<String> { [words, &[program]].concat() };
    let (gateway, floor) =
        (machine.program("release-set", "barnacle")?, machine.program("bench-set", "board")?);
    let mut counts = baseline::Counts::default();
    let mut put = |way: &str, instructions| now.put(way, instructions);
    let mut tool = Tool::emulator(machine, |words| Gateway::start_by(&by(words, gateway)))?;
    handshakes(&mut tool, |way, tool| {
        tool.end(&mut counts, COUNTED)?;
        put(way, counts.instructions);
        Ok(())
    })?;
    drop(tool);
    let mut tool = Tool::emulator(machine, |words| Floor::start(&by(words, floor)))?;
    floors(&mut tool, |way, tool| {
        tool.end(&mut counts, COUNTED)?;
        put(way, counts.instructions);
        Ok(())
    })?;
    print!("{}", now.table());
    let mut before = Baseline::read(held)?;
    if write {
        before.boards.insert(machine.name.into(), now);
        std::fs::write(held, before.text())?;
        return Ok(ExitCode::SUCCESS);
    }
    match before.boards.get(machine.name) {
        Some(before) if before.machine == now.machine => {
            Ok(judged(&now.against(before), &format!("--board {} ", machine.name)))
        }
        before => {
            let before = before.map_or("nothing", |before| &before.machine);
            println!("instructions are not compared: {} against {before}", now.machine);
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Counts each way in; `end` takes what was counted.
fn handshakes(
    tool: &mut Tool<Gateway>,
    mut end: impl FnMut(&str, &mut Tool<Gateway>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut visitors = Visitors::new(tool.subject.at)?;
    for way in WAYS {
        let mut visit = |times| (0..times).try_for_each(|_| visitors.visit(way));
        visit(WARM)?;
        tool.begin()?;
        visit(COUNTED)?;
        end(way, tool)?;
    }
    Ok(())
}

/// Counts each floor.
fn floors(
    tool: &mut Tool<Floor>,
    mut end: impl FnMut(&str, &mut Tool<Floor>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    for (floor, _) in FLOORS {
        let signed = floor == FLOORS[0].0;
        let visit = |tool: &Tool<Floor>, times: u32| -> Result<(), Failure> {
            (0..times).try_for_each(|_| tool.subject.batch(1, signed).map(drop))
        };
        visit(tool, WARM)?;
        tool.begin()?;
        visit(tool, COUNTED)?;
        end(floor, tool)?;
    }
    Ok(())
}

impl Subject for Gateway {
    fn pid(&self) -> u32 {
        Gateway::pid(self)
    }
}

impl Subject for Floor {
    fn pid(&self) -> u32 {
        self.process().id()
    }
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
