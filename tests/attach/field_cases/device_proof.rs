//! The device's proof in a connect frame: signature, nonce, clock, ids, versions, origins.

use crate::wire::{Client, Device, Home, Offer, READ, json, text};
use barnacle::internals::auth::payload::Version;

#[test]
fn a23_a24_a130_clocks() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    let year = 365 * 86_400_000_i64;
    for off in [0, 600_000, -600_000, year, -year, 10 * year, i64::MIN] {
        let client =
            server.connect(&Offer { clock_off: off, ..Offer::device(&device).token(device.token()) });
        assert_eq!(client.device_token(), device.token());
    }
    server.wait_log(&["the clock of device"]);
}

#[test]
fn a25_a26_nonces() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    let offer = Offer::device(&device).token("T1");
    server.refuse(&Offer { without_nonce: true, ..offer.clone() }).expect("DEVICE_AUTH_NONCE_REQUIRED");
    server.refuse(&Offer { nonce: Some(" ".into()), ..offer.clone() }).expect("DEVICE_AUTH_NONCE_REQUIRED");
    let own = Offer { nonce: Some("self-made".into()), ..offer.clone() };
    server.refuse(&own).expect("DEVICE_AUTH_NONCE_MISMATCH");
    // That of another connection, signed and all: a replay.
    let other: Client = server.socket();
    let replay = other.connect_frame(&offer);
    let mut fresh = server.socket();
    fresh.send(&replay);
    let answer = fresh.frame().unwrap();
    assert_eq!(text(&answer, "error.details.code"), "DEVICE_AUTH_NONCE_MISMATCH", "{}", json(&answer));
    assert_eq!(fresh.closed(), (1008, "device nonce mismatch".into()));
}

#[test]
fn a27_device_id() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::new();
    let offer = Offer { id: Some("device_fingerprint".into()), ..Offer::device(&device).token("T1") };
    let refused = server.refuse(&offer);
    refused.expect("DEVICE_AUTH_DEVICE_ID_MISMATCH");
    assert!(refused.get("details.hint").contains(&device.id()), "the right id is told");
}

#[test]
fn a28_b105_control_ui_over_http() {
    let home = Home::fix();
    let server = home.start();
    let host = format!("192.168.1.5:{}", home.port);
    let page = format!("http://{host}");
    let device = Device::new();
    let ui = |offer: Offer<'static>| offer.client("openclaw-control-ui", "ui").token("T1");
    let from = |offer| ui(offer).header("Origin", &page).header("Host", &host).remote();
    let refused = server.refuse(&from(Offer::new()));
    refused.expect("CONTROL_UI_DEVICE_IDENTITY_REQUIRED");
    for cure in ["HTTPS", "tunnel", "dangerouslyDisableDeviceAuth"] {
        assert!(refused.get("details.hint").contains(cure), "{}", json(&refused.error));
    }
    let with = Offer::device(&device)
        .client("openclaw-control-ui", "ui")
        .token("T1")
        .header("Origin", &page)
        .header("Host", &host)
        .remote();
    // Signed, it is a device like any other: it waits for approval.
    server.refuse(&with).expect("PAIRING_REQUIRED");
}

#[test]
fn a29_control_ui_without_device() {
    let home = Home::fix();
    let server = home.start();
    let page = |offer: Offer<'static>| {
        offer.client("openclaw-control-ui", "webchat").header("Origin", "http://localhost:3000")
    };
    let refused = server.refuse(&page(Offer::new()));
    refused.expect("CONTROL_UI_DEVICE_IDENTITY_REQUIRED");
    assert!(refused.get("details.hint").contains("holds no device object"));
    // On this host the shared token is enough.
    let client = server.connect(&page(Offer::new()).token("T1"));
    assert_eq!(client.scopes(), "operator.read");
}

#[test]
fn a38_unsafe_switches_are_named() {
    let home = Home::fix();
    let server = home.start();
    let offer = || {
        Offer::new()
            .client("openclaw-control-ui", "ui")
            .token("T1")
            .header("Origin", "http://localhost:1")
            .header("X-Forwarded-Proto", "https")
            .header("X-Forwarded-For", "198.51.100.9")
    };
    server.refuse(&offer()).expect("CONTROL_UI_ORIGIN_NOT_ALLOWED");
    drop(server);
    let ui = |on| {
        format!(
            r#"auth:{{mode:"token",token:"T1"}},controlUi:{{allowedOrigins:["http://localhost:1"],dangerouslyDisableDeviceAuth:{on}}}"#
        )
    };
    home.gateway(&ui(false));
    let server = home.start();
    let refused = server.refuse(&offer());
    refused.expect("CONTROL_UI_DEVICE_IDENTITY_REQUIRED");
    assert!(refused.get("details.hint").contains("dangerouslyDisableDeviceAuth = false"));
    drop(server);
    home.gateway(&ui(true));
    server_admits(&home, &offer());
}

fn server_admits(home: &Home, offer: &Offer<'_>) {
    home.start().connect(offer).ok("health", "{}");
}

#[test]
fn a47_origins() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    let foreign = "http://192.168.1.5:8080";
    let offer = Offer::device(&device).token("T1").header("Origin", foreign);
    let refused = server.refuse(&offer);
    refused.expect("CONTROL_UI_ORIGIN_NOT_ALLOWED");
    assert!(refused.get("details.hint").contains(foreign));
    assert!(refused.get("details.hint").contains("gateway.controlUi.allowedOrigins"));
    // Whatever the client calls itself.
    for (id, mode) in [("node-host", "node"), ("gateway-client", "backend")] {
        server
            .refuse(&Offer::new().token("T1").client(id, mode).header("Origin", foreign))
            .expect("CONTROL_UI_ORIGIN_NOT_ALLOWED");
    }
    drop(server);
    home.gateway(&format!(r#"auth:{{mode:"token",token:"T1"}},controlUi:{{allowedOrigins:["{foreign}"]}}"#));
    server_admits(&home, &offer);
}

#[test]
fn a61_protocol_versions() {
    let home = Home::fix();
    let server = home.start();
    for (range, agreed) in [((3, 3), "3"), ((4, 4), "4"), ((3, 4), "4"), ((1, 3), "3"), ((4, 9), "4")] {
        let client = server.connect(&Offer { protocol: range, ..Offer::new().token("T1") });
        assert_eq!(text(&client.hello, "protocol"), agreed);
    }
    for range in [(5, 5), (1, 2)] {
        let refused = server.refuse(&Offer { protocol: range, ..Offer::new().token("T1") });
        refused.expect("PROTOCOL_MISMATCH");
        assert_eq!(refused.close, (1002, "protocol mismatch".into()));
    }
}

#[test]
fn a67_display_data_changes() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    for platform in ["macOS 26.3.1", "macOS 26.4.0", "", "Кофемолка"] {
        let offer = Offer { platform, ..Offer::device(&device).device_token(device.token()).remote() };
        server.connect(&offer);
    }
    server.connect(&Offer::device(&device).client("openclaw-ios", "ui").remote());
}

#[test]
fn a74_a88_a131_signed_tokens() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    let d = device.token();
    let plain = || Offer::device(&device);
    for (offer, signed) in [
        (plain().token("T1").device_token(d), d),
        (plain().token("T1").device_token(d), "T1"),
        (plain().token("T1"), ""),
        (plain().device_token(d), ""),
        (plain().token("").device_token(d), d),
        (plain().token("").device_token(d), ""),
        (plain().password("T1"), "T1"),
        (plain(), ""),
    ] {
        for version in [Version::V3, Version::V2] {
            server.connect(&Offer { signed_token: Some(signed.into()), version, ..offer.clone() });
        }
    }
    let foreign = Offer { signed_token: Some("another".into()), ..plain().token("T1") };
    server.refuse(&foreign).expect("DEVICE_AUTH_SIGNATURE_INVALID");
}

#[test]
fn a87_payload_versions() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    for version in [Version::V3, Version::V2] {
        server.connect(&Offer { version, ..Offer::device(&device).token("T1") });
    }
    let refused =
        server.refuse(&Offer { signature: Some("AAAA".into()), ..Offer::device(&device).token("T1") });
    refused.expect("DEVICE_AUTH_SIGNATURE_INVALID");
    assert!(refused.get("details.hint").contains("v3"));
}

#[test]
fn a98_unknown_names() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    // Whatever stands where display data belongs, and a subprotocol nobody defined.
    let odd = Offer::new().token("T1\n").header("Sec-WebSocket-Protocol", "openclaw.v4, other");
    let mut socket = Client::open_at(([127, 0, 0, 1], home.port).into(), "/gateway", &odd.headers).unwrap();
    let frame =
        socket.connect_frame(&odd).replace(r#""version":"1.0.0""#, r#""version":3,"displayName":["x"]"#);
    socket.send(&frame);
    assert_eq!(text(&socket.frame().unwrap(), "ok"), "true");
    for (id, mode) in [("clawdbot-macos", "ui"), ("foo", "bar"), ("", "")] {
        server.connect(&Offer::device(&device).client(id, mode));
        server.connect(&Offer {
            extra: r#","locale":"de","colour":{"x":[1]}"#,
            ..Offer::new().token("T1").client(id, mode)
        });
    }
}

/// The key of a device that comes again is prepared: what is refused stays refused, and in the same order.
#[test]
fn a_device_s_later_visits_are_judged_as_its_first() {
    let home = Home::fix();
    let server = home.start();
    let (device, other) = (Device::pair(&server, READ), Device::new());
    let judged = || {
        let offer = || Offer::device(&device).token(device.token()).remote();
        let refused = |offer: Offer<'_>| server.refuse(&offer).code();
        let (id, nonce) = (Some(other.id()), Some("another".to_owned()));
        let by_other = other.key.sign("v3");
        let of_old = device.key.sign("v3");
        [
            refused(Offer { id, nonce: nonce.clone(), ..offer() }),
            refused(Offer { nonce, signature: Some("AAAA".into()), ..offer() }),
            refused(Offer { without_nonce: true, signature: Some("AAAA".into()), ..offer() }),
            refused(Offer { signature: Some("AAAA".into()), ..offer() }),
            refused(Offer { signature: Some(by_other), ..offer() }),
            refused(Offer { signature: Some(of_old), ..offer() }),
            refused(Offer { signed_token: Some("another".into()), ..offer() }),
            refused(offer().role("node")),
        ]
    };
    let first = judged();
    assert_eq!(first[0], "DEVICE_AUTH_DEVICE_ID_MISMATCH");
    assert_eq!(first[5], "DEVICE_AUTH_SIGNATURE_INVALID");
    for _ in 0..3 {
        server.connect(&Offer::device(&device).token(device.token()).remote());
        assert_eq!(judged(), first);
    }
    server.admin().ok("device.pair.remove", &format!(r#"{{"deviceId":"{}"}}"#, device.id()));
    server.refuse(&Offer::device(&device).token(device.token()).remote()).expect("PAIRING_REQUIRED");
}
