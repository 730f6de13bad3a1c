//! A socket: an operation on it is tried, and waited for where it would block.

use super::{Place, READ, Reactor, Waiting, turn_is_over};
use rustix::{
    event::epoll,
    fd::AsFd,
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, sockopt::socket_error},
};
use smol::io::{AsyncRead, AsyncWrite};
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

/// A socket that is waited for instead of blocking.
pub struct Async<T> {
    socket: T,
    reactor: Rc<Reactor>,
    slot: u32,
}

impl<T: AsFd> Async<T> {
    /// Takes a socket in.
    ///
    /// # Errors
    /// The system's.
    pub fn new(socket: T) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Self::nonblocking(socket)
    }

    /// Takes in a socket that does not block as it is.
    ///
    /// # Errors
    /// The system's.
    pub fn nonblocking(socket: T) -> io::Result<Self> {
        let reactor = Reactor::get()?;
        let slot = {
            let mut slots = reactor.slots.borrow_mut();
            slots.free.pop().unwrap_or_else(|| {
                slots.waiting.push(Waiting::default());
                slots.waiting.len() as u32 - 1
            })
        };
        let it = Self { socket, reactor, slot };
        let (data, flags) = (epoll::EventData::new_u64(slot.into()), READ | epoll::EventFlags::ET);
        match epoll::add(&it.reactor.epoll, &it.socket, data, flags) {
            // It was there already, before this process image.
            Err(Errno::EXIST) => epoll::modify(&it.reactor.epoll, &it.socket, data, flags)?,
            added => added?,
        }
        Ok(it)
    }

    /// Takes in a socket that is in the `epoll` already; see [`go_on`](super::go_on).
    ///
    /// # Errors
    /// When there is no such place.
    pub fn in_place(socket: T, place: Place) -> io::Result<Self> {
        let reactor = Reactor::get()?;
        match reactor.slots.borrow_mut().waiting.get_mut(place.slot as usize) {
            Some(waiting) => waiting.quiet = place.quiet,
            None => return Err(io::ErrorKind::NotFound.into()),
        }
        Ok(Self { socket, reactor, slot: place.slot })
    }

    /// Takes in a socket that does not block as it is, and is not read until `epoll` says that there is
    /// something: it does so of what was there before, too.
    ///
    /// # Errors
    /// The system's.
    pub fn quiet(socket: T) -> io::Result<Self> {
        let it = Self::nonblocking(socket)?;
        it.reactor.slots.borrow_mut().waiting[it.slot as usize].quiet = true;
        Ok(it)
    }

    /// Wakes the task when the socket is writable. Only for one whose write just blocked.
    pub fn wait_writable(&self, cx: &Context<'_>) {
        let mut slots = self.reactor.slots.borrow_mut();
        let waiting = &mut slots.waiting[self.slot as usize];
        waiting.writer = Some(Box::new(cx.waker().clone()));
        // Most sockets never block, and need not be looked at by the kernel for it.
        if !waiting.asked {
            let data = epoll::EventData::new_u64(self.slot.into());
            let flags = READ | epoll::EventFlags::OUT | epoll::EventFlags::ET;
            waiting.asked = epoll::modify(&self.reactor.epoll, &self.socket, data, flags).is_ok();
            if !waiting.asked {
                cx.waker().wake_by_ref();
            }
        }
    }
}

impl<T> Async<T> {
    /// Borrows the socket.
    pub fn get_ref(&self) -> &T {
        &self.socket
    }

    /// Readiness. A task that waits to read has seen no bytes, and `epoll` reported none since.
    pub fn place(&self) -> Place {
        let waiting = &self.reactor.slots.borrow().waiting[self.slot as usize];
        Place { slot: self.slot, quiet: waiting.quiet || waiting.reader.is_some() }
    }

    /// Whether there is nothing to read until `epoll` says so.
    pub fn is_quiet(&self) -> bool {
        self.reactor.slots.borrow().waiting[self.slot as usize].quiet
    }

    /// Has the task woken when there is something to read. Only for one that is quiet, or whose read just
    /// blocked, or peeked at all there is.
    pub fn wait_readable(&self, cx: &Context<'_>) {
        self.reactor.slots.borrow_mut().waiting[self.slot as usize].reader = Some(cx.waker().clone());
    }

    /// Does `read`, and is pending as long as it would block; and, so that one that always has more holds up nobody,
    /// for the rest of a turn that has lasted long enough.
    pub fn poll_with<R>(
        &self,
        cx: &Context<'_>,
        mut read: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        if self.is_quiet() {
            self.wait_readable(cx);
            return Poll::Pending;
        }
        if turn_is_over() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            match read(&self.socket) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.wait_readable(cx);
                    return Poll::Pending;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

impl<T> Drop for Async<T> {
    fn drop(&mut self) {
        // Closing the socket takes it out of `epoll`. An event that is on its way may wake whoever has the
        // slot next: it tries, and waits again.
        let mut slots = self.reactor.slots.borrow_mut();
        slots.waiting[self.slot as usize] = Waiting::default();
        slots.free.push(self.slot);
    }
}

impl Async<TcpListener> {
    /// The next connection, and where it comes from.
    ///
    /// # Errors
    /// The system's; the listener can go on.
    pub async fn accept(&self) -> io::Result<(Async<TcpStream>, SocketAddr)> {
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// The same, to be polled.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Async<TcpStream>, SocketAddr)>> {
        self.poll_with(cx, accept)
    }

    /// The next connection, if it is there already.
    ///
    /// # Errors
    /// `WouldBlock` if it is not.
    pub fn accept_now(&self) -> io::Result<(Async<TcpStream>, SocketAddr)> {
        accept(&self.socket)
    }
}

fn accept(listener: &TcpListener) -> io::Result<(Async<TcpStream>, SocketAddr)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (socket, from) = rustix::net::acceptfrom_with(listener, flags)?;
    let from = from.and_then(|from| SocketAddr::try_from(from).ok()).ok_or(io::ErrorKind::NotConnected)?;
    Ok((Async::nonblocking(TcpStream::from(socket))?, from))
}

impl Async<TcpStream> {
    /// Connects to `address`.
    ///
    /// # Errors
    /// The system's.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        match rustix::net::connect(&socket, &address) {
            Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        let it = Self::nonblocking(TcpStream::from(socket))?;
        std::future::poll_fn(|cx| {
            socket_error(&it.socket)??;
            match it.socket.peer_addr() {
                Err(e) if e.kind() == io::ErrorKind::NotConnected => {
                    it.wait_writable(cx);
                    Poll::Pending
                }
                connected => Poll::Ready(connected.map(drop)),
            }
        })
        .await?;
        Ok(it)
    }
}

impl AsyncRead for Async<TcpStream> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_with(cx, |mut socket| socket.read(out))
    }
}

impl AsyncWrite for Async<TcpStream> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match (&self.socket).write(bytes) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.wait_writable(cx);
                    return Poll::Pending;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.shutdown(std::net::Shutdown::Write))
    }
}
