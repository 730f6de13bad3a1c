//! HTTP to the gateway behind this one: every path that is not this gateway's own, and upgrades that are not for it.
//!
//! Bodies are streamed both ways, and no more of an answer is read than the client takes. Who may is decided here
//! ([`access`]): OpenClaw sees one client, on its own host and with its own secret. No header says where a request comes
//! from ([`headers`]): OpenClaw would take this gateway for a proxy that it does not trust.

mod access;
mod caller;
mod exchange;
mod headers;
mod tunnel;

pub(crate) use exchange::{BODY, forward};
pub(crate) use tunnel::Tunnel;
