//! The frames that the gateway sends (RFC 6455 §5), unmasked and each in one piece.

use async_tungstenite::tungstenite::protocol::frame::{
    CloseFrame, Frame, FrameHeader, Utf8Bytes,
    coding::{CloseCode, Control, Data, OpCode},
};

/// Appends a text message.
pub fn text(text: &str, out: &mut Vec<u8>) {
    let header = FrameHeader { opcode: OpCode::Data(Data::Text), ..FrameHeader::default() };
    append(&header, text.as_bytes(), out);
}

/// Appends a ping.
pub fn ping(out: &mut Vec<u8>) {
    append(Frame::ping(Vec::new()).header(), b"", out);
}

/// Appends the answer to a ping.
pub fn pong(payload: &[u8], out: &mut Vec<u8>) {
    let header = FrameHeader { opcode: OpCode::Control(Control::Pong), ..FrameHeader::default() };
    append(&header, payload, out);
}

/// Appends the end, and why; `reason` has at most 123 bytes.
pub fn close(code: u16, reason: &str, out: &mut Vec<u8>) {
    let (code, reason) = (CloseCode::from(code), Utf8Bytes::from(reason.to_owned()));
    let frame = Frame::close(Some(CloseFrame { code, reason }));
    append(frame.header(), frame.payload(), out);
}

fn append(header: &FrameHeader, payload: &[u8], out: &mut Vec<u8>) {
    out.reserve(payload.len() + 10);
    // Writing to a Vec cannot fail.
    let _ = header.format(payload.len() as u64, out);
    out.extend_from_slice(payload);
}
