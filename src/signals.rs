//! The signals that a running gateway listens for.

use crate::{net::fds, reactor::Async};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use std::{
    future::poll_fn,
    io::{self, Read},
    os::unix::net::UnixStream,
    task::Poll,
};

/// The signals, each with the socket that its handler writes to.
pub(crate) struct Signals([(i32, Async<UnixStream>); 5]);

impl Signals {
    const ALL: [i32; 5] = [SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2];

    /// Installs the handlers.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn new() -> io::Result<Self> {
        let listen = |signal| {
            let (heard, handler) = UnixStream::pair()?;
            signal_hook::low_level::pipe::register(signal, handler)?;
            Ok::<_, io::Error>((signal, Async::new(heard)?))
        };
        let [a, b, c, d, e] = Self::ALL.map(listen);
        Ok(Self([a?, b?, c?, d?, e?]))
    }

    /// Waits for the next signal.
    pub(crate) async fn next(&self) -> i32 {
        self.first(|_| true).await
    }

    /// Waits for a signal that ends the gateway; the others are kept for [`next`](Self::next).
    pub(crate) async fn end(&self) -> i32 {
        self.first(ends).await
    }

    async fn first(&self, wanted: impl Fn(i32) -> bool) -> i32 {
        poll_fn(|cx| {
            let came =
                |heard: &Async<UnixStream>| heard.poll_with(cx, |mut s| s.read(&mut [0; 64])).is_ready();
            let mut those = self.0.iter().filter(|(signal, _)| wanted(*signal));
            those.find(|(_, heard)| came(heard)).map_or(Poll::Pending, |(s, _)| Poll::Ready(*s))
        })
        .await
    }

    /// Blocks the signals, through an `exec` too, or unblocks them.
    pub(crate) fn block(&self, block: bool) {
        fds::hold_signals(&Self::ALL, block);
    }

    /// Whether a signal that ends the gateway came and waits to be acted upon.
    pub(crate) fn heard_end(&self) -> bool {
        let peek = |heard: &Async<UnixStream>| {
            let mut byte = [0];
            rustix::net::recv(heard.get_ref(), &mut byte, rustix::net::RecvFlags::PEEK).is_ok()
        };
        self.0.iter().any(|(signal, heard)| ends(*signal) && peek(heard))
    }
}

fn ends(signal: i32) -> bool {
    matches!(signal, SIGTERM | SIGINT)
}
