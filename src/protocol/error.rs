//! Errors on the wire. Their texts are an API: clients erase tokens and stop reconnecting by them.
//!
//! Source: `ErrorShape` of `protocol.schema.json`; `connect-error-details.d.mts` and
//! `gateway-error-details.d.mts` of `@openclaw/gateway-protocol`.

use super::{ParamFault, RequestId, Role, Scope};
use nanoserde::SerJson;

/// `error.code` of a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorCode {
    /// The request is malformed, or a precondition does not hold.
    InvalidRequest,
    /// The caller lacks the scope.
    Forbidden,
    /// The request may work later, or is not in this version; `retryable` tells which.
    Unavailable,
    /// The device must be paired first.
    NotPaired,
}

impl ErrorCode {
    /// The code as sent on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "INVALID_REQUEST",
            Self::Forbidden => "FORBIDDEN",
            Self::Unavailable => "UNAVAILABLE",
            Self::NotPaired => "NOT_PAIRED",
        }
    }
}

/// An error as it stands in a response frame.
#[derive(Clone, Debug, SerJson)]
#[allow(non_snake_case)]
pub struct ErrorShape {
    code: String,
    message: String,
    details: Option<Box<Details>>,
    retryable: Option<bool>,
    retryAfterMs: Option<u64>,
}

impl ErrorShape {
    /// An error of `code` that says `message`.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code: code.as_str().into(),
            message: message.into(),
            details: None,
            retryable: None,
            retryAfterMs: None,
        }
    }

    /// Makes an error with code `INVALID_REQUEST`.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidRequest, message)
    }

    /// `UNAVAILABLE`, to be tried again after `ms`.
    pub fn later(message: impl Into<String>, ms: u64) -> Self {
        Self { retryable: Some(true), retryAfterMs: Some(ms), ..Self::new(ErrorCode::Unavailable, message) }
    }

    /// `UNAVAILABLE`, for as long as this version runs.
    pub fn never(message: impl Into<String>) -> Self {
        Self { retryable: Some(false), ..Self::new(ErrorCode::Unavailable, message) }
    }

    /// Makes a `FORBIDDEN` with `MISSING_SCOPE`; `hint` says how to obtain the scope.
    pub fn missing_scope(scope: Scope, hint: Option<String>) -> Self {
        Self::new(ErrorCode::Forbidden, format!("missing scope: {}", scope.as_str())).with(Details {
            code: Some("MISSING_SCOPE".into()),
            missingScope: Some(scope.as_str().into()),
            requiredScopes: Some(vec![scope.as_str().into()]),
            hint,
            ..Details::default()
        })
    }

    /// The same error with details.
    #[must_use]
    pub fn with(mut self, details: Details) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    /// The same error, telling when to come back.
    #[must_use]
    pub fn retry_after(mut self, ms: u64) -> Self {
        self.retryable = Some(true);
        self.retryAfterMs = Some(ms);
        self
    }

    /// Whether the request itself is at fault.
    pub fn is_invalid(&self) -> bool {
        self.code == ErrorCode::InvalidRequest.as_str()
    }

    /// Time after which it may work, if it may.
    pub fn retry_after_ms(&self) -> Option<u64> {
        self.retryAfterMs
    }

    /// Message for a person.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Details for a program.
    pub fn details(&self) -> Option<&Details> {
        self.details.as_deref()
    }
}

impl From<ParamFault> for ErrorShape {
    fn from(error: ParamFault) -> Self {
        Self::invalid(error.0)
    }
}

/// `error.details`: what a program may act on. Field names are the protocol's, but for `hint`,
/// `matches`, `fingerprints` and the `gateway…` pair, which are Barnacle's.
#[derive(Clone, Default, Debug, SerJson)]
#[allow(non_snake_case, missing_docs)]
pub struct Details {
    pub code: Option<String>,
    pub reason: Option<String>,
    pub authReason: Option<String>,
    pub canRetryWithDeviceToken: Option<bool>,
    pub recommendedNextStep: Option<String>,
    pub requestId: Option<String>,
    pub remediationHint: Option<String>,
    pub retryable: Option<bool>,
    pub pauseReconnect: Option<bool>,
    pub deviceId: Option<String>,
    pub requestedRole: Option<String>,
    pub requestedScopes: Option<Vec<String>>,
    pub approvedRoles: Option<Vec<String>>,
    pub approvedScopes: Option<Vec<String>>,
    pub missingScope: Option<String>,
    pub requiredScopes: Option<Vec<String>>,
    pub clientMinProtocol: Option<u64>,
    pub clientMaxProtocol: Option<u64>,
    pub expectedProtocol: Option<u64>,
    pub minimumProbeProtocol: Option<u64>,
    pub method: Option<String>,
    /// Errors of a configuration, key by key.
    pub issues: Option<Vec<Issue>>,
    /// The exact command or line that fixes it.
    pub hint: Option<String>,
    /// The other known source whose token was offered.
    pub matches: Option<String>,
    /// Eight digits of the SHA-256 of what was offered and of what this gateway runs with.
    pub fingerprints: Option<Fingerprints>,
    /// Boot id of the process that answered: differs between two gateways on one host.
    pub gatewayBootId: Option<String>,
    /// Start of that process, wall-clock milliseconds.
    pub gatewayStartedAtMs: Option<u64>,
}

/// An error or a warning about a configuration.
#[derive(Clone, Debug, SerJson)]
pub struct Issue {
    /// The key, dotted; empty where it is the file.
    pub path: String,
    /// Description of the problem.
    pub message: String,
}

/// Fingerprints of two tokens, which differ without giving either away.
#[derive(Clone, Debug, SerJson)]
pub struct Fingerprints {
    /// Fingerprint of the offered token.
    pub offered: String,
    /// Fingerprint of the token in force.
    pub expected: String,
}

/// Why a device has to wait for an operator: `details.reason` of `PAIRING_REQUIRED`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PairingReason {
    /// The device was never approved, or was removed.
    NotPaired,
    /// The device is approved, but not for this role (or this role was revoked).
    RoleUpgrade,
}

impl PairingReason {
    /// The reason as sent on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotPaired => "not-paired",
            Self::RoleUpgrade => "role-upgrade",
        }
    }

    /// The sentence that the protocol has for the reason.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::NotPaired => "pairing required: device is not approved yet",
            Self::RoleUpgrade => {
                "pairing required: device is asking for a higher role than currently approved"
            }
        }
    }
}

/// The command that approves `request`, for a hint.
pub fn approve_command(request: &RequestId) -> String {
    format!("barnacle devices approve {request}")
}

/// The words that say which role and scopes are meant.
pub fn role_phrase(role: Role, scopes: &[String]) -> String {
    if scopes.is_empty() { format!("role {role}") } else { format!("role {role} with {}", scopes.join(", ")) }
}
