//! HTTP: any bytes are the beginning of a request, a part of one, or something else, wherever they are cut.

#![no_main]

use barnacle::internals::net::http::Beginning;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let whole = Beginning::of(bytes);
    if let Beginning::Get(path, length) = &whole {
        assert!(*length <= bytes.len() && !path.contains('?'));
        // What follows a head is not part of it, and without its end it is none.
        assert!(matches!(Beginning::of(&bytes[..*length]), Beginning::Get(again, n) if again == *path && n == *length));
        assert!(!matches!(Beginning::of(&bytes[..*length - 1]), Beginning::Get(..)));
    }
});
