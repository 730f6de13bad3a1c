//! A device, and what a client offers to be let in.

use super::{READ, Server};
use barnacle::internals::auth::{
    identity::Identity,
    payload::{Payload, Version},
};
use nanoserde::SerJson;

/// A device: a key, and the token it was handed.
pub struct Device {
    pub key: Identity,
    pub token: Option<String>,
}

impl Device {
    /// A device of which no one has heard.
    pub fn new() -> Self {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).unwrap();
        Self { key: Identity::from_seed(&seed), token: None }
    }

    pub fn id(&self) -> String {
        self.key.public_key().device_id().to_string()
    }

    /// The token it was handed.
    pub fn token(&self) -> &str {
        self.token.as_deref().expect("a device that was handed a token")
    }

    /// Pairs as a local operator with the shared token `T1`, and keeps the token it is handed.
    #[track_caller]
    pub fn pair(server: &Server, scopes: &[&str]) -> Self {
        let mut device = Self::new();
        let client = server.connect(&Offer::device(&device).token("T1").scopes(scopes));
        device.token = Some(client.device_token());
        device
    }
}

/// What a client offers to be let in.
#[derive(Clone)]
pub struct Offer<'a> {
    pub device: Option<&'a Device>,
    pub auth: Vec<(&'a str, String)>,
    pub scopes: Vec<&'a str>,
    pub role: &'a str,
    pub client_id: &'a str,
    pub mode: &'a str,
    pub platform: &'a str,
    pub protocol: (u64, u64),
    pub caps: Vec<&'a str>,
    pub commands: Vec<&'a str>,
    pub headers: Vec<(&'a str, String)>,
    pub path: &'a str,
    /// What is signed in the token's place; by default what OpenClaw's client signs.
    pub signed_token: Option<String>,
    pub version: Version,
    /// Off the challenge's `ts`, milliseconds.
    pub clock_off: i64,
    pub nonce: Option<String>,
    pub id: Option<String>,
    pub signature: Option<String>,
    pub without_nonce: bool,
    /// More JSON members of `params`, each with its comma before it.
    pub extra: &'a str,
}

impl<'a> Offer<'a> {
    pub fn new() -> Self {
        Self {
            device: None,
            auth: Vec::new(),
            scopes: READ.to_vec(),
            role: "operator",
            client_id: "cli",
            mode: "cli",
            platform: "linux",
            protocol: (3, 4),
            caps: Vec::new(),
            commands: Vec::new(),
            headers: Vec::new(),
            path: "/",
            signed_token: None,
            version: Version::V3,
            clock_off: 0,
            nonce: None,
            id: None,
            signature: None,
            without_nonce: false,
            extra: "",
        }
    }

    pub fn device(device: &'a Device) -> Self {
        Self { device: Some(device), ..Self::new() }
    }

    /// A node with commands.
    pub fn node(device: &'a Device, commands: &[&'a str]) -> Self {
        Self {
            commands: commands.to_vec(),
            ..Self::device(device).role("node").client("node-host", "node").scopes(&[])
        }
    }

    fn and(mut self, name: &'a str, value: &str) -> Self {
        self.auth.push((name, value.into()));
        self
    }

    pub fn token(self, token: &str) -> Self {
        self.and("token", token)
    }

    pub fn device_token(self, token: &str) -> Self {
        self.and("deviceToken", token)
    }

    pub fn password(self, password: &str) -> Self {
        self.and("password", password)
    }

    pub fn bootstrap(self, token: &str) -> Self {
        self.and("bootstrapToken", token)
    }

    pub fn scopes(mut self, scopes: &[&'a str]) -> Self {
        self.scopes = scopes.to_vec();
        self
    }

    pub fn role(mut self, role: &'a str) -> Self {
        self.role = role;
        self
    }

    pub fn client(mut self, id: &'a str, mode: &'a str) -> Self {
        (self.client_id, self.mode) = (id, mode);
        self
    }

    pub fn header(mut self, name: &'a str, value: &str) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// As somebody from elsewhere, through a proxy on this host that is not trusted.
    pub fn remote(self) -> Self {
        self.header("X-Forwarded-For", "203.0.113.7")
    }

    pub fn frame(&self, nonce: &str, ts: u64) -> String {
        let list = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<Vec<_>>().serialize_json();
        let auth: Vec<String> =
            self.auth.iter().map(|(k, v)| format!("\"{k}\":{}", v.serialize_json())).collect();
        let auth = if auth.is_empty() { String::new() } else { format!(",\"auth\":{{{}}}", auth.join(",")) };
        let device = self.device.map_or_else(String::new, |d| self.proof(d, nonce, ts));
        format!(
            r#"{{"type":"req","id":"c1","method":"connect","params":{{"minProtocol":{},"maxProtocol":{},"client":{{"id":{},"version":"1.0.0","platform":{},"mode":{}}},"role":{},"scopes":{},"caps":{},"commands":{}{auth}{device}{}}}}}"#,
            self.protocol.0,
            self.protocol.1,
            self.client_id.serialize_json(),
            self.platform.serialize_json(),
            self.mode.serialize_json(),
            self.role.serialize_json(),
            list(&self.scopes),
            list(&self.caps),
            list(&self.commands),
            self.extra,
        )
    }

    fn proof(&self, device: &Device, nonce: &str, ts: u64) -> String {
        let id = self.id.clone().unwrap_or_else(|| device.id());
        let signed_at = ts.saturating_add_signed(self.clock_off);
        let nonce = self.nonce.as_deref().unwrap_or(nonce);
        let named = |name: &str| self.auth.iter().find(|(k, _)| *k == name).map(|(_, v)| v.clone());
        let token = self.signed_token.clone().unwrap_or_else(|| {
            ["token", "deviceToken", "bootstrapToken"].into_iter().find_map(named).unwrap_or_default()
        });
        let payload = Payload {
            device_id: &id,
            client_id: self.client_id,
            client_mode: self.mode,
            role: self.role,
            scopes: &self.scopes,
            signed_at,
            nonce,
            platform: self.platform,
            device_family: "",
        };
        let signature =
            self.signature.clone().unwrap_or_else(|| device.key.sign(&payload.text(self.version, &token)));
        let nonce = if self.without_nonce { String::new() } else { format!(",\"nonce\":\"{nonce}\"") };
        format!(
            r#","device":{{"id":"{id}","publicKey":"{}","signature":"{signature}","signedAt":{signed_at}{nonce}}}"#,
            device.key.public_key()
        )
    }
}
