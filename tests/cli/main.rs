//! The command line: client commands, `doctor` and `import`.

#[path = "../sessions/model.rs"]
#[allow(dead_code)]
mod model;
#[path = "../support/wire/mod.rs"]
mod wire;

mod client;
mod conversation;
mod doctor;
mod hardening;
mod import;
mod import_sessions;
