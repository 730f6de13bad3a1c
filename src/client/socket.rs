//! A WebSocket (RFC 6455) on a blocking socket, with one deadline over everything.

use super::{Fault, Frame, Url};
use crate::{
    protocol::{Fields, MAX_PAYLOAD},
    tls::{self, Secured, Trust},
};
use async_tungstenite::tungstenite::{
    Error, HandshakeError, Message, WebSocket, client::client_with_config, error::ProtocolError,
    protocol::WebSocketConfig,
};
use miniserde::json::Value;
use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::{Duration, Instant},
};

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
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(buf).map_err(timed)
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
    /// Connects to `url`, which by TLS has to be one of those to `trust`; everything from here on has to be done
    /// within `timeout`.
    pub fn open(url: &Url, trust: &Trust, timeout: Duration) -> Result<Self, Fault> {
        let deadline = Instant::now() + timeout;
        let text = url.to_string();
        let stream = dial(url, deadline).map_err(|e| unreachable(&text, timeout, e))?;
        let _ = stream.set_nodelay(true);
        let config = WebSocketConfig::default()
            .read_buffer_size(4096)
            .write_buffer_size(0)
            .max_message_size(Some(MAX_PAYLOAD))
            .max_frame_size(Some(MAX_PAYLOAD));
        let timed = Timed { stream, deadline };
        let stream = match url.is_tls() {
            true => {
                let secured = tls::secure(timed, url.host(), trust);
                Stream::Tls(Box::new(secured.map_err(|e| unreachable(&text, timeout, e))?))
            }
            false => Stream::Plain(timed),
        };
        match client_with_config(text.as_str(), stream, Some(config)) {
            Ok((socket, _)) => Ok(Self { socket, url: text, timeout }),
            Err(HandshakeError::Failure(Error::Io(e))) => Err(unreachable(&text, timeout, e)),
            Err(HandshakeError::Failure(Error::Http(answer))) => {
                let said = String::from_utf8_lossy(answer.body().as_deref().unwrap_or_default()).into_owned();
                let said = said.lines().next().map(|line| format!(": {line}")).unwrap_or_default();
                Err(Fault::NotGateway(text, format!("it answers HTTP {}{said}", answer.status().as_u16())))
            }
            Err(e) => Err(Fault::NotGateway(text, e.to_string())),
        }
    }

    /// Moves the deadline to `timeout` from now.
    pub fn renew(&mut self, timeout: Duration) {
        self.socket.get_mut().timed().deadline = Instant::now() + timeout;
    }

    /// Sends a text.
    pub fn send(&mut self, text: String) -> Result<(), Fault> {
        self.socket.send(Message::text(text)).map_err(|e| self.fault(e))
    }

    /// Reads up to the first frame that `wanted` wants; events in between are let go.
    pub fn frame_where(&mut self, wanted: impl Fn(Fields<'_>) -> bool) -> Result<Frame, Fault> {
        loop {
            let text = match self.socket.read().map_err(|e| self.fault(e))? {
                Message::Text(text) => text,
                Message::Close(why) => {
                    let (code, reason) =
                        why.map_or((1005, String::new()), |w| (w.code.into(), w.reason.to_string()));
                    return Err(Fault::Closed(self.url.clone(), code, reason));
                }
                _ => continue,
            };
            let Ok(value) = miniserde::json::from_str::<Value>(&text) else {
                return Err(Fault::NotGateway(self.url.clone(), "it sends what is no JSON".into()));
            };
            if Fields::of(&value).is_some_and(&wanted) {
                return Ok(Frame { text, value });
            }
        }
    }

    fn fault(&self, e: Error) -> Fault {
        match e {
            Error::Io(e) => unreachable(&self.url, self.timeout, e),
            Error::ConnectionClosed
            | Error::AlreadyClosed
            | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                Fault::Closed(self.url.clone(), 1005, String::new())
            }
            e => Fault::NotGateway(self.url.clone(), e.to_string()),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A polite end; whether it arrives matters to nobody.
        let _ = self.socket.close(None).and_then(|()| self.socket.flush());
    }
}

fn unreachable(url: &str, timeout: Duration, e: io::Error) -> Fault {
    match e.kind() {
        io::ErrorKind::TimedOut => Fault::Slow(url.into(), timeout),
        _ => Fault::Unreachable(url.into(), e),
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
