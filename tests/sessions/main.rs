//! Sessions and transcripts of a gateway that stands alone: over the socket, through crashes, and large.

#[path = "../support/crash.rs"]
#[allow(dead_code)]
mod crash_model;
#[path = "../support/wire/mod.rs"]
mod wire;

mod agent;
mod commands;
mod compaction;
mod crash;
mod damage;
mod full_disk;
mod large;
mod lists;
#[allow(dead_code)]
mod model;
mod nothing;
mod power_cut;
mod power_cut_turn;
mod providers;
mod queue;
mod rights;
mod runs;
mod said;
mod syncs;
mod tools;
mod upkeep;
