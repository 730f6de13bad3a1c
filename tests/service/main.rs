//! The service: its units, its installer, and what systemd and the gateway say to each other.

#[path = "../support/host/mod.rs"]
mod host;
#[path = "../support/release_before.rs"]
mod release_before;
#[path = "../support/wire/mod.rs"]
mod wire;

mod installer;
mod sd_notify;
mod systemd;

mod systemd_releases;
mod systemd_restart;
mod units;
