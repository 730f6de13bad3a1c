//! Plain HTTP requests at a hand-over: only the process image that began one can answer it, so each is finished, or
//! answered 503, before the next takes over.

use crate::{hub::PendingConns, reactor::Timer};
use smol::future;
use std::time::Duration;

/// Time-out for sending the answers 503.
const REFUSE: Duration = Duration::from_secs(1);

/// Waits for the requests under way, for `time` at most, and begins no other; then gives up on the rest.
pub(super) async fn finish(pending_conns: &PendingConns, time: Duration) {
    let requests = pending_conns.requests();
    if requests == 0 {
        return;
    }
    log::info!("waiting for {requests} HTTP requests under way");
    pending_conns.hold(true);
    within(time, || pending_conns.requests() == 0).await;
    give_up(pending_conns).await;
}

/// Answers 503 to the requests that are not answered yet, and to those that wait on a connection which cannot be carried
/// over. An answer that is under way is cut where it is; its reader sees that it is not whole.
pub(super) async fn give_up(pending_conns: &PendingConns) {
    let refused = pending_conns.refuse_requests();
    if refused > 0 {
        within(REFUSE, || pending_conns.refused() == 0).await;
        log::warn!("{refused} HTTP requests were not done in time: answered 503, to be asked again");
    }
    let cut = pending_conns.requests();
    if cut > 0 {
        log::warn!("{cut} HTTP answers were not done in time: cut, and the connections closed");
    }
    pending_conns.give_up();
}

async fn within(time: Duration, done: impl Fn() -> bool) {
    let wait = async {
        while !done() {
            Timer::after(Duration::from_millis(1)).await;
        }
    };
    future::or(wait, async { _ = Timer::after(time).await }).await;
}
