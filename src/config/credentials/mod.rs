//! The shared secret: where one may stand, how a reference to it is resolved, and which of several counts.

pub mod dotenv;
pub(crate) mod in_force;
pub mod reference;
pub mod secret;
pub(crate) mod secret_files;
pub mod shared;
pub mod systemd_env;
pub mod variables;
