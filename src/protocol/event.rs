//! Events that the gateway sends: one row for each.

use super::Scope;

/// An event of the protocol, or of Barnacle's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The first frame of every connection.
    ConnectChallenge,
    /// Sign of life, sent at every tick.
    Tick,
    /// The gateway stops or restarts.
    Shutdown,
    /// The list of connected clients changed.
    Presence,
    /// A device waits for approval.
    DevicePairRequested,
    /// A device's request was approved or rejected.
    DevicePairResolved,
    /// A paired device was renamed, rotated, revoked or removed.
    DevicePairChanged,
    /// A setup code was used.
    DevicePairSetupCompleted,
    /// A node waits for the approval of more commands.
    NodePairRequested,
    /// A node's request was approved or rejected.
    NodePairResolved,
    /// A node is asked to run a command.
    NodeInvokeRequest,
    /// A session was made, changed, reset or removed.
    SessionsChanged,
    /// Something was added to a transcript.
    SessionMessage,
    /// A run says something, or ended.
    Chat,
    /// The same for programs: a stream of its own for each kind of news.
    Agent,
    /// The configuration was reloaded, or could not be: Barnacle's own.
    ConfigReloaded,
}

/// The kind of connections that an event is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AudienceKind {
    /// Every attached connection.
    Everyone,
    /// Connections that may manage the device that the event is about.
    Managers,
    /// Connections that subscribed to the event's topic.
    Subscribers,
    /// One connection only.
    Connection,
}

/// Row of an event.
struct Row {
    event: Event,
    name: &'static str,
    /// The operator scope that a receiver needs; `None` for everyone, nodes included.
    scope: Option<Scope>,
    /// Whether a client that reads slowly may miss it, since the next one says the same.
    droppable: bool,
    audience: AudienceKind,
}

const fn row(
    event: Event,
    name: &'static str,
    scope: Option<Scope>,
    droppable: bool,
    audience: AudienceKind,
) -> Row {
    Row { event, name, scope, droppable, audience }
}

/// Every event, in the order of `features.events` and of [`Event`].
#[rustfmt::skip]
const EVENTS: [Row; 16] = {
    use AudienceKind::*;
    use Event::*;
    const READ: Option<Scope> = Some(Scope::Read);
    const PAIRING: Option<Scope> = Some(Scope::Pairing);
    [
        row(ConnectChallenge,         "connect.challenge",           None,    false, Connection),
        row(Tick,                     "tick",                        None,    true,  Everyone),
        row(Shutdown,                 "shutdown",                    None,    false, Everyone),
        row(Presence,                 "presence",                    READ,    true,  Everyone),
        row(DevicePairRequested,      "device.pair.requested",       PAIRING, false, Managers),
        row(DevicePairResolved,       "device.pair.resolved",        PAIRING, false, Managers),
        row(DevicePairChanged,        "device.pair.changed",         PAIRING, false, Managers),
        row(DevicePairSetupCompleted, "device.pair.setup.completed", PAIRING, false, Managers),
        row(NodePairRequested,        "node.pair.requested",         PAIRING, false, Managers),
        row(NodePairResolved,         "node.pair.resolved",          PAIRING, false, Managers),
        row(NodeInvokeRequest,        "node.invoke.request",         None,    false, Connection),
        row(SessionsChanged,          "sessions.changed",            READ,    false, Subscribers),
        row(SessionMessage,           "session.message",             READ,    false, Subscribers),
        row(Chat,                     "chat",                        READ,    false, Everyone),
        row(Agent,                    "agent",                       READ,    true,  Everyone),
        row(ConfigReloaded,           "config.reloaded",             READ,    false, Everyone),
    ]
};

/// A row is found by its place.
const _: () = {
    let mut at = 0;
    while at < EVENTS.len() {
        assert!(EVENTS[at].event as usize == at);
        at += 1;
    }
};

impl Event {
    fn row(self) -> &'static Row {
        &EVENTS[self as usize]
    }

    /// Lists the names of all events, as in `features.events`.
    pub fn names() -> impl Iterator<Item = &'static str> {
        EVENTS.iter().map(|row| row.name)
    }

    /// Name on the wire.
    pub fn as_str(self) -> &'static str {
        self.row().name
    }

    /// The operator scope that a receiver needs; `None` for everyone, nodes included.
    pub fn scope(self) -> Option<Scope> {
        self.row().scope
    }

    /// Whether the event may be dropped for a client that reads slowly.
    pub fn droppable(self) -> bool {
        self.row().droppable
    }

    /// The kind of connections that it is for.
    pub fn audience(self) -> AudienceKind {
        self.row().audience
    }
}
