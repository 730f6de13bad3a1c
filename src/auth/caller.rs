//! Callers: which devices one may see and change.

use crate::protocol::{DeviceId, Scope, Scopes};

/// The client that asks to see or change devices.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// Operator scopes of its connection.
    pub scopes: Scopes,
    /// Id of its device, if it has one.
    pub device: Option<DeviceId>,
}

impl Caller {
    /// The owner of this host, by the command line.
    pub fn host() -> Self {
        Self { scopes: [Scope::Admin].into_iter().collect(), device: None }
    }

    /// Whether it is an administrator.
    pub fn is_admin(&self) -> bool {
        self.scopes.allows(Scope::Admin)
    }

    /// Whether it may see and change `device`: a caller without `operator.admin` and with a device of its own manages
    /// only that one. The one rule for methods, lists and events. Source: `docs/gateway/protocol/auth.md`.
    pub fn manages(&self, device: &DeviceId) -> bool {
        self.is_admin() || self.device.is_none_or(|own| own == *device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_without_admin_manages_only_itself() {
        let (own, other) = (DeviceId([1; 32]), DeviceId([2; 32]));
        let rows = [
            (Scope::Pairing, Some(own), own, true),
            (Scope::Pairing, Some(own), other, false),
            (Scope::Write, Some(own), other, false),
            (Scope::Admin, Some(own), other, true),
            (Scope::Pairing, None, other, true),
        ];
        for (scope, device, about, manages) in rows {
            let caller = Caller { scopes: [scope].into_iter().collect(), device };
            assert_eq!(caller.manages(&about), manages, "{caller:?} {about:?}");
        }
    }
}
