//! Who stays attached when the shared secret changes: one rule, whether the configuration is reloaded or a
//! restart reads it.

use crate::wire::{ADMIN, Client, Device, Home, Offer, READ, Server, number};

/// A gateway with the token `T1`, a device that has just paired silently with it, and a client that has nothing
/// but it.
struct Rotation {
    home: Home,
    server: Server,
    device: Device,
    paired: Client,
    shared: Client,
}

impl Rotation {
    fn begin(mode: &str) -> Self {
        let home = Home::fix();
        Self::write(&home, "T1", mode);
        let server = home.start();
        let device = Device::new();
        let paired = server.connect(&Offer::device(&device).token("T1").scopes(ADMIN));
        let attached = server.wait_log(&["attached operator"]);
        assert!(
            attached.contains(&device.id()[..8]) && attached.contains("by shared with"),
            "its basis is the shared token: {attached}"
        );
        let shared = server.connect(&Offer::new().token("T1").scopes(READ));
        Self { home, server, device, paired, shared }
    }

    fn write(home: &Home, token: &str, mode: &str) {
        home.gateway(&format!(r#"auth:{{mode:"token",token:"{token}"}},reload:{{mode:"{mode}"}}"#));
    }

    /// The device is attached all the time, and whoever has nothing but the old token is not any more.
    fn end(mut self, restarts: u64) {
        assert_eq!(self.shared.closed(), (4001, "gateway auth changed".into()));
        let status = self.paired.ok("status", "{}");
        assert_eq!(number(&status, "barnacle.restarts"), restarts);
        self.server.refuse(&Offer::new().token("T1").scopes(READ)).expect("AUTH_TOKEN_MISMATCH");
        self.server.connect(&Offer::new().token("T2").scopes(READ)).ok("health", "{}");
        let again = Offer::device(&self.device).device_token(&self.paired.device_token()).scopes(ADMIN);
        self.server.connect(&again).ok("health", "{}");
        self.paired.ok("health", "{}");
        let log = self.server.log();
        assert_eq!(log.matches("(4001 gateway auth changed)").count(), 1, "{log}");
    }
}

#[test]
fn h38_a_device_that_has_just_paired_stays_when_the_token_is_reloaded() {
    let rotation = Rotation::begin("hot");
    Rotation::write(&rotation.home, "T2", "hot");
    rotation.server.wait_log(&["configuration reloaded: gateway.auth.token"]);
    rotation.end(0);
}

#[test]
fn h38_a_device_that_has_just_paired_stays_when_a_restart_reads_the_token() {
    let mut rotation = Rotation::begin("off");
    Rotation::write(&rotation.home, "T2", "off");
    rotation.server.wait_log(&["gateway.reload.mode is \"off\""]);
    rotation.shared.ok("health", "{}");
    rotation.server.restart(&mut rotation.paired);
    rotation.end(1);
}

#[test]
fn h38_the_command_that_restarts_with_the_old_token_reports_no_failure() {
    let rotation = Rotation::begin("off");
    Rotation::write(&rotation.home, "T2", "off");
    rotation.server.wait_log(&["gateway.reload.mode is \"off\""]);
    let (code, out, err) = rotation.home.run(&["gateway", "restart", "--token", "T1"]);
    assert!(code == 0 && out.contains("restarted"), "{code} {out}{err}");
    let mut rotation = rotation;
    assert_eq!(rotation.shared.closed(), (4001, "gateway auth changed".into()));
    assert_eq!(number(&rotation.paired.ok("status", "{}"), "barnacle.restarts"), 1);
}
