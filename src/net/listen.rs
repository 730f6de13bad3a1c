//! Listening sockets. Loopback is always among them, whatever else is bound, and a bind mode never
//! widens by itself: where its address is missing, loopback is what is left.

use crate::reactor::Async;
use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
};

/// Where to listen beside loopback.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bind {
    /// Nowhere.
    Loopback,
    /// On every address.
    Lan,
    /// On this one.
    Address(IpAddr),
}

/// Why nothing listens.
#[derive(Debug)]
pub enum ListenError {
    /// Another process has the port.
    InUse(u16),
    /// The system refuses.
    Io(SocketAddr, io::Error),
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(port) => write!(
                f,
                "port {port} is in use, probably by another gateway. See who: ss -ltnp 'sport = :{port}'. \
                 Or choose another: barnacle gateway --port {}",
                if *port < u16::MAX { port + 1 } else { 18789 }
            ),
            Self::Io(at, e) => write!(f, "cannot listen on {at}: {e}"),
        }
    }
}

impl std::error::Error for ListenError {}

/// The sockets that a running gateway listens on.
pub trait Doors {
    /// Listens where `bind` and `port` say: the new sockets first, then those that are not wanted any more
    /// are closed. Connections stay. Returns the port.
    ///
    /// # Errors
    /// [`ListenError`]; everything is then as it was.
    fn open(&self, bind: Bind, port: u16) -> Result<u16, ListenError>;
}

/// Opens the sockets: both loopbacks (one of which may be missing), and what `bind` adds.
///
/// # Errors
/// [`ListenError`] when not even loopback can be had.
pub fn listen(bind: Bind, port: u16) -> Result<Vec<Async<TcpListener>>, ListenError> {
    let mut wanted: Vec<IpAddr> = match bind {
        // A wildcard socket has the loopbacks in it.
        Bind::Lan => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        Bind::Loopback => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        Bind::Address(ip) => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into(), ip],
    };
    wanted.dedup();
    let mut port = port;
    let mut sockets: Vec<Async<TcpListener>> = Vec::new();
    let mut first_error = None;
    for ip in wanted {
        let at = SocketAddr::new(ip, port);
        match open(at) {
            Ok(socket) => {
                // With port 0 the kernel chooses; the other address follows.
                port = socket.get_ref().local_addr().map_or(port, |a| a.port());
                sockets.push(socket);
            }
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => return Err(ListenError::InUse(port)),
            Err(e) => {
                log::warn!("not listening on {at}: {e}");
                first_error.get_or_insert(ListenError::Io(at, e));
            }
        }
    }
    match (sockets.is_empty(), first_error) {
        (true, Some(e)) => Err(e),
        _ => Ok(sockets),
    }
}

/// A listening socket with a backlog for a reconnect storm; IPv6 sockets take IPv6 only, so that both
/// families can be bound side by side.
fn open(at: SocketAddr) -> io::Result<Async<TcpListener>> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
    let family = if at.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let fd = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    sockopt::set_socket_reuseaddr(&fd, true)?;
    if at.is_ipv6() {
        sockopt::set_ipv6_v6only(&fd, true)?;
    }
    bind(&fd, &at)?;
    listen(&fd, 4096)?;
    Async::new(TcpListener::from(fd))
}
