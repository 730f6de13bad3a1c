//! All that is timed, as one program that needs nothing but a gateway's binary: it runs on a board without
//! Rust, and prints one table, with the machine it was taken on at the head.
//!
//! ```text
//! facts ─ the machine            subject ─ the gateway that is measured     floor ─ what none can be faster than
//! ways ─ handshakes   inside ─ what is computed, and the disk   life ─ memory, idling, restarts
//! table ─ all figures, as text, Markdown, JSON      plot ─ latency by percentile
//! ```
//!
//! `cargo test` runs it without an argument: a short run of everything, which fails if a figure is missing.
//! See `benches/README.md`.

#[path = "../rig/mod.rs"]
mod rig;

mod facts;
mod floor;
mod inside;
mod life;
mod plot;
mod subject;
mod table;
mod ways;

use rig::Failure;
use std::{path::PathBuf, time::Duration};
use subject::Subject;
use table::{Column, Table};

const HELP: &str = "\
cargo bench --bench board -- [<option>...]      or, on a board, the program itself

  --gateway <path>           Barnacle's binary [the one of this build]
  --under <words>            what both binaries run under, such as an emulator
  --dir <path>               on the disk to measure; homes are made there [beside this program]
  --peer-dir <node_modules>  OpenClaw and its Node, to be measured in the same run
  --only <part>[,<part>...]  handshake, parts, rate, commit, frames, writes, start, memory, idle, storm, handover
  --quick                    a few of each, to see that it works: such figures say nothing
  --json <file>  --svg <file>  --markdown <file>
";

/// The processor of the clients, and that of the gateway and of the floor's echo server.
const CLIENT: usize = 0;
const SERVER: usize = 1;

/// What is asked for.
pub struct Run {
    quick: bool,
    only: Vec<String>,
}

impl Run {
    /// How many handshakes or calls: OpenClaw takes tens of times as long for each.
    fn count(&self, subject: &Subject, full: usize) -> usize {
        let share = if subject.column == Column::OpenClaw { 8 } else { 1 };
        self.rounds(full) / share
    }

    /// How many of anything.
    fn rounds(&self, full: usize) -> usize {
        if self.quick { (full / 50).max(2) } else { full }
    }

    /// How long the machine is left alone.
    fn pause(&self, seconds: u64) -> Duration {
        if self.quick { Duration::from_millis(100) } else { Duration::from_secs(seconds) }
    }

    fn takes(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == part)
    }
}

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1).peekable();
    let mut run = Run { quick: args.peek().is_none(), only: Vec::new() };
    let program = std::env::current_exe()?;
    let mut dir = program.parent().map(PathBuf::from).ok_or("this program is nowhere")?;
    let (mut gateway, mut under, mut peer) = (rig::BINARY.to_owned(), Vec::new(), None);
    let (mut json, mut svg, mut markdown) = (None, None, None);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(HELP);
        match arg.as_str() {
            "--echo" => return floor::echo(value()?.parse()?),
            "--bench" => {}
            "--quick" => run.quick = true,
            "--gateway" => gateway = value()?,
            "--under" => under = value()?.split_whitespace().map(String::from).collect(),
            "--dir" => dir = value()?.into(),
            "--peer-dir" => peer = Some(PathBuf::from(value()?)),
            "--only" => run.only.extend(value()?.split(',').map(String::from)),
            "--json" => json = Some(value()?),
            "--svg" => svg = Some(value()?),
            "--markdown" => markdown = Some(value()?),
            _ => {
                print!("{HELP}");
                return Ok(());
            }
        }
    }
    // Inherited by all that is started: a connection's share is counted in pages of the usual size.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    rig::raise_descriptor_limit();
    let server = SERVER.min(std::thread::available_parallelism()?.get() - 1);
    rig::pin(None, CLIENT)?;

    let this = std::env::current_exe()?.to_string_lossy().into_owned();
    let floor = floor::Floor::start(&under.iter().cloned().chain([this]).collect::<Vec<_>>())?;
    rig::pin(Some(floor.process()), server)?;
    let words: Vec<String> = under.into_iter().chain([gateway]).collect();
    let mut table = Table::default();
    let mut barnacle = Subject::barnacle(&words, &dir, server)?;
    let mut facts = facts::gather(&dir, &barnacle.words.name);
    measure(&mut table, &run, &mut barnacle, &floor);
    drop(barnacle);
    if run.takes("parts") {
        inside::computed(&mut table, &run)?;
    }
    if run.takes("commit") {
        inside::commit(&mut table, &run, &dir)?;
    }
    facts.push((
        "afterwards",
        format!(
            "{}, throttled {}",
            facts::temperature().unwrap_or_else(|| "temperature unknown".into()),
            facts::throttled().unwrap_or_else(|| "unknown".into())
        ),
    ));
    let mut theirs = "OpenClaw".to_owned();
    if let Some(modules) = peer {
        match Subject::openclaw(&modules, &dir, server) {
            Ok(mut openclaw) => {
                theirs = openclaw.words.name.clone();
                measure(&mut table, &run, &mut openclaw, &floor);
            }
            Err(why) => eprintln!("OpenClaw is left out: {why}"),
        }
    }

    let head: Vec<String> = facts.iter().map(|(name, value)| format!("{name:12} {value}")).collect();
    println!("{}\n{}", head.join("\n"), table.text());
    if let Some(path) = json {
        use nanoserde::SerJson;
        let facts = facts.iter().map(|(name, value)| format!("\"{name}\":{}", value.serialize_json()));
        let facts = facts.collect::<Vec<_>>().join(",");
        std::fs::write(path, format!("{{\"machine\":{{{facts}}},\"rows\":{}}}\n", table.json()))?;
    }
    if let Some(path) = markdown {
        std::fs::write(path, table.markdown(&theirs))?;
    }
    if let Some(path) = svg {
        std::fs::write(path, plot::svg(&table, &theirs, &facts))?;
    }
    match table.incomplete()[..] {
        [] => Ok(()),
        ref missing => Err(format!("without a figure: {}", missing.join("; ")).into()),
    }
}

/// Every part that is asked for, one gateway's.
fn measure(table: &mut Table, run: &Run, subject: &mut Subject, floor: &floor::Floor) {
    type Part = fn(&mut Table, &Run, &mut Subject, &floor::Floor) -> Result<(), Failure>;
    let parts: [(&'static str, Part); 10] = [
        ("handshake", |t, r, s, f| ways::handshakes(t, r, s, f)),
        ("parts", |t, r, s, _| ways::parts(t, r, s)),
        ("rate", |t, r, s, _| ways::rate(t, r, s)),
        ("frames", |t, r, s, f| life::frames(t, r, s, f)),
        ("writes", |t, r, s, _| life::writes(t, r, s)),
        ("start", |t, r, s, _| life::start(t, r, s)),
        ("memory", |t, r, s, _| life::memory(t, r, s)),
        ("idle", |t, r, s, _| life::idle(t, r, s)),
        ("storm", |t, r, s, _| life::storm(t, r, s)),
        ("handover", |t, r, s, _| life::handover(t, r, s)),
    ];
    for (part, take) in parts {
        if run.takes(part) {
            eprintln!("{}: {part}", subject.words.name);
            if let Err(why) = take(table, run, subject, floor) {
                table.put(part, part, "", subject.column, Err(why));
                let _ = subject.kill_and_start().and_then(|_| subject.wait());
            }
        }
    }
}
