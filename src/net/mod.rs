//! Bytes: listening sockets, the first HTTP request, and the seam under every WebSocket.

mod budget;
pub mod fds;
pub mod frame;
pub mod http;
pub mod listen;
pub mod local_addr;
pub mod peer;
pub mod port_owner;
pub mod scan;
pub mod seam;
pub mod url;
pub mod wire;
pub mod ws;

pub use budget::Budget;
pub use peer::Peer;
pub use seam::Seam;
pub use wire::Wire;
