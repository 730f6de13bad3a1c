//! Follows the files of the configuration while the gateway runs.

use crate::{
    config::watch::Watch,
    live::{Hub, Why},
};
use std::{rc::Rc, time::Duration};

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
    reload(&hub, &mut watch).await;
    loop {
        while watch.follow(&hub.reloads.files()).await {
            watch.settled(hub.settings().config.reload.debounce, RESTLESS).await;
            reload(&hub, &mut watch).await;
        }
        watch.changed().await;
        watch.settled(hub.settings().config.reload.debounce, RESTLESS).await;
        reload(&hub, &mut watch).await;
    }
}

/// Applies what changed.
async fn reload(hub: &Rc<Hub>, watch: &mut Watch) {
    watch.note().await;
    hub.reload(Why::File).await.conclude(hub);
}
