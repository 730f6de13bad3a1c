//! A connection that stays attached for a minute: ticks, pings, and the end of a silent one. Tests start in the order
//! of their names, and so this one runs beside all the others.

use crate::wire::{Home, Offer, number, text};
use async_tungstenite::tungstenite::{Error, Message};
use std::time::Duration;

#[test]
fn ticks_and_pings_keep_it_alive_and_silence_ends_it() {
    let home = Home::fix();
    let server = home.start();
    let mut client = server.connect(&Offer::new().token("T1"));
    assert_eq!(number(&client.hello, "policy.tickIntervalMs"), 15_000);
    let mut mute = server.connect(&Offer::new().token("T1"));
    let (mut ticks, mut pings) = (Vec::new(), 0);
    // The interval is the protocol's, so this takes the minute that it takes. The mute one does not read,
    // so it answers no ping; this one does both, and lives.
    mute.raw().set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    client.raw().set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    while ticks.len() < 4 {
        match client.message() {
            Ok(Message::Text(t)) => {
                let frame = miniserde::json::from_str(&t).unwrap();
                if text(&frame, "event") == "tick" {
                    ticks.push(number(&frame, "payload.ts"));
                }
            }
            Ok(Message::Ping(_)) => pings += 1,
            Ok(_) => {}
            Err(e) => panic!("closed after {} ticks, {pings} pings: {e}", ticks.len()),
        }
    }
    // By the gateway's own time of each: the interval is the one of `hello-ok`. However late a busy machine sends one,
    // three of them are no shorter than two and a half.
    assert!(ticks[3] - ticks[0] > 15_000 * 5 / 2, "ticks at {ticks:?}");
    assert!(pings >= 1, "no ping in a minute of silence");
    let end = loop {
        match mute.message() {
            Ok(Message::Close(Some(frame))) => break frame,
            Ok(_) => {}
            Err(Error::ConnectionClosed) => panic!("closed without words"),
            Err(e) => panic!("{e}"),
        }
    };
    assert_eq!(u16::from(end.code), 1001);
    assert!(end.reason.contains("nothing heard"), "{}", end.reason);
    client.ok("health", "{}");
}
