//! The source that a budget charges: an address, a network, this host, or a device.

use crate::protocol::DeviceId;
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// The source of a connection. Whoever has one address of an IPv6 network has all of its last 64 bits, so a network of
/// 64 bits is one source.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Source {
    /// This host, including peers behind a proxy on it.
    Loopback,
    /// One IPv4 address.
    V4([u8; 4]),
    /// One IPv6 network of 64 bits.
    V6([u8; 8]),
    /// A device whose signature was verified.
    Device(DeviceId),
}

impl Source {
    /// The source that the address `ip` belongs to.
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            ip if ip.is_loopback() => Self::Loopback,
            IpAddr::V4(ip) => Self::V4(ip.octets()),
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, g, h, ..] = ip.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback => f.write_str("this host"),
            Self::V4(ip) => Ipv4Addr::from(*ip).fmt(f),
            Self::V6([a, b, c, d, e, g, h, i]) => {
                let ip = [*a, *b, *c, *d, *e, *g, *h, *i, 0, 0, 0, 0, 0, 0, 0, 0];
                write!(f, "{}/64", Ipv6Addr::from(ip))
            }
            Self::Device(id) => write!(f, "device {}", id.short()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_their_sources() {
        let rows = [
            ("127.0.0.1", "this host"),
            ("127.9.9.9", "this host"),
            ("::1", "this host"),
            ("::ffff:127.0.0.1", "this host"),
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2::3", "2001:db8:1:2::/64"),
            ("2001:db8:1:2:ffff::9", "2001:db8:1:2::/64"),
            ("2001:db8:1:3::3", "2001:db8:1:3::/64"),
        ];
        for (ip, source) in rows {
            assert_eq!(Source::of(ip.parse().unwrap()).to_string(), source, "{ip}");
        }
    }
}
