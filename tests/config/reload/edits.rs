//! Sixty edits, one after the other, with twenty connections attached.

use super::{
    connections::{Connections, Kind, ORIGIN},
    json5::Config,
};
use crate::wire::{ADMIN, Client, Device, Home, Offer, READ, Server, flag, items, json, list, number, text};
use barnacle::internals::config::{KeyPath, keys};
use nanoserde::SerJson;
use std::net::{IpAddr, SocketAddr, TcpStream};

/// What an edit is tried in.
struct Scene {
    home: Home,
    server: Server,
    config: Config,
    /// An administrator's device: it sees every reload.
    admin: Client,
    device: Device,
    connections: Connections,
    /// The shared credential that is in force.
    shared: String,
    edits: usize,
    closed: usize,
}

/// What a reload said of itself.
struct Told {
    applied: String,
    changed: Vec<String>,
    closed: u64,
}

impl Scene {
    fn new() -> Self {
        let home = Home::empty();
        let mut config = Config::new(home.port);
        config.set("gateway.controlUi.allowedOrigins", &format!("['{ORIGIN}']"));
        home.config(&config.text());
        // The port is the file's, so that the file can change it.
        let server = Server::spawn(home.command(&["gateway"]), home.port);
        let device = Device::pair(&server, ADMIN);
        let admin = server.connect(&Offer::device(&device).token(device.token()).scopes(ADMIN));
        let connections = Connections::attached(&server);
        Self { home, server, config, admin, device, connections, shared: "T1".into(), edits: 0, closed: 0 }
    }

    /// Saves the file, and waits until it is reloaded.
    fn save(&mut self) -> Told {
        self.home.config(&self.config.text());
        let event = self.admin.event("config.reloaded");
        assert!(flag(&event, "payload.ok"), "{}", json(&event));
        Told {
            applied: text(&event, "payload.applied"),
            changed: list(&event, "payload.changed"),
            closed: number(&event, "payload.closed"),
        }
    }

    /// Sets `path` and sees that nobody is closed, and that just what the table says is applied.
    fn edit(&mut self, path: &str, value: &str) {
        self.edit_closing(path, value, &[]);
    }

    /// As [`edit`](Self::edit), but all of `kinds` are closed.
    fn edit_closing(&mut self, path: &str, value: &str, kinds: &[Kind]) {
        match value {
            "" => self.config.unset(path),
            value => self.config.set(path, value),
        };
        let raw = self.config.text().serialize_json();
        let planned = self.admin.ok("config.plan", &format!(r#"{{"raw":{raw}}}"#));
        let told = self.save();
        let effect = keys::effect(&KeyPath::dotted(path));
        assert!(told.changed.iter().all(|p| p.starts_with(path)), "{path}: {:?}", told.changed);
        assert!(!told.changed.is_empty(), "{path}");
        assert!(told.applied.contains(effect.done()), "{path}: {}", told.applied);
        let closed = self.connections.closed();
        let expected: Vec<Kind> =
            self.connections.0.iter().map(|m| m.kind).filter(|kind| kinds.contains(kind)).collect();
        assert_eq!(closed, expected, "{path} = {value}");
        assert_eq!(told.closed as usize, closed.len(), "{path} = {value}");
        assert_eq!(items(&planned, "closes").len(), closed.len(), "{path} = {value}: {}", json(&planned));
        assert_eq!(text(&planned, "applies"), told.applied, "{path} = {value}");
        self.edits += 1;
        self.closed += closed.len();
        println!("{:2} {path} = {value}: {} · {} closed", self.edits, told.applied, closed.len());
        let shared = self.shared.clone();
        self.connections.come_back(&self.server, &shared);
    }

    /// A new shared credential closes those that rest on the old one alone.
    fn credential(&mut self, path: &str, value: &str, shared: &str) {
        self.shared = shared.into();
        self.edit_closing(path, value, &[Kind::Shared]);
    }

    fn notices(&mut self) -> String {
        list(&self.admin.ok("status", "{}"), "barnacle.notices").join("\n")
    }

    fn connects(&self, offer: &Offer<'_>) -> Result<(), String> {
        self.server.try_connect(offer).map(drop).map_err(|r| r.code())
    }

    /// What becomes of a node's command that nobody answers.
    fn invoked(&mut self) -> String {
        let nodes = self.admin.ok("node.list", "{}");
        let node = text(&nodes, "nodes.0.nodeId");
        let params =
            format!(r#"{{"nodeId":"{node}","command":"system.notify","idempotencyKey":"k","timeoutMs":20}}"#);
        text(&self.admin.err("node.invoke", &params), "message")
    }
}

/// Waits until nobody is let in at `at` any more: an address closes a little after the new one opens.
fn until_closed(at: SocketAddr) {
    let end = std::time::Instant::now() + crate::wire::LONG;
    while TcpStream::connect(at).is_ok() {
        assert!(std::time::Instant::now() < end, "{at} is still listened on");
    }
}

#[test]
fn sixty_edits_close_only_whom_the_plan_names() {
    let mut s = Scene::new();

    // Who gets in: the shared credential, in every form.
    s.credential("gateway.auth.token", "'T2'", "T2");
    assert_eq!(s.connects(&Offer::new().token("T1")), Err("AUTH_TOKEN_MISMATCH".into()));
    s.edit("env.vars.SHARED", "'T3'");
    s.credential("gateway.auth.token", "'${SHARED}'", "T3");
    s.credential("env.vars.SHARED", "'T4'", "T4");
    s.edit("env.vars.OTHER", "'T4'");
    // The same secret from elsewhere is the same secret.
    s.edit("gateway.auth.token", "{source: 'env', provider: 'default', id: 'OTHER'}");
    s.edit("secrets.defaults.env", "'default'");
    s.credential("gateway.auth.token", "'T1'", "T1");
    s.edit("gateway.auth.password", "'P1'");
    s.credential("gateway.auth.mode", "'password'", "P1");
    assert_eq!(s.connects(&Offer::new().token("T1")), Err("AUTH_PASSWORD_MISMATCH".into()));
    s.credential("gateway.auth.password", "'P2'", "P2");
    // Whoever is in is let in without a credential, too; not so the other way round.
    s.edit("gateway.auth.mode", "'none'");
    assert_eq!(s.connects(&Offer::new()), Ok(()));
    s.credential("gateway.auth.mode", "'token'", "T1");
    assert_eq!(s.connects(&Offer::new()), Err("DEVICE_IDENTITY_REQUIRED".into()));
    s.edit("gateway.auth.password", "");

    // Guessing.
    s.edit("gateway.auth.rateLimit.exemptLoopback", "false");
    s.edit("gateway.auth.rateLimit.lockoutMs", "2000");
    s.edit("gateway.auth.rateLimit.windowMs", "30000");
    s.edit("gateway.auth.rateLimit.maxAttempts", "2");
    let codes: Vec<_> =
        (0..3).map(|n| s.connects(&Offer::new().token(&format!("guess {n}"))).unwrap_err()).collect();
    assert_eq!(codes[2], "AUTH_RATE_LIMITED", "{codes:?}");
    s.edit("gateway.auth.rateLimit.maxAttempts", "1000");
    s.edit("gateway.auth.rateLimit.exemptLoopback", "true");
    // The lock that was earned stays, as long as it was told to.
    while s.connects(&Offer::new().token("T1")) == Err("AUTH_RATE_LIMITED".into()) {}

    // The device's key.
    let own = Device::pair(&s.server, READ);
    s.edit("gateway.auth.deviceKeyProof", "false");
    assert!(s.connects(&Offer::device(&own)).is_err());
    assert_eq!(s.connects(&Offer::device(&own).token(own.token())), Ok(()));
    s.edit("gateway.auth.deviceKeyProof", "true");
    assert_eq!(s.connects(&Offer::device(&own)), Ok(()));
    s.edit("gateway.auth.allowTailscale", "true");

    // Proxies and browsers.
    let through = || Offer::new().token("T1").header("X-Forwarded-For", "127.0.0.1").scopes(ADMIN);
    assert_eq!(s.server.connect(&through()).scopes(), "", "a proxy that is not trusted makes nobody local");
    s.edit("gateway.trustedProxies", "['127.0.0.1/32']");
    s.edit("gateway.trustedProxies", "['10.0.0.0/8']");
    let page =
        |origin| Offer::new().token("T1").client("openclaw-control-ui", "webchat").header("Origin", origin);
    assert_eq!(s.connects(&page("https://evil.example")), Err("CONTROL_UI_ORIGIN_NOT_ALLOWED".into()));
    s.edit("gateway.controlUi.allowedOrigins", &format!("['{ORIGIN}', 'https://evil.example']"));
    assert_ne!(s.connects(&page("https://evil.example")), Err("CONTROL_UI_ORIGIN_NOT_ALLOWED".into()));
    s.edit("gateway.controlUi.allowedOrigins", &format!("['{ORIGIN}']"));
    assert_eq!(s.connects(&page("https://evil.example")), Err("CONTROL_UI_ORIGIN_NOT_ALLOWED".into()));
    s.edit("gateway.controlUi.dangerouslyAllowHostHeaderOriginFallback", "true");
    s.edit("gateway.controlUi.allowInsecureAuth", "true");
    s.edit("gateway.controlUi.dangerouslyDisableDeviceAuth", "true");
    s.edit("gateway.controlUi.dangerouslyDisableDeviceAuth", "false");

    // Nodes.
    s.edit("gateway.nodes.pairing.autoApproveLocal", "false");
    assert_eq!(s.connects(&Offer::device(&Device::new()).token("T1")), Err("PAIRING_REQUIRED".into()));
    s.edit("gateway.nodes.pairing.autoApproveLocal", "true");
    assert_eq!(s.connects(&Offer::device(&Device::new()).token("T1")), Ok(()));
    let pending = s.admin.ok("node.pair.list", "{}");
    for request in items(&pending, "pending") {
        let id = text(request, "requestId");
        s.admin.ok("node.pair.approve", &format!(r#"{{"requestId":"{id}"}}"#));
    }
    s.edit("gateway.nodes.commands.deny", "['system.notify']");
    assert!(s.invoked().contains("gateway.nodes.commands.deny"));
    s.edit("gateway.nodes.commands.deny", "");
    assert!(s.invoked().contains("did not answer"), "{}", s.invoked());

    // How long a client may take.
    s.edit("gateway.handshakeTimeoutMs", "40");
    let (code, reason) = s.server.socket().closed();
    assert!(code != 1000 && !reason.is_empty(), "{code} {reason}");
    s.edit("gateway.handshakeTimeoutMs", "");

    // What who comes next has to speak; tests/attach/tls.rs sees more of it.
    s.edit("gateway.tls.enabled", "true");
    assert_ne!(s.server.get("/health").0, 200);
    s.edit("gateway.tls.enabled", "false");
    assert_eq!(s.server.get("/health").0, 200);
    // What this version does not do, it says.
    s.edit("gateway.tls.caPath", "'/etc/ssl/certs/ca-certificates.crt'");
    s.edit("gateway.tls.caPath", "");
    s.edit("gateway.tailscale.mode", "'off'");
    s.edit("gateway.remote.url", "'ws://127.0.0.1:1'");
    s.edit("gateway.remote.token", "'another'");
    s.edit("gateway.remote.token", "");
    s.edit("gateway.mode", "'remote'");
    assert!(s.notices().contains("gateway.mode is \"remote\""), "{}", s.notices());
    s.edit("gateway.mode", "'local'");

    // A key that makes no sense costs itself, and is told where it stands.
    s.edit("gateway.nodes.commands.deny", "7");
    assert!(s.notices().contains("gateway.nodes.commands.deny is a number"), "{}", s.notices());
    s.edit("gateway.nodes.commands.deny", "[]");

    // The report that started this, and what is nobody's business here.
    s.edit("channels.whatsapp.allowFrom", "['+15550001']");
    s.edit("channels.whatsapp.ackReaction", "{emoji: '👀', direct: true, group: 'mentions'}");
    s.edit("channels.whatsapp.ackReaction", "{emoji: '👀', direct: true, group: 'always'}");
    s.edit("channels.whatsapp.dmPolicy", "'allowlist'");
    s.edit("models.providers.local.baseUrl", "'http://127.0.0.1:11434/v1'");
    s.edit("tools.profile", "'coding'");
    s.edit("cron.enabled", "true");
    s.edit("messages.ackReactionScope", "'all'");
    s.edit("gateway.controlUi.basePath", "'/claw'");
    s.edit("nobodys.key", "{deep: [1, 2, {x: null}]}");
    s.edit("agents.defaults.workspace", "'~/work'");

    // Reloading itself.
    s.edit("gateway.reload.debounceMs", "1");
    s.edit("gateway.reload.mode", "'hot'");
    s.edit("gateway.reload.mode", "'hybrid'");

    // Where it listens. Nobody who is connected notices.
    let old = s.home.port;
    let port = crate::wire::free_port();
    s.home.port = port;
    s.server.port = port;
    s.edit("gateway.port", &port.to_string());
    assert_eq!(s.connects(&Offer::new().token("T1")), Ok(()));
    until_closed(SocketAddr::from(([127, 0, 0, 1], old)));
    // A port that is none moves nothing.
    s.config.set("gateway.port", "'x'");
    s.save();
    assert!(s.notices().contains("gateway.port is a string") && s.notices().contains("what it was before"));
    assert_eq!(s.connects(&Offer::new().token("T1")), Ok(()));
    s.edit("gateway.port", &port.to_string());
    s.edit("gateway.bind", "'lan'");
    if let Some(ip) = crate::wire::own_address() {
        TcpStream::connect(SocketAddr::new(ip, port)).expect("listening on every address");
    }
    s.edit("gateway.bind", "'loopback'");
    if let Some(ip) = crate::wire::own_address() {
        until_closed(SocketAddr::new(ip, port));
    }
    s.edit("gateway.customBindHost", "'127.0.0.2'");
    s.edit("gateway.bind", "'custom'");
    s.edit("gateway.bind", "'loopback'");
    TcpStream::connect((IpAddr::from([127, 0, 0, 1]), port)).expect("listening on loopback");

    let health = s.admin.ok("health", "{}");
    assert!(flag(&health, "ok"));
    assert!(s.edits >= 60, "{} edits", s.edits);
    println!("{} edits, {} connections closed, each as the plan says", s.edits, s.closed);
    // The administrator was attached all along, by the token it had at first.
    let again = s.server.connect(&Offer::device(&s.device).token(s.device.token()).scopes(ADMIN));
    assert_eq!(again.device_token(), s.device.token());
}
