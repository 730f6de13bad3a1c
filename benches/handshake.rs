//! How long a client waits: TCP connect to `hello-ok`, beside what it cannot be shorter than.
//!
//! Every handshake is measured in turn with its floor (a TCP connect and two round trips to an echo
//! server in a process of its own, one Ed25519 signature and one strict verification), so that
//! whatever else the machine does falls on both alike. See `benches/README.md`.

mod rig;

use barnacle::internals::auth::identity::Identity;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use rig::{Client, Failure, Gateway, Offer, TOKEN, connect_frame, field, pin, quantile, stranger, us};
use std::{
    hint::black_box,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const HELP: &str = "\
cargo bench --bench handshake -- [--count <n>] [--peer <ws-url> --token <shared token>]

  --count <n>   handshakes of each kind [2000]
  --peer <url>  measure the gateway that runs there instead of a Barnacle of this build
";

/// The processor of the client, and that of the gateway and of the floor's echo server.
const CLIENT: usize = 0;
const SERVER: usize = 1;
/// Handshakes under way together in a storm.
const STORM: usize = 16;

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let (mut count, mut peer, mut token) = (2000, None, TOKEN.to_owned());
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(HELP);
        match arg.as_str() {
            "--echo" => return echo(),
            "--bench" => {}
            "--count" => count = value()?.parse()?,
            "--peer" => peer = Some(value()?),
            "--token" => token = value()?,
            _ => {
                print!("{HELP}");
                return Ok(());
            }
        }
    }
    let server = SERVER.min(std::thread::available_parallelism()?.get() - 1);
    pin(None, CLIENT)?;
    let floor = Floor::start(server)?;
    match peer {
        None => {
            let gateway = Gateway::start()?;
            gateway.pin(server)?;
            println!("barnacle {}, {count} handshakes of each kind", env!("CARGO_PKG_VERSION"));
            measure(&floor, gateway.at, TOKEN, count, Some(&gateway))
        }
        Some(url) => {
            let host = url.trim_start_matches("ws://").trim_end_matches('/');
            let at = host.to_socket_addrs()?.next().ok_or("the peer has no address")?;
            println!("{url}, {count} handshakes of each kind");
            measure(&floor, at, &token, count, None)
        }
    }
}

/// Measures each way in.
fn measure(
    floor: &Floor,
    at: SocketAddr,
    shared: &str,
    count: usize,
    gateway: Option<&Gateway>,
) -> Result<(), Failure> {
    let me = stranger()?;
    let paired = Offer { device: Some(&me), token: Some(shared) };
    let (client, hello) = Client::attach(at, &paired)?;
    client.close()?;
    let token = field(&hello, "\"deviceToken\":\"").ok_or("no device token in hello-ok")?;

    println!(
        "\nµs, TCP connect to hello-ok    p50     p90     p99     max  p50/floor  at once/s  gateway CPU"
    );
    let ways: [(&str, Option<&Identity>, Option<&str>); 3] = [
        ("device token", Some(&me), Some(token)),
        ("key proof, no token", Some(&me), None),
        ("shared token, no device", None, Some(shared)),
    ];
    let mut floors = Parts::default();
    for (name, device, token) in ways {
        let offer = Offer { device, token };
        let row = || -> Result<Row, Failure> {
            let mut row = Row::default();
            for turn in 0..count + count / 10 {
                if turn == count / 10 {
                    row = Row::default();
                }
                row.floor.add(floor, device.is_some())?;
                row.attach(at, &offer)?;
            }
            (row.rate, row.cpu) = storm(at, &offer, count, gateway)?;
            Ok(row)
        };
        report(name, row(), &mut floors);
    }
    let row = || -> Result<Row, Failure> {
        let mut row = Row::default();
        // Each costs a commit, and the file grows with each.
        for _ in 0..count.min(500) {
            let new = stranger()?;
            row.floor.add(floor, true)?;
            row.attach(at, &Offer { device: Some(&new), token: Some(shared) })?;
        }
        Ok(row)
    };
    report("new device, one commit", row(), &mut floors);

    println!("\nfloor with a device, µs        p50     p90     p99     max");
    let Parts { network, sign, verify, .. } = floors;
    for (name, times) in [("connect, two round trips", network), ("sign", sign), ("verify", verify)] {
        println!("{name:25}{}", spread(times));
    }
    Ok(())
}

/// The times of one way in.
#[derive(Default)]
struct Row {
    times: Vec<Duration>,
    floor: Parts,
    rate: f64,
    cpu: Option<Duration>,
}

impl Row {
    fn attach(&mut self, at: SocketAddr, offer: &Offer<'_>) -> Result<(), Failure> {
        let began = Instant::now();
        let (client, _) = Client::attach(at, offer)?;
        self.times.push(began.elapsed());
        client.close()?;
        Ok(())
    }
}

fn report(name: &str, row: Result<Row, Failure>, floors: &mut Parts) {
    let mut row = match row {
        Ok(row) => row,
        Err(refused) => return println!("{name:25} {refused:.160}"),
    };
    row.times.sort();
    row.floor.whole.sort();
    let ratio = us(quantile(&row.times, 0.5)) / us(quantile(&row.floor.whole, 0.5));
    let rate = if row.rate > 0.0 { format!("{:.0}", row.rate) } else { String::new() };
    let cpu = row.cpu.map(|cpu| format!("{:.0} µs", us(cpu))).unwrap_or_default();
    println!("{name:25}{} {ratio:10.2} {rate:>10} {cpu:>12}", spread(row.times));
    println!("{:25}{}", "  its floor", spread(row.floor.whole));
    if !row.floor.sign.is_empty() {
        *floors = Parts { whole: Vec::new(), ..row.floor };
    }
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let quantiles = [0.5, 0.9, 0.99, 1.0].map(|share| format!("{:8.0}", us(quantile(&times, share))));
    quantiles.concat()
}

/// Handshakes per second with [`STORM`] of them under way, and what each costs the gateway.
fn storm(
    at: SocketAddr,
    offer: &Offer<'_>,
    count: usize,
    gateway: Option<&Gateway>,
) -> Result<(f64, Option<Duration>), Failure> {
    let cpu = || gateway.map(Gateway::cpu).transpose();
    let (mut spent, mut ran, mut done) = (Duration::ZERO, Duration::ZERO, 0);
    while done < count {
        let (began, before) = (Instant::now(), cpu()?);
        let mut clients = (0..STORM).map(|_| Client::open(at)).collect::<Result<Vec<_>, _>>()?;
        clients.iter_mut().try_for_each(|c| c.connect(offer))?;
        clients.iter_mut().try_for_each(|c| c.hello().map(drop))?;
        spent += began.elapsed();
        ran += cpu()?.zip(before).map_or(Duration::ZERO, |(after, before)| after - before);
        clients.into_iter().try_for_each(Client::close)?;
        done += STORM;
    }
    Ok((done as f64 / spent.as_secs_f64(), gateway.map(|_| ran / done as u32)))
}

/// What no gateway can be faster than.
struct Floor {
    echo: Child,
    at: SocketAddr,
    frame: String,
    key: SigningKey,
}

/// The floor's times, part by part.
#[derive(Default)]
struct Parts {
    whole: Vec<Duration>,
    network: Vec<Duration>,
    sign: Vec<Duration>,
    verify: Vec<Duration>,
}

impl Floor {
    fn start(cpu: usize) -> Result<Self, Failure> {
        let mut echo = Command::new(std::env::current_exe()?).arg("--echo").stdout(Stdio::piped()).spawn()?;
        pin(Some(&echo), cpu)?;
        let mut line = String::new();
        BufReader::new(echo.stdout.take().ok_or("no pipe")?).read_line(&mut line)?;
        let me = stranger()?;
        let frame = connect_frame(&Offer { device: Some(&me), token: Some(TOKEN) }, &"n".repeat(32), 1);
        Ok(Self { echo, at: line.trim().parse()?, frame, key: SigningKey::from_bytes(&[7; 32]) })
    }

    /// A TCP connect and two round trips, the sizes of a handshake's.
    fn network(&self) -> Result<Duration, Failure> {
        let mut answer = [0; 4096];
        let began = Instant::now();
        let mut socket = TcpStream::connect(self.at)?;
        socket.set_nodelay(true)?;
        for text in [&self.frame[..160], &self.frame] {
            socket.write_all(text.as_bytes())?;
            socket.read_exact(&mut answer[..text.len()])?;
        }
        Ok(began.elapsed())
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.echo.kill();
        let _ = self.echo.wait();
    }
}

impl Parts {
    fn add(&mut self, floor: &Floor, device: bool) -> Result<(), Failure> {
        let network = floor.network()?;
        self.network.push(network);
        let mut whole = network;
        if device {
            let began = Instant::now();
            let signature: Signature = black_box(floor.key.sign(&floor.frame.as_bytes()[..250]));
            let signed = began.elapsed();
            let key = floor.key.verifying_key().to_bytes();
            let began = Instant::now();
            let key = VerifyingKey::from_bytes(black_box(&key))?;
            key.verify_strict(&floor.frame.as_bytes()[..250], &signature)?;
            let verified = began.elapsed();
            self.sign.push(signed);
            self.verify.push(verified);
            whole += signed + verified;
        }
        self.whole.push(whole);
        Ok(())
    }
}

/// The other process of the floor: echoes one connection after the other.
fn echo() -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    for socket in listener.incoming() {
        let mut socket = socket?;
        socket.set_nodelay(true)?;
        let mut bytes = [0; 4096];
        while let Ok(n @ 1..) = socket.read(&mut bytes) {
            socket.write_all(&bytes[..n])?;
        }
    }
    Ok(())
}
