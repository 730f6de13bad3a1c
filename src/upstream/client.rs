//! The link of one client, with its two connections: to the client, and to the gateway behind this one.

use super::{
    greeting::Greeting,
    link::{Effect, Link},
    lost::LostRuns,
    remote::Pairing,
};
use crate::{hub::Conn, net::Wire, protocol::Scopes};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::Waker,
};

/// Unsent bytes towards OpenClaw from which on a client is read no further.
const CROWDED: usize = 1 << 20;

/// The link of a client, and its two connections.
pub(super) struct ClientLink {
    pub conn: Rc<Conn>,
    pub greeting: Greeting,
    pub link: RefCell<Link>,
    /// The connection to OpenClaw, once it is made.
    pub wire: RefCell<Option<Rc<Wire>>>,
    /// Largest frame that OpenClaw takes, bytes.
    pub max_payload: Cell<usize>,
    /// Scopes of the connection to OpenClaw.
    pub scopes: Cell<Scopes>,
    /// Build of OpenClaw that the client's `hello-ok` named; empty where nothing was known of OpenClaw.
    pub told: RefCell<String>,
    /// Refusals in a row, by which the identity is chosen.
    pub refused: Cell<u32>,
    /// The pairing of this client's own device behind this gateway, while it waits.
    pub pairing: RefCell<Option<Pairing>>,
    pub left: Cell<bool>,
    /// Whether the task is to try again at once.
    pub again: Cell<bool>,
    task: RefCell<Option<Waker>>,
    /// Whether a task serves it.
    pub running: Cell<bool>,
    /// Bytes of requests that this link keeps, as counted in [`Shared::kept`].
    pub kept: Cell<usize>,
    shared: Rc<Shared>,
}

/// What all links have in common.
pub(super) struct Shared {
    /// Makes this gateway's part of an answer: members, each with a comma before it.
    pub own_part: RefCell<Box<dyn Fn() -> String>>,
    /// Bytes of requests that all links keep.
    pub kept: Cell<usize>,
    /// Runs that OpenClaw lost.
    pub lost: RefCell<LostRuns>,
}

impl ClientLink {
    /// The link of `conn` in that state, by `wire` if it is connected.
    pub fn restored(
        conn: &Rc<Conn>,
        greeting: Greeting,
        link: Link,
        wire: Option<Rc<Wire>>,
        shared: Rc<Shared>,
    ) -> Rc<Self> {
        Rc::new(Self {
            conn: conn.clone(),
            greeting,
            link: RefCell::new(link),
            wire: RefCell::new(wire),
            max_payload: Cell::new(usize::MAX),
            scopes: Cell::default(),
            told: RefCell::default(),
            refused: Cell::new(0),
            pairing: RefCell::default(),
            left: Cell::new(false),
            again: Cell::new(false),
            task: RefCell::default(),
            running: Cell::new(false),
            kept: Cell::new(0),
            shared,
        })
    }

    /// Carries out `effects`.
    pub fn apply(&self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(text) => {
                    if let Some(wire) = &*self.wire.borrow() {
                        wire.send_text(&text);
                        self.conn.hold(wire.unsent() > CROWDED);
                    }
                }
                Effect::Answer(text) => self.answer(&text),
                Effect::Merge(mut text, at) => {
                    text.insert_str(at, &(self.shared.own_part.borrow())());
                    self.answer(&text);
                }
                Effect::Event(text, seq) => self.conn.relay_event(&text, seq),
                Effect::Lost(run) => self.shared.lost.borrow_mut().add(run),
            }
        }
        self.count(self.link.borrow().kept_bytes());
    }

    /// Counts the bytes of requests that the link keeps now.
    fn count(&self, kept: usize) {
        let others = self.shared.kept.get() - self.kept.replace(kept);
        self.shared.kept.set(others + kept);
    }

    /// Sends the client a frame.
    pub fn answer(&self, text: &str) {
        // The driver reads no further while the client is behind, so only a frame beyond the limit is not delivered.
        if let Err(why) = self.conn.send(text) {
            log::warn!("an answer of OpenClaw for {} is not delivered: {why}", self.conn.session().name());
        }
    }

    /// Remembers the task that serves the link.
    pub fn watch(&self, waker: &Waker) {
        self.task.replace(Some(waker.clone()));
    }

    /// Has the task look at the link again.
    pub fn wake(&self) {
        if let Some(waker) = self.task.take() {
            waker.wake();
        }
    }
}

impl Drop for ClientLink {
    fn drop(&mut self) {
        self.count(0);
    }
}

impl ClientLink {
    /// Gives a connection to OpenClaw up whose scopes are not those that the client has here.
    pub fn match_scopes(&self) {
        if self.wire.borrow().is_some() && self.scopes.get() != self.conn.session().scopes {
            self.drop_connection("its scopes were changed");
        }
    }

    /// OpenClaw is of `build`. A page whose `hello-ok` said otherwise, or nothing of OpenClaw, has wrong methods, and may
    /// be of another build itself: the gap makes it connect again, and the new `hello-ok` reload itself where it must.
    pub fn learn(&self, build: &str) {
        let is_page = matches!(self.conn.session().mode(), "ui" | "webchat");
        if is_page && *self.told.borrow() != build {
            self.told.replace(build.into());
            self.conn.leave_a_gap();
        }
    }

    /// Answers what waits: only somebody who approves `pairing` helps.
    pub fn refuse_waiting(&self, pairing: &Pairing) {
        let effects = self.link.borrow_mut().refuse_waiting(&pairing.to_string());
        self.apply(effects);
    }

    /// Gives the connection to OpenClaw up; the task makes another.
    pub fn drop_connection(&self, why: &str) {
        if let Some(wire) = self.wire.take() {
            wire.abandon();
            let effects = self.link.borrow_mut().closed(why);
            self.apply(effects);
        }
        self.wake();
    }
}
