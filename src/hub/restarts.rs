//! Restarts by hand-over: requests for one, and the result of the last.

use crate::protocol::ErrorShape;
use nanoserde::{DeBin, SerBin};
use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    rc::Rc,
};

/// The answer of the program on disk to the preflight: its version, or why it cannot take over.
pub type Preflight = Pin<Box<dyn Future<Output = Result<String, String>>>>;

/// Replaces this process image by another one.
pub trait Restart {
    /// Asks the program on disk whether it can take over.
    fn preflight(&self) -> Preflight;
    /// Hands over to it, now and without asking again. Returns only on failure: why.
    fn hand_over(&self, reason: &str) -> Pin<Box<dyn Future<Output = String>>>;
}

/// The restarts of a gateway.
#[derive(Default)]
pub struct Restarts {
    restart: RefCell<Option<Rc<dyn Restart>>>,
    under_way: Cell<bool>,
    report: RefCell<RestartReport>,
    failure: RefCell<Option<String>>,
}

/// Restarts since the gateway started, as `status` shows them.
#[derive(Clone, Default, PartialEq, Debug, SerBin, DeBin)]
pub struct RestartReport {
    /// Number of restarts so far.
    pub count: u64,
    /// Time of the last restart, wall-clock milliseconds.
    pub last_ms: u64,
    /// Pause of the last restart, microseconds.
    pub took_us: u64,
    /// Number of connections kept by the last restart.
    pub carried: u64,
    /// Reason of the last restart.
    pub why: String,
}

impl Restarts {
    /// Restarts by `restart` from now on.
    pub fn set(&self, restart: Rc<dyn Restart>) {
        *self.restart.borrow_mut() = Some(restart);
    }

    /// Reports the restarts so far.
    pub fn report(&self) -> RestartReport {
        self.report.borrow().clone()
    }

    /// Replaces the report, after one more restart.
    pub fn set_report(&self, report: RestartReport) {
        *self.report.borrow_mut() = report;
    }

    /// Why the last one that was asked for failed, if it did.
    pub fn failure(&self) -> Option<String> {
        self.failure.borrow().clone()
    }

    /// Whether one is under way.
    pub fn under_way(&self) -> bool {
        self.under_way.get()
    }

    /// Asks the program on disk whether it can take over. Meanwhile everyone is served.
    ///
    /// # Errors
    /// `UNAVAILABLE`, with the reason.
    pub async fn preflight(self: &Rc<Self>, reason: &str) -> Result<Preflighted, ErrorShape> {
        let Some(restart) = self.restart.borrow().clone() else {
            return Err(ErrorShape::never("this gateway cannot restart itself"));
        };
        if self.under_way.replace(true) {
            return Err(ErrorShape::later("a restart is under way", 1000));
        }
        let mut asked = Preflighted {
            restarts: self.clone(),
            restart: restart.clone(),
            version: String::new(),
            reason: reason.into(),
        };
        match restart.preflight().await {
            Ok(version) => {
                asked.version = version;
                Ok(asked)
            }
            Err(e) => {
                self.fail(reason, &e);
                Err(ErrorShape::later(format!("not restarted, the gateway keeps running: {e}"), 5000))
            }
        }
    }

    fn fail(&self, reason: &str, e: &str) {
        let failure = format!("not restarted ({reason}), the gateway keeps running: {e}");
        log::error!("{failure}");
        *self.failure.borrow_mut() = Some(failure);
    }

    /// Restarts, if the program on disk can take over; returns only if not.
    pub async fn run(self: &Rc<Self>, reason: &str) {
        match self.preflight(reason).await {
            Ok(asked) => asked.hand_over().await,
            Err(e) if self.under_way() => log::info!("restart ({reason}): {}", e.message()),
            Err(_) => {}
        }
    }
}

/// A restart whose preflight passed.
pub struct Preflighted {
    restarts: Rc<Restarts>,
    restart: Rc<dyn Restart>,
    /// The version that takes over.
    pub version: String,
    reason: String,
}

impl Preflighted {
    /// Hands over. Returns only on failure, which has been logged then.
    pub async fn hand_over(self) {
        let e = self.restart.hand_over(&self.reason).await;
        self.restarts.fail(&self.reason, &e);
    }
}

impl Drop for Preflighted {
    fn drop(&mut self) {
        self.restarts.under_way.set(false);
    }
}
