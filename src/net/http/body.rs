//! Bodies of sent messages: empty, bytes, or a stream of chunks.

use hyper::body::{Bytes, Frame, SizeHint};
use smol::stream::Stream;
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

/// The chunks of a body that is made while it is sent. A chunk is asked for once the one before is on its way, so
/// a slow reader slows the source down.
pub type Chunks = Pin<Box<dyn Stream<Item = io::Result<Bytes>>>>;

/// The body of a request or an answer that is sent.
#[derive(Default)]
pub enum Body {
    /// No body.
    #[default]
    Empty,
    /// Bytes of known length, sent with `Content-Length`.
    Full(Bytes),
    /// Chunks, sent with `Transfer-Encoding: chunked`. After an error the connection is cut, so that the peer sees that
    /// the body is not whole.
    Chunks(Chunks),
}

impl Body {
    /// Makes a body of chunks.
    pub fn stream(chunks: impl Stream<Item = io::Result<Bytes>> + 'static) -> Self {
        Self::Chunks(Box::pin(chunks))
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::Full(text.into())
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self::Full(Bytes::from_static(text.as_bytes()))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Self::Chunks(chunks) => {
                chunks.as_mut().poll_next(cx).map(|next| next.map(|c| c.map(Frame::data)))
            }
            body => match std::mem::take(body) {
                Self::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                _ => Poll::Ready(None),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Chunks(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Chunks(_) => SizeHint::default(),
        }
    }
}
