//! A session: everything that is known of an attached connection, as plain data.
//!
//! It holds no future and no handle, so `nanoserde` can write it and read it back; together with the
//! socket and the bytes under way ([`Saved`]) the connection goes on in another process.

use crate::{
    auth::Basis,
    net::wire::Close,
    protocol::{DeviceId, Role, Scopes},
    store::{Display, Surface},
};
use nanoserde::{DeBin, SerBin};
use std::collections::BTreeSet;

/// What a connection can subscribe to: a family of events and, where it has several, which of them; in use,
/// the name of the method that subscribes and the key of a session.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, SerBin, DeBin)]
pub struct Topic {
    /// The family.
    pub family: String,
    /// One of the family, or all of it.
    pub key: Option<String>,
}

impl Topic {
    /// The topic `key` of `family`.
    pub fn new(family: &str, key: Option<&str>) -> Self {
        Self { family: family.into(), key: key.map(str::to_owned) }
    }
}

/// The facts of an attached connection.
#[derive(Clone, PartialEq, Debug, SerBin, DeBin)]
pub struct Session {
    /// Which connection, unique among all processes of this gateway.
    pub id: super::ConnId,
    /// The protocol version agreed on.
    pub protocol: u64,
    /// Its role.
    pub role: Role,
    /// What it asked for.
    pub requested: Scopes,
    /// What it may.
    pub scopes: Scopes,
    /// Its device, if it proved one.
    pub device: Option<DeviceId>,
    /// What it rests on.
    pub basis: Basis,
    /// What it says of itself.
    pub client: Display,
    /// `client.instanceId`.
    pub instance: Option<String>,
    /// What it declared, if it is a node.
    pub declared: Surface,
    /// Whether it is this host, speaking for itself.
    pub local: bool,
    /// When it attached, wall-clock milliseconds.
    pub connected_ms: u64,
    /// The topics whose events it is sent.
    pub subscriptions: BTreeSet<Topic>,
}

impl Session {
    /// `client.mode`, or nothing.
    pub fn mode(&self) -> &str {
        self.client.client_mode.as_deref().unwrap_or_default()
    }

    /// The words a log line calls it by.
    pub fn name(&self) -> String {
        let device = self.device.map_or_else(|| "no device".into(), |d| d.short());
        let client = self.client.client_id.as_deref().unwrap_or("client");
        format!("{} {} ({device}, {client})", self.role, self.id)
    }
}

/// A session with what is under way on its connection. [`Conn::write`](super::Conn::write) writes it, in this
/// order.
#[derive(Clone, PartialEq, Debug, SerBin, DeBin)]
pub struct Saved {
    /// The facts.
    pub session: Session,
    /// The `seq` of the last event it was sent.
    pub seq: u64,
    /// Pulses since it was last heard.
    pub quiet: u8,
    /// Bytes read and not yet understood.
    pub input: Vec<u8>,
    /// Bytes not yet sent.
    pub output: Vec<u8>,
    /// The end that was asked for.
    pub close: Option<Close>,
}
