//! The report that started this project, step by step: an agent is paired, two harmless keys of the WhatsApp
//! channel are edited, the gateway restarts, and the agent attaches again. Then everything its reporter tried.

use crate::wire::{Device, Home, Offer, READ, Server};
use std::fs;

/// The config of the report, with the two keys as they were and as they became.
fn config(port: u16, token: &str, allow_from: &str, group: &str) -> String {
    format!(
        r#"{{
  // the reporter's board
  gateway: {{ mode: "local", bind: "loopback", port: {port}, auth: {{ mode: "token", token: "{token}" }} }},
  channels: {{ whatsapp: {{ allowFrom: [{allow_from}], ackReaction: {{ emoji: "👀", direct: true, group: "{group}" }} }} }},
}}
"#
    )
}

/// The agent comes back with what it stored, and calls.
#[track_caller]
fn attached(server: &Server, agent: &Device, when: &str) {
    let mut client = server.connect(&Offer::device(agent).token(agent.token()));
    assert_eq!(client.device_token(), agent.token(), "{when}: another token than the one it holds");
    client.ok("health", "{}");
    client.ok("status", "{}");
}

#[test]
fn the_agent_stays_attached() {
    let home = Home::empty();
    let before = config(home.port, "T1", "\"+15550001\"", "mentions");
    let after = config(home.port, "T1", "\"+15550001\", \"+15550002\"", "always");
    home.config(&before);
    let server = home.start();
    let agent = Device::pair(&server, READ);
    attached(&server, &agent, "after pairing");

    home.config(&after);
    server.stop();
    let server = home.start();
    attached(&server, &agent, "after SIGTERM and start");
    server.kill();
    let server = home.start();
    attached(&server, &agent, "after kill -9 and start");

    // 1. Restart repeatedly.
    let mut server = server;
    for round in 0..5 {
        server.stop();
        server = home.start();
        attached(&server, &agent, &format!("after restart {round}"));
    }

    // 2. A new gateway.auth.token.
    home.config(&config(home.port, "T2", "\"+15550001\"", "always"));
    server.stop();
    let server = home.start();
    attached(&server, &agent, "after a new gateway.auth.token");

    // 3. The backup of the config.
    home.config(&before);
    server.stop();
    let mut server = home.start();
    attached(&server, &agent, "after the restored backup");

    // 4. Auth mode token, none, token.
    for (mode, when) in [("none", "in auth mode none"), ("token", "back in auth mode token")] {
        home.config(&before.replace(r#"mode: "token""#, &format!(r#"mode: "{mode}""#)));
        server.stop();
        server = home.start();
        attached(&server, &agent, when);
    }

    // 5. The client's token file is deleted: it has its key, and the shared token of the config.
    let mut client = server.connect(&Offer::device(&agent).token("T1"));
    assert_eq!(client.device_token(), agent.token(), "the same token again");
    client.ok("health", "{}");
    // And with the shared token gone too, its key alone.
    server.connect(&Offer::device(&agent)).ok("status", "{}");
    server.stop();

    // 6. OPENCLAW_GATEWAY_TOKEN set to something else.
    let server = home.start_with(&[], &[("OPENCLAW_GATEWAY_TOKEN", "T-of-the-unit")]);
    attached(&server, &agent, "with another OPENCLAW_GATEWAY_TOKEN");
    server.connect(&Offer::device(&agent).token("T1")).ok("health", "{}");
    server.wait_log(&["OPENCLAW_GATEWAY_TOKEN is the token in force"]);
    server.stop();
    assert_eq!(fs::read_to_string(home.config_path()).unwrap(), before, "the config was written to");
}
