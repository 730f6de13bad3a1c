//! The seam: what the WebSocket library reads and writes in place of a socket.
//!
//! It hands out one whole message at a time. So between two messages the library holds nothing: an idle connection
//! has no buffer at all, and the wire can be written down.

use super::Wire;
use smol::io::{AsyncRead, AsyncWrite};
use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

/// With so much unread, bytes, a peer gets no more answers to its pings.
const UNREAD: usize = 64 << 10;

/// What the WebSocket library reads and writes.
pub struct Seam(pub Rc<Wire>);

impl AsyncRead for Seam {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
        let wire = &self.0;
        loop {
            if let Some(n) = wire.release(out)? {
                return Poll::Ready(Ok(n));
            }
            if ready!(wire.poll_charged(cx))? == 0 {
                return Poll::Ready(Ok(0));
            }
        }
    }
}

impl AsyncWrite for Seam {
    /// Only the library's own frames come this way, each whole: answers to pings and to a close.
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, b: &[u8]) -> Poll<io::Result<usize>> {
        if self.0.unsent() < UNREAD {
            self.0.queue(b);
        }
        Poll::Ready(Ok(b.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_drain(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_drain(cx)
    }
}
