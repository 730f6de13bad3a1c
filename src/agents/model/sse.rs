//! Server-sent events, read in whatever pieces they come (WHATWG HTML §9.2).
//!
//! Lenient as model servers need it: lines end in LF, CR LF or CR, `data:` may lack its space, events may share a chunk, and
//! the last one may lack its blank line.

use std::fmt;

/// The longest line, and the longest event, bytes.
const LONGEST: usize = 1 << 20;

/// Error: a line or an event is longer than the limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an event of its stream is longer than {LONGEST} bytes")
    }
}

/// A stream of events, as far as it was read.
#[derive(Default)]
pub struct EventStream {
    line: Vec<u8>,
    data: String,
    has_data: bool,
    /// Whether the last byte was a CR, of which an LF after it is a part.
    after_cr: bool,
}

impl EventStream {
    /// Reads a chunk; the data of the events that it completes.
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn push(&mut self, chunk: &[u8]) -> Result<Vec<String>, TooLong> {
        let mut events = Vec::new();
        let mut rest = chunk;
        while let Some(end) = rest.iter().position(|b| matches!(b, b'\n' | b'\r')) {
            let (before, sign) = (&rest[..end], rest[end]);
            rest = &rest[end + 1..];
            if sign == b'\n' && before.is_empty() && self.after_cr {
                self.after_cr = false;
                continue;
            }
            self.add(before)?;
            self.after_cr = sign == b'\r';
            self.end_line(&mut events)?;
        }
        self.add(rest)?;
        Ok(events)
    }

    /// The event that the stream ended in.
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn finish(mut self) -> Result<Option<String>, TooLong> {
        let mut events = Vec::new();
        self.end_line(&mut events)?;
        Ok(events.pop().or_else(|| self.has_data.then_some(self.data)))
    }

    fn add(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if self.line.len() + bytes.len() > LONGEST {
            return Err(TooLong);
        }
        if !bytes.is_empty() {
            self.after_cr = false;
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self, events: &mut Vec<String>) -> Result<(), TooLong> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            if std::mem::take(&mut self.has_data) {
                events.push(std::mem::take(&mut self.data));
            }
            return Ok(());
        }
        // Comments, and fields that nobody needs.
        let Some(value) = line.strip_prefix(b"data:").or_else(|| (line == b"data").then_some(&[][..])) else {
            return Ok(());
        };
        let value = String::from_utf8_lossy(value.strip_prefix(b" ").unwrap_or(value));
        if self.data.len() + value.len() > LONGEST {
            return Err(TooLong);
        }
        if std::mem::replace(&mut self.has_data, true) {
            self.data.push('\n');
        }
        self.data.push_str(&value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(chunks: &[&[u8]]) -> Vec<String> {
        let mut stream = EventStream::default();
        let mut events: Vec<String> = chunks.iter().flat_map(|chunk| stream.push(chunk).unwrap()).collect();
        events.extend(stream.finish().unwrap());
        events
    }

    #[test]
    fn the_same_events_however_they_are_cut() {
        let rows = [
            ("data: a\n\ndata: b\n\n", &["a", "b"][..]),
            ("data:a\r\n\r\ndata:  b\r\n\r\n", &["a", " b"]),
            ("data: a\r\rdata: b\r\r", &["a", "b"]),
            (": comment\nevent: x\nid: 1\ndata: a\ndata: b\n\n\n\n", &["a\nb"]),
            ("data\n\ndata: [DONE]", &["", "[DONE]"]),
            ("data: ä€🦀\n\n", &["ä€🦀"]),
            ("retry: 5\n\n", &[]),
        ];
        for (text, expected) in rows {
            let bytes = text.as_bytes();
            assert_eq!(read(&[bytes]), expected, "{text:?}");
            for at in 0..bytes.len() {
                assert_eq!(read(&[&bytes[..at], &bytes[at..]]), expected, "{text:?} at {at}");
            }
            let each: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(read(&each), expected, "{text:?} byte by byte");
        }
    }

    #[test]
    fn nothing_grows_without_end() {
        let mut stream = EventStream::default();
        let chunk = [b'x'; 1 << 16];
        assert!((0..17).any(|_| stream.push(&chunk).is_err()));
        let mut stream = EventStream::default();
        let line = format!("data: {}\n", "x".repeat(1000));
        assert!((0..2000).any(|_| stream.push(line.as_bytes()).is_err()));
    }
}
