//! Join codes: `GET …/j/<code>` answers once with what a setup code holds, so that a node is paired with one line
//! (`npx openclaw connect <url>`).
//!
//! They are in memory alone, by their hashes: after a restart of the gateway another one is to be made. A code that is
//! unknown, used or too old is answered alike. It has 128 bits, so guesses are not counted.
//!
//! Source: OpenClaw's `docs/cli/connect.md`.

use super::problem;
use crate::{
    app::App,
    net::http::{Body, Call, Page},
    protocol::{TokenHash, base64url_encode},
};
use hyper::{
    Method, Response,
    header::{CACHE_CONTROL, HeaderValue},
};
use std::cell::RefCell;

/// Most codes kept; the oldest go first.
const MOST: usize = 32;
/// Random bytes of a code.
const BYTES: usize = 16;

/// The codes that were not used.
#[derive(Default)]
pub(crate) struct Joins(RefCell<Vec<Join>>);

struct Join {
    hash: TokenHash,
    /// What it stands for, JSON.
    payload: String,
    /// The end of its time, milliseconds of uptime.
    until_ms: u64,
}

impl Joins {
    /// Makes a code for `payload`.
    ///
    /// # Errors
    /// When the kernel has no randomness to give.
    pub(crate) fn add(
        &self,
        payload: String,
        now_ms: u64,
        until_ms: u64,
    ) -> Result<String, getrandom::Error> {
        let mut secret = [0; BYTES];
        getrandom::fill(&mut secret)?;
        let code = base64url_encode(&secret);
        let mut all = self.0.borrow_mut();
        all.retain(|join| now_ms < join.until_ms);
        let over = (all.len() + 1).saturating_sub(MOST);
        all.drain(..over);
        all.push(Join { hash: TokenHash::of(&code), payload, until_ms });
        Ok(code)
    }

    /// What a code stands for, the first time.
    fn take(&self, code: &str, now_ms: u64) -> Option<String> {
        let mut all = self.0.borrow_mut();
        all.retain(|join| now_ms < join.until_ms);
        let at = all.iter().position(|join| join.hash.matches(code))?;
        Some(all.remove(at).payload)
    }
}

/// The code in a path.
fn code(path: &str) -> Option<&str> {
    path.rsplit_once("/j/").map(|(_, code)| code)
}

/// The answer to a request for a code that is there.
pub(crate) fn found(app: &App, call: &Call) -> Option<Response<Body>> {
    let uri = &call.head.uri;
    let code = code(uri.path()).filter(|_| call.head.method == Method::GET && uri.query().is_none())?;
    let payload = app.joins.take(code, app.boot.clock.uptime_ms())?;
    Some(unkept(Page::json(200, &payload).into()))
}

/// The answer to a request for one that is not, if it is for one.
pub(super) fn missing(call: &Call) -> Option<Response<Body>> {
    code(call.head.uri.path()).filter(|code| code.len() == BYTES.div_ceil(3) * 4 - 2)?;
    let message = "there is no such join code, or it was used, or its time is over; make another one with \
                   `openclaw devices join-code`";
    Some(unkept(problem(404, "not_found", message)))
}

/// An answer that nobody keeps.
fn unkept(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_used_once_and_in_its_time() {
        let joins = Joins::default();
        let (one, two) = (joins.add("1".into(), 0, 10).unwrap(), joins.add("2".into(), 0, 20).unwrap());
        assert!(one.len() == 22 && one != two);
        assert_eq!(joins.take("", 5), None);
        assert_eq!(joins.take(&one, 5).as_deref(), Some("1"));
        assert_eq!(joins.take(&one, 5), None);
        assert_eq!(joins.take(&two, 20), None);
        let first = joins.add("first".into(), 30, 40).unwrap();
        (0..MOST).for_each(|_| drop(joins.add("more".into(), 30, 40).unwrap()));
        assert_eq!((joins.take(&first, 30), joins.0.borrow().len()), (None, MOST));
    }

    #[test]
    fn codes_in_paths() {
        for (path, expected) in [
            ("/j/abc", Some("abc")),
            ("/a/b/j/abc", Some("abc")),
            ("/j/", Some("")),
            ("/jabc", None),
            ("/", None),
        ] {
            assert_eq!(code(path), expected, "{path}");
        }
    }
}
