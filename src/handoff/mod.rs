//! A restart that no one sees: the gateway writes itself down, and `exec` puts the program that is on disk
//! now in its place, which goes on from there. Same process, same sockets, new code.
//!
//! [`state`] is what is written and its frame, [`prove`] asks the program on disk whether it can go on from
//! it, [`pass`] hands over, [`resume`] takes over. [`keep`] is the
//! same by way of systemd, which restarts the process and keeps state and sockets meanwhile.

mod execute;
mod fdstore;
mod memory;
mod preflight;
mod restore;
mod state;

pub use execute::Pass;
pub use fdstore::{forget, keep_listening};
pub use memory::Memory;
pub use preflight::{Program, can_resume};
pub use restore::{Inherited, Taken, goes_on, take};
pub use state::{Admits, Damage, STATE_FORMAT, State, StateFormat};

/// The variable that tells the new process image where the state is: `<process id>:<descriptor>`.
const VARIABLE: &str = "BARNACLE_HANDOVER";
