//! Listening sockets. Loopback is always among them, whatever else is bound, and a bind mode never
//! widens by itself: where its address is missing, loopback is what is left until it comes.

use super::{local_addr, port_owner::holder};
use crate::reactor::Async;
use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

/// Time to wait at the start for a port that is in use.
const PATIENCE: Duration = Duration::from_secs(1);
/// Interval of the attempts meanwhile.
const AGAIN: Duration = Duration::from_millis(50);

/// Addresses to listen on beside loopback.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bind {
    /// Loopback addresses only.
    Loopback,
    /// Every address of the host.
    Lan,
    /// This address, whether the host has it now or not.
    Address(IpAddr),
    /// The address in the tailnet, which is known once the host has it.
    Tailnet,
}

/// Reasons why no socket listens. To show one may take a look at every process: not for the main thread.
#[derive(Debug)]
pub enum ListenError {
    /// Another process has the port.
    InUse(u16),
    /// Error of the system for this address.
    Io(SocketAddr, io::Error),
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(port) => {
                let other = if *port < u16::MAX { port + 1 } else { 18789 };
                match holder(*port) {
                    Some(holder) => write!(f, "port {port} is in use by {holder}. ")?,
                    None => write!(f, "port {port} is in use. See who: ss -ltnp 'sport = :{port}'. ")?,
                }
                write!(f, "Stop that, or choose another: barnacle gateway --port {other}")
            }
            Self::Io(at, e) => write!(f, "cannot listen on {at}: {e}"),
        }
    }
}

impl std::error::Error for ListenError {}

/// Lists the addresses of a gateway on `bind` and `port`: both loopbacks (one of which may be missing), and those that
/// `bind` adds. With port 0 the kernel chooses.
pub fn addresses(bind: Bind, port: u16) -> Vec<SocketAddr> {
    let (mut ips, more): (Vec<IpAddr>, _) = match bind {
        // A wildcard socket has the loopbacks in it.
        Bind::Lan => (vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()], None),
        Bind::Loopback => (loopbacks(), None),
        Bind::Address(ip) => (loopbacks(), Some(ip)),
        Bind::Tailnet => (loopbacks(), local_addr::in_tailnet()),
    };
    ips.extend(more);
    if ips[..2].contains(ips.last().unwrap_or(&ips[0])) {
        ips.truncate(2);
    }
    ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
}

fn loopbacks() -> Vec<IpAddr> {
    vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
}

/// Opens the sockets of a gateway that starts. One that just ended may have the port for a moment yet, so
/// it is waited for, [`PATIENCE`] long.
///
/// # Errors
/// [`ListenError`] when not even loopback can be had.
pub fn listen(bind: Bind, port: u16) -> Result<Vec<Async<TcpListener>>, ListenError> {
    let began = Instant::now();
    loop {
        match open_all(&addresses(bind, port), false) {
            Err(ListenError::InUse(_)) if began.elapsed() < PATIENCE => std::thread::sleep(AGAIN),
            Err(e) => return Err(e),
            Ok(Opened { sockets, mut missing }) => {
                missing.iter().for_each(|e| log::warn!("{e}"));
                return if sockets.is_empty() { Err(missing.remove(0)) } else { Ok(sockets) };
            }
        }
    }
}

/// Sockets that could be opened, and addresses this host lacks.
pub struct Opened {
    /// Sockets that listen.
    pub sockets: Vec<Async<TcpListener>>,
    /// Why the others are not there.
    pub missing: Vec<ListenError>,
}

/// Opens a socket at each of `wanted`. `beside`: a socket of this process may listen on the same port of
/// another address.
///
/// # Errors
/// [`ListenError::InUse`]: a port that somebody has is not to be had on one address only. Nothing is open
/// then.
pub fn open_all(wanted: &[SocketAddr], beside: bool) -> Result<Opened, ListenError> {
    let mut chosen = None;
    let mut opened = Opened { sockets: Vec::new(), missing: Vec::new() };
    for at in wanted {
        // With port 0 the kernel chooses; the other addresses follow.
        let at = SocketAddr::new(at.ip(), chosen.unwrap_or(at.port()));
        match open(at, beside) {
            Ok(socket) => {
                chosen = socket.get_ref().local_addr().ok().map(|a| a.port());
                opened.sockets.push(socket);
            }
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => return Err(ListenError::InUse(at.port())),
            Err(e) => opened.missing.push(ListenError::Io(at, e)),
        }
    }
    Ok(opened)
}

/// A listening socket with a backlog for a reconnect storm; IPv6 sockets take IPv6 only, so that both
/// families can be bound side by side.
fn open(at: SocketAddr, beside: bool) -> io::Result<Async<TcpListener>> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
    let family = if at.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let fd = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    sockopt::set_socket_reuseaddr(&fd, true)?;
    if beside {
        sockopt::set_socket_reuseport(&fd, true)?;
    }
    if at.is_ipv6() {
        sockopt::set_ipv6_v6only(&fd, true)?;
    }
    // An address that comes later, or goes and comes back, is served as it comes. IPv6 heeds this option, too,
    // and did before it had one of its own.
    let _ = sockopt::set_ip_freebind(&fd, true);
    // Inherited by every connection that comes in by it.
    sockopt::set_tcp_nodelay(&fd, true)?;
    bind(&fd, &at)?;
    listen(&fd, 4096)?;
    Async::new(TcpListener::from(fd))
}

/// A descriptor that somebody else opened, if it is a TCP socket that listens.
///
/// # Errors
/// What it is instead.
pub fn taken(fd: OwnedFd) -> io::Result<Async<TcpListener>> {
    use rustix::net::{AddressFamily, SocketType, sockopt};
    let tcp = matches!(sockopt::socket_domain(&fd)?, AddressFamily::INET | AddressFamily::INET6)
        && sockopt::socket_type(&fd)? == SocketType::STREAM;
    if !tcp || !sockopt::socket_acceptconn(&fd)? {
        return Err(io::Error::other("it is no TCP socket that listens (ListenStream=<address>:<port>)"));
    }
    sockopt::set_tcp_nodelay(&fd, true)?;
    Async::new(TcpListener::from(fd))
}

/// Whether a socket on all addresses of IPv6 takes those of IPv4, too.
pub fn is_dual(socket: &TcpListener) -> bool {
    socket.local_addr().is_ok_and(|at| at.is_ipv6()) && rustix::net::sockopt::ipv6_v6only(socket) == Ok(false)
}

/// Lets (or no longer lets) another socket of this user listen beside this one: a wildcard and an address
/// of the same port are in each other's way otherwise.
///
/// # Errors
/// The system's.
pub fn share(socket: &TcpListener, shared: bool) -> io::Result<()> {
    Ok(rustix::net::sockopt::set_socket_reuseport(socket, shared)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_in_is_answered_without_delay() -> io::Result<()> {
        for ours in [true, false] {
            let socket = match ours {
                true => open((Ipv4Addr::LOCALHOST, 0).into(), false)?,
                false => taken(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.into())?,
            };
            let _client = std::net::TcpStream::connect(socket.get_ref().local_addr()?)?;
            let (accepted, _) = socket.accept_now()?;
            assert!(accepted.get_ref().nodelay()?, "ours: {ours}");
        }
        Ok(())
    }
}
