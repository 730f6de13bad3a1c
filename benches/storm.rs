//! A storm: after a kill everything comes back at once, as when power comes back. How long until each device is in, how
//! long those wait who were first, and what the same handshakes take one after the other.
//!
//! Each device has a key of its own. A client that is put off comes again at once. See `benches/README.md`.

mod rig;

use barnacle::internals::auth::identity::Identity;
use rig::{Client, Failure, Gateway, Offer, TOKEN, pin, quantile, raise_descriptor_limit, stranger};
use rustix::event::{Timespec, epoll};
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

const DEVICES: [usize; 2] = [1_000, 5_000];
const ROUNDS: usize = 5;
/// Clients that come in a row before those that were answered go on.
const IN_A_ROW: usize = 32;
/// The longest that a storm is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> Result<(), Failure> {
    raise_descriptor_limit();
    pin(None, 0)?;
    println!(
        "| devices | all are back, ms | each p50 | p99 | the first tenth p99 | put off | one after the other, ms | CPU of one, µs |"
    );
    println!("| --: | --: | --: | --: | --: | --: | --: | --: |");
    for count in DEVICES {
        let mut gateway = Gateway::start()?;
        gateway.pin(1)?;
        let devices = (0..count).map(|_| stranger()).collect::<Result<Vec<_>, _>>()?;
        // So that they are paired; that takes longer, and does not count.
        come(&gateway, &devices, Some(TOKEN), Instant::now())?;
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let began = Instant::now();
            gateway.restart()?;
            gateway.pin(1)?;
            let before = gateway.cpu()?;
            let storm = come(&gateway, &devices, None, began)?;
            rounds.push((storm, gateway.cpu()? - before));
        }
        // The one in the middle.
        rounds.sort_by_key(|(storm, _)| storm.all());
        let (storm, cpu) = &rounds[ROUNDS / 2];
        let alone = one_after_the_other(&mut gateway, &devices)?;
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let (all, first) = (storm.sorted(count), storm.sorted(count / 10));
        println!(
            "| {count} | {:.0} | {:.0} | {:.0} | {:.0} | {} | {:.0} | {:.0} |",
            ms(storm.all()),
            ms(quantile(&all, 0.5)),
            ms(quantile(&all, 0.99)),
            ms(quantile(&first, 0.99)),
            storm.put_off,
            ms(alone),
            cpu.as_secs_f64() * 1e6 / count as f64,
        );
    }
    Ok(())
}

/// What became of a storm.
struct Storm {
    /// When each was in, in the order in which they came first.
    times: Vec<Duration>,
    put_off: usize,
}

impl Storm {
    fn all(&self) -> Duration {
        self.times.iter().max().copied().unwrap_or_default()
    }

    /// Those of the first `count`, the shortest first.
    fn sorted(&self, count: usize) -> Vec<Duration> {
        let mut times = self.times[..count].to_vec();
        times.sort();
        times
    }
}

/// A client under way.
struct Coming {
    client: Client,
    /// Whether it has answered the challenge.
    answered: bool,
}

/// All come at once, each on a connection of its own that it keeps until the last one is in.
fn come(
    gateway: &Gateway,
    devices: &[Identity],
    token: Option<&str>,
    began: Instant,
) -> Result<Storm, Failure> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut storm = Storm { times: vec![Duration::ZERO; devices.len()], put_off: 0 };
    let mut coming: Vec<Option<Coming>> = devices.iter().map(|_| None).collect();
    let mut outside: VecDeque<usize> = (0..devices.len()).collect();
    let (mut inside, mut events) = (0, Vec::with_capacity(1024));
    while inside < devices.len() {
        if began.elapsed() > PATIENCE {
            return Err(format!("{inside} of {} are in after {} s", devices.len(), PATIENCE.as_secs()).into());
        }
        for n in outside.drain(..outside.len().min(IN_A_ROW)).collect::<Vec<_>>() {
            let Ok(mut client) = Client::open(gateway.at) else {
                outside.push_back(n);
                continue;
            };
            client.wait_at_most(PATIENCE)?;
            epoll::add(&poll, client.raw(), epoll::EventData::new_u64(n as u64), epoll::EventFlags::IN)?;
            coming[n] = Some(Coming { client, answered: false });
        }
        let wait = if outside.is_empty() { Duration::from_secs(1) } else { Duration::ZERO };
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), Some(&Timespec::try_from(wait)?))?;
        for event in &events {
            let n = event.data.u64() as usize;
            let Some(Coming { client, answered }) = &mut coming[n] else { continue };
            let done = match *answered {
                false => client.connect(&Offer { device: Some(&devices[n]), token }).map(|()| false),
                true => client.hello().map(|_| true),
            };
            match done {
                Ok(false) => *answered = true,
                Ok(true) => {
                    storm.times[n] = began.elapsed();
                    inside += 1;
                    epoll::delete(&poll, client.raw())?;
                }
                Err(_) => {
                    storm.put_off += 1;
                    coming[n] = None;
                    outside.push_back(n);
                }
            }
        }
    }
    Ok(storm)
}

/// The same handshakes after the same kill, but each when the one before is done.
fn one_after_the_other(gateway: &mut Gateway, devices: &[Identity]) -> Result<Duration, Failure> {
    let began = Instant::now();
    gateway.restart()?;
    gateway.pin(1)?;
    let clients =
        devices.iter().map(|me| Client::attach(gateway.at, &Offer { device: Some(me), token: None }));
    let clients = clients.collect::<Result<Vec<_>, _>>()?;
    let time = began.elapsed();
    drop(clients);
    Ok(time)
}
