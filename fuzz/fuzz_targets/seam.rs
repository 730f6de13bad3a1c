//! The seam's scanner: however the bytes of a connection are cut, it finds the same messages as a plain
//! reading of RFC 6455 over all of them, and lets none through that is too long.

#![no_main]

use barnacle::net::scan::{Excess, Scan};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [small, cuts @ ..] = data else { return };
    let limit = usize::from(*small) * 4;
    let (cuts, stream) = cuts.split_at(cuts.len().min(8));
    let whole = messages(stream, limit, [stream.len()].into_iter());
    let ends = cuts.iter().chain(std::iter::repeat(&1)).map(|c| usize::from(*c) + 1);
    assert_eq!(messages(stream, limit, ends), whole);
    assert_eq!(messages(stream, limit, std::iter::repeat(1)), whole);

    let (lengths, _) = whole;
    assert!(lengths.iter().all(|n| *n <= 2 * limit + 64));
    let mut at = 0;
    for length in lengths {
        assert_eq!(plain(&stream[at..]), Some(length), "at {at}");
        at += length;
    }
});

/// The lengths of the messages in `stream` when it comes in pieces of `sizes`, and what ended it.
fn messages(stream: &[u8], limit: usize, sizes: impl Iterator<Item = usize>) -> (Vec<usize>, Option<Excess>) {
    let (mut lengths, mut scan) = (Vec::new(), Scan::default());
    let (mut start, mut end) = (0, 0);
    for size in sizes {
        end = stream.len().min(end + size);
        loop {
            match scan.whole(&stream[start..end], limit) {
                Ok(0) => break,
                Ok(length) => {
                    assert!(start + length <= end, "a message that is not there");
                    lengths.push(length);
                    start += length;
                }
                Err(excess) => return (lengths, Some(excess)),
            }
        }
        if end == stream.len() {
            break;
        }
    }
    (lengths, None)
}

/// RFC 6455 §5.2 and §5.4, frame by frame.
fn plain(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut open) = (0, false);
    loop {
        let (first, second) = (*bytes.get(at)?, *bytes.get(at + 1)?);
        let (mut head, mut length) = (2, u64::from(second & 0x7f));
        let wide = match length {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if wide > 0 {
            length = bytes.get(at + 2..at + 2 + wide)?.iter().fold(0, |n, b| n << 8 | u64::from(*b));
            head += wide;
        }
        head += if second & 0x80 != 0 { 4 } else { 0 };
        at += head + usize::try_from(length).ok()?;
        bytes.get(..at)?;
        if first & 0x08 == 0 {
            open = first & 0x80 == 0;
        }
        if !open {
            return Some(at);
        }
    }
}
