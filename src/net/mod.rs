//! Bytes: listening sockets, the first HTTP request, and the seam under every WebSocket.

pub mod holder;
pub mod http;
pub mod inherit;
pub mod listen;
pub mod own;
pub mod peer;
pub mod scan;
pub mod seam;
pub mod ws;

pub use peer::Peer;
pub use seam::{Budget, Seam, Wire};
