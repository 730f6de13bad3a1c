//! A kill at every system call of a handoff: the store opens, the port is free, and a paired device is let in.

use crate::wire::{ADMIN, Device, Home, Offer, READ, Strace, number, signal, text};

/// The calls that a hand-over is made of, and that a kill before it or within could leave half done.
const CALLS: [&str; 16] = [
    "memfd_create",
    "fcntl",
    "execve",
    "pread64",
    "flock",
    "epoll_ctl",
    "unlink",
    "ioctl",
    "rt_sigprocmask",
    "openat",
    "read",
    "write",
    "close",
    "clone3",
    "wait4",
    "mmap",
];

#[derive(PartialEq, Debug)]
enum End {
    Killed,
    Stayed,
    Restarted,
}

/// Restarts, with the process killed at the `n`th `call` from then on.
fn killed_at(home: &Home, device: &Device, call: &str, n: u32) -> End {
    let mut server = home.start();
    let mut client = server.connect(&Offer::device(device).scopes(READ));
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:signal=SIGKILL:when={n}"));
    let _strace = Strace::attach(server.pid(), &["-e", &trace, "-e", &inject]);
    signal(server.pid(), "USR1");
    loop {
        if server.child.try_wait().unwrap().is_some() {
            break End::Killed;
        }
        client.ask("status", "{}");
        let Ok(frame) = client.frame() else { continue };
        if text(&frame, "type") != "res" {
            continue;
        }
        if crate::wire::get(&frame, "payload.barnacle.notRestarted").is_some() {
            break End::Stayed;
        }
        if number(&frame, "payload.barnacle.restarts") == 1 {
            break End::Restarted;
        }
    }
}

#[test]
fn killed_at_every_call_of_a_hand_over() {
    let home = Home::fix();
    let server = home.start();
    let device = Device::pair(&server, ADMIN);
    server.stop();
    let (mut killed, mut stayed) = (0, 0);
    for call in CALLS {
        for n in 1.. {
            match killed_at(&home, &device, call, n) {
                End::Killed => killed += 1,
                End::Stayed => stayed += 1,
                End::Restarted => break,
            }
            let server = home.start();
            let mut client = server.connect(&Offer::device(&device).scopes(ADMIN));
            assert_eq!(client.device_token(), device.token(), "after {call} number {n}");
            client.ok("health", "{}");
        }
    }
    println!("killed {killed} times, the proof failed {stayed} times");
    assert!(killed > 150, "only {killed} kills");
}
