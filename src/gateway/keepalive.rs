//! The pulse: one timer for all connections.
//!
//! Every tick it sends `tick`, pings who was not heard since the last one, and ends who was not heard
//! for three. Counted in pulses, not by a clock, so a board that slept or was busy for a minute closes
//! nobody.

use crate::{
    app::App,
    clock::wall_ms,
    hub::Audience,
    protocol::{Event, Json, TICK_MS},
    reactor::Timer,
    store::Request,
};
use std::{
    rc::Rc,
    time::{Duration, Instant},
};

/// Pulses in silence after which a connection is taken for dead.
const DEAD: u8 = 4;
/// After so many connections, whoever asks is answered first.
const AT_ONCE: usize = 256;
/// For so long.
const BREAK: Duration = Duration::from_millis(1);
/// How long an unpaired device's request waits since it last came for it.
const REQUEST: Duration = Duration::from_secs(24 * 3600);

/// Beats until the gateway ends.
pub async fn beat(app: Rc<App>) {
    let tick = Duration::from_millis(TICK_MS);
    loop {
        let due = app.ticks.next.get();
        Timer::after(due.saturating_duration_since(Instant::now())).await;
        let late = due.elapsed();
        if late > tick / 2 {
            app.ticks.late.set(app.ticks.late.get() + 1);
            log::warn!("a tick came {} ms late", late.as_millis());
        }
        app.ticks.next.set(Instant::now() + tick);
        app.hub.events.publish(Event::Tick, Audience::Everyone, &Json(format!(r#"{{"ts":{}}}"#, wall_ms())));
        for (n, conn) in app.hub.conns.all().into_iter().enumerate() {
            if n % AT_ONCE == AT_ONCE - 1 {
                Timer::after(BREAK).await;
            }
            match conn.pulse() {
                0 | 1 => {}
                n if n >= DEAD => conn.wire.close(1001, "keepalive: nothing heard for three ticks"),
                _ => conn.wire.send_ping(),
            }
        }
        forget_requests(&app).await;
    }
}

/// Drops requests of unpaired devices that have not come back; a paired device's request stays.
async fn forget_requests(app: &Rc<App>) {
    app.devices.forget_contacts();
    let registry = app.devices.registry();
    let stale = |r: &Request| {
        registry.device(&r.key.device_id()).is_none() && app.devices.since_contact(&r.id) > REQUEST
    };
    if !registry.requests().iter().any(|r| stale(r)) {
        return;
    }
    let done = app.devices.change(|next| {
        next.retain_requests(|r| !stale(r));
        Ok(())
    });
    if let Err(e) = done.await {
        log::warn!("old requests are kept: {}", e.message());
    }
}
