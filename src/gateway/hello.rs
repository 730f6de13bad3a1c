//! `hello-ok`, and the device tokens it hands out.
//!
//! What never changes of it is built once. Source: `HelloOk` of `protocol.schema.json`.

use crate::{
    auth::policy::Bearer,
    live::{Conn, Hub},
    protocol::{DeviceId, Event, Json, MAX_BUFFERED, MAX_PAYLOAD, Role, Scopes, TICK_MS, method_names},
    store::{Book, Device},
};
use nanoserde::SerJson;
use std::{rc::Rc, sync::OnceLock};

/// Most generations looked back for a token that was once right.
const LOOK_BACK: u32 = 16;

/// What `token` is to the device `id` in `role`.
pub fn token_generations(
    hub: &Hub,
    book: &Book,
    id: &DeviceId,
    record: Option<&Device>,
    role: Role,
    token: &str,
) -> Bearer {
    let equal = |role, generation| {
        let right = hub.store.key().device_token(id, role, generation);
        bool::from(subtle::ConstantTimeEq::ct_eq(right.as_bytes(), token.as_bytes()))
    };
    let newest = |role| match record {
        Some(d) => d.grant(role).map_or(0, |g| g.generation),
        None => book.tombstone(id).map_or(1, |t| t.generation),
    };
    if let Some(grant) = record.and_then(|d| d.grant(role)) {
        let honoured = grant.grace_ms.is_some_and(|left| hub.boot.clock.uptime_ms() < left);
        if equal(role, grant.generation)
            || (honoured && grant.generation > 1 && equal(role, grant.generation - 1))
            || grant.imported.is_some_and(|hash| hash.matches(token))
        {
            return Bearer::Good;
        }
    }
    let top = newest(role);
    if (top.saturating_sub(LOOK_BACK).max(1)..=top).any(|generation| equal(role, generation)) {
        return Bearer::Old;
    }
    let other = if role == Role::Node { Role::Operator } else { Role::Node };
    if newest(other) > 0 && equal(other, newest(other)) {
        return Bearer::OtherRole(other);
    }
    Bearer::Unknown { explicit: false }
}

#[derive(SerJson)]
#[allow(non_snake_case)]
struct Auth {
    role: &'static str,
    scopes: Vec<String>,
    deviceToken: Option<String>,
    issuedAtMs: Option<u64>,
    deviceTokens: Option<Vec<Token>>,
}

#[derive(SerJson)]
#[allow(non_snake_case)]
struct Token {
    deviceToken: String,
    role: &'static str,
    scopes: Vec<String>,
    issuedAtMs: u64,
}

fn token(hub: &Hub, device: &Device, role: Role) -> Option<Token> {
    let grant = device.grant(role).filter(|g| g.revoked_ms.is_none())?;
    Some(Token {
        deviceToken: hub.store.key().device_token(&device.id(), role, grant.generation),
        role: role.as_str(),
        scopes: grant.scopes.names(),
        issuedAtMs: grant.rotated_ms.unwrap_or(grant.created_ms),
    })
}

/// The response to `connect` that lets `conn` in; `extra` are further roles whose tokens it gets.
pub fn frame(hub: &Rc<Hub>, conn: &Conn, request_id: &str, extra: &[(Role, Scopes)]) -> String {
    static FIXED: OnceLock<String> = OnceLock::new();
    let fixed = FIXED.get_or_init(fixed);
    let session = conn.session();
    let book = hub.book();
    let device = session.device.and_then(|id| book.device(&id).cloned());
    let own = device.as_ref().and_then(|d| token(hub, d, session.role));
    let extra: Vec<Token> =
        device.iter().flat_map(|d| extra.iter().filter_map(|(role, _)| token(hub, d, *role))).collect();
    let auth = Auth {
        role: session.role.as_str(),
        scopes: session.scopes.names(),
        issuedAtMs: own.as_ref().map(|t| t.issuedAtMs),
        deviceToken: own.map(|t| t.deviceToken),
        deviceTokens: (!extra.is_empty()).then_some(extra),
    };
    let settings = hub.settings();
    let agents = &settings.config.agents;
    let presence = hub.presence_list();
    let mut out = String::with_capacity(fixed.len() + presence.0.len() + 1024);
    let mut put = |parts: &[&str]| parts.iter().for_each(|p| out.push_str(p));
    put(&[
        r#"{"type":"res","id":"#,
        &request_id.serialize_json(),
        r#","ok":true,"payload":{"type":"hello-ok","protocol":"#,
        &session.protocol.to_string(),
        r#","server":{"version":""#,
        env!("CARGO_PKG_VERSION"),
        r#"","bootId":""#,
        &hub.boot.id,
        r#"","connId":""#,
        &session.id.to_string(),
        r#""},"#,
        fixed,
        r#","snapshot":{"presence":"#,
        &presence.0,
        r#","health":{},"stateVersion":"#,
        &hub.state_version().0,
        r#","uptimeMs":"#,
        &hub.boot.clock.uptime_ms().to_string(),
        r#","configPath":"#,
        &settings.paths.config_file.to_string_lossy().serialize_json(),
        r#","stateDir":"#,
        &settings.paths.state_dir.to_string_lossy().serialize_json(),
        r#","sessionDefaults":{"defaultAgentId":"#,
        &agents.default.serialize_json(),
        r#","mainKey":"#,
        &agents.main_key.serialize_json(),
        r#","mainSessionKey":"#,
        &agents.main_session().serialize_json(),
        r#","scope":""#,
        if agents.global { "global" } else { "per-sender" },
        r#""},"authMode":""#,
        settings.auth.as_str(),
        r#""},"auth":"#,
        &Json::of(&auth).0,
        "}}",
    ]);
    out
}

/// `features` and `policy`.
fn fixed() -> String {
    let list = |names: Vec<String>| names.serialize_json();
    format!(
        r#""features":{{"methods":{},"events":{},"capabilities":[]}},"policy":{{"maxPayload":{MAX_PAYLOAD},"maxBufferedBytes":{MAX_BUFFERED},"tickIntervalMs":{TICK_MS}}}"#,
        list(method_names().map(String::from).collect()),
        list(Event::ALL.into_iter().map(|e| e.as_str().into()).collect()),
    )
}
