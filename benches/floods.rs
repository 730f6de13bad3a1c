//! What a paired device sees while everything of `docs/hardening.md` that floods does so at once, beside the same without.
//!
//! The gateway has one processor, the floods and the device share the other. A device that is put off comes again, and
//! its attach lasts until it is in. See `benches/README.md`.

mod rig;

use rig::{Client, Failure, Gateway, Offer, TOKEN, field, pin, quantile, raise_descriptor_limit, stranger};
use std::{
    collections::VecDeque,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

/// How long each of both is measured, without `--seconds`.
const SECONDS: u64 = 20;
/// What nobody answers in is tried again.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections that a flood of them holds.
const HELD: usize = 700;
const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// What the floods are made against.
struct Scene {
    at: SocketAddr,
    /// A paired device that means harm.
    device: barnacle::internals::auth::identity::Identity,
    stop: AtomicBool,
}

/// Connections that a flood keeps open, the oldest first.
#[derive(Default)]
struct Held(VecDeque<TcpStream>);

impl Held {
    /// Connects, sends `bytes`, and keeps the connection and the `most` before it.
    fn open(&mut self, scene: &Scene, bytes: &[u8], most: usize) -> Result<(), Failure> {
        let mut socket = TcpStream::connect_timeout(&scene.at, PATIENCE)?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let _ = socket.write_all(bytes);
        self.keep(socket, most);
        Ok(())
    }

    fn keep(&mut self, socket: TcpStream, most: usize) {
        self.0.push_back(socket);
        if self.0.len() > most {
            self.0.pop_front();
        }
    }
}

/// The head of a text frame of so many bytes, masked with zeros.
fn head(length: usize) -> Vec<u8> {
    let mut bytes = vec![0x81, 0xff];
    bytes.extend((length as u64).to_be_bytes());
    bytes.extend([0; 4]);
    bytes
}

/// A connection of the device that means harm.
fn attached(scene: &Scene) -> Result<Client, Failure> {
    let mut client = Client::open(scene.at)?;
    client.wait_at_most(PATIENCE)?;
    client.raw().set_write_timeout(Some(PATIENCE))?;
    client.connect(&Offer { device: Some(&scene.device), token: None })?;
    client.hello()?;
    Ok(client)
}

/// One step of a flood.
type Step = fn(&Scene, &mut Held, u64) -> Result<(), Failure>;

const FLOODS: [(&str, Step); 9] = [
    ("connections that say nothing (H3)", |scene, held, _| held.open(scene, b"", HELD)),
    ("upgrades and then nothing (H3)", |scene, held, _| {
        held.open(scene, format!("{UPGRADE}\r\n").as_bytes(), HELD)
    }),
    ("halves of a request's head (H35)", |scene, held, _| {
        held.open(scene, format!("GET / HTTP/1.1\r\nCookie: {}", "c".repeat(30 << 10)).as_bytes(), HELD)
    }),
    ("halves of a connect (H2)", |scene, held, _| {
        let mut bytes = format!("{UPGRADE}\r\n").into_bytes();
        bytes.extend(head(250 << 10));
        bytes.resize(bytes.len() + (200 << 10), b' ');
        held.open(scene, &bytes, 64)
    }),
    ("messages of 24 MB that never end (H2)", |scene, held, _| {
        let mut client = attached(scene)?;
        client.raw().write_all(&head(24 << 20))?;
        client.raw().write_all(&vec![b' '; 8 << 20])?;
        held.keep(client.raw().try_clone()?, 8);
        Ok(())
    }),
    ("messages of 25 MB in small values (H1)", |scene, _, _| {
        let mut client = attached(scene)?;
        let mut text = br#"{"type":"req","id":"c","method":"health","params":{"x":["#.to_vec();
        while text.len() < 25 << 20 {
            text.extend(b"[0,0],");
        }
        text.extend(b"0]}}");
        text.truncate(25 << 20);
        client.raw().write_all(&head(text.len()))?;
        client.raw().write_all(&text)?;
        let _ = client.answer();
        Ok(())
    }),
    ("requests whose answers nobody reads (H43)", |scene, held, _| {
        let mut client = attached(scene)?;
        for _ in 0..200 {
            client.ask("config.schema", "{}")?;
        }
        held.keep(client.raw().try_clone()?, 20);
        Ok(())
    }),
    ("guesses of the shared token (H11)", |scene, _, n| {
        let mut client = Client::open(scene.at)?;
        client.wait_at_most(PATIENCE)?;
        client.connect(&Offer { device: None, token: Some(&format!("guess-{n}")) })?;
        let _ = client.hello();
        Ok(())
    }),
    ("refusals with a header of 10 KB (H6)", |scene, _, n| {
        let mut socket = TcpStream::connect_timeout(&scene.at, PATIENCE)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        write!(socket, "{UPGRADE}Origin: https://evil{n}.example/{}\r\n\r\n", "o".repeat(10_000))?;
        let _ = socket.read(&mut [0; 512]);
        Ok(())
    }),
];

/// What the device saw.
#[derive(Default)]
struct Seen {
    attaches: Vec<Duration>,
    calls: Vec<Duration>,
    again: u64,
    lateness: [f64; 2],
    resident: u64,
}

fn main() -> Result<(), Failure> {
    let mut words = std::env::args().skip_while(|word| word != "--seconds").skip(1);
    let seconds = words.next().map_or(Ok(SECONDS), |n| n.parse())?;
    raise_descriptor_limit();
    pin(None, 1)?;
    println!(
        "|  | attaches | p50 ms | p99 | max | came again | calls | p50 ms | p99 | max | lateness p99 ms | max | MB \
         at most |\n| --- {}|",
        "| --: ".repeat(12)
    );
    let mut made = Vec::new();
    for (name, flooded) in [("without", false), ("all floods at once", true)] {
        let Seen { mut attaches, mut calls, again, lateness, resident } =
            measure(Duration::from_secs(seconds), flooded, &mut made)?;
        attaches.sort();
        calls.sort();
        let ms = |times: &[Duration], share| quantile(times, share).as_secs_f64() * 1e3;
        let three = |t: &[Duration]| format!("{:.2} | {:.2} | {:.1}", ms(t, 0.5), ms(t, 0.99), ms(t, 1.0));
        println!(
            "| {name} | {} | {} | {again} | {} | {} | {:.2} | {:.1} | {:.1} |",
            attaches.len(),
            three(&attaches),
            calls.len(),
            three(&calls),
            lateness[0],
            lateness[1],
            resident as f64 / 1024.0
        );
    }
    println!();
    made.iter().for_each(|(name, steps)| println!("{steps:8} {name}"));
    Ok(())
}

/// Has a paired device attach and call for so long.
fn measure(time: Duration, flooded: bool, made: &mut Vec<(&str, u64)>) -> Result<Seen, Failure> {
    let gateway = Gateway::start()?;
    gateway.pin(0)?;
    let pair = || -> Result<_, Failure> {
        let device = stranger()?;
        Client::attach(gateway.at, &Offer { device: Some(&device), token: Some(TOKEN) })?.0.close()?;
        Ok(device)
    };
    let (mine, scene) = (pair()?, Scene { at: gateway.at, device: pair()?, stop: AtomicBool::new(false) });
    let counts: Vec<_> = FLOODS.iter().map(|_| AtomicU64::new(0)).collect();
    let seen = thread::scope(|scope| {
        if flooded {
            for ((_, step), count) in FLOODS.iter().zip(&counts) {
                let (scene, step): (_, Step) = (&scene, *step);
                scope.spawn(move || {
                    let mut held = Held::default();
                    while !scene.stop.load(Relaxed) {
                        let _ = step(scene, &mut held, count.fetch_add(1, Relaxed));
                    }
                });
            }
            // Until the places are taken.
            thread::sleep(Duration::from_secs(3));
        }
        let seen = look(gateway.at, &mine, time);
        scene.stop.store(true, Relaxed);
        seen
    });
    if flooded {
        made.extend(FLOODS.iter().zip(&counts).map(|((name, _), count)| (*name, count.load(Relaxed))));
    }
    Ok(Seen { resident: gateway.figure("status", "VmHWM:")?, ..seen? })
}

fn look(
    at: SocketAddr,
    device: &barnacle::internals::auth::identity::Identity,
    time: Duration,
) -> Result<Seen, Failure> {
    let mut seen = Seen::default();
    let attach = || -> Result<Client, Failure> {
        let mut client = Client::open(at)?;
        client.wait_at_most(PATIENCE)?;
        client.connect(&Offer { device: Some(device), token: None })?;
        client.hello()?;
        Ok(client)
    };
    let end = Instant::now() + time;
    let mut over = false;
    while !over {
        let began = Instant::now();
        let mut client = loop {
            match attach() {
                Ok(client) => break client,
                Err(_) if began.elapsed() < 12 * PATIENCE => seen.again += 1,
                Err(e) => return Err(format!("the device does not attach: {e}").into()),
            }
        };
        seen.attaches.push(began.elapsed());
        for _ in 0..4 {
            let began = Instant::now();
            client.call("health", "{}")?;
            seen.calls.push(began.elapsed());
        }
        over = Instant::now() >= end;
        if over {
            let status = client.call("status", "{}")?;
            let us =
                |key| Ok::<f64, Failure>(field(&status, key).ok_or("no lateness")?.parse::<f64>()? / 1e3);
            seen.lateness = [us("\"latenessP99Us\":")?, us("\"latenessMaxUs\":")?];
        }
        let _ = client.close();
    }
    Ok(seen)
}
