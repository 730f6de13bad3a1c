//! Changes of this host's addresses, as the kernel announces them (rtnetlink(7)).

use crate::reactor::{Async, Timer};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, bind, netlink::SocketAddrNetlink, recv,
    socket_with,
};
use std::{future::poll_fn, io, os::fd::OwnedFd, task::Poll, time::Duration};

/// Interval of looking where the kernel announces nothing: a sandbox may refuse the socket.
const LOOK: Duration = Duration::from_secs(2);
/// `NETLINK_ROUTE`, which is 0.
const ROUTE: Option<Protocol> = None;
/// `RTMGRP_IPV4_IFADDR`, `RTMGRP_IPV4_ROUTE` and `RTMGRP_IPV6_IFADDR` of `linux/rtnetlink.h`. The address of a tailnet
/// is known by the route to it.
const GROUPS: u32 = 0x10 | 0x40 | 0x100;

/// A subscription to the changes of this host's addresses.
pub(crate) struct AddressEvents(Option<Async<OwnedFd>>);

impl AddressEvents {
    /// Subscribes; what changes from now on is announced.
    pub fn subscribe() -> Self {
        let open = || -> io::Result<_> {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, ROUTE)?;
            bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
            Async::nonblocking(socket)
        };
        Self(open().inspect_err(|e| log::debug!("netlink: {e}; looking every {} s", LOOK.as_secs())).ok())
    }

    /// Waits until an address may have changed.
    pub async fn next(&self) {
        let Some(socket) = &self.0 else { return Timer::after(LOOK).await };
        // What is announced is not read: it may have been missed where there was too much of it (ENOBUFS).
        let mut buffer = [0; 4096];
        let mut receive = |fd: &OwnedFd| Ok(recv(fd, &mut buffer[..], RecvFlags::TRUNC).map(|(n, _)| n)?);
        let mut changed = false;
        poll_fn(|cx| {
            while socket.poll_with(cx, &mut receive).is_ready() {
                changed = true;
            }
            if changed { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
