//! Settings as clients see them: agents, sessions, channels and models, the log level, and a header of plain HTTP.
//! Each follows the file from the next answer on.

use crate::wire::{Home, Server, json, list, signal};
use std::io::{Read, Write};

fn told(server: &Server) -> (String, String, String) {
    let mut admin = server.admin();
    let hello = json(&admin.hello);
    (hello, json(&admin.ok("health", "{}")), json(&admin.ok("status", "{}")))
}

fn start(keys: &str) -> (Home, Server) {
    let home = Home::fix();
    let port = home.port;
    home.config(&format!("{{gateway: {{mode: 'local', port: {port}, auth: {{token: 'T1'}}}}, {keys}}}"));
    let server = home.start();
    (home, server)
}

#[test]
fn an_empty_config_has_defaults() {
    let (_home, server) = start("");
    let (hello, health, status) = told(&server);
    assert!(
        hello.contains(r#""sessionDefaults":{"defaultAgentId":"main","mainKey":"main","mainSessionKey":"agent:main:main","scope":"per-sender"}"#),
        "{hello}"
    );
    assert!(
        health.contains(r#""agents":[{"agentId":"main""#) && health.contains(r#""heartbeatSeconds":0"#),
        "{health}"
    );
    assert!(status.contains(r#""defaults":{"contextTokens":null,"model":null}"#), "{status}");
}

#[test]
fn agents_as_a_list_and_as_entries() {
    let rest = "session: {mainKey: 'Desk'}, channels: {whatsapp: {allowFrom: []}, irc: {enabled: false}, defaults: {}}";
    let defaults = "defaults: {model: {primary: 'a/b'}, contextTokens: 9000, heartbeat: {every: '1h30m'}}";
    for agents in [
        "entries: {Home: {}, 'ops team': {default: true}}",
        "list: [{id: 'Home'}, {id: 'ops team', default: true}]",
        "list: [{id: 'old'}], entries: {home: {}, 'ops-team': {}}, defaults: {systemAgent: {agentId: 'ops-team'}}",
    ] {
        // The last of equal keys counts, so what is common to all goes into the one that is there.
        let agents = match agents.contains("defaults") {
            true => agents
                .replace("defaults: {", &format!("{}, ", defaults.trim_end_matches('}').to_owned() + "}")),
            false => format!("{agents}, {defaults}"),
        };
        let (_home, server) = start(&format!("agents: {{{agents}}}, {rest}"));
        let (hello, health, status) = told(&server);
        assert!(
            hello.contains(
                r#""defaultAgentId":"ops-team","mainKey":"desk","mainSessionKey":"agent:ops-team:desk""#
            ),
            "{agents}: {hello}"
        );
        assert!(
            health.contains(r#""heartbeatSeconds":5400"#) && health.contains(r#""agentId":"home""#),
            "{health}"
        );
        assert!(
            health.contains(r#""heartbeat":{"enabled":false,"every":"90m","everyMs":5400000}"#),
            "{health}"
        );
        assert!(status.contains(r#""defaults":{"contextTokens":9000,"model":"a/b"}"#), "{status}");
        assert!(
            status.contains(r#""channelSummary":["whatsapp: configured"#) && !status.contains("irc:"),
            "{status}"
        );
    }
}

#[test]
fn one_session_for_all() {
    let (_home, server) = start("session: {scope: 'global'}");
    assert!(told(&server).0.contains(r#""mainSessionKey":"global","scope":"global""#));
}

#[test]
fn log_level() {
    let home = Home::fix();
    let set = |logging: &str| {
        home.config(&format!(
            "{{gateway: {{mode: 'local', port: {}, auth: {{token: 'T1'}}}}, logging: {{{logging}}}}}",
            home.port
        ));
    };
    set("");
    let server = home.start();
    let mut watcher = server.admin();
    let refuse =
        |token: &str| _ = server.refuse(&crate::wire::Offer::new().token(token).scopes(crate::wire::ADMIN));
    let kept = || {
        let lines = list(&server.admin().ok("logs.tail", "{}"), "lines");
        let refused = r#""level":"warn","subsystem":"gateway/peers","message":"refused"#;
        lines.iter().filter(|line| line.contains(refused)).count()
    };
    refuse("wrong-1");
    assert_eq!(kept(), 1);
    set("level: 'info', consoleLevel: 'silent'");
    watcher.event("config.reloaded");
    refuse("wrong-2");
    assert_eq!(kept(), 2);
    set("level: 'fatal', consoleLevel: 'debug'");
    watcher.event("config.reloaded");
    refuse("wrong-3");
    assert_eq!(kept(), 2);
    signal(server.pid(), "TERM");
    server.wait_log(&["(end of log)"]);
    assert_eq!(server.log().matches("WARN refused").count(), 2, "{}", server.log());
}

#[test]
fn strict_transport_security() {
    let head = |server: &Server| {
        let mut socket = std::net::TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        write!(socket, "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).unwrap();
        text.to_ascii_lowercase()
    };
    let home = Home::fix();
    home.gateway(
        "auth: {token: 'T1'}, http: {securityHeaders: {strictTransportSecurity: 'max-age=31536000; includeSubDomains'}}",
    );
    let server = home.start();
    assert!(head(&server).contains("strict-transport-security: max-age=31536000; includesubdomains\r\n"));
    home.gateway("auth: {token: 'T1'}, http: {securityHeaders: {strictTransportSecurity: false}}");
    server.wait_log(&["configuration reloaded: gateway.http.securityHeaders.strictTransportSecurity"]);
    assert!(!head(&server).contains("strict-transport"));
    home.gateway("auth: {token: 'T1'}, http: {securityHeaders: {strictTransportSecurity: 'a\\r\\nb: c'}}");
    server.wait_log(&["strictTransportSecurity is no value of a header"]);
    assert!(!head(&server).contains("b: c"));
}
