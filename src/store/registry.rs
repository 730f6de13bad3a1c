//! The book of devices, and the changes that keep it consistent.

use super::record::{Device, Display, GRACE_MS, Request, SETUP_CODE_MS, SetupCode, Tombstone, Via};
use crate::protocol::{DeviceId, PublicKey, RequestId, Role, Scopes};
use std::{collections::BTreeMap, rc::Rc};

/// Everything that is kept. Cloning and comparing are cheap: devices are shared until changed.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Registry {
    devices: BTreeMap<DeviceId, Rc<Device>>,
    requests: Vec<Rc<Request>>,
    setup_codes: Vec<SetupCode>,
    removed: Vec<Tombstone>,
    dirty: bool,
}

impl Registry {
    /// Most pending requests of all, and of strangers among them.
    pub const REQUESTS: usize = 256;
    /// Most pending requests of strangers.
    pub const STRANGERS: usize = 64;
    /// Most removed devices remembered.
    pub const TOMBSTONES: usize = 256;

    /// A book of the given parts, as read from a file. What was to expire was counted from the start of the
    /// process that wrote it, so none of it may have longer to go than it was given.
    pub fn from_parts(
        mut devices: Vec<Device>,
        requests: Vec<Request>,
        mut setup_codes: Vec<SetupCode>,
        removed: Vec<Tombstone>,
    ) -> Self {
        for grace in devices.iter_mut().flat_map(|d| &mut d.grants).filter_map(|g| g.grace_ms.as_mut()) {
            *grace = GRACE_MS.min(*grace);
        }
        for code in &mut setup_codes {
            code.left_ms = SETUP_CODE_MS.min(code.left_ms);
        }
        Self {
            devices: devices.into_iter().map(|d| (d.id(), Rc::new(d))).collect(),
            requests: requests.into_iter().map(Rc::new).collect(),
            setup_codes,
            removed,
            dirty: false,
        }
    }

    /// Whether it was changed since [`Registry::settle`].
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Takes the present state as unchanged; tells whether it was changed.
    pub fn settle(&mut self) -> bool {
        std::mem::take(&mut self.dirty)
    }

    /// Every device, by id.
    pub fn devices(&self) -> impl ExactSizeIterator<Item = &Rc<Device>> {
        self.devices.values()
    }

    /// A device by id.
    pub fn device(&self, id: &DeviceId) -> Option<&Rc<Device>> {
        self.devices.get(id)
    }

    /// A device by id, to change it.
    pub fn device_mut(&mut self, id: &DeviceId) -> Option<&mut Device> {
        let device = self.devices.get_mut(id)?;
        self.dirty = true;
        Some(Rc::make_mut(device))
    }

    /// Adds a device, in place of any with the same key; it is no longer a removed one.
    pub fn insert(&mut self, device: Device) {
        self.dirty = true;
        let id = device.id();
        self.removed.retain(|t| t.device != id);
        self.devices.insert(id, Rc::new(device));
    }

    /// Approves `role` with `scopes` for `key`, adding the device if it is new, and drops the request it
    /// answers.
    pub fn approve(
        &mut self,
        key: PublicKey,
        role: Role,
        scopes: Scopes,
        display: &Display,
        via: Via,
        now_ms: u64,
    ) -> &mut Device {
        let id = key.device_id();
        self.requests.retain(|r| !(r.key == key && r.role == role && scopes.covers(r.scopes)));
        self.dirty = true;
        let buried = self.removed.iter().find(|t| t.device == id).map_or(0, |t| t.generation);
        self.removed.retain(|t| t.device != id);
        let slot =
            self.devices.entry(id).or_insert_with(|| Rc::new(Device::new(key, display.clone(), via, now_ms)));
        let device = Rc::make_mut(slot);
        let fresh = device.grants.is_empty();
        device.approve(role, scopes, via, now_ms);
        if fresh {
            device.grants.iter_mut().for_each(|g| g.generation += buried);
        }
        device
    }

    /// Removes a device with its requests and the setup codes it spent, and remembers that it was removed.
    pub fn remove(&mut self, id: &DeviceId, now_ms: u64) -> Option<Rc<Device>> {
        let device = self.devices.remove(id)?;
        self.dirty = true;
        self.requests.retain(|r| r.key != device.key);
        self.setup_codes.retain(|c| c.spent.is_none_or(|(by, _)| by != *id));
        self.removed.retain(|t| t.device != *id);
        let generation = device.grants.iter().map(|g| g.generation).max().unwrap_or(0);
        self.removed.push(Tombstone { device: *id, removed_ms: now_ms, generation });
        if self.removed.len() > Self::TOMBSTONES {
            self.removed.remove(0);
        }
        Some(device)
    }

    /// When a device that is not here was removed.
    pub fn tombstone(&self, id: &DeviceId) -> Option<&Tombstone> {
        self.removed.iter().find(|t| t.device == *id)
    }

    /// The removed devices, oldest first.
    pub fn removed(&self) -> &[Tombstone] {
        &self.removed
    }

    /// Pending requests, oldest first.
    pub fn requests(&self) -> &[Rc<Request>] {
        &self.requests
    }

    /// The pending request of a device for a role.
    pub fn request_of(&self, key: &PublicKey, role: Role) -> Option<&Rc<Request>> {
        self.requests.iter().find(|r| r.key == *key && r.role == role)
    }

    /// Notes a request: the one this device already has for the role grows, keeping its id; else it is
    /// added, pushing out the oldest stranger's when there are too many. Returns the request's id, and
    /// whether it is new.
    pub fn request(&mut self, new: Request) -> (RequestId, bool) {
        if let Some(old) = self.requests.iter_mut().find(|r| r.key == new.key && r.role == new.role) {
            let scopes = old.scopes.union(new.scopes);
            if scopes != old.scopes || (new.trusted && !old.trusted) {
                let old = Rc::make_mut(old);
                old.scopes = scopes;
                old.trusted |= new.trusted;
                self.dirty = true;
            }
            return (old.id.clone(), false);
        }
        let id = new.id.clone();
        self.requests.push(Rc::new(new));
        self.dirty = true;
        let unknown_requests = self.requests.iter().filter(|r| !r.trusted).count();
        if unknown_requests > Self::STRANGERS {
            if let Some(at) = self.requests.iter().position(|r| !r.trusted) {
                self.requests.remove(at);
            }
        } else if self.requests.len() > Self::REQUESTS {
            self.requests.remove(0);
        }
        (id, true)
    }

    /// Takes a request out.
    pub fn take_request(&mut self, id: &RequestId) -> Option<Rc<Request>> {
        let at = self.requests.iter().position(|r| r.id == *id)?;
        self.dirty = true;
        Some(self.requests.remove(at))
    }

    /// Drops every request that `keep` does not want.
    pub fn retain_requests(&mut self, mut keep: impl FnMut(&Request) -> bool) {
        let before = self.requests.len();
        self.requests.retain(|r| keep(r));
        self.dirty |= self.requests.len() != before;
    }

    /// Setup codes, spent or not.
    pub fn setup_codes(&self) -> &[SetupCode] {
        &self.setup_codes
    }

    /// Setup codes, to change them.
    pub fn setup_codes_mut(&mut self) -> &mut Vec<SetupCode> {
        self.dirty = true;
        &mut self.setup_codes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        protocol::TokenHash,
        store::{Access, Grant},
    };

    #[test]
    fn a_restart_gives_nothing_more_time_than_it_had() {
        let month = 30 * 24 * 3_600_000;
        let mut device = Device::new(PublicKey([1; 32]), Display::default(), Via::Operator, 0);
        let grant = Grant::new(Role::Operator, Scopes::NONE, 0);
        device.grants = vec![Grant { grace_ms: Some(month + GRACE_MS), ..grant }];
        let code = SetupCode {
            id: RequestId("code".into()),
            hash: TokenHash([2; 32]),
            access: Access::Full,
            spent: None,
            left_ms: month + SETUP_CODE_MS,
        };
        let registry = Registry::from_parts(vec![device], Vec::new(), vec![code], Vec::new());
        assert_eq!(registry.setup_codes()[0].left_ms, SETUP_CODE_MS);
        let grace = registry.devices().next().and_then(|d| d.grants[0].grace_ms);
        assert_eq!(grace, Some(GRACE_MS));
    }
}
