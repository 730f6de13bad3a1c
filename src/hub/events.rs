//! Events to attached connections. A system call for each of some thousand connections takes longer than an
//! answer may: the first few are sent at once, the others a slice at a time, and in between requests are answered.

use super::{Conn, ConnId, Connections, Topic, Undelivered};
use crate::{
    protocol::{AudienceKind, DeviceId, Event, Json},
    reactor::{Tasks, Timer},
};
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::{Rc, Weak},
    time::{Duration, Instant},
};

/// The longest time that one slice takes.
const SLICE: Duration = Duration::from_millis(2);
/// The pause between two slices.
const BREAK: Duration = Duration::from_millis(1);
/// Connections served between two looks at the clock.
const AT_ONCE: usize = 16;

/// Receivers of an event; only those with the scope in the event's row get it.
#[derive(Clone, Copy)]
pub enum Audience<'a> {
    /// Every attached connection.
    Everyone,
    /// The connections that may manage this device; see [`Caller::manages`](crate::auth::Caller::manages).
    Managers(DeviceId),
    /// The connections that subscribed to this topic.
    Subscribers(&'a Topic),
    /// The connection with this id.
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
            Self::Managers(device) => conn.caller().manages(device),
            Self::Subscribers(topic) => conn.is_subscribed(topic),
            Self::Connection(id) => conn.id() == *id,
        };
        among && event.scope().is_none_or(|scope| conn.allows(scope))
    }
}

/// The event queue: events not yet sent to their whole audience, the oldest first, so that no connection
/// receives two events in another order.
pub struct Events {
    /// Those in this process that hear what goes to everyone.
    listeners: RefCell<Vec<Weak<Hear>>>,
    conns: Rc<Connections>,
    tasks: Tasks,
    queued: RefCell<VecDeque<QueuedEvent>>,
    sending: Cell<bool>,
}

type Hear = dyn Fn(Event, &Json);

/// A listener within this process, until it is dropped.
pub struct Listener(#[expect(dead_code, reason = "held, so that the list's weak reference lives")] Rc<Hear>);

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
        let (listeners, queued) = Default::default();
        Rc::new(Self { listeners, conns, tasks, queued, sending: Cell::new(false) })
    }

    /// Has `hear` told of every event to everyone from now on. It must not publish any.
    pub fn listen(&self, hear: impl Fn(Event, &Json) + 'static) -> Listener {
        let hear: Rc<Hear> = Rc::new(hear);
        let mut listeners = self.listeners.borrow_mut();
        listeners.retain(|listener| listener.strong_count() > 0);
        listeners.push(Rc::downgrade(&hear));
        Listener(hear)
    }

    /// Sends an event to `audience`, which must be of the kind in the event's row.
    pub fn publish(self: &Rc<Self>, event: Event, audience: Audience<'_>, payload: &Json) {
        debug_assert_eq!(audience.kind(), event.audience(), "{}", event.as_str());
        if let Audience::Connection(id) = audience {
            // Without a number in its sequence, as OpenClaw sends to nodes.
            if let Some(conn) = self.conns.get(id).filter(|conn| audience.has(event, conn)) {
                // What has a sender who is to know goes by `deliver`.
                let _ = self.deliver(&conn, event, payload);
            }
            return;
        }
        if matches!(audience, Audience::Everyone) {
            for hear in self.listeners.borrow().iter().filter_map(Weak::upgrade) {
                hear(event, payload);
            }
        }
        self.enqueue(event, audience, head(event, payload), String::new());
    }

    /// Sends an event to one connection, without a number in its sequence.
    ///
    /// # Errors
    /// [`Undelivered`].
    pub(crate) fn deliver(&self, conn: &Conn, event: Event, payload: &Json) -> Result<(), Undelivered> {
        conn.send(&format!("{}}}", head(event, payload)))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::{Admission, Source, limits::Places};
    use crate::{
        auth::Basis,
        hub::{SavedConn, Session},
        net::Wire,
        protocol::{Role, Scope},
        reactor::{Async, block_on},
        store::Display,
    };
    use nanoserde::DeBin;
    use smol::LocalExecutor;
    use std::{
        collections::BTreeSet,
        io::Read,
        net::{TcpListener, TcpStream},
    };

    fn session(id: ConnId, scope: Scope) -> Session {
        Session {
            id,
            protocol: 4,
            role: Role::Operator,
            requested: [scope].into_iter().collect(),
            scopes: [scope].into_iter().collect(),
            device: Some(DeviceId([id.number as u8; 32])),
            basis: Basis::DeviceKey,
            client: Rc::new(Display::default()),
            instance: None,
            declared: None,
            local: false,
            connected_ms: 0,
            subscriptions: BTreeSet::new(),
        }
    }

    /// A connection that has attached, and the other end of its socket.
    fn attach(conns: &Connections, scope: Scope) -> (Rc<Conn>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = Async::new(listener.accept().unwrap().0).unwrap();
        let wire = Wire::new(socket, Vec::new(), Vec::new(), 1 << 20);
        let admission = Admission::new(Places::of(1024, false));
        let permit = admission.attached.restore_and_stay(Source::Loopback);
        let conn = Conn::new(wire, session(conns.next_id(), scope), permit, &admission);
        conns.insert(&conn);
        (conn, peer)
    }

    /// The names and numbers of the events that a closed connection was sent.
    fn received(mut peer: TcpStream) -> Vec<String> {
        let mut bytes = Vec::new();
        peer.read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let sent = text.split(r#""event":""#).skip(1);
        sent.map(|event| event.split('}').next().unwrap_or_default().into()).collect()
    }

    #[test]
    fn a_subscription_is_served_to_its_subscribers_before_and_after_a_hand_over() {
        block_on(async {
            let tasks = Tasks::new(Rc::new(LocalExecutor::new()));
            let conns = Connections::new(1);
            let events = Events::new(&conns, &tasks);
            let (subscriber, peer) = attach(&conns, Scope::Read);
            let (other, other_peer) = attach(&conns, Scope::Read);
            let (without_scope, last_peer) = attach(&conns, Scope::Pairing);
            let topic = Topic::new("sessions.messages", Some("agent:main:main"));
            let elsewhere = Topic::new("sessions.messages", Some("agent:main:other"));
            assert!(subscriber.subscribe(topic.clone()) && without_scope.subscribe(topic.clone()));
            assert!(other.subscribe(elsewhere.clone()));
            let publish = |text: &str| {
                let head = head(Event::Presence, &Json(format!("\"{text}\"")));
                events.enqueue(Event::Presence, Audience::Subscribers(&topic), head, String::new());
            };
            publish("one");
            // The subscriber's connection continues in another process image.
            let mut bytes = Vec::new();
            subscriber.write(&[], false, &mut bytes);
            let saved: SavedConn = DeBin::deserialize_bin(&bytes).unwrap();
            let socket = subscriber.wire.socket().get_ref().try_clone().unwrap();
            conns.remove(subscriber.id());
            let restored =
                Conn::restore(saved, Async::new(socket).unwrap(), &Admission::new(Places::of(1024, false)));
            conns.insert(&restored);
            publish("two");
            restored.unsubscribe(&topic);
            publish("three");
            assert!(events.is_drained());
            for conn in [subscriber, restored, other, without_scope] {
                conns.remove(conn.id());
            }
            let expected = [r#"presence","payload":"one","seq":1"#, r#"presence","payload":"two","seq":2"#];
            assert_eq!(received(peer), expected);
            assert!(received(other_peer).is_empty() && received(last_peer).is_empty());
        })
        .unwrap();
    }

    #[test]
    fn an_event_about_a_device_goes_to_those_who_manage_it() {
        block_on(async {
            let tasks = Tasks::new(Rc::new(LocalExecutor::new()));
            let conns = Connections::new(1);
            let events = Events::new(&conns, &tasks);
            let peers = [Scope::Pairing, Scope::Pairing, Scope::Admin, Scope::Read]
                .map(|scope| attach(&conns, scope).1);
            let about = Audience::Managers(DeviceId([2; 32]));
            events.publish(Event::DevicePairRequested, about, &Json("{}".into()));
            conns.all().iter().for_each(|conn| conns.remove(conn.id()));
            assert_eq!(peers.map(|peer| received(peer).len()), [0, 1, 1, 0]);
        })
        .unwrap();
    }
}
