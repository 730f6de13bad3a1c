//! Waits for the kernel's random numbers, which a board that has just booted may lack for seconds, and a
//! small one for minutes.
//!
//! Keys, tokens and nonces are made of them and of nothing else, so nobody is let in before. The port is
//! open meanwhile: see [`boot_queue`].

use super::boot_queue::{self, Waiting};
use crate::{
    net::Listeners,
    reactor::{Timer, on_worker},
    sd_notify::Notify,
};
use rustix::{
    io::Errno,
    rand::{GetRandomFlags, getrandom},
};
use smol::future;
use std::{
    future::poll_fn,
    task::Poll,
    time::{Duration, Instant},
};

/// Interval of the log line that says that random numbers are still missing.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until there are some, and logs where that takes time. Returns how long it took, and the connections that
/// `listeners` accepted meanwhile; with `tls` none are, since none can be answered by it yet.
pub(super) async fn ready(listeners: &Listeners, tls: bool, notify: &Notify) -> (Duration, Vec<Waiting>) {
    let mut queue = Vec::new();
    // Any other error is reported where random numbers are then needed.
    if getrandom(&mut [0; 1], GetRandomFlags::NONBLOCK) != Err(Errno::AGAIN) {
        return (Duration::ZERO, queue);
    }
    let began = Instant::now();
    let at: Vec<_> = listeners.addresses().iter().map(ToString::to_string).collect();
    log::warn!(
        "listening on {}, and waiting for the kernel's random numbers: nobody can be let in without them",
        at.join(", ")
    );
    let tell = async {
        loop {
            let status = format!("waiting for the kernel's random numbers: {} s", began.elapsed().as_secs());
            if began.elapsed() >= PATIENCE {
                log::warn!("still {status}");
            }
            notify.not_yet(&status, 3 * PATIENCE);
            Timer::after(PATIENCE).await;
        }
    };
    let own = listeners.sockets().into_iter().map(|socket| (socket, false));
    let sockets: Vec<_> = own.chain(listeners.given().into_iter().map(|socket| (socket, true))).collect();
    let receive = poll_fn(|cx| {
        if !tls {
            boot_queue::receive(&sockets, &mut queue, cx);
        }
        Poll::<()>::Pending
    });
    future::or(on_worker(wait), future::or(tell, receive)).await;
    let took = began.elapsed();
    log::info!("the kernel has random numbers, after {:.1} s", took.as_secs_f64());
    (took, queue)
}

/// Waits in a call that blocks, and not by `poll` on `/dev/random`: only during such a call does the kernel make some
/// of the jitter of its own clock.
fn wait() {
    while getrandom(&mut [0; 1], GetRandomFlags::empty()) == Err(Errno::INTR) {}
}
