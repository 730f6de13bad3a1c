//! What is known of devices beside the book, and is not worth a write of its own: when they were last seen, when
//! they last came for their request, and how many of them nobody knows.

use super::Hub;
use crate::{
    clock::wall_ms,
    protocol::{DeviceId, RequestId},
    store::{ChangeError, Display, Registry},
};
use std::time::{Duration, Instant};

/// Requests of unknown devices in a row; one more every two seconds.
const STRANGERS: u32 = 64;

/// When a device was last seen, and what it then said of itself.
#[derive(Default)]
pub(crate) struct Seen {
    pub ms: u64,
    pub display: Option<Display>,
}

impl Hub {
    /// A device was seen now, and says this of itself if that changed; kept in memory until something
    /// else is written.
    pub fn saw(&self, device: DeviceId, display: Option<Display>) {
        let mut seen = self.seen.borrow_mut();
        let entry = seen.entry(device).or_default();
        entry.ms = wall_ms();
        entry.display = display.or(entry.display.take());
    }

    /// When a device was last seen.
    pub fn seen_ms(&self, device: &DeviceId) -> Option<u64> {
        self.seen.borrow().get(device).map(|s| s.ms)
    }

    pub(crate) fn write_seen(&self, registry: &mut Registry) {
        for (device, seen) in self.seen.borrow().iter() {
            let Some(known) = registry.device(device) else { continue };
            let hour = 3_600_000;
            let later = known.seen_ms.is_none_or(|at| seen.ms.abs_diff(at) > hour);
            let other = seen.display.as_ref().is_some_and(|d| *d != known.display);
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

    /// Whether one more unknown device may leave a request: each costs a write, so they are metered.
    pub fn admit_unknown_device(&self) -> bool {
        let (mut spent, since) = self.unknown_requests.get();
        let since = since.unwrap_or_else(Instant::now);
        let earned = since.elapsed().as_secs() as u32 / 2;
        let mut from = since;
        if earned > 0 {
            spent = spent.saturating_sub(earned);
            from = Instant::now();
        }
        let admit = spent < STRANGERS;
        self.unknown_requests.set((spent + u32::from(admit), Some(from)));
        admit
    }

    /// Writes what is only in memory; for the end.
    pub async fn settle(&self) {
        if let Err(e) = self.store.renew().await {
            log::error!("the devices' file is gone, and cannot be written again: {e}");
        }
        let done = self.store.change(|registry| {
            self.write_seen(registry);
            Ok::<_, std::convert::Infallible>(())
        });
        if let Err(ChangeError::Disk(e)) = done.await {
            log::warn!("devices: when they were last seen is not saved: {e}");
        }
    }

    /// A request's device came back for it.
    pub fn contact(&self, request: &RequestId) {
        self.contacts.borrow_mut().insert(request.clone(), Instant::now());
    }

    /// Forgets when requests that are no more were last come for.
    pub fn forget_contacts(&self) {
        let registry = self.registry();
        self.contacts.borrow_mut().retain(|id, _| registry.requests().iter().any(|r| r.id == *id));
    }

    /// Since a request's device last came for it; since the start, if it did not since then.
    pub fn since_contact(&self, request: &RequestId) -> Duration {
        let at = self.contacts.borrow().get(request).copied();
        at.unwrap_or(self.boot.clock.started).elapsed()
    }
}
