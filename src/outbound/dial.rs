//! Opening a connection: the host's addresses, one of them by TCP, then TLS.

use super::{DialError, Limits, Stream, Trust, Url};
use crate::{
    reactor::{Async, Timer, on_worker},
    tls::{ClientSession, TlsError},
};
use smol::future;
use std::{
    future::{Future, poll_fn},
    io,
    net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs},
    pin::Pin,
    task::Poll,
    time::Duration,
};

/// Head start of one address before the next is tried beside it (RFC 8305 §5).
const STAGGER: Duration = Duration::from_millis(250);

/// Connects to the host of `url`, and speaks TLS if it asks for that: within `limits.connect`.
///
/// # Errors
/// [`DialError`].
pub async fn dial(url: &Url, trust: &Trust, limits: &Limits) -> Result<Stream, DialError> {
    let late = async {
        Timer::after(limits.connect).await;
        Err(DialError::Slow(url.authority(), limits.connect))
    };
    future::or(open(url, trust, limits), late).await
}

async fn open(url: &Url, trust: &Trust, limits: &Limits) -> Result<Stream, DialError> {
    let peer = url.authority();
    let tls = match url.is_tls() {
        false => None,
        true => {
            let (host, trust) = (url.host().to_owned(), trust.clone());
            let made = on_worker(move || ClientSession::new(&host, &trust)).await;
            Some(made.map_err(|e| DialError::Tls(peer.clone(), e))?)
        }
    };
    let addresses = resolve(url).await?;
    let socket = first(addresses).await.map_err(|e| match e.kind() {
        io::ErrorKind::ConnectionRefused => DialError::Refused(peer.clone()),
        _ => DialError::Unreachable(peer.clone(), e),
    })?;
    let _ = socket.get_ref().set_nodelay(true);
    let mut stream = Stream::new(socket, tls, limits);
    let shaken = poll_fn(|cx| stream.poll_handshake(cx)).await;
    shaken.map_err(|e| match TlsError::of(&e) {
        Some(why) => DialError::Tls(peer.clone(), why),
        None if e.kind() == io::ErrorKind::UnexpectedEof || e.kind() == io::ErrorKind::ConnectionReset => {
            DialError::Tls(peer.clone(), TlsError::Other("it closed the connection".into()))
        }
        None => DialError::Unreachable(peer, e),
    })?;
    Ok(stream)
}

/// Resolves the addresses of the host, in the order in which to try them.
async fn resolve(url: &Url) -> Result<Vec<SocketAddr>, DialError> {
    let (host, port) = (url.host().to_owned(), url.port());
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let found = on_worker(move || (host.as_str(), port).to_socket_addrs().map(|found| found.collect())).await;
    let found: Vec<SocketAddr> = found.map_err(|e| DialError::NoAddress(url.host().into(), e.to_string()))?;
    match found.is_empty() {
        true => Err(DialError::NoAddress(url.host().into(), "the name has no address".into())),
        false => Ok(interleaved(found)),
    }
}

/// The addresses with the two families in turn, beginning with the first one's, each family in its order (RFC 8305
/// §4).
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let six = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|at| at.is_ipv6() == six);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut ordered = Vec::with_capacity(first.len() + second.len());
    loop {
        let (a, b) = (first.next(), second.next());
        if a.is_none() && b.is_none() {
            return ordered;
        }
        ordered.extend(a);
        ordered.extend(b);
    }
}

/// The first connection that is made to one of `addresses`. The next one is tried when the one before has failed, or
/// has not answered for a while.
async fn first(addresses: Vec<SocketAddr>) -> io::Result<Async<TcpStream>> {
    type Attempt = Pin<Box<dyn Future<Output = io::Result<Async<TcpStream>>>>>;
    let mut left = addresses.into_iter();
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut stagger = Timer::after(Duration::ZERO);
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    poll_fn(|cx| {
        loop {
            let (mut failed, mut connected) = (false, None);
            attempts.retain_mut(|attempt| match connected.is_none().then(|| attempt.as_mut().poll(cx)) {
                Some(Poll::Ready(Ok(socket))) => {
                    connected = Some(socket);
                    false
                }
                Some(Poll::Ready(Err(e))) => {
                    // A refusal says more than an address that cannot be reached at all.
                    if last.kind() != io::ErrorKind::ConnectionRefused {
                        last = e;
                    }
                    failed = true;
                    false
                }
                _ => true,
            });
            if let Some(socket) = connected {
                return Poll::Ready(Ok(socket));
            }
            let due = failed || Pin::new(&mut stagger).poll(cx).is_ready();
            match left.as_slice().is_empty() {
                true if attempts.is_empty() => {
                    return Poll::Ready(Err(std::mem::replace(&mut last, io::ErrorKind::NotFound.into())));
                }
                false if due || attempts.is_empty() => {
                    attempts.extend(left.next().map(|at| Box::pin(Async::connect(at)) as Attempt));
                    stagger = Timer::after(STAGGER);
                }
                _ => return Poll::Pending,
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_alternate() {
        let at = |text: &&str| text.parse().unwrap_or_else(|_| panic!("{text}"));
        let ordered = |texts: &[&str]| interleaved(texts.iter().map(at).collect());
        let expect = |texts: &[&str]| texts.iter().map(at).collect::<Vec<SocketAddr>>();
        assert_eq!(
            ordered(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"]),
            expect(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"])
        );
        assert_eq!(ordered(&["1.1.1.1:1", "[::1]:1"]), expect(&["1.1.1.1:1", "[::1]:1"]));
        assert_eq!(ordered(&[]), expect(&[]));
    }
}
