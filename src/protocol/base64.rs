//! base64url without padding (RFC 4648 §5), as keys, signatures and tokens stand on the wire.
//!
//! Decoding also takes the standard alphabet and padding: clients that send PEM bodies use those.

use base64ct::{Base64Unpadded, Base64UrlUnpadded, Encoding};

/// Encodes `bytes` as base64url without padding.
pub fn encode(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

/// Encodes 32 bytes in the 43 characters that they take.
pub fn encode_array(bytes: &[u8; 32]) -> [u8; 43] {
    let mut text = [0; 43];
    // It has the room that it needs.
    let _ = Base64UrlUnpadded::encode(bytes, &mut text);
    text
}

/// Decodes what [`decode`] does, if it is `N` bytes.
pub fn decode_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.trim_end_matches('=');
    let mut bytes = [0; N];
    let whole = |decoded: Result<&[u8], _>| decoded.is_ok_and(|decoded| decoded.len() == N);
    let decoded =
        whole(Base64UrlUnpadded::decode(text, &mut bytes)) || whole(Base64Unpadded::decode(text, &mut bytes));
    decoded.then_some(bytes)
}

/// Decodes base64url or base64, padded or not. `None` on anything else.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    Base64UrlUnpadded::decode_vec(text).or_else(|_| Base64Unpadded::decode_vec(text)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_decoded_as_any_bytes_are() {
        let bytes: [u8; 32] = std::array::from_fn(|n| (n * 37) as u8 | 0xe0);
        let text = encode(&bytes);
        assert_eq!(encode_array(&bytes)[..], *text.as_bytes());
        let standard = text.replace('-', "+").replace('_', "/");
        let mut mixed = standard.clone();
        mixed.replace_range(..text.len() / 2, &text[..text.len() / 2]);
        let rows = [
            text.clone(),
            format!("{text}="),
            standard,
            mixed,
            text[1..].into(),
            format!("{text}A"),
            format!("{text}AAAA"),
            "é".into(),
            String::new(),
        ];
        for text in rows {
            let whole = decode(&text).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
            assert_eq!(decode_array::<32>(&text), whole, "{text}");
        }
    }
}
