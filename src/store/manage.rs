//! What an operator does to the book, whoever passes it on: a method of the gateway, or the command line
//! where no gateway runs. Who may do it is asked elsewhere.

use super::{
    record::{Request, Via},
    registry::Registry,
};
use crate::protocol::{DeviceId, ErrorShape, Role, Scopes};
use std::{fmt, rc::Rc};

/// Longest label, characters; as `DevicePairRenameParams`.
const LONGEST_LABEL: usize = 64;

/// Why the book is left as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unfit {
    /// Nothing waits under this name.
    NoRequest(String),
    /// No such device.
    NoDevice(String),
    /// The device was never approved for the role.
    NoRole(DeviceId, Role),
    /// The role is revoked.
    Revoked(DeviceId, Role),
    /// More scopes (the first) than were approved (the second).
    Wider(Scopes, Scopes),
    /// A label that is empty or too long.
    Label,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRequest(id) => write!(f, "unknown requestId: {id}; see barnacle devices list"),
            Self::NoDevice(id) => write!(f, "unknown deviceId: {id}; see barnacle devices list"),
            Self::NoRole(id, role) => write!(f, "device token denied: {id} has no role {role}"),
            Self::Revoked(id, role) => {
                write!(
                    f,
                    "device token rotate denied: role {role} of {id} is revoked; approve it again first"
                )
            }
            Self::Wider(wanted, approved) => {
                write!(f, "device token rotate denied: [{wanted}] is more than the approved [{approved}]")
            }
            Self::Label => write!(
                f,
                "invalid device.pair.rename params: at /label: must have 1 to {LONGEST_LABEL} characters"
            ),
        }
    }
}

impl From<Unfit> for ErrorShape {
    fn from(unfit: Unfit) -> Self {
        Self::invalid(unfit.to_string())
    }
}

impl Registry {
    /// Finds a request by its own id, or by the device that made it.
    ///
    /// # Errors
    /// [`Unfit::NoRequest`].
    pub fn find_request(&self, wanted: &str) -> Result<Rc<Request>, Unfit> {
        let by_id = self.requests().iter().find(|r| r.id.0 == wanted);
        let of = |d: DeviceId| self.requests().iter().find(move |r| r.key.device_id() == d);
        let found = by_id.or_else(|| DeviceId::parse(wanted).and_then(of));
        found.cloned().ok_or_else(|| Unfit::NoRequest(wanted.into()))
    }

    /// Finds a device by its id in hexadecimal digits.
    ///
    /// # Errors
    /// [`Unfit::NoDevice`].
    pub fn find_device(&self, wanted: &str) -> Result<DeviceId, Unfit> {
        let known = DeviceId::parse(wanted).filter(|id| self.device(id).is_some());
        known.ok_or_else(|| Unfit::NoDevice(wanted.into()))
    }

    /// Approves what `request` asks for, and takes it out.
    pub fn approve_request(&mut self, request: &Request, now_ms: u64) {
        self.take_request(&request.id);
        let Request { key, role, scopes, ref display, .. } = *request;
        self.approve(key, role, scopes, display, Via::Operator, now_ms);
    }

    /// Gives a device the operator's own name for it; returns it as it is kept.
    ///
    /// # Errors
    /// [`Unfit::Label`], [`Unfit::NoDevice`].
    pub fn rename(&mut self, id: &DeviceId, label: &str) -> Result<String, Unfit> {
        let label = label.trim().to_owned();
        if label.is_empty() || label.chars().count() > LONGEST_LABEL {
            return Err(Unfit::Label);
        }
        let device = self.device_mut(id).ok_or_else(|| Unfit::NoDevice(id.to_string()))?;
        device.label = Some(label.clone());
        Ok(label)
    }

    /// Starts a new token generation, and narrows the role to `scopes` if some are named. The replaced
    /// token counts until `grace_ms` (see [`Grant::grace_ms`](super::Grant)). Returns the scopes and the
    /// generation.
    ///
    /// # Errors
    /// Where the role cannot be had, is revoked, or was approved for less.
    pub fn rotate(
        &mut self,
        id: &DeviceId,
        role: Role,
        scopes: Option<Scopes>,
        now_ms: u64,
        grace_ms: u64,
    ) -> Result<(Scopes, u32), Unfit> {
        let device = self.device_mut(id).ok_or_else(|| Unfit::NoDevice(id.to_string()))?;
        let grant = device.grant_mut(role).ok_or(Unfit::NoRole(*id, role))?;
        if grant.revoked_ms.is_some() {
            return Err(Unfit::Revoked(*id, role));
        }
        if let Some(scopes) = scopes {
            if !grant.scopes.covers(scopes) {
                return Err(Unfit::Wider(scopes, grant.scopes));
            }
            grant.scopes = scopes;
        }
        grant.generation += 1;
        grant.rotated_ms = Some(now_ms);
        grant.grace_ms = Some(grace_ms);
        grant.imported = None;
        Ok((grant.scopes, grant.generation))
    }

    /// Ends a role: every token of it is dead, and only an operator's approval brings it back. Returns
    /// when it was first revoked.
    ///
    /// # Errors
    /// [`Unfit::NoDevice`], [`Unfit::NoRole`].
    pub fn revoke(&mut self, id: &DeviceId, role: Role, now_ms: u64) -> Result<u64, Unfit> {
        let device = self.device_mut(id).ok_or_else(|| Unfit::NoDevice(id.to_string()))?;
        let grant = device.grant_mut(role).ok_or(Unfit::NoRole(*id, role))?;
        grant.grace_ms = None;
        grant.imported = None;
        Ok(*grant.revoked_ms.get_or_insert(now_ms))
    }
}
