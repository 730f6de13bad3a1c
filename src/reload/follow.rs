//! Follows the files of the configuration while the gateway runs.

use super::{Reloads, Trigger};
use crate::{
    config::{credentials::secret_files::STABLE, watch::Watch},
    reactor::Timer,
};
use smol::future;
use std::{rc::Rc, time::Duration};

/// Delay after which a file that could not be read, for want of descriptors, say, is read again.
const RETRY: Duration = Duration::from_secs(5);
/// Time-out for a file that keeps changing.
const RESTLESS: Duration = Duration::from_secs(2);

/// Reloads whenever a file has changed, until the gateway ends.
pub async fn follow(reloads: Rc<Reloads>) {
    let mut watch = Watch::new();
    {
        // A restart waits for it: the next process image may run with this one.
        let _turn = reloads.turn().await;
        reloads.keep_config().await;
    }
    watch.follow(&reloads.files()).await;
    // What happened since the start is not known.
    let mut retry = reload(&reloads, &mut watch).await;
    loop {
        while watch.follow(&reloads.files()).await {
            watch.settled(reloads.rooms.running.get().config.reload.debounce, RESTLESS).await;
            retry = reload(&reloads, &mut watch).await;
        }
        let changed = async {
            watch.changed().await;
            watch.settled(reloads.rooms.running.get().config.reload.debounce, RESTLESS).await;
        };
        let later = async {
            match retry {
                Some(after) => _ = Timer::after(after).await,
                None => future::pending().await,
            }
        };
        future::or(changed, later).await;
        retry = reload(&reloads, &mut watch).await;
    }
}

/// Applies what changed; says after how long another try is worth it though nothing changes.
async fn reload(reloads: &Rc<Reloads>, watch: &mut Watch) -> Option<Duration> {
    watch.note().await;
    let outcome = reloads.reload(Trigger::File).await;
    outcome.conclude(reloads);
    if outcome.settling { Some(STABLE) } else { outcome.retry.then_some(RETRY) }
}
