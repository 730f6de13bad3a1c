//! The gateway behind this one: where it is, whom to trust there, and how long requests wait for it.

use super::super::Secret;
use crate::{
    net::url::{BadUrl, Url},
    tls::Trust,
};
use std::time::Duration;

/// Settings of the gateway behind this one.
#[derive(Clone, PartialEq, Debug)]
pub struct Upstream {
    /// Where it listens: `ws://` on this host, `wss://` elsewhere.
    pub url: Url,
    /// Certificates that are believed, where it speaks TLS.
    pub trust: Trust,
    /// The shared token for it; `None` for the shared secret of the same `openclaw.json`.
    pub token: Option<Secret>,
    /// Time for which a request waits while it is away.
    pub wait: Duration,
    /// Most requests of one client that wait for it.
    pub waiting: usize,
    /// Most bytes of one client's requests that wait for it.
    pub waiting_bytes: usize,
}

impl Upstream {
    /// Time for which a request waits without a key that says otherwise.
    pub const WAIT: Duration = Duration::from_secs(120);

    /// The gateway at `url`, all else at its default.
    ///
    /// # Errors
    /// [`BadUrl`].
    pub fn at(url: &str) -> Result<Self, BadUrl> {
        Ok(Self {
            url: Url::parse(url)?,
            trust: Trust::Authorities,
            token: None,
            wait: Self::WAIT,
            waiting: 256,
            waiting_bytes: 4 << 20,
        })
    }

    /// Whether it runs on this host.
    pub fn is_local(&self) -> bool {
        let host = self.url.host();
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}
