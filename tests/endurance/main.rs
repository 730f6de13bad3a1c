//! Endurance: 200 clients stay attached for hours while edits, rotations, restarts, upgrades, clock jumps, full
//! disks, floods and kills come at random. Run by `tests/soak`, not by `cargo test`.
//!
//! What must hold: no connection closes but by `kill -9`, everyone is back after that, every acknowledged write is
//! found again, every call is answered, and neither memory nor descriptors grow.

#[path = "../support/wire/mod.rs"]
mod wire;

mod clients;
mod dice;
mod disturb;
mod report;

use clients::Fleet;
use dice::Dice;
use disturb::Stage;
use report::Report;
use std::{
    process::ExitCode,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

struct Options {
    time: Duration,
    seed: u64,
    peers: bool,
}

fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        // `cargo test` of everything passes nothing, and wants nothing of it.
        Err(why) => {
            println!("endurance: {why}; see tests/soak");
            return ExitCode::SUCCESS;
        }
    };
    println!("endurance: {:?}, seed {}", options.time, options.seed);
    let report = Arc::new(Report::default());
    let mut stage = Stage::set(report.clone(), Dice::new(options.seed));
    let fleet = Fleet::attach(&stage, report.clone(), options.peers);
    stage.watch(fleet.all());
    let end = Instant::now() + options.time;
    let mut next_line = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end {
        stage.disturb();
        report.sample(stage.pid());
        if Instant::now() >= next_line {
            println!("{}", report.line());
            next_line += Duration::from_secs(60);
        }
    }
    stage.calm(&fleet);
    report.running.store(false, Relaxed);
    println!("{report}");
    // What the clients still wait for is of no interest.
    drop(stage);
    if report.held() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn options(args: impl Iterator<Item = String>) -> Result<Options, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64);
    let mut options = Options { time: Duration::ZERO, seed: now | 1, peers: false };
    let mut args = args.filter(|arg| arg != "--quiet");
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seed" => {
                let seed = args.next().and_then(|n| n.parse().ok());
                options.seed = seed.ok_or("--seed wants a number")?;
            }
            "--peers" => options.peers = true,
            time => options.time = duration(time).ok_or_else(|| format!("no time: {time}"))?,
        }
    }
    if options.time.is_zero() { Err("no time was given".into()) } else { Ok(options) }
}

fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    Some(Duration::from_secs(number.parse::<u64>().ok()? * seconds))
}
