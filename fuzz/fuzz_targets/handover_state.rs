//! The state of a hand-over: no bytes panic or allocate by a hostile length, since nothing is decoded before its
//! checksum; a saved state in which anything differs is none.

#![no_main]

use barnacle::internals::handoff::STATE_FORMAT;
use libfuzzer_sys::fuzz_target;

/// States that were saved, one of each format.
const SAVED: [&[u8]; 2] = [
    include_bytes!("../../tests/upgrade/state-format-2.bin"),
    include_bytes!("../../tests/upgrade/state-format-3.bin"),
];

fuzz_target!(|data: &[u8]| {
    let _ = STATE_FORMAT.open(data);
    let [which, low, high, bit, with @ ..] = data else { return };
    let saved = SAVED[usize::from(*which) % SAVED.len()];
    let mut bytes = saved.to_vec();
    assert!(STATE_FORMAT.open(&bytes).is_ok());
    let at = usize::from(u16::from_le_bytes([*low, *high])) % bytes.len();
    bytes[at] ^= 1 << (bit % 8);
    assert!(STATE_FORMAT.open(&bytes).is_err());
    bytes.truncate(at);
    bytes.extend_from_slice(with);
    assert!(bytes == saved || STATE_FORMAT.open(&bytes).is_err());
});
