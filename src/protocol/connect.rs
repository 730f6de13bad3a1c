//! The parameters of `connect`: what a client says of itself, before any of it is believed.
//!
//! Unknown properties are ignored and unknown client ids and modes are taken as they are: they are
//! display data. Source: `docs/gateway/protocol/handshake.md`, `ConnectParams` of the schema.

use super::{ParamFault, Params};
use miniserde::json::Value;
use std::collections::BTreeMap;

/// `connect.params`.
#[derive(Clone, Debug, Default)]
pub struct Connect {
    /// `minProtocol`.
    pub min_protocol: u64,
    /// `maxProtocol`.
    pub max_protocol: u64,
    /// `client`.
    pub client: Client,
    /// `role`; an operator if none is named.
    pub role: String,
    /// `scopes`, in the order sent: the signature covers them so.
    pub scopes: Vec<String>,
    /// `caps`.
    pub caps: Vec<String>,
    /// `commands`.
    pub commands: Vec<String>,
    /// `permissions`.
    pub permissions: BTreeMap<String, bool>,
    /// `device`.
    pub device: Option<DeviceParams>,
    /// `auth`.
    pub auth: Auth,
}

/// `connect.params.client`.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Client {
    pub id: String,
    pub mode: String,
    pub display_name: Option<String>,
    pub version: Option<String>,
    pub platform: Option<String>,
    pub device_family: Option<String>,
    pub model: Option<String>,
    pub instance_id: Option<String>,
}

/// `connect.params.device`.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct DeviceParams {
    pub id: String,
    pub public_key: String,
    pub signature: String,
    pub signed_at: u64,
    pub nonce: String,
}

/// `connect.params.auth`. An empty text is as good as none, but may have been signed.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Auth {
    pub token: Option<String>,
    pub password: Option<String>,
    pub device_token: Option<String>,
    pub bootstrap_token: Option<String>,
}

impl Auth {
    /// Every text that may stand in the token's place of the signed payload: those of the frame in the
    /// order OpenClaw looks at them, then none.
    pub fn signed_tokens(&self) -> Vec<&str> {
        let mut tokens: Vec<&str> = Vec::with_capacity(4);
        for token in [&self.token, &self.device_token, &self.bootstrap_token, &self.password] {
            if let Some(token) = token.as_deref()
                && !tokens.contains(&token)
            {
                tokens.push(token);
            }
        }
        if !tokens.contains(&"") {
            tokens.push("");
        }
        tokens
    }
}

/// Most commands or capabilities of a node, and most bytes of a name: what is kept must be bounded.
const MOST_NAMES: usize = 512;
const LONGEST: usize = 256;

impl Connect {
    /// Reads the parameters.
    ///
    /// # Errors
    /// When a field is missing or of the wrong kind; the fault names it.
    pub fn read(params: &Params<'_>) -> Result<Self, ParamFault> {
        let max_protocol = params.u64("maxProtocol");
        let min_protocol = params.u64("minProtocol");
        let (min_protocol, max_protocol) = both(max_protocol, min_protocol)?;
        let client = params.object("client")?;
        // What is only shown never costs a connection, whatever stands there.
        let shown = |name: &str| client.opt_str(name).ok().flatten().filter(|s| !s.is_empty());
        let short = |name: &str| shown(name).map(|s| cut(s).to_owned());
        let owned = |name: &str| -> Result<Vec<String>, ParamFault> {
            Ok(params.strs(name)?.into_iter().map(String::from).collect())
        };
        let names = |name: &str| -> Result<Vec<String>, ParamFault> {
            let mut names: Vec<String> = params.strs(name)?.into_iter().map(|s| cut(s).to_owned()).collect();
            names.retain(|n| !n.is_empty());
            names.truncate(MOST_NAMES);
            Ok(names)
        };
        let permissions = match params.opt_object("permissions")? {
            None => BTreeMap::new(),
            Some(p) => p
                .entries()
                .take(MOST_NAMES)
                .filter_map(|(name, value)| match value {
                    Value::Bool(on) => Some((cut(name).to_owned(), *on)),
                    _ => None,
                })
                .collect(),
        };
        Ok(Self {
            min_protocol,
            max_protocol,
            client: Client {
                // These two are signed: whole, whatever their length.
                id: client.opt_str("id")?.unwrap_or_default().to_owned(),
                mode: client.opt_str("mode")?.unwrap_or_default().to_owned(),
                display_name: short("displayName"),
                version: short("version"),
                // Signed too, and part of the payload as they came.
                platform: shown("platform").map(String::from),
                device_family: shown("deviceFamily").map(String::from),
                model: short("modelIdentifier"),
                instance_id: short("instanceId"),
            },
            role: params.opt_str("role")?.unwrap_or("operator").to_owned(),
            scopes: owned("scopes")?,
            caps: names("caps")?,
            commands: names("commands")?,
            permissions,
            device: params.opt_object("device")?.map(|d| DeviceParams::read(&d)).transpose()?,
            auth: match params.opt_object("auth")? {
                None => Auth::default(),
                Some(auth) => Auth {
                    token: auth.opt_str("token")?.map(String::from),
                    password: auth.opt_str("password")?.map(String::from),
                    device_token: auth.opt_str("deviceToken")?.map(String::from),
                    bootstrap_token: auth.opt_str("bootstrapToken")?.map(String::from),
                },
            },
        })
    }
}

/// Both, or the faults of both in one sentence.
fn both(max: Result<u64, ParamFault>, min: Result<u64, ParamFault>) -> Result<(u64, u64), ParamFault> {
    match (min, max) {
        (Ok(min), Ok(max)) => Ok((min, max)),
        (Err(fault), Ok(_)) | (Ok(_), Err(fault)) => Err(fault),
        (Err(min), Err(max)) => {
            let second = min.0.strip_prefix("invalid connect params: ").unwrap_or(&min.0).to_owned();
            Err(ParamFault(format!("{}; {second}", max.0)))
        }
    }
}

/// The first [`LONGEST`] bytes, to a whole character.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

impl DeviceParams {
    fn read(device: &Params<'_>) -> Result<Self, ParamFault> {
        Ok(Self {
            id: device.str("id")?.to_owned(),
            public_key: device.str("publicKey")?.to_owned(),
            signature: device.str("signature")?.to_owned(),
            signed_at: device.u64("signedAt")?,
            nonce: match device.opt_str("nonce")? {
                Some(nonce) => nonce.to_owned(),
                None => device.str("nonce")?.to_owned(),
            },
        })
    }
}
