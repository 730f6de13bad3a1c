//! There and back again with the real OpenClaw.

use crate::host::UNIT;
use crate::scene::{DROP_IN, OPENCLAW, REAL, Scene};
use crate::wire::{ADMIN, Client, Device, Offer, get, items, text};
use std::{fs, net::SocketAddr};

/// What keeps it from looking for a newer version of itself.
const ALONE: &str = "Environment=OPENCLAW_NO_AUTO_UPDATE=1 OPENCLAW_NO_RESPAWN=1 OPENCLAW_DISABLE_BONJOUR=1 OPENCLAW_TELEMETRY=0\n";

#[test]
fn in_front_of_openclaw_and_back_to_the_byte() {
    let scene = Scene::user();
    let port = scene.port;
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    let command = format!("/opt/node_modules/.bin/node {REAL} gateway --port {port}");
    scene.unit(&command, &format!("{ALONE}Environment=OPENCLAW_GATEWAY_PORT={port}\n"));
    scene.start();
    // Paired at OpenClaw, before anybody thinks of Barnacle.
    let device = Device::new();
    let offer = Offer::device(&device).token("T1").scopes(ADMIN);
    let paired =
        Client::connect_to_other(at, &offer).map_err(|_| "refused").expect("OpenClaw lets a device in");
    drop(paired);
    let before = scene.files();

    let said = scene.install();
    for part in [
        "OpenClaw 2026.9.6 answers on port",
        "imported the paired devices: 1, 1 of them new here",
        "answers through Barnacle",
    ] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    assert_eq!(scene.host.property(UNIT, "ActiveState"), "active");
    let drop_in = fs::read_to_string(scene.host.units().join(DROP_IN)).unwrap();
    assert!(drop_in.contains(&format!(" gateway --port {} --bind loopback\n", port + 1)), "{drop_in}");
    // The device that OpenClaw knew gets in by its key alone, and through to OpenClaw.
    let mut client =
        Client::connect(at, &Offer::device(&device).scopes(ADMIN)).map_err(|_| "refused").expect("imported");
    let sessions = client.ok("sessions.list", "{}");
    assert!(get(&sessions, "sessions").is_some(), "no answer of OpenClaw's");
    let status = client.ok("status", "{}");
    assert_eq!(text(&status, "upstream.state"), "connected");
    assert_eq!(items(&client.ok("device.pair.list", "{}"), "paired").len(), 1);
    // Once more: nothing is changed, and nobody restarts.
    let pids = || [UNIT, OPENCLAW].map(|unit| scene.host.property(unit, "MainPID"));
    let before_again = (pids(), scene.files());
    scene.install();
    assert_eq!(before_again, (pids(), scene.files()));
    client.ok("sessions.list", "{}");

    let said = scene.restore();
    assert!(said.contains(&format!("OpenClaw listens on port {port}, and its unit is as it was")), "{said}");
    scene.until_listens(port);
    scene.assert_as_before(&before);
}
