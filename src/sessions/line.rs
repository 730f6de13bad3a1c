//! A line of a log: a JSON object whose last member is the CRC-32 of what stands before it.
//!
//! A line that ends in no such member was written by somebody else; it is read if it is JSON.

use crate::protocol::json::Scanner;

/// The longest line that is read, bytes; a longer one is skipped.
pub(crate) const LONGEST: usize = 4 << 20;
const MEMBER: &[u8] = br#","crc":""#;
const DIGITS: usize = 8;
/// Bytes from the checksum's comma to the line's end.
const SEAL: usize = MEMBER.len() + DIGITS + 2;

/// Ends a line: `object` is a JSON object without its closing brace.
pub(super) fn seal(mut object: String) -> String {
    let crc = crc32(object.as_bytes());
    object.push_str(&format!(",\"crc\":\"{crc:08x}\"}}\n"));
    object
}

/// The JSON object of a line without its newline; `None` if it is damaged.
pub(crate) fn open(line: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(line).ok()?;
    match sealed(line) {
        Some(right) => right.then_some(text),
        None => {
            let mut scanner = Scanner::new(text);
            let is_object = scanner.peek() == Some(b'{') && scanner.skip().is_ok() && scanner.is_at_end();
            is_object.then_some(text)
        }
    }
}

/// Whether the checksum of a line is right; `None` if it has none.
fn sealed(line: &[u8]) -> Option<bool> {
    let (content, seal) = line.split_at_checked(line.len().checked_sub(SEAL)?)?;
    let digits = seal.strip_prefix(MEMBER)?.strip_suffix(b"\"}")?;
    let crc = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    Some(crc == crc32(content))
}

/// CRC-32 of IEEE 802.3, as in gzip (RFC 1952 §8).
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut n = 0;
        while n < 256 {
            let (mut c, mut bit) = (n as u32, 0);
            while bit < 8 {
                c = if c & 1 != 0 { 0xedb8_8320 ^ (c >> 1) } else { c >> 1 };
                bit += 1;
            }
            table[n] = c;
            n += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc, byte| TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_line_is_whole_or_damaged() {
        let line = seal(r#"{"a":"b""#.into());
        assert_eq!(line, "{\"a\":\"b\",\"crc\":\"9267180b\"}\n");
        let line = line.trim_end();
        assert_eq!(open(line.as_bytes()), Some(line));
        // Each bit of it counts.
        for at in 0..line.len() {
            for bit in 0..8 {
                let mut flipped = line.as_bytes().to_vec();
                flipped[at] ^= 1 << bit;
                // One in the checksum's own name leaves a line that has none.
                let content = |text: &str| text.starts_with(r#"{"a":"b","#);
                let shown = String::from_utf8_lossy(&flipped);
                assert!(open(&flipped).is_none_or(content), "{shown}");
            }
        }
        let others = [
            (r#"{"a":1}"#, true),
            ("{}", true),
            ("[]", false),
            (r#"{"a":1"#, false),
            ("", false),
            ("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", false),
        ];
        for (text, whole) in others {
            assert_eq!(open(text.as_bytes()).is_some(), whole, "{text}");
        }
    }
}
