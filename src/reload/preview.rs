//! Previews a reload: reads and compares as it would, and applies nothing.

use super::{Reloads, compare, lost, shared_auth};
use crate::{
    config::{FileState, ReloadMode, change::plan::Plan},
    hub::Conn,
    protocol::DeviceId,
    reactor::on_worker,
};
use std::rc::Rc;

/// The outcome that a reload would have.
pub struct Preview {
    /// Changes, and the effects they would have.
    pub plan: Plan,
    /// Connections that would be closed.
    pub refused: Vec<Rc<Conn>>,
    /// Browsers whose role would be revoked.
    pub browsers: Vec<DeviceId>,
    /// Notices that would be new.
    pub new_lines: Vec<String>,
}

impl Reloads {
    /// Previews a reload of `text` in place of `openclaw.json`; without one, of the file as it is on disk.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub async fn preview(&self, text: Option<String>) -> Result<Preview, String> {
        let old = self.rooms.running.get();
        let again = old.again();
        let read = on_worker(move || again.resolve_with(text.as_deref()));
        let mut new = read.await.map_err(|e| e.to_string())?;
        new.keep_tls(&old);
        if let FileState::Broken(broken) = &new.found {
            return Err(broken.to_string());
        }
        let known: Vec<String> = old.lines().collect();
        let plan = compare(&old, &new);
        // It is applied by a restart, over which TLS cannot be carried.
        let restarts = new.config.reload.mode == ReloadMode::Restart && !plan.effects.is_empty();
        let (was, now) = (shared_auth(&old), shared_auth(&new));
        let closed = |c: &Rc<Conn>| {
            lost(&self.rooms.devices, &c.session(), &was, &now).is_some() || restarts && c.wire.is_tls()
        };
        Ok(Preview {
            plan,
            refused: self.rooms.conns.all().into_iter().filter(closed).collect(),
            browsers: self.browsers_to_revoke(&old, &new),
            new_lines: new.lines().filter(|line| !known.contains(line)).collect(),
        })
    }
}
