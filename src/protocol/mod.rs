//! The wire protocol: identities, roles, scopes, frames, the parameters of `connect`, methods and
//! events, and errors.
//!
//! Source: the pages `docs/gateway/protocol/*.md` of the npm package `openclaw`, and
//! `protocol.schema.json` of `@openclaw/gateway-protocol`.

mod base64;
mod connect;
mod display;
mod error;
mod event;
mod fields;
mod frame;
mod id;
pub(crate) mod json;
mod method;
mod object;
mod params;
mod role;
mod scope;

pub use base64::{
    decode as base64url_decode, decode_array as base64url_decode_array, encode as base64url_encode,
    encode_array as base64url_array,
};
pub use connect::{Connect, DeviceParams};
pub use display::displayed;
pub use error::{
    Details, ErrorCode, ErrorShape, Fingerprints, Issue, PairingReason, approve_command, role_phrase,
};
pub use event::{AudienceKind, Event};
pub use fields::{Fields, raw_member};
pub use frame::{BadFrame, Json, Request as RequestFrame, refusal, response};
pub use id::{DeviceId, PublicKey, RequestId, TokenHash, hex};
pub use method::{is_openclaws, openclaw_scope};
pub use object::{Object, Readable};
pub use params::{ParamFault, Params};
pub use role::Role;
pub use scope::{Scope, Scopes};

/// The oldest protocol version served; OpenClaw's of 2026.2.
pub const PROTOCOL_MIN: u64 = 3;
/// The newest protocol version served; OpenClaw's of 2026.9.
pub const PROTOCOL_MAX: u64 = 4;

/// Largest frame an attached client may send, bytes; `policy.maxPayload`.
pub const MAX_PAYLOAD: usize = 26_214_400;
/// Most bytes that may wait for a client that does not read; `policy.maxBufferedBytes`.
pub const MAX_BUFFERED: usize = 8 << 20;
/// Largest frame before a client has attached, bytes.
pub const MAX_CONNECT_FRAME: usize = 256 << 10;
/// Between two ticks, milliseconds; `policy.tickIntervalMs`.
pub const TICK_MS: u64 = 15_000;
