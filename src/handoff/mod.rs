//! Hand-over: a restart that no one sees. The gateway saves its state, and `exec` puts the program that is on disk
//! now in its place, which restores it. Same process, same sockets, new code.
//!
//! [`state`] is what is handed over and [`sections`] how it is written, [`format_2`] how the release before wrote
//! it. [`preflight`] asks the program on disk whether it can take over, [`execute`] hands over, [`restore`] takes
//! over. [`fdstore`] is the same by way of systemd, which restarts the process and keeps state and sockets meanwhile.

mod execute;
mod fdstore;
mod format_2;
mod memory;
mod preflight;
mod requests;
mod restore;
mod sections;
mod state;

pub(crate) use execute::Handoff;
pub(crate) use fdstore::forget;
pub use memory::Memory;
pub(crate) use preflight::{Program, can_resume};
pub use restore::is_successor;
pub(crate) use restore::{Inherited, Predecessor, Serve, inherit};
pub use sections::{STATE_FORMAT, StateFormat, section_names};
pub use state::{DamagedState, State};

/// The variable that tells the new process image where the state is: `<process id>:<descriptor>`.
const VARIABLE: &str = "BARNACLE_HANDOVER";
