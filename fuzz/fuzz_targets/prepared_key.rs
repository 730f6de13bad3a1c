//! A prepared key judges every signature as `verify_strict` of ed25519-dalek does, with its comb and without.

#![no_main]

use barnacle::internals::{auth::prepared::PreparedKey, protocol::PublicKey};
use curve25519_dalek::{constants::EIGHT_TORSION, edwards::EdwardsPoint, scalar::Scalar};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha512};

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    let [way, at, bit] = take(&mut rest);
    let (key, mut signature): ([u8; 32], [u8; 64]) = match way % 4 {
        // As they come.
        0 => (take(&mut rest), take(&mut rest)),
        // Signed, and then damaged, or not.
        1 => {
            let signing = SigningKey::from_bytes(&take(&mut rest));
            (signing.verifying_key().to_bytes(), signing.sign(rest).to_bytes())
        }
        // Fitting by the equation alone, with parts of small order in the key and in R.
        _ => {
            let [parts] = take(&mut rest);
            let [secret, nonce] = [edge(take(&mut rest)), edge(take(&mut rest))];
            let key = EdwardsPoint::mul_base(&secret) + EIGHT_TORSION[usize::from(parts % 8)];
            let r = EdwardsPoint::mul_base(&nonce) + EIGHT_TORSION[usize::from(parts / 8 % 8)];
            let (key, r) = (key.compress().to_bytes(), r.compress().to_bytes());
            let hash = Sha512::new().chain_update(r).chain_update(key).chain_update(rest).finalize();
            let s = nonce + Scalar::from_bytes_mod_order_wide(&hash.into()) * secret;
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(&r);
            signature[32..].copy_from_slice(s.as_bytes());
            (key, signature)
        }
    };
    if bit < 128 && way % 4 != 0 {
        signature[usize::from(at % 64)] ^= 1 << (bit % 8);
    }
    let signature = Signature::from_bytes(&signature);
    let strict = VerifyingKey::from_bytes(&key);
    let prepared = PreparedKey::new(&PublicKey(key));
    assert_eq!(prepared.is_some(), strict.is_ok());
    let (Some(plain), Ok(strict)) = (prepared, strict) else { return };
    let verdict = strict.verify_strict(rest, &signature).is_ok();
    assert_eq!(plain.verify(rest, &signature), verdict);
    assert_eq!(plain.with_comb().verify(rest, &signature), verdict);
});

/// The next bytes; zeros where there are no more.
fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (head, tail) = rest.split_at(N.min(rest.len()));
    *rest = tail;
    let mut taken = [0; N];
    taken[..head.len()].copy_from_slice(head);
    taken
}

/// A scalar, often one at an edge.
fn edge(bytes: [u8; 32]) -> Scalar {
    match bytes[0] {
        0 => Scalar::ZERO,
        1 => Scalar::ONE,
        2 => -Scalar::ONE,
        3 => Scalar::from(bytes[1]),
        4 => -Scalar::from(bytes[1]),
        _ => Scalar::from_bytes_mod_order(bytes),
    }
}
