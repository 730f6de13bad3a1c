//! HTTP/1.1 on the gateway's port: the first request of a connection, and plain HTTP after it.
//!
//! An upgrade is recognised by its head alone ([`first`]), before `hyper` sees it, so that an attached connection never
//! carries an HTTP server's state along. Everything else is served by [`serve`] from a table of [`Route`]s.

mod body;
mod head;
pub mod route;
mod server;
mod upload;

pub use body::Body;
pub use head::{Beginning, First, Refused, facts_of, first};
pub use route::{AsItIs, Call, Handler, Page, Route, Routes};
pub use server::{Host, Phase, serve};
pub use upload::{Upload, UploadError};
