//! Checks for problems with the configuration, the state, the service and the host.
//!
//! [`Facts`] are gathered once and only read; each check is one function from them to [`Finding`]s: what is there,
//! why it matters, the command that fixes it. Where a repair is safe, `barnacle doctor --fix` applies it:
//! permissions, lingering, a unit to be reloaded, keys of Barnacle's own that stand in `openclaw.json`. Nothing else in the
//! user's file is edited, nor the store or a unit.

mod config;
mod facts;
mod host;
mod pair;
mod service;
mod state;
mod tls;
mod upstream;

pub use config::token_homes;
pub use facts::{Facts, Service};
pub use host::unresponsive;
pub use service::drift;

use std::io;

/// The severity of a finding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    Warning,
    /// A problem: someone is locked out or exposed, or will be.
    Error,
}

/// A result of a check.
pub struct Finding {
    pub severity: Severity,
    pub what: String,
    pub why: String,
    /// The command or edit that fixes it.
    pub fix: String,
    /// Fixes it, where that is safe.
    pub repair: Option<Repair>,
}

/// A safe fix; returns what it did.
pub type Repair = Box<dyn FnOnce() -> io::Result<String>>;

impl Finding {
    fn error(what: impl Into<String>, why: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { severity: Severity::Error, what: what.into(), why: why.into(), fix: fix.into(), repair: None }
    }

    fn warning(what: impl Into<String>, why: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(what, why, fix) }
    }

    fn repaired_by(self, repair: impl FnOnce() -> io::Result<String> + 'static) -> Self {
        Self { repair: Some(Box::new(repair)), ..self }
    }
}

type Check = fn(&Facts) -> Vec<Finding>;

/// Every check, what locks people out first.
const CHECKS: &[Check] = &[
    host::unresponsive,
    config::cannot_start,
    config::broken,
    config::own_broken,
    config::token_homes,
    config::open_to_everyone,
    config::wrong_keys,
    config::odd_keys,
    config::file_permissions,
    config::old_names,
    config::notices,
    tls::certificate,
    tls::validity,
    tls::key,
    tls::authorities,
    tls::unencrypted,
    upstream::away,
    upstream::pairings_that_wait,
    state::store,
    state::permissions,
    state::directories,
    state::disk,
    state::stale_tokens,
    host::port,
    host::address,
    host::clock,
    pair::moved,
    pair::one_port,
    pair::open_behind,
    pair::two_tokens,
    pair::two_files,
    service::drift,
    service::survives_logout,
    host::memory_controller,
];

pub fn examine(facts: &Facts) -> Vec<Finding> {
    CHECKS.iter().flat_map(|check| check(facts)).collect()
}
