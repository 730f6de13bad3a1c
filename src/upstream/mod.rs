//! A gateway behind this one: clients attach here, and what this gateway does not do itself goes to OpenClaw.
//!
//! ```text
//! request ─ ownership: whose is it, may it ─ link: now, or when it is back ─ connection ─ OpenClaw
//! answer, event ─ frame ─ link ─ the client
//!
//! relay         the links of all clients                              client    one of them, with its two connections
//! link          what one client's relay does next, without I/O        repeat    whether a request may be sent twice
//! serve         the task that moves one link's frames                 session   a connection up to hello-ok
//! watch         whether OpenClaw is there                             connect   who this gateway is there
//! saved         a link as plain data                                  lost      runs that a restart of OpenClaw ended
//! remote        connections to one on another host, its grants        secrets   which shared secret is shown
//! availability  since when, and why not                               greeting  how a client introduced itself
//! ```
//!
//! Each client has a connection of its own there, with its own scopes, so that OpenClaw sends it what it may see. No
//! restart of OpenClaw closes a client: what may be sent again waits, and the rest is answered at once.

mod availability;
mod client;
mod connect;
mod frame;
mod greeting;
mod hello;
mod link;
mod lost;
mod ownership;
mod relay;
mod remote;
mod repeat;
mod saved;
mod secrets;
mod serve;
mod session;
mod watch;

pub(crate) use hello::Merged;
pub(crate) use ownership::Owner;
pub(crate) use relay::Relay;
pub use saved::SavedLink;
