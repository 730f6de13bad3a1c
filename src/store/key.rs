//! The key all device tokens are derived from: 32 random bytes, made once.
//!
//! A token is a function of (device, role, generation), so two clients of a device can never hold
//! different ones, `hello-ok` can always repeat it, a reconnect writes nothing, and the store's file
//! alone gives nobody a credential.

use super::{Notice, OpenError, atomic};
use crate::protocol::{DeviceId, Role, base64url_encode};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::{
    io,
    path::{Path, PathBuf},
};

/// The key. It is never shown.
#[derive(Clone)]
pub struct Key([u8; 32]);

impl Key {
    /// Reads the key, or makes it, and says whether it is kept. `LoadCredential=barnacle-key:…` of systemd
    /// comes first; where the directory holds none and cannot take one now, the first commit keeps it.
    pub(super) fn load_or_create(
        dir: &Path,
        owned: bool,
        has_devices: bool,
        notices: &mut Vec<Notice>,
    ) -> Result<(Self, bool), OpenError> {
        if let Some(key) = given().map_or(Ok(None), |path| read(&path))? {
            return Ok((key, true));
        }
        let path = dir.join("key");
        if let Some(key) = read(&path)? {
            return Ok((key, true));
        }
        let mut key = Self([0; 32]);
        getrandom::fill(&mut key.0)
            .map_err(|e| OpenError::Io(path.clone(), io::Error::other(e.to_string())))?;
        if has_devices {
            notices.push(Notice::KeyLost(path.clone()));
        }
        let kept = owned && key.keep(dir).is_ok();
        if !kept {
            notices.push(Notice::KeyPassing(path));
        }
        Ok((key, kept))
    }

    /// Whether the one that is there can be read.
    pub(super) fn check(dir: &Path) -> Result<(), OpenError> {
        read(&dir.join("key")).map(drop)
    }

    /// Puts it into `dir`, unless it is kept elsewhere.
    pub(super) fn keep(&self, dir: &Path) -> io::Result<()> {
        if self.is_given() { Ok(()) } else { atomic::replace(&dir.join("key"), &self.0, 0o600) }
    }

    /// Whether it is neither in `dir` any more nor kept elsewhere.
    pub(super) fn is_gone(&self, dir: &Path) -> bool {
        !dir.join("key").exists() && !self.is_given()
    }

    fn is_given(&self) -> bool {
        given().and_then(|path| read(&path).ok().flatten()).is_some_and(|key| key.0 == self.0)
    }

    fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        // HMAC fills a short key up with zeros (RFC 2104 §2); a whole block is one it cannot refuse.
        let mut block = [0; 64];
        block[..32].copy_from_slice(&self.0);
        let mut mac = Hmac::<Sha256>::new(&block.into());
        for part in parts {
            mac.update(&(part.len() as u32).to_le_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// Whether there is none in `dir`.
    pub(super) fn is_missing(dir: &Path) -> Result<bool, OpenError> {
        Ok(read(&dir.join("key"))?.is_none())
    }

    /// The token of a device's role in a generation: base64url of
    /// HMAC-SHA256(key, "device-token" ‖ device ‖ role ‖ generation), each part after its length.
    pub fn device_token(&self, device: &DeviceId, role: Role, generation: u32) -> String {
        let generation = generation.to_le_bytes();
        base64url_encode(&self.mac(&[b"device-token", &device.0, role.as_str().as_bytes(), &generation]))
    }

    /// The seed of the gateway's own identity.
    pub fn identity_seed(&self) -> [u8; 32] {
        self.mac(&[b"gateway-identity"])
    }

    /// Tells what has the digest `digest` from anything else, and helps nobody to guess what it is. Looks
    /// as OpenClaw's `hash` of a configuration does.
    pub fn revision(&self, digest: &[u8; 32]) -> String {
        format!("hmac-sha256:v1:{}", base64url_encode(&self.mac(&[b"revision", digest])))
    }

    /// Four bytes that tell two secrets apart to those who see both, and help nobody to guess.
    pub fn fingerprint(&self, secret: &str) -> [u8; 4] {
        let mac = self.mac(&[b"fingerprint", secret.as_bytes()]);
        [mac[0], mac[1], mac[2], mac[3]]
    }
}

/// Where `LoadCredential=barnacle-key:…` of systemd has it.
fn given() -> Option<PathBuf> {
    Some(PathBuf::from(std::env::var_os("CREDENTIALS_DIRECTORY")?).join("barnacle-key"))
}

fn read(path: &Path) -> Result<Option<Key>, OpenError> {
    match std::fs::read(path) {
        Ok(bytes) => match bytes.try_into() {
            Ok(key) => Ok(Some(Key(key))),
            Err(_) => Err(OpenError::KeyDamaged(path.into())),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(OpenError::unreadable(path, e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_its_device_role_and_generation() {
        let (one, two) = (Key([1; 32]), Key([2; 32]));
        let (a, b) = (DeviceId([3; 32]), DeviceId([4; 32]));
        let token = one.device_token(&a, Role::Operator, 1);
        assert_eq!(token.len(), 43);
        assert_eq!(token, one.device_token(&a, Role::Operator, 1));
        for other in [
            two.device_token(&a, Role::Operator, 1),
            one.device_token(&b, Role::Operator, 1),
            one.device_token(&a, Role::Node, 1),
            one.device_token(&a, Role::Operator, 2),
        ] {
            assert_ne!(token, other);
        }
    }

    /// What devices hold must stay true through every later version, so the bytes are pinned; they are
    /// those of `openssl dgst -sha256 -mac HMAC` over the parts, each after its length.
    #[test]
    fn tokens_and_identity_never_change() {
        let key = Key([1; 32]);
        assert_eq!(
            key.device_token(&DeviceId([3; 32]), Role::Operator, 1),
            "bQ7L0543_Y-JkaNjFis_7DjbmQFkg9xr8myuNyAw-NE"
        );
        assert_eq!(
            crate::protocol::hex(&key.identity_seed()),
            "da0cbcdd0f715f4ab2c9b25c5e756c80836839ac31beadd69f3c10feda134054"
        );
        assert_ne!(key.identity_seed(), Key([2; 32]).identity_seed());
    }
}
