//! Roles of a connection: operator or node.

use nanoserde::{DeBin, SerBin};
use std::fmt;

/// The role a connection asks for. OpenClaw's third, `worker`, speaks a closed protocol of its own
/// and is not served.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, SerBin, DeBin)]
pub enum Role {
    /// A control-plane client: CLI, UI, agent, automation.
    Operator,
    /// A capability host: it is invoked.
    Node,
}

impl Role {
    /// Reads the wire name. `None` for any other word.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "operator" => Some(Self::Operator),
            "node" => Some(Self::Node),
            _ => None,
        }
    }

    /// Name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Node => "node",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
