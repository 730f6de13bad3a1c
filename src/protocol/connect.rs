//! The parameters of `connect`: what a client says of itself, before any of it is believed.
//!
//! Unknown properties are ignored and unknown client ids and modes are taken as they are: they are
//! display data. Source: `docs/gateway/protocol/handshake.md`, `ConnectParams` of the schema.

use super::{ParamFault, Params};
use crate::host::cut;
use std::collections::BTreeMap;

/// `connect.params`, over the frame they came in.
#[derive(Clone, Debug, Default)]
pub struct Connect<'a> {
    /// `minProtocol`.
    pub min_protocol: u64,
    /// `maxProtocol`.
    pub max_protocol: u64,
    /// `client`.
    pub client: Client<'a>,
    /// `role`; an operator if none is named.
    pub role: &'a str,
    /// `scopes`, in the order sent: the signature covers them so.
    pub scopes: Vec<&'a str>,
    /// `caps`.
    pub caps: Vec<&'a str>,
    /// `commands`.
    pub commands: Vec<&'a str>,
    /// `permissions`.
    pub permissions: BTreeMap<&'a str, bool>,
    /// `device`.
    pub device: Option<DeviceParams<'a>>,
    /// `auth`.
    pub auth: Auth<'a>,
}

/// `connect.params.client`.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Client<'a> {
    pub id: &'a str,
    pub mode: &'a str,
    pub display_name: Option<&'a str>,
    pub version: Option<&'a str>,
    pub platform: Option<&'a str>,
    pub device_family: Option<&'a str>,
    pub model: Option<&'a str>,
    pub instance_id: Option<&'a str>,
}

/// `connect.params.device`.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct DeviceParams<'a> {
    pub id: &'a str,
    pub public_key: &'a str,
    pub signature: &'a str,
    pub signed_at: u64,
    pub nonce: &'a str,
}

/// `connect.params.auth`. An empty text is as good as none, but may have been signed.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Auth<'a> {
    pub token: Option<&'a str>,
    pub password: Option<&'a str>,
    pub device_token: Option<&'a str>,
    pub bootstrap_token: Option<&'a str>,
}

impl<'a> Auth<'a> {
    /// Every text that may stand in the token's place of the signed payload: those of the frame in the
    /// order OpenClaw looks at them, then none.
    pub fn signed_tokens(&self) -> impl Iterator<Item = &'a str> + Clone {
        let all = [self.token, self.device_token, self.bootstrap_token, self.password, Some("")];
        // Of two that are equal the first one counts.
        (0..all.len()).filter_map(move |n| all[n].filter(|_| !all[..n].contains(&all[n])))
    }
}

/// Most commands or capabilities of a node, and most bytes of a name: what is kept must be bounded.
const MOST_NAMES: usize = 512;
const LONGEST: usize = 256;

impl<'a> Connect<'a> {
    /// Reads the parameters.
    ///
    /// # Errors
    /// When a field is missing or of the wrong kind; the error names it.
    pub fn read(params: &Params<'a>) -> Result<Self, ParamFault> {
        let max_protocol = params.u64("maxProtocol");
        let min_protocol = params.u64("minProtocol");
        let (min_protocol, max_protocol) = both(max_protocol, min_protocol)?;
        let client = params.object("client")?;
        // What is only shown never costs a connection, whatever stands there.
        let shown = |name: &str| client.opt_str(name).ok().flatten().filter(|s| !s.is_empty());
        let short = |name: &str| shown(name).map(|text| cut(text, LONGEST));
        let names = |name: &str| -> Result<Vec<&'a str>, ParamFault> {
            let mut names: Vec<&str> =
                params.strs(name)?.into_iter().map(|name| cut(name, LONGEST)).collect();
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
                    "true" => Some((cut(name, LONGEST), true)),
                    "false" => Some((cut(name, LONGEST), false)),
                    _ => None,
                })
                .collect(),
        };
        Ok(Self {
            min_protocol,
            max_protocol,
            client: Client {
                // These two are signed: whole, whatever their length.
                id: client.opt_str("id")?.unwrap_or_default(),
                mode: client.opt_str("mode")?.unwrap_or_default(),
                display_name: short("displayName"),
                version: short("version"),
                // Signed too, and part of the payload as they came.
                platform: shown("platform"),
                device_family: shown("deviceFamily"),
                model: short("modelIdentifier"),
                instance_id: short("instanceId"),
            },
            role: params.opt_str("role")?.unwrap_or("operator"),
            scopes: params.strs("scopes")?,
            caps: names("caps")?,
            commands: names("commands")?,
            permissions,
            device: params.opt_object("device")?.map(|d| DeviceParams::read(&d)).transpose()?,
            auth: match params.opt_object("auth")? {
                None => Auth::default(),
                Some(auth) => Auth {
                    token: auth.opt_str("token")?,
                    password: auth.opt_str("password")?,
                    device_token: auth.opt_str("deviceToken")?,
                    bootstrap_token: auth.opt_str("bootstrapToken")?,
                },
            },
        })
    }
}

/// Returns both values, or the errors of both in one sentence.
fn both(max: Result<u64, ParamFault>, min: Result<u64, ParamFault>) -> Result<(u64, u64), ParamFault> {
    match (min, max) {
        (Ok(min), Ok(max)) => Ok((min, max)),
        (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(error),
        (Err(min), Err(max)) => {
            let second = min.0.strip_prefix("invalid connect params: ").unwrap_or(&min.0).to_owned();
            Err(ParamFault(format!("{}; {second}", max.0)))
        }
    }
}

impl<'a> DeviceParams<'a> {
    fn read(device: &Params<'a>) -> Result<Self, ParamFault> {
        Ok(Self {
            id: device.str("id")?,
            public_key: device.str("publicKey")?,
            signature: device.str("signature")?,
            signed_at: device.u64("signedAt")?,
            nonce: match device.opt_str("nonce")? {
                Some(nonce) => nonce,
                None => device.str("nonce")?,
            },
        })
    }
}
