//! The first HTTP request of a connection: an upgrade is answered here and goes on as a WebSocket,
//! anything else is served by `hyper`.
//!
//! An upgrade is told from its head alone, before `hyper` sees it, so that an attached connection never
//! carries an HTTP server's state along.

mod body;

pub use body::{Body, Chunks};

use super::{Wire, peer::Head, seam::Plain};
use http_body_util::Full;
use hyper::{Method, Request, Response, StatusCode, body::Bytes, service::service_fn};
use smol_hyper::rt::FuturesIo;
use std::{convert::Infallible, future::poll_fn, rc::Rc};

/// Most bytes of a request's head.
const MAX_HEAD: usize = 16 << 10;

/// Reads until the head of a request is there; returns its facts and its length. `None` when the peer
/// leaves, sends no HTTP, or too much of it: then it has been told.
pub async fn head(wire: &Wire) -> Option<(Head, usize)> {
    loop {
        if let Some(found) = wire.look(parse) {
            if found.is_none() {
                let answer = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
                wire.queue(answer.as_bytes());
                let _ = poll_fn(|cx| wire.poll_drain(cx)).await;
            }
            return found;
        }
        poll_fn(|cx| wire.poll_more(cx)).await.ok().filter(|n| *n > 0)?;
    }
}

/// The head at the start of `bytes`; `None` while it is not whole, `Some(None)` if it never will be.
fn parse(bytes: &[u8]) -> Option<Option<(Head, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => Some(Some((facts(&request), length))),
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => None,
        _ => Some(None),
    }
}

fn facts(request: &httparse::Request<'_, '_>) -> Head {
    let mut head = Head::default();
    let (mut upgrade, mut version, mut key) = (false, false, None);
    for header in request.headers.iter() {
        // Whatever its bytes: a header that cannot be read is still there.
        let value = String::from_utf8_lossy(header.value);
        let value = value.trim();
        // Every name that is known is shorter.
        let mut name = [0; 64];
        let length = header.name.len().min(name.len());
        let name = &mut name[..length];
        name.copy_from_slice(&header.name.as_bytes()[..length]);
        name.make_ascii_lowercase();
        match std::str::from_utf8(name).unwrap_or_default() {
            "upgrade" => upgrade |= value.split(',').any(|v| v.trim().eq_ignore_ascii_case("websocket")),
            "sec-websocket-version" => version = value == "13",
            "sec-websocket-protocol" => {
                let first = value.split(',').next().map(str::trim).filter(|p| !p.is_empty());
                head.subprotocol = head.subprotocol.take().or(first.map(String::from));
            }
            "sec-websocket-key" => key = Some(value.to_owned()),
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
    let get = request.method == Some("GET");
    head.websocket_key = key.filter(|k| get && upgrade && version && !k.is_empty());
    head
}

/// What a connection begins with.
pub enum Beginning {
    /// A plain GET of this path, whose head is so long.
    Get(String, usize),
    /// A part of a head.
    Part,
    /// Something else.
    Other,
}

impl Beginning {
    /// What `bytes` are.
    pub fn of(bytes: &[u8]) -> Self {
        let mut headers = [httparse::EMPTY_HEADER; 64];
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

/// What a plain GET is answered with.
pub struct Page {
    /// The status.
    pub status: u16,
    /// `Content-Type`.
    pub kind: &'static str,
    /// The body.
    pub body: String,
}

impl Page {
    /// One for programs.
    pub fn json(status: u16, body: &str) -> Self {
        Self { status, kind: "application/json", body: body.into() }
    }
}

/// Serves plain HTTP on a wire until the client leaves. What is unread on it begins with a head;
/// `strict` is the `Strict-Transport-Security` header of each answer.
pub async fn serve(wire: &Rc<Wire>, page: impl Fn(&str) -> Page, strict: impl Fn() -> Option<String>) {
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        // Answered is forgotten: what is then unread is what comes next.
        if let Some(Some((_, length))) = wire.look(parse) {
            wire.forget(length);
        }
        let mut response = answer(&request, &page);
        if let Some(value) = strict().and_then(|text| text.try_into().ok()) {
            response.headers_mut().insert("strict-transport-security", value);
        }
        async move { Ok::<_, Infallible>(response) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .keep_alive(true)
        .max_buf_size(MAX_HEAD)
        .serve_connection(FuturesIo::new(Plain(wire.clone())), service)
        .await;
    if let Err(e) = served {
        log::debug!("http: {e}");
    }
}

fn answer(request: &Request<hyper::body::Incoming>, page: &impl Fn(&str) -> Page) -> Response<Full<Bytes>> {
    let get = matches!(*request.method(), Method::GET | Method::HEAD);
    let page = match get {
        true => page(request.uri().path()),
        false => Page { status: 405, kind: "text/plain; charset=utf-8", body: "only GET here\n".into() },
    };
    let mut response = Response::new(Full::new(Bytes::from(page.body)));
    *response.status_mut() = StatusCode::from_u16(page.status).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    for (name, value) in
        [("content-type", page.kind), ("cache-control", "no-store"), ("x-content-type-options", "nosniff")]
    {
        headers.insert(name, hyper::header::HeaderValue::from_static(value));
    }
    if !get {
        // Its body is nobody's to read.
        headers.insert("connection", hyper::header::HeaderValue::from_static("close"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_of_any_bytes_tells_of_a_proxy() {
        let mut headers = [httparse::EMPTY_HEADER; 4];
        let mut request = httparse::Request::new(&mut headers);
        let bytes = b"GET / HTTP/1.1\r\nX-Forwarded-For: \xff, 203.0.113.7\r\nOrigin: \xff\r\n\r\n";
        assert!(request.parse(bytes).is_ok_and(|s| s.is_complete()));
        let head = facts(&request);
        assert!(head.proxied && head.origin.is_some());
        assert_eq!(head.forwarded[0].last().map(String::as_str), Some("203.0.113.7"));
    }
}
