//! base64url without padding (RFC 4648 §5), as keys, signatures and tokens stand on the wire.
//!
//! Decoding also takes the standard alphabet and padding: clients that send PEM bodies use those.

use base64ct::{Base64Unpadded, Base64UrlUnpadded, Encoding};

/// Encodes `bytes` as base64url without padding.
pub fn encode(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

/// Decodes base64url or base64, padded or not. `None` on anything else.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    Base64UrlUnpadded::decode_vec(text).or_else(|_| Base64Unpadded::decode_vec(text)).ok()
}
