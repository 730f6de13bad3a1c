//! Sixty concurrent clients of one device: all are attached and hold the same token, and after the first
//! round nothing is written to disk.

use crate::wire::{ADMIN, Device, Home, Offer, Server, number};
use std::collections::HashSet;

fn commits(server: &Server) -> u64 {
    number(&server.admin().ok("status", "{}"), "barnacle.storeCommits")
}

#[test]
fn sixty_clients_of_one_device() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::new();
    let sets: Vec<Vec<&str>> = (0..60usize)
        .map(|n| ADMIN.iter().enumerate().filter(|(i, _)| n >> i & 1 == 1).map(|(_, s)| *s).collect())
        .collect();
    let mut tokens = HashSet::new();
    let mut written = 0;
    for round in 0..20 {
        let held: Vec<String> = std::thread::scope(|scope| {
            let connect = |scopes: &Vec<&'static str>| {
                let client = server.connect(&Offer::device(&device).token("T1").scopes(scopes));
                assert_eq!(client.scopes(), scopes.join(" "));
                client.device_token()
            };
            let clients: Vec<_> = sets.iter().map(|scopes| scope.spawn(move || connect(scopes))).collect();
            clients.into_iter().map(|c| c.join().unwrap()).collect()
        });
        tokens.extend(held);
        assert_eq!(tokens.len(), 1, "round {round}: the device holds different tokens");
        match round {
            0 => written = commits(&server),
            _ => assert_eq!(commits(&server), written, "round {round} wrote to the disk"),
        }
    }
    assert!(written < 60, "{written} commits for one device");
}
