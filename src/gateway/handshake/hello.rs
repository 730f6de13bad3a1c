//! `hello-ok`, and the device tokens it hands out.
//!
//! What is the same for all is built once and kept until it changes; only what differs is written for each, straight to
//! where it goes out from. Source: `HelloOk` of `protocol.schema.json`.

use crate::{
    app::App,
    auth::policy::Bearer,
    config::Settings,
    hub::Conn,
    methods,
    protocol::{DeviceId, Event, MAX_BUFFERED, MAX_PAYLOAD, Role, Scopes, TICK_MS},
    store::{Device, DeviceToken, Registry},
    upstream::{Merged, Owner},
};
use nanoserde::{SerJson, SerJsonState};
use std::{
    fmt::{self, Write as _},
    io::Write as _,
    rc::{Rc, Weak},
};

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

/// Sends `conn` the response to `connect` that lets it in; `extra` are further roles whose tokens it gets. Nothing waits
/// to be sent there, so this is delivered.
pub fn send(app: &Rc<App>, conn: &Conn, request_id: &str, extra: &[(Role, Scopes)]) {
    let same = SameForAll::now(app);
    let [server, snapshot] = &same.parts;
    let session = conn.session();
    let registry = app.devices.registry();
    let device = session.device.and_then(|id| Some((id, registry.device(&id)?)));
    let token = |role| device.and_then(|(id, device)| Token::of(app, &id, device, role));
    conn.wire.send_text_with(server.len() + snapshot.len() + OF_ONE, |out| {
        let mut put = |args: fmt::Arguments<'_>| {
            // Writing to a Vec cannot fail.
            let _ = out.write_fmt(args);
        };
        let (id, protocol, conn_id) = (Quoted(request_id), session.protocol, session.id);
        put(format_args!(
            r#"{{"type":"res","id":{id},"ok":true,"payload":{{"type":"hello-ok","protocol":{protocol},"server":{{"connId":"{conn_id}"{server}{}{snapshot}"#,
            app.boot.clock.uptime_ms(),
        ));
        put(format_args!(r#"{{"role":"{}","scopes":{}"#, session.role, List(session.scopes)));
        if let Some(Token { token, issued_ms, .. }) = token(session.role) {
            put(format_args!(r#","deviceToken":"{}","issuedAtMs":{issued_ms}"#, token.as_str()));
        }
        let extra = extra.iter().filter_map(|(role, _)| token(*role)).enumerate();
        let mut end = "";
        for (n, Token { token, role, scopes, issued_ms }) in extra {
            put(format_args!(
                r#"{}{{"deviceToken":"{}","role":"{role}","scopes":{},"issuedAtMs":{issued_ms}}}"#,
                if n == 0 { r#","deviceTokens":["# } else { "," },
                token.as_str(),
                List(scopes),
            ));
            end = "]";
        }
        put(format_args!("{end}}}}}}}"));
    });
}

/// Room for what differs from one connection to the next.
const OF_ONE: usize = 512;

/// A device token that is handed out.
struct Token {
    token: DeviceToken,
    role: Role,
    scopes: Scopes,
    issued_ms: u64,
}

impl Token {
    fn of(app: &App, id: &DeviceId, device: &Device, role: Role) -> Option<Self> {
        let grant = device.grant(role).filter(|g| g.revoked_ms.is_none())?;
        Some(Self {
            token: app.devices.device_token(id, role, grant.generation),
            role,
            scopes: grant.scopes,
            issued_ms: grant.rotated_ms.unwrap_or(grant.created_ms),
        })
    }
}

/// A text as a JSON string.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |byte: u8| !byte.is_ascii_control() && !matches!(byte, b'"' | b'\\');
        match self.0.bytes().all(is_plain) {
            true => write!(f, "\"{}\"", self.0),
            false => f.write_str(&self.0.serialize_json()),
        }
    }
}

/// Scopes as a JSON list.
struct List(Scopes);

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (n, scope) in self.0.iter().enumerate() {
            f.write_str(if n == 0 { "\"" } else { ",\"" })?;
            f.write_str(scope.as_str())?;
            f.write_str("\"")?;
        }
        f.write_str("]")
    }
}

/// What is the same in every `hello-ok`, until one of those changes that it is made of.
pub(crate) struct SameForAll {
    settings: Weak<Settings>,
    presence: u64,
    /// What the gateway behind this one adds.
    merged: Option<Rc<Merged>>,
    /// The text from behind `connId` to the value of `uptimeMs`, and from there to the value of `auth`.
    parts: [String; 2],
}

impl SameForAll {
    /// As it is now.
    fn now(app: &App) -> Rc<Self> {
        let settings = app.settings();
        let presence = app.hub.presence.version();
        let own = methods::all().filter(|m| m.advertised && app.relay.owner(m.name) != Owner::Upstream);
        let merged = app.relay.merged(own.map(|m| m.name));
        let kept = app.handshakes.hello.borrow().clone();
        let is_current = |kept: &Rc<Self>| {
            kept.presence == presence
                && Weak::as_ptr(&kept.settings) == Rc::as_ptr(&settings)
                && kept.merged.as_ref().map(Rc::as_ptr) == merged.as_ref().map(Rc::as_ptr)
        };
        if let Some(kept) = kept.filter(is_current) {
            return kept;
        }
        let parts = parts(app, &settings, merged.as_deref());
        let same = Rc::new(Self { settings: Rc::downgrade(&settings), presence, merged, parts });
        app.handshakes.hello.replace(Some(same.clone()));
        same
    }
}

fn parts(app: &App, settings: &Settings, merged: Option<&Merged>) -> [String; 2] {
    let [mut server, mut snapshot] = [(); 2].map(|()| SerJsonState::new(String::new()));
    // Writing to a String cannot fail.
    let _ = match merged {
        Some(merged) => server.out.write_str(&merged.server),
        None => {
            let version = env!("CARGO_PKG_VERSION");
            write!(server.out, r#","version":"{version}","bootId":"{}""#, app.boot.id)
        }
    };
    let _ = write!(
        server.out,
        r#"}},"features":{{{}}},"policy":{{"maxPayload":{MAX_PAYLOAD},"maxBufferedBytes":{MAX_BUFFERED},"tickIntervalMs":{TICK_MS}}},"snapshot":{{"presence":{},"stateVersion":{},"uptimeMs":"#,
        merged.map_or_else(own_features, |merged| merged.features.clone()),
        app.hub.presence.first().0,
        app.hub.presence.state_version().0,
    );
    let _ = write!(snapshot.out, r#","authMode":"{}""#, settings.auth.as_str());
    match merged {
        Some(merged) => snapshot.out.push_str(&merged.snapshot),
        None => own_snapshot(settings, &mut snapshot),
    }
    let more = merged.map_or("", |merged| &merged.more);
    let _ = write!(snapshot.out, r#"}}{more},"auth":"#);
    [server.out, snapshot.out]
}

/// Writes the members of `snapshot` that a gateway behind this one would have of its own, each with a comma before it.
fn own_snapshot(settings: &Settings, s: &mut SerJsonState) {
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

/// Builds `features` of a gateway that has none behind it.
fn own_features() -> String {
    let list = |names: Vec<String>| names.serialize_json();
    format!(
        r#""methods":{},"events":{},"capabilities":[]"#,
        list(methods::all().filter(|m| m.advertised).map(|m| m.name.to_owned()).collect()),
        list(Event::names().map(String::from).collect()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_by_hand_is_json() {
        for id in ["1", "", "a-b_c.9", "ä€🦀", "a\"b", "a\\b", "a\nb", "\u{1}", "\u{7f}", "</script>"] {
            assert_eq!(Quoted(id).to_string(), id.serialize_json(), "{id:?}");
        }
        for names in ["", "operator.read", "operator.read operator.write operator.admin"] {
            let scopes = Scopes::from_names(names.split(' '));
            assert_eq!(List(scopes).to_string(), scopes.serialize_json(), "{names}");
        }
    }
}
