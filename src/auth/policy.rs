//! The policy: facts of a connect in, verdict out, nothing else.
//!
//! The strongest valid proof in the frame decides, never the weakest. A paired device that signs this
//! connection's nonce *is* that device, whatever has become of its bearer token; the shared credential
//! brings in new devices and serves local clients that have none; asking for more than was approved
//! costs a paired device nothing it has; and a revoked role waits for an operator, always.

use crate::{
    protocol::{PairingReason, Role, Scope, Scopes},
    store::{Access, Grant, Via},
};
use nanoserde::{DeBin, SerBin};
use std::time::Duration;

/// Check of the shared token or password in the frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shared {
    /// Right, or the auth mode asks for none.
    Good,
    /// Wrong.
    Wrong,
    /// Not offered.
    Missing,
    /// The gateway has none to compare with.
    NotConfigured,
}

/// Check of a bearer token against this device's tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bearer {
    /// Not offered.
    None,
    /// The current token, a previous one that is still honoured, or an imported one.
    Good,
    /// A token that this device had before a rotation or before it was removed.
    Old,
    /// A token of this device for another role.
    OtherRole(Role),
    /// A token this device never had; `explicit` if it was sent as `auth.deviceToken`.
    Unknown {
        /// Whether the client called it a device token.
        explicit: bool,
    },
}

/// Check of a setup code's bootstrap token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bootstrap {
    /// Not offered.
    None,
    /// Unspent, or spent by this very key.
    Good(Access),
    /// Unknown, expired, or spent by another key.
    Bad,
}

/// Everything the decision rests on.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Role that the client asks for.
    pub role: Role,
    /// Scopes that the client asks for.
    pub requested: Scopes,
    /// Whether a device was proven by its signature.
    pub device: bool,
    /// Whether the device is in the registry, for any role.
    pub known: bool,
    /// The device's grant for the role asked for.
    pub grant: Option<&'a Grant>,
    /// Whether the device was removed earlier.
    pub removed: bool,
    /// Check of the shared credential.
    pub shared: Shared,
    /// Check of the bearer token.
    pub bearer: Bearer,
    /// Check of the setup code.
    pub bootstrap: Bootstrap,
    /// Whether the peer is this host, speaking for itself.
    pub local: bool,
    /// `gateway.nodes.pairing.autoApproveLocal`.
    pub auto_approve_local: bool,
    /// `auth.deviceKeyProof`.
    pub key_proof: bool,
    /// For how long guesses from this address stay refused.
    pub locked: Option<Duration>,
    /// Whether the client calls itself the Control UI.
    pub control_ui: bool,
    /// Whether the config lets a Control UI in without a device.
    pub control_ui_without_device: bool,
}

/// The credential that an admitted connection depends on; the connection is closed when that is withdrawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, SerBin, DeBin)]
pub enum Basis {
    /// The device's key, by its signature.
    DeviceKey,
    /// The device's bearer token.
    DeviceToken,
    /// The shared token or password alone, or auth mode `none`.
    Shared,
    /// A setup code.
    SetupCode,
}

impl Basis {
    /// The word for logs and status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DeviceKey => "device-key",
            Self::DeviceToken => "device-token",
            Self::Shared => "shared",
            Self::SetupCode => "setup-code",
        }
    }
}

/// Decision about a connect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Admits the connection.
    Admit {
        /// Scopes of the connection.
        scopes: Scopes,
        /// Credential that the connection depends on.
        basis: Basis,
        /// Wider scopes that the client asked for, to note as a request.
        wider: Option<Scopes>,
    },
    /// Approve these grants on disk, then let it in.
    Approve {
        /// Roles with their scopes; the one asked for first.
        grants: Vec<(Role, Scopes)>,
        /// Way of approval, kept in the device's record.
        via: Via,
        /// Credential that the connection depends on.
        basis: Basis,
    },
    /// Note a request and have it wait for an operator.
    Wait {
        /// Reason that the refusal names.
        reason: PairingReason,
        /// Whether it comes from a paired device or with the shared credential.
        trusted: bool,
        /// Whether the role was revoked while the device still offers its dead token.
        dead_token: bool,
    },
    /// Refuses the connection.
    Refuse(Denied),
}

/// Reasons why nothing in the frame admits the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Denied {
    /// Neither a device nor a credential, or a role that needs a device.
    DeviceRequired,
    /// A Control UI from elsewhere without a device.
    ControlUiDeviceRequired,
    /// No shared credential was offered.
    SharedMissing,
    /// The shared credential is wrong; the flag says whether the device's own token would do.
    SharedMismatch(bool),
    /// No shared credential is configured on the gateway.
    SharedNotConfigured,
    /// The device's own token is wrong, and its key alone does not count here.
    DeviceTokenMismatch,
    /// The device's token is for another role.
    DeviceTokenOtherRole(Role),
    /// The setup code is no good.
    BootstrapInvalid,
    /// Too many guesses from this address.
    RateLimited(Duration),
}

/// Decides. See the module's text for the principles.
pub fn decide(f: &Facts<'_>) -> Verdict {
    match (f.device, f.grant) {
        (false, _) => without_device(f),
        (true, Some(grant)) if grant.revoked_ms.is_some() => Verdict::Wait {
            reason: PairingReason::RoleUpgrade,
            trusted: true,
            dead_token: matches!(f.bearer, Bearer::Good | Bearer::Old),
        },
        (true, Some(grant)) => paired(f, grant),
        (true, None) => unpaired(f),
    }
}

fn shared_proven(f: &Facts<'_>) -> bool {
    f.shared == Shared::Good && f.locked.is_none()
}

fn silently(f: &Facts<'_>) -> bool {
    shared_proven(f) && f.local && f.auto_approve_local
}

fn paired(f: &Facts<'_>, grant: &Grant) -> Verdict {
    let basis = match f.bearer {
        Bearer::Good => Basis::DeviceToken,
        _ if f.key_proof => Basis::DeviceKey,
        _ if matches!(f.bootstrap, Bootstrap::Good(_)) => Basis::SetupCode,
        _ if shared_proven(f) => Basis::Shared,
        bearer => return Verdict::Refuse(bearer_fault(f, bearer)),
    };
    if grant.scopes.covers(f.requested) {
        return Verdict::Admit { scopes: f.requested, basis, wider: None };
    }
    if silently(f) {
        return Verdict::Approve { grants: vec![(f.role, f.requested)], via: Via::Silent, basis };
    }
    Verdict::Admit { scopes: f.requested.granted(grant.scopes), basis, wider: Some(f.requested) }
}

/// Only reached where `deviceKeyProof` is off: a key alone is then not enough.
fn bearer_fault(f: &Facts<'_>, bearer: Bearer) -> Denied {
    match bearer {
        Bearer::OtherRole(role) => Denied::DeviceTokenOtherRole(role),
        Bearer::Old | Bearer::Unknown { explicit: true } => Denied::DeviceTokenMismatch,
        _ => shared_fault(f),
    }
}

fn unpaired(f: &Facts<'_>) -> Verdict {
    if let Bootstrap::Good(access) = f.bootstrap
        && let Some(grants) = setup_grants(access, f.role)
    {
        return Verdict::Approve { grants, via: Via::SetupCode, basis: Basis::SetupCode };
    }
    if silently(f) {
        let grants = vec![(f.role, f.requested)];
        return Verdict::Approve { grants, via: Via::Silent, basis: Basis::Shared };
    }
    if f.known {
        return Verdict::Wait { reason: PairingReason::RoleUpgrade, trusted: true, dead_token: false };
    }
    let wait = |trusted| Verdict::Wait { reason: PairingReason::NotPaired, trusted, dead_token: false };
    if shared_proven(f) {
        return wait(true);
    }
    let was_paired = f.removed || matches!(f.bearer, Bearer::Old | Bearer::Good | Bearer::OtherRole(_));
    let claims_paired = f.bearer == Bearer::Unknown { explicit: true } && f.shared != Shared::Wrong;
    let node_without_credential = f.role == Role::Node && f.shared == Shared::Missing;
    if f.bootstrap == Bootstrap::Bad {
        return Verdict::Refuse(Denied::BootstrapInvalid);
    }
    if was_paired || claims_paired || node_without_credential {
        return wait(false);
    }
    Verdict::Refuse(shared_fault(f))
}

fn without_device(f: &Facts<'_>) -> Verdict {
    if f.role == Role::Node {
        return Verdict::Refuse(Denied::DeviceRequired);
    }
    if !shared_proven(f) {
        let nothing = f.shared == Shared::Missing && f.locked.is_none();
        return Verdict::Refuse(match nothing {
            true if f.control_ui => Denied::ControlUiDeviceRequired,
            true => Denied::DeviceRequired,
            false => shared_fault(f),
        });
    }
    let excepted = f.control_ui && f.control_ui_without_device;
    if f.control_ui && !f.local && !excepted {
        return Verdict::Refuse(Denied::ControlUiDeviceRequired);
    }
    let scopes = if f.local || excepted { f.requested } else { Scopes::NONE };
    Verdict::Admit { scopes, basis: Basis::Shared, wider: None }
}

fn shared_fault(f: &Facts<'_>) -> Denied {
    match (f.shared, f.locked) {
        (Shared::Good | Shared::Wrong, Some(left)) => Denied::RateLimited(left),
        (Shared::Missing, _) => Denied::SharedMissing,
        (Shared::NotConfigured, _) => Denied::SharedNotConfigured,
        (Shared::Good | Shared::Wrong, None) => Denied::SharedMismatch(f.grant.is_some()),
    }
}

/// Grants of a setup code for a device that connects as `role`; `None` if it grants that role nothing.
///
/// The operator's part is bounded on purpose, as in OpenClaw: no pairing and no admin, unless the code
/// was made for full access.
fn setup_grants(access: Access, role: Role) -> Option<Vec<(Role, Scopes)>> {
    let limited = [Scope::Read, Scope::Write, Scope::Approvals, Scope::Questions, Scope::TalkSecrets];
    let operator = match access {
        Access::Full => Some(Scope::ALL.into_iter().collect()),
        Access::Limited => Some(limited.into_iter().collect()),
        Access::Node => None,
    };
    let node = (Role::Node, Scopes::NONE);
    match (role, operator) {
        (Role::Node, None) => Some(vec![node]),
        (Role::Node, Some(scopes)) => Some(vec![node, (Role::Operator, scopes)]),
        (Role::Operator, Some(scopes)) => Some(vec![(Role::Operator, scopes), node]),
        (Role::Operator, None) => None,
    }
}
