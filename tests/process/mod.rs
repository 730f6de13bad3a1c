//! The real binary: a gateway as a process of its own, and commands that call it.

#![allow(dead_code)]

use super::home::Home;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::thread;

pub const BINARY: &str = env!("CARGO_BIN_EXE_barnacle");

/// The binary with an environment in which nothing but `home` is known.
fn binary(home: &Home) -> Command {
    let mut command = Command::new(BINARY);
    command.env_clear().env("HOME", &home.0).env("OPENCLAW_HOME", &home.0).stdin(Stdio::null());
    command
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A running gateway; killed when dropped.
pub struct Gateway {
    child: Child,
    pub port: u16,
}

impl Gateway {
    /// Starts one in `home` and waits until it listens.
    pub fn start(home: &Home) -> Self {
        Self::start_with(home, &[])
    }

    pub fn start_with(home: &Home, args: &[&str]) -> Self {
        let port = free_port();
        let mut command = binary(home);
        command.args(["gateway", "--allow-unconfigured", "--port", &port.to_string()]).args(args);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = String::new();
        loop {
            let Some(Ok(line)) = lines.next() else { panic!("the gateway did not start:\n{said}") };
            said.push_str(&line);
            said.push('\n');
            if line.contains("listening on") {
                break;
            }
        }
        // It must never wait for a reader of its log.
        thread::spawn(move || lines.for_each(drop));
        Self { child, port }
    }

    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a service manager does, and waits until it is gone.
    pub fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// Runs `barnacle args` in `home`, with the port of the gateway it is to call.
pub fn run(home: &Home, port: u16, args: &[&str]) -> Done {
    let mut command = binary(home);
    command.env("OPENCLAW_GATEWAY_PORT", port.to_string()).args(args);
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Done { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

impl Done {
    /// Its output, if it went well.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// Its complaint, if it ended with `code`.
    #[track_caller]
    pub fn failed(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        self.err
    }
}
