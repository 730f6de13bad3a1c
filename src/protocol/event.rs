//! Events: what the gateway says unasked.

use super::Scope;

/// An event's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The first frame of every connection.
    ConnectChallenge,
    /// The gateway lives.
    Tick,
    /// The gateway goes, or restarts.
    Shutdown,
    /// Who is here changed.
    Presence,
    /// A device waits for approval.
    DevicePairRequested,
    /// It was approved or rejected.
    DevicePairResolved,
    /// A paired device changed (renamed, rotated, revoked, removed).
    DevicePairChanged,
    /// A setup code was spent.
    DevicePairSetupCompleted,
    /// A node waits for more commands.
    NodePairRequested,
    /// It was approved or rejected.
    NodePairResolved,
    /// A node is asked to do something.
    NodeInvokeRequest,
    /// The configuration was reloaded, or could not be: Barnacle's own.
    ConfigReloaded,
}

impl Event {
    /// All of them, in the order they are listed in `features.events`.
    pub const ALL: [Self; 12] = [
        Self::ConnectChallenge,
        Self::Tick,
        Self::Shutdown,
        Self::Presence,
        Self::DevicePairRequested,
        Self::DevicePairResolved,
        Self::DevicePairChanged,
        Self::DevicePairSetupCompleted,
        Self::NodePairRequested,
        Self::NodePairResolved,
        Self::NodeInvokeRequest,
        Self::ConfigReloaded,
    ];

    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConnectChallenge => "connect.challenge",
            Self::Tick => "tick",
            Self::Shutdown => "shutdown",
            Self::Presence => "presence",
            Self::DevicePairRequested => "device.pair.requested",
            Self::DevicePairResolved => "device.pair.resolved",
            Self::DevicePairChanged => "device.pair.changed",
            Self::DevicePairSetupCompleted => "device.pair.setup.completed",
            Self::NodePairRequested => "node.pair.requested",
            Self::NodePairResolved => "node.pair.resolved",
            Self::NodeInvokeRequest => "node.invoke.request",
            Self::ConfigReloaded => "config.reloaded",
        }
    }

    /// The operator scope that lets one hear it; `None` for everyone, nodes included.
    pub fn scope(self) -> Option<Scope> {
        match self {
            Self::ConnectChallenge | Self::Tick | Self::Shutdown | Self::NodeInvokeRequest => None,
            Self::Presence | Self::ConfigReloaded => Some(Scope::Read),
            _ => Some(Scope::Pairing),
        }
    }

    /// Whether a client that reads slowly may miss it: the next one says the same.
    pub fn droppable(self) -> bool {
        matches!(self, Self::Tick | Self::Presence)
    }
}
