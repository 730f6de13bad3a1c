//! The book of devices: plain data and the changes that keep it consistent.
//!
//! Times are wall-clock milliseconds since 1970 and only ever shown; nothing is decided by them, since
//! a board's clock may be years off. What expires carries the milliseconds it has left instead.

use crate::protocol::{DeviceId, PublicKey, RequestId, Role, Scopes, TokenHash};
use nanoserde::{DeBin, SerBin};
use std::{collections::BTreeMap, rc::Rc};

/// How a device came to be approved; shown to operators as `approvedVia`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, SerBin, DeBin)]
pub enum Via {
    /// A local client that proved the shared credential.
    Silent,
    /// An operator approved the request.
    Operator,
    /// A setup code was spent.
    SetupCode,
    /// Brought over by `barnacle import`.
    Import,
}

impl Via {
    /// The wire word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Operator => "owner",
            Self::SetupCode => "setup-code",
            Self::Import => "import",
        }
    }
}

/// What a client says of itself: shown, logged, and never a reason to refuse it.
#[derive(Clone, Default, PartialEq, Eq, Debug, SerBin, DeBin)]
pub struct Display {
    /// `client.displayName`.
    pub name: Option<String>,
    /// `client.platform`.
    pub platform: Option<String>,
    /// `client.deviceFamily`.
    pub family: Option<String>,
    /// `client.modelIdentifier`.
    pub model: Option<String>,
    /// `client.version`.
    pub version: Option<String>,
    /// `client.id`.
    pub client_id: Option<String>,
    /// `client.mode`.
    pub client_mode: Option<String>,
    /// The address it last asked from.
    pub ip: Option<String>,
}

/// A role of a device: what was approved, and which token generation is current.
#[derive(Clone, PartialEq, Eq, Debug, SerBin, DeBin)]
pub struct Grant {
    /// The role.
    pub role: Role,
    /// The approved scopes; empty for nodes. Nothing but an operator's rotate narrows them.
    pub scopes: Scopes,
    /// The current token's generation, from 1; see [`Key::device_token`](super::Key::device_token).
    pub generation: u32,
    /// When it was approved.
    pub created_ms: u64,
    /// When its token was last rotated.
    pub rotated_ms: Option<u64>,
    /// When it was revoked; a revoked role waits for an operator.
    pub revoked_ms: Option<u64>,
    /// Milliseconds for which the previous generation's token still counts, from the moment the book
    /// was loaded; `None` once the device has used the current one.
    pub grace_ms: Option<u64>,
    /// The token an imported device still holds, until it is handed its derived one.
    pub imported: Option<TokenHash>,
}

impl Grant {
    /// A fresh grant of generation 1.
    pub fn new(role: Role, scopes: Scopes, now_ms: u64) -> Self {
        Self {
            role,
            scopes,
            generation: 1,
            created_ms: now_ms,
            rotated_ms: None,
            revoked_ms: None,
            grace_ms: None,
            imported: None,
        }
    }
}

/// What a node may do: capability names, command names, permissions.
#[derive(Clone, Default, PartialEq, Eq, Debug, SerBin, DeBin)]
pub struct Surface {
    /// High-level categories (`camera`, `canvas` …).
    pub caps: Vec<String>,
    /// Commands it may be invoked with.
    pub commands: Vec<String>,
    /// Granular switches.
    pub permissions: BTreeMap<String, bool>,
}

impl Surface {
    /// Whether every capability and command of `other` is in this one.
    pub fn covers(&self, other: &Self) -> bool {
        other.caps.iter().all(|c| self.caps.contains(c))
            && other.commands.iter().all(|c| self.commands.contains(c))
    }
}

/// A node's wish for a wider surface. It never expires: the device is paired.
#[derive(Clone, PartialEq, Eq, Debug, SerBin, DeBin)]
pub struct NodeRequest {
    /// Stable while the node repeats itself.
    pub id: RequestId,
    /// What it declared.
    pub surface: Surface,
    /// When it first asked.
    pub created_ms: u64,
}

/// The node side of a device.
#[derive(Clone, Default, PartialEq, Eq, Debug, SerBin, DeBin)]
pub struct Node {
    /// The approved surface.
    pub approved: Surface,
    /// When it was approved; `None` while nothing was.
    pub approved_ms: Option<u64>,
    /// A wider surface that waits.
    pub pending: Option<NodeRequest>,
}

/// A paired device. Its id is the hash of its key.
#[derive(Clone, PartialEq, Eq, Debug, SerBin, DeBin)]
pub struct Device {
    /// The pinned key.
    pub key: PublicKey,
    /// At most one grant a role.
    pub grants: Vec<Grant>,
    /// The operator's own name for it.
    pub label: Option<String>,
    /// What it says of itself.
    pub display: Display,
    /// How it was approved.
    pub via: Via,
    /// When it was first approved.
    pub created_ms: u64,
    /// When anything of it was last approved.
    pub approved_ms: u64,
    /// When it was last seen, to the hour.
    pub seen_ms: Option<u64>,
    /// Its node side, once it connected as one.
    pub node: Node,
}

impl Device {
    /// A device without any grant yet.
    pub fn new(key: PublicKey, display: Display, via: Via, now_ms: u64) -> Self {
        Self {
            key,
            grants: Vec::new(),
            label: None,
            display,
            via,
            created_ms: now_ms,
            approved_ms: now_ms,
            seen_ms: None,
            node: Node::default(),
        }
    }

    /// Its id.
    pub fn id(&self) -> DeviceId {
        self.key.device_id()
    }

    /// The grant for `role`, revoked or not.
    pub fn grant(&self, role: Role) -> Option<&Grant> {
        self.grants.iter().find(|g| g.role == role)
    }

    /// The grant for `role`, to change it.
    pub fn grant_mut(&mut self, role: Role) -> Option<&mut Grant> {
        self.grants.iter_mut().find(|g| g.role == role)
    }

    /// Approves `scopes` for `role`: widens, never narrows, and never touches a valid token. A role
    /// that was revoked starts a new generation, so that the revoked token stays dead.
    pub fn approve(&mut self, role: Role, scopes: Scopes, via: Via, now_ms: u64) {
        self.approved_ms = now_ms;
        if self.grants.is_empty() {
            self.via = via;
        }
        match self.grant_mut(role) {
            Some(grant) if grant.revoked_ms.is_some() => {
                grant.revoked_ms = None;
                grant.generation += 1;
                grant.grace_ms = None;
                grant.imported = None;
                grant.scopes = scopes;
            }
            Some(grant) => grant.scopes = grant.scopes.union(scopes),
            None => self.grants.push(Grant::new(role, scopes, now_ms)),
        }
    }

    /// The name to show: the operator's label, else the device's own.
    pub fn name(&self) -> Option<&str> {
        self.label.as_deref().or(self.display.name.as_deref())
    }
}

/// A request to be paired, or to get a further role or scope. One a device and role.
#[derive(Clone, PartialEq, Eq, Debug, SerBin, DeBin)]
pub struct Request {
    /// Stable while the device retries, through restarts.
    pub id: RequestId,
    /// The asking key.
    pub key: PublicKey,
    /// The role asked for.
    pub role: Role,
    /// Every scope asked for so far.
    pub scopes: Scopes,
    /// What it says of itself.
    pub display: Display,
    /// Whether it came with a proven shared credential or from a paired device; such requests are not
    /// pushed out by strangers'.
    pub trusted: bool,
    /// When it first asked.
    pub created_ms: u64,
}

/// What a setup code grants.
#[derive(Clone, Copy, PartialEq, Eq, Debug, SerBin, DeBin)]
pub enum Access {
    /// Node and operator with every scope.
    Full,
    /// Node and a bounded operator (no pairing, no admin).
    Limited,
    /// Node only.
    Node,
}

impl Access {
    /// The wire word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Limited => "limited",
            Self::Node => "node",
        }
    }
}

/// A one-time setup code: bound to the first key that spends it, repeatable by that key.
#[derive(Clone, PartialEq, Eq, Debug, SerBin, DeBin)]
pub struct SetupCode {
    /// Public name of the code.
    pub id: RequestId,
    /// Hash of its bootstrap token.
    pub hash: TokenHash,
    /// What it grants.
    pub access: Access,
    /// Who spent it, and when.
    pub spent: Option<(DeviceId, u64)>,
    /// Milliseconds it has left from the moment the book was loaded.
    pub left_ms: u64,
}

/// A device that was removed: so that it can be told.
#[derive(Clone, PartialEq, Eq, Debug, SerBin, DeBin)]
pub struct Tombstone {
    /// Which.
    pub device: DeviceId,
    /// When.
    pub removed_ms: u64,
    /// The newest token generation it had: paired again, it starts after that.
    pub generation: u32,
}

/// Everything that is kept. Cloning and comparing are cheap: devices are shared until changed.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Book {
    devices: BTreeMap<DeviceId, Rc<Device>>,
    requests: Vec<Rc<Request>>,
    setup_codes: Vec<SetupCode>,
    removed: Vec<Tombstone>,
    dirty: bool,
}

impl Book {
    /// Most pending requests of all, and of strangers among them.
    pub const REQUESTS: usize = 256;
    /// Most pending requests of strangers.
    pub const STRANGERS: usize = 64;
    /// Most removed devices remembered.
    pub const TOMBSTONES: usize = 256;

    /// A book of the given parts, as read from a file.
    pub fn from_parts(
        devices: Vec<Device>,
        requests: Vec<Request>,
        setup_codes: Vec<SetupCode>,
        removed: Vec<Tombstone>,
    ) -> Self {
        Self {
            devices: devices.into_iter().map(|d| (d.id(), Rc::new(d))).collect(),
            requests: requests.into_iter().map(Rc::new).collect(),
            setup_codes,
            removed,
            dirty: false,
        }
    }

    /// Whether it was changed since [`Book::settle`].
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

    /// Removes a device with its requests, and remembers that it was removed.
    pub fn remove(&mut self, id: &DeviceId, now_ms: u64) -> Option<Rc<Device>> {
        let device = self.devices.remove(id)?;
        self.dirty = true;
        self.requests.retain(|r| r.key != device.key);
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
        let strangers = self.requests.iter().filter(|r| !r.trusted).count();
        if strangers > Self::STRANGERS {
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
