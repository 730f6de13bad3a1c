//! Network I/O: listening sockets, HTTP/1.1, WebSocket frames and messages.

mod address_events;
mod buffers;
mod charge;
pub mod fds;
pub mod frame;
pub mod http;
pub mod listen;
pub mod listeners;
pub mod local_addr;
pub mod message;
pub mod peer;
pub mod port_owner;
pub mod url;
pub mod wire;
pub mod ws;

pub use buffers::unsent_of_all;
pub use listeners::Listeners;
pub use message::{Message, ReadError};
pub use peer::Peer;
pub use wire::Wire;
