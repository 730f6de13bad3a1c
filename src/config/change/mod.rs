//! A change of the configuration: what differs, what that does to a running gateway, and how it is written.

pub mod diff;
pub mod durable;
pub mod merge;
pub mod owner;
pub mod plan;
pub mod refused;
pub mod write;
