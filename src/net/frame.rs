//! The frames that this process sends (RFC 6455 §5), each in one piece: unmasked by a server, masked by a client.

use super::message::unmask;
use async_tungstenite::tungstenite::{
    self,
    protocol::frame::{
        FrameHeader,
        coding::{Control, Data, OpCode},
    },
};
use std::io::Write;

/// The mask of one frame.
pub type Mask = [u8; 4];

/// Appends a text message.
pub fn text(text: &str, mask: Option<Mask>, out: &mut Vec<u8>) {
    append(OpCode::Data(Data::Text), mask, text.as_bytes(), out);
}

/// Appends a text message of about `room` bytes that `write` writes where it goes out from.
pub fn text_with(room: usize, mask: Option<Mask>, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    /// The header of most messages: of 126 bytes to 64 KiB, and unmasked.
    const USUAL: usize = 4;
    let start = out.len();
    out.reserve(USUAL + room);
    out.extend([0; USUAL]);
    write(out);
    let message = start + USUAL;
    let mut room = [0; 14];
    let mut rest = &mut room[..];
    // It has the room that it needs.
    let _ = header(OpCode::Data(Data::Text), mask, out.len() - message, &mut rest);
    let left = rest.len();
    let header = &room[..room.len() - left];
    if let Some(mask) = mask {
        unmask(&mut out[message..], mask);
    }
    match out[start..message].len() == header.len() {
        true => out[start..message].copy_from_slice(header),
        false => drop(out.splice(start..message, header.iter().copied())),
    }
}

/// Appends a ping.
pub fn ping(mask: Option<Mask>, out: &mut Vec<u8>) {
    append(OpCode::Control(Control::Ping), mask, b"", out);
}

/// Appends the answer to a ping.
pub fn pong(payload: &[u8], mask: Option<Mask>, out: &mut Vec<u8>) {
    append(OpCode::Control(Control::Pong), mask, payload, out);
}

/// Appends the end, and why; `reason` has at most 123 bytes.
pub fn close(code: u16, reason: &str, mask: Option<Mask>, out: &mut Vec<u8>) {
    let mut payload = [0; 125];
    let reason = &reason.as_bytes()[..reason.len().min(payload.len() - 2)];
    payload[..2].copy_from_slice(&code.to_be_bytes());
    payload[2..2 + reason.len()].copy_from_slice(reason);
    append(OpCode::Control(Control::Close), mask, &payload[..2 + reason.len()], out);
}

fn append(opcode: OpCode, mask: Option<Mask>, payload: &[u8], out: &mut Vec<u8>) {
    out.reserve(payload.len() + if mask.is_some() { 14 } else { 10 });
    // Writing to a Vec cannot fail.
    let _ = header(opcode, mask, payload.len(), out);
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(mask) = mask {
        unmask(&mut out[start..], mask);
    }
}

fn header(
    opcode: OpCode,
    mask: Option<Mask>,
    length: usize,
    out: &mut impl Write,
) -> Result<(), tungstenite::Error> {
    FrameHeader { opcode, mask, ..FrameHeader::default() }.format(length as u64, out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::message::{Message, Scan, Side};

    #[test]
    fn what_is_written_in_place_is_the_same_frame() {
        for mask in [None, Some([1, 2, 0, 4])] {
            for length in [0, 1, 125, 126, 3000, 65_535, 65_536, 70_000] {
                let (mut copied, mut written) = (b"before".to_vec(), b"before".to_vec());
                let message = "y".repeat(length);
                text(&message, mask, &mut copied);
                text_with(length / 2, mask, &mut written, |out| out.extend_from_slice(message.as_bytes()));
                assert!(copied == written, "{length} bytes, mask {mask:?}");
            }
        }
    }

    #[test]
    fn each_side_reads_what_the_other_sends() {
        for (mask, reader) in [(None, Side::Client), (Some([1, 2, 0, 4]), Side::Server)] {
            let (mut out, long) = (Vec::new(), "x".repeat(70_000));
            text("short", mask, &mut out);
            ping(mask, &mut out);
            pong(b"answer", mask, &mut out);
            text(&long, mask, &mut out);
            close(1000, "done", mask, &mut out);
            assert_eq!(out.windows(5).any(|part| part == b"short"), mask.is_none());
            let mut scan = Scan::new(reader);
            let mut next = || scan.take(&mut out, 70_000);
            assert_eq!(next(), Ok(Some(Message::Text("short".into()))));
            assert_eq!(next(), Ok(Some(Message::Ping(Vec::new()))));
            assert_eq!(next(), Ok(Some(Message::Pong)));
            assert!(next() == Ok(Some(Message::Text(long))));
            assert_eq!(next(), Ok(Some(Message::Close(Some(1000)))));
            assert_eq!((next(), out.len()), (Ok(None), 0));
        }
    }
}
