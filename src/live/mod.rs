//! What is attached now: connections, who is present, invocations under way, the journal.
//!
//! [`Hub`] is the one thing every connection's task and every method shares. Presence and routes belong
//! to a connection's id, never to a device: an old socket that closes late cannot take its successor
//! down.

mod broadcast;
mod clock;
mod conn;
mod foresee;
mod guest;
mod hub;
mod invoke;
mod journal;
mod memory;
mod presence;
mod reload;
mod restart;
mod row;
mod seen;
mod session;

pub use broadcast::News;
pub use clock::{Clock, instant_of, monotonic_ns, ns_of, timestamp, wall_ms};
pub use conn::{Conn, ConnId};
pub use foresee::Foreseen;
pub use guest::{Challenged, Guest, Guests, SavedGuest, Seat, Stage};
pub use hub::{Boot, Hub};
pub use invoke::{Asked, Invocation, Invocations, InvokeResult, SavedInvocation};
pub use journal::{Journal, Tail};
pub use memory::Memory;
pub use presence::listed as is_listed;
pub use reload::{Outcome, Reloads, Why, still_admitted};
pub use restart::{Proof, Proven, Restart, Restarts, Told};
pub use row::Row;
pub use session::{Saved, Session};
