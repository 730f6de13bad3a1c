//! The answer to a WebSocket upgrade (RFC 6455 §4.2.2).

use async_tungstenite::tungstenite::handshake::derive_accept_key;

/// The response that accepts an upgrade asked for with `key`, and the subprotocol offered, whichever it is.
pub fn accept(key: &str, subprotocol: Option<&str>) -> String {
    let subprotocol = subprotocol.map(|p| format!("Sec-WebSocket-Protocol: {p}\r\n")).unwrap_or_default();
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n{subprotocol}\r\n",
        derive_accept_key(key.as_bytes())
    )
}
