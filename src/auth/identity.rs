//! Proof of a device: an Ed25519 signature (RFC 8032) over this connection's nonce.

use super::{
    payload::{Payload, Version},
    prepared::PreparedKey,
};
use crate::protocol::{PublicKey, base64url_decode_array};
use ed25519_dalek::{Signature, Signer, SigningKey};

/// Reasons why a signature is not valid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadProof {
    /// The key is no point on the curve.
    Key,
    /// The signature fits no payload this frame can have meant.
    Signature,
}

/// Checks `signature` (base64url) by `key` over `payload`, with each of `tokens` in the token's place.
///
/// # Errors
/// [`BadProof`].
pub fn verify(
    key: &PublicKey,
    signature: &str,
    payload: &Payload<'_>,
    tokens: &[&str],
) -> Result<Version, BadProof> {
    let tokens = tokens.iter().copied();
    verify_by(&PreparedKey::new(key).ok_or(BadProof::Key)?, signature, payload, tokens)
}

/// The same by a key that is prepared.
///
/// Clients disagree on which token they sign (the one they send, the stored device token, none), so all
/// that stand in the frame are tried, `v3` before `v2`. Returns which form fitted.
///
/// # Errors
/// [`BadProof::Signature`].
pub fn verify_by<'a>(
    key: &PreparedKey,
    signature: &str,
    payload: &Payload<'_>,
    tokens: impl Iterator<Item = &'a str> + Clone,
) -> Result<Version, BadProof> {
    let signature = base64url_decode_array(signature).ok_or(BadProof::Signature)?;
    let signature = Signature::from_bytes(&signature);
    for version in [Version::V3, Version::V2] {
        for token in tokens.clone() {
            if key.verify(payload.text(version, token).as_bytes(), &signature) {
                return Ok(version);
            }
        }
    }
    Err(BadProof::Signature)
}

/// A private key: the gateway's own, or the CLI's as a device.
pub struct Identity(SigningKey);

impl Identity {
    /// The identity of a 32-byte secret seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Returns the public key that belongs to this private key.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs `text`; the signature is base64url.
    pub fn sign(&self, text: &str) -> String {
        crate::protocol::base64url_encode(&self.0.sign(text.as_bytes()).to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload<'a>(id: &'a str, platform: &'a str) -> Payload<'a> {
        Payload {
            device_id: id,
            client_id: "cli",
            client_mode: "cli",
            role: "operator",
            scopes: &["operator.read", "operator.write"],
            signed_at: 1_795_512_523_916,
            nonce: "n",
            platform,
            device_family: "",
        }
    }

    #[test]
    fn any_token_of_the_frame_and_either_version_proves() {
        let me = Identity::from_seed(&[7; 32]);
        let key = me.public_key();
        let id = key.device_id().to_string();
        let tokens = ["shared", "device", ""];
        for version in [Version::V3, Version::V2] {
            for token in tokens {
                let signature = me.sign(&payload(&id, " Linux ").text(version, token));
                assert_eq!(verify(&key, &signature, &payload(&id, "linux"), &tokens), Ok(version));
            }
        }
        let foreign = me.sign(&payload(&id, "linux").text(Version::V3, "other"));
        assert_eq!(verify(&key, &foreign, &payload(&id, "linux"), &tokens), Err(BadProof::Signature));
        assert_eq!(verify(&key, "x", &payload(&id, "linux"), &tokens), Err(BadProof::Signature));
    }

    #[test]
    fn a_recorded_openclaw_signature_proves() {
        // `connect-ok-shared-new-device` of OpenClaw 2026.9.6, which signed the v2 or v3 payload.
        let key = PublicKey::parse("5uRXC0_-_hu2nteSq-9znOfT9YwsViD5oMZT15PBEn0");
        let key = key.unwrap_or_else(|| panic!("a key"));
        let id = key.device_id().to_string();
        assert_eq!(id, "b0ee2e56da576ac4852e431096113a77796798b16e7a380343ab81e020058ca3");
        let payload = Payload {
            device_id: &id,
            client_id: "cli",
            client_mode: "cli",
            role: "operator",
            scopes: &[
                "operator.admin",
                "operator.read",
                "operator.write",
                "operator.pairing",
                "operator.approvals",
            ],
            signed_at: 1_795_512_523_916,
            nonce: "55d2042c-9084-41fd-83cf-167029b5f2a5",
            platform: "linux",
            device_family: "",
        };
        let signature =
            "BqOVhPiKfALscx5o_7vjXo7qKEVKRwrpwvT6RvnS-DryA7vfnY7DN3QMB3AW7ReLHRZavItbJPH_ZCU5R0dSAg";
        let tokens = ["tok-main-123456789012345678901234"];
        assert!(verify(&key, signature, &payload, &tokens).is_ok());
    }
}
