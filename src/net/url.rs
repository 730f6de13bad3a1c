//! The URL of a peer: scheme, host, port and path, nothing else.

use std::{fmt, net::IpAddr};

/// A gateway's URL: `ws://host:port/path`, or `wss://` by TLS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Url {
    tls: bool,
    host: String,
    port: u16,
    path: String,
}

/// Why a text is no URL of a gateway that can be called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadUrl(String);

impl fmt::Display for BadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: must be ws://<host>:<port>, or wss://<host>:<port> by TLS", self.0)
    }
}

impl Url {
    /// Reads `ws://…`, `wss://…`, `http://…` or `https://…`.
    ///
    /// # Errors
    /// [`BadUrl`].
    pub fn parse(text: &str) -> Result<Self, BadUrl> {
        let bad = || BadUrl(text.into());
        let (scheme, rest) = text.split_once("://").ok_or_else(bad)?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "ws" | "http" => false,
            "wss" | "https" => true,
            _ => return Err(bad()),
        };
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => {
                let (host, rest) = v6.split_once(']').ok_or_else(bad)?;
                (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(bad)?) })
            }
            None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        let fits = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
        if host.is_empty() || !host.chars().all(fits) || path.contains(char::is_whitespace) {
            return Err(bad());
        }
        let port = port
            .map_or(Some(if tls { 443 } else { 80 }), |p| p.parse().ok())
            .filter(|p| *p > 0)
            .ok_or_else(bad)?;
        let path = if path.starts_with('/') { path.into() } else { format!("/{path}") };
        Ok(Self { tls, host: host.into(), port, path })
    }

    /// Builds the URL of a gateway on this host's loopback.
    pub fn local(port: u16, tls: bool) -> Self {
        Self { tls, host: "127.0.0.1".into(), port, path: "/".into() }
    }

    /// The same with TLS, or without.
    pub fn other_scheme(&self) -> Self {
        Self { tls: !self.tls, ..self.clone() }
    }

    /// The host's name or address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether it asks for TLS.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Port, or the scheme's default.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path and query, as a request line holds them.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Host and port as the header `Host` holds them: without the scheme's own port.
    pub fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        match self.port == if self.tls { 443 } else { 80 } {
            true => host,
            false => format!("{host}:{}", self.port),
        }
    }

    /// Whether it names this host's loopback.
    pub fn is_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost")
            || self.host.parse().is_ok_and(|ip: IpAddr| ip.to_canonical().is_loopback())
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path == "/" { "" } else { &self.path };
        let scheme = if self.tls { "wss" } else { "ws" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}{path}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}{path}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (text, whole) in [
            ("ws://pi:18789", Ok("ws://pi:18789")),
            ("HTTP://127.0.0.1:1/gateway?x#token=y", Ok("ws://127.0.0.1:1/gateway?x")),
            ("ws://[::1]:2/", Ok("ws://[::1]:2")),
            ("ws://pi", Ok("ws://pi:80")),
            ("pi:18789", Err(BadUrl("pi:18789".into()))),
            ("ws://a@pi:1", Err(BadUrl("ws://a@pi:1".into()))),
            ("ws://pi:0", Err(BadUrl("ws://pi:0".into()))),
            ("wss://pi", Ok("wss://pi:443")),
            ("https://[::1]:3/x", Ok("wss://[::1]:3/x")),
        ] {
            assert_eq!(Url::parse(text).map(|u| u.to_string()), whole.map(String::from), "{text}");
        }
        let loopback = |text| Url::parse(text).is_ok_and(|u| u.is_loopback());
        assert!(loopback("ws://localhost:1") && loopback("ws://127.9.9.9:1") && loopback("ws://[::1]:1"));
        assert!(!loopback("ws://127.0.0.1.evil.example:1") && !loopback("ws://10.0.0.1:1"));
    }
}
