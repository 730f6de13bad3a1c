//! Waits for the kernel's random numbers, which a board that has just booted may lack for seconds, and a
//! small one for minutes.
//!
//! Keys, tokens and nonces are made of them and of nothing else, so nobody is let in before. The port is
//! open meanwhile: see [`early`].

use super::{
    boot_queue::{self, Caller},
    listeners::Listening,
};
use crate::{reactor::Timer, sd_notify::Notify};
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

/// How often it is said that this still takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until there are some, and says so where that takes time. Returns how long it took, and who came to
/// `doors` meanwhile; with `tls` they are not looked at, since nobody can be told anything by it yet.
pub async fn ready(doors: &Listening, tls: bool, notify: &Notify) -> (Duration, Vec<Caller>) {
    let mut callers = Vec::new();
    // Any other refusal is told by who then needs some.
    if getrandom(&mut [0; 1], GetRandomFlags::NONBLOCK) != Err(Errno::AGAIN) {
        return (Duration::ZERO, callers);
    }
    let began = Instant::now();
    let at: Vec<_> = doors.addresses().iter().map(ToString::to_string).collect();
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
    let own = doors.sockets().into_iter().map(|socket| (socket, false));
    let listeners: Vec<_> = own.chain(doors.given().into_iter().map(|socket| (socket, true))).collect();
    let receive = poll_fn(|cx| {
        if !tls {
            boot_queue::receive(&listeners, &mut callers, cx);
        }
        Poll::<()>::Pending
    });
    future::or(smol::unblock(wait), future::or(tell, receive)).await;
    let took = began.elapsed();
    log::info!("the kernel has random numbers, after {:.1} s", took.as_secs_f64());
    (took, callers)
}

/// A call that blocks, and not `poll` on `/dev/random`: only for who waits in one does the kernel make some
/// of the jitter of its own clock.
fn wait() {
    while getrandom(&mut [0; 1], GetRandomFlags::empty()) == Err(Errno::INTR) {}
}
