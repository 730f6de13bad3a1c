//! Changes of the registry by an operator. Whether the caller may make them is decided elsewhere.

use super::{
    record::{Request, Via},
    registry::Registry,
};
use crate::protocol::{DeviceId, RequestId, Role, Scopes};
use std::rc::Rc;

/// Longest label, characters; as `DevicePairRenameParams`.
const LONGEST_LABEL: usize = 64;

/// Why the registry is left as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RegistryError {
    /// No request has this id.
    NoRequest(String),
    /// The device has several requests, and its id names none of them.
    SeveralRequests(Vec<RequestId>),
    /// No device has this id.
    NoDevice(String),
    /// The device was never approved for the role.
    NoRole(DeviceId, Role),
    /// The device's role is revoked already.
    Revoked(DeviceId, Role),
    /// More scopes (the first) than were approved (the second).
    Wider(Scopes, Scopes),
    /// A label that is empty, or longer than so many characters.
    Label(usize),
}

impl Registry {
    /// Finds a request by its own id, or by the device that made it, if it is the only one.
    ///
    /// # Errors
    /// [`RegistryError::NoRequest`], [`RegistryError::SeveralRequests`].
    pub fn find_request(&self, wanted: &str) -> Result<Rc<Request>, RegistryError> {
        if let Some(request) = self.requests().iter().find(|r| r.id.0 == wanted) {
            return Ok(request.clone());
        }
        let device = DeviceId::parse(wanted);
        let of_device = |r: &&Rc<Request>| Some(r.key.device_id()) == device;
        let found: Vec<_> = self.requests().iter().filter(of_device).collect();
        match found[..] {
            [] => Err(RegistryError::NoRequest(wanted.into())),
            [request] => Ok(request.clone()),
            _ => Err(RegistryError::SeveralRequests(found.iter().map(|r| r.id.clone()).collect())),
        }
    }

    /// Finds a device by its id in hexadecimal digits.
    ///
    /// # Errors
    /// [`RegistryError::NoDevice`].
    pub fn find_device(&self, wanted: &str) -> Result<DeviceId, RegistryError> {
        let known = DeviceId::parse(wanted).filter(|id| self.device(id).is_some());
        known.ok_or_else(|| RegistryError::NoDevice(wanted.into()))
    }

    /// Approves exactly what `request` asks for. Returns the requests that this answers: it, and those of the device
    /// for no more.
    pub fn approve_request(&mut self, request: &Request, now_ms: u64) -> Vec<Rc<Request>> {
        let Request { key, role, scopes, ref display, .. } = *request;
        let mut answered: Vec<_> = self.requests_of(&key, role).cloned().collect();
        self.approve(key, role, scopes, display, Via::Operator, now_ms);
        answered.retain(|r| !self.requests().contains(r));
        answered
    }

    /// Gives a device the operator's own name for it; returns it as it is kept.
    ///
    /// # Errors
    /// [`RegistryError::Label`], [`RegistryError::NoDevice`].
    pub fn rename(&mut self, id: &DeviceId, label: &str) -> Result<String, RegistryError> {
        let label = label.trim().to_owned();
        if label.is_empty() || label.chars().count() > LONGEST_LABEL {
            return Err(RegistryError::Label(LONGEST_LABEL));
        }
        let device = self.device_mut(id).ok_or_else(|| RegistryError::NoDevice(id.to_string()))?;
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
    ) -> Result<(Scopes, u32), RegistryError> {
        let device = self.device_mut(id).ok_or_else(|| RegistryError::NoDevice(id.to_string()))?;
        let grant = device.grant_mut(role).ok_or(RegistryError::NoRole(*id, role))?;
        if grant.revoked_ms.is_some() {
            return Err(RegistryError::Revoked(*id, role));
        }
        if let Some(scopes) = scopes {
            if !grant.scopes.covers(scopes) {
                return Err(RegistryError::Wider(scopes, grant.scopes));
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
    /// [`RegistryError::NoDevice`], [`RegistryError::NoRole`].
    pub fn revoke(&mut self, id: &DeviceId, role: Role, now_ms: u64) -> Result<u64, RegistryError> {
        let device = self.device_mut(id).ok_or_else(|| RegistryError::NoDevice(id.to_string()))?;
        let grant = device.grant_mut(role).ok_or(RegistryError::NoRole(*id, role))?;
        grant.grace_ms = None;
        grant.imported = None;
        Ok(*grant.revoked_ms.get_or_insert(now_ms))
    }
}
