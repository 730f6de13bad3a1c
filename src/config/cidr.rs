//! Addresses and address ranges (CIDR), as `gateway.trustedProxies` lists them.

use std::fmt;
use std::net::IpAddr;

/// A range of addresses: `10.0.0.1`, `10.0.0.0/8`, `fd00::/8`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// Reads an address or a range. One that is mapped into IPv6 (`::ffff:10.0.0.0/104`) is the IPv4 range; `None`
    /// where its prefix is too short to be one, and where it is no range at all.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (written, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let written: IpAddr = written.parse().ok()?;
        let digits = |text: &&str| text.bytes().all(|b| b.is_ascii_digit());
        let prefix: u8 = match prefix {
            Some(prefix) => Some(prefix).filter(digits)?.parse().ok()?,
            None => width(written),
        };
        let address = written.to_canonical();
        let mapped = width(written) - width(address);
        let prefix = prefix.checked_sub(mapped)?;
        (prefix <= width(address)).then_some(Self { address, prefix })
    }

    /// Whether the range holds `address`, which may be an IPv4 address mapped into IPv6.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let unused = u32::from(width(self.address) - self.prefix);
        let top = |ip: IpAddr| bits(ip).checked_shr(unused).unwrap_or(0);
        address.is_ipv4() == self.address.is_ipv4() && top(address) == top(self.address)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h31_mapped_ranges_are_ipv4_ranges() {
        // the range, its usual form, an address within, one outside
        let rows = [
            ("::ffff:10.0.0.0/104", "10.0.0.0/8", "10.9.8.7", "11.0.0.1"),
            ("::ffff:a00:0/104", "10.0.0.0/8", "::ffff:10.9.8.7", "::ffff:11.0.0.1"),
            ("::FFFF:192.0.2.1", "192.0.2.1/32", "192.0.2.1", "192.0.2.2"),
            ("::ffff:192.0.2.1/128", "192.0.2.1/32", "::ffff:192.0.2.1", "192.0.2.2"),
            ("::ffff:0:0/96", "0.0.0.0/0", "203.0.113.9", "fd00::1"),
            ("10.1.2.3/8", "10.1.2.3/8", "::ffff:10.0.0.1", "::10.0.0.1"),
            ("fd00::/8", "fd00::/8", "fd12::1", "10.0.0.1"),
            ("::/0", "::/0", "2001:db8::1", "10.0.0.1"),
        ];
        for (text, usual, within, outside) in rows {
            let range = Cidr::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(range.to_string(), usual, "{text}");
            assert!(range.contains(within.parse().unwrap()), "{text}: {within}");
            assert!(!range.contains(outside.parse().unwrap()), "{text}: {outside}");
        }
        // A mapped address with the prefix of its IPv4 form would hold every address there is.
        for text in [
            "10.0.0",
            "10.0.0.0/-1",
            "::ffff:10.0.0.0/8",
            "::ffff:0:0/95",
            "10.0.0.0/+8",
            "10.0.0.0/33",
            "10.0.0.0/",
            "::/129",
            "a/8",
        ] {
            assert_eq!(Cidr::parse(text), None, "{text}");
        }
    }
}
