//! The command line: client commands, `doctor` and `import`.

#[path = "../support/wire/mod.rs"]
mod wire;

mod client;
mod doctor;
mod hardening;
mod import;
