//! Rows: what is known of each session beside what was said in it. [`Row`] is one that is worked with, [`Index`] has all of
//! them at rest, and the log is where they are on disk.

mod at_rest;
pub mod fields;
mod index;
pub(super) mod log;
mod row;

pub use index::{Index, Query};
pub use row::{Row, SessionId};
