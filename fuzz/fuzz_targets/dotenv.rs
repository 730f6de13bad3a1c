//! `.env`: any text is a set of variables.

#![no_main]

use barnacle::internals::config::credentials::dotenv::parse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for (name, value) in parse(text) {
        assert!(!name.is_empty() && !name.contains(['=', '\n', ' ']), "{name:?}");
        assert!(value.len() <= text.len());
    }
});
