//! Descriptors: each client in front of OpenClaw needs two, and whoever has many connections leaves enough to others.

use crate::{
    stand_in::StandIn,
    wire::{Client, Device, Home, Offer, READ, Server, text},
};
use std::process::Command;

/// Descriptors that the gateway may open.
const FEW: usize = 110;

/// A gateway in front of `behind` that may open [`FEW`] descriptors.
fn front(home: &Home, behind: &StandIn) -> Server {
    let mut command = Command::new("sh");
    let script =
        format!("ulimit -n {FEW}; exec \"$0\" gateway --port {} --upstream ws://{}", home.port, behind.at);
    command.args(["-c", &script, env!("CARGO_BIN_EXE_barnacle")]);
    command.env_clear().env("HOME", &home.dir).env("PATH", std::env::var_os("PATH").unwrap());
    let front = Server::spawn(command, home.port);
    front.wait_log(&["in front of OpenClaw"]);
    front
}

/// Attaches as often as the gateway lets the device, each time with a connection to OpenClaw.
fn attach_often(front: &Server, device: &Device) -> Vec<Client> {
    let mut all = Vec::new();
    for _ in 0..FEW {
        match front.try_connect(&Offer::device(device).device_token(device.token()).scopes(READ)) {
            Ok(mut client) => {
                client.ok("agents.list", "{}");
                all.push(client);
            }
            Err(refused) => {
                assert_eq!(refused.get("code"), "UNAVAILABLE");
                break;
            }
        }
    }
    all
}

#[test]
fn connections_to_openclaw_lock_nobody_out() {
    let (home, behind) = (Home::fix(), StandIn::new());
    let front = front(&home, &behind);
    let devices: Vec<Device> = (0..4).map(|_| Device::pair(&front, READ)).collect();
    let (last, greedy) = devices.split_last().unwrap();
    let held: Vec<Client> = greedy.iter().flat_map(|device| attach_often(&front, device)).collect();
    assert!(held.len() > 15, "{}", held.len());
    // What was not made by any of them.
    let mut client = front.connect(&Offer::device(last).device_token(last.token()).scopes(READ));
    client.ok("agents.list", "{}");
    assert_eq!(behind.all_links().iter().filter(|link| behind.is_open(link)).count(), held.len() + 1);
    let open = std::fs::read_dir(format!("/proc/{}/fd", front.pid())).unwrap().count();
    assert!(open < FEW, "{open} of {FEW} are open");
    assert!(!front.log().contains("Too many open files"), "{}", front.log());
    assert_eq!(text(&client.ok("health", "{}"), "upstream.state"), "connected");
}
