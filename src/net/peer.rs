//! The peer of a connection: its address, whether it is local, and the page's origin if it is a browser.
//!
//! "Local" is a loopback address or one of this host's own, and no forwarding header that says the
//! request came through a proxy. With `gateway.trustedProxies` the address in the header counts.

use super::local_addr::is_own;
use nanoserde::{DeBin, SerBin};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Facts of an HTTP request that identify its sender.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// `Sec-WebSocket-Key`, if this is a WebSocket upgrade of version 13.
    pub websocket_key: Option<String>,
    /// The first of `Sec-WebSocket-Protocol`: a client that offers some leaves where none is taken.
    pub subprotocol: Option<String>,
    /// Value of `Origin`.
    pub origin: Option<String>,
    /// Value of `Host`.
    pub host: Option<String>,
    /// The addresses of `X-Forwarded-For`, of `X-Real-IP` and of `Forwarded` (RFC 7239), nearest last.
    pub forwarded: [Vec<String>; 3],
    /// Whether any header says that a proxy stands between.
    pub proxied: bool,
}

/// The other end of a connection.
#[derive(Clone, Debug, SerBin, DeBin)]
pub struct Peer {
    /// Address of the peer; behind a trusted proxy, of the client.
    #[nserde(proxy = "Written")]
    pub ip: IpAddr,
    /// Whether that is this host, speaking for itself.
    pub local: bool,
    /// Whether that is loopback, for the limiter.
    pub loopback: bool,
    /// Origin of the page, if the peer is a browser.
    pub origin: Option<String>,
    /// The host the page was asked from.
    pub host: Option<String>,
    /// Whether a proxy stands between.
    pub proxied: bool,
}

/// An address as plain data.
#[derive(SerBin, DeBin)]
pub struct Written(Vec<u8>);

impl From<&IpAddr> for Written {
    fn from(ip: &IpAddr) -> Self {
        Self(match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        })
    }
}

impl From<&Written> for IpAddr {
    /// Maps invalid text to no address.
    fn from(Written(bytes): &Written) -> Self {
        let v4 = || <[u8; 4]>::try_from(&bytes[..]).ok().map(IpAddr::from);
        let v6 = || <[u8; 16]>::try_from(&bytes[..]).ok().map(IpAddr::from);
        v4().or_else(v6).unwrap_or(Ipv4Addr::UNSPECIFIED.into())
    }
}

impl Peer {
    /// Judges a connection from `remote` to `own`, whose request began with `head`.
    pub fn new(
        remote: SocketAddr,
        own: impl Fn() -> Option<SocketAddr>,
        head: Head,
        trusted: impl Fn(IpAddr) -> bool,
    ) -> Self {
        let direct = remote.ip().to_canonical();
        let client = if head.proxied && trusted(direct) { named(&head, &trusted) } else { None };
        // What the kernel has to be asked for comes last.
        let here = |ip: IpAddr| own().is_some_and(|own| own.ip().to_canonical() == ip);
        let own_host = |ip: IpAddr| ip.is_loopback() || here(ip) || is_own(ip);
        let (ip, local) = match client {
            Some(ip) => (ip, own_host(ip)),
            None => (direct, !head.proxied && own_host(direct)),
        };
        Self {
            ip,
            local,
            loopback: local && ip.is_loopback(),
            origin: head.origin,
            host: head.host,
            proxied: head.proxied,
        }
    }

    /// Whether the page may speak: no page at all, a page of this very host and port, a loopback page
    /// of a local peer, or one that is listed. `*` lists all. Custom schemes compare as texts.
    pub fn origin_allowed(&self, listed: &[String], host_header_fallback: bool) -> bool {
        let Some(origin) = &self.origin else { return true };
        let origin = origin.trim().trim_end_matches('/').to_ascii_lowercase();
        if listed.iter().any(|l| l == "*" || l.trim().trim_end_matches('/').eq_ignore_ascii_case(&origin)) {
            return true;
        }
        let Some((scheme, authority)) = origin.split_once("://") else { return false };
        if !matches!(scheme, "http" | "https") {
            return false;
        }
        if self.local && is_loopback_host(authority) {
            return true;
        }
        // Without a proxy in between, the Host header is the address that was dialled; a page of another
        // site that had its name rebound to this address would show that name in both, hence only
        // addresses and, by the switch, names.
        self.host.as_ref().is_some_and(|host| {
            host.eq_ignore_ascii_case(authority) && (host_header_fallback || is_address(authority))
        })
    }
}

/// The nearest address that is no trusted proxy's. A proxy writes one kind of header and lets the others
/// through as the client sent them, so all kinds that are there have to agree; and what stands behind an
/// address that cannot be read is hearsay.
fn named(head: &Head, trusted: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let nearest = |chain: &Vec<String>| {
        let mut ips = chain.iter().rev().map(|a| address(a).map(|ip| ip.to_canonical()));
        ips.find(|ip| ip.is_none_or(|ip| !trusted(ip))).flatten()
    };
    let mut kinds = head.forwarded.iter().filter(|chain| !chain.is_empty()).map(nearest);
    let first = kinds.next()??;
    kinds.all(|other| other == Some(first)).then_some(first)
}

fn host_of(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(v6),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    }
}

fn is_address(authority: &str) -> bool {
    host_of(authority).parse::<IpAddr>().is_ok()
}

fn is_loopback_host(authority: &str) -> bool {
    let host = host_of(authority);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Reads an address as it stands in a forwarding header: bare, with a port, in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    text.parse().ok().or_else(|| host_of(text).parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(forwarded: &[&str]) -> Head {
        Head {
            forwarded: [forwarded.iter().map(|s| s.to_string()).collect(), Vec::new(), Vec::new()],
            proxied: !forwarded.is_empty(),
            ..Head::default()
        }
    }

    fn peer(remote: &str, head: &Head, trusted: &str) -> Peer {
        let at = |ip: &str| SocketAddr::new(ip.parse().unwrap_or_else(|_| panic!("{ip}")), 1);
        Peer::new(at(remote), || Some(at("127.0.0.1")), head.clone(), |ip| ip.to_string() == trusted)
    }

    #[test]
    fn local_is_this_host_speaking_for_itself() {
        assert!(peer("127.0.0.1", &head(&[]), "").local);
        assert!(peer("::1", &head(&[]), "").local);
        assert!(peer("::ffff:127.0.0.1", &head(&[]), "").local);
        assert!(!peer("192.0.2.9", &head(&[]), "").local);
        let other = peer("127.0.0.1", &head(&["192.0.2.9"]), "");
        assert!(!other.local && !other.loopback);
        assert_eq!(other.ip.to_string(), "127.0.0.1");
        let named = peer("127.0.0.1", &head(&["203.0.113.5", "192.0.2.9:4711"]), "127.0.0.1");
        assert_eq!((named.ip.to_string(), named.local), ("192.0.2.9".into(), false));
        assert!(peer("192.0.2.1", &head(&["127.0.0.1"]), "192.0.2.1").local);
    }

    #[test]
    fn no_client_writes_its_own_address() {
        let judge = |head: &Head| peer("192.0.2.1", head, "192.0.2.1");
        for forged in [1, 2] {
            let mut head = head(&["203.0.113.5"]);
            assert_eq!(judge(&head).ip.to_string(), "203.0.113.5");
            head.forwarded[forged] = vec!["127.0.0.1".into()];
            assert!(!judge(&head).local, "another kind of header, passed on by the proxy");
            head.forwarded[forged] = vec!["203.0.113.5".into()];
            assert_eq!(judge(&head).ip.to_string(), "203.0.113.5");
        }
        assert!(!judge(&head(&["127.0.0.1", "unknown"])).local, "behind an address that is kept secret");
        for not_ours in ["224.0.0.1", "0.0.0.0", "203.0.113.5"] {
            assert!(!is_own(not_ours.parse().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))), "{not_ours}");
        }
    }

    #[test]
    fn origins() {
        let mut p = peer("127.0.0.1", &head(&[]), "");
        for (origin, host, listed, allowed) in [
            (None, "", "", true),
            (Some("http://localhost:5173"), "127.0.0.1:18789", "", true),
            (Some("http://192.168.1.5:18789"), "192.168.1.5:18789", "", true),
            (Some("http://192.168.1.6:18789"), "192.168.1.5:18789", "", false),
            (Some("https://evil.example"), "evil.example", "", false),
            (Some("https://ui.example"), "127.0.0.1:18789", "https://ui.example/", true),
            (Some("tauri://localhost"), "127.0.0.1:18789", "tauri://localhost", true),
            (Some("tauri://localhost"), "127.0.0.1:18789", "", false),
            (Some("null"), "127.0.0.1:18789", "", false),
            (Some("https://any.example"), "127.0.0.1:18789", "*", true),
        ] {
            p.origin = origin.map(String::from);
            p.host = Some(host.into());
            assert_eq!(p.origin_allowed(&[listed.into()], false), allowed, "{origin:?} at {host}");
        }
        p.origin = Some("http://localhost:5173".into());
        p.local = false;
        assert!(!p.origin_allowed(&[], false));
    }
}
