//! Upgrades that are not for this gateway: bytes pass as they are, both ways, until either side ends.
//!
//! OpenClaw takes an upgrade on any path that it has no other use for as one to its own protocol, and so does this
//! gateway: clients are pointed at `/`, `/gateway`, the page's `basePath` or what a proxy in front leaves of its own path,
//! and nothing in an upgrade tells them from a plugin's. One that were passed on by mistake would be attached to OpenClaw
//! past this gateway, with OpenClaw's own secret. So only the paths of [`ROOTS`] are passed on, and those that the file
//! names as plugins' (`upstream.webSocketPaths`).

use super::{
    access::{Kind, is_plain, is_under},
    caller::authorise_headers,
    exchange::{LIMITS, unanswered},
    headers,
};
use crate::{
    app::App,
    config::{Settings, Upstream},
    http::caller::Refusal,
    hub::{PendingConn, Stage},
    net::{
        Wire,
        http::{Page, Phase},
    },
    outbound::{Limits, RequestError, Stream, dial},
};
use hyper::{
    Method, Request, StatusCode, Uri,
    header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, UPGRADE},
};
use smol::{
    future,
    io::{AsyncReadExt, AsyncWriteExt, split},
};
use std::{cell::Cell, future::poll_fn, io, rc::Rc, task::Poll, time::Duration};

/// Roots of the paths where OpenClaw 2026.9 and the plugins that come with it have WebSockets that do not speak the
/// gateway's protocol. Other plugins choose their paths; those below `/api/` and `/plugins/` are theirs by custom.
const ROOTS: &[&str] = &[
    "/__openclaw__/worker",
    "/__openclaw__/cap",
    "/__openclaw__/ws",
    "/desktop/observe",
    "/node-desktop/attach",
    "/node-portal/attach",
    "/browser/extension",
    "/browser/screencast",
    "/api",
    "/plugins",
];
/// Most tunnels at a time.
const MOST: usize = 64;
/// Time without a byte after which a tunnel ends.
const IDLE: Duration = Duration::from_secs(600);
/// Time that a tunnel may be open, for what watches over connections that have not attached.
const OPEN: Duration = Duration::from_secs(365 * 86_400);
/// Most unsent bytes to the client before no more are read for it.
const UNSENT: usize = 64 << 10;

thread_local! {
    static OPEN_NOW: Cell<usize> = const { Cell::new(0) };
}

/// A place among the tunnels.
struct Place(());

impl Place {
    fn take() -> Option<Self> {
        OPEN_NOW.with(|open| {
            let free = open.get() < MOST;
            free.then(|| open.set(open.get() + 1)).map(|()| Self(()))
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        OPEN_NOW.with(|open| open.set(open.get() - 1));
    }
}

/// An upgrade that is for the gateway behind this one.
pub(crate) struct Tunnel {
    settings: Rc<Settings>,
    request: Request<()>,
    /// Length of its head on the wire.
    length: usize,
}

/// Whether an upgrade to `path` is passed on, where plugins have those below `more`, too.
fn is_behind(path: &str, more: &[String]) -> bool {
    let mut roots = ROOTS.iter().copied().chain(more.iter().map(String::as_str));
    is_plain(path) && roots.any(|root| is_under(path, root))
}

impl Tunnel {
    /// The tunnel that the head of `length` bytes on `wire` asks for; `None` for an upgrade to this gateway.
    pub(crate) fn wanted(app: &App, wire: &Wire, length: usize) -> Option<Self> {
        let settings = app.settings();
        let upstream = settings.upstream.as_ref()?;
        let request = wire.look(|bytes| read(bytes.get(..length)?))?;
        let behind = is_behind(request.uri().path(), &upstream.sockets);
        behind.then_some(Self { settings, request, length })
    }

    /// Serves it until either side ends. What is left to say to the client is then on its wire.
    pub(crate) async fn serve(self, app: &Rc<App>, pending: &PendingConn) {
        let Self { settings, mut request, length } = self;
        let wire = &pending.wire;
        wire.forget(length);
        let Some(upstream) = &settings.upstream else { return };
        let Some(_place) = Place::take() else {
            return say(wire, 503, "retry-after: 1\r\n", "too many WebSockets are passed on already\n");
        };
        let (uri, headers) = (request.uri().clone(), request.headers_mut());
        if let Err(refusal) = authorise_headers(app, &settings, wire, Kind::Write, &uri, headers) {
            let Refusal { header, page: Page { status, body, .. } } = refusal;
            let header = header.map_or_else(String::new, |(name, value)| format!("{name}: {value}\r\n"));
            return say(wire, status, &header, &body);
        }
        headers::of_a_client(headers);
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        // Whatever comes is not for another process image, nor is it made room for.
        pending.stay();
        pending.request.set(Phase::Ending);
        pending.move_on(Stage::Head, OPEN);
        let opened = open(upstream, &request).await;
        // A reload is for this connection as well.
        drop(settings);
        match opened {
            Ok(stream) => pass(wire, stream).await,
            Err(e) => {
                let (status, text) = unanswered(&e);
                say(wire, status, "retry-after: 1\r\n", &text);
            }
        }
    }
}

/// Reads the head of an upgrade.
fn read(bytes: &[u8]) -> Option<Request<()>> {
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut parsed = httparse::Request::new(&mut headers);
    parsed.parse(bytes).ok()?;
    let mut request = Request::new(());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = Uri::try_from(parsed.path?).ok()?;
    let fields = request.headers_mut();
    for header in parsed.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        fields.append(name, HeaderValue::from_bytes(header.value).ok()?);
    }
    Some(request)
}

async fn open(upstream: &Upstream, request: &Request<()>) -> Result<Stream, RequestError> {
    let limits = Limits { idle: Some(IDLE), ..LIMITS };
    upstream.open().map_err(RequestError::Io)?;
    let mut stream = dial(&upstream.url, &upstream.trust, &limits).await?;
    stream.write_all(&head(request.uri(), request.headers())).await.map_err(RequestError::Io)?;
    stream.flush().await.map_err(RequestError::Io)?;
    Ok(stream)
}

/// The head of an upgrade as it is sent.
fn head(uri: &Uri, headers: &HeaderMap) -> Vec<u8> {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let mut head = format!("GET {target} HTTP/1.1\r\n").into_bytes();
    for (name, value) in headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// Passes bytes both ways until either side ends.
async fn pass(wire: &Wire, stream: Stream) {
    let (mut from, mut to) = split(stream);
    let up = async {
        loop {
            let chunk = wire.look(<[u8]>::to_vec);
            wire.forget(chunk.len());
            to.write_all(&chunk).await?;
            to.flush().await?;
            if poll_fn(|cx| wire.poll_more(cx)).await? == 0 {
                return Ok::<_, io::Error>(());
            }
        }
    };
    let down = async {
        let mut chunk = vec![0; 16 << 10];
        loop {
            let n = from.read(&mut chunk).await?;
            if n == 0 {
                return Ok::<_, io::Error>(());
            }
            wire.queue(&chunk[..n]);
            poll_fn(|cx| match wire.poll_drain(cx) {
                Poll::Pending if wire.unsent() < UNSENT => Poll::Ready(Ok(())),
                drained => drained,
            })
            .await?;
        }
    };
    let ended = future::or(up, down).await;
    if let Err(e) = ended {
        log::debug!("http: a WebSocket that is passed on ended: {e}");
    }
}

/// Answers on the wire, in place of the gateway behind this one.
fn say(wire: &Wire, status: u16, header: &str, body: &str) {
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let kind = if body.starts_with('{') { "application/json" } else { "text/plain; charset=utf-8" };
    wire.queue(
        format!(
            "HTTP/1.1 {status} {}\r\n{header}connection: close\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}",
            reason.unwrap_or_default(),
            body.len()
        )
        .as_bytes(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_an_upgrade_is() {
        for (path, behind) in [
            ("/", false),
            ("/gateway", false),
            ("/ui/", false),
            ("/__openclaw__", false),
            ("/__openclaw__/", false),
            ("/__openclaw__/worker", true),
            ("/browser/screencast", true),
            ("/node-portal/attach", true),
            ("/api/channels/x/ws", true),
            ("/plugins/x/live", true),
            ("/plugins/../", false),
            ("/pluginsx", false),
            ("/voice/stream", true),
            ("/voice/stream/7", true),
            ("/voice/streams", false),
            ("/voice", false),
        ] {
            assert_eq!(is_behind(path, &["/voice/stream".into()]), behind, "{path}");
        }
    }
}
