//! JSON objects of answers and events, written field by field; fields are named as on the wire.
//!
//! Source: the definitions of `protocol.schema.json`, and recordings of a gateway of 2026.9.6 where the
//! schema leaves an answer open.

pub(super) use crate::protocol::Object;
use crate::store::Display;

impl Object {
    /// Adds the display data of a client, under `name`.
    pub(super) fn client(self, name: Option<&str>, display: &Display) -> Self {
        self.opt("displayName", name)
            .opt("platform", display.platform.as_ref())
            .opt("deviceFamily", display.family.as_ref())
            .opt("clientId", display.client_id.as_ref())
            .opt("clientMode", display.client_mode.as_ref())
            .opt("remoteIp", display.ip.as_ref())
    }
}
