//! WebSocket (RFC 6455) over the seam: the library's limits, and the answer to an upgrade.

use super::{Seam, Wire};
use async_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        error::ProtocolError,
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig},
    },
};
use smol::future;
use std::rc::Rc;

/// A WebSocket on a wire.
pub type WebSocket = WebSocketStream<Seam>;

/// A WebSocket that takes messages of up to `limit` bytes. It holds nothing between two messages, so
/// another one may go on where it stopped.
pub async fn open(wire: &Rc<Wire>, limit: usize) -> WebSocket {
    let config = WebSocketConfig::default()
        .read_buffer_size(64)
        .write_buffer_size(0)
        .max_message_size(Some(limit))
        .max_frame_size(Some(limit));
    WebSocketStream::from_raw_socket(Seam(wire.clone()), Role::Server, Some(config)).await
}

/// Answers a ping at once: left to itself the library does it with the next message it is asked for, and
/// a hand-over in between would lose it.
pub async fn answer(socket: &mut WebSocket, control: Message) {
    if let Message::Ping(data) = control {
        let _ = future::poll_once(socket.send(Message::Pong(data))).await;
    }
}

/// The response that accepts an upgrade asked for with `key`, and the subprotocol offered, whichever it is
/// (RFC 6455 §4.2.2).
pub fn accept(key: &str, subprotocol: Option<&str>) -> String {
    let subprotocol = subprotocol.map(|p| format!("Sec-WebSocket-Protocol: {p}\r\n")).unwrap_or_default();
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n{subprotocol}\r\n",
        derive_accept_key(key.as_bytes())
    )
}

/// Whether an error only says that the peer has left.
pub fn is_gone(e: &Error) -> bool {
    matches!(
        e,
        Error::Io(_)
            | Error::ConnectionClosed
            | Error::AlreadyClosed
            | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)
    )
}
