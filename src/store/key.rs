//! The key all device tokens are derived from: 32 random bytes, made once.
//!
//! A token is a function of (device, role, generation), so two clients of a device can never hold
//! different ones, `hello-ok` can always repeat it, a reconnect writes nothing, and the store's file
//! alone gives nobody a credential.

use super::{Notice, OpenError, atomic};
use crate::protocol::{DeviceId, Role, base64url_array, base64url_encode};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::{
    io,
    path::{Path, PathBuf},
};

/// The key. It is never shown.
#[derive(Clone)]
pub struct Key {
    bytes: [u8; 32],
    /// HMAC that has taken the key: two of the five blocks that a token takes.
    keyed: Hmac<Sha256>,
}

/// Length of a device token.
const TOKEN: usize = 43;

/// A device token: base64url of 32 bytes.
#[derive(Clone, Copy)]
pub struct DeviceToken([u8; TOKEN]);

impl DeviceToken {
    /// The token as it stands on the wire.
    pub fn as_str(&self) -> &str {
        // Nothing but ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Whether `token` is this one; takes the same time wherever they differ.
    pub fn matches(&self, token: &str) -> bool {
        subtle::ConstantTimeEq::ct_eq(&self.0[..], token.as_bytes()).into()
    }
}

/// Content of a key's file.
pub(super) enum Stored {
    /// The file does not exist.
    Missing,
    Key(Key),
    /// The content is no key, and why not.
    Damaged(String),
}

impl Key {
    fn new(bytes: [u8; 32]) -> Self {
        // HMAC fills a short key up with zeros (RFC 2104 §2); a whole block is one it cannot refuse.
        let mut block = [0; 64];
        block[..32].copy_from_slice(&bytes);
        Self { bytes, keyed: Hmac::new(&block.into()) }
    }

    /// Reads the key, or makes it, and says whether it is kept. `LoadCredential=barnacle-key:…` of systemd
    /// comes first; where the directory holds none and cannot take one now, the first commit keeps it. What
    /// is no key is set aside.
    pub(super) fn load_or_create(
        dir: &Path,
        owned: bool,
        has_devices: bool,
        notices: &mut Vec<Notice>,
    ) -> Result<(Self, bool), OpenError> {
        if let Some(path) = given() {
            match read(&path, &std::fs::read(&path))? {
                Stored::Key(key) => return Ok((key, true)),
                Stored::Damaged(why) => return Err(OpenError::KeyDamaged(path, why)),
                Stored::Missing => {}
            }
        }
        let path = dir.join("key");
        match Self::stored(dir)? {
            Stored::Key(key) => return Ok((key, true)),
            Stored::Missing if has_devices => notices.push(Notice::KeyLost(path.clone())),
            Stored::Missing => {}
            Stored::Damaged(why) => {
                let aside = owned.then(|| set_aside(&path)).flatten();
                notices.push(Notice::KeyDamaged(path.clone(), why, aside));
            }
        }
        let key = Self::random().map_err(|e| OpenError::Io(path.clone(), io::Error::other(e.to_string())))?;
        let kept = owned && key.keep(dir).is_ok();
        if !kept {
            notices.push(Notice::KeyPassing(path));
        }
        Ok((key, kept))
    }

    /// Finds the key that a gateway on `dir` would have, without making one.
    pub(crate) fn find(dir: &Path) -> Option<Self> {
        let passed = given().map(|path| read(&path, &std::fs::read(&path)));
        match passed {
            Some(Ok(Stored::Key(key))) => Some(key),
            _ => match Self::stored(dir) {
                Ok(Stored::Key(key)) => Some(key),
                _ => None,
            },
        }
    }

    fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self::new(bytes))
    }

    /// Reads the key in `dir`.
    pub(super) fn stored(dir: &Path) -> Result<Stored, OpenError> {
        let path = dir.join("key");
        read(&path, &atomic::read(&path))
    }

    /// Puts it into `dir`, unless it is kept elsewhere.
    pub(super) fn keep(&self, dir: &Path) -> io::Result<()> {
        if self.is_given() { Ok(()) } else { atomic::replace(&dir.join("key"), &self.bytes, 0o600) }
    }

    /// Whether `dir` has no key any more, and it is not kept elsewhere.
    pub(super) fn is_gone(&self, dir: &Path) -> bool {
        matches!(Self::stored(dir), Ok(Stored::Missing | Stored::Damaged(_))) && !self.is_given()
    }

    fn is_given(&self) -> bool {
        let stored = given().map(|path| read(&path, &std::fs::read(&path)));
        matches!(stored, Some(Ok(Stored::Key(key))) if key.bytes == self.bytes)
    }

    fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.keyed.clone();
        for part in parts {
            mac.update(&(part.len() as u32).to_le_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// The token of a device's role in a generation: base64url of
    /// HMAC-SHA256(key, "device-token" ‖ device ‖ role ‖ generation), each part after its length.
    pub fn device_token(&self, device: &DeviceId, role: Role, generation: u32) -> DeviceToken {
        let generation = generation.to_le_bytes();
        let mac = self.mac(&[b"device-token", &device.0, role.as_str().as_bytes(), &generation]);
        DeviceToken(base64url_array(&mac))
    }

    /// The seed of the gateway's own identity.
    pub fn identity_seed(&self) -> [u8; 32] {
        self.mac(&[b"gateway-identity"])
    }

    /// The seed of the key by which a client is known to the gateway behind this one: one a device, and for clients
    /// without a device one a client id.
    pub fn upstream_seed(&self, device: Option<&DeviceId>, client_id: &str) -> [u8; 32] {
        match device {
            Some(device) => self.mac(&[b"upstream-device", &device.0]),
            None => self.mac(&[b"upstream-client", client_id.as_bytes()]),
        }
    }

    /// The seed of the key by which this gateway itself is known to one on another host.
    pub fn upstream_own_seed(&self) -> [u8; 32] {
        self.mac(&[b"upstream-gateway"])
    }

    /// Tells what has the digest `digest` from anything else, and helps nobody to guess what it is. Looks
    /// as OpenClaw's `hash` of a configuration does.
    pub fn revision(&self, digest: &[u8; 32]) -> String {
        format!("hmac-sha256:v1:{}", base64url_encode(&self.mac(&[b"revision", digest])))
    }

    /// Bytes that hide the hash of a secret of `place`; another `nonce` each time.
    pub(crate) fn seal_pad(&self, nonce: &[u8], place: &str) -> [u8; 32] {
        self.mac(&[b"last-secret", nonce, place.as_bytes()])
    }

    /// Bytes that nobody else can make for what was hidden so.
    pub(crate) fn seal_mark(&self, nonce: &[u8], place: &str, hidden: &[u8]) -> [u8; 32] {
        self.mac(&[b"last-secret-mark", nonce, place.as_bytes(), hidden])
    }

    /// A key of equal bytes.
    #[cfg(test)]
    pub(crate) fn of_test(byte: u8) -> Self {
        Self::new([byte; 32])
    }

    /// Four bytes that tell two secrets apart to those who see both, and help nobody to guess.
    pub fn fingerprint(&self, secret: &str) -> [u8; 4] {
        let mac = self.mac(&[b"fingerprint", secret.as_bytes()]);
        [mac[0], mac[1], mac[2], mac[3]]
    }
}

/// Path of the credential that `LoadCredential=barnacle-key:…` of systemd provides.
fn given() -> Option<PathBuf> {
    Some(PathBuf::from(std::env::var_os("CREDENTIALS_DIRECTORY")?).join("barnacle-key"))
}

fn read(path: &Path, found: &io::Result<Vec<u8>>) -> Result<Stored, OpenError> {
    let link = path.is_symlink() && given().as_deref() != Some(path);
    Ok(match found {
        _ if link => Stored::Damaged("is a link, and no link is followed there".into()),
        Ok(bytes) => match <[u8; 32]>::try_from(&bytes[..]) {
            Err(_) => Stored::Damaged(format!("has {} bytes, not 32", bytes.len())),
            // What a torn write or a wiped card leaves; anybody could compute tokens from it.
            Ok(key) if key.iter().all(|byte| *byte == key[0]) => {
                Stored::Damaged(format!("holds nothing but the byte {:#04x}", key[0]))
            }
            Ok(key) => Stored::Key(Key::new(key)),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => Stored::Missing,
        Err(e) => return Err(OpenError::unreadable(path, io::Error::new(e.kind(), e.to_string()))),
    })
}

/// Gives what is no key another name, under which it is kept; `None` where that cannot be.
fn set_aside(path: &Path) -> Option<PathBuf> {
    let free = |name: &PathBuf| std::fs::symlink_metadata(name).is_err();
    let names = (0..).map(|n| match n {
        0 => atomic::beside(path, ".damaged"),
        n => atomic::beside(path, &format!(".damaged.{n}")),
    });
    let aside = names.take(100).find(free)?;
    std::fs::rename(path, &aside).ok()?;
    Some(aside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_its_device_role_and_generation() {
        let (one, two) = (Key::new([1; 32]), Key::new([2; 32]));
        let (a, b) = (DeviceId([3; 32]), DeviceId([4; 32]));
        let token = one.device_token(&a, Role::Operator, 1);
        let token = token.as_str();
        assert_eq!(token.len(), 43);
        assert_eq!(token, one.device_token(&a, Role::Operator, 1).as_str());
        assert!(one.device_token(&a, Role::Operator, 1).matches(token));
        for other in [
            two.device_token(&a, Role::Operator, 1),
            one.device_token(&b, Role::Operator, 1),
            one.device_token(&a, Role::Node, 1),
            one.device_token(&a, Role::Operator, 2),
        ] {
            assert_ne!(token, other.as_str());
            assert!(!other.matches(token) && !other.matches(&token[1..]) && !other.matches(""));
        }
    }

    /// Device tokens must stay valid through every later version, so the bytes are pinned; they are those of `openssl
    /// dgst -sha256 -mac HMAC` over the parts, each after its length.
    #[test]
    fn tokens_and_identity_never_change() {
        let key = Key::new([1; 32]);
        assert_eq!(
            key.device_token(&DeviceId([3; 32]), Role::Operator, 1).as_str(),
            "bQ7L0543_Y-JkaNjFis_7DjbmQFkg9xr8myuNyAw-NE"
        );
        assert_eq!(
            crate::protocol::hex(&key.identity_seed()),
            "da0cbcdd0f715f4ab2c9b25c5e756c80836839ac31beadd69f3c10feda134054"
        );
        assert_ne!(key.identity_seed(), Key::new([2; 32]).identity_seed());
    }
}
