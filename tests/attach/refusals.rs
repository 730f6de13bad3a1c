//! Every refusal, one row each: the error's code, the detail's code, the close code and reason as OpenClaw 2026.9.6
//! gives them where it knows the case, and a hint that can be followed.

use crate::wire::{Device, Home, LONG, Offer, READ, Refused, Server, json, text};
use async_tungstenite::tungstenite::{Message, protocol::Role};
use std::net::TcpStream;

/// What a row expects: `error.code`, `details.code`, close code, close reason, a word of the hint.
type Expected<'a> = (&'a str, &'a str, u16, &'a str, &'a str);

#[track_caller]
fn check(name: &str, refused: &Refused, expected: Expected<'_>) {
    let (code, detail, close, reason, hint) = expected;
    let report = json(&refused.error);
    assert_eq!(refused.get("code"), code, "{name}: {report}");
    assert_eq!(refused.code(), detail, "{name}: {report}");
    assert_eq!(refused.close.0, close, "{name}: {:?}", refused.close);
    assert!(refused.close.1.starts_with(reason), "{name}: {:?}", refused.close);
    assert!(refused.get("details.hint").contains(hint), "{name}: hint {:?}", refused.get("details.hint"));
    let advice = refused.get("details.recommendedNextStep");
    let known = [
        "",
        "retry_with_device_token",
        "update_auth_configuration",
        "update_auth_credentials",
        "wait_then_retry",
        "review_auth_configuration",
    ];
    assert!(known.contains(&advice.as_str()), "{name}: {advice}");
}

const TOKEN: &str = "unauthorized: gateway token m";

#[test]
fn refusals_of_connect() {
    let home = Home::fix();
    let server = home.start();
    let paired = Device::pair(&server, READ);
    let new = Device::new();
    let node = Device::new();
    let node_token = server.connect(&Offer::node(&node, &[]).token("T1")).device_token();
    let nobody = "0".repeat(64);
    let signature = "AQEB".repeat(21) + "AQ";
    let plain = || Offer::device(&paired).token("T1");
    let rows: Vec<(&str, Offer<'_>, Expected<'_>)> = vec![
        (
            "wrong shared token, no device",
            Offer::new().token("wrong"),
            ("INVALID_REQUEST", "AUTH_TOKEN_MISMATCH", 1008, TOKEN, "gateway.auth.token"),
        ),
        (
            "wrong shared token, new device",
            Offer::device(&new).token("wrong"),
            ("INVALID_REQUEST", "AUTH_TOKEN_MISMATCH", 1008, TOKEN, "gateway.auth.token"),
        ),
        (
            "no credential, new device",
            Offer::device(&new),
            ("INVALID_REQUEST", "AUTH_TOKEN_MISSING", 1008, TOKEN, "gateway.auth.token"),
        ),
        (
            "nothing at all",
            Offer::new(),
            ("NOT_PAIRED", "DEVICE_IDENTITY_REQUIRED", 1008, "device identity required", "shared token"),
        ),
        (
            "a node without a device",
            Offer::new().role("node").token("T1"),
            ("NOT_PAIRED", "DEVICE_IDENTITY_REQUIRED", 1008, "device identity required", "signed device"),
        ),
        (
            "bad signature",
            Offer { signature: Some(signature), ..plain() },
            (
                "INVALID_REQUEST",
                "DEVICE_AUTH_SIGNATURE_INVALID",
                1008,
                "device signature invalid",
                "v3|deviceId",
            ),
        ),
        (
            "foreign nonce",
            Offer { nonce: Some("55d2042c-9084-41fd-83cf-167029b5f2a5".into()), ..plain() },
            (
                "INVALID_REQUEST",
                "DEVICE_AUTH_NONCE_MISMATCH",
                1008,
                "device nonce mismatch",
                "connect.challenge",
            ),
        ),
        (
            "no nonce",
            Offer { without_nonce: true, ..plain() },
            (
                "INVALID_REQUEST",
                "DEVICE_AUTH_NONCE_REQUIRED",
                1008,
                "invalid connect params: at /device: must have required property 'nonce'",
                "connect.challenge",
            ),
        ),
        (
            "an id that is not the key's",
            Offer { id: Some(nobody), ..plain() },
            (
                "INVALID_REQUEST",
                "DEVICE_AUTH_DEVICE_ID_MISMATCH",
                1008,
                "device identity mismatch",
                "SHA-256",
            ),
        ),
        (
            "protocol 1 to 2",
            Offer { protocol: (1, 2), ..plain() },
            ("INVALID_REQUEST", "PROTOCOL_MISMATCH", 1002, "protocol mismatch", "update the older"),
        ),
        ("a role of nobody", plain().role("king"), ("INVALID_REQUEST", "", 1008, "invalid role", "operator")),
        (
            "bad origin",
            plain().header("Origin", "https://evil.example"),
            (
                "INVALID_REQUEST",
                "CONTROL_UI_ORIGIN_NOT_ALLOWED",
                1008,
                "origin not allowed",
                "https://evil.example",
            ),
        ),
        (
            "a new device from elsewhere",
            Offer::device(&new).token("T1").remote(),
            (
                "NOT_PAIRED",
                "PAIRING_REQUIRED",
                1008,
                "pairing required: device is not approved yet (requestId: ",
                "barnacle devices approve",
            ),
        ),
        (
            "a role that is not approved",
            Offer::node(&paired, &[]).remote(),
            (
                "NOT_PAIRED",
                "PAIRING_REQUIRED",
                1008,
                "pairing required: device is asking for a higher role than currently approved",
                "barnacle devices approve",
            ),
        ),
        (
            "another role's token",
            Offer::device(&node).token(&node_token).remote(),
            ("NOT_PAIRED", "PAIRING_REQUIRED", 1008, "pairing required", "barnacle devices approve"),
        ),
        (
            "a setup code of nobody",
            Offer::device(&new).bootstrap("nonsense").remote(),
            (
                "INVALID_REQUEST",
                "AUTH_BOOTSTRAP_TOKEN_INVALID",
                1008,
                "unauthorized: bootstrap token invalid",
                "setupCode",
            ),
        ),
    ];
    for (name, offer, expected) in rows {
        check(name, &server.refuse(&offer), expected);
    }
    // Nothing of it cost the paired device anything.
    server.connect(&plain());
}

#[test]
fn stale_device_tokens_are_named_as_such() {
    let home = Home::empty();
    home.auth(r#"{mode:"token",token:"T1",deviceKeyProof:false}"#);
    let server = home.start();
    let device = Device::pair(&server, READ);
    let phone = Device::new();
    let node_token = server.connect(&Offer::node(&phone, &[]).token("T1")).device_token();
    let operator = server.connect(&Offer::device(&phone).token("T1")).device_token();
    check(
        "other role's token",
        &server.refuse(&Offer::node(&phone, &[]).device_token(&operator)),
        (
            "INVALID_REQUEST",
            "AUTH_SCOPE_MISMATCH",
            1008,
            "unauthorized: device token scope mismatch",
            "role operator",
        ),
    );
    check(
        "other role's token",
        &server.refuse(&Offer::device(&phone).device_token(&node_token)),
        (
            "INVALID_REQUEST",
            "AUTH_SCOPE_MISMATCH",
            1008,
            "unauthorized: device token scope mismatch",
            "role node",
        ),
    );
    check(
        "a token that never was",
        &server.refuse(&Offer::device(&device).device_token("never")),
        (
            "INVALID_REQUEST",
            "AUTH_DEVICE_TOKEN_MISMATCH",
            1008,
            "unauthorized: device token mismatch",
            "deviceKeyProof",
        ),
    );
    let of = format!(r#"{{"deviceId":"{}","role":"operator"}}"#, device.id());
    server.admin().ok("device.token.revoke", &of);
    check(
        "revoked",
        &server.refuse(&Offer::device(&device).device_token(device.token())),
        (
            "NOT_PAIRED",
            "AUTH_DEVICE_TOKEN_MISMATCH",
            1008,
            "unauthorized: device token mismatch (role operator was revoked on ",
            "barnacle devices approve",
        ),
    );
    check(
        "revoked, with the shared token",
        &server.refuse(&Offer::device(&device).token("T1")),
        ("NOT_PAIRED", "PAIRING_REQUIRED", 1008, "pairing required", "barnacle devices approve"),
    );
    server.admin().ok("device.pair.remove", &format!(r#"{{"deviceId":"{}"}}"#, device.id()));
    check(
        "removed",
        &server.refuse(&Offer::device(&device).device_token(device.token())),
        (
            "NOT_PAIRED",
            "PAIRING_REQUIRED",
            1008,
            "pairing required: device is not approved yet (it was removed on ",
            "barnacle devices approve",
        ),
    );
}

#[test]
fn refusals_of_passwords() {
    let home = Home::empty();
    home.auth(r#"{mode:"password",password:"P1"}"#);
    let server = home.start();
    let (wrong, none) = (Offer::new().password("P2"), Device::new());
    check(
        "wrong password",
        &server.refuse(&wrong),
        (
            "INVALID_REQUEST",
            "AUTH_PASSWORD_MISMATCH",
            1008,
            "unauthorized: gateway password mismatch",
            "gateway.auth.password",
        ),
    );
    check(
        "no password",
        &server.refuse(&Offer::device(&none)),
        (
            "INVALID_REQUEST",
            "AUTH_PASSWORD_MISSING",
            1008,
            "unauthorized: gateway password missing",
            "gateway.auth.password",
        ),
    );
    server.connect(&Offer::new().password("P1"));
    // Either field may carry the secret.
    server.connect(&Offer::new().token("P1"));
    drop(server);
    home.auth(r#"{mode:"password"}"#);
    check(
        "no password anywhere",
        &home.start().refuse(&wrong),
        (
            "INVALID_REQUEST",
            "AUTH_PASSWORD_NOT_CONFIGURED",
            1008,
            "unauthorized: gateway password not configured",
            "set gateway.auth.password",
        ),
    );
}

/// What the gateway answers to a first message that is no `connect`: the answer, if any, and the close.
fn first(server: &Server, message: Message) -> (String, (u16, String)) {
    let mut socket = server.socket();
    let raw = socket.raw().try_clone().unwrap();
    raw.set_write_timeout(Some(LONG)).unwrap();
    let mut ws = async_tungstenite::tungstenite::WebSocket::from_raw_socket(raw, Role::Client, None);
    let _ = ws.send(message);
    let mut answer = String::new();
    loop {
        match socket.frame() {
            Ok(frame) => answer = json(&frame),
            Err(close) => return (answer, close),
        }
    }
}

#[test]
fn first_messages_other_than_connect() {
    let home = Home::fix();
    let server = home.start();
    let deep = format!(
        r#"{{"type":"req","id":"d","method":"connect","params":{}{}}}"#,
        "[".repeat(50_000),
        "]".repeat(50_000)
    );
    let open = "[".repeat(100_000);
    for (name, message, code, reason) in [
        (
            "not connect",
            r#"{"type":"req","id":"x","method":"health"}"#,
            1008,
            "invalid handshake: first request must be connect",
        ),
        ("not JSON", "hello?", 1008, "invalid request frame: not JSON"),
        ("no object", "[1,2]", 1008, "invalid request frame: must be"),
        ("no method", r#"{"type":"req","id":"x"}"#, 1008, "invalid request frame: must be"),
        ("params no object", &deep, 1008, "invalid request frame: at /params: must be object"),
        ("deeply nested", &open, 1008, "invalid request frame: not JSON"),
        (
            "params of the wrong kind",
            r#"{"type":"req","id":"x","method":"connect","params":{"minProtocol":"x"}}"#,
            1008,
            "invalid connect params: must have required property 'maxProtocol'; at /minProtocol: must be integer",
        ),
    ] {
        let (answer, close) = first(&server, Message::text(message));
        assert_eq!(close.0, code, "{name}: {close:?}");
        assert!(close.1.starts_with(reason), "{name}: {close:?}");
        if message.contains(r#""id":"#) {
            assert!(answer.contains(r#""ok":false"#), "{name}: {answer}");
        }
    }
    let (_, close) = first(&server, Message::text(format!("{{\"a\":\"{}\"}}", "x".repeat(300 << 10))));
    assert_eq!(close, (1009, "connect frame larger than 262144 bytes".into()));
    let (_, close) = first(&server, Message::binary(vec![0xff, 2, 3]));
    assert_eq!(close, (1008, "invalid request frame: binary, not text".into()));
    // JSON in a binary frame is read like any other.
    let text = r#"{"type":"req","id":"x","method":"connect","params":{"minProtocol":1,"maxProtocol":2,"client":{}}}"#;
    let (answer, close) = first(&server, Message::binary(text.as_bytes().to_vec()));
    assert_eq!(close, (1002, "protocol mismatch".into()), "{answer}");
    // A frame of 200 KiB is within the limit: it is judged by what it holds.
    let (_, close) = first(&server, Message::text("x".repeat(200 << 10)));
    assert_eq!(close.1, "invalid request frame: not JSON");
}

#[test]
fn a_silent_client_is_closed_with_a_reason() {
    let home = Home::fix();
    let server = home.start_with(&[], &[("OPENCLAW_HANDSHAKE_TIMEOUT_MS", "200")]);
    let mut silent = server.socket();
    assert_eq!(silent.closed(), (1008, "handshake timeout: no connect within 200 ms".into()));
    // One that sends no HTTP either is simply dropped.
    use std::io::Read;
    let mut mute = TcpStream::connect(("127.0.0.1", home.port)).unwrap();
    mute.set_read_timeout(Some(LONG)).unwrap();
    assert_eq!(mute.read(&mut [0; 16]).unwrap(), 0);
}

#[test]
fn refusals_of_methods() {
    let home = Home::fix();
    let server = home.start();
    let mut reader = server.connect(&Offer::new().token("T1"));
    for (method, params, code, message) in [
        ("connect", "{}", "INVALID_REQUEST", "connect is only valid as the first request"),
        ("no.such.method", "{}", "INVALID_REQUEST", "unknown method: no.such.method"),
        ("device.pair.list", "{}", "FORBIDDEN", "missing scope: operator.pairing"),
        ("cron.add", "{}", "UNAVAILABLE", "cron.add is a method of OpenClaw that this version"),
        ("node.event", r#"{"event":"x"}"#, "INVALID_REQUEST", "unauthorized role"),
        (
            "logs.tail",
            r#"{"limit":"x"}"#,
            "INVALID_REQUEST",
            "invalid logs.tail params: at /limit: must be integer",
        ),
        (
            "node.describe",
            "{}",
            "INVALID_REQUEST",
            "invalid node.describe params: must have required property 'nodeId'",
        ),
    ] {
        let error = reader.err(method, params);
        assert_eq!(text(&error, "code"), code, "{}", json(&error));
        assert!(text(&error, "message").starts_with(message), "{}", json(&error));
        if code == "FORBIDDEN" {
            assert_eq!(text(&error, "details.requiredScopes.0"), "operator.pairing");
            assert!(!text(&error, "details.hint").is_empty());
        }
    }
    let mut admin = server.admin();
    for (method, params, message) in [
        (
            "device.pair.approve",
            "{}",
            "invalid device.pair.approve params: must have required property 'requestId'",
        ),
        ("device.pair.approve", r#"{"requestId":"none"}"#, "unknown requestId: none"),
        ("device.pair.remove", r#"{"deviceId":"none"}"#, "unknown deviceId: none"),
        ("device.token.rotate", r#"{"deviceId":"none","role":"operator"}"#, "unknown deviceId: none"),
        ("node.invoke", r#"{"nodeId":"none","command":"x","idempotencyKey":"k"}"#, "unknown nodeId: none"),
    ] {
        let error = admin.err(method, params);
        assert!(text(&error, "message").starts_with(message), "{}", json(&error));
    }
    // After all that the connections still serve.
    reader.ok("health", "{}");
    admin.ok("device.pair.list", "{}");
}
