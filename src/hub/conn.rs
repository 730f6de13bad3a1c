//! An attached connection: its wire, its session, and its counters.

use super::session::{SavedConn, SavedSocket, Session, Topic, write_record};
use crate::{
    admission::{Admission, LastingPermit, Source, limits},
    auth::Caller,
    clock::wall_ms,
    net::{Wire, unsent_of_all},
    protocol::{DeviceId, Event, MAX_BUFFERED, MAX_PAYLOAD, Role, Scope, Scopes},
    reactor::Async,
};
use nanoserde::{DeBin, SerBin};
use std::{
    cell::{Cell, Ref, RefCell},
    fmt,
    net::TcpStream,
    ops::Range,
    rc::Rc,
};

/// A connection's id: which start of the gateway it attached to, and its number there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, SerBin, DeBin)]
pub struct ConnId {
    /// Random, drawn at the gateway's start.
    pub boot: u32,
    /// Number of the connection, counted from 1.
    pub number: u64,
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{}", self.boot, self.number)
    }
}

/// An attached connection: its wire, session and counters.
pub struct Conn {
    /// The socket and its buffers.
    pub wire: Rc<Wire>,
    session: RefCell<Session>,
    seq: Cell<u64>,
    quiet: Cell<u8>,
    in_flight: Cell<u32>,
    /// Ids of requests that are not answered at once, where there are any.
    #[expect(clippy::box_collection, reason = "few connections ever have one")]
    waiting: RefCell<Option<Box<Vec<String>>>>,
    held: Cell<bool>,
    /// Permit of the budget of attached connections.
    _permit: LastingPermit,
}

impl Conn {
    /// Most requests of one connection that may be under way together.
    pub const IN_FLIGHT: u32 = limits::IN_FLIGHT;
    /// Most topics that one connection subscribes to.
    pub const SUBSCRIPTIONS: usize = 256;
    /// Unsent bytes from which on a connection is not sent droppable events.
    const SLOW: usize = 256 << 10;

    /// A connection that just attached.
    pub fn new(wire: Rc<Wire>, session: Session, permit: LastingPermit, admission: &Admission) -> Rc<Self> {
        Self::with(wire, session, (0, 0), permit, admission)
    }

    fn with(
        wire: Rc<Wire>,
        session: Session,
        (seq, quiet): (u64, u8),
        permit: LastingPermit,
        admission: &Admission,
    ) -> Rc<Self> {
        session.device.into_iter().for_each(|device| wire.set_source(Source::Device(device)));
        wire.attach(MAX_PAYLOAD, &admission.messages);
        Rc::new(Self {
            wire,
            session: RefCell::new(session),
            seq: Cell::new(seq),
            quiet: Cell::new(quiet),
            in_flight: Cell::new(0),
            waiting: RefCell::default(),
            held: Cell::new(false),
            _permit: permit,
        })
    }

    /// Saves the connection as it is now, as a [`SavedConn`]; `more` is yet to be sent, too, and with `cookie`
    /// another process finds its socket.
    pub fn write(&self, more: &[u8], cookie: bool, out: &mut Vec<u8>) {
        let socket = SavedSocket::of(&self.wire, cookie);
        let live = (self.seq.get(), self.quiet.get(), &self.wire.closing());
        self.wire.with_buffers(|input, unsent| {
            write_record(socket, &self.session.borrow(), live, (input, [unsent, more]), out);
        });
    }

    /// Restores a saved connection over its socket.
    pub fn restore(saved: SavedConn, socket: Async<TcpStream>, admission: &Admission) -> Rc<Self> {
        let wire = Wire::new(socket, saved.input, saved.output, MAX_PAYLOAD);
        wire.set_closing(saved.close);
        let source = saved.session.device.map_or(Source::Loopback, Source::Device);
        let permit = admission.attached.restore_and_stay(source);
        Self::with(wire, saved.session, (saved.seq, saved.quiet), permit, admission)
    }

    /// Ticks since it was heard.
    pub fn quiet(&self) -> u8 {
        self.quiet.get()
    }

    /// Borrows the session.
    pub fn session(&self) -> Ref<'_, Session> {
        self.session.borrow()
    }

    /// Id of the connection.
    pub fn id(&self) -> ConnId {
        self.session.borrow().id
    }

    /// Id of the connection's device, if it has one.
    pub fn device(&self) -> Option<DeviceId> {
        self.session.borrow().device
    }

    /// Role of the connection.
    pub fn role(&self) -> Role {
        self.session.borrow().role
    }

    /// Whether it is an operator with `scope`.
    pub fn allows(&self, scope: Scope) -> bool {
        let session = self.session.borrow();
        session.role == Role::Operator && session.scopes.allows(scope)
    }

    /// The caller, where it asks to see or change devices.
    pub fn caller(&self) -> Caller {
        let session = self.session.borrow();
        let scopes = if session.role == Role::Operator { session.scopes } else { Scopes::NONE };
        Caller { scopes, device: session.device }
    }

    /// Subscribes to a topic; false if there are [`SUBSCRIPTIONS`](Self::SUBSCRIPTIONS) already.
    pub fn subscribe(&self, topic: Topic) -> bool {
        let subscriptions = &mut self.session.borrow_mut().subscriptions;
        let room = subscriptions.len() < Self::SUBSCRIPTIONS || subscriptions.contains(&topic);
        if room {
            subscriptions.insert(topic);
        }
        room
    }

    /// Ends a subscription.
    pub fn unsubscribe(&self, topic: &Topic) {
        self.session.borrow_mut().subscriptions.remove(topic);
    }

    /// Whether it subscribed to `topic`.
    pub fn is_subscribed(&self, topic: &Topic) -> bool {
        self.session.borrow().subscriptions.contains(topic)
    }

    /// Grants the scopes that it requested of those that are approved now.
    pub fn regrant(&self, approved: Scopes) {
        let mut session = self.session.borrow_mut();
        session.scopes = session.requested.granted(approved);
    }

    /// Sends an event: `head` is its JSON up to the payload's end, `tail` what stands after `seq`.
    ///
    /// A slow reader misses droppable events; one that is too slow is closed.
    pub fn send_event(&self, event: Event, head: &str, tail: &str) {
        let waiting = self.wire.unsent_behind();
        if event.droppable() && waiting > Self::SLOW {
            return;
        }
        let seq = self.seq.get() + 1;
        self.seq.set(seq);
        // One that is not delivered is small, and the connection is closed.
        let _ = self.send(&format!("{head},\"seq\":{seq}{tail}}}"));
    }

    /// Sends an event that the gateway behind this one sent: as it is, but for the number at `seq`, which becomes the
    /// connection's next.
    pub fn relay_event(&self, text: &str, seq: Option<Range<usize>>) {
        let Some((before, after)) = seq.and_then(|at| Some((text.get(..at.start)?, text.get(at.end..)?)))
        else {
            let _ = self.send(text);
            return;
        };
        let seq = self.seq.get() + 1;
        self.seq.set(seq);
        let _ = self.send(&format!("{before}{seq}{after}"));
    }

    /// Leaves a number of its events out. A page takes that for events that were lost, and connects again by itself; the
    /// others refresh what they show. A client knows of the gap only if it had a numbered event before it and has one after.
    pub fn leave_a_gap(&self) {
        for step in [1, 2] {
            let seq = self.seq.get() + step;
            self.seq.set(seq);
            let (tick, ts) = (Event::Tick.as_str(), wall_ms());
            let _ = self
                .send(&format!(r#"{{"type":"event","event":"{tick}","payload":{{"ts":{ts}}},"seq":{seq}}}"#));
        }
    }

    /// Reads no further requests while `held`: what the client sent before is not taken yet.
    pub fn hold(&self, held: bool) {
        if self.held.replace(held) && !held {
            self.wire.wake();
        }
    }

    /// Whether no further requests are read.
    pub fn is_held(&self) -> bool {
        self.held.get()
    }

    /// Sends a frame. A reader that is behind with small ones is closed.
    ///
    /// # Errors
    /// [`Undelivered`]: a large one, to be answered to its sender.
    pub fn send(&self, text: &str) -> Result<(), Undelivered> {
        // Where all together have much to read, the next frame for one that is far behind is its last.
        let crowded = unsent_of_all() > limits::UNSENT_BYTES && self.wire.unsent() > Self::SLOW;
        match Undelivered::judge(text.len(), self.wire.unsent(), self.wire.unsent_behind()) {
            _ if crowded => {
                log::warn!(
                    "closing {}: it does not read what it is sent, and all together have {} bytes to read",
                    self.session.borrow().name(),
                    unsent_of_all()
                );
                self.wire.close(1008, "slow consumer");
            }
            None => self.wire.send_text(text),
            Some(Undelivered::Behind(_)) if text.len() <= Self::SLOW => {
                log::warn!("closing {}: it does not read what it is sent", self.session.borrow().name());
                self.wire.close(1008, "slow consumer");
            }
            Some(undelivered) => return Err(undelivered),
        }
        Ok(())
    }

    /// Notes that the peer sent something.
    pub fn heard(&self) {
        self.quiet.set(0);
    }

    /// Counts a tick; returns the ticks since the peer last sent something.
    pub fn count_tick(&self) -> u8 {
        let quiet = self.quiet.get().saturating_add(1);
        self.quiet.set(quiet);
        quiet
    }

    /// Begins a request; `None` when too many are under way.
    pub fn begin(self: &Rc<Self>) -> Option<InFlight> {
        let n = self.in_flight.get();
        (n < Self::IN_FLIGHT).then(|| {
            self.in_flight.set(n + 1);
            InFlight { conn: self.clone(), id: None }
        })
    }

    /// The ids of requests that have not been answered at once.
    pub fn waiting(&self) -> Vec<String> {
        self.waiting.borrow().as_deref().cloned().unwrap_or_default()
    }

    /// The number of requests under way.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.get()
    }
}

/// Why a frame is not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Undelivered {
    /// The message is larger than `policy.maxPayload`; its size in bytes.
    TooLarge(usize),
    /// The peer has so many bytes to read first.
    Behind(usize),
}

impl Undelivered {
    /// Judges a frame of `length` where `unsent` bytes wait, `behind` of them after the message that is being sent: that
    /// one may be as large as any.
    fn judge(length: usize, unsent: usize, behind: usize) -> Option<Self> {
        match () {
            () if length > MAX_PAYLOAD => Some(Self::TooLarge(length)),
            () if unsent > 0 && behind + length > MAX_BUFFERED => Some(Self::Behind(unsent)),
            () => None,
        }
    }
}

impl fmt::Display for Undelivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(n) => write!(f, "a frame of {n} bytes; policy.maxPayload is {MAX_PAYLOAD}"),
            Self::Behind(n) => write!(f, "{n} bytes wait to be read first"),
        }
    }
}

/// A guard of a request under way, which ends when this is dropped.
pub struct InFlight {
    conn: Rc<Conn>,
    id: Option<String>,
}

impl InFlight {
    /// Notes that the request with this id is not answered at once.
    pub fn waits(&mut self, id: &str) {
        self.id = Some(id.into());
        self.conn.waiting.borrow_mut().get_or_insert_default().push(id.into());
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.conn.in_flight.set(self.conn.in_flight.get() - 1);
        if let Some(id) = &self.id {
            let mut ids = self.conn.waiting.borrow_mut();
            let Some(waiting) = &mut *ids else { return };
            waiting.iter().position(|w| w == id).map(|at| waiting.swap_remove(at));
            if waiting.is_empty() {
                *ids = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_delivered() {
        use Undelivered::{Behind, TooLarge};
        const MIB: usize = 1 << 20;
        let rows = [
            (25 * MIB, 0, 0, None),
            (25 * MIB + 1, 0, 0, Some(TooLarge(25 * MIB + 1))),
            // The message that is being sent is no reason to refuse others.
            (100, 20 * MIB, 0, None),
            (8 * MIB, 20 * MIB, 0, None),
            (9 * MIB, 20 * MIB, 0, Some(Behind(20 * MIB))),
            (100, 20 * MIB, 8 * MIB - 100, None),
            (101, 20 * MIB, 8 * MIB - 100, Some(Behind(20 * MIB))),
        ];
        for (length, unsent, behind, expected) in rows {
            assert_eq!(Undelivered::judge(length, unsent, behind), expected, "{length} after {unsent}");
        }
    }
}
