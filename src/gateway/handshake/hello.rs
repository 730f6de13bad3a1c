//! `hello-ok`, and the device tokens it hands out.
//!
//! What never changes of it is built once. Source: `HelloOk` of `protocol.schema.json`.

use crate::{
    app::App,
    auth::policy::Bearer,
    config::Settings,
    hub::Conn,
    methods,
    protocol::{DeviceId, Event, MAX_BUFFERED, MAX_PAYLOAD, Role, Scopes, TICK_MS},
    store::{Device, Registry},
    upstream::Owner,
};
use nanoserde::{SerJson, SerJsonState};
use std::{fmt::Write, rc::Rc, sync::OnceLock};

/// Most generations looked back for a token that was once right.
const LOOK_BACK: u32 = 16;

/// Classifies `token` for the device `id` in `role`.
pub fn token_generations(
    app: &App,
    registry: &Registry,
    id: &DeviceId,
    record: Option<&Device>,
    role: Role,
    token: &str,
) -> Bearer {
    let equal = |role, generation| app.devices.device_token(id, role, generation).matches(token);
    let newest = |role| match record {
        Some(d) => d.grant(role).map_or(0, |g| g.generation),
        None => registry.tombstone(id).map_or(1, |t| t.generation),
    };
    let grant = record.and_then(|device| device.grant(role));
    if grant.is_some_and(|grant| app.devices.honours(id, role, grant, token)) {
        return Bearer::Good;
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
    scopes: Scopes,
    deviceToken: Option<String>,
    issuedAtMs: Option<u64>,
    deviceTokens: Option<Vec<Token>>,
}

#[derive(SerJson)]
#[allow(non_snake_case)]
struct Token {
    deviceToken: String,
    role: &'static str,
    scopes: Scopes,
    issuedAtMs: u64,
}

fn token(app: &App, id: &DeviceId, device: &Device, role: Role) -> Option<Token> {
    let grant = device.grant(role).filter(|g| g.revoked_ms.is_none())?;
    Some(Token {
        deviceToken: app.devices.device_token(id, role, grant.generation).as_str().to_owned(),
        role: role.as_str(),
        scopes: grant.scopes,
        issuedAtMs: grant.rotated_ms.unwrap_or(grant.created_ms),
    })
}

/// The response to `connect` that lets `conn` in; `extra` are further roles whose tokens it gets.
pub fn frame(app: &Rc<App>, conn: &Conn, request_id: &str, extra: &[(Role, Scopes)]) -> String {
    static FIXED: OnceLock<String> = OnceLock::new();
    let fixed = FIXED.get_or_init(fixed);
    let session = conn.session();
    let registry = app.devices.registry();
    let device = session.device.and_then(|id| Some((id, registry.device(&id)?)));
    let token = |role| device.and_then(|(id, device)| token(app, &id, device, role));
    let own = token(session.role);
    let extra: Vec<Token> = extra.iter().filter_map(|(role, _)| token(*role)).collect();
    let auth = Auth {
        role: session.role.as_str(),
        scopes: session.scopes,
        issuedAtMs: own.as_ref().map(|t| t.issuedAtMs),
        deviceToken: own.map(|t| t.deviceToken),
        deviceTokens: (!extra.is_empty()).then_some(extra),
    };
    let settings = app.settings();
    let presence = app.hub.presence.first();
    let own = methods::all().filter(|m| m.advertised && app.relay.owner(m.name) != Owner::Upstream);
    let merged = app.relay.merged(own.map(|m| m.name));
    let mut s = SerJsonState::new(String::with_capacity(fixed.len() + presence.0.len() + 1024));
    s.out.push_str(r#"{"type":"res","id":"#);
    request_id.ser_json(0, &mut s);
    // Writing to a String cannot fail.
    let _ = write!(
        s.out,
        r#","ok":true,"payload":{{"type":"hello-ok","protocol":{},"server":{{"connId":"{}""#,
        session.protocol, session.id,
    );
    match &merged {
        Some(merged) => s.out.push_str(&merged.server),
        None => {
            let version = env!("CARGO_PKG_VERSION");
            let _ = write!(s.out, r#","version":"{version}","bootId":"{}""#, app.boot.id);
        }
    }
    let _ = write!(
        s.out,
        r#"}},"features":{{{}}},"policy":{{"maxPayload":{MAX_PAYLOAD},"maxBufferedBytes":{MAX_BUFFERED},"tickIntervalMs":{TICK_MS}}},"snapshot":{{"presence":{},"stateVersion":{},"uptimeMs":{},"authMode":"{}""#,
        merged.as_ref().map_or(fixed.as_str(), |merged| &merged.features),
        presence.0,
        app.hub.presence.state_version().0,
        app.boot.clock.uptime_ms(),
        settings.auth.as_str(),
    );
    match &merged {
        Some(merged) => s.out.push_str(&merged.snapshot),
        None => snapshot(&settings, &mut s),
    }
    s.out.push('}');
    s.out.push_str(merged.as_ref().map_or("", |merged| &merged.more));
    s.out.push_str(r#","auth":"#);
    auth.ser_json(0, &mut s);
    s.out.push_str("}}");
    s.out
}

/// Writes the members of `snapshot` that a gateway behind this one would have of its own, each with a comma before it.
fn snapshot(settings: &Settings, s: &mut SerJsonState) {
    s.out.push_str(r#","health":{},"configPath":"#);
    settings.paths.config_file.to_string_lossy().ser_json(0, s);
    s.out.push_str(r#","stateDir":"#);
    settings.paths.state_dir.to_string_lossy().ser_json(0, s);
    let agents = &settings.config.agents;
    s.out.push_str(r#","sessionDefaults":{"defaultAgentId":"#);
    agents.default.ser_json(0, s);
    s.out.push_str(r#","mainKey":"#);
    agents.main_key.ser_json(0, s);
    s.out.push_str(r#","mainSessionKey":"#);
    agents.main_session().ser_json(0, s);
    let scope = if agents.global { "global" } else { "per-sender" };
    let _ = write!(s.out, r#","scope":"{scope}"}}"#);
}

/// Builds `features`, which never change.
fn fixed() -> String {
    let list = |names: Vec<String>| names.serialize_json();
    format!(
        r#""methods":{},"events":{},"capabilities":[]"#,
        list(methods::all().filter(|m| m.advertised).map(|m| m.name.to_owned()).collect()),
        list(Event::names().map(String::from).collect()),
    )
}
