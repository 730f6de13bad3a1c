//! A WebSocket (RFC 6455) to a peer.

use super::{Limits, Stream, Trust, Url, WebSocketError, dial};
use async_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest,
        error::{CapacityError, ProtocolError},
        protocol::{CloseFrame, WebSocketConfig},
    },
};
use hyper::header::{HeaderName, HeaderValue};
use smol::{future, stream::StreamExt};

/// A WebSocket to a peer. It holds no buffer between two messages.
pub struct WebSocket {
    socket: WebSocketStream<Stream>,
    limit: usize,
}

impl WebSocket {
    /// Connects to `url` and upgrades, with these headers besides those that an upgrade has; takes messages of up to
    /// `limit` bytes.
    ///
    /// # Errors
    /// [`WebSocketError`].
    pub async fn open(
        url: &Url,
        trust: &Trust,
        limits: &Limits,
        headers: &[(&str, &str)],
        limit: usize,
    ) -> Result<Self, WebSocketError> {
        let bad = |e: &dyn std::fmt::Display| WebSocketError::BadRequest(e.to_string());
        let mut request = url.to_string().into_client_request().map_err(|e| bad(&e))?;
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|e| bad(&e))?;
            let value =
                HeaderValue::from_str(value).map_err(|_| bad(&format!("{name} is no header value")))?;
            request.headers_mut().append(name, value);
        }
        let stream = dial(url, trust, limits).await?;
        let timeouts = stream.timeouts().clone();
        timeouts.count_reads_only();
        timeouts.start(limits.deadline);
        let config = WebSocketConfig::default()
            .read_buffer_size(1024)
            .write_buffer_size(0)
            .max_message_size(Some(limit))
            .max_frame_size(Some(limit));
        match client_async_with_config(request, stream, Some(config)).await {
            Ok((socket, _)) => Ok(Self { socket, limit }),
            Err(Error::Http(answer)) => {
                let body = String::from_utf8_lossy(answer.body().as_deref().unwrap_or_default()).into_owned();
                let body = body.lines().next().unwrap_or_default().into();
                Err(WebSocketError::Refused(answer.status().as_u16(), body))
            }
            Err(Error::Io(e)) => Err(WebSocketError::of_io(&e)),
            Err(Error::Protocol(ProtocolError::HandshakeIncomplete)) => Err(WebSocketError::Cut),
            Err(e) => Err(WebSocketError::NotWebSocket(e.to_string())),
        }
    }

    /// Sends a message, and waits until the socket has taken it.
    ///
    /// # Errors
    /// [`WebSocketError`].
    pub async fn send(&mut self, message: Message) -> Result<(), WebSocketError> {
        let limit = self.limit;
        self.socket.send(message).await.map_err(|e| error(e, limit))
    }

    /// The next text or binary message; pings are answered on the way. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// [`WebSocketError`]; [`WebSocketError::Closed`] when the peer closes it.
    pub async fn next(&mut self) -> Result<Message, WebSocketError> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Close(frame))) => {
                    // The answer to it is a best effort.
                    let _ = future::poll_once(self.socket.close(None)).await;
                    let (code, reason) =
                        frame.map_or((1005, String::new()), |f| (f.code.into(), f.reason.to_string()));
                    return Err(WebSocketError::Closed(code, reason));
                }
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => return Ok(message),
                Some(Ok(_)) => {}
                Some(Err(e)) => return Err(error(e, self.limit)),
                None => return Err(WebSocketError::Cut),
            }
        }
    }

    /// Closes it with a code and a reason, and waits until the peer has done so too, or a time is over.
    ///
    /// # Errors
    /// [`WebSocketError`].
    pub async fn close(mut self, code: u16, reason: &str) -> Result<(), WebSocketError> {
        let frame = CloseFrame { code: code.into(), reason: reason.to_owned().into() };
        let limit = self.limit;
        self.socket.close(Some(frame)).await.map_err(|e| error(e, limit))?;
        while let Some(Ok(_)) = self.socket.next().await {}
        Ok(())
    }
}

fn error(e: Error, limit: usize) -> WebSocketError {
    match e {
        Error::Io(e) => WebSocketError::of_io(&e),
        Error::Capacity(CapacityError::MessageTooLong { .. }) => WebSocketError::TooLarge(limit),
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => WebSocketError::Cut,
        e => WebSocketError::Protocol(e.to_string()),
    }
}
