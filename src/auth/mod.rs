//! Authentication and authorisation: the facts of a connect, and the one decision made from them.
//!
//! [`identity`] proves a device by its key, [`prepared`] is a key that has done so before, of which [`known_keys`] keeps
//! the latest; [`payload`] is the text it signs, [`limiter`] slows down guessing, and [`policy`] turns facts into a verdict
//! without any I/O; [`standing`] does so for who was admitted before something changed. [`refusal`] holds every way to be
//! turned away, with its words.

pub mod caller;
pub mod identity;
pub mod known_keys;
pub mod limiter;
pub mod payload;
pub mod policy;
pub mod prepared;
pub mod refusal;
pub mod standing;

pub use caller::Caller;
pub use known_keys::KnownKeys;
pub use limiter::Limiter;
pub use policy::{Basis, Facts, Verdict, decide};
pub use refusal::Refusal;
pub use standing::{Approval, Lost, SharedAuth, StandingFacts, standing};
