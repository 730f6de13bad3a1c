//! Jumps of the wall clock while clients are attached, as on a board without a clock of its own. `libfaketime`
//! (Debian's package `faketime`) moves it; the monotonic clock stays as it is.

use crate::wire::{Device, Home, Offer, READ, Server, number, text};
use std::{fs, path::Path};

fn library() -> String {
    let places = [
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib/arm-linux-gnueabihf",
        "/usr/lib64",
    ];
    let found =
        places.iter().map(|p| format!("{p}/faketime/libfaketime.so.1")).find(|p| fs::exists(p).unwrap());
    found.expect("libfaketime is needed: apt-get install faketime")
}

/// Starts a gateway whose wall clock is what `clock` says; it looks there again at every reading.
fn start(home: &Home, clock: &Path) -> Server {
    let library = library();
    home.start_with(
        &[],
        &[
            ("LD_PRELOAD", &library),
            ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ],
    )
}

const YEAR_MS: u64 = 365 * 86_400_000;

#[test]
fn clock_jumps_close_no_connection() {
    let home = Home::empty();
    home.auth(r#"{mode:"token",token:"T1",rateLimit:{maxAttempts:3,windowMs:60000,lockoutMs:600000}}"#);
    let clock = home.dir.join("clock");
    // The board boots in 1970, as one without a battery does.
    fs::write(&clock, "@1970-01-01 00:10:00").unwrap();
    let server = start(&home, &clock);
    let device = Device::pair(&server, READ);
    let stranger = Device::new();
    let request = server.refuse(&Offer::device(&stranger).token("T1").remote()).get("details.requestId");
    let mut live = server.connect(&Offer::device(&device));
    assert!(live.ts < YEAR_MS, "the clock is not moved: {}", live.ts);
    let guess = |n: u32| server.refuse(&Offer::new().token(&format!("guess {n}")).remote());
    (0..3).for_each(|n| {
        guess(n);
    });
    let locked = guess(9);
    locked.expect("AUTH_RATE_LIMITED");
    let left = number(&locked.error, "retryAfterMs");

    let wide = &["operator.read", "operator.write"];
    server
        .admin()
        .ok("device.token.rotate", &format!(r#"{{"deviceId":"{}","role":"operator"}}"#, device.id()));
    // NTP: ten years on, then back again, then the year 2100.
    for (to, challenged_late) in [
        ("@2026-11-25 12:00:00", false),
        ("@2036-11-25 12:00:00", true),
        ("@2016-01-01 00:00:00", true),
        ("@2100-01-01 00:00:00", false),
    ] {
        let early = server.socket();
        fs::write(&clock, to).unwrap();
        live.ok("health", "{}");
        let now = server.socket();
        assert!(now.ts.abs_diff(early.ts) > YEAR_MS, "the clock did not jump to {to}");
        // One that was challenged before the jump, and signs that time.
        let offer = Offer::device(&device).device_token(device.token());
        early.offer(&offer).unwrap();
        if challenged_late {
            now.offer(&Offer { clock_off: -(10 * YEAR_MS as i64), ..offer.clone() }).unwrap();
        }
        server.connect(&offer);
        let again = server.refuse(&Offer::device(&stranger).token("T1").scopes(wide).remote());
        // Locked, for it comes from the guesser's address and must prove the shared token; its request waits.
        again.expect("AUTH_RATE_LIMITED");
        let pending = server.admin().ok("device.pair.list", "{}");
        assert_eq!(text(&pending, "pending.0.requestId"), request);
        let now_left = number(&guess(10).error, "retryAfterMs");
        assert!(now_left <= left && now_left + 30_000 > left, "the lock went from {left} to {now_left}");
    }
    server.admin().ok("device.pair.approve", &format!(r#"{{"requestId":"{request}"}}"#));
    server.connect(&Offer::device(&stranger).remote());
    // And over a restart at which the clock is back in 1970.
    fs::write(&clock, "@1970-01-01 00:00:30").unwrap();
    server.stop();
    let server = start(&home, &clock);
    server.connect(&Offer::device(&device).device_token(device.token()));
    server.connect(&Offer::device(&stranger).remote());
    live.closed();
}
