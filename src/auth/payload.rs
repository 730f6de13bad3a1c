//! The text a device signs to attach.
//!
//! `v3|deviceId|clientId|clientMode|role|scopes,…|signedAt|token|nonce|platform|deviceFamily`, or `v2`
//! without the last two. Source: `docs/gateway/protocol/auth.md`, "Device identity and pairing".

use std::fmt::Write;

/// Parts of the payload besides the token.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    /// `device.id`, as sent.
    pub device_id: &'a str,
    /// `client.id`.
    pub client_id: &'a str,
    /// `client.mode`.
    pub client_mode: &'a str,
    /// `role`.
    pub role: &'a str,
    /// `scopes`, in the order sent.
    pub scopes: &'a [&'a str],
    /// `device.signedAt`, milliseconds.
    pub signed_at: u64,
    /// `device.nonce`.
    pub nonce: &'a str,
    /// `client.platform`.
    pub platform: &'a str,
    /// `client.deviceFamily`.
    pub device_family: &'a str,
}

/// Version of the payload's format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// Format since 2026.2.24: binds platform and family.
    V3,
    /// Format of older clients, without platform and device family.
    V2,
}

impl Payload<'_> {
    /// The text of `version`, with `token` in the token's place.
    pub fn text(&self, version: Version, token: &str) -> String {
        let head = match version {
            Version::V3 => "v3",
            Version::V2 => "v2",
        };
        let mut text = String::with_capacity(512);
        let mut put = |parts: &[&str]| parts.iter().for_each(|part| text.push_str(part));
        put(&[head, "|", self.device_id, "|", self.client_id, "|", self.client_mode, "|", self.role]);
        for (i, scope) in self.scopes.iter().enumerate() {
            put(&[if i == 0 { "|" } else { "," }, scope]);
        }
        // An empty list has its place, too.
        put(&[if self.scopes.is_empty() { "||" } else { "|" }]);
        // Writing to a String cannot fail.
        let _ = write!(text, "{}|{token}|{}", self.signed_at, self.nonce);
        if version == Version::V3 {
            for part in [self.platform, self.device_family] {
                text.push('|');
                text.extend(part.trim().chars().map(|c| c.to_ascii_lowercase()));
            }
        }
        text
    }
}
