//! The words on the wire: who may speak (ids, roles, scopes), how frames look, which methods and
//! events exist, and what a refusal says.
//!
//! Source: the pages `docs/gateway/protocol/*.md` of the npm package `openclaw`, and
//! `protocol.schema.json` of `@openclaw/gateway-protocol`.

mod base64;
mod id;
mod role;
mod scope;

pub use base64::{decode as base64url_decode, encode as base64url_encode};
pub use id::{DeviceId, PublicKey, RequestId, TokenHash, hex};
pub use role::Role;
pub use scope::{Scope, Scopes};
