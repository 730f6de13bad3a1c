//! Keepalive: one timer for all connections.
//!
//! Every tick it sends `tick`, pings the connections that were not heard since the last one, and closes those that were
//! not heard for three, that take nothing of what they are sent, or that never finish a message. Counted in ticks, not
//! by a clock, so a board that slept or was busy for a minute closes nobody.

use crate::{
    admission::limits,
    app::App,
    clock::wall_ms,
    host::MachineMemory,
    hub::{Audience, Conn},
    net::wire::Tick,
    protocol::{Event, Json, TICK_MS},
    reactor::Timer,
    store::Request,
};
use std::{
    rc::Rc,
    time::{Duration, Instant},
};

/// Ticks in silence after which a connection is taken for dead.
const DEAD: u8 = 4;
/// Connections that are looked at in a row; then requests are answered first, for [`BREAK`].
const IN_A_ROW: usize = 256;
const BREAK: Duration = Duration::from_millis(1);
/// Lifetime of an unpaired device's request, counted from its last connection.
const REQUEST: Duration = Duration::from_secs(24 * 3600);

/// Decision about a connection at a tick.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Stays,
    IsPinged,
    IsClosed(u16, &'static str),
}

/// Decides what becomes of a connection that was not heard for `quiet` ticks.
fn fate(quiet: u8, tick: Tick) -> Fate {
    let ticks = |time: Duration| u16::try_from(time.as_millis() as u64 / TICK_MS).unwrap_or(u16::MAX);
    match (quiet, tick) {
        (_, Tick { unfinished, .. }) if unfinished > ticks(limits::MESSAGE_TIME) => {
            Fate::IsClosed(1008, "a message was begun and not finished within two minutes")
        }
        (_, Tick { stalled, .. }) if stalled > ticks(limits::STALLED) => {
            Fate::IsClosed(1008, "slow consumer")
        }
        // A message may be larger than what comes between two ticks.
        (_, tick) if is_under_way(tick) => Fate::Stays,
        (0 | 1, _) => Fate::Stays,
        (DEAD.., _) => Fate::IsClosed(1001, "keepalive: nothing heard for three ticks"),
        _ => Fate::IsPinged,
    }
}

/// Whether bytes came of a message that is not whole yet.
fn is_under_way(tick: Tick) -> bool {
    tick.received && tick.unfinished > 0
}

fn look_at(conn: &Conn) {
    let tick = conn.wire.tick();
    let quiet = conn.count_tick();
    if is_under_way(tick) {
        conn.heard();
    }
    match fate(quiet, tick) {
        Fate::Stays => {}
        Fate::IsPinged => conn.wire.send_ping(),
        Fate::IsClosed(code, reason) => conn.wire.close(code, reason),
    }
}

/// Runs until the gateway ends.
pub(super) async fn run(app: Rc<App>) {
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
            if n % IN_A_ROW == IN_A_ROW - 1 {
                Timer::after(BREAK).await;
            }
            look_at(&conn);
        }
        app.admission.report();
        log::logger().flush();
        tidy_keys(&app);
        forget_requests(&app).await;
    }
}

/// Drops prepared keys that are of no more use, and all where memory is short.
fn tidy_keys(app: &App) {
    let mut keys = app.handshakes.keys.borrow_mut();
    if keys.is_untidy() {
        let registry = app.devices.registry();
        keys.tidy(MachineMemory::now(), |key| registry.device(&key.device_id()).is_some());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_of_a_connection() {
        use Fate::{IsClosed, IsPinged, Stays};
        let tick = |received, unfinished, stalled| Tick { received, unfinished, stalled };
        let rows = [
            (1, tick(true, 0, 0), Stays),
            (1, tick(false, 0, 0), Stays),
            (2, tick(false, 0, 0), IsPinged),
            (3, tick(false, 0, 0), IsPinged),
            (4, tick(false, 0, 0), IsClosed(1001, "")),
            // A picture on a slow line: no message for long, but bytes come.
            (200, tick(true, 8, 0), Stays),
            (4, tick(true, 0, 0), IsClosed(1001, "")),
            (1, tick(true, 9, 0), IsClosed(1008, "")),
            (1, tick(false, 0, 4), Stays),
            (1, tick(true, 0, 5), IsClosed(1008, "")),
        ];
        for (n, (quiet, tick, expected)) in rows.into_iter().enumerate() {
            let kind = |fate| match fate {
                IsClosed(code, _) => IsClosed(code, ""),
                other => other,
            };
            assert_eq!(kind(fate(quiet, tick)), expected, "row {n}");
        }
    }
}
