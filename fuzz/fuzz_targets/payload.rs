//! The signed payload: what was signed proves, what reads otherwise does not, and no key, signature or
//! field panics.

#![no_main]

use barnacle::internals::{
    auth::{
        identity::{Identity, verify},
        payload::{Payload, Version},
    },
    protocol::PublicKey,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let fields: Vec<&str> = text.split('\n').collect();
    let field = |n: usize| fields.get(n).copied().unwrap_or("");
    for n in 0..2 {
        if let Some(key) = PublicKey::parse(field(n)) {
            assert_eq!(PublicKey::parse(&key.to_string()), Some(key));
        }
    }
    if let Some(key) = PublicKey::parse(text) {
        assert_eq!(PublicKey::parse(&key.to_string()), Some(key));
    }
    let scopes: Vec<&str> = field(6).split(',').collect();
    let payload = Payload {
        device_id: field(2),
        client_id: field(3),
        client_mode: field(4),
        role: field(5),
        scopes: &scopes,
        signed_at: text.len() as u64,
        nonce: field(7),
        platform: field(8),
        device_family: field(9),
    };
    let tokens = [field(10), field(11), ""];
    if let Some(key) = PublicKey::parse(field(0)) {
        let _ = verify(&key, field(1), &payload, &tokens);
    }

    let me = Identity::from_seed(&[text.len() as u8; 32]);
    let key = me.public_key();
    let shown = Payload { platform: &format!(" {}\t", field(8).to_ascii_uppercase()), ..payload };
    for version in [Version::V3, Version::V2] {
        let signed = payload.text(version, tokens[0]);
        let signature = me.sign(&signed);
        // How a platform is written is not what it is; a version is.
        assert!(verify(&key, &signature, &shown, &tokens).is_ok());
        let other = Payload { nonce: "another", ..payload };
        let same = [Version::V3, Version::V2]
            .iter()
            .any(|v| tokens.iter().any(|token| other.text(*v, token) == signed));
        assert_eq!(verify(&key, &signature, &other, &tokens).is_ok(), same);
    }
});
