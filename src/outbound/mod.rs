//! Connections that this process opens: to model providers, and to a gateway behind this one.
//!
//! [`Url`] says where, [`Trust`] whom to believe where it asks for TLS, [`Limits`] how long everything may take.
//! [`http::Connection`] speaks HTTP/1.1, [`websocket::WebSocket`] RFC 6455; both run over [`Stream`], on the reactor of
//! their thread. [`open_wire`] opens a WebSocket that a restart carries over. Names are resolved and certificates read on worker threads. No redirect is followed, no proxy
//! asked, nothing compressed: a caller that wants one of these says so in its own headers.

mod dial;
mod error;
pub mod http;
mod pool;
mod stream;
mod upgrade;
pub mod websocket;

pub use crate::{
    net::{http::Body, url::Url},
    tls::{TlsError, Trust},
};
pub use dial::dial;
pub use error::{DialError, RequestError, WebSocketError};
pub use pool::Pool;
pub use stream::Stream;
pub use upgrade::open_wire;

use std::time::Duration;

/// Time limits of a connection to a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// For name, TCP and TLS together.
    pub connect: Duration,
    /// Without a byte in either direction; on a WebSocket without one from the peer. `None` waits for ever.
    pub idle: Option<Duration>,
    /// For a request and its whole answer, or for the life of a WebSocket. `None` sets no end.
    pub deadline: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), idle: Some(Duration::from_secs(60)), deadline: None }
    }
}
