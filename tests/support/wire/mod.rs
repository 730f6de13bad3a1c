//! The real gateway as a process, and a client that speaks the protocol to it over a socket.
//!
//! The client is deliberately literal: every field of the connect frame can be set, left out or broken.
//! Where `BARNACLE_FRAMES` names a directory, every frame the gateway sends is written there, for the
//! validation against OpenClaw's schema.

#![allow(dead_code, unused_imports)]

mod client;
mod json;
mod offer;
mod server;

pub use client::{Client, Payloads, Refused};
pub use json::{bootstrap_token, flag, get, items, json, list, number, text};
pub use offer::{Device, Offer};
pub use server::{Home, Server, Strace, free_port, own_address, signal};

use std::time::Duration;

/// Nothing on a loopback takes this long; a wait that does has failed.
pub const LONG: Duration = Duration::from_secs(20);

pub const ADMIN: &[&str] =
    &["operator.admin", "operator.read", "operator.write", "operator.approvals", "operator.pairing"];
pub const READ: &[&str] = &["operator.read"];
