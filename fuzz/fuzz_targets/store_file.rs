//! The store's file: no bytes make reading it panic or ask for memory it does not hold, what was written
//! is what is read, and a byte that changed is seen.
//!
//! A payload is only looked at when its digest is right, so the fuzzer does not forge digests.

#![no_main]

use barnacle::{
    protocol::{PublicKey, RequestId, Role, Scopes},
    store::{Book, Display, Request, Via, codec},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok((book, counter)) = codec::decode(data) {
        let again = codec::seal(codec::encode(&book, counter));
        assert_eq!(codec::decode(&again), Ok((book, counter)));
    }
    let Some((&[low, high, flip], steps)) = data.split_first_chunk() else { return };
    let book = book_of(steps);
    let mut file = codec::seal(codec::encode(&book, u64::from(low)));
    assert_eq!(codec::decode(&file), Ok((book, u64::from(low))));
    let at = usize::from(u16::from_le_bytes([low, high])) % file.len();
    file[at] ^= flip;
    assert_eq!(codec::decode(&file).is_ok(), flip == 0);
    file.truncate(at);
    assert!(codec::decode(&file).is_err());
});

/// A book made by the steps that the bytes stand for, four each.
fn book_of(steps: &[u8]) -> Book {
    let mut book = Book::default();
    for step in steps.chunks_exact(4) {
        let &[what, who, text, time] = step else { continue };
        let key = PublicKey([who; 32]);
        let name = "ä".repeat(usize::from(text));
        let display = Display { name: Some(name.clone()), ..Display::default() };
        let role = if what & 4 == 0 { Role::Operator } else { Role::Node };
        let scopes = Scopes::from_names(["operator.read"].into_iter().take(usize::from(what & 8 == 0)));
        match what & 3 {
            0 | 1 => drop(book.approve(key, role, scopes, &display, Via::Operator, time.into())),
            2 => drop(book.remove(&key.device_id(), time.into())),
            _ => {
                let id = RequestId(name);
                let created_ms = time.into();
                drop(book.request(Request { id, key, role, scopes, display, trusted: false, created_ms }));
            }
        }
    }
    book.settle();
    book
}
