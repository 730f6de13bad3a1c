//! Whether the gateway behind this one is there, since when, and why not: one line in the journal at each change.

use super::{hello::Hello, remote::Pairing};
use crate::clock::wall_ms;
use nanoserde::SerJson;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Poll, Waker},
    time::{Duration, Instant},
};

/// Time after a loss for which a refusal is no news: while `gateway.auth` is being changed, the two gateways may have read
/// different secrets of the file, and both will have read the last one soon.
pub(super) const SETTLING: Duration = Duration::from_secs(10);

/// The gateway behind this one, as seen now.
#[derive(Default)]
pub(crate) struct Availability {
    there: Cell<bool>,
    since_ms: Cell<u64>,
    /// When it was lost; `None` where it was never there.
    lost: Cell<Option<Instant>>,
    why: RefCell<String>,
    /// The reason that the journal has.
    logged: RefCell<String>,
    hello: RefCell<Option<Rc<Hello>>>,
    /// The approval of this gateway's own device there, while it waits.
    pairing: RefCell<Option<Pairing>>,
    times_away: Cell<u64>,
    waiters: RefCell<Vec<Waker>>,
}

impl Availability {
    /// Whether it is there.
    pub fn is_there(&self) -> bool {
        self.there.get()
    }

    /// Why it is not there; empty if it is.
    pub fn why(&self) -> String {
        self.why.borrow().clone()
    }

    /// The approval of this gateway's own device there, while it waits.
    pub fn pairing(&self) -> Option<Pairing> {
        self.pairing.borrow().clone()
    }

    /// Keeps which approval is waited for, if one is.
    pub fn waits_for(&self, pairing: Option<Pairing>) {
        *self.pairing.borrow_mut() = pairing;
    }

    /// What it last said of itself.
    pub fn hello(&self) -> Option<Rc<Hello>> {
        self.hello.borrow().clone()
    }

    /// Keeps what it said of itself, also from an earlier run of this gateway.
    pub fn remember(&self, hello: Hello) {
        self.hello.replace(Some(Rc::new(hello)));
    }

    /// It is there. Whoever waits for that is woken.
    pub fn there(&self, url: &str, waiting: usize) {
        self.pairing.take();
        if self.there.replace(true) {
            return;
        }
        let away_s = wall_ms().saturating_sub(self.since_ms.get()) / 1000;
        let version = self.hello().map(|hello| hello.version.clone()).unwrap_or_default();
        match self.since_ms.get() {
            0 => log::info!("in front of OpenClaw {version} at {url}"),
            _ => {
                log::info!("OpenClaw {version} at {url} is back after {away_s} s; {waiting} requests waited")
            }
        }
        self.since_ms.set(wall_ms());
        self.why.borrow_mut().clear();
        self.wake();
    }

    /// It is away; `to_do` if it stays so until somebody acts.
    pub fn away(&self, url: &str, why: &str, to_do: bool) {
        let was = self.there.replace(false);
        let first = self.since_ms.get() == 0;
        if was || first {
            self.since_ms.set(wall_ms());
            self.times_away.set(self.times_away.get() + 1);
        }
        if was {
            self.lost.set(Some(Instant::now()));
        }
        let asks = self.pairing.borrow().is_some();
        let to_do = to_do && (asks || !self.is_settling());
        let meanwhile = match asks {
            true => "until then requests for it are refused",
            false => "requests for it wait",
        };
        match says(was || first, to_do, *self.logged.borrow() == why) {
            Says::Away => log::warn!("OpenClaw at {url} is away: {why}; {meanwhile}, and nobody is closed"),
            Says::StaysAway => log::warn!("OpenClaw at {url} stays away: {why}"),
            Says::Nothing => log::debug!("OpenClaw at {url} is still away: {why}"),
        }
        if was || first || to_do {
            *self.logged.borrow_mut() = why.into();
        }
        *self.why.borrow_mut() = why.into();
    }

    /// Whether it was lost only just now.
    pub fn is_settling(&self) -> bool {
        self.lost.get().is_some_and(|lost| lost.elapsed() < SETTLING)
    }

    /// Nothing is known any more: the settings name another.
    pub fn forget(&self) {
        self.there.set(false);
        self.since_ms.set(0);
        self.lost.set(None);
        self.hello.take();
        self.pairing.take();
        self.why.borrow_mut().clear();
    }

    /// Waits until it is there.
    pub async fn wait(&self) {
        std::future::poll_fn(|cx| {
            if self.is_there() {
                return Poll::Ready(());
            }
            self.waiters.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn wake(&self) {
        self.waiters.take().into_iter().for_each(Waker::wake);
    }

    /// The object that `status`, `health` and `/readyz` show.
    pub fn report(&self, url: &str, waiting: usize, links: usize, pairings: &[String]) -> String {
        #[derive(SerJson)]
        #[allow(non_snake_case)]
        struct Report {
            url: String,
            state: &'static str,
            sinceMs: Option<u64>,
            why: Option<String>,
            version: Option<String>,
            timesAway: u64,
            waiting: u64,
            links: u64,
        }
        let why = self.why();
        let report = Report {
            url: url.into(),
            state: if self.is_there() { "connected" } else { "away" },
            sinceMs: Some(self.since_ms.get()).filter(|since| *since > 0),
            why: (!why.is_empty()).then_some(why),
            version: self.hello().map(|hello| hello.version.clone()),
            timesAway: self.times_away.get(),
            waiting: waiting as u64,
            links: links as u64,
        }
        .serialize_json();
        match (pairings.is_empty(), report.strip_suffix('}')) {
            (false, Some(report)) => format!(r#"{report},"pairings":[{}]}}"#, pairings.join(",")),
            _ => report,
        }
    }
}

/// What the journal says at a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Says {
    Away,
    StaysAway,
    Nothing,
}

/// Decides what the journal says: one line when it goes, and one more for each reason that somebody has to act on.
fn says(goes: bool, to_do: bool, same: bool) -> Says {
    match (goes, to_do, same) {
        (true, ..) => Says::Away,
        (_, true, false) => Says::StaysAway,
        _ => Says::Nothing,
    }
}
