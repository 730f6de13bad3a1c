//! Whether the gateway behind this one is there, since when, and why not: one line in the journal at each change.

use super::{hello::Hello, pairing::Pairing};
use crate::clock::wall_ms;
use nanoserde::SerJson;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Poll, Waker},
};

/// The gateway behind this one, as seen now.
#[derive(Default)]
pub(crate) struct Availability {
    there: Cell<bool>,
    since_ms: Cell<u64>,
    why: RefCell<String>,
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

    /// It is away; `to_do` if only somebody who acts helps, which is told at each new reason.
    pub fn away(&self, url: &str, why: &str, to_do: bool) {
        let was = self.there.replace(false);
        let first = self.since_ms.get() == 0;
        if was || first {
            self.since_ms.set(wall_ms());
            self.times_away.set(self.times_away.get() + 1);
        }
        let news = *self.why.borrow() != why;
        if was || first || (news && to_do) {
            let meanwhile = match self.pairing.borrow().is_some() {
                true => "until then requests for it are refused",
                false => "requests for it wait",
            };
            log::warn!("OpenClaw at {url} is away: {why}; {meanwhile}, and nobody is closed");
        }
        *self.why.borrow_mut() = why.into();
    }

    /// Nothing is known any more: the settings name another.
    pub fn forget(&self) {
        self.there.set(false);
        self.since_ms.set(0);
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
