//! Events to attached connections. A system call for each of some thousand connections takes longer than an
//! answer may: the first few are sent at once, the others a slice at a time, and in between requests are answered.

use super::{Conn, ConnId, Connections, Topic};
use crate::{
    protocol::{AudienceKind, DeviceId, Event, Json},
    reactor::{Tasks, Timer},
};
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    time::{Duration, Instant},
};

/// The longest time that one slice takes.
const SLICE: Duration = Duration::from_millis(2);
/// The pause between two slices.
const BREAK: Duration = Duration::from_millis(1);
/// Connections served between two looks at the clock.
const AT_ONCE: usize = 16;

/// Who receives an event; among them, only those with the scope in the event's row.
#[derive(Clone, Copy)]
pub enum Audience<'a> {
    /// Every connection.
    Everyone,
    /// The connections that may manage this device; see [`Conn::manages`].
    Managers(DeviceId),
    /// The connections that subscribed to this topic.
    Subscribers(&'a Topic),
    /// One connection.
    Connection(ConnId),
}

impl Audience<'_> {
    fn kind(&self) -> AudienceKind {
        match self {
            Self::Everyone => AudienceKind::Everyone,
            Self::Managers(_) => AudienceKind::Managers,
            Self::Subscribers(_) => AudienceKind::Subscribers,
            Self::Connection(_) => AudienceKind::Connection,
        }
    }

    fn has(&self, event: Event, conn: &Conn) -> bool {
        let among = match self {
            Self::Everyone => true,
            Self::Managers(device) => conn.manages(device),
            Self::Subscribers(topic) => conn.is_subscribed(topic),
            Self::Connection(id) => conn.id() == *id,
        };
        among && event.scope().is_none_or(|scope| conn.allows(scope))
    }
}

/// The event queue: events not yet sent to their whole audience, the oldest first, so that no connection
/// receives two events in another order.
pub struct Events {
    conns: Rc<Connections>,
    tasks: Tasks,
    queued: RefCell<VecDeque<QueuedEvent>>,
    sending: Cell<bool>,
}

/// An event, and the connections that have yet to be sent it, the next one last.
struct QueuedEvent {
    event: Event,
    head: String,
    tail: String,
    left: Vec<Rc<Conn>>,
}

impl Events {
    /// No events yet, for `conns`.
    pub(crate) fn new(conns: &Rc<Connections>, tasks: &Tasks) -> Rc<Self> {
        let (conns, tasks) = (conns.clone(), tasks.clone());
        Rc::new(Self { conns, tasks, queued: RefCell::default(), sending: Cell::new(false) })
    }

    /// Sends an event to `audience`, which must be of the kind in the event's row.
    pub fn publish(self: &Rc<Self>, event: Event, audience: Audience<'_>, payload: &Json) {
        debug_assert_eq!(audience.kind(), event.audience(), "{}", event.as_str());
        if let Audience::Connection(id) = audience {
            // Without a number in its sequence, as OpenClaw sends to nodes.
            if let Some(conn) = self.conns.get(id).filter(|conn| audience.has(event, conn)) {
                conn.send(&format!("{}}}", head(event, payload)));
            }
            return;
        }
        self.enqueue(event, audience, head(event, payload), String::new());
    }

    /// Sends an event that carries `stateVersion`.
    pub(super) fn publish_versioned(self: &Rc<Self>, event: Event, payload: &Json, version: &Json) {
        let tail = format!(r#","stateVersion":{}"#, version.0);
        self.enqueue(event, Audience::Everyone, head(event, payload), tail);
    }

    fn enqueue(self: &Rc<Self>, event: Event, audience: Audience<'_>, head: String, tail: String) {
        let mut left = self.conns.select(|conn| audience.has(event, conn));
        left.reverse();
        self.queued.borrow_mut().push_back(QueuedEvent { event, head, tail, left });
        if self.sending.get() {
            return;
        }
        self.send(Some(Instant::now() + SLICE));
        if !self.is_drained() {
            self.sending.set(true);
            let this = self.clone();
            self.tasks.spawn(async move {
                while !this.is_drained() {
                    Timer::after(BREAK).await;
                    this.send(Some(Instant::now() + SLICE));
                }
                this.sending.set(false);
            });
        }
    }

    /// Whether every event is sent.
    pub(crate) fn is_drained(&self) -> bool {
        self.queued.borrow().is_empty()
    }

    /// Sends everything that is queued, without a pause.
    pub(crate) fn flush(&self) {
        self.send(None);
    }

    fn send(&self, end: Option<Instant>) {
        let mut queued = self.queued.borrow_mut();
        while let Some(next) = queued.front_mut() {
            let few = next.left.len().saturating_sub(AT_ONCE);
            for conn in next.left.drain(few..).rev() {
                // Its scopes may have been narrowed meanwhile.
                if next.event.scope().is_none_or(|scope| conn.allows(scope)) {
                    conn.send_event(next.event, &next.head, &next.tail);
                }
            }
            if next.left.is_empty() {
                queued.pop_front();
            }
            if end.is_some_and(|end| Instant::now() >= end) {
                return;
            }
        }
    }
}

/// The JSON of an event up to the end of its payload.
fn head(event: Event, payload: &Json) -> String {
    format!(r#"{{"type":"event","event":"{}","payload":{}"#, event.as_str(), payload.0)
}
