//! HTTP/1.1 on the gateway's port: the first request of a connection, and plain HTTP after it.
//!
//! An upgrade is told from its head alone ([`first`]), before `hyper` sees it, so that an attached connection never
//! carries an HTTP server's state along. Everything else is served by [`serve`] from a table of [`Route`]s.

mod body;
mod head;
#[cfg_attr(not(debug_assertions), expect(dead_code, reason = "no row of a release reads a body yet"))]
pub mod route;
mod server;
#[cfg_attr(not(debug_assertions), expect(dead_code, reason = "no row of a release reads a body yet"))]
mod upload;

pub use body::Body;
pub use head::{Beginning, First, Refused, first};
pub use route::{Call, Handler, Page, Route};
pub use server::{Host, Phase, serve};
pub use upload::{Upload, UploadError};
