//! The head of a connection's first request: an upgrade to WebSocket, plain HTTP, or what is refused at once.

use crate::net::{Wire, peer::Head};
use hyper::header::HeaderMap;
use std::{cell::Cell, fmt, future::poll_fn};

/// Most bytes of a request's head; login proxies make long ones.
pub(super) const MAX_HEAD: usize = 32 << 10;
/// Most headers of a request.
pub(super) const MAX_HEADERS: usize = 128;
/// A head of more bytes than this needs a [`LongHead`].
pub(super) const USUAL_HEAD: usize = 16 << 10;
/// Most heads of more than [`USUAL_HEAD`] bytes that may be under way together.
const LONG_HEADS: usize = 64;

thread_local! {
    static LONG: Cell<usize> = const { Cell::new(0) };
}

/// A permit for a head of more than [`USUAL_HEAD`] bytes, so that thousands of connections cannot hold one each.
pub(super) struct LongHead(());

impl LongHead {
    pub(super) fn take() -> Option<Self> {
        LONG.with(|long| {
            let free = long.get() < LONG_HEADS;
            free.then(|| long.set(long.get() + 1)).map(|()| Self(()))
        })
    }
}

impl Drop for LongHead {
    fn drop(&mut self) {
        LONG.with(|long| long.set(long.get() - 1));
    }
}

/// Kind of a connection's first request.
pub enum First {
    /// An upgrade to WebSocket, and the length of its head.
    Upgrade(Head, usize),
    /// A plain request, and the length of its head.
    Request(Head, usize),
    /// Refused before it is served.
    Refused(Refused),
    /// The peer closed the connection before a whole head.
    Gone,
}

/// Why a request is refused by its head alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refused {
    /// The bytes are not HTTP.
    Malformed,
    /// The head is longer than [`MAX_HEAD`], or has more headers than [`MAX_HEADERS`].
    TooLarge,
    /// Too many heads of more than [`USUAL_HEAD`] bytes are under way.
    Busy,
    /// An upgrade to another version of WebSocket than 13.
    Version(String),
    /// The upgrade lacks this header, as one through a proxy may.
    Missing(&'static str),
}

impl Refused {
    /// Makes the HTTP answer.
    pub fn answer(&self) -> String {
        let (status, more) = match self {
            Self::Malformed => ("400 Bad Request", ""),
            Self::TooLarge => ("431 Request Header Fields Too Large", ""),
            Self::Busy => ("503 Service Unavailable", "Retry-After: 1\r\n"),
            Self::Version(_) => {
                ("426 Upgrade Required", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n")
            }
            Self::Missing(_) => ("426 Upgrade Required", "Upgrade: websocket\r\n"),
        };
        let connection = if status.starts_with("426") { "Upgrade, close" } else { "close" };
        let body = format!("{self}\n");
        format!(
            "HTTP/1.1 {status}\r\n{more}Connection: {connection}\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("this is no HTTP/1.1 request"),
            Self::TooLarge => write!(
                f,
                "the head of this request is larger than {} KiB or has more than {MAX_HEADERS} headers; delete this \
                 site's cookies, or have the proxy send fewer headers",
                MAX_HEAD >> 10
            ),
            Self::Busy => f.write_str("too many requests with long heads are under way; try again"),
            Self::Version(version) => {
                // Whatever it is, a line holds as much of it.
                let version: String = version.chars().filter(|c| !c.is_control()).take(16).collect();
                write!(
                    f,
                    "Sec-WebSocket-Version is \"{version}\", and 13 (RFC 6455) is spoken here; update the client"
                )
            }
            Self::Missing(header) => write!(
                f,
                "this WebSocket upgrade lacks the header {header}, as a proxy drops it; in nginx: proxy_set_header \
                 Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";"
            ),
        }
    }
}

/// Reads until the head of a request is there.
pub async fn first(wire: &Wire) -> First {
    let mut long = None;
    loop {
        if let Some(found) = wire.look(parse) {
            return found;
        }
        if long.is_none() && wire.look(<[u8]>::len) > USUAL_HEAD {
            long = LongHead::take();
            if long.is_none() {
                return First::Refused(Refused::Busy);
            }
        }
        match poll_fn(|cx| wire.poll_more(cx)).await {
            Ok(1..) => {}
            _ => return First::Gone,
        }
    }
}

/// The length of the head at the start of `bytes`, if it is whole.
pub(super) fn length(bytes: &[u8]) -> Option<usize> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    match httparse::Request::new(&mut headers).parse(bytes) {
        Ok(httparse::Status::Complete(length)) => Some(length),
        _ => None,
    }
}

/// The head at the start of `bytes`; `None` while it is not whole.
fn parse(bytes: &[u8]) -> Option<First> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length <= MAX_HEAD => Some(kind(&request, length)),
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => None,
        Ok(_) | Err(httparse::Error::TooManyHeaders) => Some(First::Refused(Refused::TooLarge)),
        Err(_) => Some(First::Refused(Refused::Malformed)),
    }
}

/// The facts of a request whose head the library has read.
pub fn facts_of(headers: &HeaderMap) -> Head {
    facts(headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))).0
}

fn kind(request: &httparse::Request<'_, '_>, length: usize) -> First {
    let (head, asked) = facts(request.headers.iter().map(|header| (header.name, header.value)));
    let get = request.method == Some("GET");
    match asked {
        Asked { key: Some(_), upgrade: false, .. } if get => {
            First::Refused(Refused::Missing("Upgrade: websocket"))
        }
        Asked { key: Some(_), connection: false, .. } if get => {
            First::Refused(Refused::Missing("Connection: Upgrade"))
        }
        Asked { key: Some(_), version: Err(version), .. } if get => First::Refused(Refused::Version(version)),
        Asked { key: Some(key), .. } if get => {
            First::Upgrade(Head { websocket_key: Some(key), ..head }, length)
        }
        _ => First::Request(head, length),
    }
}

/// Headers of an upgrade.
struct Asked {
    key: Option<String>,
    /// Version 13, or what stands in its place.
    version: Result<(), String>,
    upgrade: bool,
    connection: bool,
}

fn facts<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> (Head, Asked) {
    let mut head = Head::default();
    let mut asked = Asked { key: None, version: Err(String::new()), upgrade: false, connection: false };
    let lists = |value: &str, word: &str| value.split(',').any(|v| v.trim().eq_ignore_ascii_case(word));
    for (given, value) in headers {
        // Whatever its bytes: a header that cannot be read is still there.
        let value = String::from_utf8_lossy(value);
        let value = value.trim();
        // Every name that is known is shorter.
        let mut name = [0; 64];
        let length = given.len().min(name.len());
        let name = &mut name[..length];
        name.copy_from_slice(&given.as_bytes()[..length]);
        name.make_ascii_lowercase();
        match std::str::from_utf8(name).unwrap_or_default() {
            "upgrade" => asked.upgrade |= lists(value, "websocket"),
            "connection" => asked.connection |= lists(value, "upgrade"),
            "sec-websocket-version" => {
                asked.version = if value == "13" { Ok(()) } else { Err(value.to_owned()) }
            }
            "sec-websocket-protocol" => {
                let first = value.split(',').next().map(str::trim).filter(|p| !p.is_empty());
                head.subprotocol = head.subprotocol.take().or(first.map(String::from));
            }
            "sec-websocket-key" => asked.key = Some(value.to_owned()).filter(|key| !key.is_empty()),
            "origin" => head.origin = Some(value.to_owned()),
            "host" => head.host = Some(value.to_owned()),
            "x-forwarded-for" | "x-real-ip" => {
                head.proxied = true;
                let kind = usize::from(name == b"x-real-ip");
                head.forwarded[kind].extend(value.split(',').map(|a| a.trim().to_owned()));
            }
            "forwarded" => {
                head.proxied = true;
                let parts = value.split([',', ';']).filter_map(|p| p.trim().split_once('='));
                let named = parts.filter(|(k, _)| k.trim().eq_ignore_ascii_case("for"));
                head.forwarded[2].extend(named.map(|(_, v)| v.trim().to_owned()));
            }
            "via" | "cf-connecting-ip" | "true-client-ip" => head.proxied = true,
            name if name.starts_with("x-forwarded-") || name.starts_with("tailscale-user-") => {
                head.proxied = true;
            }
            _ => {}
        }
    }
    (head, asked)
}

/// Kind of a first request that comes before the gateway can admit anyone.
pub enum Beginning {
    /// A plain GET of this path, whose head is so long.
    Get(String, usize),
    /// A part of a head.
    Part,
    /// Anything else.
    Other,
}

impl Beginning {
    /// Classifies `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let length = match request.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Self::Part,
            Err(_) => return Self::Other,
        };
        let upgrades = request.headers.iter().any(|header| header.name.eq_ignore_ascii_case("upgrade"));
        match request.path.filter(|_| request.method == Some("GET") && !upgrades) {
            Some(path) => Self::Get(path.split('?').next().unwrap_or(path).to_owned(), length),
            None => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPGRADE: &str = "Upgrade: websocket\r\n";
    const CONNECTION: &str = "Connection: keep-alive, Upgrade\r\n";
    const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
    const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

    #[test]
    fn a_header_of_any_bytes_reveals_a_proxy() {
        let mut headers = [httparse::EMPTY_HEADER; 4];
        let mut request = httparse::Request::new(&mut headers);
        let bytes = b"GET / HTTP/1.1\r\nX-Forwarded-For: \xff, 203.0.113.7\r\nOrigin: \xff\r\n\r\n";
        assert!(request.parse(bytes).is_ok_and(|s| s.is_complete()));
        let (head, _) = facts(request.headers.iter().map(|header| (header.name, header.value)));
        assert!(head.proxied && head.origin.is_some());
        assert_eq!(head.forwarded[0].last().map(String::as_str), Some("203.0.113.7"));
    }

    #[test]
    fn what_a_request_is() {
        let many = |n: usize| (0..n).map(|n| format!("X-{n}: y\r\n")).collect::<String>();
        for (method, headers, expected) in [
            ("GET", format!("{UPGRADE}{CONNECTION}{VERSION}{KEY}"), "upgrade"),
            ("GET", format!("{UPGRADE}{CONNECTION}{VERSION}"), "request"),
            ("GET", String::new(), "request"),
            ("POST", format!("{UPGRADE}{CONNECTION}{VERSION}{KEY}"), "request"),
            ("GET", format!("{CONNECTION}{VERSION}{KEY}"), "Missing(\"Upgrade: websocket\")"),
            ("GET", format!("Upgrade: h2c\r\n{VERSION}{KEY}"), "Missing(\"Upgrade: websocket\")"),
            (
                "GET",
                format!("{UPGRADE}Connection: close\r\n{VERSION}{KEY}"),
                "Missing(\"Connection: Upgrade\")",
            ),
            ("GET", format!("{UPGRADE}{VERSION}{KEY}"), "Missing(\"Connection: Upgrade\")"),
            ("GET", format!("{UPGRADE}{CONNECTION}{KEY}Sec-WebSocket-Version: 8\r\n"), "Version(\"8\")"),
            ("GET", format!("{UPGRADE}{CONNECTION}{KEY}"), "Version(\"\")"),
            ("GET", many(MAX_HEADERS), "request"),
            ("GET", many(MAX_HEADERS + 1), "TooLarge"),
            ("GET", format!("Cookie: {}\r\n", "c".repeat(MAX_HEAD - 64)), "request"),
            ("GET", format!("Cookie: {}\r\n", "c".repeat(MAX_HEAD)), "TooLarge"),
            ("G T", String::new(), "Malformed"),
        ] {
            let seen = match parse(format!("{method} / HTTP/1.1\r\n{headers}\r\n").as_bytes()) {
                Some(First::Upgrade(head, _)) if head.websocket_key.is_some() => "upgrade".into(),
                Some(First::Request(..)) => "request".into(),
                Some(First::Refused(refused)) => format!("{refused:?}"),
                _ => "none".into(),
            };
            assert_eq!(seen, expected, "{method} {}", headers.get(..80).unwrap_or(&headers));
        }
        assert!(parse(b"GET / HT").is_none());
    }

    #[test]
    fn long_heads_are_counted() {
        let held: Vec<_> = (0..LONG_HEADS).map(|_| LongHead::take()).collect();
        assert!(held.iter().all(Option::is_some) && LongHead::take().is_none());
        drop(held);
        assert!(LongHead::take().is_some());
    }
}
