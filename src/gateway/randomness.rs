//! Waits for the kernel's random numbers, which a board that has just booted may lack for seconds, and a
//! small one for minutes.
//!
//! Keys, tokens and nonces are made of them and of nothing else, so nobody is let in before. The port is
//! open meanwhile: whoever connects waits in the kernel's backlog.

use crate::{reactor::Timer, service::notify::Notify};
use rustix::{
    io::Errno,
    rand::{GetRandomFlags, getrandom},
};
use smol::future;
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

/// How often it is said that this still takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until there are some, and says so where that takes time; `at` is where connections wait. Returns
/// how long it took.
pub async fn ready(at: &[SocketAddr], notify: &Notify) -> Duration {
    // Any other refusal is told by who then needs some.
    if getrandom(&mut [0; 1], GetRandomFlags::NONBLOCK) != Err(Errno::AGAIN) {
        return Duration::ZERO;
    }
    let began = Instant::now();
    let at: Vec<_> = at.iter().map(ToString::to_string).collect();
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
    future::or(smol::unblock(wait), tell).await;
    let took = began.elapsed();
    log::info!("the kernel has random numbers, after {:.1} s", took.as_secs_f64());
    took
}

/// A call that blocks, and not `poll` on `/dev/random`: only for who waits in one does the kernel make some
/// of the jitter of its own clock.
fn wait() {
    while getrandom(&mut [0; 1], GetRandomFlags::empty()) == Err(Errno::INTR) {}
}
