//! Reports to the systemd that runs this gateway, and leaves the connections to it at a restart. Without systemd,
//! does nothing.

use crate::{
    app::App,
    handoff::Handoff,
    host::Memory,
    protocol::TICK_MS,
    reactor::{Timer, on_worker},
    sd_notify::{self, Next, Notify},
};
use std::{cell::RefCell, rc::Rc, time::Duration};

/// The gateway and the service manager that runs it.
pub struct Supervised {
    app: Rc<App>,
    notify: Rc<Notify>,
    reported: RefCell<String>,
}

impl Supervised {
    /// The gateway of `app`, run by the systemd at the other end of `notify`.
    pub fn new(app: &Rc<App>, notify: &Rc<Notify>) -> Rc<Self> {
        Rc::new(Self { app: app.clone(), notify: notify.clone(), reported: RefCell::default() })
    }

    /// Reports that it is ready, and from now on that it is alive and, where it changed, its status.
    pub fn begin(self: &Rc<Self>) {
        if !self.notify.is_there() {
            return;
        }
        self.ready();
        let tick = Duration::from_millis(TICK_MS);
        let every = self.notify.watchdog().map_or(tick, |watchdog| watchdog.min(tick));
        let this = self.clone();
        self.app.spawn(async move {
            loop {
                this.notify.alive();
                let status = this.status();
                if *this.reported.borrow() != status {
                    this.notify.status(&status);
                    this.reported.replace(status);
                }
                Timer::after(every).await;
            }
        });
    }

    /// Reports that it is ready, again or still.
    pub fn ready(&self) {
        let status = self.status();
        self.notify.ready(&status);
        self.reported.replace(status);
    }

    /// Reports a reload or a restart; [`ready`](Self::ready) ends it.
    pub fn reloading(&self) {
        self.notify.reloading();
    }

    /// Reports to systemd that the gateway stops.
    pub fn stopping(&self) {
        self.notify.stopping("stopping");
    }

    fn status(&self) -> String {
        let resident = resident().map_or_else(String::new, |mib| format!(" · {mib} MiB"));
        format!(
            "{} devices · {} connections{resident}",
            self.app.devices.registry().devices().len(),
            self.app.hub.conns.count()
        )
    }

    /// On SIGTERM: if systemd is about to start the gateway again, leaves everything to it, and ends this process
    /// without a word to anyone. Returns if it is not to be started again, or nothing is kept.
    pub async fn restart(&self, handoff: &Handoff) {
        if !self.notify.is_there() {
            return;
        }
        match on_worker(sd_notify::next).await {
            Next::End => {}
            Next::Start => {
                let e = handoff.store_and_exit(&self.notify).await;
                log::warn!(
                    "systemd does not keep the connections over this restart, so they are closed: {e}"
                );
            }
        }
    }
}

/// Memory that is not in a file, MiB: so coarse that the same figure is not sent again and again.
fn resident() -> Option<u64> {
    let Memory { resident, shared } = Memory::now()?;
    Some(resident.saturating_sub(shared).div_ceil(1 << 20))
}
