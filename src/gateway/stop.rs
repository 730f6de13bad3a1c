//! Stops the gateway.

use crate::{
    app::App,
    hub::Audience,
    protocol::{Event, Json},
    reactor::Timer,
};
use smol::future;
use std::{rc::Rc, time::Duration};

/// Time-out for requests under way when the gateway stops.
const FINISH: Duration = Duration::from_secs(2);
/// Time-out for sending answers to those that did not finish.
const LAST_ANSWERS: Duration = Duration::from_millis(200);

/// Lets requests under way finish, closes every connection with the reason, and saves what is only in memory.
pub(super) async fn stop(app: &Rc<App>) {
    app.hub.begin_stop();
    // First of all, so that whoever loses patience and kills it loses nothing. Again at the end, for what
    // is seen meanwhile: that costs a write only if something was. A disk that hangs holds up neither.
    let late = || async {
        Timer::after(FINISH).await;
    };
    let save = async {
        app.devices.settle().await;
        app.reloads.keep_config().await;
    };
    future::or(save, late()).await;
    let finished = || async {
        while app.hub.conns.all().iter().any(|c| c.in_flight() > 0) || app.hub.pending_conns.requests() > 0 {
            Timer::after(Duration::from_millis(10)).await;
        }
    };
    let answer = async {
        Timer::after(FINISH).await;
        // Whoever waits for a node is answered all the same.
        app.hub.invocations.stop();
        app.hub.pending_conns.refuse_requests();
        future::or(finished(), async { _ = Timer::after(LAST_ANSWERS).await }).await;
    };
    future::or(finished(), answer).await;
    app.hub.events.publish(
        Event::Shutdown,
        Audience::Everyone,
        &Json(r#"{"reason":"gateway stopping","restartExpectedMs":1000}"#.into()),
    );
    app.hub.events.flush();
    for conn in app.hub.conns.all() {
        conn.wire.close(1012, "gateway stopping");
    }
    let gone = async {
        while app.hub.conns.count() > 0 {
            Timer::after(Duration::from_millis(5)).await;
        }
    };
    future::or(gone, late()).await;
    future::or(app.devices.settle(), late()).await;
}
