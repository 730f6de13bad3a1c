//! Opening a WebSocket that is plain data: the upgrade of RFC 6455 §4.1, and after it a [`Wire`].

use super::{Limits, Stream, Trust, Url, WebSocketError, dial};
use crate::net::Wire;
use async_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};
use httparse::{EMPTY_HEADER, Response, Status};
use hyper::{
    Uri,
    header::{
        CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT,
        SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, TRANSFER_ENCODING, UPGRADE,
    },
};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use std::rc::Rc;

/// Most bytes of the head of the answer.
const MAX_HEAD: usize = 16 << 10;
/// Most headers of the answer.
const MAX_HEADERS: usize = 100;
/// Most bytes that are read of the body of a refusal.
const MAX_REFUSAL: usize = 4 << 10;
/// The headers that an upgrade consists of.
const OWN: [&str; 5] =
    ["connection", "sec-websocket-extensions", "sec-websocket-key", "sec-websocket-version", "upgrade"];

/// Connects to `url` and upgrades, with these headers besides those that an upgrade has; a `Host` among them takes the
/// place of the URL's. The wire takes messages of up to `limit` bytes.
///
/// Connecting may take [`Limits::connect`], and the upgrade with its whole answer the shorter of [`Limits::idle`] and
/// [`Limits::deadline`]. From then on the time is the caller's to keep.
///
/// # Errors
/// [`WebSocketError`].
pub async fn open_wire(
    url: &Url,
    trust: &Trust,
    limits: &Limits,
    headers: &[(&str, &str)],
    limit: usize,
) -> Result<Rc<Wire>, WebSocketError> {
    let key = generate_key();
    let request = request(url, headers, &key)?;
    let mut stream = dial(url, trust, limits).await?;
    let timeouts = stream.timeouts().clone();
    timeouts.count_reads_only();
    let time = limits.idle.into_iter().chain(limits.deadline).min();
    timeouts.start(time);
    stream.write_all(request.as_bytes()).await.map_err(|e| WebSocketError::of_io(&e))?;
    stream.flush().await.map_err(|e| WebSocketError::of_io(&e))?;
    let mut input = Vec::new();
    let head = loop {
        if let Some(head) = Head::read(&input, &key)? {
            break head;
        }
        match more(&mut stream, &mut input).await {
            Ok(0) => return Err(WebSocketError::Cut),
            Ok(_) => {}
            Err(WebSocketError::Deadline(late)) if input.is_empty() && limits.idle == Some(late) => {
                return Err(WebSocketError::Idle(late));
            }
            Err(e) => return Err(e),
        }
    };
    match head {
        Head::Upgraded { length, subprotocol } => {
            if let Some(subprotocol) = subprotocol.filter(|name| !offers(headers, name)) {
                let why = format!("it chose the subprotocol {subprotocol}, which was not offered");
                return Err(WebSocketError::NotWebSocket(why));
            }
            let (socket, session) = stream.into_parts();
            Ok(Wire::client(socket, session, input.split_off(length), Vec::new(), limit))
        }
        Head::Refused { status, length, body, chunked } => {
            input.drain(..length);
            let line = first_line(&mut stream, input, body, chunked).await;
            Err(WebSocketError::Refused(status, line))
        }
    }
}

/// The request for an upgrade.
fn request(url: &Url, headers: &[(&str, &str)], key: &str) -> Result<String, WebSocketError> {
    let bad = |why: String| WebSocketError::BadRequest(why);
    Uri::try_from(url.path()).map_err(|e| bad(e.to_string()))?;
    let mut lines = String::new();
    let mut host = None;
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|e| bad(e.to_string()))?;
        HeaderValue::from_str(value).map_err(|_| bad(format!("{name} is no header value")))?;
        if OWN.contains(&name.as_str()) {
            return Err(bad(format!("{name} is not the caller's to choose")));
        }
        if name == HOST {
            if host.replace((*value).to_owned()).is_some() {
                return Err(bad("there are two of the header host".into()));
            }
            continue;
        }
        lines.push_str(&format!("{name}: {value}\r\n"));
    }
    let host = host.unwrap_or_else(|| url.authority());
    HeaderValue::from_str(&host).map_err(|_| bad("the host is no header value".into()))?;
    Ok(format!(
        "GET {} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{lines}\r\n",
        url.path()
    ))
}

/// Whether a subprotocol is among those that these headers offer.
fn offers(headers: &[(&str, &str)], subprotocol: &str) -> bool {
    let offered =
        headers.iter().filter(|(name, _)| SEC_WEBSOCKET_PROTOCOL.as_str().eq_ignore_ascii_case(name));
    offered.flat_map(|(_, value)| value.split(',')).any(|name| name.trim() == subprotocol)
}

/// Reads more of the answer; 0 at its end.
async fn more(stream: &mut Stream, input: &mut Vec<u8>) -> Result<usize, WebSocketError> {
    let mut chunk = [0; 2048];
    let n = stream.read(&mut chunk).await.map_err(|e| WebSocketError::of_io(&e))?;
    input.extend_from_slice(&chunk[..n]);
    Ok(n)
}

/// The first line of the body of a refusal, which begins with `body` and has up to `length` bytes: as much as comes.
async fn first_line(stream: &mut Stream, mut body: Vec<u8>, length: usize, chunked: bool) -> String {
    // The size of the first chunk has a line of its own.
    let lines = 1 + usize::from(chunked);
    while body.len() < length && body.iter().filter(|b| **b == b'\n').count() < lines {
        match more(stream, &mut body).await {
            Ok(1..) => {}
            _ => break,
        }
    }
    body.truncate(length);
    String::from_utf8_lossy(&body).lines().nth(lines - 1).unwrap_or_default().into()
}

/// The head of the answer to an upgrade.
enum Head {
    /// The peer speaks WebSocket from here on.
    Upgraded { length: usize, subprotocol: Option<String> },
    /// The peer does not.
    Refused { status: u16, length: usize, body: usize, chunked: bool },
}

impl Head {
    /// Reads the head of an answer to an upgrade with this key; `None` if it is not whole.
    fn read(bytes: &[u8], key: &str) -> Result<Option<Self>, WebSocketError> {
        let wrong = |why: String| Err(WebSocketError::NotWebSocket(why));
        let mut headers = [EMPTY_HEADER; MAX_HEADERS];
        let mut answer = Response::new(&mut headers);
        let length = match answer.parse(bytes) {
            Ok(Status::Complete(length)) if length <= MAX_HEAD => length,
            Ok(Status::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
            Ok(_) | Err(httparse::Error::TooManyHeaders) => {
                return wrong(format!("the head of its answer is larger than {MAX_HEAD} bytes"));
            }
            Err(e) => return wrong(format!("its answer is no HTTP/1.1: {e}")),
        };
        let values = |name: HeaderName| {
            let named = answer.headers.iter().filter(move |h| name.as_str().eq_ignore_ascii_case(h.name));
            named.map(|h| str::from_utf8(h.value).unwrap_or_default().trim())
        };
        let says = |name: HeaderName, token: &str| {
            values(name)
                .flat_map(|value| value.split(','))
                .any(|word| word.trim().eq_ignore_ascii_case(token))
        };
        let status = answer.code.unwrap_or_default();
        if status != 101 {
            let chunked = says(TRANSFER_ENCODING, "chunked");
            let body = values(CONTENT_LENGTH).next().and_then(|n| n.parse().ok()).filter(|_| !chunked);
            let body = body.unwrap_or(MAX_REFUSAL).min(MAX_REFUSAL);
            return Ok(Some(Self::Refused { status, length, body, chunked }));
        }
        let mut accepts = values(SEC_WEBSOCKET_ACCEPT);
        if !says(UPGRADE, "websocket") || !says(CONNECTION, "upgrade") {
            return wrong("its answer upgrades to something else".into());
        }
        if accepts.next() != Some(&derive_accept_key(key.as_bytes())) || accepts.next().is_some() {
            return wrong("its Sec-WebSocket-Accept does not fit the key that was sent".into());
        }
        if let Some(extension) = values(SEC_WEBSOCKET_EXTENSIONS).find(|value| !value.is_empty()) {
            return wrong(format!("it chose the extension {extension}, which was not offered"));
        }
        let subprotocol = values(SEC_WEBSOCKET_PROTOCOL).next().map(String::from);
        Ok(Some(Self::Upgraded { length, subprotocol }))
    }
}
