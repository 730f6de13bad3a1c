//! One request, passed on, and its answer, passed back.

use super::{access::Kind, caller::authorise_headers, headers};
use crate::{
    app::App,
    config::Upstream,
    net::http::{AsItIs, Call, Page, Upload, UploadError, route},
    outbound::{
        Body, DialError, Limits, RequestError, Url,
        http::{Answer, Connection},
    },
};
use hyper::{
    Method, Request, Response, StatusCode, Uri,
    header::{CONNECTION, CONTENT_LENGTH, HeaderValue, RETRY_AFTER},
};
use smol::stream;
use std::{
    cell::Cell,
    future::Future,
    io,
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

/// Most bytes of a request's body.
pub(crate) const BODY: usize = 25 << 20;
/// Limits of a connection: an agent may think for long before it answers, and the client may leave when it likes.
pub(super) const LIMITS: Limits = Limits { connect: Duration::from_secs(5), idle: None, deadline: None };

/// Passes a request on to the gateway behind this one, and its answer back.
pub(crate) fn forward(app: Rc<App>, call: Call) -> route::Answer {
    Box::pin(async move {
        let bodyless = call.body.declared() == Some(0);
        let upload = Rc::new(Sent { done: Cell::new(bodyless), failed: Cell::new(None) });
        let mut response = match exchange(&app, call, &upload).await {
            Ok(response) => response,
            Err(response) => match upload.failed.take() {
                Some(e) => return Err(e),
                None => response,
            },
        };
        if !upload.done.get() {
            // Its body is nobody's to read, or not read yet.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    })
}

/// Progress of a request's body on its way up.
struct Sent {
    done: Cell<bool>,
    failed: Cell<Option<UploadError>>,
}

async fn exchange(app: &Rc<App>, call: Call, sent: &Rc<Sent>) -> Result<Response<Body>, Response<Body>> {
    let Call { head, body, wire } = call;
    let settings = app.settings();
    let Some(upstream) = &settings.upstream else {
        return Err(Page::text(404, "no such page\n").into());
    };
    if matches!(head.method, Method::CONNECT | Method::TRACE) {
        return Err(Page::text(405, "another method here\n").into());
    }
    let reads = matches!(head.method, Method::GET | Method::HEAD);
    let kind = if reads { Kind::Read } else { Kind::Write };
    let mut headers = head.headers;
    authorise_headers(app, &settings, &wire, kind, &head.uri, &mut headers).map_err(Response::from)?;
    headers::of_a_client(&mut headers);
    let repeatable = reads && body.declared() == Some(0);
    if repeatable {
        headers.remove(CONTENT_LENGTH);
    } else {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let target = Uri::try_from(target).map_err(|_| Page::text(400, "this path cannot be passed on\n"))?;
    let request = |body| {
        let mut request = Request::new(body);
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = target.clone();
        *request.headers_mut() = headers.clone();
        request
    };
    if repeatable && let Some(idle) = app.pool.take(&upstream.url) {
        match idle.send(request(Body::Empty)).await {
            Ok(answer) => return Ok(pass_back(app, &upstream.url, repeatable, answer)),
            // It was closed meanwhile. Nothing of an answer came, and to ask again does no harm.
            Err(e) => log::debug!("http: a connection to the gateway behind this one was stale: {e}"),
        }
    }
    let up = if body.declared() == Some(0) { Body::Empty } else { pass_up(body, sent.clone()) };
    let answer = send(upstream, request(up)).await.map_err(away)?;
    Ok(pass_back(app, &upstream.url, repeatable, answer))
}

async fn send(upstream: &Upstream, request: Request<Body>) -> Result<Answer, RequestError> {
    upstream.open().map_err(RequestError::Io)?;
    Connection::open(&upstream.url, &upstream.trust, &LIMITS).await?.send(request).await
}

/// The body of a request, as it comes.
fn pass_up(body: Upload, sent: Rc<Sent>) -> Body {
    Body::stream(stream::try_unfold((body, 0), move |(mut body, before)| {
        let sent = sent.clone();
        async move {
            match body.chunk().await {
                Ok(Some(chunk)) => {
                    let read = before + chunk.len() as u64;
                    sent.done.set(body.declared() == Some(read));
                    Ok(Some((chunk, (body, read))))
                }
                Ok(None) => {
                    sent.done.set(true);
                    Ok(None)
                }
                Err(e) => {
                    sent.failed.set(Some(e));
                    Err(io::Error::other(e.to_string()))
                }
            }
        }
    }))
}

/// The way back of an answer.
struct Back {
    app: Rc<App>,
    url: Url,
    /// Whether the connection is kept for another request.
    keep: bool,
}

impl Back {
    /// Keeps the connection of an answer that was read to its end. Nothing is waited for: it takes another request at
    /// once, or it is not worth it.
    fn free(self, answer: Answer) {
        let mut cx = Context::from_waker(Waker::noop());
        if self.keep
            && let Poll::Ready(Some(connection)) = pin!(answer.into_connection()).as_mut().poll(&mut cx)
        {
            self.app.pool.give(&self.url, connection);
        }
    }
}

/// An answer as it comes. With its last chunk the connection is free for another request, if it is to be kept.
fn pass_back(app: &Rc<App>, url: &Url, keep: bool, mut answer: Answer) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = answer.status;
    *response.headers_mut() = std::mem::take(&mut answer.headers);
    response.extensions_mut().insert(AsItIs);
    headers::to_the_end(response.headers_mut());
    if matches!(answer.status, StatusCode::NOT_MODIFIED | StatusCode::NO_CONTENT) {
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    let back = Back { app: app.clone(), url: url.clone(), keep };
    if answer.is_done() {
        back.free(answer);
        return response;
    }
    let chunks = stream::try_unfold(Some((answer, back)), |state| async move {
        let Some((mut answer, back)) = state else { return Ok(None) };
        match answer.chunk().await {
            Ok(Some(chunk)) if answer.is_done() => {
                back.free(answer);
                Ok(Some((chunk, None)))
            }
            Ok(Some(chunk)) => Ok(Some((chunk, Some((answer, back))))),
            Ok(None) => {
                back.free(answer);
                Ok(None)
            }
            Err(e) => Err(io::Error::other(e.to_string())),
        }
    });
    *response.body_mut() = Body::stream(chunks);
    response
}

/// The answer while the gateway behind this one is away.
fn away(e: RequestError) -> Response<Body> {
    let (status, text) = unanswered(&e);
    let mut response = Response::from(Page::text(status, text));
    response.headers_mut().insert(RETRY_AFTER, 1.into());
    response
}

/// Status and text for a request that the gateway behind this one did not answer.
pub(super) fn unanswered(e: &RequestError) -> (u16, String) {
    let status = match e {
        RequestError::Dial(DialError::Refused(_) | DialError::Slow(..)) => 503,
        _ => 502,
    };
    (status, format!("the gateway behind this one does not answer: {e}\nAsk again in 1 s.\n"))
}
