//! The state of a hand-over: no bytes panic or allocate by a hostile length; what is read is written and read again
//! alike, and not from bytes in which one differs.

#![no_main]

use barnacle::internals::handoff::STATE_FORMAT;
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};

fuzz_target!(|data: &[u8]| {
    let _ = STATE_FORMAT.open(data);
    let [format, payload @ ..] = data else { return };
    // The frame is right, so that the payload is looked at.
    let mut bytes = b"BARNHAND".to_vec();
    bytes.extend_from_slice(&u32::from(2 + format % 2).to_le_bytes());
    bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    bytes.extend_from_slice(payload);
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    let Ok(state) = STATE_FORMAT.open(&bytes) else { return };
    for format in STATE_FORMAT.writes {
        let mut sealed = STATE_FORMAT.seal(&state, *format).bytes();
        let again = STATE_FORMAT.open(&sealed).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(STATE_FORMAT.seal(&again, *format).bytes(), sealed);
        let at = usize::from(data[data.len() / 2]) % sealed.len();
        sealed[at] ^= 1;
        assert!(STATE_FORMAT.open(&sealed).is_err());
    }
});
