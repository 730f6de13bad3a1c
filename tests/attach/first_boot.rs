//! Start before the kernel has random numbers, as on a board's first boot: the port is open and HTTP is answered,
//! the log names the cause, nobody is let in, and no secret is made.

use crate::wire::{Device, Home, LONG, Offer, READ, Server, signal};
use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    os::unix::net::UnixDatagram,
    path::Path,
    process::Command,
};

/// Starts the gateway of `home` on a kernel that is short of random numbers until [`give`] is called.
fn start(home: &Home, vars: &[(&str, &Path)]) -> Server {
    start_by(home, vars, &[])
}

/// The same, run by `by`.
fn start_by(home: &Home, vars: &[(&str, &Path)], by: &[&str]) -> Server {
    let gate = home.dir.join("gate");
    assert!(Command::new("mkfifo").arg(&gate).status().unwrap().success());
    let kernel = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/attach/kernel.py");
    let mut command = home.program("sh");
    command.args(["-euc", r#"gate=$1; shift; exec "$@" 0<>"$gate""#, "sh"]).arg(&gate);
    command.args(by).args(["python3", kernel, env!("CARGO_BIN_EXE_barnacle"), "gateway"]);
    command.args(["--port", &home.port.to_string()]).envs(vars.iter().copied());
    let server = Server::spawn(command, home.port);
    assert!(server.log().contains("waiting for the kernel's random numbers"), "{}", server.log());
    server
}

fn give(home: &Home) {
    fs::write(home.dir.join("gate"), "\n").unwrap();
}

#[test]
fn the_port_is_open_before_there_are_random_numbers() {
    let home = Home::empty();
    let at = home.dir.join("notify");
    let systemd = UnixDatagram::bind(&at).unwrap();
    systemd.set_read_timeout(Some(LONG)).unwrap();
    let message = || {
        let mut text = [0; 1024];
        let n = systemd.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..n]).into_owned()
    };
    let server = start(&home, &[("NOTIFY_SOCKET", &at)]);
    let longer = message();
    assert!(longer.starts_with("EXTEND_TIMEOUT_USEC=30000000\nSTATUS=waiting for the kernel's"), "{longer}");
    drop(TcpStream::connect((Ipv4Addr::LOCALHOST, home.port)).unwrap());
    assert_eq!(server.get("/health").0, 200);
    // In pieces, too.
    let mut pieces = TcpStream::connect((Ipv4Addr::LOCALHOST, home.port)).unwrap();
    pieces.set_read_timeout(Some(LONG)).unwrap();
    pieces.set_nodelay(true).unwrap();
    pieces.write_all(b"GET /hea").unwrap();
    server.get("/health");
    pieces.write_all(b"lth HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    pieces.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let (code, why) = server.get("/readyz");
    assert!(code == 503 && why.contains("random numbers"), "{code} {why}");
    let waiting = std::thread::spawn({
        let at = (Ipv4Addr::LOCALHOST, home.port).into();
        move || crate::wire::Client::open(at, &[]).unwrap().nonce
    });
    // All that is secret is yet to be made.
    assert!(!home.config_path().exists() && !home.store().exists());
    give(&home);
    assert_eq!(waiting.join().unwrap().len(), 32);
    while !message().starts_with("READY=1\n") {}
    assert!(home.store().join("key").exists());
    server.wait_log(&["the kernel has random numbers, after"]);
    server.stop();
}

#[test]
fn a_paired_device_waits_and_is_let_in() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, READ);
    server.stop();
    let server = start(&home, &[]);
    std::thread::scope(|scope| {
        let client = scope.spawn(|| server.connect(&Offer::device(&device)).ok("health", "{}"));
        assert!(!client.is_finished());
        give(&home);
        client.join().unwrap();
    });
    server.stop();
}

#[test]
fn it_can_be_stopped_while_it_waits() {
    // As the first process of a container or a board, too: none of its signals does anything by itself.
    let first = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"];
    for (by, name) in [(&[][..], "TERM"), (&first, "TERM"), (&first, "INT")] {
        let home = Home::fix();
        let mut server = start_by(&home, &[], by);
        let pid = match by {
            [] => server.pid().to_string(),
            _ => fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.pid())).unwrap(),
        };
        signal(pid.trim().parse().unwrap(), "HUP");
        signal(pid.trim().parse().unwrap(), name);
        server.wait_log(&["stopped while waiting", "(end of log)"]);
        let end = server.child.wait().unwrap();
        assert_eq!(end.code(), Some(0), "{by:?} {name}: {end}:\n{}", server.log());
    }
}
