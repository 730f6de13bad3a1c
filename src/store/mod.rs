//! The token store: every device that was ever let in, in one struct and one file.
//!
//! [`Registry`] is the whole truth in memory; [`Store`] keeps it equal to `tokens.bin` on disk. A change is
//! made on a copy, written, synced and renamed, and only then seen by others and acknowledged, so an
//! answer is never truer than the disk. Device tokens are not stored at all: [`Key`] derives them.

pub mod atomic;
pub mod codec;
mod commit;
mod key;
mod lock;
mod manage;
mod open;
mod record;
mod registry;
mod replace;
mod room;

pub use commit::{ChangeError, DiskError, Store};
pub use key::{DeviceToken, Key};
pub use lock::{gateway_at, lock_holder};
pub use manage::RegistryError;
pub use open::{Notice, OpenError, inspect};
pub use record::{
    Access, Device, Display, GRACE_MS, Grant, Node, NodeRequest, Request, SETUP_CODE_MS, SetupCode, Surface,
    Tombstone, Via,
};
pub use registry::Registry;
