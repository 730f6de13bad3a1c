//! JSON objects of answers and events, written field by field; fields are named as on the wire.
//!
//! Source: the definitions of `protocol.schema.json`, and recordings of a gateway of 2026.9.6 where the
//! schema leaves an answer open.

use crate::{protocol::Json, store::Display};
use nanoserde::{SerJson, SerJsonState};

/// An object that is being written.
pub(super) struct Object(SerJsonState);

impl Object {
    pub(super) fn new() -> Self {
        Self(SerJsonState::new(String::from("{")))
    }

    /// Adds a field.
    pub(super) fn put(mut self, name: &str, value: &(impl SerJson + ?Sized)) -> Self {
        if self.0.out.len() > 1 {
            self.0.out.push(',');
        }
        self.0.out.push('"');
        self.0.out.push_str(name);
        self.0.out.push_str("\":");
        value.ser_json(0, &mut self.0);
        self
    }

    /// Adds a field, if there is a value.
    pub(super) fn opt(self, name: &str, value: Option<&(impl SerJson + ?Sized)>) -> Self {
        match value {
            Some(value) => self.put(name, value),
            None => self,
        }
    }

    /// Adds the display data of a client, under `name`.
    pub(super) fn client(self, name: Option<&str>, display: &Display) -> Self {
        self.opt("displayName", name)
            .opt("platform", display.platform.as_ref())
            .opt("deviceFamily", display.family.as_ref())
            .opt("clientId", display.client_id.as_ref())
            .opt("clientMode", display.client_mode.as_ref())
            .opt("remoteIp", display.ip.as_ref())
    }

    /// Returns the finished JSON.
    pub(super) fn json(mut self) -> Json {
        self.0.out.push('}');
        Json(self.0.out)
    }
}
