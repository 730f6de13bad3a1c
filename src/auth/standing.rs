//! Standing: whether a connection that was admitted may stay, now that the shared secret, the auth mode or an
//! approval may have changed. Facts in, verdict out, as in [`decide`](super::decide).
//!
//! A reload, the preview of one, the last look of a handshake and the restore after a hand-over all ask here, so
//! a connection is closed by one rule whichever way it learns of a change:
//!
//! - A device stands by its own approval: it stays as long as the registry holds it and its role is granted,
//!   whatever else it showed when it came (promises 3 and 6). One that has just paired with the shared token is
//!   such a device.
//! - A connection without a device stands by the shared secret: it stays as long as that secret lets it in.

use crate::{
    protocol::{Role, TokenHash},
    store::Device,
};
use nanoserde::{DeBin, SerBin};

/// Requirements for a connection that has no device.
#[derive(Clone, Default, PartialEq, Eq, Debug, SerBin, DeBin)]
pub struct SharedAuth {
    /// Whether it asks for nothing: auth mode `none`.
    pub open: bool,
    /// Hash of the shared token or password, if there is one.
    pub secret: Option<TokenHash>,
}

/// State of a device's approval for the role that its connection has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Approval {
    /// The role is granted.
    Granted,
    /// The role was revoked, or is granted no longer.
    Revoked,
    /// The registry does not hold the device.
    Removed,
}

impl Approval {
    /// The approval of `role` in a device's registry record.
    pub fn of(record: Option<&Device>, role: Role) -> Self {
        match record.map(|device| device.grant(role)) {
            None => Self::Removed,
            Some(Some(grant)) if grant.revoked_ms.is_none() => Self::Granted,
            Some(_) => Self::Revoked,
        }
    }
}

/// Everything the verdict depends on.
#[derive(Clone, Copy, Debug)]
pub struct StandingFacts<'a> {
    /// Approval of the connection's device; `None` without a device.
    pub approval: Option<Approval>,
    /// Requirements at the time of admission.
    pub old: &'a SharedAuth,
    /// Requirements now.
    pub new: &'a SharedAuth,
}

/// Why a connection may not stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lost {
    /// The shared secret or the auth mode that admitted it is no longer the gateway's.
    AuthChanged,
    /// The connection's device was removed.
    DeviceRemoved,
    /// The role of the connection's device was revoked.
    RoleRevoked,
    /// The node was removed. Only the caller that removes it knows this; of a role it is a revocation.
    NodeRemoved,
}

impl Lost {
    /// The close code and reason. Source of 4001: OpenClaw's gateway.
    pub const fn close(self) -> (u16, &'static str) {
        match self {
            Self::AuthChanged => (4001, "gateway auth changed"),
            Self::DeviceRemoved => (1008, "device removed: pair it again with an operator's approval"),
            Self::RoleRevoked => (1008, "device token revoked: an operator must approve this role again"),
            Self::NodeRemoved => (1008, "node removed: an operator must approve it again"),
        }
    }
}

/// Decides whether a connection may stay; `Some` is why not.
pub fn standing(f: &StandingFacts<'_>) -> Option<Lost> {
    match f.approval {
        Some(Approval::Granted) => None,
        Some(Approval::Revoked) => Some(Lost::RoleRevoked),
        Some(Approval::Removed) => Some(Lost::DeviceRemoved),
        None if f.new.open => None,
        // It need not have shown any secret.
        None if f.old.open => Some(Lost::AuthChanged),
        None => (f.old.secret.is_none() || f.old.secret != f.new.secret).then_some(Lost::AuthChanged),
    }
}

#[cfg(test)]
mod tests {
    use super::{Approval::*, Lost::*, *};

    #[test]
    fn who_may_stay() {
        let [open, bare, one, two] = [(true, None), (false, None), (false, Some("1")), (false, Some("2"))]
            .map(|(open, secret)| SharedAuth { open, secret: secret.map(TokenHash::of) });
        let open_with_secret = SharedAuth { open: true, ..one.clone() };
        let rows = [
            // A device stands by its approval, whatever becomes of the shared secret.
            (Some(Granted), &one, &one, None),
            (Some(Granted), &one, &two, None),
            (Some(Granted), &open, &two, None),
            (Some(Granted), &one, &bare, None),
            (Some(Revoked), &one, &one, Some(RoleRevoked)),
            (Some(Revoked), &one, &two, Some(RoleRevoked)),
            (Some(Revoked), &one, &open, Some(RoleRevoked)),
            (Some(Removed), &one, &one, Some(DeviceRemoved)),
            (Some(Removed), &one, &open, Some(DeviceRemoved)),
            // Without a device, by the shared secret.
            (None, &one, &one, None),
            (None, &one, &two, Some(AuthChanged)),
            (None, &one, &bare, Some(AuthChanged)),
            (None, &bare, &bare, Some(AuthChanged)),
            (None, &bare, &one, Some(AuthChanged)),
            (None, &one, &open, None),
            (None, &open, &open, None),
            (None, &open, &one, Some(AuthChanged)),
            (None, &open_with_secret, &one, Some(AuthChanged)),
            (None, &one, &open_with_secret, None),
        ];
        for (approval, old, new, lost) in rows {
            let facts = StandingFacts { approval, old, new };
            assert_eq!(standing(&facts), lost, "{facts:?}");
        }
    }

    #[test]
    fn close_codes_and_reasons() {
        assert_eq!(AuthChanged.close(), (4001, "gateway auth changed"));
        for lost in [AuthChanged, DeviceRemoved, RoleRevoked, NodeRemoved] {
            let (code, reason) = lost.close();
            assert!(code == if lost == AuthChanged { 4001 } else { 1008 });
            assert!(reason.len() <= 123, "RFC 6455 §5.5: {reason}");
        }
    }
}
