//! Join codes: made by `device.pair.setupCode` with `joinUrl`, and answered once.

use crate::{
    server::{Answer, Http},
    wire::{Device, Home, Offer, Server, text},
};
use miniserde::json::Value;

fn get(server: &Server, method: &str, path: &str) -> Answer {
    let mut http = Http::dial(server);
    http.send(&format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
    http.answer()
}

#[test]
fn a_join_url_is_answered_once_with_what_a_setup_code_holds() {
    let home = Home::empty();
    home.gateway("auth:{mode:\"token\",token:\"T1\"}");
    let server = home.start();
    let mut admin = server.admin();
    let made =
        admin.ok("device.pair.setupCode", r#"{"bootstrapProfile":"node","joinUrl":true,"includeQr":false}"#);
    let url = text(&made, "joinUrl");
    let path = url.strip_prefix(&format!("http://127.0.0.1:{}", home.port)).expect(&url);
    let code = path.strip_prefix("/j/").expect(path);
    assert!(
        code.len() == 22 && code.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)),
        "{code}"
    );
    // What is not a plain GET of it leaves it as it is.
    for (method, path) in
        [("GET", format!("{path}?x=1")), ("POST", path.to_owned()), ("GET", format!("{path}x"))]
    {
        assert_ne!(get(&server, method, &path).status, 200, "{method} {path}");
    }
    let answer = get(&server, "GET", path);
    assert!(answer.status == 200 && answer.head.contains("cache-control: no-store"), "{}", answer.head);
    assert!(answer.head.contains("application/json"), "{}", answer.head);
    let payload: Value = miniserde::json::from_str(&answer.body).unwrap();
    assert_eq!(text(&payload, "url"), text(&made, "gatewayUrl"));
    let again = get(&server, "GET", path);
    assert!(again.status == 404 && again.body.contains("openclaw devices join-code"), "{}", again.body);
    // It pairs a node, and nothing else.
    let device = Device::new();
    let bootstrap = text(&payload, "bootstrapToken");
    assert_eq!(bootstrap, crate::wire::bootstrap_token(&made));
    server.connect(&Offer::node(&device, &["system.run"]).bootstrap(&bootstrap));
}

#[test]
fn where_a_join_url_may_lead() {
    let home = Home::empty();
    home.gateway("auth:{mode:\"token\",token:\"T1\"}");
    let server = home.start();
    let mut admin = server.admin();
    let made =
        admin.ok("device.pair.setupCode", r#"{"joinUrl":true,"publicUrl":"https://Gateway.example/home/"}"#);
    assert!(text(&made, "joinUrl").starts_with("https://gateway.example/home/j/"));
    assert_eq!(
        (text(&made, "gatewayUrl"), text(&made, "access")),
        ("wss://gateway.example/home".into(), "node".into())
    );
    // As a proxy passes it on that keeps the path.
    let path = text(&made, "joinUrl").replace("https://gateway.example", "");
    assert_eq!(get(&server, "GET", &path).status, 200);
    for (params, part) in [
        (r#"{"joinUrl":true,"publicUrl":"http://192.168.1.2:18789"}"#, "require TLS"),
        (r#"{"joinUrl":true,"bootstrapProfile":"limited"}"#, "bootstrapProfile=node"),
        (r#"{"joinUrl":true,"publicUrl":"ftp://x"}"#, "publicUrl"),
        (r#"{"joinUrl":false}"#, "joinUrl"),
    ] {
        let error = text(&admin.err("device.pair.setupCode", params), "message");
        assert!(error.contains(part), "{params}: {error}");
    }
}

#[test]
fn in_front_of_another_gateway_codes_are_this_ones() {
    let home = Home::empty();
    home.gateway("auth:{mode:\"token\",token:\"T1\"}");
    // Nothing listens there, and nothing has to.
    let server = home.start_with(&["--upstream", "ws://127.0.0.1:9"], &[]);
    let made = server.admin().ok("device.pair.setupCode", r#"{"joinUrl":true}"#);
    let url = text(&made, "joinUrl");
    let path = url.strip_prefix(&format!("http://127.0.0.1:{}", home.port)).expect(&url);
    assert_eq!([get(&server, "GET", path).status, get(&server, "GET", path).status], [200, 503]);
}
