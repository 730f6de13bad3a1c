//! The text a device signs to attach.
//!
//! `v3|deviceId|clientId|clientMode|role|scopes,…|signedAt|token|nonce|platform|deviceFamily`, or `v2`
//! without the last two. Source: `docs/gateway/protocol/auth.md`, "Device identity and pairing".

/// What stands in the payload beside the token.
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

/// Which form of the payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// Since 2026.2.24: binds platform and family.
    V3,
    /// Before.
    V2,
}

impl Payload<'_> {
    /// The text of `version`, with `token` in the token's place.
    pub fn text(&self, version: Version, token: &str) -> String {
        let scopes = self.scopes.join(",");
        let head = match version {
            Version::V3 => "v3",
            Version::V2 => "v2",
        };
        let mut text = format!(
            "{head}|{}|{}|{}|{}|{scopes}|{}|{token}|{}",
            self.device_id, self.client_id, self.client_mode, self.role, self.signed_at, self.nonce
        );
        if version == Version::V3 {
            for part in [self.platform, self.device_family] {
                text.push('|');
                text.push_str(&part.trim().to_ascii_lowercase());
            }
        }
        text
    }
}
