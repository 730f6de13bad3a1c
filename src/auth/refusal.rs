//! Refusals of a connect: code, message, hint and close reason of each.
//!
//! The texts are an API. OpenClaw's Node client erases its stored device token when a close reason
//! holds "device token mismatch", and many clients stop reconnecting for good on `PAIRING_REQUIRED`,
//! `AUTH_RATE_LIMITED` and `AUTH_TOKEN_MISMATCH`. So that phrase stands only where a token of a known
//! device was offered and is really dead, those codes only where they are true, and a passing state is
//! always `UNAVAILABLE`. docs/refusals.md is this file in prose.

use crate::protocol::{
    Details, DeviceId, ErrorCode, ErrorShape, Fingerprints, PROTOCOL_MAX, PROTOCOL_MIN, PairingReason,
    RequestId, Role, Scopes, approve_command, role_phrase,
};
use std::time::Duration;

/// Kind of shared secret that the auth mode asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SecretKind {
    /// `gateway.auth.token`.
    Token,
    /// `gateway.auth.password`.
    Password,
}

impl SecretKind {
    /// Last word of its key and of its option.
    pub fn word(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Password => "password",
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::Token => "AUTH_TOKEN",
            Self::Password => "AUTH_PASSWORD",
        }
    }
}

/// Facts about a wrong shared secret.
#[derive(Clone, Debug, Default)]
pub struct Mismatch {
    /// Whether the device's own token would be accepted.
    pub retry_with_device_token: bool,
    /// Another known source that holds the offered value, and how to fix that.
    pub matches: Option<(String, String)>,
    /// Fingerprints of the two secrets.
    pub fingerprints: Option<Fingerprints>,
    /// Source of the gateway's own secret.
    pub expected_from: Option<String>,
    /// Boot id of this gateway, and when it started.
    pub gateway: Option<(String, u64)>,
}

/// A device that has to wait.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Reason why approval is needed.
    pub reason: PairingReason,
    /// Id of the pending request.
    pub request: RequestId,
    /// Device that the request is for.
    pub device: DeviceId,
    /// Role that the device asks for.
    pub role: Role,
    /// Scopes that the device asks for.
    pub requested: Scopes,
    /// The roles and scopes it has.
    pub approved: Vec<(Role, Scopes)>,
    /// Revocation of the role or removal of the device, in words.
    pub history: Option<String>,
    /// Whether it still offers the token of a revoked role.
    pub dead_token: bool,
}

/// A refusal of `connect`, or of what came in its place.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Refusal {
    /// The first frame is no request.
    BadFrame(String),
    /// The first request is not `connect`.
    NotConnect,
    /// A parameter is missing or wrong.
    Params(String),
    /// The frame is too large, bytes allowed.
    TooLarge(usize),
    /// No `connect` came in time.
    Timeout(Duration),
    /// No common protocol version.
    Protocol {
        min: u64,
        max: u64,
    },
    /// No such role.
    Role,
    /// The page's origin is not allowed.
    Origin {
        received: String,
        allow: String,
    },
    /// `device.publicKey` is no Ed25519 key.
    PublicKey,
    /// `device.id` is not the hash of `device.publicKey`.
    DeviceId {
        expected: DeviceId,
    },
    NonceMissing,
    /// `device.nonce` is not this connection's.
    NonceMismatch,
    /// The signature fits no payload.
    Signature,
    DeviceRequired {
        control_ui: bool,
        switches: String,
    },
    /// Pairing waits for an operator's approval.
    Waiting(Box<Waiting>),
    /// No shared secret was offered.
    SharedMissing(SecretKind),
    /// The shared secret is wrong.
    SharedMismatch(SecretKind, Box<Mismatch>),
    /// The gateway has no shared secret; why.
    SharedNotConfigured(SecretKind, String),
    /// The device's token is dead and its key alone does not count here.
    DeviceToken(DeviceId, Role),
    /// The device's token is for another role.
    DeviceTokenRole {
        has: Role,
        wants: Role,
        device: DeviceId,
    },
    /// The setup code is no good.
    Bootstrap,
    RateLimited(Duration),
    /// Refused for now: the reason, and the retry time in milliseconds.
    Later {
        why: String,
        after_ms: u64,
    },
}

use Refusal as R;

impl Refusal {
    /// The error of the response frame.
    pub fn error(&self) -> ErrorShape {
        let invalid = ErrorShape::invalid;
        match self {
            R::BadFrame(_) | R::TooLarge(_) | R::Timeout(_) => invalid(self.reason()),
            R::NotConnect => invalid(self.reason()).with(hint(
                "send connect as the first request, after the connect.challenge event",
            )),
            R::Params(error) => {
                let mut details = hint("see docs/gateway/protocol/handshake.md of the npm package openclaw");
                if error.contains("'nonce'") {
                    details = device("DEVICE_AUTH_NONCE_REQUIRED", "device-nonce-missing", NONCE);
                }
                invalid(error.clone()).with(details)
            }
            R::Protocol { min, max } => invalid(self.reason()).with(Details {
                code: code("PROTOCOL_MISMATCH"),
                clientMinProtocol: Some(*min),
                clientMaxProtocol: Some(*max),
                expectedProtocol: Some(PROTOCOL_MAX),
                minimumProbeProtocol: Some(PROTOCOL_MIN),
                hint: Some(format!(
                    "this gateway speaks protocol {PROTOCOL_MIN} to {PROTOCOL_MAX}, the client {min} to {max}; update the older of the two"
                )),
                ..Details::default()
            }),
            R::Role => invalid(self.reason()).with(hint("use role \"operator\" or \"node\"")),
            R::Origin { received, allow } => invalid(self.reason()).with(Details {
                code: code("CONTROL_UI_ORIGIN_NOT_ALLOWED"),
                reason: code("origin not allowed"),
                recommendedNextStep: code("review_auth_configuration"),
                hint: Some(if received == "null" {
                    "the page has no origin (a file, or a sandboxed frame): open it from the gateway's host or a server".into()
                } else {
                    format!(
                    "the page came from {received}; to admit it, add \"{allow}\" to the list gateway.controlUi.allowedOrigins in openclaw.json"
                )}),
                ..Details::default()
            }),
            R::PublicKey => invalid(self.reason()).with(device(
                "DEVICE_AUTH_PUBLIC_KEY_INVALID",
                "device-public-key",
                "send the raw 32-byte Ed25519 public key as base64url, or its PEM",
            )),
            R::DeviceId { expected } => invalid(self.reason()).with(device(
                "DEVICE_AUTH_DEVICE_ID_MISMATCH",
                "device-id-mismatch",
                &format!(
                    "device.id must be the hex SHA-256 of the raw 32-byte public key; for the key sent that is {expected}"
                ),
            )),
            R::NonceMissing => {
                invalid(self.reason()).with(device("DEVICE_AUTH_NONCE_REQUIRED", "device-nonce-missing", NONCE))
            }
            R::NonceMismatch => {
                invalid(self.reason()).with(device("DEVICE_AUTH_NONCE_MISMATCH", "device-nonce-mismatch", NONCE))
            }
            R::Signature => invalid(self.reason()).with(device(
                "DEVICE_AUTH_SIGNATURE_INVALID",
                "device-signature",
                "sign v3|deviceId|clientId|clientMode|role|scopes|signedAt|token|nonce|platform|deviceFamily (or v2 without the last two); v3 and v2 were tried with every token in the frame and with none",
            )),
            R::DeviceRequired { control_ui, switches } => {
                let (name, hint) = if *control_ui {
                    (
                        "CONTROL_UI_DEVICE_IDENTITY_REQUIRED",
                        format!(
                            "the connect frame holds no device object; open the page over HTTPS, or through a tunnel as http://localhost, or update the Control UI (2026.8 and later sign on plain http too). {switches}"
                        ),
                    )
                } else {
                    (
                        "DEVICE_IDENTITY_REQUIRED",
                        "send a signed device, or from this host the shared token (gateway.auth.token in openclaw.json)".into(),
                    )
                };
                ErrorShape::new(ErrorCode::NotPaired, self.reason()).with(Details {
                    code: code(name),
                    recommendedNextStep: code("update_auth_configuration"),
                    canRetryWithDeviceToken: Some(false),
                    hint: Some(hint),
                    ..Details::default()
                })
            }
            R::Waiting(w) => w.error(),
            R::SharedMissing(kind) => invalid(self.reason()).with(auth(
                &format!("{}_MISSING", kind.code()),
                &format!("{}_missing", kind.word()),
                "update_auth_configuration",
                false,
                &format!(
                    "this device is not paired, so it needs the shared {0} once: gateway.auth.{0} in openclaw.json on the gateway's host",
                    kind.word()
                ),
            )),
            R::SharedMismatch(kind, m) => m.error(*kind, self.reason()),
            R::SharedNotConfigured(kind, why) => invalid(self.reason()).with(auth(
                &format!("{}_NOT_CONFIGURED", kind.code()),
                &format!("{}_missing_config", kind.word()),
                "update_auth_configuration",
                false,
                why,
            )),
            R::DeviceToken(id, role) => invalid(self.reason()).with(auth(
                "AUTH_DEVICE_TOKEN_MISMATCH",
                "device_token_mismatch",
                "update_auth_credentials",
                false,
                &format!(
                    "the token of device {id} for role {role} was replaced; attach once with the shared token, or set auth.deviceKeyProof in barnacle.json to true (then the key alone is enough)"
                ),
            )),
            R::DeviceTokenRole { has, wants, device } => invalid(self.reason()).with(auth(
                "AUTH_SCOPE_MISMATCH",
                "scope_mismatch",
                "review_auth_configuration",
                false,
                &format!("the token of device {device} is for role {has}; send the one for role {wants}, or none"),
            )),
            R::Bootstrap => invalid(self.reason()).with(auth(
                "AUTH_BOOTSTRAP_TOKEN_INVALID",
                "bootstrap_token_invalid",
                "update_auth_credentials",
                false,
                "setup codes last ten minutes and belong to the first device that uses them; make a new one: barnacle call device.pair.setupCode",
            )),
            R::RateLimited(left) => {
                let ms = millis_up(*left);
                invalid(self.reason())
                    .with(auth(
                        "AUTH_RATE_LIMITED",
                        "rate_limited",
                        "wait_then_retry",
                        false,
                        &format!(
                            "too many different wrong secrets came from this address; it is free again in {} s, knocking does not lengthen that, and paired devices are not affected",
                            ms.div_ceil(1000)
                        ),
                    ))
                    .retry_after(ms)
            }
            R::Later { why, after_ms } => ErrorShape::later(why, *after_ms).with(Details {
                reason: code("startup-sidecars"),
                recommendedNextStep: code("wait_then_retry"),
                hint: Some(format!("try again in {after_ms} ms; nothing is wrong with the credentials")),
                ..Details::default()
            }),
        }
    }

    /// The kind, in a few words, by which refusals are counted.
    pub fn kind(&self) -> &'static str {
        match self {
            R::BadFrame(_) | R::NotConnect | R::Params(_) => "invalid connect",
            R::TooLarge(_) => "frame too large",
            R::Timeout(_) => "no connect in time",
            R::Protocol { .. } => "protocol version",
            R::Role => "unknown role",
            R::Origin { .. } => "origin not allowed",
            R::PublicKey | R::DeviceId { .. } | R::NonceMissing | R::NonceMismatch | R::Signature => {
                "invalid device proof"
            }
            R::DeviceRequired { .. } => "device required",
            R::Waiting(_) => "pairing required",
            R::SharedMissing(_) => "no shared secret",
            R::SharedMismatch(..) => "wrong shared secret",
            R::SharedNotConfigured(..) => "no shared secret configured",
            R::DeviceToken(..) | R::DeviceTokenRole { .. } => "dead device token",
            R::Bootstrap => "invalid setup code",
            R::RateLimited(_) => "too many wrong secrets",
            R::Later { .. } => "not now",
        }
    }

    /// The close code (RFC 6455 §7.4) and reason.
    pub fn close(&self) -> (u16, String) {
        let code = match self {
            R::TooLarge(_) => 1009,
            R::Protocol { .. } => 1002,
            R::Later { .. } => 1013,
            _ => 1008,
        };
        let reason = match self {
            R::Waiting(w) if !w.dead_token => format!("{} (requestId: {})", self.reason(), w.request),
            _ => self.reason(),
        };
        (code, reason)
    }

    /// The sentence for a person, as OpenClaw words it where it has the case.
    fn reason(&self) -> String {
        match self {
            R::BadFrame(why) => why.clone(),
            R::NotConnect => "invalid handshake: first request must be connect".into(),
            R::Params(error) => error.clone(),
            R::TooLarge(most) => format!("connect frame larger than {most} bytes"),
            R::Timeout(limit) => format!("handshake timeout: no connect within {} ms", limit.as_millis()),
            R::Protocol { .. } => "protocol mismatch".into(),
            R::Role => "invalid role".into(),
            R::Origin { .. } => "origin not allowed (open the Control UI from the gateway host or allow it in gateway.controlUi.allowedOrigins)".into(),
            R::PublicKey => "device public key invalid".into(),
            R::DeviceId { .. } => "device identity mismatch".into(),
            R::NonceMissing => "device nonce required".into(),
            R::NonceMismatch => "device nonce mismatch".into(),
            R::Signature => "device signature invalid".into(),
            R::DeviceRequired { control_ui: true, .. } => {
                "control ui requires device identity (use HTTPS or localhost secure context)".into()
            }
            R::DeviceRequired { .. } => "device identity required".into(),
            R::Waiting(w) => w.message(),
            R::SharedMissing(SecretKind::Token) => "unauthorized: gateway token missing (use this gateway's gateway.auth.token or pair the device)".into(),
            R::SharedMissing(SecretKind::Password) => "unauthorized: gateway password missing (use this gateway's gateway.auth.password or pair the device)".into(),
            R::SharedMismatch(kind, m) => {
                let w = kind.word();
                match &m.matches {
                    Some((source, _)) => format!("unauthorized: gateway {w} mismatch (the {w} sent is {source}, not the one in use)"),
                    None => format!("unauthorized: gateway {w} mismatch (use this gateway's gateway.auth.{w} or pair the device)"),
                }
            }
            R::SharedNotConfigured(kind, _) => format!("unauthorized: gateway {} not configured on this gateway", kind.word()),
            R::DeviceToken(..) => "unauthorized: device token mismatch (rotated; attach with the shared token)".into(),
            R::DeviceTokenRole { has, wants, .. } => {
                format!("unauthorized: device token scope mismatch (it is for role {has}, not {wants})")
            }
            R::Bootstrap => "unauthorized: bootstrap token invalid or expired (scan a new setup code)".into(),
            R::RateLimited(_) => "unauthorized: too many failed authentication attempts (retry later)".into(),
            R::Later { why, .. } => why.clone(),
        }
    }
}

const NONCE: &str = "wait for the connect.challenge event and send its nonce as device.nonce, signed";

impl Waiting {
    fn message(&self) -> String {
        match (&self.history, self.dead_token) {
            (Some(history), true) => format!("unauthorized: device token mismatch ({history})"),
            (Some(history), false) => format!("{} ({history})", self.reason.sentence()),
            (None, _) => self.reason.sentence().into(),
        }
    }

    fn error(&self) -> ErrorShape {
        let approve = approve_command(&self.request);
        let asked = role_phrase(self.role, &self.requested.names());
        let live = self.approved.iter().flat_map(|(_, scopes)| scopes.names()).collect();
        ErrorShape::new(ErrorCode::NotPaired, self.message()).with(Details {
            code: code(if self.dead_token { "AUTH_DEVICE_TOKEN_MISMATCH" } else { "PAIRING_REQUIRED" }),
            reason: code(self.reason.as_str()),
            authReason: self.dead_token.then(|| "device_token_mismatch".into()),
            canRetryWithDeviceToken: Some(false),
            recommendedNextStep: code("wait_then_retry"),
            requestId: Some(self.request.to_string()),
            remediationHint: Some(format!("On the gateway's host: {approve}")),
            retryable: Some(true),
            deviceId: Some(self.device.to_string()),
            requestedRole: Some(self.role.to_string()),
            requestedScopes: Some(self.requested.names()),
            approvedRoles: Some(self.approved.iter().map(|(role, _)| role.to_string()).collect()),
            approvedScopes: Some(live),
            hint: Some(format!("the device asks for {asked}; on the gateway's host: {approve}")),
            ..Details::default()
        })
    }
}

impl Mismatch {
    fn error(&self, kind: SecretKind, message: String) -> ErrorShape {
        let w = kind.word();
        let next = match (self.retry_with_device_token, &self.matches) {
            (true, _) => "retry_with_device_token",
            (false, Some(_)) => "review_auth_configuration",
            (false, None) => "update_auth_credentials",
        };
        let hint = match (&self.matches, &self.expected_from) {
            (Some((_, fix)), _) => fix.clone(),
            (None, Some(from)) => {
                format!("this gateway's {w} is {from}; send that one, or pair the device")
            }
            (None, None) => format!("this gateway's {w} is gateway.auth.{w} in its openclaw.json"),
        };
        let details = auth(
            &format!("{}_MISMATCH", kind.code()),
            &format!("{w}_mismatch"),
            next,
            self.retry_with_device_token,
            &hint,
        );
        ErrorShape::invalid(message).with(Details {
            matches: self.matches.as_ref().map(|(source, _)| source.clone()),
            fingerprints: self.fingerprints.clone(),
            gatewayBootId: self.gateway.as_ref().map(|(id, _)| id.clone()),
            gatewayStartedAtMs: self.gateway.as_ref().map(|(_, ms)| *ms),
            ..details
        })
    }
}

fn code(word: &str) -> Option<String> {
    Some(word.into())
}

fn hint(text: &str) -> Details {
    Details { hint: Some(text.into()), ..Details::default() }
}

fn device(name: &str, reason: &str, text: &str) -> Details {
    Details {
        code: code(name),
        reason: code(reason),
        recommendedNextStep: code("review_auth_configuration"),
        canRetryWithDeviceToken: Some(false),
        ..hint(text)
    }
}

fn auth(name: &str, reason: &str, next: &str, retry: bool, text: &str) -> Details {
    Details {
        code: code(name),
        reason: code(reason),
        authReason: code(reason),
        canRetryWithDeviceToken: Some(retry),
        recommendedNextStep: code(next),
        ..hint(text)
    }
}

/// Milliseconds, rounded up: a client that waits this long is not early.
fn millis_up(left: Duration) -> u64 {
    left.as_micros().div_ceil(1000).try_into().unwrap_or(u64::MAX)
}
