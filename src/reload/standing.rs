//! The facts of [`standing`](crate::auth::standing()) as the running gateway has them.

use crate::{
    auth::{Approval, Lost, SharedAuth, StandingFacts, standing},
    config::{AuthMode, Settings},
    devices::Devices,
    hub::Session,
};

/// Requirements of `settings` for a connection that has no device.
pub(crate) fn shared_auth(settings: &Settings) -> SharedAuth {
    let secret = settings.credentials.active.as_ref();
    SharedAuth { open: settings.auth == AuthMode::None, secret: secret.map(|(secret, _)| secret.hash()) }
}

/// Decides whether the connection of `session`, which was admitted under `old`, may stay under `new`; `Some` is
/// why not. See [`standing`].
pub(crate) fn lost(devices: &Devices, session: &Session, old: &SharedAuth, new: &SharedAuth) -> Option<Lost> {
    let registry = devices.registry();
    let approval = session.device.map(|id| Approval::of(registry.device(&id).map(|d| &**d), session.role));
    standing(&StandingFacts { approval, old, new })
}
