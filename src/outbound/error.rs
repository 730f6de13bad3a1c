//! Errors of outbound connections, with messages that say what to do.

use super::{TlsError, stream::Expired};
use std::{error::Error, fmt, io, time::Duration};

/// Why there is no connection. The first text is the peer's host, with its port where that matters.
#[derive(Debug)]
pub enum DialError {
    /// The host name has no address: the resolver's words.
    NoAddress(String, String),
    /// Nothing listens at the address.
    Refused(String),
    /// The network has no route to the address.
    Unreachable(String, io::Error),
    /// Connecting took longer than this time.
    Slow(String, Duration),
    /// The TLS handshake failed.
    Tls(String, TlsError),
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress(host, why) => {
                write!(f, "{host}: no address found ({why}); check the name in the URL, and this host's DNS")
            }
            Self::Refused(peer) => {
                write!(
                    f,
                    "{peer}: connection refused; nothing listens there. Start it, or correct host and port"
                )
            }
            Self::Unreachable(peer, e) => {
                write!(f, "{peer} cannot be reached: {e}; check this host's network and the peer's firewall")
            }
            Self::Slow(peer, limit) => {
                write!(
                    f,
                    "{peer}: no connection within {limit:?}; check network and firewall, or allow more time"
                )
            }
            Self::Tls(peer, why) => write!(f, "{peer}: {why}"),
        }
    }
}

impl Error for DialError {}

/// Why a request has no whole answer.
#[derive(Debug)]
pub enum RequestError {
    /// Connecting failed.
    Dial(DialError),
    /// Path or headers cannot be sent as they are.
    BadRequest(String),
    /// No byte moved for this long.
    Idle(Duration),
    /// The whole request took longer than this.
    Deadline(Duration),
    /// The head of the answer is larger than this many bytes, or has more than 100 headers.
    HeadTooLarge(usize),
    /// The body of the answer is larger than this many bytes.
    BodyTooLarge(usize),
    /// The answer is no HTTP/1.1.
    NotHttp(String),
    /// The connection ended before the answer was whole.
    Cut,
    /// The source of the request's body failed.
    Source(io::Error),
    /// Reading or writing failed.
    Io(io::Error),
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial(e) => e.fmt(f),
            Self::BadRequest(why) => {
                write!(f, "the request cannot be sent: {why}; correct the URL or the header")
            }
            Self::Idle(time) => {
                write!(f, "nothing came for {time:?}; the peer hangs or the network is down. Try again later")
            }
            Self::Deadline(time) => write!(f, "not done within {time:?}; try again, or allow more time"),
            Self::HeadTooLarge(limit) => {
                write!(
                    f,
                    "the head of the answer is larger than {limit} bytes or has more than 100 headers; is the \
                           URL right?"
                )
            }
            Self::BodyTooLarge(limit) => {
                write!(f, "the answer is larger than {limit} bytes; ask for less, or allow more")
            }
            Self::NotHttp(why) => {
                write!(f, "the answer is no HTTP/1.1 ({why}); check scheme and port, https:// for TLS")
            }
            Self::Cut => f.write_str("the peer closed the connection before its answer was whole; try again"),
            Self::Source(e) => write!(f, "the body of the request could not be read: {e}"),
            Self::Io(e) => write!(f, "the connection failed: {e}; try again"),
        }
    }
}

impl Error for RequestError {}

impl From<DialError> for RequestError {
    fn from(e: DialError) -> Self {
        Self::Dial(e)
    }
}

impl RequestError {
    /// The reason of the HTTP library's error.
    pub(super) fn of(e: hyper::Error, head: usize) -> Self {
        let source = || Error::source(&e).and_then(|source| source.downcast_ref::<io::Error>());
        if e.is_parse_too_large() {
            return Self::HeadTooLarge(head);
        }
        if e.is_parse() {
            return Self::NotHttp(e.to_string());
        }
        if e.is_user() {
            let kind = source().map_or(io::ErrorKind::Other, io::Error::kind);
            let text = source().map_or_else(|| e.to_string(), ToString::to_string);
            return Self::Source(io::Error::new(kind, text));
        }
        if let Some(io) = source() {
            return Self::of_io(io);
        }
        match e.is_incomplete_message() || e.is_canceled() || e.is_closed() {
            true => Self::Cut,
            false => Self::Io(io::Error::other(e)),
        }
    }

    /// The reason of an error of the connection.
    pub(super) fn of_io(e: &io::Error) -> Self {
        match (expired(e), e.kind()) {
            (Some(Expired::Idle(time)), _) => Self::Idle(time),
            (Some(Expired::Deadline(time)), _) => Self::Deadline(time),
            (
                None,
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe,
            ) => Self::Cut,
            (None, kind) => Self::Io(io::Error::new(kind, e.to_string())),
        }
    }
}

fn expired(e: &io::Error) -> Option<Expired> {
    e.get_ref()?.downcast_ref::<Expired>().copied()
}

/// Why there is no WebSocket, or no more.
#[derive(Debug)]
pub enum WebSocketError {
    /// Connecting failed.
    Dial(DialError),
    /// Path or headers cannot be sent as they are.
    BadRequest(String),
    /// The peer answered the upgrade with this status and the first line of this body.
    Refused(u16, String),
    /// The answer to the upgrade is none.
    NotWebSocket(String),
    /// The peer sent nothing for this long.
    Idle(Duration),
    /// The connection was open for longer than this.
    Deadline(Duration),
    /// A message is larger than this many bytes.
    TooLarge(usize),
    /// The peer broke the protocol.
    Protocol(String),
    /// The peer closed it: code and reason.
    Closed(u16, String),
    /// The connection ended without a word.
    Cut,
    /// Reading or writing failed.
    Io(io::Error),
}

impl fmt::Display for WebSocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial(e) => e.fmt(f),
            Self::BadRequest(why) => {
                write!(f, "the upgrade cannot be sent: {why}; correct the URL or the header")
            }
            Self::Refused(status, body) if body.is_empty() => {
                write!(
                    f,
                    "the peer answered the upgrade with HTTP {status}; check the URL's path and the credentials"
                )
            }
            Self::Refused(status, body) => {
                write!(f, "the peer answered the upgrade with HTTP {status}: {body}")
            }
            Self::NotWebSocket(why) => {
                write!(f, "the peer speaks no WebSocket there ({why}); check scheme, port and path")
            }
            Self::Idle(time) => {
                write!(
                    f,
                    "the peer sent nothing for {time:?}; it hangs or the network is down. Connect again"
                )
            }
            Self::Deadline(time) => write!(f, "it was open for {time:?}, which was the limit"),
            Self::TooLarge(limit) => {
                write!(f, "a message is larger than {limit} bytes; ask for less, or allow more")
            }
            Self::Protocol(why) => write!(f, "the peer broke the protocol: {why}"),
            Self::Closed(code, reason) if reason.is_empty() => write!(f, "the peer closed it ({code})"),
            Self::Closed(code, reason) => write!(f, "the peer closed it ({code}): {reason}"),
            Self::Cut => f.write_str("the connection ended without a close frame; connect again"),
            Self::Io(e) => write!(f, "the connection failed: {e}; connect again"),
        }
    }
}

impl Error for WebSocketError {}

impl From<DialError> for WebSocketError {
    fn from(e: DialError) -> Self {
        Self::Dial(e)
    }
}

impl WebSocketError {
    /// The reason of an error of the connection.
    pub(super) fn of_io(e: &io::Error) -> Self {
        match RequestError::of_io(e) {
            RequestError::Idle(time) => Self::Idle(time),
            RequestError::Deadline(time) => Self::Deadline(time),
            RequestError::Io(e) => Self::Io(e),
            _ => Self::Cut,
        }
    }
}
