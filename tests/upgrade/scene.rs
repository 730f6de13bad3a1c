//! A gateway in the middle of everything that a state can hold, and its state in format 2, as the release before
//! saves it.
//!
//! `state-format-2.bin` is such a state, kept so that it is read for ever: `src/handoff/format_2.rs` checks every
//! field of it. It was saved by b4befac, by this file: `BARNACLE_STATE=<file> cargo test --test upgrade -- the_state`.

use crate::{
    Upgrade, release_before,
    wire::{ADMIN, Client, Device, Offer, READ, Server, text},
};
use async_tungstenite::tungstenite::protocol::frame::{
    Frame,
    coding::{Data, OpCode},
};
use barnacle::internals::handoff::STATE_FORMAT;
use std::{
    fs,
    io::Write,
    net::{Ipv4Addr, TcpStream},
};

fn request(id: &str) -> Vec<u8> {
    let text = format!(r#"{{"type":"req","id":"{id}","method":"health","params":{{}}}}"#);
    let mut frame = Frame::message(text, OpCode::Data(Data::Text), true);
    frame.header_mut().mask = Some([1, 2, 3, 4]);
    let mut bytes = Vec::new();
    frame.format(&mut bytes).unwrap();
    bytes
}

/// A client of whose request a half is in the gateway's hands.
pub struct Half {
    client: Client,
    id: String,
    rest: Vec<u8>,
}

impl Half {
    pub fn begin(server: &Server) -> Self {
        let client = server.connect(&Offer::new().token("T1").scopes(READ));
        let mut half = Self { client, id: String::new(), rest: Vec::new() };
        half.begin_another();
        half
    }

    fn begin_another(&mut self) {
        self.id += "half";
        let (whole, half) = (request("whole"), request(&self.id));
        // Once the whole one before it is answered, the half is there.
        self.client.raw().write_all(&[&whole[..], &half[..half.len() / 2]].concat()).unwrap();
        self.client.answer("whole").unwrap();
        self.rest = half[half.len() / 2..].to_vec();
    }

    /// Completes the request, which is answered, and begins another.
    pub fn end_and_begin(&mut self) {
        self.client.raw().write_all(&self.rest).unwrap();
        self.client.answer(&self.id).unwrap();
        self.begin_another();
    }
}

/// Saves the state of a gateway of the release before, by asking it to hand over to a program that keeps what it is
/// asked about.
fn save(program: &[u8]) -> Vec<u8> {
    let mut up = Upgrade::begin_with(program);
    let server = &up.server;
    let mut device = Device::new();
    let offer = Offer::device(&device).token("T1").client("openclaw-tui", "ui").scopes(ADMIN);
    let mut tui = server.connect(&offer);
    device.token = Some(tui.device_token());
    tui.event("presence");
    let gone = Device::pair(server, READ);
    let node_device = Device::new();
    let mut node = server.connect(&Offer::node(&node_device, &["system.notify", "camera.snap"]).token("T1"));
    let pending = up.client.ok("node.pair.list", "{}");
    let id = text(&pending, "pending.0.requestId");
    up.client.ok("node.pair.approve", &format!(r#"{{"requestId":"{id}"}}"#));
    let params = format!(
        r#"{{"nodeId":"{}","command":"system.notify","params":{{}},"timeoutMs":600000,"idempotencyKey":"k"}}"#,
        node_device.id()
    );
    tui.ask("node.invoke", &params);
    node.event("node.invoke.request");
    let _half = Half::begin(server);
    // Two that have not attached: one was challenged, one is in the middle of its first line.
    let _challenged = server.socket();
    let mut first_line = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).unwrap();
    first_line.write_all(b"GET /heal").unwrap();
    server.refuse(&Offer::new().token("a guess").remote());
    let unknown = Device::new();
    server.refuse(&Offer::device(&unknown).token("T1").remote());
    drop(gone);
    up.client.ok("health", "{}");
    // Its standard input was read to its end by whoever wrote it.
    up.replace(b"#!/bin/sh\ncat /proc/self/fd/0 >\"$HOME/state\"\nexit 1\n");
    up.client.err("gateway.restart.request", "{}");
    fs::read(up.home.dir.join("state")).unwrap()
}

/// What the release before saves now is read by this version, and is what the fixture is.
pub fn is_read() {
    let Some(program) = release_before::program() else { return };
    let bytes = save(&fs::read(program).unwrap());
    let state = STATE_FORMAT.open(&bytes).unwrap();
    assert_eq!(state.memory.conns.len(), 4);
    assert_eq!(state.memory.pending_conns.len(), 2);
    assert_eq!(STATE_FORMAT.seal(&state, 2).bytes(), bytes, "written as it was read");
    if let Some(path) = std::env::var_os("BARNACLE_STATE") {
        fs::write(path, bytes).unwrap();
    }
}
