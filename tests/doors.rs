//! Listening elsewhere: where the configuration moves the port or the address, the new sockets open first,
//! the old ones close, and no connection ends. Where it cannot be, all stays as it was.

mod wire;

use std::{
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use wire::{Client, Device, Home, LONG, Offer, READ, Server, free_port, number, own_address, text};

fn listens(home: &Home, port: u16, bind: &str) {
    home.config(&format!(
        "{{gateway:{{mode:\"local\",bind:\"{bind}\",port:{port},auth:{{mode:\"token\",token:\"T1\"}}}}}}"
    ));
}

/// A gateway whose port is the file's alone.
fn start(home: &Home) -> Server {
    Server::spawn(home.command(&["gateway"]), home.port)
}

fn reachable(at: SocketAddr) -> bool {
    TcpStream::connect(at).is_ok()
}

/// Waits until `wanted` is so.
#[track_caller]
fn wait(what: &str, server: &Server, wanted: impl Fn() -> bool) {
    let end = Instant::now() + LONG;
    while !wanted() {
        assert!(Instant::now() < end, "{what}:\n{}", server.log());
        thread::sleep(Duration::from_millis(5));
    }
}

/// Connects all the time, from another thread; how often it was let in, and how often not.
struct Prober {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<(u32, Vec<String>)>,
    tried: Arc<AtomicU32>,
}

impl Prober {
    fn of(at: SocketAddr) -> Self {
        let (stop, tried) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (ends, counts) = (stop.clone(), tried.clone());
        let thread = thread::spawn(move || {
            let (mut in_, mut out) = (0, Vec::new());
            while !ends.load(Ordering::Relaxed) {
                match Client::open(at, &[]) {
                    Ok(_) => in_ += 1,
                    Err(e) => out.push(e),
                }
                counts.fetch_add(1, Ordering::Relaxed);
            }
            (in_, out)
        });
        Self { stop, thread, tried }
    }

    fn tries(&self, more: u32, server: &Server) {
        let from = self.tried.load(Ordering::Relaxed);
        wait("the prober is stuck", server, || self.tried.load(Ordering::Relaxed) > from + more);
    }

    fn end(self) -> (u32, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

#[test]
fn another_port_costs_no_connection() {
    let home = Home::empty();
    let (old, new) = (home.port, free_port());
    listens(&home, old, "loopback");
    let server = start(&home);
    let device = Device::pair(&server, READ);
    let mut client = server.connect(&Offer::device(&device));
    listens(&home, new, "loopback");
    let [at_old, at_new] = [old, new].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    wait("the new port is not open", &server, || reachable(at_new));
    wait("the old port is not closed", &server, || !reachable(at_old));
    assert_eq!(number(&client.ok("status", "{}"), "barnacle.port"), u64::from(new));
    Client::connect(at_new, &Offer::device(&device)).unwrap().ok("health", "{}");
    assert!(server.log().contains("0 connections closed"), "{}", server.log());
}

#[test]
fn a_port_that_somebody_has_changes_nothing() {
    let home = Home::empty();
    listens(&home, home.port, "loopback");
    let server = start(&home);
    let device = Device::pair(&server, READ);
    let mut client = server.connect(&Offer::device(&device));
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().port();
    listens(&home, taken, "loopback");
    let line = server.wait_log(&["still listening where it was"]);
    assert!(line.contains(&format!("port {taken} is in use")), "{line}");
    let status = client.ok("status", "{}");
    assert_eq!(number(&status, "barnacle.port"), u64::from(home.port));
    server.connect(&Offer::device(&device)).ok("health", "{}");
    // On the other loopback neither: half a gateway is none.
    assert!(TcpStream::connect(("::1", taken)).is_err());
}

#[test]
fn wider_and_narrower_on_one_port_refuses_nobody() {
    let Some(own) = own_address() else { return println!("this host has no address but loopback") };
    let home = Home::empty();
    listens(&home, home.port, "loopback");
    let server = start(&home);
    let device = Device::pair(&server, READ);
    let mut client = server.connect(&Offer::device(&device));
    let loopback = SocketAddr::from(([127, 0, 0, 1], home.port));
    let outside = SocketAddr::new(own, home.port);
    assert!(!reachable(outside));
    let prober = Prober::of(loopback);
    for _ in 0..10 {
        listens(&home, home.port, "lan");
        wait("not open to the network", &server, || reachable(outside));
        prober.tries(5, &server);
        listens(&home, home.port, "loopback");
        wait("still open to the network", &server, || !reachable(outside));
        prober.tries(5, &server);
    }
    let (let_in, refused) = prober.end();
    println!("{let_in} connects while the address changed 20 times, {} refused", refused.len());
    assert_eq!(refused, Vec::<String>::new());
    assert_eq!(text(&client.ok("status", "{}"), "barnacle.bind"), "loopback");
    // And nobody else can listen beside it afterwards.
    let (code, _, err) = home.run(&["gateway", "--port", &home.port.to_string()]);
    assert_eq!(code, 78, "{err}");
    assert!(err.contains("is in use"), "{err}");
}

#[test]
fn an_address_that_is_not_here_changes_nothing() {
    let home = Home::empty();
    listens(&home, home.port, "loopback");
    let server = start(&home);
    let mut client = server.admin();
    home.config(&format!(
        "{{gateway:{{mode:\"local\",bind:\"custom\",customBindHost:\"192.0.2.77\",port:{},\
         auth:{{mode:\"token\",token:\"T1\"}}}}}}",
        home.port
    ));
    let line = server.wait_log(&["still listening where it was"]);
    assert!(line.contains("192.0.2.77"), "{line}");
    client.ok("health", "{}");
    server.admin();
}

/// B69: whoever has the port for a moment longer is waited for.
#[test]
fn a_port_that_is_about_to_be_free_is_waited_for() {
    let home = Home::fix();
    let other = TcpListener::bind((IpAddr::from([127, 0, 0, 1]), home.port)).unwrap();
    let free = thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        drop(other);
    });
    home.start().admin();
    free.join().unwrap();
}
