//! The notify protocol and the descriptor store, with a stand-in for systemd that records, stores, passes at the next
//! start, and loses some of it where a test says so. With the real one: `systemd.rs`.

use crate::host::shared;
use crate::wire::{
    Client, Device, Home, LONG, Offer, READ, Server, free_port, list, number, own_address, signal,
};
use rustix::{
    io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd},
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
};
use std::{
    fs,
    io::IoSliceMut,
    mem::MaybeUninit,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::{fs::PermissionsExt, net::UnixDatagram},
    },
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::Instant,
};

/// A stand-in for systemd.
pub struct Systemd {
    pub home: Home,
    path: PathBuf,
    heard: Arc<(Mutex<Heard>, Condvar)>,
    vars: Vec<(&'static str, String)>,
}

#[derive(Default)]
struct Heard {
    told: Vec<String>,
    store: Vec<(String, OwnedFd)>,
}

/// What is passed has no `CLOEXEC` for a moment, in which no other test may start a process.
static PASSING: Mutex<()> = Mutex::new(());

impl Systemd {
    /// One that keeps up to `room` descriptors, and starts the gateway again after it ended, or not.
    pub fn new(room: usize, starts_again: bool) -> Self {
        let home = Home::fix();
        let path = home.dir.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let heard: Arc<(Mutex<Heard>, Condvar)> = Arc::default();
        thread::spawn({
            let heard = heard.clone();
            move || while hear(&socket, &heard, room) {}
        });
        // Where the tests themselves run as a service, the gateway asks about that one.
        let systemctl = home.dir.join("bin/systemctl");
        let policy = if starts_again { "always" } else { "no" };
        fs::create_dir(home.dir.join("bin")).unwrap();
        fs::write(&systemctl, format!("#!/bin/sh\ncase $* in *show*) echo {policy};; esac\n")).unwrap();
        fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
        let vars = if starts_again { vec![("FDSTORE", room.to_string())] } else { Vec::new() };
        Self { home, path, heard, vars }
    }

    /// Starts the gateway as systemd does, with the sockets of a socket unit and what it keeps.
    fn start(&self, given: &[TcpListener]) -> Server {
        self.start_program(Path::new(env!("CARGO_BIN_EXE_barnacle")), given)
    }

    /// The same, of another program.
    pub fn start_program(&self, program: &Path, given: &[TcpListener]) -> Server {
        let passing = PASSING.lock().unwrap_or_else(|e| e.into_inner());
        let heard = self.heard.0.lock().unwrap();
        let given = given.iter().map(|socket| ("barnacle-gateway.socket", socket.as_fd()));
        let kept = heard.store.iter().map(|(name, fd)| (name.as_str(), fd.as_fd()));
        let mut names = Vec::new();
        let mut passed = Vec::new();
        let mut script = String::new();
        for (n, (name, fd)) in given.chain(kept).enumerate() {
            let copy = fcntl_dupfd_cloexec(fd, 500).unwrap();
            fcntl_setfd(&copy, FdFlags::empty()).unwrap();
            script += &format!("exec {}<&{number} {number}<&-\n", 3 + n, number = copy.as_raw_fd());
            names.push(name);
            passed.push(copy);
        }
        script += "export LISTEN_PID=$$\n: ${WATCHDOG_PID:=$$}; export WATCHDOG_PID\nexec \"$@\"\n";
        let path = std::env::var_os("PATH").unwrap().into_string().unwrap();
        let mut command = Command::new("bash");
        command.args(["-c", &script, "bash"]).arg(program).arg("gateway");
        command.env_clear().env("HOME", &self.home.dir).env("NOTIFY_SOCKET", &self.path);
        command.env("PATH", format!("{}/bin:{path}", self.home.dir.display()));
        command.env("LISTEN_FDS", passed.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
        command.envs(self.vars.iter().cloned());
        drop(heard);
        let server = Server::spawn(command, self.home.port);
        drop((passed, passing));
        server
    }

    /// Tells the gateway to end, waits for that, and starts it again.
    fn restart(&self, server: Server) -> Server {
        server.stop();
        self.start(&[])
    }

    /// Waits until it was told the `n`th line that is `line`; everything it was told before that.
    #[track_caller]
    fn wait(&self, line: &str, n: usize) -> Vec<String> {
        let end = Instant::now() + LONG;
        let mut heard = self.heard.0.lock().unwrap();
        loop {
            let mut those = heard.told.iter().enumerate().filter(|(_, t)| t.lines().any(|l| l == line));
            if let Some((at, _)) = those.nth(n - 1) {
                return heard.told[..at].to_vec();
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "not {n} times {line}: {:?}", heard.told);
            heard = self.heard.1.wait_timeout(heard, left).unwrap().0;
        }
    }

    /// Loses descriptors.
    fn lose(&self, mut which: impl FnMut(&str) -> bool) {
        self.heard.0.lock().unwrap().store.retain(|(name, _)| !which(name));
    }

    fn kept(&self, name: &str) -> usize {
        self.heard.0.lock().unwrap().store.iter().filter(|(other, _)| other == name).count()
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        let _ = UnixDatagram::unbound().unwrap().send_to(b"END", &self.path);
    }
}

fn hear(socket: &UnixDatagram, heard: &(Mutex<Heard>, Condvar), room: usize) -> bool {
    let mut bytes = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC);
    let text = String::from_utf8(bytes[..got.unwrap().bytes].to_vec()).unwrap();
    let fds = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds.collect::<Vec<_>>()),
        _ => None,
    });
    let fds: Vec<OwnedFd> = fds.flatten().collect();
    let name = text.lines().find_map(|l| l.strip_prefix("FDNAME=")).unwrap_or("stored").to_owned();
    let mut to = heard.0.lock().unwrap();
    if text.lines().any(|l| l == "FDSTORE=1") {
        let left = room.saturating_sub(to.store.len());
        to.store.extend(fds.into_iter().take(left).map(|fd| (name.clone(), fd)));
    } else if text.lines().any(|l| l == "FDSTOREREMOVE=1") {
        to.store.retain(|(other, _)| *other != name);
    }
    let goes_on = text != "END";
    to.told.push(text);
    heard.1.notify_all();
    goes_on
}

/// Clients that call all the time until they are told to stop; each says how often it was answered.
fn call_all_the_time(clients: Vec<Client>, done: &Arc<AtomicBool>) -> Vec<thread::JoinHandle<u64>> {
    let calls = |mut client: Client| {
        let done = done.clone();
        thread::spawn(move || {
            let mut answered = 0;
            while !done.load(SeqCst) {
                client.ok("health", "{}");
                answered += 1;
            }
            answered
        })
    };
    clients.into_iter().map(calls).collect()
}

#[test]
fn a_restart_by_systemd_keeps_every_connection() {
    let systemd = Systemd::new(1000, true);
    let mut server = systemd.start(&[]);
    let device = Device::pair(&server, READ);
    let mut watch = server.connect(&Offer::new().token("T1"));
    let before = watch.ok("status", "{}");
    let offer = Offer::device(&device);
    let clients: Vec<_> = (0..6).map(|_| server.connect(&offer)).collect();
    // One that is on its way in all along.
    let waits = server.socket();
    let done = Arc::new(AtomicBool::new(false));
    let calling = call_all_the_time(clients, &done);
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port));
    let probing = thread::spawn({
        let done = done.clone();
        move || {
            let mut connects = 0;
            while !done.load(SeqCst) {
                Client::open(at, &[]).unwrap();
                connects += 1;
            }
            connects
        }
    });
    for n in 1..=5 {
        watch.ok("health", "{}");
        server = systemd.restart(server);
        let status = watch.ok("status", "{}");
        assert_eq!(number(&status, "barnacle.restarts"), n);
        assert_eq!(
            crate::wire::text(&status, "barnacle.bootId"),
            crate::wire::text(&before, "barnacle.bootId")
        );
        systemd.wait("READY=1", n as usize + 1);
        assert_eq!(systemd.kept("c") + systemd.kept("barnacle-state"), 0, "what was taken back is kept yet");
    }
    done.store(true, SeqCst);
    let answered: Vec<u64> = calling.into_iter().map(|thread| thread.join().unwrap()).collect();
    let connects: u64 = probing.join().unwrap();
    println!("5 restarts by systemd: {answered:?} calls answered, {connects} connects, none refused");
    assert!(answered.iter().all(|n| *n > 5) && connects > 5);
    waits.offer(&offer).unwrap().ok("health", "{}");
}

#[test]
fn lost_descriptors_are_reported_and_the_others_kept() {
    let systemd = Systemd::new(1000, true);
    let server = systemd.start(&[]);
    let mut clients: Vec<_> = (0..5).map(|_| server.connect(&Offer::new().token("T1"))).collect();
    server.stop();
    let mut lost = 0;
    systemd.lose(|name| {
        lost += usize::from(name == "c");
        name == "c" && lost <= 2
    });
    let server = systemd.start(&[]);
    server.wait_log(&["2 of 5 connections were lost in the hand-over"]);
    let goes_on = |client: &mut Client| {
        let id = client.ask("health", "{}");
        client.frame().is_ok_and(|frame| crate::wire::text(&frame, "id") == id)
    };
    assert_eq!(clients.iter_mut().filter_map(|client| goes_on(client).then_some(())).count(), 3);
    // Without what is known of them, connections are of no use.
    server.stop();
    systemd.lose(|name| name == "barnacle-state");
    let server = systemd.start(&[]);
    server.wait_log(&["systemd kept 3 connections, but not their state"]);
    assert_eq!(clients.iter_mut().filter_map(|client| goes_on(client).then_some(())).count(), 0);
    server.admin().ok("health", "{}");
}

#[test]
fn without_a_descriptor_store_every_client_is_told() {
    for (room, starts_again) in [(3, true), (1000, false)] {
        let systemd = Systemd::new(room, starts_again);
        let server = systemd.start(&[]);
        let mut clients: Vec<_> = (0..3).map(|_| server.connect(&Offer::new().token("T1"))).collect();
        signal(server.pid(), "TERM");
        for client in &mut clients {
            client.event("shutdown");
            assert_eq!(client.closed(), (1012, "gateway stopping".into()));
        }
        systemd.wait("STOPPING=1", 1);
        let no_room = "it has no room for all of them";
        match starts_again {
            true => drop(server.wait_log(&[no_room])),
            false => assert!(!server.log().contains(no_room), "{}", server.log()),
        }
        server.stop();
        assert_eq!(systemd.kept("c") + systemd.kept("barnacle-state"), 0);
    }
}

#[test]
fn a_kill_leaves_the_port_open() {
    let systemd = Systemd::new(1000, true);
    let server = systemd.start(&[]);
    systemd.wait("READY=1", 1);
    let mut client = server.connect(&Offer::new().token("T1"));
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port));
    server.kill();
    assert_eq!(client.closed().0, 1006);
    // It is taken in by the next.
    let early = thread::spawn(move || Client::connect(at, &Offer::new().token("T1")).map(drop));
    let mut other = std::net::TcpStream::connect(at).expect("the port is closed");
    std::io::Write::write_all(&mut other, b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let _server = systemd.start(&[]);
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut other, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    early.join().unwrap().unwrap();
}

#[test]
fn the_stored_listener_follows_the_configuration() {
    let systemd = Systemd::new(1000, true);
    let server = systemd.start(&[]);
    let before = systemd.wait("READY=1", 1);
    assert!(before.iter().all(|told| !told.contains("READY")), "{before:?}");
    let port = free_port();
    systemd.home.config(&shared(port));
    signal(server.pid(), "HUP");
    systemd.wait("RELOADING=1", 1);
    systemd.wait("READY=1", 2);
    server.kill();
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    std::net::TcpStream::connect(at(port)).expect("the new port is closed");
    std::net::TcpStream::connect(at(systemd.home.port)).expect_err("the old port is open");
}

#[test]
fn a_restart_is_notified() {
    let systemd = Systemd::new(1000, true);
    let server = systemd.start(&[]);
    let mut client = server.connect(&Offer::new().token("T1"));
    signal(server.pid(), "USR1");
    let before = systemd.wait("RELOADING=1", 1);
    // Memory included.
    let status = before.iter().find_map(|told| told.strip_prefix("READY=1\nSTATUS=0 devices")).unwrap();
    assert!(status.ends_with(" MiB"), "{before:?}");
    systemd.wait("READY=1", 2);
    client.ok("health", "{}");
    assert!(before.iter().all(|told| told != "WATCHDOG=1"), "nobody asked for it: {before:?}");
}

#[test]
fn the_watchdog_is_fed_if_it_is_this_process_that_is_watched() {
    let mut systemd = Systemd::new(0, true);
    systemd.vars.push(("WATCHDOG_USEC", "200000".into()));
    let server = systemd.start(&[]);
    systemd.wait("WATCHDOG=1", 3);
    // The next process image feeds it too.
    signal(server.pid(), "USR1");
    systemd.wait("READY=1", 2);
    let so_far = systemd.heard.0.lock().unwrap().told.iter().filter(|told| *told == "WATCHDOG=1").count();
    systemd.wait("WATCHDOG=1", so_far + 2);
    drop(server);
    let mut systemd = Systemd::new(0, true);
    systemd.vars.extend([("WATCHDOG_USEC", "1000".into()), ("WATCHDOG_PID", "1".into())]);
    let server = systemd.start(&[]);
    systemd.wait("READY=1", 1);
    signal(server.pid(), "HUP");
    assert!(systemd.wait("READY=1", 2).iter().all(|told| told != "WATCHDOG=1"), "another process is watched");
}

#[test]
fn a_socket_units_socket_is_served_and_opens_nothing_wider() {
    let systemd = Systemd::new(0, true);
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = other.local_addr().unwrap().port();
    let wide = TcpListener::bind((Ipv4Addr::UNSPECIFIED, systemd.home.port)).unwrap();
    let server = systemd.start(&[other, wide]);
    let mut client = server.connect(&Offer::new().token("T1"));
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    Client::connect(at, &Offer::new().token("T1")).unwrap().ok("health", "{}");
    let told = list(&client.ok("status", "{}"), "barnacle.notices").join("\n");
    for at in [format!("127.0.0.1:{port}"), format!("0.0.0.0:{}", server.port)] {
        assert!(told.contains(&format!("the socket unit listens on {at}")), "{told}");
    }
    if let Some(own) = own_address() {
        assert!(Client::open(SocketAddr::new(own, server.port), &[]).is_err(), "bind is loopback");
        server.wait_log(&["gateway.bind does not listen there"]);
    }
    // A hand-over keeps them.
    signal(server.pid(), "USR1");
    systemd.wait("READY=1", 2);
    Client::connect(at, &Offer::new().token("T1")).unwrap().ok("health", "{}");
    client.ok("health", "{}");
}
