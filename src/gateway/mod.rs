//! The gateway: accepts connections, serves them, and restores them after a hand-over.
//!
//! `accept` takes a connection in, `handshake` lets it in or turns it away, `session` serves it, `keepalive` keeps
//! all of them alive, [`run()`] wires them to the listening sockets and the signals.

pub mod accept;
mod boot_queue;
mod entropy;
mod handshake;
mod keepalive;
mod pages;
pub mod run;
pub mod session;
mod start_failure;
mod stop;
mod supervisor;

pub(crate) use handshake::SameForAll;
pub use run::{Gateway, run};
pub use start_failure::StartFailure;
