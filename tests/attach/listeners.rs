//! Moving the listeners: where the configuration changes the port or the address, the new sockets open first, the
//! old ones close, and no connection ends. Where that fails, all stays as it was.

use crate::wire::{
    Client, Device, Home, LONG, Offer, READ, Server, free_port, list, number, own_address, text,
};
use std::{
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

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
fn changing_the_port_closes_no_connection() {
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
    server.wait_log(&["0 connections closed"]);
}

#[test]
fn a_port_in_use_changes_nothing() {
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
fn binding_wider_and_narrower_refuses_nobody() {
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

/// A host of its own, with nothing but a loopback device: a network namespace.
struct Host<'h> {
    server: Server,
    home: &'h Home,
}

impl<'h> Host<'h> {
    fn start(home: &'h Home) -> Self {
        let gateway = home.command(&["gateway"]);
        let script = format!("ip link set lo up && exec {} gateway", gateway.get_program().display());
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net", "sh", "-c", &script]).env_clear();
        command.env("HOME", &home.dir).env("PATH", std::env::var_os("PATH").unwrap());
        Self { server: Server::spawn(command, home.port), home }
    }

    /// Runs a command there.
    fn run(&self, command: &str) -> Result<String, String> {
        let out = Command::new("nsenter")
            .args(["--user", "--preserve-credentials", "--net", "--target", &self.server.pid().to_string()])
            .args(["timeout", "20", "sh", "-c", command])
            .env("HOME", &self.home.dir)
            .env("B", env!("CARGO_BIN_EXE_barnacle"))
            .output()
            .unwrap();
        let output = [out.stdout, out.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        if out.status.success() { Ok(output.concat()) } else { Err(output.concat()) }
    }

    #[track_caller]
    fn ok(&self, command: &str) -> String {
        self.run(command).unwrap_or_else(|e| panic!("{command}: {e}\n{}", self.server.log()))
    }

    /// Asks the gateway by `ip`.
    fn ask(&self, ip: &str) -> Result<String, String> {
        let ip = if ip.contains(':') { format!("[{ip}]") } else { ip.into() };
        self.run(&format!("\"$B\" health --url ws://{ip}:{} --token T1 --timeout 10000", self.home.port))
    }
}

/// Wi-Fi and DHCP are late at boot, and come and go.
#[test]
fn a_new_address_is_served_without_a_reload() {
    for (ip, length) in [("10.9.9.1", "/32"), ("fd00::9", "/128 nodad")] {
        let home = Home::empty();
        home.config(&format!(
            "{{gateway:{{mode:\"local\",bind:\"custom\",customBindHost:\"{ip}\",port:{},\
             auth:{{mode:\"token\",token:\"T1\"}}}}}}",
            home.port
        ));
        let host = Host::start(&home);
        let absent = "this host does not have";
        let line = host.server.wait_log(&[absent]);
        assert!(line.contains(ip) && !host.server.wait_log(&["listening on"]).contains(ip), "{line}");
        host.ask("127.0.0.1").unwrap();
        for _ in 0..2 {
            host.ask(ip).unwrap_err();
            assert!(host.ok("\"$B\" status").contains(absent), "status does not say that {ip} is not there");
            let doctor = host.run("\"$B\" doctor").unwrap_or_else(|e| e);
            assert!(doctor.contains(&format!("{ip}, which {absent}")), "{doctor}");
            host.ok(&format!("ip addr add {ip}{length} dev lo"));
            // The kernel's way to an address of IPv6 is there a moment after the address.
            wait("not served as it came", &host.server, || host.ask(ip).is_ok());
            assert!(!host.ok("\"$B\" status").contains(absent), "status says that {ip} is not there");
            host.ok(&format!("ip addr del {ip}{} dev lo", length.split(' ').next().unwrap()));
        }
        assert!(!host.server.log().contains("reloaded"), "{}", host.server.log());
    }
}

/// The tailnet's address is not known before it is there.
#[test]
fn the_tailnet_is_served_once_it_is_up() {
    let home = Home::empty();
    listens(&home, home.port, "tailnet");
    let host = Host::start(&home);
    host.server.wait_log(&["gateway.bind is tailnet, and this host has no address in one now"]);
    host.ask("127.0.0.1").unwrap();
    for ip in ["100.101.102.103", "100.101.102.104"] {
        host.ok(&format!("ip addr add {ip}/32 dev lo && ip route add 100.100.100.100 dev lo src {ip}"));
        host.server.wait_log(&[&format!("listening on {ip}:{}", home.port)]);
        host.ask(ip).unwrap();
        host.ask("127.0.0.1").unwrap();
        assert!(!host.ok("\"$B\" status").contains("has no address in one"), "{ip}");
        host.ok(&format!("ip addr del {ip}/32 dev lo"));
        assert!(host.ok("\"$B\" status").contains("has no address in one"), "{ip}");
    }
}

#[test]
fn a_missing_address_leaves_the_others_served() {
    let home = Home::empty();
    listens(&home, home.port, "loopback");
    let server = start(&home);
    let mut client = server.admin();
    for (host, message) in
        [("192.0.2.77", "configuration reloaded"), ("fe80::77", "still listening where it was")]
    {
        home.config(&format!(
            "{{gateway:{{mode:\"local\",bind:\"custom\",customBindHost:\"{host}\",port:{},\
             auth:{{mode:\"token\",token:\"T1\"}}}}}}",
            home.port
        ));
        server.wait_log(&[message]);
        let notices = list(&client.ok("status", "{}"), "barnacle.notices").join("\n");
        assert!(notices.contains(host), "{notices}");
        server.admin();
    }
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
