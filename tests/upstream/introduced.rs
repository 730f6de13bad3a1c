//! Who a client is behind this gateway: itself, with a key that is derived for it, and never with more than it has here.

use crate::{
    stand_in::StandIn,
    wire::{ADMIN, Client, Device, Home, Offer, READ, get, json, list, text},
};
use barnacle::internals::auth::payload::{Payload, Version};
use std::collections::BTreeSet;

/// Calls something behind, and returns the parameters of the connection that was made for it.
#[track_caller]
fn introduction(behind: &StandIn, before: usize, client: &mut Client) -> miniserde::json::Value {
    client.ok("agents.list", "{}");
    behind.link_after(before).connect()
}

#[test]
fn scopes_are_those_granted_here() {
    let (home, behind) = (Home::fix(), StandIn::new());
    let front = behind.front(&home);
    let device = Device::pair(&front, READ);
    // It asks for more than was approved.
    let offer = Offer::device(&device).device_token(device.token()).scopes(ADMIN).remote();
    let granted = match front.try_connect(&offer) {
        Ok(mut client) => {
            let before = behind.links();
            let connect = introduction(&behind, before, &mut client);
            assert_eq!(list(&connect, "scopes").join(" "), client.scopes());
            client.scopes()
        }
        Err(refused) => {
            // Asking for more may wait for approval; then it attaches with what it has.
            refused.expect("PAIRING_REQUIRED");
            let mut client =
                front.connect(&Offer::device(&device).device_token(device.token()).scopes(READ).remote());
            let before = behind.links();
            let connect = introduction(&behind, before, &mut client);
            assert_eq!(list(&connect, "scopes").join(" "), client.scopes());
            client.scopes()
        }
    };
    assert_eq!(granted, "operator.read");
    // One with the shared token that asks for little has little.
    let mut client = front.connect(&Offer::new().token("T1").scopes(READ));
    let before = behind.links();
    assert_eq!(list(&introduction(&behind, before, &mut client), "scopes"), READ);
    let mut admin = front.admin();
    let before = behind.links();
    let scopes: BTreeSet<String> =
        list(&introduction(&behind, before, &mut admin), "scopes").into_iter().collect();
    assert_eq!(scopes, list(&admin.hello, "auth.scopes").into_iter().collect());
    assert!(scopes.contains("operator.admin"));
}

#[test]
fn the_gateways_own_connection_only_reads() {
    let (home, behind) = (Home::fix(), StandIn::new());
    let front = behind.front(&home);
    front.admin().ok("agents.list", "{}");
    let watcher = behind.watcher();
    let connect = watcher.connect();
    assert_eq!(list(&connect, "scopes"), READ);
    assert_eq!(text(&connect, "client.id"), "gateway-client");
    assert_eq!(text(&connect, "auth.token"), "T1");
}

#[test]
fn a_device_has_one_key_behind() {
    let (home, behind) = (Home::fix(), StandIn::new());
    let mut front = behind.front(&home);
    let (one, other) = (Device::pair(&front, READ), Device::pair(&front, READ));
    let mut keys = Vec::new();
    for device in [&one, &other, &one] {
        let before = behind.links();
        let mut client = front.connect(&Offer::device(device).device_token(device.token()));
        let connect = introduction(&behind, before, &mut client);
        assert_ne!(text(&connect, "device.id"), device.id(), "the client's own key is not here");
        assert_eq!(text(&connect, "auth.token"), "T1", "a device token of this gateway is not passed on");
        let scopes = list(&connect, "scopes");
        let names: Vec<&str> = scopes.iter().map(String::as_str).collect();
        let payload = Payload {
            device_id: &text(&connect, "device.id"),
            client_id: &text(&connect, "client.id"),
            client_mode: &text(&connect, "client.mode"),
            role: &text(&connect, "role"),
            scopes: &names,
            signed_at: text(&connect, "device.signedAt").parse().unwrap(),
            nonce: &text(&connect, "device.nonce"),
            platform: &text(&connect, "client.platform"),
            device_family: "",
        };
        assert_eq!(text(&connect, "device.nonce"), "cc82e5a0-aa37-47d4-a062-ec4884048e9c");
        assert!(
            verified(&text(&connect, "device.publicKey"), &payload.text(Version::V3, "T1"), &connect),
            "{}",
            json(&connect)
        );
        keys.push((text(&connect, "device.id"), text(&connect, "device.publicKey")));
        if keys.len() == 2 {
            // Also after a restart.
            front.stop();
            front = behind.front(&home);
        }
    }
    assert_eq!(keys[0], keys[2], "stable");
    assert_ne!(keys[0], keys[1], "one each");
}

fn verified(key: &str, signed: &str, connect: &miniserde::json::Value) -> bool {
    use barnacle::internals::protocol::base64url_decode;
    let key: [u8; 32] = base64url_decode(key).unwrap().try_into().unwrap();
    let signature = base64url_decode(&text(connect, "device.signature")).unwrap();
    let key = ed25519_dalek::VerifyingKey::from_bytes(&key).unwrap();
    let signature = ed25519_dalek::Signature::from_slice(&signature).unwrap();
    key.verify_strict(signed.as_bytes(), &signature).is_ok()
}

#[test]
fn how_a_client_introduced_itself_is_passed_on() {
    let (home, behind) = (Home::fix(), StandIn::new());
    home.gateway(r#"auth:{mode:"token",token:"T1"},controlUi:{allowedOrigins:["http://pi.example:8080"]}"#);
    let front = behind.front(&home);
    let at = std::net::SocketAddr::from(([127, 0, 0, 1], front.port));
    let headers = [("Host", "pi.example:18789".to_owned()), ("Origin", "http://pi.example:8080".to_owned())];
    let mut client = Client::open(at, &headers).unwrap();
    let device = Device::new();
    let offer = Offer { caps: vec!["session-scoped-events", "tool-events"], ..Offer::device(&device) };
    let offer = Offer { extra: r#","locale":"de-DE","userAgent":"Firefox/140""#, ..offer };
    let offer = offer.token("T1").scopes(READ).client("openclaw-control-ui", "webchat");
    let frame = client.connect_frame(&offer);
    let frame = frame.replace(r#""version":"1.0.0""#, r#""version":"7.7.7","buildId":"build-of-the-page""#);
    let before = behind.links();
    client.send(&frame);
    client.answer("c1").unwrap();
    // A page hears from OpenClaw without asking.
    let link = behind.link_after(before);
    let connect = link.connect();
    for (path, expected) in [
        ("client.id", "openclaw-control-ui"),
        ("client.mode", "webchat"),
        ("client.version", "7.7.7"),
        ("client.buildId", "build-of-the-page"),
        ("client.platform", "linux"),
        ("locale", "de-DE"),
        ("userAgent", "Firefox/140"),
        ("minProtocol", "4"),
        ("maxProtocol", "4"),
        ("role", "operator"),
    ] {
        assert_eq!(text(&connect, path), expected, "{path} of {}", json(&connect));
    }
    assert_eq!(list(&connect, "caps"), ["session-scoped-events", "tool-events"]);
    let head: Vec<String> = link.head.lines().map(str::to_ascii_lowercase).collect();
    for line in ["host: pi.example:18789", "origin: http://pi.example:8080"] {
        assert!(head.iter().any(|has| has == line), "no {line} in {head:?}");
    }
    assert!(!link.head.to_ascii_lowercase().contains("forwarded"), "{}", link.head);
}

#[test]
fn a_client_that_openclaw_refuses_is_introduced_as_a_backend() {
    let (home, behind) = (Home::fix(), StandIn::new());
    let front = behind.front(&home);
    behind.behaves(|_, head| {
        // Only with the client's own Host is it introduced as the client.
        match head.contains("Host: somebody") {
            true => crate::stand_in::Manner::Refuse(
                r#"{"code":"INVALID_REQUEST","message":"not you","details":{"code":"CLIENT_REFUSED"}}"#,
            ),
            false => crate::stand_in::Manner::Well,
        }
    });
    let device = Device::new();
    let offer = Offer::device(&device).token("T1").scopes(READ).header("Host", "somebody");
    let mut client = front.connect(&offer);
    let refused = behind.links();
    client.ok("agents.list", "{}");
    // The first was refused.
    let connect = behind.any_link_after(refused + 1).connect();
    assert_eq!(text(&connect, "client.mode"), "backend");
    assert_eq!(list(&connect, "scopes"), READ, "also then no more than it has");
    assert!(get(&connect, "device").is_none());
}

#[test]
fn a_client_id_that_openclaw_does_not_know_goes_as_a_backend() {
    let (home, behind) = (Home::fix(), StandIn::new());
    let front = behind.front(&home);
    let mut client = match front.try_connect(&Offer::new().token("T1").client("my-own", "backend")) {
        Ok(client) => client,
        // This gateway knows the same ids.
        Err(refused) => {
            assert_eq!(refused.get("code"), "INVALID_REQUEST");
            return;
        }
    };
    let before = behind.links();
    client.ok("agents.list", "{}");
    let connect = behind.any_link_after(before).connect();
    assert_eq!(text(&connect, "client.id"), "gateway-client");
    assert_eq!(list(&connect, "scopes"), READ);
}
