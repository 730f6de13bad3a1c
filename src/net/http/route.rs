//! Routes of plain HTTP: one row for each method and path.

use super::{Body, Upload, UploadError};
use crate::net::Wire;
use hyper::{Method, Response, StatusCode, header, http::request::Parts};
use nanoserde::SerJson;
use std::{future::Future, pin::Pin, rc::Rc, time::Duration};

/// A route: method, path and handler, for a gateway of type `C`.
pub struct Route<C> {
    /// The method; `HEAD` is answered where `GET` is.
    pub method: Method,
    /// The path, without a query.
    pub path: &'static str,
    /// Most bytes of a request's body; a larger one is answered 413. A page reads none.
    pub body: usize,
    /// Time-out of the body, plus a second for each KiB of it; a slower one is answered 408.
    pub time: Duration,
    /// Handler that makes the answer.
    pub handler: Handler<C>,
}

/// Handler of a route.
pub enum Handler<C> {
    /// A page that is there at once.
    Page(fn(&C) -> Page),
    /// A call that may read the request's body, wait, and stream its answer.
    Call(fn(Rc<C>, Call) -> Answer),
}

/// Routes of a gateway of type `C`, as they are at the time of a request.
pub struct Routes<C: 'static> {
    /// The rows, by method and path.
    pub rows: &'static [Route<C>],
    /// The route of every other path, with any method; its own is not looked at.
    pub rest: Option<&'static Route<C>>,
}

/// A request to a [`Handler::Call`].
pub struct Call {
    /// Head of the request.
    pub head: Parts,
    /// Body of the request, unread.
    pub body: Upload,
    /// Connection that it came over.
    pub wire: Rc<Wire>,
}

/// Marks an answer, among its extensions, that is another server's: no header is put in its place.
#[derive(Clone, Copy)]
pub struct AsItIs;

/// The answer of a call; an error of the body is answered for it.
pub type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, UploadError>>>>;

/// A page that is there at once.
pub struct Page {
    /// Status code.
    pub status: u16,
    /// Value of `Content-Type`.
    pub kind: &'static str,
    /// Text of the body.
    pub body: String,
}

impl Page {
    /// Makes a JSON page.
    pub fn json(status: u16, body: &str) -> Self {
        Self { status, kind: "application/json", body: body.into() }
    }

    /// Makes a page that says what is wrong, in the shape of OpenClaw's and OpenAI's.
    pub fn problem(status: u16, kind: &str, message: &str) -> Self {
        let message = message.to_owned().serialize_json();
        Self::json(status, &format!(r#"{{"error":{{"message":{message},"type":"{kind}"}}}}"#))
    }

    /// Makes a plain-text page.
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self { status, kind: "text/plain; charset=utf-8", body: body.into() }
    }
}

impl From<Page> for Response<Body> {
    fn from(page: Page) -> Self {
        let mut response = Self::new(page.body.into());
        *response.status_mut() = StatusCode::from_u16(page.status).unwrap_or(StatusCode::OK);
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(page.kind));
        response
    }
}

impl<C> Route<C> {
    /// Makes the route of a page at `path`.
    pub const fn page(path: &'static str, page: fn(&C) -> Page) -> Self {
        Self { method: Method::GET, path, body: 0, time: Duration::ZERO, handler: Handler::Page(page) }
    }

    /// The row of `routes` for a method and path; where there is none, whether one has the path.
    fn find<'r>(routes: &'r [Self], method: &Method, path: &str) -> Result<&'r Self, bool> {
        let wanted = if *method == Method::HEAD { &Method::GET } else { method };
        let here = || routes.iter().filter(|route| route.path == path);
        here().find(|route| route.method == *wanted).ok_or_else(|| here().next().is_some())
    }
}

impl<C> Routes<C> {
    /// The route for a method and path; where there is none, whether a row has the path.
    pub(super) fn find(&self, method: &Method, path: &str) -> Result<&'static Route<C>, bool> {
        match (Route::find(self.rows, method, path), self.rest) {
            (Err(false), Some(rest)) => Ok(rest),
            (found, _) => found,
        }
    }
}
