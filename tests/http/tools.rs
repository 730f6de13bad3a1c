//! `POST /tools/invoke`: who may, what is there, and what is wrong with a request.

use crate::{
    server::{Answer, Http},
    wire::{Device, Home, Offer, Server, flag, json, number, text},
};
use miniserde::json::Value;

const SHARED: &str = "Authorization: Bearer T1\r\n";

fn gateway(tools: &str) -> (Home, Server) {
    let home = Home::empty();
    home.gateway(&format!("auth:{{mode:\"token\",token:\"T1\"}},tools:{{{tools}}}"));
    let server = home.start();
    (home, server)
}

fn post(server: &Server, headers: &str, body: &str) -> (u16, Value) {
    let mut http = Http::dial(server);
    let length = body.len();
    http.send(&format!(
        "POST /tools/invoke HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    ));
    let Answer { status, body, .. } = http.answer();
    (status, miniserde::json::from_str(&body).unwrap_or_else(|_| panic!("{status} {body}")))
}

#[test]
fn a_tool_is_used() {
    let (_home, server) = gateway("");
    let mut admin = server.admin();
    admin.ok("sessions.create", r#"{"key":"one"}"#);
    let (status, list) = post(&server, SHARED, r#"{"tool":"sessions_list","action":"json","args":{}}"#);
    assert_eq!((status, flag(&list, "ok"), number(&list, "result.details.count")), (200, true, 1));
    let said = miniserde::json::from_str::<Value>(&text(&list, "result.content.0.text")).unwrap();
    assert_eq!(text(&said, "sessions.0.key"), "agent:main:one");
    let body =
        r#"{"tool":"x","name":"message","action":"send","args":{"message":"hello"},"sessionKey":"one"}"#;
    assert_eq!(post(&server, SHARED, body).0, 200);
    let page = admin.ok("chat.history", r#"{"sessionKey":"one"}"#);
    assert_eq!(text(&page, "messages.0.content.0.text"), "hello");
}

#[test]
fn who_may_and_what_is_there() {
    let (_home, server) = gateway("allow:[\"gateway\"],deny:[\"agents_list\"]");
    let token = |scopes: &[&'static str]| {
        let device = Device::new();
        server.connect(&Offer::device(&device).token("T1").scopes(scopes)).device_token()
    };
    let (reads, writes) = (token(&["operator.read"]), token(&["operator.write"]));
    let status = r#"{"tool":"gateway","args":{"action":"config.get","path":"gateway.port"}}"#;
    let rows = [
        ("", r#"{"tool":"sessions_list"}"#, 401),
        ("wrong", r#"{"tool":"sessions_list"}"#, 401),
        (&*reads, r#"{"tool":"sessions_list"}"#, 403),
        (&*writes, r#"{"tool":"sessions_list"}"#, 200),
        (&*writes, status, 404),
        ("T1", status, 200),
        ("T1", r#"{"tool":"nodes","args":{"action":"list"}}"#, 404),
        ("T1", r#"{"tool":"agents_list"}"#, 404),
        ("T1", r#"{"tool":"exec","args":{"command":"id"}}"#, 404),
        ("T1", r#"{"tool":"no_tool"}"#, 404),
        ("T1", r#"{"tool":"sessions_list","args":{"limit":"x"}}"#, 400),
        ("T1", r#"{"tool":"sessions_list","args":[]}"#, 400),
        ("T1", r#"{"tool":"sessions_list","sessionKey":"agent:main:x","agentId":"work"}"#, 400),
        ("T1", r#"{"args":{}}"#, 400),
        ("T1", "[]", 400),
        ("T1", "{", 400),
    ];
    for (bearer, body, expected) in rows {
        let header =
            if bearer.is_empty() { String::new() } else { format!("Authorization: Bearer {bearer}\r\n") };
        let (found, answer) = post(&server, &header, body);
        assert_eq!(found, expected, "{bearer} {body}: {}", json(&answer));
        assert!(expected == 200 || !text(&answer, "error.message").is_empty(), "{}", json(&answer));
    }
    let mut http = Http::dial(&server);
    http.send("GET /tools/invoke HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(http.answer().status, 405);
    let mut http = Http::dial(&server);
    http.send(&format!("POST /tools/invoke HTTP/1.1\r\nHost: x\r\n{SHARED}Content-Length: 3000000\r\n\r\n"));
    assert_eq!(http.answer().status, 413);
}
