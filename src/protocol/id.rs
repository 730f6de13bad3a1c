//! Identities. Each is its own type, so that a token's hash can never be passed where a device is meant.

use super::base64;
use nanoserde::{DeBin, SerBin};
use sha2::{Digest, Sha256};
use std::fmt;

/// Formats `bytes` in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    out.extend(bytes.iter().flat_map(|byte| digits(*byte)).map(char::from));
    out
}

fn digits(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let text = text.as_bytes();
    if text.len() != 64 {
        return None;
    }
    let digit = |c: u8| (c as char).to_digit(16);
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
    }
    Some(out)
}

/// A device's Ed25519 public key: 32 raw bytes, base64url on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, SerBin, DeBin)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// The DER that stands before the raw key in a SubjectPublicKeyInfo (RFC 8410 §4).
    const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

    /// Reads base64url of the raw key or of its SubjectPublicKeyInfo, or PEM (`-----BEGIN PUBLIC KEY-----`). `None` if it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let body: String;
        let text = text.trim();
        if let Some(key) = base64::decode_array(text) {
            return Some(Self(key));
        }
        let bytes = if text.starts_with("-----BEGIN") {
            body = text.lines().filter(|l| !l.starts_with("-----")).map(str::trim).collect();
            base64::decode(&body)?
        } else {
            base64::decode(text)?
        };
        bytes.strip_prefix(&Self::SPKI_PREFIX).unwrap_or(&bytes).try_into().ok().map(Self)
    }

    /// The device this key is: SHA-256 of the raw key.
    pub fn device_id(&self) -> DeviceId {
        DeviceId(Sha256::digest(self.0).into())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64::encode(&self.0))
    }
}

/// A device: SHA-256 of its public key, 64 hexadecimal digits on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, SerBin, DeBin)]
pub struct DeviceId(pub [u8; 32]);

impl DeviceId {
    /// Reads 64 hexadecimal digits of either case.
    pub fn parse(text: &str) -> Option<Self> {
        unhex(text).map(Self)
    }

    /// The first eight digits, for a log line.
    pub fn short(&self) -> String {
        hex(&self.0[..4])
    }

    /// Writes [`short`](Self::short).
    pub fn fmt_short(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&digits(byte));
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceId({})", self.short())
    }
}

/// SHA-256 of a bearer token: what is kept of a token that Barnacle did not derive itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, SerBin, DeBin)]
pub struct TokenHash(pub [u8; 32]);

impl TokenHash {
    /// Hashes `token`.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// Whether this is the hash of `token`; takes the same time whatever the answer.
    pub fn matches(&self, token: &str) -> bool {
        subtle::ConstantTimeEq::ct_eq(&self.0[..], &Self::of(token).0[..]).into()
    }

    /// Eight digits that tell two tokens apart in a message without giving either away.
    pub fn fingerprint(&self) -> String {
        hex(&self.0[..4])
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenHash({})", self.fingerprint())
    }
}

/// The id of a pairing request: a random UUID (RFC 9562 version 4), stable while the device retries.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, SerBin, DeBin)]
pub struct RequestId(pub String);

impl RequestId {
    /// A new random id.
    ///
    /// # Errors
    /// When the kernel has no randomness to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut b = [0u8; 16];
        getrandom::fill(&mut b)?;
        b[6] = b[6] & 0x0f | 0x40;
        b[8] = b[8] & 0x3f | 0x80;
        let h = hex(&b);
        Ok(Self(format!("{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
