//! A live session as plain data: serialised in the middle of a frame and with bytes unsent, restored by another
//! gateway over the same socket, while the client notices nothing.

use crate::wire::{Device, Home, Offer, READ, flag, number, text};
use async_tungstenite::tungstenite::{
    Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};
use barnacle::internals::{
    app::App,
    clock::Clock,
    config::{Env, Flags, Settings},
    gateway::Gateway,
    hub::{Audience, SavedConn},
    journal::Journal,
    protocol::{Event, Json},
    reactor::{Async, block_on},
};
use nanoserde::{DeBin, SerBin};
use smol::LocalExecutor;
use std::{io::Write, net::TcpStream, rc::Rc, sync::mpsc, thread};

fn start(home: &Home, executor: &Rc<LocalExecutor<'static>>) -> Rc<App> {
    let env: Env = [("HOME", home.dir.to_str().unwrap())].into_iter().collect();
    let settings = Settings::resolve(&env, &Flags { port: Some(home.port), ..Flags::default() }).unwrap();
    Gateway::start(settings, Clock::start(), Journal::install(false), executor.clone()).unwrap().accept()
}

/// A request as the masked frame a client sends.
fn frame(id: &str, method: &str) -> Vec<u8> {
    let text = format!(r#"{{"type":"req","id":"{id}","method":"{method}","params":{{}}}}"#);
    let mut frame = Frame::message(text, OpCode::Data(Data::Text), true);
    frame.header_mut().mask = Some([1, 2, 3, 4]);
    let mut bytes = Vec::new();
    frame.format(&mut bytes).unwrap();
    bytes
}

/// Runs a gateway until the test says so, then writes its only session down.
fn first(home: &Home, ready: mpsc::Sender<()>, enough: smol::channel::Receiver<()>) -> (Vec<u8>, TcpStream) {
    let executor = Rc::new(LocalExecutor::new());
    let app = start(home, &executor);
    ready.send(()).unwrap();
    block_on(executor.run(async { enough.recv().await.unwrap() })).unwrap();
    let conn = app.hub.conns.all().pop().unwrap();
    // Something under way to the client, too.
    conn.wire.queue(b"\x81\x02{}");
    let socket = conn.wire.socket().get_ref().try_clone().unwrap();
    let mut bytes = Vec::new();
    conn.write(&[], false, &mut bytes);
    (bytes, socket)
}

#[test]
fn a_live_session_continues_in_another_gateway() {
    let home = Home::fix();
    let (ready, is_ready) = mpsc::channel();
    let (stop, enough) = smol::channel::bounded(1);
    let (bytes, socket, mut client, device) = thread::scope(|scope| {
        let gateway = scope.spawn(|| first(&home, ready, enough));
        is_ready.recv().unwrap();
        let at = ([127, 0, 0, 1], home.port).into();
        let device = Device::new();
        let offer = Offer::device(&device).token("T1").client("openclaw-tui", "ui").scopes(READ);
        let mut client = crate::wire::Client::connect(at, &offer).unwrap();
        // An event, so that the sequence has begun.
        assert_eq!(number(&client.event("presence"), "seq"), 1);
        // One frame and a half: once the first is answered, the half is in the gateway's hands.
        let (whole, half) = (frame("a", "health"), frame("b", "status"));
        client.raw().write_all(&[&whole[..], &half[..half.len() / 2]].concat()).unwrap();
        client.answer("a").unwrap();
        stop.send_blocking(()).unwrap();
        let (bytes, socket) = gateway.join().unwrap();
        (bytes, socket, client, device)
    });
    // The first gateway is gone; its session is these bytes.
    let saved: SavedConn = DeBin::deserialize_bin(&bytes).unwrap();
    assert_eq!(saved.session.device.unwrap().to_string(), device.id());
    assert_eq!(saved.seq, 1);
    assert!(!saved.input.is_empty() && saved.output == b"\x81\x02{}");
    let again: SavedConn = DeBin::deserialize_bin(&saved.serialize_bin()).unwrap();
    assert_eq!(again, saved);
    // What it holds is of this thread.
    drop((again, saved));

    let other = Home::fix();
    let (stop, enough) = smol::channel::bounded(1);
    let (go, gone) = smol::channel::bounded(1);
    thread::scope(|scope| {
        scope.spawn(|| {
            let executor = Rc::new(LocalExecutor::new());
            let app = start(&other, &executor);
            let saved = DeBin::deserialize_bin(&bytes).unwrap();
            block_on(executor.run(async {
                let conn = Gateway::restore(&app, saved, Async::new(socket).unwrap());
                gone.recv().await.unwrap();
                app.hub.events.publish(Event::Tick, Audience::Everyone, &Json(r#"{"ts":1}"#.into()));
                assert!(conn.in_flight() == 0);
                enough.recv().await.unwrap();
            }))
            .unwrap();
        });
        // What was unsent arrives, the half frame is completed, the sequence continues.
        assert!(matches!(client.message().unwrap(), Message::Text(t) if t.as_str() == "{}"));
        let half = frame("b", "status");
        client.raw().write_all(&half[half.len() / 2..]).unwrap();
        let status = client.answer("b").unwrap();
        assert_eq!(text(&status, "barnacle.port"), other.port.to_string());
        go.send_blocking(()).unwrap();
        assert_eq!(number(&client.event("tick"), "seq"), 2);
        let health = client.ok("health", "{}");
        assert!(flag(&health, "ok"));
        stop.send_blocking(()).unwrap();
    });
}
