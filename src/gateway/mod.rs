//! The gateway: takes connections in, keeps them, and goes on with them.
//!
//! `handshake` lets a connection in or turns it away, `session` serves it, `pulse` keeps all of
//! them alive, [`run()`] wires them to the listening sockets and the signals.

mod arrive;
mod doors;
mod early;
mod grants;
pub mod handover;
mod handshake;
mod hello;
mod proof;
mod pulse;
mod randomness;
mod run;
mod session;
mod supervised;
mod unattached;
mod watch;

pub use run::{Gateway, StartFailure, run};
