//! Plain HTTP on a connection, request after request, until the client leaves.

use super::{
    AsItIs, Body, Call, Handler, Page, Routes, Upload,
    head::{LongHead, MAX_HEAD, MAX_HEADERS, USUAL_HEAD, length},
};
use crate::net::Wire;
use hyper::{
    Request, Response, Version,
    body::{Body as _, Bytes, Frame, Incoming, SizeHint},
    header::{ALLOW, CACHE_CONTROL, CONNECTION, HeaderValue, RETRY_AFTER, STRICT_TRANSPORT_SECURITY},
    service::service_fn,
};
use smol::{
    future,
    io::{AsyncRead, AsyncWrite},
};
use smol_hyper::rt::FuturesIo;
use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

/// Limit of unsent bytes, at which no more is taken from the library.
const UNSENT: usize = 64 << 10;
/// Value of `Retry-After`, seconds.
const RETRY_AFTER_S: u32 = 1;

/// Phase of a connection that speaks plain HTTP.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Phase {
    /// No request is under way; the head of the next may be there in part. It can be carried over as it is.
    #[default]
    Idle,
    /// The head of a request is there and it may not be begun yet. It can be carried over as it is.
    Waiting,
    /// A request is under way, and nothing of its answer is sent.
    Asked,
    /// An answer is being sent.
    Answering,
    /// The last answer is sent, and the connection ends.
    Ending,
}

/// Hooks of the HTTP server into the gateway around a connection.
pub trait Host {
    /// Notes where the connection stands.
    fn enter(&self, phase: Phase);
    /// Notes that bytes of an answer went out.
    fn progress(&self);
    /// Waits until a request may be begun.
    fn begin(&self) -> Pin<Box<dyn Future<Output = ()> + '_>>;
    /// Ready once a request that is under way, or waits to be, has to be answered 503.
    fn poll_refused(&self, cx: &mut Context<'_>) -> Poll<()>;
    /// Value of `Strict-Transport-Security`, if it is sent.
    fn strict(&self) -> Option<String>;
}

/// Serves plain HTTP on a wire until the client leaves. What is unread on the wire begins with a head. Returns whether
/// the client may still be sending, so that the end has to wait for it to have read the answer.
pub async fn serve<C: 'static>(
    wire: &Rc<Wire>,
    host: Rc<dyn Host>,
    context: Rc<C>,
    routes: fn(&C) -> Routes<C>,
) -> bool {
    let exchange = Rc::new(Exchange {
        wire: wire.clone(),
        host,
        phase: Cell::default(),
        flushing: Cell::new(false),
        unread: Cell::new(Unread::Kept),
        long: RefCell::default(),
        ending: Cell::new(false),
        cut: Cell::new(false),
    });
    let service = service_fn(|request| {
        let (exchange, context) = (exchange.clone(), context.clone());
        async move {
            let response = exchange.answer(request, context, routes).await;
            Ok::<_, Infallible>(response.map(|body| Tracked { body, exchange }))
        }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .keep_alive(true)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(FuturesIo::new(Plain(exchange.clone())), service)
        .await;
    match served {
        Err(e) if e.is_parse_too_large() => {
            exchange.cut.set(true);
            log::warn!("refused an HTTP request: {}", super::Refused::TooLarge);
        }
        Err(e) => log::debug!("http: {e}"),
        Ok(()) => {}
    }
    exchange.cut.get()
}

/// State of the bytes after a request's head.
#[derive(Clone, Copy)]
enum Unread {
    /// Bytes of a head, kept until its request is begun.
    Kept,
    /// Remaining bytes of a body, which is not kept.
    Body(u64),
    /// Bytes of a body whose length is not known; after it the connection ends.
    Rest,
}

/// One connection, shared by its two halves: the bytes below the library, and the requests above.
struct Exchange {
    wire: Rc<Wire>,
    host: Rc<dyn Host>,
    phase: Cell<Phase>,
    /// The library has the whole answer.
    flushing: Cell<bool>,
    unread: Cell<Unread>,
    long: RefCell<Option<LongHead>>,
    /// The connection ends after this answer.
    ending: Cell<bool>,
    /// Set if the connection ends with bytes unread.
    cut: Cell<bool>,
}

impl Exchange {
    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.host.enter(phase);
    }

    async fn refused<T>(&self) -> Option<T> {
        poll_fn(|cx| self.host.poll_refused(cx)).await;
        None
    }

    async fn answer<C: 'static>(
        &self,
        request: Request<Incoming>,
        context: Rc<C>,
        routes: fn(&C) -> Routes<C>,
    ) -> Response<Body> {
        self.enter(Phase::Waiting);
        let begun = async {
            self.host.begin().await;
            Some(())
        };
        let begun = future::or(begun, self.refused()).await;
        self.begin(&request);
        let mut response = match begun {
            None => unavailable(),
            Some(()) => {
                let answer = async { Some(self.dispatch(request, context, routes).await) };
                future::or(answer, self.refused()).await.unwrap_or_else(unavailable)
            }
        };
        let own = response.extensions_mut().remove::<AsItIs>().is_none();
        let headers = response.headers_mut();
        if own {
            headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
            headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
        }
        if let Some(value) = self.host.strict().and_then(|text| text.try_into().ok()) {
            headers.entry(STRICT_TRANSPORT_SECURITY).or_insert(value);
        }
        if matches!(self.unread.get(), Unread::Rest) {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if headers.get(CONNECTION).is_some_and(|value| value == "close") {
            self.ending.set(true);
            self.cut.set(true);
        }
        self.enter(Phase::Answering);
        response
    }

    /// Forgets the head of the request, which is the library's from now on; its body is not kept either.
    fn begin(&self, request: &Request<Incoming>) {
        if let Some(length) = self.wire.look(length) {
            self.wire.forget(length);
        }
        self.long.take();
        let closes =
            |value: &HeaderValue| value.to_str().is_ok_and(|v| v.to_ascii_lowercase().contains("close"));
        let asked = request.headers().get_all(CONNECTION).iter().any(closes);
        self.ending.set(asked || request.version() == Version::HTTP_10);
        self.unread.set(match request.body().size_hint().exact() {
            Some(length) => Unread::Body(self.forget_body(length, self.wire.handed_out())),
            None => {
                self.wire.forget(self.wire.handed_out());
                Unread::Rest
            }
        });
        self.enter(Phase::Asked);
    }

    /// Forgets what of a body of `length` is among the `n` bytes handed out last; how much of it is to come.
    fn forget_body(&self, length: u64, n: usize) -> u64 {
        let here = length.min(n as u64);
        self.wire.forget(here as usize);
        length - here
    }

    async fn dispatch<C: 'static>(
        &self,
        request: Request<Incoming>,
        context: Rc<C>,
        routes: fn(&C) -> Routes<C>,
    ) -> Response<Body> {
        let (path, declared) = (request.uri().path(), request.body().size_hint().exact());
        let routes = routes(&context);
        let route = match routes.find(request.method(), path) {
            Ok(route) => route,
            Err(false) => {
                return self.closing(Page::problem(404, "not_found", "there is no such page"), declared);
            }
            Err(true) => {
                let allowed = || {
                    routes.rows.iter().filter(|route| route.path == path).map(|route| route.method.as_str())
                };
                let allowed = allowed().collect::<Vec<_>>().join(", ");
                let message = format!("{path} takes {allowed} alone");
                let mut response = self.closing(Page::problem(405, "method_not_allowed", &message), None);
                if let Ok(allowed) = allowed.try_into() {
                    response.headers_mut().insert(ALLOW, allowed);
                }
                return response;
            }
        };
        let call = match route.handler {
            Handler::Page(page) => return page(&context).into(),
            Handler::Call(call) => call,
        };
        let (limit, time) = (route.body, route.time);
        if declared.is_some_and(|declared| declared > limit as u64) {
            return self.closing(super::UploadError::TooLarge(limit).into(), None);
        }
        let (head, body) = request.into_parts();
        let answer =
            call(context, Call { head, body: Upload::new(body, limit, time), wire: self.wire.clone() });
        answer.await.unwrap_or_else(|e| self.closing(e.into(), None))
    }

    /// A page after which the connection ends, unless the request is known to have no body.
    fn closing(&self, page: Page, declared: Option<u64>) -> Response<Body> {
        let mut response = Response::from(page);
        if declared != Some(0) {
            // Its body is nobody's to read.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

fn unavailable() -> Response<Body> {
    let page = Page::text(503, format!("the gateway restarts; ask again in {RETRY_AFTER_S} s\n"));
    let mut response = Response::from(page);
    response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_S.into());
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The body of an answer; when the library drops it, it has all of it.
struct Tracked {
    body: Body,
    exchange: Rc<Exchange>,
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.exchange.flushing.set(true);
    }
}

impl hyper::body::Body for Tracked {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What the library reads and writes. A head that was read is kept too, until its request is begun: so one that is
/// half there can be carried over.
struct Plain(Rc<Exchange>);

impl Plain {
    fn hand_out(&self, out: &mut [u8]) -> usize {
        let Self(exchange) = self;
        let n = exchange.wire.hand_out(out);
        match exchange.unread.get() {
            Unread::Body(left) => exchange.unread.set(match exchange.forget_body(left, n) {
                0 => Unread::Kept,
                left => Unread::Body(left),
            }),
            Unread::Rest => exchange.wire.forget(n),
            Unread::Kept => {}
        }
        n
    }
}

impl AsyncRead for Plain {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
        let exchange = &self.0;
        let mut n = self.hand_out(out);
        if n == 0 {
            if exchange.wire.look(<[u8]>::len) > USUAL_HEAD && exchange.long.borrow().is_none() {
                let long = LongHead::take().ok_or_else(|| io::Error::other("too many long heads"))?;
                exchange.long.replace(Some(long));
            }
            if ready!(exchange.wire.poll_more(cx))? > 0 {
                n = self.hand_out(out);
            }
        }
        Poll::Ready(Ok(n))
    }
}

impl Plain {
    fn poll_drain(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = &self.0.wire;
        let before = wire.unsent();
        let drained = wire.poll_drain(cx);
        if wire.unsent() < before {
            self.0.host.progress();
        }
        drained
    }
}

impl AsyncWrite for Plain {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.0.wire.unsent() >= UNSENT {
            ready!(self.poll_drain(cx))?;
        }
        self.0.wire.queue(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What the library had is on the wire now, and can be carried over.
        if self.0.flushing.replace(false) && self.0.phase.get() == Phase::Answering {
            self.0.enter(if self.0.ending.get() { Phase::Ending } else { Phase::Idle });
        }
        self.poll_drain(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Poll::Ready(self.0.wire.end())
    }
}
