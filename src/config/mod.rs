//! Configuration: the settings in force, and the source of each.
//!
//! [`Settings::resolve`] takes an [`Env`] and the [`Flags`], finds the [`Paths`], reads OpenClaw's
//! `openclaw.json` ([`mod@file`]) with what it includes ([`source`]), and takes from it the keys that decide
//! who gets in ([`model`], read key by key through [`tree`]). Keys that OpenClaw would refuse stand in a file of
//! Barnacle's own ([`own`]). Only [`mod@write`] writes, and [`own::moved`].
//!
//! Three rules: the file is the user's; errors name line and column and costs one
//! key, not the start; and what decides who gets in fails closed.

pub mod change;
mod cidr;
pub mod credentials;
mod env;
pub mod keys;
pub mod lint;
pub(crate) mod model;
pub mod own;
mod paths;
pub mod redact;
mod running;
pub(crate) mod schema;
pub mod settings;
pub mod text;
pub mod watch;

pub use change::{diff::KeyPath, refused::Refused};
pub use credentials::secret::{Credential, Kind, Secret, Source};
pub use env::Env;
pub use keys::words::{AuthMode, Bind, Mode, QueueMode, ReloadMode, RevokeOnRotate};
pub use lint::Warning;
pub use model::{
    tls::{CA_UNUSED, NOBODY_LET_IN},
    tree::ConfigError,
};
pub use own::Budget;
pub use paths::Paths;
pub use running::Running;
pub use settings::{
    Flags, Settings, StartError, Upstream,
    load::{FileState, Loaded, last_run, to_keep},
};
