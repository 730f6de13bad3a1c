//! A restart by systemd into the release before and back: the state waits in the descriptor store, in a format that
//! whoever is started next reads.

use crate::{
    release_before,
    sd_notify::Systemd,
    wire::{Device, Offer, READ, number},
};
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

#[test]
fn systemd_restarts_the_release_before_and_back_without_closing_anyone() {
    // Where the history is not at hand, the other direction is tested by `tests/upgrade`'s stand-in alone.
    let Some(old) = release_before::program() else { return };
    let new = Path::new(env!("CARGO_BIN_EXE_barnacle"));
    let systemd = Systemd::new(1000, true);
    let program = systemd.home.dir.join("barnacle");
    let put = |from: &Path| {
        let beside = systemd.home.dir.join("barnacle.new");
        fs::copy(from, &beside).unwrap();
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(&beside, &program).unwrap();
    };
    put(old);
    let mut server = systemd.start_program(&program, &[]);
    let device = Device::pair(&server, READ);
    let mut clients: Vec<_> = (0..6).map(|_| server.connect(&Offer::device(&device))).collect();
    let waits = server.socket();
    for (n, next) in [new, new, old, new, old].into_iter().enumerate() {
        put(next);
        server.stop();
        server = systemd.start_program(&program, &[]);
        for client in &mut clients {
            client.ok("health", "{}");
        }
        let status = clients[0].ok("status", "{}");
        assert_eq!(number(&status, "barnacle.restarts"), n as u64 + 1, "{}", server.log());
        assert_eq!(number(&status, "barnacle.lastRestart.carried"), 6);
    }
    waits.offer(&Offer::device(&device)).unwrap().ok("health", "{}");
}
