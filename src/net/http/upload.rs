//! The body of a request, read in chunks, within a limit and a time.

use super::Page;
use crate::reactor::Timer;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Bytes, Incoming};
use smol::future;
use std::{
    fmt,
    time::{Duration, Instant},
};

/// Bytes for which it may take a second more.
const A_SECOND: usize = 1 << 10;

/// The body of a request.
pub struct Upload {
    body: Incoming,
    declared: Option<u64>,
    limit: usize,
    time: Duration,
    read: usize,
    since: Option<Instant>,
}

/// Why the body of a request cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UploadError {
    /// The body is larger than this many bytes.
    TooLarge(usize),
    /// The body comes too slowly: this time, and a second more for each KiB, are allowed.
    Slow(Duration),
    /// The peer left, or sent no body that can be read.
    Cut,
}

impl fmt::Display for UploadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(limit) => write!(f, "the body of this request is larger than {limit} bytes"),
            Self::Slow(time) => write!(
                f,
                "the body of this request came too slowly: {time:?}, and 1 s more for each KiB, are allowed"
            ),
            Self::Cut => f.write_str("the body of this request is not whole"),
        }
    }
}

impl From<UploadError> for Page {
    fn from(e: UploadError) -> Self {
        let (status, kind) = match e {
            UploadError::TooLarge(_) => (413, "payload_too_large"),
            UploadError::Slow(_) => (408, "request_timeout"),
            UploadError::Cut => (400, "invalid_request_error"),
        };
        Self::problem(status, kind, &e.to_string())
    }
}

impl Upload {
    pub(super) fn new(body: Incoming, limit: usize, time: Duration) -> Self {
        Self { declared: body.size_hint().exact(), body, limit, time, read: 0, since: None }
    }

    /// Length of the body, if it is declared; 0 where there is none.
    pub fn declared(&self) -> Option<u64> {
        self.declared
    }

    /// The next chunk, as it comes; `None` at the end.
    ///
    /// # Errors
    /// [`UploadError`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, UploadError> {
        let since = *self.since.get_or_insert_with(Instant::now);
        loop {
            let allowed = self.time + Duration::from_secs((self.read / A_SECOND) as u64);
            let time = self.time;
            let late = async {
                Timer::after(allowed.saturating_sub(since.elapsed())).await;
                Err(UploadError::Slow(time))
            };
            let frame = future::or(async { Ok(self.body.frame().await) }, late).await?;
            let Some(frame) = frame else { return Ok(None) };
            match frame.map_err(|_| UploadError::Cut)?.into_data() {
                Ok(data) if !data.is_empty() => {
                    self.read += data.len();
                    if self.read > self.limit {
                        return Err(UploadError::TooLarge(self.limit));
                    }
                    return Ok(Some(data));
                }
                // Trailers.
                _ => {}
            }
        }
    }

    /// All of it.
    ///
    /// # Errors
    /// [`UploadError`].
    pub async fn bytes(&mut self) -> Result<Vec<u8>, UploadError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}
