//! What it costs to stand in front of another gateway: latency and rate of a relayed call, memory of a relayed client, and
//! how soon what waited is sent once that gateway is back.
//!
//! Behind it is a stand-in of this program, not OpenClaw: it answers each call at once with the same kilobyte, so what is
//! measured is the relay. See `benches/README.md`.

mod rig;

use rig::{
    Client, Failure, Gateway, OF_ONE_DEVICE, Offer, TOKEN, attach, bare_relay::BareRelay, pin, quantile,
    raise_descriptor_limit, stranger, us,
};
use rustix::net::{Shutdown, shutdown};
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

/// Calls of each kind whose latency is taken.
const CALLS: usize = 10_000;
/// Time for which a rate is taken.
const RATE: Duration = Duration::from_secs(3);
/// Between these numbers of clients the slope of memory is taken.
const FEW: usize = 100;
const MANY: usize = 600;
/// Calls that wait while the stand-in is away, and the clients that make them.
const WAITING: usize = 200;
const WAITERS: usize = 10;
/// Times that it goes away.
const TIMES: usize = 7;
/// A method that is relayed.
const METHOD: &str = "agents.list";

fn main() -> Result<(), Failure> {
    BareRelay::serve_if_asked()?;
    // Inherited by the gateway.
    rustix::thread::disable_transparent_huge_pages(true)?;
    raise_descriptor_limit();
    pin(None, 0)?;
    let behind = StandIn::new()?;

    let gateway = Gateway::start_in_front_of(behind.at)?;
    gateway.pin(1)?;
    connected(&gateway)?;
    latency(&gateway, &behind)?;
    rates(&gateway, &behind)?;
    back(&gateway, &behind)?;
    drop(gateway);
    memory(&behind)
}

/// Waits until the gateway is connected to the one behind it.
fn connected(gateway: &Gateway) -> Result<(), Failure> {
    state(&mut attach(gateway.at)?, "connected")
}

/// Waits until the gateway says that of the one behind it.
fn state(client: &mut Client, state: &str) -> Result<(), Failure> {
    let end = Instant::now() + Duration::from_secs(30);
    while !client.call("health", "{}")?.contains(&format!(r#""state":"{state}""#)) {
        if Instant::now() > end {
            return Err(format!("the stand-in is not {state}").into());
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// One call after the other, in turn directly to the stand-in, through a relay that does nothing, and relayed.
fn latency(gateway: &Gateway, behind: &StandIn) -> Result<(), Failure> {
    let bare = BareRelay::start(behind.at)?;
    for (on, cpu) in [("a processor of its own", 1), ("the processor of both its sides", 0)] {
        gateway.pin(cpu)?;
        pin(Some(&bare.child), cpu)?;
        println!("\nµs a call, the relay on {on}");
        println!("                            p50      p90      p99      max");
        let ways =
            [("direct", behind.at), ("by a relay that does nothing", bare.at), ("relayed", gateway.at)];
        let mut ways = ways
            .into_iter()
            .map(|(name, at)| Ok((name, attach(at)?, Vec::with_capacity(CALLS))))
            .collect::<Result<Vec<_>, Failure>>()?;
        for n in 0..CALLS + CALLS / 10 {
            for (_, client, times) in &mut ways {
                let began = Instant::now();
                client.call(METHOD, "{}")?;
                if n >= CALLS / 10 {
                    times.push(began.elapsed());
                }
            }
        }
        let share = |times: &[Duration], share| us(quantile(times, share));
        for (name, _, times) in &mut ways {
            times.sort();
            let at = |n| share(times, n);
            println!("{name:30} {:6.1} {:8.1} {:8.1} {:8.1}", at(0.5), at(0.9), at(0.99), at(1.0));
        }
        for (name, more, less) in [("added", 2, 0), ("added to that relay", 2, 1)] {
            let at = |n| share(&ways[more].2, n) - share(&ways[less].2, n);
            println!("{name:30} {:6.1} {:8.1} {:8.1}", at(0.5), at(0.9), at(0.99));
        }
    }
    gateway.pin(1)
}

/// Calls a second.
fn rates(gateway: &Gateway, behind: &StandIn) -> Result<(), Failure> {
    println!("\ncalls a second                        relayed     direct");
    for (name, connections, under_way) in
        [("1 connection", 1, 1), ("1 connection, 64 under way", 1, 64), ("16 connections", 16, 1)]
    {
        let relayed = rate(gateway.at, connections, under_way)?;
        let direct = rate(behind.at, connections, under_way)?;
        println!("{name:35} {relayed:9.0} {direct:10.0}");
    }
    Ok(())
}

fn rate(at: SocketAddr, connections: usize, under_way: usize) -> Result<f64, Failure> {
    let mut clients = (0..connections).map(|_| attach(at)).collect::<Result<Vec<_>, _>>()?;
    for client in &mut clients {
        client.call(METHOD, "{}")?;
    }
    let began = Instant::now();
    let threads: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            thread::spawn(move || -> Result<usize, String> {
                let said = |e: &dyn std::fmt::Display| e.to_string();
                for _ in 0..under_way {
                    client.ask(METHOD, "{}").map_err(|e| said(&e))?;
                }
                let mut calls = 0;
                while began.elapsed() < RATE {
                    client.answer().map_err(|e| said(&e))?;
                    client.ask(METHOD, "{}").map_err(|e| said(&e))?;
                    calls += 1;
                }
                Ok(calls)
            })
        })
        .collect();
    let mut calls = 0;
    for thread in threads {
        calls += thread.join().map_err(|_| "a client's thread failed")??;
    }
    Ok(calls as f64 / began.elapsed().as_secs_f64())
}

/// From the moment at which the stand-in listens again until it was sent all that waited.
fn back(gateway: &Gateway, behind: &StandIn) -> Result<(), Failure> {
    let mut clients = (0..WAITERS).map(|_| attach(gateway.at)).collect::<Result<Vec<_>, _>>()?;
    let (mut first, mut last) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        for client in &mut clients {
            client.call(METHOD, "{}")?;
        }
        behind.leave()?;
        for client in &mut clients {
            state(client, "away")?;
            for _ in 0..WAITING / WAITERS {
                client.ask(METHOD, "{}")?;
            }
            // It is answered here, so what came before it has been read.
            state(client, "away")?;
        }
        let back = behind.back()?;
        let (one, all) = behind.calls(WAITING)?;
        first.push(one - back);
        last.push(all - back);
        for client in &mut clients {
            for _ in 0..WAITING / WAITERS {
                client.answer()?;
            }
        }
    }
    println!("\nms from listening again, {TIMES} times     p50      max");
    for (name, times) in [("the first call of those waiting", &mut first), ("all 200 of them", &mut last)] {
        times.sort();
        let at = |share| us(quantile(times, share)) / 1e3;
        println!("{name:34} {:8.1} {:8.1}", at(0.5), at(1.0));
    }
    Ok(())
}

/// Anonymous memory for a client that made one relayed call, beside one of a gateway with nothing behind it.
fn memory(behind: &StandIn) -> Result<(), Failure> {
    let alone = slope(&Gateway::start()?, "health")?;
    let gateway = Gateway::start_in_front_of(behind.at)?;
    connected(&gateway)?;
    let relayed = slope(&gateway, METHOD)?;
    println!("\nbytes of anonymous memory a client (the slope from {FEW} to {MANY})");
    println!(
        "nothing behind   {alone:8.0}\nrelayed          {relayed:8.0}\nof that, relay   {:8.0}",
        relayed - alone
    );
    Ok(())
}

fn slope(gateway: &Gateway, method: &str) -> Result<f64, Failure> {
    let devices = (0..MANY.div_ceil(OF_ONE_DEVICE))
        .map(|_| {
            let me = stranger()?;
            Client::attach(gateway.at, &Offer { device: Some(&me), token: Some(TOKEN) })?.0.close()?;
            Ok(me)
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    let mut clients = Vec::with_capacity(MANY);
    let mut at = |count: usize| -> Result<u64, Failure> {
        while clients.len() < count {
            let device = Some(&devices[clients.len() / OF_ONE_DEVICE]);
            let mut client = Client::attach(gateway.at, &Offer { device, token: None })?.0;
            client.call(method, "{}")?;
            clients.push(client);
        }
        gateway.figure("smaps_rollup", "Anonymous:")
    };
    let (few, many) = (at(FEW)?, at(MANY)?);
    Ok((many as f64 - few as f64) * 1024.0 / (MANY - FEW) as f64)
}

/// A stand-in for OpenClaw: it lets everybody attach, and answers every call with the same kilobyte.
struct StandIn {
    at: SocketAddr,
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    change: Condvar,
}

#[derive(Default)]
struct State {
    listener: Option<Arc<TcpListener>>,
    sockets: Vec<TcpStream>,
    /// Calls since it is back: how many, when the first came and when the last did.
    calls: usize,
    first: Option<Instant>,
    last: Option<Instant>,
}

impl StandIn {
    fn new() -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let this = Self { at: listener.local_addr()?, inner: Arc::default() };
        this.listen(listener)?;
        Ok(this)
    }

    fn state(&self) -> Result<std::sync::MutexGuard<'_, State>, Failure> {
        self.inner.state.lock().map_err(|_| "the stand-in failed".into())
    }

    fn listen(&self, listener: TcpListener) -> Result<(), Failure> {
        let listener = Arc::new(listener);
        self.state()?.listener = Some(listener.clone());
        let inner = self.inner.clone();
        thread::spawn(move || {
            while let Ok((socket, _)) = listener.accept() {
                let inner = inner.clone();
                thread::Builder::new().stack_size(128 << 10).spawn(move || inner.serve(socket)).ok();
            }
        });
        Ok(())
    }

    /// Goes away.
    fn leave(&self) -> Result<(), Failure> {
        let mut state = self.state()?;
        if let Some(listener) = state.listener.take() {
            shutdown(&*listener, Shutdown::Both)?;
        }
        for socket in state.sockets.drain(..) {
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
        Ok(())
    }

    /// Listens again; returns when.
    fn back(&self) -> Result<Instant, Failure> {
        {
            let mut state = self.state()?;
            (state.calls, state.first, state.last) = (0, None, None);
        }
        let end = Instant::now() + Duration::from_secs(10);
        let listener = loop {
            match TcpListener::bind(self.at) {
                Ok(listener) => break listener,
                Err(e) if Instant::now() > end => return Err(e.into()),
                Err(_) => {}
            }
        };
        let back = Instant::now();
        self.listen(listener)?;
        Ok(back)
    }

    /// Waits for so many calls; when the first came, and when the last did.
    fn calls(&self, count: usize) -> Result<(Instant, Instant), Failure> {
        let mut state = self.state()?;
        while state.calls < count {
            let (next, late) = self
                .inner
                .change
                .wait_timeout(state, Duration::from_secs(30))
                .map_err(|_| "the stand-in failed")?;
            state = next;
            if late.timed_out() {
                return Err(format!("{} calls of {count} came", state.calls).into());
            }
        }
        state.first.zip(state.last).ok_or_else(|| "no call came".into())
    }
}

impl Inner {
    fn serve(&self, socket: TcpStream) {
        let _ = self.talk(socket);
    }

    fn talk(&self, mut socket: TcpStream) -> io::Result<()> {
        socket.set_nodelay(true)?;
        let other = || io::Error::from(io::ErrorKind::Other);
        self.state.lock().map_err(|_| other())?.sockets.push(socket.try_clone()?);
        let mut input = BufReader::with_capacity(4096, socket.try_clone()?);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if input.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap_or_default();
        let accept = async_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
        write!(
            socket,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        )?;
        let challenge = r#"{"type":"event","event":"connect.challenge","payload":{"nonce":"cc82e5a0-aa37-47d4-a062-ec4884048e9c","ts":1795512528144}}"#;
        socket.write_all(&frame(challenge))?;
        let connect = next(&mut input)?;
        let hello = r#"{"type":"hello-ok","protocol":4,"server":{"version":"2026.9.6","bootId":"stand-in","connId":"c"},"features":{"methods":["agents.list"],"events":["chat"]},"snapshot":{"presence":[],"health":{"ok":true},"stateVersion":{"presence":1,"health":1},"uptimeMs":1},"auth":{"role":"operator","scopes":["operator.read"]},"policy":{"maxPayload":26214400,"maxBufferedBytes":52428800,"tickIntervalMs":30000}}"#;
        socket.write_all(&frame(&answer(&connect, hello)))?;
        let payload = format!(r#"{{"agents":[],"text":"{}"}}"#, "x".repeat(1000));
        loop {
            let request = next(&mut input)?;
            socket.write_all(&frame(&answer(&request, &payload)))?;
            let now = Instant::now();
            let mut state = self.state.lock().map_err(|_| other())?;
            state.calls += 1;
            state.first.get_or_insert(now);
            state.last = Some(now);
            if state.calls.is_multiple_of(WAITING) {
                self.change.notify_all();
            }
        }
    }
}

fn answer(request: &str, payload: &str) -> String {
    let id = rig::field(request, "\"id\":\"").unwrap_or_default();
    format!(r#"{{"type":"res","id":"{id}","ok":true,"payload":{payload}}}"#)
}

/// The next text of a client.
fn next(input: &mut impl Read) -> io::Result<String> {
    loop {
        let mut head = [0; 2];
        input.read_exact(&mut head)?;
        let length = match head[1] & 0x7f {
            126 => {
                let mut length = [0; 2];
                input.read_exact(&mut length)?;
                usize::from(u16::from_be_bytes(length))
            }
            n @ 0..=125 => usize::from(n),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        let mut mask = [0; 4];
        input.read_exact(&mut mask)?;
        let mut payload = vec![0; length];
        input.read_exact(&mut payload)?;
        payload.iter_mut().enumerate().for_each(|(at, byte)| *byte ^= mask[at % 4]);
        match head[0] {
            0x81 => return String::from_utf8(payload).map_err(|_| io::ErrorKind::InvalidData.into()),
            0x88 => return Err(io::ErrorKind::ConnectionAborted.into()),
            _ => {}
        }
    }
}

/// A text frame of a server.
fn frame(text: &str) -> Vec<u8> {
    let mut bytes = vec![0x81];
    match u16::try_from(text.len()).unwrap_or(u16::MAX) {
        n @ 0..=125 => bytes.push(n as u8),
        n => {
            bytes.push(126);
            bytes.extend(n.to_be_bytes());
        }
    }
    bytes.extend(text.as_bytes());
    bytes
}
