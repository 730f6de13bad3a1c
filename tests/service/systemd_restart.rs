//! Restarts by a real systemd with clients that call all the time: it stops the gateway, keeps its descriptors, and
//! starts it again, and no client notices.

use crate::host::{Host, UNIT, shared};
use crate::wire::{Client, Offer, free_port, number};
use std::{
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
};

#[test]
fn a_restart_by_systemd_is_not_noticed() {
    let host = Host::user();
    let port = free_port();
    host.config(&shared(port));
    host.ok(&["gateway", "install"]);
    host.until_property(UNIT, "ActiveState", "active");
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let connect = || Client::connect(at, &Offer::new().token("T1")).expect("let in");
    let mut watch = connect();
    let done = Arc::new(AtomicBool::new(false));
    let calling: Vec<_> = (0..20)
        .map(|_| {
            let (mut client, done) = (connect(), done.clone());
            thread::spawn(move || {
                let mut answered = 0u64;
                while !done.load(SeqCst) {
                    client.ok("health", "{}");
                    answered += 1;
                }
                (client, answered)
            })
        })
        .collect();
    let probing = thread::spawn({
        let done = done.clone();
        move || {
            let mut connects = 0u64;
            while !done.load(SeqCst) {
                Client::open(at, &[]).expect("a connect was refused");
                connects += 1;
            }
            connects
        }
    });
    let mut pids = vec![host.property(UNIT, "MainPID")];
    for n in 1..=5 {
        let (code, _, err) = host.systemctl(&["restart", UNIT]);
        assert_eq!(code, 0, "{err}\nlog:\n{}", host.log());
        assert!(!host.log().contains("does not keep the connections"), "{}", host.log());
        assert_eq!(number(&watch.ok("status", "{}"), "barnacle.restarts"), n, "{}", host.log());
        pids.push(host.property(UNIT, "MainPID"));
        // What it keeps now is the listening sockets.
        host.until("systemd keeps more than it should", || {
            let kept: u32 = host.property(UNIT, "NFileDescriptorStore").parse().ok()?;
            (kept <= 2 && kept > 0).then_some(())
        });
    }
    let distinct: std::collections::BTreeSet<_> = pids.iter().collect();
    assert_eq!(distinct.len(), 6, "another process each time: {pids:?}");
    assert_eq!(host.systemctl(&["reload", UNIT]).0, 0);
    host.until("it does not restart", || {
        (number(&watch.ok("status", "{}"), "barnacle.restarts") == 6).then_some(())
    });
    assert_eq!(host.property(UNIT, "MainPID"), pids[5], "a reload is the same process");
    done.store(true, SeqCst);
    let mut clients = Vec::new();
    let mut all = 0;
    for thread in calling {
        let (client, answered) = thread.join().unwrap();
        clients.push(client);
        all += answered;
    }
    let connects = probing.join().unwrap();
    println!(
        "5 systemctl restarts and a reload: 20 clients, {all} calls answered, none closed; {connects} connects"
    );
    // A kill costs the connections, not the port.
    host.systemctl(&["kill", "-s", "KILL", UNIT]);
    TcpStream::connect(at).expect("the port closed at a kill");
    for client in &mut clients {
        assert_eq!(client.closed().0, 1006);
    }
    host.until_property(UNIT, "NRestarts", "1");
    let mut last = connect();
    // A stop is no restart: everyone is told.
    assert_eq!(host.systemctl(&["stop", UNIT]).0, 0);
    assert_eq!(last.closed(), (1012, "gateway stopping".into()));
    assert_eq!(host.property(UNIT, "ActiveState"), "inactive");
    TcpStream::connect(at).expect_err("the port is open");
}
