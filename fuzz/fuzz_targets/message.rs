//! Messages: however the bytes of a connection are cut, the same ones are found, none is too long, and what is unfinished
//! stays as it was sent.

#![no_main]

use barnacle::internals::net::message::{Message, ReadError, Scan};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [small, cuts @ ..] = data else { return };
    let limit = usize::from(*small) * 4;
    let (cuts, stream) = cuts.split_at(cuts.len().min(8));
    let (whole, end, rest) = messages(stream, limit, std::iter::once(stream.len()));
    let sizes = cuts.iter().chain(std::iter::repeat(&1)).map(|c| usize::from(*c) + 1);
    let (cut, cut_end, _) = messages(stream, limit, sizes);
    assert_eq!((&cut, cut_end), (&whole, end));
    for message in &whole {
        let length = match message {
            Message::Text(text) => text.len(),
            Message::Binary(bytes) | Message::Ping(bytes) => bytes.len(),
            Message::Pong | Message::Close(_) => 0,
        };
        assert!(length <= limit);
    }
    if end.is_none() && whole.is_empty() {
        assert_eq!(rest, stream);
    }
});

/// The messages in `stream` when it comes in pieces of `sizes`, what ended it, and what is unfinished.
fn messages(
    stream: &[u8],
    limit: usize,
    sizes: impl Iterator<Item = usize>,
) -> (Vec<Message>, Option<ReadError>, Vec<u8>) {
    let (mut found, mut scan, mut input, mut left) = (Vec::new(), Scan::default(), Vec::new(), stream);
    for size in sizes {
        let (piece, after) = left.split_at(size.min(left.len()));
        input.extend_from_slice(piece);
        left = after;
        loop {
            match scan.take(&mut input, limit) {
                Ok(Some(message)) => found.push(message),
                Ok(None) => break,
                Err(e) => return (found, Some(e), input),
            }
        }
        if left.is_empty() {
            break;
        }
    }
    (found, None, input)
}
