//! A client's place in a transcript, which it gives back to hear what came since.

use crate::{
    protocol::{base64url_decode, base64url_encode},
    sessions::SessionId,
};

/// A place in a transcript; opaque on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cursor {
    /// The conversation.
    pub session: SessionId,
    /// Number of the last entry that the client has.
    pub seq: u64,
}

impl Cursor {
    /// The cursor on the wire.
    pub fn text(&self) -> String {
        base64url_encode(format!("1.{}.{}", self.session, self.seq).as_bytes())
    }

    /// Reads a cursor; `None` if it is none of this gateway.
    pub fn parse(text: &str) -> Option<Self> {
        let text = String::from_utf8(base64url_decode(text)?).ok()?;
        let (session, seq) = text.strip_prefix("1.")?.split_once('.')?;
        Some(Self { session: SessionId::parse(session)?, seq: seq.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_went() {
        let cursor = Cursor { session: SessionId([7; 16]), seq: 12 };
        assert_eq!(Cursor::parse(&cursor.text()), Some(cursor));
        for text in ["", "nonsense", "MS4y", &base64url_encode(b"2.x.1")] {
            assert_eq!(Cursor::parse(text), None, "{text}");
        }
    }
}
