//! Bytes: listening sockets, the first HTTP request, and the seam under every WebSocket.

mod budget;
pub mod frame;
pub mod holder;
pub mod http;
pub mod inherit;
pub mod listen;
pub mod own;
pub mod peer;
pub mod scan;
pub mod seam;
pub mod wire;
pub mod ws;

pub use budget::Budget;
pub use peer::Peer;
pub use seam::Seam;
pub use wire::Wire;
