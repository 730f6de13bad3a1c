//! Models that are left alone for a while, since their server said that it has had enough.
//!
//! Of one model where its own limit is reached, of all of a server where its account is the fault.

use super::model::Endpoint;
use std::{
    cell::RefCell,
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// When each may be asked again: by server, and by model where it is not all of them.
#[derive(Default)]
pub struct CoolDowns(RefCell<BTreeMap<(String, Option<String>), Instant>>);

impl CoolDowns {
    /// Leaves a model alone, or with `all` every model of its server.
    pub fn add(&self, endpoint: &Endpoint, all: bool, time: Duration, now: Instant) {
        let mut until = self.0.borrow_mut();
        until.retain(|_, end| *end > now);
        let model = (!all).then(|| endpoint.model.clone());
        until.insert((endpoint.provider.clone(), model), now + time);
    }

    /// Time for which a model is still left alone.
    pub fn left(&self, endpoint: &Endpoint, now: Instant) -> Option<Duration> {
        let until = self.0.borrow();
        let of = |model| until.get(&(endpoint.provider.clone(), model));
        let end = of(None).max(of(Some(endpoint.model.clone())))?;
        end.checked_duration_since(now).filter(|left| !left.is_zero())
    }
}
