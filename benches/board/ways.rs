//! A handshake, from TCP connect to `hello-ok`: of each kind, alone and many at once, each batch in turn with
//! its floor, so that whatever else the machine does falls on both alike. Only one alone has a floor: what many
//! at once take depends on how they are interleaved.

use crate::{
    Run,
    floor::Floor,
    rig::{Client, Failure, Offer, TOKEN, answer_to, field, stranger},
    subject::{PATIENCE, Subject},
    table::{Cell, Column, Table},
};
use barnacle::internals::{auth::identity::Identity, store::atomic};
use std::{
    fs,
    time::{Duration, Instant},
};

/// How many are under way together.
const AT_ONCE: [usize; 3] = [1, 8, 64];
/// How many when throughput is measured.
const STORM: usize = 16;

/// A device that the subject has paired, and its token.
pub struct Paired {
    me: Identity,
    token: String,
}

impl Paired {
    /// Pairs one.
    pub fn new(subject: &Subject) -> Result<Self, Failure> {
        let me = stranger()?;
        let (client, hello) = Client::attach(subject.at, &Offer { device: Some(&me), token: Some(TOKEN) })?;
        client.close()?;
        let token = field(&hello, "\"deviceToken\":\"").ok_or("no device token in hello-ok")?.to_owned();
        Ok(Self { me, token })
    }

    /// What it comes back with.
    pub fn offer(&self) -> Offer<'_> {
        Offer { device: Some(&self.me), token: Some(&self.token) }
    }
}

/// Latency of each kind of handshake.
pub fn handshakes(table: &mut Table, run: &Run, subject: &Subject, floor: &Floor) -> Result<(), Failure> {
    const PART: &str = "handshake";
    let paired = Paired::new(subject)?;
    let keys = Offer { device: Some(&paired.me), token: None };
    let shared = Offer { device: None, token: Some(TOKEN) };
    let kinds = [("device token", paired.offer()), ("key proof", keys), ("shared token", shared)];
    for (kind, offer) in kinds {
        for at_once in AT_ONCE {
            let what = named(kind, at_once);
            let (mut times, mut floors) = (Vec::new(), Vec::new());
            let count = run.count(subject, 2000).max(at_once);
            let mut measure = || -> Result<Cell, Failure> {
                // A tenth first, for caches and for OpenClaw's compiler.
                for turn in 0..(count + count / 10).div_ceil(at_once) {
                    if turn == (count / 10).div_ceil(at_once) {
                        times.clear();
                        floors.clear();
                    }
                    if subject.column == Column::Barnacle && at_once == 1 {
                        floors.extend(floor.batch(at_once, offer.device.is_some())?);
                    }
                    times.extend(batch(subject, &vec![&offer; at_once])?);
                }
                Ok(Cell::times(std::mem::take(&mut times)))
            };
            let cell = measure();
            table.put(PART, &what, "µs", subject.column, cell);
            if subject.column == Column::Barnacle && at_once == 1 {
                table.put(PART, &what, "µs", Column::Floor, Ok(Cell::times(floors)));
            }
        }
    }
    for at_once in AT_ONCE {
        let what = named("first pairing", at_once);
        let (mut times, mut floors) = (Vec::new(), Vec::new());
        let mut measure = || -> Result<Cell, Failure> {
            for _ in 0..run.count(subject, 192).div_ceil(at_once) {
                let new = (0..at_once).map(|_| stranger()).collect::<Result<Vec<_>, _>>()?;
                let offers: Vec<_> =
                    new.iter().map(|me| Offer { device: Some(me), token: Some(TOKEN) }).collect();
                if subject.column == Column::Barnacle && at_once == 1 {
                    let disk = replace(subject)?;
                    floors.extend(floor.batch(at_once, true)?.into_iter().map(|time| time + disk));
                }
                times.extend(batch(subject, &offers.iter().collect::<Vec<_>>())?);
            }
            Ok(Cell::times(std::mem::take(&mut times)))
        };
        let cell = measure();
        table.put(PART, &what, "µs", subject.column, cell);
        if subject.column == Column::Barnacle && at_once == 1 {
            table.put(PART, &what, "µs", Column::Floor, Ok(Cell::times(floors)));
        }
    }
    Ok(())
}

fn named(kind: &str, at_once: usize) -> String {
    if at_once == 1 { kind.into() } else { format!("{kind}, each of {at_once} at once") }
}

/// What the disk takes to replace a file of the store's size.
fn replace(subject: &Subject) -> Result<Duration, Failure> {
    let bytes = fs::read(subject.home().join(".openclaw/barnacle/tokens.bin"))?;
    let began = Instant::now();
    atomic::replace(&subject.home().join("floor"), &bytes, 0o600)?;
    Ok(began.elapsed())
}

/// As many handshakes at once as there are offers: how long each took.
fn batch(subject: &Subject, offers: &[&Offer<'_>]) -> Result<Vec<Duration>, Failure> {
    let mut clients = Vec::with_capacity(offers.len());
    for _ in offers {
        let began = Instant::now();
        let client = Client::open(subject.at)?;
        client.wait_at_most(PATIENCE)?;
        clients.push((began, client));
    }
    clients.iter_mut().zip(offers).try_for_each(|((_, client), offer)| client.connect(offer))?;
    let mut times = Vec::with_capacity(offers.len());
    for (began, client) in &mut clients {
        client.hello()?;
        times.push(began.elapsed());
    }
    clients.into_iter().try_for_each(|(_, client)| client.close())?;
    Ok(times)
}

/// The parts of a handshake with a device token as its client sees them.
pub fn parts(table: &mut Table, run: &Run, subject: &Subject) -> Result<(), Failure> {
    const NAMES: [&str; 4] = [
        "TCP connect",
        "upgrade and challenge, one round trip",
        "signature, the client's own",
        "connect to hello-ok, one round trip",
    ];
    let paired = Paired::new(subject)?;
    let mut times = NAMES.map(|_| Vec::new());
    for _ in 0..run.count(subject, 2000) {
        let mut mark = Instant::now();
        let mut lap = |part: usize| {
            times[part].push(mark.elapsed());
            mark = Instant::now();
        };
        let mut client = Client::dial(subject.at)?;
        lap(0);
        client.upgrade(subject.at)?;
        let challenge = client.challenge()?;
        lap(1);
        let connect = answer_to(&challenge, &paired.offer())?;
        lap(2);
        client.send(0x81, connect.as_bytes())?;
        client.hello()?;
        lap(3);
        client.close()?;
    }
    for (name, times) in NAMES.iter().zip(times) {
        table.put("parts", name, "µs", subject.column, Ok(Cell::times(times)));
    }
    Ok(())
}

/// How many a second, and what each costs the gateway's processor.
pub fn rate(table: &mut Table, run: &Run, subject: &Subject) -> Result<(), Failure> {
    let paired = Paired::new(subject)?;
    let offer = paired.offer();
    let (count, mut done) = (run.count(subject, 4000), 0);
    let (mut spent, before) = (Duration::ZERO, subject.cpu());
    while done < count {
        let began = Instant::now();
        let mut clients = (0..STORM).map(|_| Client::open(subject.at)).collect::<Result<Vec<_>, _>>()?;
        clients.iter_mut().try_for_each(|c| c.connect(&offer))?;
        clients.iter_mut().try_for_each(|c| c.hello().map(drop))?;
        spent += began.elapsed();
        clients.into_iter().try_for_each(Client::close)?;
        done += STORM;
    }
    let each = before.and_then(|before| Ok((subject.cpu()? - before) / done as u32));
    let cell = Ok(Cell::One(done as f64 / spent.as_secs_f64()));
    table.put("rate", "handshakes a second, 16 at once, on one core", "1/s", subject.column, cell);
    let cell = each.map(|each| Cell::One(crate::rig::us(each)));
    table.put("rate", "CPU of the gateway for one, its end included", "µs", subject.column, cell);
    Ok(())
}
