//! The addresses of this host, as they are now: one of DHCP, a VPN or a Wi-Fi that is not up yet may come later.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

/// Whether this host has the address: then what it sends there, it sends from there. That a socket can be
/// bound to it says less: to a multicast group it can, and with `ip_nonlocal_bind` to any address.
pub fn is_own(ip: IpAddr) -> bool {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, getsockname, socket_with};
    let family = if ip.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let own = || {
        let socket = socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        connect(&socket, &SocketAddr::new(ip, 9))?;
        SocketAddr::try_from(getsockname(&socket)?)
    };
    own().is_ok_and(|own| own.ip() == ip)
}

/// The address that other hosts of its network may reach this one at.
pub fn in_network() -> Option<IpAddr> {
    towards([192, 0, 2, 1])
}

/// This host's address in its tailnet: Tailscale's resolver is always 100.100.100.100, and hosts are in
/// 100.64.0.0/10 (RFC 6598).
pub fn in_tailnet() -> Option<IpAddr> {
    towards([100, 100, 100, 100]).filter(|ip| match ip {
        IpAddr::V4(v4) => v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64,
        IpAddr::V6(_) => false,
    })
}

/// The address this host would use towards `ip`; nothing is sent.
fn towards(ip: [u8; 4]) -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::from(ip), 9)).ok()?;
    socket.local_addr().ok().map(|a| a.ip()).filter(|ip| !ip.is_unspecified() && !ip.is_loopback())
}
