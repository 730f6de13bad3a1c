//! A WebSocket (RFC 6455) on a blocking socket, with one deadline over everything.

use super::{CallError, Frame, Url};
use crate::{
    protocol::{Fields, MAX_PAYLOAD},
    tls::{self, Secured, TlsError, Trust},
};
use async_tungstenite::tungstenite::{
    Error, HandshakeError, Message, WebSocket, client::client_with_config, error::ProtocolError,
    protocol::WebSocketConfig,
};
use miniserde::json::Value;
use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

/// Most of an answer over plain HTTP, bytes.
const MAX_ANSWER: u64 = 64 << 10;

/// A TCP stream whose reads and writes end by a deadline.
struct Timed {
    stream: TcpStream,
    deadline: Instant,
}

impl Timed {
    fn left(&self) -> io::Result<Option<Duration>> {
        match self.deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(Some(left)),
        }
    }
}

/// A socket's timeout shows as `WouldBlock`, which tungstenite takes for a reason to try again.
fn timed(e: io::Error) -> io::Error {
    if e.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { e }
}

impl Read for Timed {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            self.stream.set_read_timeout(self.left()?)?;
            match self.stream.read(buf) {
                // A read with a time limit ends so where the process was stopped and continued: signal(7).
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                read => return read.map_err(timed),
            }
        }
    }
}

impl Write for Timed {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(buf).map_err(timed)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

enum Stream {
    Plain(Timed),
    Tls(Box<Secured<Timed>>),
}

impl Stream {
    fn timed(&mut self) -> &mut Timed {
        match self {
            Self::Plain(timed) => timed,
            Self::Tls(secured) => &mut secured.sock,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(timed) => timed.read(buf),
            Self::Tls(secured) => secured.read(buf),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(timed) => timed.write(buf),
            Self::Tls(secured) => secured.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(timed) => timed.flush(),
            Self::Tls(secured) => secured.flush(),
        }
    }
}

/// A WebSocket to a gateway.
pub struct Socket {
    socket: WebSocket<Stream>,
    url: String,
    timeout: Duration,
}

impl Socket {
    /// Connects to `url`, which by TLS has to show a certificate to `trust`; everything from here on has to be done
    /// within `timeout`.
    pub fn open(url: &Url, trust: &Trust, timeout: Duration) -> Result<Self, CallError> {
        let text = url.to_string();
        let stream = connect(url, trust, timeout)?;
        let config = WebSocketConfig::default()
            .read_buffer_size(4096)
            .write_buffer_size(0)
            .max_message_size(Some(MAX_PAYLOAD))
            .max_frame_size(Some(MAX_PAYLOAD));
        match client_with_config(text.as_str(), stream, Some(config)) {
            Ok((socket, _)) => Ok(Self { socket, url: text, timeout }),
            Err(HandshakeError::Failure(Error::Io(e))) => Err(failed(url, timeout, e)),
            Err(HandshakeError::Failure(Error::Http(answer))) => {
                let body = String::from_utf8_lossy(answer.body().as_deref().unwrap_or_default()).into_owned();
                if !url.is_tls() && is_tls_answer(&body) {
                    return Err(wrong_scheme(url));
                }
                let line = body.lines().next().map(|line| format!(": {line}")).unwrap_or_default();
                Err(CallError::NotGateway(
                    text,
                    format!("it answers HTTP {}{line}", answer.status().as_u16()),
                ))
            }
            // No HTTP at all, as the alert of a TLS server.
            Err(HandshakeError::Failure(Error::Protocol(ProtocolError::HttparseError(_))))
                if !url.is_tls() && speaks_tls(url, timeout) =>
            {
                Err(wrong_scheme(url))
            }
            Err(e) => Err(CallError::NotGateway(text, e.to_string())),
        }
    }

    /// Moves the deadline to `timeout` from now.
    pub fn renew(&mut self, timeout: Duration) {
        self.socket.get_mut().timed().deadline = Instant::now() + timeout;
    }

    pub fn send(&mut self, text: String) -> Result<(), CallError> {
        self.socket.send(Message::text(text)).map_err(|e| self.error(e))
    }

    /// The file descriptor under it: readable when [`frame`](Self::frame) has something to read.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        match self.socket.get_ref() {
            Stream::Plain(timed) => timed.stream.as_fd(),
            Stream::Tls(secured) => secured.sock.stream.as_fd(),
        }
    }

    /// Reads up to the first frame that `wanted` accepts; events in between are dropped.
    pub fn frame_where(&mut self, wanted: impl Fn(Fields<'_>) -> bool) -> Result<Frame, CallError> {
        loop {
            let frame = self.frame()?;
            if Fields::of(&frame.value).is_some_and(&wanted) {
                return Ok(frame);
            }
        }
    }

    /// Reads the next frame.
    pub fn frame(&mut self) -> Result<Frame, CallError> {
        loop {
            let text = match self.socket.read().map_err(|e| self.error(e))? {
                Message::Text(text) => text,
                Message::Close(why) => {
                    let (code, reason) =
                        why.map_or((1005, String::new()), |w| (w.code.into(), w.reason.to_string()));
                    return Err(CallError::Closed(self.url.clone(), code, reason));
                }
                _ => continue,
            };
            let Ok(value) = miniserde::json::from_str::<Value>(&text) else {
                return Err(CallError::NotGateway(
                    self.url.clone(),
                    "it sends something else than JSON".into(),
                ));
            };
            return Ok(Frame { text, value });
        }
    }

    fn error(&self, e: Error) -> CallError {
        match e {
            Error::Io(e) => unreachable(&self.url, self.timeout, e),
            Error::ConnectionClosed
            | Error::AlreadyClosed
            | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                CallError::Closed(self.url.clone(), 1005, String::new())
            }
            e => CallError::NotGateway(self.url.clone(), e.to_string()),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A polite end; whether it arrives matters to nobody.
        let _ = self.socket.close(None).and_then(|()| self.socket.flush());
    }
}

/// Gets `path` over plain HTTP; returns the body.
pub fn get(url: &Url, trust: &Trust, timeout: Duration, path: &str) -> Result<String, CallError> {
    let mut stream = connect(url, trust, timeout)?;
    let mut answer = Vec::new();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", url.host());
    let done = stream
        .write_all(request.as_bytes())
        .and_then(|()| Read::by_ref(&mut stream).take(MAX_ANSWER).read_to_end(&mut answer));
    match done {
        // By TLS, a peer that closes without `close_notify` has sent everything.
        Err(e) if answer.is_empty() || e.kind() != io::ErrorKind::UnexpectedEof => {
            Err(failed(url, timeout, e))
        }
        _ => {
            let text = String::from_utf8_lossy(&answer).into_owned();
            Ok(text.split_once("\r\n\r\n").map_or_else(String::new, |(_, body)| body.into()))
        }
    }
}

fn connect(url: &Url, trust: &Trust, timeout: Duration) -> Result<Stream, CallError> {
    let deadline = Instant::now() + timeout;
    let stream = dial(url, deadline).map_err(|e| failed(url, timeout, e))?;
    let _ = stream.set_nodelay(true);
    let timed = Timed { stream, deadline };
    Ok(match url.is_tls() {
        true => {
            let secured = tls::secure(timed, url.host(), trust);
            Stream::Tls(Box::new(secured.map_err(|e| failed(url, timeout, e))?))
        }
        false => Stream::Plain(timed),
    })
}

/// Converts an I/O error of a connection to `url`.
fn failed(url: &Url, timeout: Duration, e: io::Error) -> CallError {
    match TlsError::of(&e) {
        Some(TlsError::NotTls) => wrong_scheme(url),
        Some(tls) => CallError::Unreachable(url.to_string(), io::Error::other(tls)),
        None => unreachable(&url.to_string(), timeout, e),
    }
}

fn wrong_scheme(url: &Url) -> CallError {
    CallError::WrongScheme(url.to_string(), url.other_scheme().to_string())
}

/// Whether `body` is what a TLS port answers plain HTTP with: Barnacle's, or nginx' and Go's.
fn is_tls_answer(body: &str) -> bool {
    ["speaks TLS", "HTTPS port", "HTTP request to an HTTPS server"].iter().any(|text| body.contains(text))
}

/// Whether a TLS server listens at `url`: it answers a plain request with an alert record (RFC 8446, 5.1).
fn speaks_tls(url: &Url, timeout: Duration) -> bool {
    let Ok(mut stream) = connect(url, &Trust::Authorities, timeout) else { return false };
    let mut first = [0];
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").is_ok()
        && stream.read_exact(&mut first).is_ok()
        && first == [0x15]
}

fn unreachable(url: &str, timeout: Duration, e: io::Error) -> CallError {
    let e = TlsError::of(&e).map_or(e, io::Error::other);
    match e.kind() {
        io::ErrorKind::TimedOut => CallError::TimedOut(url.into(), timeout),
        _ => CallError::Unreachable(url.into(), e),
    }
}

/// Tries each address of the host until one answers.
fn dial(url: &Url, deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in (url.host(), url.port()).to_socket_addrs()? {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => return Ok(stream),
            Err(e) => last = e,
        }
    }
    Err(last)
}
