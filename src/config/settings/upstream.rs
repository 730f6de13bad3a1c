//! The gateway behind this one: where it is, whom to trust there, and how long requests wait for it.

use super::super::Secret;
use crate::{
    net::url::{BadUrl, Url},
    protocol::{Scope, Scopes},
    tls::Trust,
};
use std::{fmt, io, time::Duration};

/// Settings of the gateway behind this one.
#[derive(Clone, PartialEq, Debug)]
pub struct Upstream {
    /// Where it listens: `ws://` on this host, `wss://` elsewhere.
    pub url: Url,
    /// Certificates that are believed, where it speaks TLS.
    pub trust: Trust,
    /// The shared token for it; without one, on this host the shared secret of the same `openclaw.json`, and none for
    /// another host.
    pub token: Option<Secret>,
    /// Scopes that this gateway asks for where it is a device of its own; with `operator.read` always.
    pub scopes: Scopes,
    /// Why no connection is made to it: its token or whom to trust cannot be known. Requests wait.
    pub closed: Option<String>,
    /// Time for which a request waits while it is away.
    pub wait: Duration,
    /// Most requests of one client that wait for it.
    pub waiting: usize,
    /// Most bytes of one client's requests that wait for it.
    pub waiting_bytes: usize,
    /// Roots of further paths whose WebSockets are its plugins'.
    pub sockets: Vec<String>,
}

/// Why a text is no URL of a gateway to stand in front of. Nothing of a secret in it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BadUpstream {
    /// It is no URL of a gateway.
    NoUrl(String),
    /// It leads to another host without TLS.
    InTheClear(String),
}

impl BadUpstream {
    /// The URLs that are accepted.
    pub(crate) const EXPECTED: &str =
        "ws://127.0.0.1:<port> for a gateway on this host, or wss://<host>:<port> for one elsewhere";

    /// What was given, as a message has it after "is".
    pub(crate) fn found(&self) -> String {
        match self {
            Self::NoUrl(shown) => format!("{shown:?}, no URL of a gateway"),
            Self::InTheClear(shown) => {
                format!(
                    "{shown:?}, which would send credentials to another host in the clear, without wss://"
                )
            }
        }
    }
}

impl fmt::Display for BadUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "is {}, must be {}", self.found(), Self::EXPECTED)
    }
}

impl std::error::Error for BadUpstream {}

/// Reads the URL of a gateway to stand in front of.
///
/// # Errors
/// [`BadUpstream`].
pub(crate) fn upstream_url(text: &str) -> Result<Url, BadUpstream> {
    let url = Url::parse(text).map_err(|_: BadUrl| BadUpstream::NoUrl(shown(text)))?;
    if url.is_tls() || url.is_loopback() { Ok(url) } else { Err(BadUpstream::InTheClear(shown(text))) }
}

/// The URL without what may hold a secret: its user, its query.
fn shown(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = text.split_once("://").map_or(("", text), |(scheme, rest)| (scheme, rest));
    let rest = rest.rsplit_once('@').map_or(rest.to_owned(), |(_, host)| format!("…@{host}"));
    if scheme.is_empty() { rest } else { format!("{scheme}://{rest}") }
}

impl Upstream {
    /// Time for which a request waits without a key that says otherwise.
    pub const WAIT: Duration = Duration::from_secs(120);
    /// Requests of one client that wait without a key that says otherwise.
    pub const WAITING: usize = 256;
    /// Bytes of them.
    pub const WAITING_BYTES: usize = 4 << 20;

    /// The gateway at `url`, all else at its default.
    ///
    /// # Errors
    /// [`BadUpstream`].
    pub fn at(url: &str) -> Result<Self, BadUpstream> {
        Ok(Self {
            url: upstream_url(url)?,
            trust: Trust::Authorities,
            token: None,
            scopes: Scope::ALL.into_iter().collect(),
            closed: None,
            wait: Self::WAIT,
            waiting: Self::WAITING,
            waiting_bytes: Self::WAITING_BYTES,
            sockets: Vec::new(),
        })
    }

    /// Checks that connections to it may be made.
    ///
    /// # Errors
    /// Why not: [`Upstream::closed`].
    pub(crate) fn open(&self) -> io::Result<()> {
        self.closed.clone().map_or(Ok(()), |why| Err(io::Error::other(why)))
    }

    /// Whether both are reached in the same way, so that connections to one are connections to the other.
    pub fn is_same_peer(a: Option<&Self>, b: Option<&Self>) -> bool {
        match (a, b) {
            (Some(a), Some(b)) => a.is_dialled_as(b),
            (None, None) => true,
            _ => false,
        }
    }

    /// Whether credentials go to another host in the clear.
    pub(crate) fn is_in_the_clear(&self) -> bool {
        !self.url.is_tls() && !self.is_local()
    }

    /// Whether it runs on this host.
    pub fn is_local(&self) -> bool {
        self.url.is_loopback()
    }

    /// Whether connections to it are made as those to `other` are.
    pub fn is_dialled_as(&self, other: &Self) -> bool {
        (&self.url, &self.trust, &self.token, self.scopes, &self.closed)
            == (&other.url, &other.trust, &other.token, other.scopes, &other.closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_an_upstream() {
        for text in ["ws://127.0.0.1:18790", "ws://localhost:1", "ws://[::1]:2", "wss://pi.example:3/x"] {
            assert!(Upstream::at(text).is_ok(), "{text}");
        }
        for (text, shown) in [
            ("ws://10.0.0.1:1?token=abc", "\"ws://10.0.0.1:1\", which"),
            ("http://pi:1", "wss://"),
            ("ws://me:word@pi:1", "\"ws://…@pi:1\", no URL"),
            ("127.0.0.1:1", "must be ws://127.0.0.1:<port>"),
        ] {
            let error = Upstream::at(text).map_err(|e| e.to_string()).unwrap_err();
            assert!(error.contains(shown) && !error.contains("abc") && !error.contains("word@"), "{error}");
        }
    }
}
