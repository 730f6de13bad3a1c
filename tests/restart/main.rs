//! Restarts in place: every connection is handed over.

#[path = "../support/wire/mod.rs"]
mod wire;

mod config;
mod idle;
mod killed;
mod mid_message;
mod session_state;
mod standing;
mod state_format;
mod under_load;
