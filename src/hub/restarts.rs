//! Restarts that are handed over: who can do one, and what came of the last.

use crate::protocol::ErrorShape;
use nanoserde::{DeBin, SerBin};
use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    rc::Rc,
};

/// What the program on disk said of the state it is to go on with: its version.
pub type Proof = Pin<Box<dyn Future<Output = Result<String, String>>>>;

/// Who can put another process image in this one's place.
pub trait Restart {
    /// Asks the program on disk whether it can go on from here. `Err` is why not.
    fn prove(&self) -> Proof;
    /// Hands over to it, now and without asking again. Returns only if nothing came of it: why.
    fn hand_over(&self, why: &str) -> Pin<Box<dyn Future<Output = String>>>;
}

/// The restarts of a gateway.
#[derive(Default)]
pub struct Restarts {
    how: RefCell<Option<Rc<dyn Restart>>>,
    under_way: Cell<bool>,
    told: RefCell<Told>,
    stayed: RefCell<Option<String>>,
}

/// What is told of the restarts since the gateway started.
#[derive(Clone, Default, PartialEq, Debug, SerBin, DeBin)]
pub struct Told {
    /// How many there were.
    pub count: u64,
    /// When the last one was, wall-clock milliseconds.
    pub last_ms: u64,
    /// How long nobody was served then, microseconds.
    pub took_us: u64,
    /// How many connections were carried over.
    pub carried: u64,
    /// What asked for it.
    pub why: String,
}

impl Restarts {
    /// From now on `how` does it.
    pub fn set(&self, how: Rc<dyn Restart>) {
        *self.how.borrow_mut() = Some(how);
    }

    /// What is told of them.
    pub fn told(&self) -> Told {
        self.told.borrow().clone()
    }

    /// Why the last one that was asked for came to nothing, if it did.
    pub fn stayed(&self) -> Option<String> {
        self.stayed.borrow().clone()
    }

    /// One was just done.
    pub fn set_told(&self, told: Told) {
        *self.told.borrow_mut() = told;
    }

    /// Whether one is under way.
    pub fn under_way(&self) -> bool {
        self.under_way.get()
    }

    /// Asks the program on disk whether it can go on from here; its version. While it is asked everything
    /// goes on.
    ///
    /// # Errors
    /// `UNAVAILABLE`, with why this process stays.
    pub async fn prove(self: &Rc<Self>, why: &str) -> Result<Proven, ErrorShape> {
        let Some(how) = self.how.borrow().clone() else {
            return Err(ErrorShape::never("this gateway cannot restart itself"));
        };
        if self.under_way.replace(true) {
            return Err(ErrorShape::later("a restart is under way", 1000));
        }
        let mut proven =
            Proven { restarts: self.clone(), how: how.clone(), version: String::new(), why: why.into() };
        match how.prove().await {
            Ok(version) => {
                proven.version = version;
                Ok(proven)
            }
            Err(e) => {
                self.stay(why, &e);
                Err(ErrorShape::later(format!("not restarted, everything goes on as before: {e}"), 5000))
            }
        }
    }

    fn stay(&self, why: &str, e: &str) {
        let told = format!("not restarted ({why}), everything goes on as before: {e}");
        log::error!("{told}");
        *self.stayed.borrow_mut() = Some(told);
    }

    /// Restarts, if the program on disk can go on from here; returns only if not.
    pub async fn run(self: &Rc<Self>, why: &str) {
        match self.prove(why).await {
            Ok(proven) => proven.hand_over().await,
            Err(e) if self.under_way() => log::info!("restart ({why}): {}", e.message()),
            Err(_) => {}
        }
    }
}

/// A program that said that it can go on from here.
pub struct Proven {
    restarts: Rc<Restarts>,
    how: Rc<dyn Restart>,
    /// Its version.
    pub version: String,
    why: String,
}

impl Proven {
    /// Hands over to it. Returns only if nothing came of it; that has been logged then.
    pub async fn hand_over(self) {
        let e = self.how.hand_over(&self.why).await;
        self.restarts.stay(&self.why, &e);
    }
}

impl Drop for Proven {
    fn drop(&mut self) {
        self.restarts.under_way.set(false);
    }
}
