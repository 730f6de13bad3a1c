//! The device registry in use: changes that are on disk before they are answered, what follows from them for
//! the live connections, and what is known of devices beside the registry and not worth a write of its own.

use crate::{
    auth::Lost,
    clock::{Clock, instant_of, ns_of, wall_ms},
    hub::Connections,
    protocol::{DeviceId, ErrorShape, RequestId, Role, Scopes},
    store::{ChangeError, DeviceToken, Display, Grant, Key, Registry, Store},
};
use nanoserde::{DeBin, SerBin};
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    time::{Duration, Instant},
};

/// Requests of unknown devices in a row; one more every two seconds.
const UNKNOWN_REQUESTS: u32 = 64;
/// A last-seen time that is saved only if it is this much later, milliseconds.
const HOUR_MS: u64 = 3_600_000;

/// The device registry, and the activity of its devices.
pub struct Devices {
    /// The store that keeps the registry.
    pub(crate) store: Store,
    conns: Rc<Connections>,
    clock: Clock,
    seen: RefCell<HashMap<DeviceId, Seen>>,
    contacts: RefCell<HashMap<RequestId, Instant>>,
    unknown_requests: Cell<(u32, Option<Instant>)>,
    /// The token that was derived last: a connect asks for the same one up to three times.
    last_token: Cell<Option<(TokenOf, DeviceToken)>>,
}

/// What a device token is derived from, beside the key: the device, its role and the generation.
type TokenOf = (DeviceId, Role, u32);

/// Last activity of a device, and its display data then if that was new.
#[derive(Default)]
struct Seen {
    ms: u64,
    display: Option<Display>,
}

/// The activity of devices as plain data, which a hand-over carries. Times of the monotonic clock are
/// nanoseconds.
#[derive(Clone, Default, PartialEq, Debug, SerBin, DeBin)]
pub struct Activity {
    /// Last connections of the devices with pending requests.
    pub contacts: Vec<(RequestId, u64)>,
    /// Last activity of devices, wall-clock milliseconds, and their display data where it changed.
    pub seen: Vec<(DeviceId, u64, Option<Display>)>,
    /// Requests of unknown devices that count against their limit, and since when.
    pub unknown_requests: (u32, Option<u64>),
}

impl Devices {
    /// The devices of `store`; a revoked or removed one loses those of `conns` that are its.
    pub(crate) fn new(store: Store, conns: &Rc<Connections>, clock: Clock) -> Rc<Self> {
        Rc::new(Self {
            store,
            conns: conns.clone(),
            clock,
            seen: RefCell::default(),
            contacts: RefCell::default(),
            unknown_requests: Cell::new((0, None)),
            last_token: Cell::new(None),
        })
    }

    /// The registry, as it stands on disk.
    pub(crate) fn registry(&self) -> Rc<Registry> {
        self.store.registry()
    }

    /// The key that device tokens are derived from.
    pub(crate) fn key(&self) -> &Key {
        self.store.key()
    }

    /// Changes the registry; done when it is on disk.
    ///
    /// # Errors
    /// `change`'s own, or `UNAVAILABLE` when the disk refuses. Nothing has changed then.
    pub(crate) async fn change<T>(
        &self,
        change: impl FnOnce(&mut Registry) -> Result<T, ErrorShape>,
    ) -> Result<T, ErrorShape> {
        let done = self.store.change(|registry| {
            let done = change(registry)?;
            if registry.is_dirty() {
                self.write_seen(registry);
            }
            Ok(done)
        });
        done.await.map_err(|e| match e {
            ChangeError::Refused(error) => error,
            ChangeError::Disk(disk) => {
                log::error!("devices: not saved, nothing changed: {disk}");
                ErrorShape::later(format!("not saved, nothing changed: {disk}"), 5000)
            }
        })
    }

    /// The token of a device's role in a generation.
    pub(crate) fn device_token(&self, id: &DeviceId, role: Role, generation: u32) -> DeviceToken {
        let of = (*id, role, generation);
        if let Some((_, token)) = self.last_token.get().filter(|(last, _)| *last == of) {
            return token;
        }
        let token = self.key().device_token(id, role, generation);
        self.last_token.set(Some((of, token)));
        token
    }

    /// Whether `token` is one that a device's grant of `role` honours now: the current one, one from before a rotation
    /// while that is let pass, or an imported one.
    pub(crate) fn honours(&self, id: &DeviceId, role: Role, grant: &Grant, token: &str) -> bool {
        let equal = |generation| self.device_token(id, role, generation).matches(token);
        let before = grant.grace_ms.is_some_and(|left| self.clock.uptime_ms() < left) && grant.generation > 1;
        equal(grant.generation)
            || (before && equal(grant.generation - 1))
            || grant.imported.is_some_and(|hash| hash.matches(token))
    }

    /// The paired device whose operator token this is, and the scopes that it is granted.
    pub(crate) fn operator(&self, token: &str) -> Option<(DeviceId, Scopes)> {
        self.registry().devices().find_map(|device| {
            let grant = device.grant(Role::Operator).filter(|grant| grant.revoked_ms.is_none())?;
            let id = device.id();
            self.honours(&id, Role::Operator, grant, token).then_some((id, grant.scopes))
        })
    }

    /// Gives the live connections of a device the scopes that are approved for it now.
    pub(crate) fn regrant(&self, device: &DeviceId) {
        let Some(record) = self.registry().device(device).cloned() else { return };
        for conn in self.conns.of(device) {
            if let Some(grant) = record.grant(conn.role()).filter(|g| g.revoked_ms.is_none()) {
                conn.regrant(grant.scopes);
            }
        }
    }

    /// Closes the live connections of a device that was removed, or of a role of it that was revoked.
    pub(crate) fn close(&self, device: &DeviceId, role: Option<Role>, why: Lost) {
        self.conns.close_device(device, role, why);
    }

    /// Notes that a device was seen now, with its display data if that changed; saved with the next change.
    pub(crate) fn saw(&self, device: DeviceId, display: Option<Display>) {
        let mut seen = self.seen.borrow_mut();
        let entry = seen.entry(device).or_default();
        entry.ms = wall_ms();
        entry.display = display.or(entry.display.take());
    }

    /// Last activity of a device on this process, wall-clock milliseconds.
    pub(crate) fn seen_ms(&self, device: &DeviceId) -> Option<u64> {
        self.seen.borrow().get(device).map(|seen| seen.ms)
    }

    fn write_seen(&self, registry: &mut Registry) {
        for (device, seen) in self.seen.borrow().iter() {
            let Some(known) = registry.device(device) else { continue };
            let later = known.seen_ms.is_none_or(|at| seen.ms.abs_diff(at) > HOUR_MS);
            let other = seen.display.as_ref().is_some_and(|display| *display != known.display);
            if (later || other)
                && let Some(device) = registry.device_mut(device)
            {
                device.seen_ms = Some(seen.ms);
                if let Some(display) = &seen.display {
                    device.display = display.clone();
                }
            }
        }
    }

    /// Saves the activity that is only in memory, before the process ends.
    pub(crate) async fn settle(&self) {
        if let Err(e) = self.store.renew().await {
            log::error!("the devices' file is gone, and cannot be written again: {e}");
        }
        let done = self.store.change(|registry| {
            self.write_seen(registry);
            Ok::<_, std::convert::Infallible>(())
        });
        if let Err(ChangeError::Disk(e)) = done.await {
            log::warn!("devices: the last-seen times are not saved: {e}");
        }
    }

    /// Counts a request of an unknown device, or a further one of a known device; false if there are too many: each
    /// costs a write.
    pub(crate) fn admit_request(&self) -> bool {
        let (mut spent, since) = self.unknown_requests.get();
        let since = since.unwrap_or_else(Instant::now);
        let earned = since.elapsed().as_secs() as u32 / 2;
        let mut from = since;
        if earned > 0 {
            spent = spent.saturating_sub(earned);
            from = Instant::now();
        }
        let admit = spent < UNKNOWN_REQUESTS;
        self.unknown_requests.set((spent + u32::from(admit), Some(from)));
        admit
    }

    /// Notes that the device of a pending request connected again.
    pub(crate) fn contact(&self, request: &RequestId) {
        self.contacts.borrow_mut().insert(request.clone(), Instant::now());
    }

    /// Forgets the contacts of requests that are no longer pending.
    pub(crate) fn forget_contacts(&self) {
        let registry = self.registry();
        self.contacts.borrow_mut().retain(|id, _| registry.requests().iter().any(|r| r.id == *id));
    }

    /// The time since a request's device last connected; since the start, if it did not.
    pub(crate) fn since_contact(&self, request: &RequestId) -> Duration {
        let at = self.contacts.borrow().get(request).copied();
        at.unwrap_or(self.clock.started).elapsed()
    }

    /// The activity as plain data.
    pub(crate) fn activity(&self) -> Activity {
        let (unknown_requests, since) = self.unknown_requests.get();
        Activity {
            contacts: self.contacts.borrow().iter().map(|(id, at)| (id.clone(), ns_of(*at))).collect(),
            seen: self.seen.borrow().iter().map(|(id, s)| (*id, s.ms, s.display.clone())).collect(),
            unknown_requests: (unknown_requests, since.map(ns_of)),
        }
    }

    /// Restores the activity that another process image saved.
    pub(crate) fn restore(&self, activity: &Activity) {
        let contacts = activity.contacts.iter().map(|(id, at)| (id.clone(), instant_of(*at)));
        self.contacts.borrow_mut().extend(contacts);
        let seen = activity.seen.iter();
        let seen = seen.map(|(id, ms, display)| (*id, Seen { ms: *ms, display: display.clone() }));
        self.seen.borrow_mut().extend(seen);
        let (spent, since) = activity.unknown_requests;
        self.unknown_requests.set((spent, since.map(instant_of)));
    }
}
