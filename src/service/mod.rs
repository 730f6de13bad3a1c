//! The gateway as a service of its host: systemd units that start it, watch it and hand its sockets over,
//! or, where another init rules, an example for that one.
//!
//! [`Plan`] says what is to run, as whom, and where its units belong; `unit` writes that down;
//! [`Manager`] is the systemd that is asked to run it; [`notify`] is how the two speak while it runs. The
//! running gateway asks for nothing: it starts the same under every init, and under none.
//!
//! [`front`] puts it in front of an OpenClaw that systemd runs, and takes it away again.

mod account;
mod failed;
mod files;
pub mod front;
pub mod init;
mod install;
mod plan;
mod systemd;
mod unit;

pub use account::Account;
pub use failed::Failed;
pub use init::Init;
pub use install::{Installed, drop_ins, install, journal, openclaw_enabled, stands_before, start, uninstall};
pub(crate) use install::{is_ours, remove_units};
pub use plan::{InFront, Name, NoPlan, Options, Plan, Scope, as_caller};
pub use systemd::{Manager, Properties, Unreachable, lingers};
