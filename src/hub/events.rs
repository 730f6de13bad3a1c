//! Events for everyone. A system call for each of some thousand connections takes longer than an answer may:
//! so the first few are told at once, the others a slice at a time, and in between whoever asks is answered.

use super::{Conn, Hub};
use crate::{
    protocol::{Event, Json},
    reactor::Timer,
};
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    time::{Duration, Instant},
};

/// How long one slice may take.
const SLICE: Duration = Duration::from_millis(2);
/// How long the others have then.
const BREAK: Duration = Duration::from_millis(1);
/// The clock is looked at after so many.
const AT_ONCE: usize = 16;

/// What is not yet told to all who may hear it, the oldest first: nobody hears of two things the other way
/// round.
#[derive(Default)]
pub struct EventQueue {
    queued: RefCell<VecDeque<QueuedEvent>>,
    telling: Cell<bool>,
}

/// An event, and who has yet to hear it, the next one last.
struct QueuedEvent {
    event: Event,
    head: String,
    tail: String,
    left: Vec<Rc<Conn>>,
}

impl EventQueue {
    /// Whether everyone knows everything.
    pub fn is_drained(&self) -> bool {
        self.queued.borrow().is_empty()
    }

    /// Tells until `end`, or all.
    fn tell(&self, end: Option<Instant>) {
        let mut queued = self.queued.borrow_mut();
        while let Some(piece) = queued.front_mut() {
            let few = piece.left.len().saturating_sub(AT_ONCE);
            for conn in piece.left.drain(few..).rev() {
                if piece.event.scope().is_none_or(|scope| conn.allows(scope)) {
                    conn.send_event(piece.event, &piece.head, &piece.tail);
                }
            }
            if piece.left.is_empty() {
                queued.pop_front();
            }
            if end.is_some_and(|end| Instant::now() >= end) {
                return;
            }
        }
    }
}

impl Hub {
    /// Sends an event to everyone who may hear it.
    pub fn broadcast(self: &Rc<Self>, event: Event, payload: &Json) {
        let head = format!(r#"{{"type":"event","event":"{}","payload":{}"#, event.as_str(), payload.0);
        let tail = match event {
            Event::Presence => format!(r#","stateVersion":{}"#, self.state_version().0),
            _ => String::new(),
        };
        let mut left = self.conns();
        left.reverse();
        self.event_queue.queued.borrow_mut().push_back(QueuedEvent { event, head, tail, left });
        if self.event_queue.telling.get() {
            return;
        }
        self.event_queue.tell(Some(Instant::now() + SLICE));
        if !self.event_queue.is_drained() {
            self.event_queue.telling.set(true);
            let hub = self.clone();
            self.spawn(async move {
                while !hub.event_queue.is_drained() {
                    Timer::after(BREAK).await;
                    hub.event_queue.tell(Some(Instant::now() + SLICE));
                }
                hub.event_queue.telling.set(false);
            });
        }
    }

    /// Tells everyone at once what not all have heard yet.
    pub fn flush_events(&self) {
        self.event_queue.tell(None);
    }
}
