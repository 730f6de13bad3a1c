//! `barnacle config plan`: the effects of an edit, without making it.

use crate::wire::{ADMIN, Device, Home, Offer};
use std::fs;

#[test]
fn the_reference_page_has_the_table_of_keys() {
    let home = Home::empty();
    let (code, table, err) = home.run(&["config", "plan", "--table"]);
    assert_eq!((code, &*err), (0, ""));
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md")).unwrap();
    assert!(
        page.contains(&table),
        "docs/configuration.md does not hold what `barnacle config plan --table` prints:\n{table}"
    );
}

#[test]
fn a_plan_names_whom_it_closes_and_writes_nothing() {
    let home = Home::fix();
    let before = fs::read_to_string(home.config_path()).unwrap();
    let server = home.start();
    let device = Device::pair(&server, ADMIN);
    let mut agent = server.connect(&Offer::device(&device).token(device.token()));
    let mut cli = server.admin();

    let rows: &[(&[&str], &[&str])] = &[
        (&[], &["Nothing changes.", "No connection is closed."]),
        (
            &["channels.whatsapp.allowFrom", "['*']"],
            &["+channels.whatsapp.allowFrom: ", "No connection is closed."],
        ),
        (&["gateway.auth.token", "T2"], &["gateway.auth.token: ", "(cli)", "1 connection is closed"]),
        (&["--unset", "gateway.auth.token"], &["-gateway.auth.token", "there is no shared token any more"]),
        (
            &["gateway.tls.enabled", "true"],
            &["gateway.tls.enabled: new connections speak TLS", "No connection is closed."],
        ),
        (
            &["gateway.tls", "{enabled: true, autoGenerate: false}"],
            &["it would say: ", "autoGenerate is false"],
        ),
    ];
    for (words, expected) in rows {
        let args: Vec<&str> = ["config", "plan"].iter().chain(*words).copied().collect();
        let (code, out, err) = home.run(&args);
        assert_eq!((code, &*err), (0, ""), "{words:?}: {out}");
        for part in *expected {
            assert!(out.contains(part), "{words:?}: no {part:?} in {out}");
        }
        assert_eq!(fs::read_to_string(home.config_path()).unwrap(), before);
    }
    let candidate = home.dir.join("candidate.json");
    fs::write(&candidate, before.replace("T1", "T9")).unwrap();
    let (code, out, _) = home.run(&["config", "plan", "--file", candidate.to_str().unwrap()]);
    assert!(code == 0 && out.contains("1 connection is closed"), "{out}");
    fs::write(&candidate, "{").unwrap();
    let (code, _, err) = home.run(&["config", "plan", "--file", candidate.to_str().unwrap()]);
    assert!(code == 1 && err.contains("candidate.json"), "{err}");

    // Done, it does what it said.
    agent.ok("health", "{}");
    home.config(&before.replace("T1", "T2"));
    assert_eq!(cli.closed(), (4001, "gateway auth changed".into()));
    agent.ok("health", "{}");

    server.stop();
    let (code, out, _) = home.run(&["config", "plan", "gateway.port", "1234"]);
    assert!(
        code == 0 && out.contains("gateway.port: the new address") && out.contains("No gateway runs"),
        "{out}"
    );
}
