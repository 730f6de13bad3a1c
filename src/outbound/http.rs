//! HTTP/1.1 to a peer: one request after the other on a connection, bodies streamed both ways.

use super::{Body, Limits, RequestError, Stream, Trust, Url, dial, stream::Timeouts};
use http_body_util::BodyExt;
use hyper::{
    Request, StatusCode, Uri,
    body::{Body as _, Bytes, Incoming},
    client::conn::http1,
    header::{HOST, HeaderMap, HeaderValue},
};
use smol_hyper::rt::FuturesIo;
use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

/// Most bytes of the head of an answer; as much of its body may wait to be taken.
const MAX_HEAD: usize = 64 << 10;

/// A connection that takes a request.
pub struct Connection {
    sender: http1::SendRequest<Body>,
    driver: Driver,
    timeouts: Rc<Timeouts>,
    authority: HeaderValue,
    deadline: Option<Duration>,
}

/// The library's half of a connection, polled by whoever waits for an answer.
struct Driver(Option<Pin<Box<Link>>>);

type Link = http1::Connection<FuturesIo<Stream>, Body>;

impl Driver {
    /// Moves bytes; the error that ended the connection, if one did.
    fn poll(&mut self, cx: &mut Context<'_>) -> Option<hyper::Error> {
        match self.0.as_mut()?.as_mut().poll(cx) {
            Poll::Ready(done) => {
                self.0 = None;
                done.err()
            }
            Poll::Pending => None,
        }
    }

    /// Waits for `what`, which the connection is to bring about.
    async fn wait<T>(
        &mut self,
        what: impl Future<Output = Result<T, hyper::Error>>,
    ) -> Result<T, RequestError> {
        let mut what = pin!(what);
        let mut ended = None;
        let done = poll_fn(|cx| {
            if let Some(e) = self.poll(cx) {
                ended = Some(e);
            }
            what.as_mut().poll(cx)
        });
        // What ended the connection says more than what came of it.
        done.await.map_err(|e| RequestError::of(ended.filter(|_| !e.is_parse()).unwrap_or(e), MAX_HEAD))
    }
}

impl Connection {
    /// Connects to the host of `url`; its path is not used.
    ///
    /// # Errors
    /// [`RequestError::Dial`].
    pub async fn open(url: &Url, trust: &Trust, limits: &Limits) -> Result<Self, RequestError> {
        let authority = url.authority().try_into();
        let authority =
            authority.map_err(|_| RequestError::BadRequest("the host is no header value".into()))?;
        let stream = dial(url, trust, limits).await?;
        let timeouts = stream.timeouts().clone();
        let shaken = http1::Builder::new()
            .max_buf_size(MAX_HEAD)
            .max_header_size(MAX_HEAD)
            .handshake(FuturesIo::new(stream))
            .await;
        let (sender, connection) = shaken.map_err(|e| RequestError::of(e, MAX_HEAD))?;
        let driver = Driver(Some(Box::pin(connection)));
        Ok(Self { sender, driver, timeouts, authority, deadline: limits.deadline })
    }

    /// Sends a request and waits for the head of the answer. The request's URI is path and query; `Host` is added
    /// where it is missing. [`Limits::deadline`] counts from here to the end of the answer's body.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn send(mut self, mut request: Request<Body>) -> Result<Answer, RequestError> {
        request.headers_mut().entry(HOST).or_insert_with(|| self.authority.clone());
        self.timeouts.start(self.deadline);
        let answer = self.driver.wait(self.sender.send_request(request)).await?;
        let (head, body) = answer.into_parts();
        Ok(Answer { status: head.status, headers: head.headers, body, connection: self })
    }
}

/// Sends one request to `url`, on a connection of its own; the request's URI becomes the URL's path and query.
///
/// # Errors
/// [`RequestError`].
pub async fn request(
    url: &Url,
    trust: &Trust,
    limits: &Limits,
    mut request: Request<Body>,
) -> Result<Answer, RequestError> {
    *request.uri_mut() = Uri::try_from(url.path()).map_err(|e| RequestError::BadRequest(e.to_string()))?;
    Connection::open(url, trust, limits).await?.send(request).await
}

/// An answer whose head is there.
pub struct Answer {
    /// Status of the answer.
    pub status: StatusCode,
    /// Headers of the answer.
    pub headers: HeaderMap,
    body: Incoming,
    connection: Connection,
}

impl Answer {
    /// The next chunk of the body, as it comes; `None` at its end. No more is read than is asked for.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, RequestError> {
        loop {
            let frame = async { self.body.frame().await.transpose() };
            match self.connection.driver.wait(frame).await? {
                None => return Ok(None),
                Some(frame) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => return Ok(Some(data)),
                    // Trailers.
                    _ => {}
                },
            }
        }
    }

    /// Whether the whole body was taken, or there is none.
    pub fn is_done(&self) -> bool {
        self.body.is_end_stream()
    }

    /// The rest of the body, of up to `limit` bytes.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn bytes(&mut self, limit: usize) -> Result<Vec<u8>, RequestError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if bytes.len() + chunk.len() > limit {
                return Err(RequestError::BodyTooLarge(limit));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// The connection for the next request, once the body was read to its end; `None` if the peer closes it.
    pub async fn into_connection(self) -> Option<Connection> {
        let mut connection = self.connection;
        drop(self.body);
        let Connection { sender, driver, .. } = &mut connection;
        driver.wait(sender.ready()).await.ok()?;
        Some(connection)
    }
}
