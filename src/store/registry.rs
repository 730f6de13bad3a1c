//! The registry of devices, and the changes that keep it consistent.

use super::record::{Device, Display, GRACE_MS, Request, SETUP_CODE_MS, SetupCode, Tombstone, Via};
use crate::admission::{Source, limits};
use crate::protocol::{DeviceId, PublicKey, RequestId, Role, Scopes};
use std::{collections::BTreeMap, rc::Rc};

/// The source of a request.
fn source(request: &Request) -> Option<Source> {
    request.display.ip.as_ref()?.parse().ok().map(Source::of)
}

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
    /// Limit of pending requests.
    pub const REQUESTS: usize = 256;
    /// Most pending requests of unknown devices.
    pub const UNKNOWN: usize = 64;
    /// Most pending requests of one device for one role.
    pub const OF_ONE: usize = 4;
    /// Limit of remembered removed devices.
    pub const TOMBSTONES: usize = 256;

    /// A registry of the given parts, as read from a file. What was to expire was counted from the start of the
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

    /// Lists all devices, by id.
    pub fn devices(&self) -> impl ExactSizeIterator<Item = &Rc<Device>> {
        self.devices.values()
    }

    /// Finds a device by its id.
    pub fn device(&self, id: &DeviceId) -> Option<&Rc<Device>> {
        self.devices.get(id)
    }

    /// Finds a device by its id, to change it.
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

    /// Returns the tombstone of a removed device.
    pub fn tombstone(&self, id: &DeviceId) -> Option<&Tombstone> {
        self.removed.iter().find(|t| t.device == *id)
    }

    /// The removed devices, oldest first.
    pub fn removed(&self) -> &[Tombstone] {
        &self.removed
    }

    /// Lists pending requests, oldest first.
    pub fn requests(&self) -> &[Rc<Request>] {
        &self.requests
    }

    /// The pending requests of a device for a role, oldest first.
    pub fn requests_of(&self, key: &PublicKey, role: Role) -> impl Iterator<Item = &Rc<Request>> {
        self.requests.iter().filter(move |r| r.key == *key && r.role == role)
    }

    /// The pending request of a device that asks for `scopes` or more: for the same, else the oldest.
    pub fn request_covering(&self, key: &PublicKey, role: Role, scopes: Scopes) -> Option<&Rc<Request>> {
        let same = self.requests_of(key, role).find(|r| r.scopes == scopes);
        same.or_else(|| self.requests_of(key, role).find(|r| r.scopes.covers(scopes)))
    }

    /// Notes a request. One that a pending request of the device covers keeps that one's id; one that asks for more is
    /// a request of its own, so that an id stands for exactly what was listed under it. It pushes out the device's
    /// newest but one if the device has too many, and the oldest of the source that has most if there are too many of all. Returns
    /// the request's id, and whether it is new.
    pub fn request(&mut self, new: Request) -> (RequestId, bool) {
        if let Some(id) = self.request_covering(&new.key, new.role, new.scopes).map(|r| r.id.clone()) {
            let same = self.requests.iter_mut().find(|r| r.id == id);
            if let Some(old) = same.filter(|old| new.trusted && !old.trusted) {
                Rc::make_mut(old).trusted = true;
                self.dirty = true;
            }
            return (id, false);
        }
        if self.requests_of(&new.key, new.role).count() >= Self::OF_ONE {
            let newest = self.requests.iter().rposition(|r| r.key == new.key && r.role == new.role);
            newest.map(|at| self.requests.remove(at));
        }
        let id = new.id.clone();
        self.requests.push(Rc::new(new));
        self.dirty = true;
        let own = self.requests.last().and_then(|r| source(r));
        let of_own = |r: &Request| own.is_some() && source(r) == own;
        let unknown_requests = self.requests.iter().filter(|r| !r.trusted).count();
        if self.requests.iter().filter(|r| of_own(r)).count() > limits::REQUESTS_OF_ONE {
            self.make_room(of_own);
        } else if unknown_requests > Self::UNKNOWN {
            self.make_room(|r| !r.trusted);
        } else if self.requests.len() > Self::REQUESTS {
            self.make_room(|_| true);
        }
        (id, true)
    }

    /// Removes the oldest of the requests `which`, of the source that has most of them.
    fn make_room(&mut self, which: impl Fn(&Request) -> bool) {
        let mut counts: Vec<(Option<Source>, usize)> = Vec::new();
        for source in self.requests.iter().filter(|r| which(r)).map(|r| source(r)) {
            match counts.iter_mut().find(|(of, _)| *of == source) {
                Some((_, count)) => *count += 1,
                None => counts.push((source, 1)),
            }
        }
        // Of equal ones the one whose oldest is older.
        let most = counts.iter().map(|(_, count)| *count).max();
        let largest = counts.iter().find(|(_, count)| Some(*count) == most).map(|(of, _)| *of);
        if let Some(at) = self.requests.iter().position(|r| which(r) && Some(source(r)) == largest) {
            self.requests.remove(at);
        }
    }

    /// Removes a request and returns it.
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
        protocol::{Scope, TokenHash},
        store::{Access, Grant},
    };

    #[test]
    fn h10_an_id_stands_for_what_was_asked_under_it() {
        let [read, write, talk, admin] = [Scope::Read, Scope::Write, Scope::TalkSecrets, Scope::Admin]
            .map(|scope| [scope].into_iter().collect::<Scopes>());
        let mut registry = Registry::default();
        let mut ask = |id: &str, scopes| {
            let request = Request {
                id: RequestId(id.into()),
                key: PublicKey([1; 32]),
                role: Role::Operator,
                scopes,
                display: Display::default(),
                trusted: false,
                created_ms: 0,
            };
            let (id, new) = registry.request(request);
            let listed = registry.requests().iter().find(|r| r.id == id).map(|r| r.scopes);
            (id.0, new, listed)
        };
        assert_eq!(ask("a", write), ("a".into(), true, Some(write)));
        // The same, and less.
        assert_eq!(ask("b", write), ("a".into(), false, Some(write)));
        assert_eq!(ask("c", read), ("a".into(), false, Some(write)));
        // Something else, and more.
        assert_eq!(ask("d", talk), ("d".into(), true, Some(talk)));
        assert_eq!(ask("e", admin), ("e".into(), true, Some(admin)));
        assert_eq!(ask("f", talk), ("d".into(), false, Some(talk)));
        assert_eq!(ask("g", read), ("a".into(), false, Some(write)));
        let ids: Vec<_> = registry.requests().iter().map(|r| r.id.0.as_str()).collect();
        assert_eq!(ids, ["a", "d", "e"]);
        // An approval drops the requests that it answers, and leaves those for more.
        let request = registry.find_request("a").unwrap();
        registry.approve_request(&request, 0);
        let grant = registry.devices().next().and_then(|d| d.grant(Role::Operator)).map(|g| g.scopes);
        assert_eq!(grant, Some(write));
        let ids: Vec<_> = registry.requests().iter().map(|r| r.id.0.as_str()).collect();
        assert_eq!(ids, ["d", "e"]);
    }

    #[test]
    fn h10_one_device_has_few_requests() {
        let mut registry = Registry::default();
        for (n, scope) in Scope::ALL.into_iter().enumerate() {
            let (key, role, scopes) = (PublicKey([1; 32]), Role::Operator, [scope].into_iter().collect());
            let (id, display) = (RequestId(n.to_string()), Display::default());
            let first = registry.requests().first().cloned();
            registry.request(Request { id, key, role, scopes, display, trusted: true, created_ms: 0 });
            assert!(registry.requests().len() <= Registry::OF_ONE);
            assert!(first.is_none_or(|first| registry.requests().first() == Some(&first)));
        }
    }

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
