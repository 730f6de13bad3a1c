//! Where the first whole message of a stream of frames ends (RFC 6455 §5). No I/O, and no judgement beyond
//! length: whether the frames are right is the WebSocket library's to say.

/// What stops a connection from being read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Excess {
    /// A message is longer than allowed, bytes.
    Message(usize),
    /// All unattached connections together hold too much.
    Budget,
}

/// How far the input was looked through for the end of its first message: nothing is looked at twice,
/// however it arrives.
#[derive(Default, Clone, Copy)]
pub struct Scan {
    at: usize,
    open: bool,
}

impl Scan {
    /// Length of the first whole message at the start of `input`, 0 if it is not complete. A control
    /// frame counts as a message of its own, unless it stands within a fragmented one. After an
    /// incomplete one, `input` is to be the same bytes and more; after a whole one, what follows it.
    ///
    /// # Errors
    /// When the message has a payload of more than `limit` bytes, or too many fragments.
    pub fn whole(&mut self, input: &[u8], limit: usize) -> Result<usize, Excess> {
        loop {
            let Some(frame) = input.get(self.at..).and_then(Head::read) else { return Ok(0) };
            let end = usize::try_from(frame.payload)
                .ok()
                .and_then(|n| n.checked_add(self.at + frame.head))
                .ok_or(Excess::Message(limit))?;
            // The heads of fragments come on top of the payload the limit speaks of.
            if frame.payload > limit as u64 || end > limit.saturating_mul(2) + 64 {
                return Err(Excess::Message(limit));
            }
            if input.len() < end {
                return Ok(0);
            }
            self.at = end;
            if !frame.control {
                self.open = !frame.fin;
            }
            if !self.open {
                *self = Self::default();
                return Ok(end);
            }
        }
    }
}

/// The head of a frame (RFC 6455 §5.2), read without any judgement: that is the library's.
struct Head {
    fin: bool,
    control: bool,
    head: usize,
    payload: u64,
}

impl Head {
    fn read(b: &[u8]) -> Option<Self> {
        let (b0, b1) = (*b.first()?, *b.get(1)?);
        let (extended, payload) = match b1 & 127 {
            126 => (2, u64::from(u16::from_be_bytes(b.get(2..4)?.try_into().ok()?))),
            127 => (8, u64::from_be_bytes(b.get(2..10)?.try_into().ok()?)),
            n => (0, u64::from(n)),
        };
        let mask = if b1 & 128 != 0 { 4 } else { 0 };
        Some(Self { fin: b0 & 128 != 0, control: b0 & 8 != 0, head: 2 + extended + mask, payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut f = vec![first, 128 | payload.len() as u8, 0, 0, 0, 0];
        f.extend_from_slice(payload);
        f
    }

    #[test]
    fn one_message_at_a_time_however_it_is_cut() {
        let mut bytes = frame(0x81, b"one");
        let first = bytes.len();
        bytes.extend(frame(0x01, b"tw"));
        bytes.extend(frame(0x89, b"ping"));
        bytes.extend(frame(0x80, b"o"));
        let second = bytes.len();
        bytes.extend(frame(0x8a, b""));
        for cut in 0..bytes.len() {
            let mut scan = Scan::default();
            let seen = scan.whole(&bytes[..cut], 100);
            assert_eq!(seen, Ok(if cut >= first { first } else { 0 }), "cut at {cut}");
        }
        let mut scan = Scan::default();
        for cut in first..second {
            assert_eq!(scan.whole(&bytes[first..cut], 100), Ok(0));
        }
        assert_eq!(scan.whole(&bytes[first..], 100), Ok(second - first));
        assert_eq!(scan.whole(&bytes[second..], 100), Ok(6));
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_it_is_read() {
        let mut head = vec![0x81, 127 | 128];
        head.extend(u64::MAX.to_be_bytes());
        assert_eq!(Scan::default().whole(&head, 100), Err(Excess::Message(100)));
        assert_eq!(Scan::default().whole(&[0x81, 254, 0, 101], 100), Err(Excess::Message(100)));
    }

    #[test]
    fn endless_fragments_are_refused() {
        let mut bytes = frame(0x01, b"");
        while bytes.len() < 1000 {
            bytes.extend(frame(0x00, b""));
        }
        assert_eq!(Scan::default().whole(&bytes, 100), Err(Excess::Message(100)));
    }
}
