//! Barnacle in front of an OpenClaw that systemd runs: OpenClaw gets another port, Barnacle takes its old one.
//!
//! OpenClaw's own files stay as they are. A drop-in moves its unit ([`DropIn`]), and is at the same time the record of
//! what was done: it is written first and removed last, so that whatever ends an installation in the middle,
//! `uninstall --restore-openclaw` finds what to undo. [`decide`](decide::decide) is pure: facts to what is to be done,
//! or a refusal.

mod behind;
mod call;
mod decide;
mod drop_in;
mod install;
mod launch;
mod restore;
mod trouble;

pub use behind::{Behind, WHICH, variables};
pub use decide::Refusal;
pub use drop_in::DropIn;
pub use install::{install_in_front, print_in_front};
pub use launch::Launch;
pub use restore::{is_in_front, restore};
pub use trouble::Trouble;

use std::time::Duration;

/// Time that OpenClaw has to be there again after a restart, where nothing else is said. A small board with many
/// plugins needs more than a minute.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// Pause between two looks at a service that is to come.
const LOOK: Duration = Duration::from_millis(300);
