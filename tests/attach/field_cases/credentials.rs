//! Shared secrets and device tokens: which is which, where they come from, and guessing them.

use crate::wire::{Device, Home, Offer, READ, Refused, json, number};

fn paired(scopes: &[&str]) -> (Home, crate::wire::Server, Device) {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, scopes);
    (home, server, device)
}

#[test]
fn a1_a4_a5_a120_environment_against_config() {
    let home = Home::fix();
    let server = home.start_with(&[], &[("OPENCLAW_GATEWAY_TOKEN", "T0")]);
    server.wait_log(&["OPENCLAW_GATEWAY_TOKEN is the token in force"]);
    let mut device = Device::new();
    device.token = Some(server.connect(&Offer::device(&device).token("T0")).device_token());
    let refused = server.refuse(&Offer::new().token("T1"));
    refused.expect("AUTH_TOKEN_MISMATCH");
    assert!(refused.get("details.matches").contains("gateway.auth.token in"), "{}", json(&refused.error));
    assert!(refused.get("details.hint").contains("unset OPENCLAW_GATEWAY_TOKEN"));
    assert!(refused.close.1.contains("gateway.auth.token"), "{:?}", refused.close);
    server.connect(&Offer::device(&device).token("T1").device_token(device.token()));
    server.connect(&Offer::device(&device).token("T1"));
}

#[test]
fn a2_token_in_a_unit() {
    let home = Home::fix();
    let unit = home.dir.join(".config/systemd/user/openclaw-gateway.service");
    std::fs::create_dir_all(unit.parent().unwrap()).unwrap();
    std::fs::write(&unit, "[Service]\nEnvironment=OPENCLAW_GATEWAY_TOKEN=T-unit\n").unwrap();
    let server = home.start();
    let refused = server.refuse(&Offer::new().token("T-unit"));
    refused.expect("AUTH_TOKEN_MISMATCH");
    assert!(refused.get("details.matches").contains("openclaw-gateway.service"));
    assert!(refused.get("details.hint").contains("daemon-reload"));
}

#[test]
fn a3_a6_unknown_device_token() {
    let (_home, server, device) = paired(READ);
    let stranger = "6yz3vWbVJ2kQnKk9m1sYfXr0c8Qd5TtGhPpLwZaBeUo";
    let client = server.connect(&Offer::device(&device).token("T1").device_token(stranger));
    assert_eq!(client.device_token(), device.token());
    let client = server.connect(&Offer::device(&device).device_token(stranger));
    assert_eq!(client.device_token(), device.token());
}

#[test]
fn a7_a62_either_token_in_either_field() {
    let (home, server, device) = paired(READ);
    let config = std::fs::read_to_string(home.config_path()).unwrap();
    home.config(&config.replace("}}", "},channels:{whatsapp:{allowFrom:[\"+1\"]}}}").replacen("}}", "}", 1));
    drop(server);
    let server = home.start();
    server.connect(&Offer::device(&device).token("T1"));
    server.connect(&Offer::device(&device).token(device.token()));
    server.connect(&Offer::device(&device).device_token(device.token()));
    server.connect(&Offer::device(&device).password("T1"));
}

#[test]
fn a10_lost_device_token() {
    let (_home, server, device) = paired(READ);
    let client = server.connect(&Offer::device(&device).token("T1"));
    assert_eq!(client.device_token(), device.token());
    assert!(server.admin().ok("device.pair.list", "{}").pending_is_empty());
}

trait Pending {
    fn pending_is_empty(&self) -> bool;
}

impl Pending for miniserde::json::Value {
    fn pending_is_empty(&self) -> bool {
        crate::wire::items(self, "pending").is_empty()
    }
}

#[test]
fn a11_fingerprints_tell_two_tokens_apart() {
    let home = Home::empty();
    home.auth(r#"{mode:"token",token:"T1-of-the-owner-4711"}"#);
    let server = home.start();
    let refused = server.refuse(&Offer::new().token("T2"));
    refused.expect("AUTH_TOKEN_MISMATCH");
    let (offered, expected) =
        (refused.get("details.fingerprints.offered"), refused.get("details.fingerprints.expected"));
    assert!(offered.len() == 8 && expected.len() == 8 && offered != expected);
    assert!(!json(&refused.error).contains("T1-of-the-owner-4711"), "a secret in {}", json(&refused.error));
    let again = server.refuse(&Offer::new().token("T2"));
    assert_eq!(again.get("details.fingerprints.offered"), offered);
}

#[test]
fn a12_a_file_changed_since_the_start_is_named() {
    let home = Home::empty();
    home.gateway(r#"reload:{mode:"off"},auth:{mode:"token",token:"T1"}"#);
    let server = home.start();
    home.gateway(r#"reload:{mode:"off"},auth:{mode:"token",token:"T2"}"#);
    let refused = server.refuse(&Offer::new().token("T2"));
    refused.expect("AUTH_TOKEN_MISMATCH");
    assert!(refused.get("details.hint").contains("changed after this gateway read it"));
    server.connect(&Offer::new().token("T1"));
}

#[test]
fn a14_a_missing_token_is_no_mismatch() {
    let (_home, server, device) = paired(READ);
    let new = Device::new();
    server.refuse(&Offer::device(&new).remote()).expect("AUTH_TOKEN_MISSING");
    server.refuse(&Offer::device(&new)).expect("AUTH_TOKEN_MISSING");
    server.connect(&Offer::device(&device).device_token(device.token()).remote());
}

#[test]
fn a39_a_refusal_names_its_gateway() {
    let home = Home::fix();
    let server = home.start_with(&["--token", "T9"], &[]);
    let refused = server.refuse(&Offer::new().token("T1"));
    refused.expect("AUTH_TOKEN_MISMATCH");
    let hello = server.connect(&Offer::new().token("T9")).hello;
    assert_eq!(refused.get("details.gatewayBootId"), crate::wire::text(&hello, "server.bootId"));
    assert!(number(&refused.error, "details.gatewayStartedAtMs") > 0);
    assert!(refused.get("details.hint").contains("without --token"), "{}", json(&refused.error));
}

fn guess(server: &crate::wire::Server, n: u32) -> Refused {
    server.refuse(&Offer::new().token(&format!("guess {n}")).remote())
}

#[test]
fn a40_a129_guesses_lock_no_device() {
    let (_home, server, device) = paired(READ);
    for n in 0..10 {
        guess(&server, n).expect("AUTH_TOKEN_MISMATCH");
    }
    let locked = guess(&server, 11);
    locked.expect("AUTH_RATE_LIMITED");
    assert!(number(&locked.error, "retryAfterMs") > 0);
    // Not even the right one: else a guess could be told from a miss.
    server.refuse(&Offer::new().token("T1").remote()).expect("AUTH_RATE_LIMITED");
    server.connect(&Offer::device(&device).device_token(device.token()).remote());
    server.connect(&Offer::device(&device).remote());
    server.connect(&Offer::device(&device).token("T1").remote());
    // And this host itself is somebody else.
    server.connect(&Offer::new().token("T1"));
    server.wait_log(&["too many different wrong secrets from 127.0.0.1"]);
}

#[test]
fn a_paired_device_does_not_guess_for_free() {
    let home = Home::empty();
    home.auth(r#"{mode:"token",token:"T1",rateLimit:{maxAttempts:3,windowMs:60000,lockoutMs:600000}}"#);
    let server = home.start();
    let device = Device::pair(&server, READ);
    let offer = |token: &str| Offer::device(&device).token(token).remote();
    for n in 0..3 {
        server.connect(&offer(&format!("guess {n}")));
    }
    server.refuse(&Offer::new().token("T1").remote()).expect("AUTH_RATE_LIMITED");
    // It is attached all the same, by its own proof.
    server.connect(&offer("guess 4"));
    server.connect(&Offer::device(&device).token(device.token()).remote());
}

#[test]
fn a41_a_stale_tab_counts_once() {
    let (_home, server, _device) = paired(READ);
    for _ in 0..40 {
        server.refuse(&Offer::new().token("a stale tab").remote()).expect("AUTH_TOKEN_MISMATCH");
    }
    server.connect(&Offer::new().token("T1").remote());
}

#[test]
fn a42_retries_do_not_prolong_a_lockout() {
    let home = Home::empty();
    home.auth(r#"{mode:"token",token:"T1",rateLimit:{maxAttempts:3,windowMs:60000,lockoutMs:5000}}"#);
    let server = home.start();
    (0..3).for_each(|n| {
        guess(&server, n);
    });
    let mut left = number(&guess(&server, 3).error, "retryAfterMs");
    assert!(left <= 500, "the first lock is a tenth of the longest: {left}");
    loop {
        match server.try_connect(&Offer::new().token("T1").remote()) {
            Ok(_) => break,
            Err(refused) => {
                let now = number(&refused.expect("AUTH_RATE_LIMITED").error, "retryAfterMs");
                assert!(now <= left, "a knock lengthened the lock from {left} to {now}");
                left = now;
            }
        }
    }
}

#[test]
fn a59_device_token_alone() {
    let (home, server, device) = paired(READ);
    drop(server);
    home.auth(r#"{mode:"token",token:{source:"exec",provider:"vault",id:"x"}}"#);
    let server = home.start();
    server.connect(&Offer::device(&device).device_token(device.token())).ok("status", "{}");
}

#[test]
fn a60_key_alone() {
    let (_home, server, device) = paired(READ);
    let client = server.connect(&Offer::device(&device));
    assert_eq!(client.device_token(), device.token());
    let refused = server.refuse(&Offer::device(&Device::new()));
    refused.expect("AUTH_TOKEN_MISSING");
    assert!(refused.get("details.hint").contains("device"));
}

#[test]
fn a64_a128_device_token_mismatch_is_said_of_device_tokens_only() {
    let home = Home::fix();
    let server = home.start();
    for offer in [
        Offer::new().token("wrong"),
        Offer::device(&Device::new()).token("wrong"),
        Offer::device(&Device::new()).token("wrong").remote(),
    ] {
        let refused = server.refuse(&offer);
        refused.expect("AUTH_TOKEN_MISMATCH");
        let words = format!("{} {}", json(&refused.error), refused.close.1);
        assert!(!words.contains("device token"), "{words}");
    }
}

#[test]
fn a106_retry_with_the_device_token() {
    let home = Home::empty();
    home.auth(r#"{mode:"token",token:"T1",deviceKeyProof:false}"#);
    let server = home.start();
    let device = Device::pair(&server, READ);
    let refused = server.refuse(&Offer::device(&device).token("T2"));
    refused.expect("AUTH_TOKEN_MISMATCH");
    assert_eq!(refused.get("details.canRetryWithDeviceToken"), "true");
    assert_eq!(refused.get("details.recommendedNextStep"), "retry_with_device_token");
    server.connect(&Offer::device(&device).device_token(device.token()));
    // With the key proof, as by default, it need not retry at all.
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    server.connect(&Offer::device(&device).token("T2"));
}
