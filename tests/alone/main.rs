//! A gateway that stands alone, while everything happens to it that made agents fail elsewhere: ten backends list sessions
//! and send messages, people chat with a model that streams, the configuration is edited, the gateway is restarted,
//! upgraded, ended and started, and killed a hundred times at random.
//!
//! What must hold: no accepted message is lost or doubled, every accepted run ends once, every transcript is whole, no call
//! fails and no connection closes but by the gateway's end, and whoever was closed is let in again by its device token.
//!
//! This file is a program of its own (no test harness), because it is the next version, too. `--seed <n>` has the same happen
//! in the same order, `--kills <n>` more or less of it.

#[path = "../endurance/dice.rs"]
mod dice;
#[path = "../sessions/model.rs"]
#[allow(dead_code)]
mod model;
#[path = "../support/versions.rs"]
mod versions;
#[path = "../support/wire/mod.rs"]
mod wire;

mod attached;
mod backends;
mod chats;
mod disturb;
mod transcripts;

use attached::World;
use dice::Dice;
use disturb::Stage;
use std::{
    process::ExitCode,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

const KILLS: u64 = 100;

fn main() -> ExitCode {
    if versions::is_called(&["gateway"]) {
        return versions::be(&versions::NEXT);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64);
    let (seed, kills) = (number("--seed").unwrap_or(now % 1_000_000 + 1), number("--kills").unwrap_or(KILLS));
    let began = Instant::now();
    println!("alone: seed {seed}; again with cargo test --profile quick --test alone -- --seed {seed}");
    let world = Arc::new(World::default());
    let mut stage = Stage::set(world.clone(), Dice::new(seed));
    let backends = backends::begin(&stage, &world);
    let (chats, listener) = (chats::begin(&stage, &world, seed), chats::listen(&stage, &world));
    stage.disturb(kills);
    world.calm();
    let inboxes: Vec<_> = backends.into_iter().map(|backend| backend.join().unwrap()).collect();
    let said: Vec<_> = chats.into_iter().flat_map(|chat| chat.join().unwrap()).collect();
    let ends = stage.end(listener);
    transcripts::check(&mut stage, &world, &inboxes, &said, &ends);
    println!("alone: {} in {} s", world.summary(), began.elapsed().as_secs());
    match world.failures() {
        0 => ExitCode::SUCCESS,
        failures => {
            println!("alone: {failures} FAILURES, seed {seed}\n{}", stage.log());
            ExitCode::FAILURE
        }
    }
}

/// The number behind a word of the command line.
fn number(word: &str) -> Option<u64> {
    let mut args = std::env::args().skip_while(|arg| arg != word);
    args.nth(1)?.parse().ok()
}
