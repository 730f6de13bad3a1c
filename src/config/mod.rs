//! Configuration: what the gateway runs with, and where each piece of it came from.
//!
//! [`Settings::resolve`] takes an [`Env`] and the [`Flags`], finds the [`Paths`], reads OpenClaw's
//! `openclaw.json` ([`mod@file`]) with what it includes ([`source`]), and takes from it the keys that decide
//! who gets in ([`model`], read key by key through [`tree`]). Only [`mod@write`] writes.
//!
//! Three rules: the file is the user's; what is wrong with it is told by line and column and costs one
//! key, not the start; and what decides who gets in fails closed.

mod again;
pub mod agents;
mod bare;
mod cidr;
pub mod complaint;
mod decode;
pub mod diff;
mod dotenv;
mod doubled;
mod durable;
mod edit;
mod env;
pub mod file;
pub mod first_run;
pub mod known;
mod last;
mod layout;
mod load;
pub mod logging;
pub mod merge;
pub mod model;
mod moved;
mod near;
pub mod node;
mod owner;
pub mod path;
mod paths;
pub mod plan;
mod reference;
pub mod refused;
pub mod schema;
pub mod secret;
mod serve;
mod settings;
mod shared;
pub mod show;
pub mod source;
mod tls;
pub mod tree;
mod trivia;
mod unit;
mod variables;
pub mod watch;
pub mod write;

pub use cidr::Cidr;
pub use complaint::Complaint;
pub use decode::{Found, Loaded};
pub use diff::KeyPath;
pub use env::Env;
pub use last::{last_run, to_keep};
pub use load::load;
pub use model::{AuthMode, Bind, GatewayConfig, Mode, ReloadMode, RevokeOnRotate};
pub use paths::Paths;
pub use refused::Refused;
pub use secret::{Credential, Kind, Secret, Source};
pub use settings::{DEFAULT_HANDSHAKE_TIMEOUT, DEFAULT_PORT, Flags, Settings, StartError};
pub use shared::Credentials;
pub use tls::{CA_UNUSED, NOBODY_LET_IN};
pub use tree::Fault;
