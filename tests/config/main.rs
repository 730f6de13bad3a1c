//! The configuration: read, checked, written, and reloaded while clients are attached.

#[path = "../support/crash.rs"]
mod crash;
#[path = "../support/home.rs"]
mod home;
#[path = "../support/wire/mod.rs"]
mod wire;

mod commands;
mod file;
mod hardening_commands;
mod hardening_redact;
mod hardening_secrets;
mod include;
mod keys;
mod lint;
mod own_file;
mod plan;
mod power_cut;
mod reload;
mod rpc;
mod settings_seen;
mod shared_secret;
mod write;
mod write_failures;
mod write_target;
