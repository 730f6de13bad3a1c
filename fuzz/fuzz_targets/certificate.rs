//! Certificates: any DER has a validity or none, and any PEM files are a certificate and its key or an error.

#![no_main]

use barnacle::internals::tls::Validity;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|der: &[u8]| {
    if let Some(Validity { from, until }) = Validity::of(der) {
        for time in [from, until] {
            assert!(time.len() == 14 && time.bytes().all(|b| b.is_ascii_digit()), "{time}");
        }
    }
});
