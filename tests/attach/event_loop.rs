//! The one thread waits for no disk: of the calls that may, a running gateway makes none on it.

use super::budgets::until;
use crate::wire::{ADMIN, Client, Device, Home, Offer, READ, Strace, json, signal, text};
use std::{
    fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::Stdio,
};

/// Calls that take a name, and those on a file that wait for its disk.
const CALLS: &str = "trace=%file,fsync,fdatasync,ftruncate,pwrite64,pread64,fallocate,write";

/// Whether a traced line is a call that may wait for a disk.
fn waits(line: &str) -> bool {
    let call = line.split_once(' ').map_or("", |(_, call)| call.trim_start());
    match call.split_once('(') {
        // Of descriptors, those of the kernel's own (a socket, a bell) are left out; standard error is a file here.
        Some(("write", rest)) => rest.starts_with("2,"),
        // What the kernel makes up as it is read; nothing else can be open that is asked by its descriptor.
        Some((_, rest)) => !["\"/proc/self/", "\"/dev/null\"", "AT_EMPTY_PATH"]
            .iter()
            .any(|of_kernel| rest.contains(of_kernel)),
        None => false,
    }
}

#[test]
fn h5_nothing_on_the_loop_waits_for_a_disk() {
    let home = Home::fix();
    home.gateway(r#"auth:{mode:"token",token:"T1"},reload:{debounceMs:5}"#);
    let log = home.dir.join("log");
    let mut command = home.command(&["gateway"]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let logged = |what: &str| until(what, || fs::read_to_string(&log).unwrap().contains(what));
    logged("listening on");
    let at = (Ipv4Addr::LOCALHOST, home.port).into();
    let connect = |offer: &Offer<'_>| Client::connect(at, offer).map_err(|r| json(&r.error));
    let mut admin = connect(&Offer::new().token("T1").scopes(ADMIN)).unwrap();
    // A change or two, so that what follows the start is over.
    home.gateway(r#"auth:{mode:"token",token:"T1"},reload:{debounceMs:4}"#);
    logged("configuration reloaded");
    let trace = home.dir.join("trace");
    let strace = Strace::attach(child.id(), &["-o", trace.to_str().unwrap(), "-e", CALLS]);

    let mut device = Device::new();
    let client = connect(&Offer::device(&device).token("T1").scopes(READ)).unwrap();
    device.token = Some(client.device_token());
    connect(&Offer::device(&device).device_token(device.token())).unwrap().ok("health", "{}");
    admin.ok("device.token.rotate", &format!(r#"{{"deviceId":"{}","role":"operator"}}"#, device.id()));
    connect(&Offer::new().token("wrong")).err().unwrap();
    ["health", "status", "logs.tail", "config.get", "config.schema", "config.plan"]
        .iter()
        .for_each(|method| _ = admin.ok(method, "{}"));
    let hash = text(&admin.ok("config.get", "{}"), "hash");
    let patch = format!(r#"{{"raw":"{{gateway:{{controlUi:{{enabled:false}}}}}}","baseHash":"{hash}"}}"#);
    admin.ok("config.patch", &patch);
    fs::write(home.config_path(), "{gateway: {").unwrap();
    logged("configuration not reloaded");
    // A port that somebody has, who is looked for among all processes.
    let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = held.local_addr().unwrap().port();
    home.config(&format!(r#"{{gateway:{{mode:"local",port:{port},auth:{{mode:"token",token:"T1"}}}}}}"#));
    signal(child.id(), "HUP");
    logged("still listening where it was");
    // All of the state is taken away, and made anew.
    fs::rename(home.config_path().parent().unwrap(), home.dir.join("away")).unwrap();
    until("it is written again", || home.store().join("openclaw.json.last").exists());
    admin.ok("health", "{}");
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, home.port)).is_ok());

    drop(strace);
    let trace = fs::read_to_string(&trace).unwrap();
    let main = child.id().to_string();
    let (of_loop, of_workers): (Vec<_>, Vec<_>) =
        trace.lines().partition(|line| line.split(' ').next() == Some(&main));
    for done in ["inotify_add_watch(", "rename", "fsync(", "write(2,", "/proc/"] {
        assert!(of_workers.iter().any(|line| line.contains(done)), "no worker did {done}");
    }
    let waiting: Vec<_> = of_loop.into_iter().filter(|line| waits(line)).collect();
    assert!(waiting.is_empty(), "on the loop:\n{}", waiting.join("\n"));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// What a file was not given yet when the gateway restarts or stops is in it afterwards.
#[test]
fn h5_a_log_in_a_file_is_whole() {
    let home = Home::fix();
    let log = home.dir.join("log");
    let mut command = home.command(&["gateway"]);
    let stderr = fs::File::create(&log).unwrap();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
    let read = || fs::read_to_string(&log).unwrap();
    until("it listens", || read().contains("listening on"));
    let connect = || {
        let offer = Offer::new().token("T1").scopes(ADMIN);
        Client::connect((Ipv4Addr::LOCALHOST, home.port).into(), &offer).map_err(|r| json(&r.error)).unwrap()
    };
    let mut admin = connect();
    signal(child.id(), "USR1");
    until("it has restarted", || crate::wire::number(&admin.ok("status", "{}"), "barnacle.restarts") == 1);
    signal(child.id(), "TERM");
    assert!(child.wait().unwrap().success());
    let lines = read();
    assert!(lines.ends_with('\n'), "{lines}");
    assert!(lines.contains("SIGUSR1") || lines.contains("restart"), "{lines}");
    assert!(lines.contains("SIGTERM: stopping"), "{lines}");
    assert_eq!(lines.matches("listening on").count(), 1, "{lines}");
}
