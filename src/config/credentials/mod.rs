//! The shared secret: its sources, the resolution of references, and which of several is in force.

pub mod dotenv;
pub(crate) mod in_force;
pub(crate) mod kept;
pub mod reference;
pub mod secret;
pub(crate) mod secret_files;
pub mod shared;
pub mod systemd_env;
pub mod variables;
