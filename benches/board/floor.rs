//! What no gateway can be faster than on this machine at this moment: a TCP connect and two round trips of a
//! handshake's sizes to a process that echoes them, and on the way one Ed25519 signature and one strict
//! verification.

use crate::rig::{Failure, Offer, TOKEN, connect_frame, stranger};
use barnacle::internals::auth::identity::Identity;
use ed25519_dalek::{Signature, VerifyingKey};
use std::{
    hint::black_box,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Bytes of the upgrade's request, and of what a device signs.
const UPGRADE: usize = 160;
const SIGNED: usize = 250;
/// What the first byte of the second message says: it is signed, or more will come.
const SIGNS: u8 = 1;
const STAYS: u8 = 2;

/// The echo server, and what is sent to it.
pub struct Floor {
    echo: Child,
    at: SocketAddr,
    frame: Vec<u8>,
    me: Identity,
}

impl Floor {
    /// Starts the echo server: a program that has [`echo`], by `words`.
    pub fn start(words: &[String]) -> Result<Self, Failure> {
        let me = stranger()?;
        let frame = connect_frame(&Offer { device: Some(&me), token: Some(TOKEN) }, &"n".repeat(32), 1);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg("--echo").arg(frame.len().to_string());
        let mut echo = command.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(echo.stdout.take().ok_or("no pipe")?).read_line(&mut line)?;
        Ok(Self { echo, at: line.trim().parse()?, frame: frame.into(), me })
    }

    /// Its process.
    pub fn process(&self) -> &Child {
        &self.echo
    }

    /// So many at once: how long each took.
    pub fn batch(&self, count: usize, device: bool) -> Result<Vec<Duration>, Failure> {
        let mut under_way = Vec::with_capacity(count);
        for _ in 0..count {
            let began = Instant::now();
            let mut socket = TcpStream::connect(self.at)?;
            socket.set_nodelay(true)?;
            socket.write_all(&self.frame[..UPGRADE])?;
            under_way.push((began, socket));
        }
        let mut answer = vec![0; self.frame.len()];
        for (_, socket) in &mut under_way {
            socket.read_exact(&mut answer[..UPGRADE])?;
            socket.write_all(&self.frame_of(if device { SIGNS } else { 0 }))?;
        }
        let last = |(began, mut socket): (Instant, TcpStream)| {
            socket.read_exact(&mut answer)?;
            Ok(began.elapsed())
        };
        under_way.into_iter().map(last).collect()
    }

    /// The second message: what a client of that kind signs, and its signature; or a text without one.
    fn frame_of(&self, kind: u8) -> Vec<u8> {
        let mut frame = self.frame.clone();
        frame[0] = kind;
        if kind == SIGNS {
            let text = String::from_utf8_lossy(&frame[1..SIGNED]).into_owned();
            let signature = self.me.sign(&text);
            frame[SIGNED..SIGNED + 86].copy_from_slice(signature.as_bytes());
            frame[SIGNED + 86..SIGNED + 118].copy_from_slice(&self.me.public_key().0);
        }
        frame
    }

    /// Round trips of a request's size on one connection, one after the other: a second.
    pub fn round_trips(&self, count: usize) -> Result<f64, Failure> {
        let mut socket = TcpStream::connect(self.at)?;
        socket.set_nodelay(true)?;
        socket.write_all(&self.frame[..UPGRADE])?;
        let mut answer = vec![0; self.frame.len()];
        socket.read_exact(&mut answer[..UPGRADE])?;
        socket.write_all(&self.frame_of(STAYS))?;
        socket.read_exact(&mut answer)?;
        let began = Instant::now();
        for _ in 0..count {
            socket.write_all(&answer[..60])?;
            socket.read_exact(&mut answer[..60])?;
        }
        Ok(count as f64 / began.elapsed().as_secs_f64())
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.echo.kill();
        let _ = self.echo.wait();
    }
}

/// The other process: two messages of each connection in turn, then whatever comes until it is closed.
pub fn echo(length: usize) -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let mut bytes = vec![0; length.max(4096)];
    for socket in listener.incoming() {
        let mut socket = socket?;
        socket.set_nodelay(true)?;
        socket.read_exact(&mut bytes[..UPGRADE])?;
        socket.write_all(&bytes[..UPGRADE])?;
        socket.read_exact(&mut bytes[..length])?;
        if bytes[0] == SIGNS {
            verify(&bytes)?;
        }
        socket.write_all(&bytes[..length])?;
        // Only one that said so stays: whoever has many under way waits for the next.
        while bytes[0] == STAYS && socket.read_exact(&mut bytes[1..61]).is_ok() {
            socket.write_all(&bytes[1..61])?;
        }
    }
    Ok(())
}

fn verify(frame: &[u8]) -> Result<(), Failure> {
    let key = VerifyingKey::from_bytes(black_box(frame[SIGNED + 86..SIGNED + 118].try_into()?))?;
    let signature =
        barnacle::internals::protocol::base64url_decode(std::str::from_utf8(&frame[SIGNED..SIGNED + 86])?);
    let signature = Signature::from_slice(&signature.ok_or("no signature")?)?;
    Ok(key.verify_strict(String::from_utf8_lossy(&frame[1..SIGNED]).as_bytes(), &signature)?)
}
