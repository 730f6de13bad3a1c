//! What is wrong, or will be: with the configuration, the state, the service and the host.
//!
//! [`Facts`] are gathered once and only read; each check is one function from them to [`Finding`]s: what is
//! there, why it matters, the command that mends it. Where mending is safe, `barnacle doctor --fix` does it:
//! permissions, lingering, a unit to be read anew. It never edits the user's file, the store or a unit.

mod config;
mod facts;
mod host;
mod service;
mod state;
mod tls;

pub use config::token_homes;
pub use facts::{Facts, Running, Service};
pub use service::drift;

use std::io;

/// How much a finding weighs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Weight {
    /// Good to know.
    Note,
    /// To be mended: someone is locked out, or will be.
    Fault,
}

/// Something that a check found.
pub struct Finding {
    /// How much it weighs.
    pub weight: Weight,
    /// What is there.
    pub what: String,
    /// Why that matters.
    pub why: String,
    /// The command, or the edit, that mends it.
    pub mend: String,
    /// Mends it, where that is safe; says what it did.
    pub fix: Option<Fix>,
}

/// A mending that is safe.
pub type Fix = Box<dyn FnOnce() -> io::Result<String>>;

impl Finding {
    fn fault(what: impl Into<String>, why: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { weight: Weight::Fault, what: what.into(), why: why.into(), mend: mend.into(), fix: None }
    }

    fn note(what: impl Into<String>, why: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { weight: Weight::Note, ..Self::fault(what, why, mend) }
    }

    fn fixed_by(self, fix: impl FnOnce() -> io::Result<String> + 'static) -> Self {
        Self { fix: Some(Box::new(fix)), ..self }
    }
}

type Check = fn(&Facts) -> Vec<Finding>;

/// Every check, what locks people out first.
const CHECKS: [Check; 24] = [
    config::cannot_start,
    config::broken,
    config::token_homes,
    config::open_to_strangers,
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
    state::store,
    state::permissions,
    state::disk,
    state::stale_tokens,
    host::port,
    host::address,
    host::clock,
    service::drift,
    service::survives_logout,
    host::memory_controller,
];

/// Runs every check.
pub fn examine(facts: &Facts) -> Vec<Finding> {
    CHECKS.iter().flat_map(|check| check(facts)).collect()
}
