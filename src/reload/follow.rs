//! Follows the files of the configuration while the gateway runs.

use super::Trigger;
use crate::{
    config::{credentials::secret_files::STABLE, watch::Watch},
    hub::Hub,
    reactor::Timer,
};
use smol::future;
use std::{rc::Rc, time::Duration};

/// When a file that could not be read for want of descriptors, say, is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// How long a file may go on changing before it is read all the same.
const RESTLESS: Duration = Duration::from_secs(2);

/// Reloads whenever a file has changed, until the gateway ends.
pub async fn follow(hub: Rc<Hub>) {
    let mut watch = Watch::new();
    {
        // A restart waits for it: what it goes on with may be this one.
        let _turn = hub.reloads.turn().await;
        hub.keep_config().await;
    }
    watch.follow(&hub.reloads.files()).await;
    // What happened since the start is not known.
    let mut again = reload(&hub, &mut watch).await;
    loop {
        while watch.follow(&hub.reloads.files()).await {
            watch.settled(hub.settings().config.reload.debounce, RESTLESS).await;
            again = reload(&hub, &mut watch).await;
        }
        let changed = async {
            watch.changed().await;
            watch.settled(hub.settings().config.reload.debounce, RESTLESS).await;
        };
        let later = async {
            match again {
                Some(after) => _ = Timer::after(after).await,
                None => future::pending().await,
            }
        };
        future::or(changed, later).await;
        again = reload(&hub, &mut watch).await;
    }
}

/// Applies what changed; says after how long another try is worth it though nothing changes.
async fn reload(hub: &Rc<Hub>, watch: &mut Watch) -> Option<Duration> {
    watch.note().await;
    let outcome = hub.reload(Trigger::File).await;
    outcome.conclude(hub);
    if outcome.settling { Some(STABLE) } else { outcome.again.then_some(AGAIN) }
}
