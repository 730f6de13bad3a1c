//! How often a turn waits for the disk: each `fdatasync` is slow on an SD card.

use crate::{crash_model::Step, model::Model, power_cut::recorded, runs::until_end, wire::Home};

#[test]
fn a_turn_waits_three_times_for_the_disk() {
    // Each with its session, and how often: the message and its run before it is accepted, and the answer; the name of a new
    // transcript; what a tool begins to change, and what it changed.
    const TURNS: [(&str, &str, usize); 6] = [
        // The first of all makes folders and logs.
        ("one", "say one", 10),
        ("one", "say two", 3),
        ("one", "call sessions_list {}", 3),
        ("two", "say one", 4),
        ("one", r#"call message {\"target\":\"two\",\"message\":\"hi\"}"#, 5),
        ("one", "say three", 3),
    ];
    let model = Model::start();
    let home = Home::empty();
    home.config(&model.config_with(home.port, "\"stand-in/echo\"", ""));
    let run = recorded(&home, |server| {
        let mut client = server.admin();
        for (n, (key, message, _)) in TURNS.iter().enumerate() {
            let params = format!(r#"{{"sessionKey":"{key}","message":"{message}","idempotencyKey":"K{n}"}}"#);
            client.ok("chat.send", &params);
            until_end(&mut client, &format!("K{n}"));
            // Where the turn is over.
            client.ok("health", "{}");
        }
    });
    // The hello, then two answers for each turn.
    let (mut answers, mut counted) = (0, [0; TURNS.len()]);
    for (step, _) in &run.steps {
        match step {
            Step::Ack => answers += 1,
            Step::Sync { .. } => counted[(answers - 1) / 2] += 1,
            _ => {}
        }
    }
    assert_eq!(answers, 1 + 2 * TURNS.len());
    println!("{counted:?}");
    assert!(counted[0] <= TURNS[0].2, "{counted:?}");
    assert_eq!(counted[1..], TURNS.map(|(.., syncs)| syncs)[1..]);
}
