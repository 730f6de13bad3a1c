//! Attaching to the gateway behind this one: who this gateway is there, for whom it speaks, and what is answered.
//!
//! On loopback OpenClaw grants with the shared secret whatever is asked, so this gateway asks for what it granted itself.
//! One on another host knows this gateway as a device that was approved there (see `remote`).
//! Source: `docs/gateway/protocol/handshake.md` and `auth.md`; what OpenClaw 2026.9 does was tried.

use super::{
    frame::{self, Frame},
    greeting::Greeting,
    hello::Hello,
    remote::Pairing,
};
use crate::{
    auth::{
        identity::Identity,
        payload::{Payload, Version},
    },
    clock::wall_ms,
    config::{Kind, Secret},
    protocol::{Role, Scopes},
};
use nanoserde::SerJson;
use std::fmt;

/// Version of the protocol that is spoken behind this gateway.
const PROTOCOL: u64 = 4;
/// Id of the request.
pub(super) const ID: &str = "connect";
/// Platform of this gateway's own device: OpenClaw pins it at the approval, whoever the device speaks for.
pub(super) const OWN_PLATFORM: &str = "linux";
/// Ids that OpenClaw knows: it refuses any other.
const CLIENT_IDS: &[&str] = &[
    "webchat-ui",
    "openclaw-control-ui",
    "openclaw-browser-copilot",
    "openclaw-tui",
    "webchat",
    "cli",
    "gateway-client",
    "openclaw-macos",
    "openclaw-linux",
    "openclaw-ios",
    "openclaw-watchos",
    "openclaw-android",
    "node-host",
    "openclaw-worker",
    "test",
    "fingerprint",
    "openclaw-probe",
];

/// An identity that a connection has behind this gateway.
pub(super) enum Persona {
    /// The client itself, with a device key derived for it.
    Derived(Box<Identity>),
    /// The client itself, without a device.
    NoDevice,
    /// A backend of this host, without a device.
    Backend,
    /// The client, by this gateway's own device.
    OwnFor(Box<Identity>),
    /// This gateway itself, by its own device.
    Own(Box<Identity>),
}

impl Persona {
    /// Whether OpenClaw sees the client's id, mode and version.
    pub fn is_client(&self) -> bool {
        matches!(self, Self::Derived(_) | Self::NoDevice | Self::OwnFor(_))
    }

    fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Derived(identity) | Self::OwnFor(identity) | Self::Own(identity) => Some(identity),
            Self::NoDevice | Self::Backend => None,
        }
    }
}

/// What is shown besides the signature of a device.
#[derive(Clone, Copy)]
pub(super) enum Auth<'a> {
    Nothing,
    /// The shared secret of the gateway behind this one.
    Shared(Kind, &'a Secret),
    /// The token that it issued to the device.
    DeviceToken(&'a str),
}

impl Auth<'_> {
    /// The member `auth`, with a comma before it, and the token that is signed.
    fn member(&self) -> (String, &str) {
        let member = |name: &str, value: &str| format!(r#","auth":{{"{name}":{}}}"#, value.serialize_json());
        // A secret of which only the hash is known cannot be sent.
        match *self {
            Self::Shared(kind, secret) => match (kind, secret.reveal()) {
                (_, None) => (String::new(), ""),
                (Kind::Token, Some(secret)) => (member("token", secret), secret),
                (Kind::Password, Some(secret)) => (member("password", secret), ""),
            },
            Self::DeviceToken(token) => (member("deviceToken", token), token),
            Self::Nothing => (String::new(), ""),
        }
    }
}

/// The nonce to sign, and the time of the gateway that asks for it: its clock decides whether a proof is fresh.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Challenge {
    pub nonce: String,
    pub ts: u64,
}

/// The order in which identities are tried for a client: the next one where OpenClaw refuses the one before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Choice {
    Derived,
    NoDevice,
    Backend,
}

/// The identity to try after `refused` refusals in a row.
pub(super) fn choose(role: Role, client_id: &str, has_device: bool, refused: u32) -> Choice {
    let known = CLIENT_IDS.contains(&client_id);
    let plain = matches!(client_id, "cli" | "gateway-client") && !has_device;
    let first = match role {
        // A node is one by its key alone.
        Role::Node => return Choice::Derived,
        Role::Operator if !known => Choice::Backend,
        Role::Operator if plain => Choice::NoDevice,
        Role::Operator => Choice::Derived,
    };
    match (first, refused % 2) {
        (first, 0) => first,
        (Choice::Derived, _) => Choice::Backend,
        (_, _) => Choice::Derived,
    }
}

/// For whom a connection is made.
pub(super) struct Introduction<'a> {
    pub role: Role,
    pub scopes: Scopes,
    pub greeting: &'a Greeting,
    pub auth: Auth<'a>,
}

impl Introduction<'_> {
    /// The `connect` request, in answer to `challenge`.
    pub fn request(&self, persona: &Persona, challenge: &Challenge) -> String {
        let backend = r#""client":{"id":"gateway-client","mode":"backend","displayName":"Barnacle","version":"2026.9.6","platform":"linux"},"caps":["session-scoped-events"]"#;
        let (members, id, mode) = match persona {
            Persona::Backend | Persona::Own(_) => (backend.into(), "gateway-client".into(), "backend".into()),
            Persona::OwnFor(_) => (
                self.greeting.members_on(OWN_PLATFORM),
                self.greeting.client("id"),
                self.greeting.client("mode"),
            ),
            Persona::Derived(_) | Persona::NoDevice => {
                (self.greeting.members(), self.greeting.client("id"), self.greeting.client("mode"))
            }
        };
        let (platform, family) = match persona {
            Persona::Own(_) | Persona::OwnFor(_) => (OWN_PLATFORM.into(), String::new()),
            _ => (self.greeting.client("platform"), self.greeting.client("deviceFamily")),
        };
        let (auth, token) = self.auth.member();
        let scopes = self.scopes.names();
        let device = match persona.identity() {
            Some(identity) => {
                let key = identity.public_key();
                let device_id = key.device_id().to_string();
                let names: Vec<&str> = scopes.iter().map(String::as_str).collect();
                let payload = Payload {
                    device_id: &device_id,
                    client_id: &id,
                    client_mode: &mode,
                    role: self.role.as_str(),
                    scopes: &names,
                    signed_at: challenge.ts,
                    nonce: &challenge.nonce,
                    platform: &platform,
                    device_family: &family,
                };
                let signature = identity.sign(&payload.text(Version::V3, token));
                format!(
                    r#","device":{{"id":"{device_id}","publicKey":"{key}","signature":"{signature}","signedAt":{},"nonce":{}}}"#,
                    payload.signed_at,
                    challenge.nonce.serialize_json()
                )
            }
            None => String::new(),
        };
        format!(
            r#"{{"type":"req","id":"{ID}","method":"connect","params":{{"minProtocol":{PROTOCOL},"maxProtocol":{PROTOCOL},{members},"role":"{}","scopes":{}{auth}{device}}}}}"#,
            self.role,
            self.scopes.serialize_json(),
        )
    }
}

/// Why a connection to the gateway behind this one could not be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Failure {
    /// It cannot be reached, or is starting or stopping; the reason.
    Away(String),
    /// It refused this identity: code, and its message.
    Refused(String, String),
    /// It waits for somebody there to approve the device.
    Pairing(Pairing),
    /// It refuses the shared token, or there is none; why, with what to do. It locks out who tries that often.
    Secret(String),
    /// It refused a page that is older than it and has to be loaded again.
    Outdated(Outdated),
    /// What answers is no gateway that this one can stand in front of; the reason, with what to do.
    Wrong(String),
}

/// The refusal of a page that OpenClaw served before it was updated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Outdated {
    /// `details.gatewayBuildId`: the build that the page has to be of.
    pub build: String,
    /// `error`, as it came, JSON.
    pub error: String,
}

impl Failure {
    /// Whether it is the shared secret that was refused.
    pub fn is_of_secret(&self) -> bool {
        matches!(self, Self::Refused(code, _) if matches!(
            code.as_str(),
            "AUTH_TOKEN_MISMATCH" | "AUTH_TOKEN_MISSING" | "AUTH_PASSWORD_MISMATCH" | "AUTH_PASSWORD_MISSING"
        ))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(why) | Self::Secret(why) | Self::Wrong(why) => f.write_str(why),
            Self::Pairing(pairing) => pairing.fmt(f),
            Self::Outdated(page) => {
                write!(f, "the page is older than OpenClaw, build {}: reload it", page.build)
            }
            Self::Refused(_, message) if self.is_of_secret() => write!(
                f,
                "it refuses the shared secret ({message}): both must read the same gateway.auth, or set \
                 upstream.token in barnacle.json"
            ),
            Self::Refused(code, message) => write!(f, "it refuses the connection: {message} ({code})"),
        }
    }
}

/// Reads a challenge; `None` if the frame is another.
pub(super) fn challenge(text: &str) -> Option<Challenge> {
    match frame::read(text) {
        Frame::Event { name, payload, .. } if name == "connect.challenge" => {
            let nonce = frame::text_at(payload, &["nonce"])?.into_owned();
            let ts = frame::at(payload, &["ts"]).and_then(|ts| ts.parse().ok());
            Some(Challenge { nonce, ts: ts.unwrap_or_else(wall_ms) })
        }
        _ => None,
    }
}

/// Reads the answer to the request; `None` if the frame is another.
pub(super) fn answer(text: &str) -> Option<Result<Hello, Failure>> {
    let Frame::Response { id, outcome } = frame::read(text) else { return None };
    if id != ID {
        return None;
    }
    Some(match outcome {
        Ok(payload) => Hello::read(payload)
            .ok_or_else(|| Failure::Wrong("its hello-ok makes no sense; is it an OpenClaw gateway?".into())),
        Err(error) => Err(refusal(error)),
    })
}

fn refusal(error: &str) -> Failure {
    let text = |path: &[&str]| frame::text_at(error, path).map(|text| text.into_owned());
    let message = text(&["message"]).unwrap_or_else(|| "without a reason".into());
    let message = crate::host::cut(&message, 300).to_owned();
    let code = text(&["details", "code"]).or_else(|| text(&["code"])).unwrap_or_default();
    if !matches!(frame::refused(error), frame::Refused::Final) {
        return Failure::Away(message);
    }
    if frame::at(error, &["details", "reloadRequired"]) == Some("true")
        && let Some(build) = text(&["details", "gatewayBuildId"])
    {
        return Failure::Outdated(Outdated { build, error: error.into() });
    }
    match code.as_str() {
        "PAIRING_REQUIRED" => Failure::Pairing(Pairing::read(error)),
        "PROTOCOL_MISMATCH" => Failure::Wrong(format!(
            "it does not speak protocol {PROTOCOL}: {message}; OpenClaw 2026.7 or newer is needed behind Barnacle"
        )),
        _ => Failure::Refused(code, message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_in_turn() {
        use Choice::{Backend, Derived, NoDevice};
        for (role, client, has_device, expected) in [
            (Role::Operator, "cli", false, [NoDevice, Derived, NoDevice]),
            (Role::Operator, "gateway-client", false, [NoDevice, Derived, NoDevice]),
            (Role::Operator, "cli", true, [Derived, Backend, Derived]),
            (Role::Operator, "openclaw-control-ui", true, [Derived, Backend, Derived]),
            (Role::Operator, "webchat", false, [Derived, Backend, Derived]),
            (Role::Operator, "somebody-s-own", true, [Backend, Derived, Backend]),
            (Role::Node, "node-host", true, [Derived, Derived, Derived]),
        ] {
            let chosen = [0, 1, 2].map(|refused| choose(role, client, has_device, refused));
            assert_eq!(chosen, expected, "{role} {client} {has_device}");
        }
    }

    #[test]
    fn refusals() {
        for (error, expected) in [
            (
                r#"{"code":"UNAVAILABLE","message":"starting","details":{"reason":"startup-sidecars"}}"#,
                "starting",
            ),
            (
                r#"{"code":"INVALID_REQUEST","message":"unauthorized","details":{"code":"AUTH_TOKEN_MISMATCH"}}"#,
                "it refuses the shared secret (unauthorized): both must read the same gateway.auth, or set upstream.token in barnacle.json",
            ),
            (
                r#"{"code":"INVALID_REQUEST","message":"protocol mismatch","details":{"code":"PROTOCOL_MISMATCH"}}"#,
                "it does not speak protocol 4: protocol mismatch; OpenClaw 2026.7 or newer is needed behind Barnacle",
            ),
            (
                r#"{"code":"UNAVAILABLE","message":"reload","retryable":false,"details":{"code":"PROTOCOL_MISMATCH","gatewayBuildId":"b","reloadRequired":true}}"#,
                "the page is older than OpenClaw, build b: reload it",
            ),
            ("{}", "it refuses the connection: without a reason ()"),
        ] {
            let text = format!(r#"{{"type":"res","id":"connect","ok":false,"error":{error}}}"#);
            let Some(Err(failure)) = answer(&text) else { panic!("{error}") };
            assert_eq!(failure.to_string(), expected, "{error}");
        }
    }
}
