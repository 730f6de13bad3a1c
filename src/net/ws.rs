//! The answer to a WebSocket upgrade (RFC 6455 §4.2.2).

use async_tungstenite::tungstenite::handshake::derive_accept_key;

/// Writes the response that accepts an upgrade asked for with `key`, and the subprotocol offered, whichever it is.
pub fn accept(key: &str, subprotocol: Option<&str>, out: &mut Vec<u8>) {
    let mut put = |parts: &[&str]| parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
    put(&["HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"]);
    put(&["Sec-WebSocket-Accept: ", &derive_accept_key(key.as_bytes()), "\r\n"]);
    if let Some(subprotocol) = subprotocol {
        put(&["Sec-WebSocket-Protocol: ", subprotocol, "\r\n"]);
    }
    put(&["\r\n"]);
}
