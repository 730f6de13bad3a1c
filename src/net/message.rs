//! Messages that come in (RFC 6455 §5): where the first whole one of a stream of frames ends, and what it is.
//!
//! A message is taken out of the bytes it came in: they are unmasked in place and become the message, so that it costs
//! its own size and no copy. Until it is whole, the bytes stay as they were sent, so that they can be carried over to
//! another process.

use std::fmt;

/// The side of a connection that reads: the frames of a client are masked, those of a server are not (RFC 6455 §5.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Side {
    /// It accepted the connection.
    #[default]
    Server,
    /// It opened the connection.
    Client,
}

/// A whole message, or a control frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// A ping, to be answered with the same bytes.
    Ping(Vec<u8>),
    /// A pong, in answer to a ping.
    Pong,
    /// A close frame, and its code if there is one.
    Close(Option<u16>),
}

/// Why a connection is read no further.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadError {
    /// The peer closed the connection.
    Gone,
    /// A message is longer than allowed, bytes.
    TooLarge(usize),
    /// Unfinished messages hold too much memory, and this is the one that has to make room.
    NoRoom,
    /// The peer breaks the protocol.
    Protocol(&'static str),
    /// A text is not UTF-8.
    NotUtf8,
}

impl ReadError {
    /// The close code (RFC 6455 §7.4.1).
    pub fn code(self) -> u16 {
        match self {
            Self::Gone => 1006,
            Self::TooLarge(_) => 1009,
            Self::NoRoom => 1008,
            Self::Protocol(_) => 1002,
            Self::NotUtf8 => 1007,
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the peer has left"),
            Self::TooLarge(most) => write!(f, "message larger than policy.maxPayload ({most} bytes)"),
            Self::NoRoom => f.write_str("too much memory held by unfinished messages; this was the largest"),
            Self::Protocol(what) => write!(f, "protocol error: {what}"),
            Self::NotUtf8 => f.write_str("protocol error: a text message is not UTF-8"),
        }
    }
}

/// Progress of the search for the end of the input's first message: no byte is scanned twice, however it arrives.
#[derive(Default, Clone, Copy)]
pub struct Scan {
    side: Side,
    /// Offset of the next frame.
    at: usize,
    /// Payload of the fragments before that, bytes.
    payload: usize,
    /// Whether the message is text, once its first fragment is there.
    open: Option<bool>,
    /// The end of the frame that is unfinished, if its head is there.
    end: usize,
}

impl Scan {
    /// The search of one who reads on this side.
    pub fn new(side: Side) -> Self {
        Self { side, ..Self::default() }
    }

    /// The side that reads.
    pub fn side(&self) -> Side {
        self.side
    }

    /// Takes the first whole message out of `input`; `None` if there is none yet. After that, `input` is to be the same
    /// bytes and more. A control frame is handed out at once, even within a fragmented message.
    ///
    /// # Errors
    /// [`ReadError`]: the message has a payload of more than `limit` bytes or too many fragments, or breaks the
    /// protocol.
    pub fn take(&mut self, input: &mut Vec<u8>, limit: usize) -> Result<Option<Message>, ReadError> {
        loop {
            let unread = input.get(self.at..).unwrap_or_default();
            let Some(head) = Head::read(unread, self.side)? else { return Ok(None) };
            let too_large = ReadError::TooLarge(limit);
            let payload = usize::try_from(head.payload).map_err(|_| too_large)?;
            let end =
                self.at.checked_add(head.length).and_then(|n| n.checked_add(payload)).ok_or(too_large)?;
            let whole = if head.is_control() { payload } else { self.payload.saturating_add(payload) };
            // The heads of fragments come on top of the payload that the limit speaks of.
            if whole > limit || end > limit.saturating_mul(2) + 64 {
                return Err(too_large);
            }
            match (head.opcode, self.open) {
                (0, None) => return Err(ReadError::Protocol("a continuation of nothing")),
                (1 | 2, Some(_)) => return Err(ReadError::Protocol("a message within a fragmented one")),
                _ => {}
            }
            self.end = end;
            if input.len() < end {
                return Ok(None);
            }
            self.end = 0;
            let body = self.at + head.length;
            if head.is_control() {
                unmask(&mut input[body..end], head.mask);
                let message = control(head.opcode, &input[body..end]);
                input.drain(self.at..end);
                return message.map(Some);
            }
            if head.opcode != 0 {
                self.open = Some(head.opcode == 1);
            }
            if head.fin {
                unmask(&mut input[body..end], head.mask);
                let text = self.open == Some(true);
                let bytes = self.assemble(input, body, end);
                *self = Self::new(self.side);
                return match text {
                    true => String::from_utf8(bytes).map(Message::Text).map_err(|_| ReadError::NotUtf8),
                    false => Ok(Message::Binary(bytes)),
                }
                .map(Some);
            }
            (self.at, self.payload) = (end, whole);
        }
    }

    /// The payload of the message whose last frame ends at `end` and has its payload, unmasked, from `body` on; what
    /// follows stays in `input`.
    fn assemble(&self, input: &mut Vec<u8>, body: usize, end: usize) -> Vec<u8> {
        let rest = if input.len() > end { input.split_off(end) } else { Vec::new() };
        let mut bytes = std::mem::replace(input, rest);
        if self.at == 0 {
            bytes.drain(..body);
            return bytes;
        }
        let (mut from, mut to) = (0, 0);
        while from < self.at {
            // It was read before.
            let Ok(Some(head)) = Head::read(&bytes[from..], self.side) else { break };
            let (body, end) = (from + head.length, from + head.length + head.payload as usize);
            unmask(&mut bytes[body..end], head.mask);
            bytes.copy_within(body..end, to);
            (from, to) = (end, to + end - body);
        }
        bytes.copy_within(body..end, to);
        bytes.truncate(to + end - body);
        bytes
    }

    /// The bytes that `input` will have once the frame that is unfinished is whole, if that is known.
    pub fn expected(&self) -> usize {
        self.end
    }
}

fn control(opcode: u8, payload: &[u8]) -> Result<Message, ReadError> {
    match (opcode, payload) {
        (9, _) => Ok(Message::Ping(payload.to_vec())),
        (10, _) => Ok(Message::Pong),
        (_, []) => Ok(Message::Close(None)),
        (_, [_]) => Err(ReadError::Protocol("a close frame of one byte")),
        (_, [high, low, reason @ ..]) => {
            let code = u16::from_be_bytes([*high, *low]);
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return Err(ReadError::Protocol("a close code that nobody may send"));
            }
            std::str::from_utf8(reason).map_err(|_| ReadError::NotUtf8)?;
            Ok(Message::Close(Some(code)))
        }
    }
}

/// Masks the bytes of a payload, or takes the mask off: the two are the same.
pub(super) fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = bytes.as_chunks_mut();
    chunks.iter_mut().for_each(|chunk| *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes());
    rest.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
}

/// The head of a frame (RFC 6455 §5.2).
struct Head {
    fin: bool,
    opcode: u8,
    /// Zeros if it is not masked.
    mask: [u8; 4],
    length: usize,
    payload: u64,
}

impl Head {
    /// Reads the head of a frame that comes to this side; `None` if it is not whole.
    fn read(b: &[u8], side: Side) -> Result<Option<Self>, ReadError> {
        let [b0, b1, ..] = *b else { return Ok(None) };
        let (fin, opcode, short) = (b0 & 128 != 0, b0 & 15, b1 & 127);
        let wrong = match opcode {
            _ if b0 & 0x70 != 0 => Some("a reserved bit is set"),
            3..=7 | 11.. => Some("an unknown kind of frame"),
            8..=10 if !fin => Some("a control frame in fragments"),
            8..=10 if short > 125 => Some("a control frame of more than 125 bytes"),
            _ => match (side, b1 & 128 != 0) {
                (Side::Server, false) => Some("a frame that is not masked"),
                (Side::Client, true) => Some("a masked frame"),
                _ => None,
            },
        };
        if let Some(wrong) = wrong {
            return Err(ReadError::Protocol(wrong));
        }
        let number = |bytes: Option<&[u8]>| Some(bytes?.iter().fold(0, |n, b| n << 8 | u64::from(*b)));
        let (extended, payload) = match short {
            126 => (2, number(b.get(2..4))),
            127 => (8, number(b.get(2..10))),
            n => (0, Some(u64::from(n))),
        };
        let start = 2 + extended;
        let (length, mask) = match side {
            Side::Server => (start + 4, b.get(start..start + 4).and_then(|mask| mask.try_into().ok())),
            Side::Client => (start, Some([0; 4])),
        };
        // A length that is too large is to be seen before the mask is there.
        let mask = match (payload, mask) {
            (None, _) => return Ok(None),
            (Some(n), None) if n < u64::from(u32::MAX) => return Ok(None),
            (_, mask) => mask.unwrap_or_default(),
        };
        Ok(payload.map(|payload| Self { fin, opcode, mask, length, payload }))
    }

    fn is_control(&self) -> bool {
        self.opcode & 8 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut f = vec![first, 128 | payload.len() as u8];
        f.extend(mask);
        f.extend(payload.iter().enumerate().map(|(i, b)| b ^ mask[i % 4]));
        f
    }

    fn text(text: &str) -> Message {
        Message::Text(text.into())
    }

    #[test]
    fn one_message_at_a_time_however_it_is_cut() {
        let mut bytes = frame(0x81, b"one");
        bytes.extend(frame(0x01, b"tw"));
        bytes.extend(frame(0x89, b"ping"));
        bytes.extend(frame(0x00, b""));
        bytes.extend(frame(0x80, b"o!!"));
        bytes.extend(frame(0x8a, b""));
        bytes.extend(frame(0x82, &[0xff]));
        let expected = [
            text("one"),
            Message::Ping(b"ping".to_vec()),
            text("two!!"),
            Message::Pong,
            Message::Binary(vec![0xff]),
        ];
        for step in 1..bytes.len() {
            let (mut scan, mut input, mut seen) = (Scan::default(), Vec::new(), Vec::new());
            for chunk in bytes.chunks(step) {
                input.extend_from_slice(chunk);
                while let Some(message) = scan.take(&mut input, 100).unwrap() {
                    seen.push(message);
                }
            }
            assert_eq!((seen.as_slice(), input.len()), (&expected[..], 0), "{step} bytes at a time");
        }
    }

    #[test]
    fn an_unfinished_message_stays_as_it_was_sent() {
        let mut bytes = frame(0x01, b"tw");
        bytes.extend(&frame(0x80, b"o")[..6]);
        let mut input = bytes.clone();
        assert_eq!(Scan::default().take(&mut input, 100), Ok(None));
        assert_eq!(input, bytes);
    }

    #[test]
    fn what_is_refused() {
        let mut huge = vec![0x81, 127 | 128];
        huge.extend(u64::MAX.to_be_bytes());
        let mut endless = frame(0x01, b"");
        while endless.len() < 1000 {
            endless.extend(frame(0x00, b""));
        }
        let mut fragments = frame(0x01, &[b'x'; 60]);
        fragments.extend(frame(0x80, &[b'x'; 60]));
        let mut nested = frame(0x01, b"a");
        nested.extend(frame(0x81, b"b"));
        let (large, protocol) = (ReadError::TooLarge(100), 1002);
        let rows: [(Vec<u8>, u16); 17] = [
            (huge, large.code()),
            (vec![0x81, 254, 0, 101, 0, 0, 0, 0], large.code()),
            (endless, large.code()),
            (fragments, large.code()),
            (vec![0x81, 1, b'x'], protocol),
            (frame(0x91, b"x"), protocol),
            (frame(0xc1, b"x"), protocol),
            (frame(0x83, b"x"), protocol),
            (frame(0x8b, b"x"), protocol),
            (frame(0x09, b"x"), protocol),
            (vec![0x89, 254, 0, 126], protocol),
            (frame(0x80, b"x"), protocol),
            (nested, protocol),
            (frame(0x88, &[3]), protocol),
            (frame(0x88, &[3, 237]), protocol),
            (frame(0x88, &[3, 232, 0xff]), 1007),
            (frame(0x81, &[0xc3, 0x28]), 1007),
        ];
        for (n, (bytes, code)) in rows.into_iter().enumerate() {
            let refused = Scan::default().take(&mut bytes.clone(), 100);
            assert_eq!(refused.map_err(ReadError::code), Err(code), "row {n}");
        }
        // The UTF-8 of a message is judged as a whole: a character may be in two fragments.
        let mut split = frame(0x01, &[0xc3]);
        split.extend(frame(0x80, &[0xa4]));
        assert_eq!(Scan::default().take(&mut split, 100), Ok(Some(text("ä"))));
    }

    #[test]
    fn a_client_reads_what_is_not_masked() {
        let long = [&[0x82, 126, 1, 0][..], &[7; 256]].concat();
        let bytes = [&b"\x01\x02tw\x89\x01p\x80\x01o"[..], &long, b"\x88\x02\x03\xe8"].concat();
        let expected = [
            Message::Ping(b"p".to_vec()),
            text("two"),
            Message::Binary(vec![7; 256]),
            Message::Close(Some(1000)),
        ];
        for step in 1..bytes.len() {
            let (mut scan, mut input, mut seen) = (Scan::new(Side::Client), Vec::new(), Vec::new());
            for chunk in bytes.chunks(step) {
                input.extend_from_slice(chunk);
                while let Some(message) = scan.take(&mut input, 256).unwrap() {
                    seen.push(message);
                }
            }
            assert_eq!((seen.as_slice(), input.len()), (&expected[..], 0), "{step} bytes at a time");
        }
        for (mut bytes, code) in [
            (frame(0x81, b"x"), 1002),
            (frame(0x89, b""), 1002),
            (vec![0x81, 126, 1, 1], 1009),
            ([&[0x82, 127][..], &u64::MAX.to_be_bytes()].concat(), 1009),
        ] {
            assert_eq!(Scan::new(Side::Client).take(&mut bytes, 256).map_err(ReadError::code), Err(code));
        }
    }

    #[test]
    fn ends() {
        assert_eq!(Scan::default().take(&mut frame(0x88, b""), 9), Ok(Some(Message::Close(None))));
        let with_code = Scan::default().take(&mut frame(0x88, &[3, 232, b'o']), 9);
        assert_eq!(with_code, Ok(Some(Message::Close(Some(1000)))));
    }
}
