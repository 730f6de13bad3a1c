//! A device's public key, prepared for verifying: `verify_strict`'s verdicts at half the work.
//!
//! A reconnect is mostly the verification of one signature by a key that has been known for months, so what depends on
//! the key alone is done once: it is decompressed, checked for weakness, and where it is worth the memory ([`Comb`])
//! its multiples are laid out as a comb, so that the sum takes 31 doublings instead of 252.
//!
//! **Why the verdicts are those of `verify_strict`.** A signature is `R ‖ s` over a message, by a key A; k is the hash of
//! R, A and the message, reduced. `verify_strict` (ed25519-dalek 3) accepts if all five hold:
//!
//! 1. s is canonical, that is below the group's order;
//! 2. R decompresses;
//! 3. R is not of small order;
//! 4. A is not of small order;
//! 5. `compress(sB − kA)` is R, byte for byte.
//!
//! Here 1 and 4 are checked as they are, 4 once a key. 5 is checked as it is, by other additions that come to the same
//! sum: sB − kA is a sum of multiples of B and −A with the digits of the integers s and k, and integers add up in any
//! group, so it is the same point where A has a part of small order, too. What `compress` gives is canonical and
//! decompresses, so 5 implies 2. It gives each point one encoding, so where 5 holds, R is of small order exactly if it is
//! one of eight encodings ([`SMALL_ORDER`]), which is 3.
//!
//! **Timing.** Nothing here is done in constant time, and nothing here is secret: public keys, signatures that their
//! sender made, and text that was sent in the clear.

use crate::protocol::{DeviceId, PublicKey};
use curve25519_dalek::{
    constants::ED25519_BASEPOINT_POINT, edwards::EdwardsPoint, scalar::Scalar, traits::Identity as _,
};
use ed25519_dalek::{Signature, Verifier, VerifyingKey};
use sha2::{Digest, Sha512};
use std::sync::OnceLock;

/// Number of pieces that a scalar is cut into; each has its own odd multiples.
const PIECES: usize = 8;
/// Bits of a piece.
const BITS: usize = 256 / PIECES;
/// Bits of a digit of k, and the odd multiples that it may ask for.
const KEY_WIDTH: usize = 5;
const KEY_ODDS: usize = odds(KEY_WIDTH);
/// Bits of a digit of s: the base point's multiples are there once for all keys, so they may be more.
const BASE_WIDTH: usize = 6;
const BASE_ODDS: usize = odds(BASE_WIDTH);

/// Odd multiples that a digit of `width` bits, its sign among them, may ask for.
const fn odds(width: usize) -> usize {
    1 << (width - 2)
}

/// Encodings of the eight points of small order, as `compress` gives them: orders 1, 2, 4, 4, and 8 four times.
const SMALL_ORDER: [[u8; 32]; 8] = {
    const fn of(first: u8, middle: u8, last: u8) -> [u8; 32] {
        let mut bytes = [middle; 32];
        (bytes[0], bytes[31]) = (first, last);
        bytes
    }
    const fn with_sign(mut bytes: [u8; 32]) -> [u8; 32] {
        bytes[31] |= 0x80;
        bytes
    }
    const EIGHTH: [u8; 32] = [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ];
    const OTHER_EIGHTH: [u8; 32] = [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a,
        0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ];
    [
        of(0x01, 0x00, 0x00),
        of(0xec, 0xff, 0x7f),
        of(0x00, 0x00, 0x00),
        of(0x00, 0x00, 0x80),
        EIGHTH,
        with_sign(EIGHTH),
        OTHER_EIGHTH,
        with_sign(OTHER_EIGHTH),
    ]
};

/// Odd multiples of a point and of its doubles: `line[i][j]` is (2j + 1) · 2^([`BITS`] · i) times the point.
type Comb<const ODDS: usize> = [[EdwardsPoint; ODDS]; PIECES];

/// A public key with what depends on it alone.
pub struct PreparedKey {
    key: VerifyingKey,
    id: DeviceId,
    /// Whether it is of small order; then it proves nothing.
    weak: bool,
    /// Multiples of its negative.
    comb: Option<Box<Comb<KEY_ODDS>>>,
}

impl PreparedKey {
    /// Decompresses `key`; `None` if it is no point on the curve.
    pub fn new(key: &PublicKey) -> Option<Self> {
        Self::of_device(key, key.device_id())
    }

    /// The same, where it is known already which device the key is.
    pub fn of_device(key: &PublicKey, id: DeviceId) -> Option<Self> {
        let key = VerifyingKey::from_bytes(&key.0).ok()?;
        Some(Self { weak: key.is_weak(), key, id, comb: None })
    }

    /// The same key with its multiples laid out: about as much work as one verification, and 10 KB.
    pub fn with_comb(&self) -> Self {
        let comb = comb(-self.key.to_edwards());
        Self { key: self.key, id: self.id, weak: self.weak, comb: Some(Box::new(comb)) }
    }

    /// Whether its multiples are laid out.
    pub fn has_comb(&self) -> bool {
        self.comb.is_some()
    }

    /// The key as it stands on the wire.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.key.to_bytes())
    }

    /// The device that the key is.
    pub fn device_id(&self) -> DeviceId {
        self.id
    }

    /// Whether `signature` over `message` is valid, as `verify_strict` judges it.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        if self.weak || SMALL_ORDER.contains(signature.r_bytes()) {
            return false;
        }
        match &self.comb {
            None => self.key.verify(message, signature).is_ok(),
            Some(comb) => self.verify_by_comb(comb, message, signature),
        }
    }

    fn verify_by_comb(&self, comb: &Comb<KEY_ODDS>, message: &[u8], signature: &Signature) -> bool {
        static BASE: OnceLock<Box<Comb<BASE_ODDS>>> = OnceLock::new();
        let base = BASE.get_or_init(|| Box::new(crate::auth::prepared::comb(ED25519_BASEPOINT_POINT)));
        let r = signature.r_bytes();
        let Some(s) = Option::<Scalar>::from(Scalar::from_canonical_bytes(*signature.s_bytes())) else {
            return false;
        };
        let hash = Sha512::new().chain_update(r).chain_update(self.key.as_bytes()).chain_update(message);
        let k = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
        let (of_base, of_key) = (digits::<BASE_WIDTH>(s.as_bytes()), digits::<KEY_WIDTH>(k.as_bytes()));
        let mut sum = EdwardsPoint::identity();
        for row in (0..BITS).rev() {
            if row < BITS - 1 {
                sum += sum;
            }
            add_row(&mut sum, base, &of_base, row);
            add_row(&mut sum, comb, &of_key, row);
        }
        sum.compress().as_bytes() == r
    }
}

/// Lays out the multiples of `point`.
fn comb<const ODDS: usize>(mut point: EdwardsPoint) -> Comb<ODDS> {
    std::array::from_fn(|piece| {
        if piece > 0 {
            // Eight times is the one multiple by a power of two that curve25519-dalek computes without whole additions.
            for _ in 0..BITS / 3 {
                point = point.mul_by_cofactor();
            }
            for _ in 0..BITS % 3 {
                point += point;
            }
        }
        let (twice, mut next) = (point + point, point);
        std::array::from_fn(|_| {
            let odd = next;
            next += twice;
            odd
        })
    })
}

/// Adds the multiples that the digits of one row ask for.
fn add_row<const ODDS: usize>(sum: &mut EdwardsPoint, comb: &Comb<ODDS>, digits: &[i8; 256], row: usize) {
    for (line, digit) in comb.iter().zip(digits.iter().skip(row).step_by(BITS)) {
        let odd = usize::from(digit.unsigned_abs() / 2);
        match digit {
            0 => {}
            1.. => *sum += line[odd],
            _ => *sum -= line[odd],
        }
    }
}

/// The digits of an integer below 2^253, least first: each is 0 or odd and below 2^(`WIDTH` − 1) in size, and of any
/// `WIDTH` in a row one at most is not 0 (its non-adjacent form). Digit n counts 2^n.
fn digits<const WIDTH: usize>(integer: &[u8; 32]) -> [i8; 256] {
    let mut digits = [0; 256];
    // One bit more than there are, for a window's end.
    let mut words = [0u64; 5];
    for (word, bytes) in words.iter_mut().zip(integer.chunks_exact(8)) {
        *word = bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    }
    let (mut at, mut carry) = (0, 0);
    while at < 256 {
        let (word, bit) = (at / 64, at % 64);
        let mut window = words[word] >> bit;
        if bit + WIDTH > 64 {
            window |= words[word + 1] << (64 - bit);
        }
        let window = (window & ((1 << WIDTH) - 1)) as i8 + carry;
        if window & 1 == 0 {
            at += 1;
            continue;
        }
        carry = i8::from(window > 1 << (WIDTH - 1));
        digits[at] = window - (carry << WIDTH);
        at += WIDTH;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use curve25519_dalek::constants::EIGHT_TORSION;
    use ed25519_dalek::{Signer, SigningKey};

    /// Asserts that all ways of verifying agree, and returns what they say.
    fn judge(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        let signature = Signature::from_bytes(signature);
        let strict = VerifyingKey::from_bytes(key);
        let strict = strict.is_ok_and(|key| key.verify_strict(message, &signature).is_ok());
        let Some(plain) = PreparedKey::new(&PublicKey(*key)) else {
            assert!(!strict && VerifyingKey::from_bytes(key).is_err());
            return false;
        };
        let what = (crate::protocol::hex(key), crate::protocol::hex(&signature.to_bytes()));
        assert_eq!(plain.verify(message, &signature), strict, "plain {what:?}");
        assert_eq!(plain.with_comb().verify(message, &signature), strict, "by the comb {what:?}");
        strict
    }

    fn unhex<const N: usize>(text: &str) -> [u8; N] {
        let bytes = unhex_all(text);
        bytes.try_into().unwrap_or_else(|_| panic!("{N} bytes: {text}"))
    }

    fn unhex_all(text: &str) -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16);
        (0..text.len()).step_by(2).map(|at| digit(at).unwrap_or_else(|e| panic!("{text}: {e}"))).collect()
    }

    /// Yields numbers that look random and are the same each time (SplitMix64).
    struct Numbers(u64);

    impl Numbers {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ z >> 31
        }

        fn bytes<const N: usize>(&mut self) -> [u8; N] {
            std::array::from_fn(|_| self.next() as u8)
        }
    }

    /// What an adversary may choose: R and the key with a part of small order, any s.
    fn forged(key: &EdwardsPoint, r: &EdwardsPoint, s: &[u8; 32], message: &[u8]) -> bool {
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(r.compress().as_bytes());
        signature[32..].copy_from_slice(s);
        judge(key.compress().as_bytes(), message, &signature)
    }

    #[test]
    fn published_cases_are_judged_as_verify_strict_does() {
        let (mut cases, mut valid) = (0, 0);
        for line in include_str!("testdata/ed25519-cases.txt").lines().filter(|l| !l.starts_with('#')) {
            let mut words = line.split(' ').skip(1);
            let mut word = || words.next().unwrap_or_else(|| panic!("{line}"));
            let (key, message, signature) = (unhex(word()), unhex_all(&word()[1..]), unhex(word()));
            valid += u32::from(judge(&key, &message, &signature));
            cases += 1;
        }
        assert_eq!((cases, valid), (950, 47));
    }

    #[test]
    fn random_and_damaged_signatures_are_judged_as_verify_strict_does() {
        let mut numbers = Numbers(1);
        for n in 0..150 {
            let signing = SigningKey::from_bytes(&numbers.bytes());
            let message = numbers.bytes::<64>();
            let message = &message[..n % 64];
            let (key, mut signature) = (signing.verifying_key().to_bytes(), signing.sign(message).to_bytes());
            assert!(judge(&key, message, &signature));
            let bit = numbers.next() as usize % 512;
            signature[bit / 8] ^= 1 << (bit % 8);
            assert!(!judge(&key, message, &signature));
            signature[bit / 8] ^= 1 << (bit % 8);
            let mut other = key;
            other[bit % 32] ^= 1 << (bit / 64);
            assert!(!judge(&other, message, &signature));
        }
    }

    /// Signatures that hold by the equation alone, with parts of small order in the key and in R, for scalars at the edges.
    #[test]
    fn small_order_and_edges_are_judged_as_verify_strict_does() {
        let mut numbers = Numbers(2);
        let edges = [Scalar::ZERO, Scalar::ONE, -Scalar::ONE];
        let (mut accepted, mut by_equation) = (0, 0);
        for n in 0..400 {
            let secret =
                edges.get(n % 5).copied().unwrap_or_else(|| Scalar::from_bytes_mod_order(numbers.bytes()));
            let nonce = edges.get(n / 5 % 5).copied();
            let nonce = nonce.unwrap_or_else(|| Scalar::from_bytes_mod_order(numbers.bytes()));
            let key = EdwardsPoint::mul_base(&secret) + EIGHT_TORSION[n % 8];
            let r = EdwardsPoint::mul_base(&nonce) + EIGHT_TORSION[n / 8 % 8];
            let message = numbers.bytes::<8>();
            let hash = Sha512::new();
            let hash = hash.chain_update(r.compress().as_bytes()).chain_update(key.compress().as_bytes());
            let k = Scalar::from_bytes_mod_order_wide(&hash.chain_update(message).finalize().into());
            let s = nonce + k * secret;
            by_equation += u32::from(EdwardsPoint::mul_base(&s) - k * key == r);
            accepted += u32::from(forged(&key, &r, s.as_bytes(), &message));
        }
        assert!(accepted > 10 && by_equation > accepted, "{accepted} of {by_equation}");
    }

    #[test]
    fn the_eight_encodings_are_those_of_the_points_of_small_order() {
        let mut points = EIGHT_TORSION.map(|point| point.compress().to_bytes());
        let mut listed = SMALL_ORDER;
        points.sort_unstable();
        listed.sort_unstable();
        assert_eq!(points, listed);
    }

    #[test]
    fn digits_add_up_to_their_integer() {
        fn check<const WIDTH: usize>(integer: Scalar) {
            let digits = digits::<WIDTH>(integer.as_bytes());
            let (mut sum, two) = (Scalar::ZERO, Scalar::from(2u8));
            for digit in digits.iter().rev() {
                let size = Scalar::from(digit.unsigned_abs());
                sum = sum * two + if *digit < 0 { -size } else { size };
                assert!(*digit == 0 || digit % 2 != 0 && usize::from(digit.unsigned_abs()) < 2 * odds(WIDTH));
            }
            assert_eq!(sum, integer);
        }
        let mut numbers = Numbers(3);
        let edges = [Scalar::ZERO, Scalar::ONE, -Scalar::ONE, -Scalar::from(31u8)];
        let random = (0..200).map(|_| Scalar::from_bytes_mod_order(numbers.bytes()));
        for integer in edges.into_iter().chain(random) {
            check::<KEY_WIDTH>(integer);
            check::<BASE_WIDTH>(integer);
        }
    }
}
