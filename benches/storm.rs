//! A storm: after a kill everything comes back at once, as when power comes back. How long until each device is in, how
//! long those wait who were first, and what the same handshakes take one after the other; Barnacle, and OpenClaw in the
//! same run if it is installed.
//!
//! Each device has a key and a token of its own. A client that is put off comes again. See `benches/README.md`.

mod rig;
#[path = "board/subject.rs"]
#[allow(dead_code)]
mod subject;
#[path = "board/table.rs"]
#[allow(dead_code)]
mod table;

use barnacle::internals::auth::identity::Identity;
use rig::{
    BINARY, Client, Failure, Offer, TOKEN, attach, field, pin, quantile, raise_descriptor_limit, stranger,
};
use rustix::event::{Timespec, epoll};
use std::{
    collections::VecDeque,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use subject::Subject;

const HELP: &str = "\
cargo bench --bench storm -- [--devices <n>] [--peer-devices <n>] [--peer <node_modules> | --no-peer]

  --devices <n>          that come at once [1000, then 5000]
  --peer-devices <n>     the same to OpenClaw, and to Barnacle beside it [1000]
  --peer <node_modules>  where OpenClaw and its node are [tests/peers/node_modules, after tests/peers/install.sh]
  --no-peer              Barnacle alone
";

const DEVICES: [usize; 2] = [1_000, 5_000];
const PEER_DEVICES: usize = 1_000;
/// Storms of Barnacle, of which that in the middle is shown. OpenClaw has one: it takes minutes.
const ROUNDS: usize = 5;
/// Clients that come in a row before those that were answered go on.
const IN_A_ROW: usize = 32;
/// What a client waits for that was put off, before it comes again: the shortest first pause of OpenClaw's own.
const PAUSE: Duration = Duration::from_millis(250);
/// The longest that a storm is waited for.
const PATIENCE: Duration = Duration::from_secs(600);
/// The processor of the clients, and that of the gateway.
const CLIENTS: usize = 0;
const SERVER: usize = 1;

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let (mut devices, mut peer_devices) = (DEVICES.to_vec(), PEER_DEVICES);
    let mut peer = Some(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/node_modules")));
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--bench" => {}
            "--devices" => devices = vec![args.next().ok_or(HELP)?.parse()?],
            "--peer-devices" => peer_devices = args.next().ok_or(HELP)?.parse()?,
            "--peer" => peer = Some(PathBuf::from(args.next().ok_or(HELP)?)),
            "--no-peer" => peer = None,
            _ => {
                print!("{HELP}");
                return Ok(());
            }
        }
    }
    raise_descriptor_limit();
    pin(None, CLIENTS)?;
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    println!(
        "| gateway | devices | listens, ms | all are back, ms | each p50 | p99 | the first tenth p99 | put off | one after the other, ms | CPU of one, µs |"
    );
    println!("| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |");
    if peer.is_some() && !devices.contains(&peer_devices) {
        devices.insert(0, peer_devices);
    }
    for count in devices {
        let mut barnacle = Subject::barnacle(&[BINARY.to_owned()], dir, SERVER)?;
        println!("{}", row(&mut barnacle, count, ROUNDS)?);
    }
    let Some(modules) = peer else { return Ok(()) };
    match Subject::openclaw(&modules, dir, SERVER) {
        Ok(mut openclaw) => println!("{}", row(&mut openclaw, peer_devices, 1)?),
        Err(why) => println!("\nOpenClaw is left out: {why}"),
    }
    Ok(())
}

/// Storms of so many devices, and the same handshakes one after the other.
fn row(subject: &mut Subject, count: usize, rounds: usize) -> Result<String, Failure> {
    subject.wait()?;
    let devices = (0..count).map(|_| Device::pair(subject.at)).collect::<Result<Vec<_>, _>>()?;
    let name = format!("| {} | {count} |", subject.words.name);
    let mut storms = Vec::new();
    for _ in 0..rounds {
        let began = Instant::now();
        let started = subject.kill_and_start()?;
        let before = subject.cpu()?;
        match come(subject.at, &devices, began)? {
            (storm, 0) => storms.push((storm, started, subject.cpu()? - before)),
            (_, missing) => {
                return Ok(format!("{name} {missing} are not in after {} s |", PATIENCE.as_secs()));
            }
        }
    }
    // The one in the middle.
    storms.sort_by_key(|(storm, ..)| storm.all());
    let (storm, started, cpu) = &storms[rounds / 2];
    let alone = one_after_the_other(subject, &devices)?;
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let (all, first) = (storm.sorted(count), storm.sorted(count / 10));
    Ok(format!(
        "{name} {:.1} | {:.0} | {:.0} | {:.0} | {:.0} | {} | {:.0} | {:.0} |",
        ms(*started),
        ms(storm.all()),
        ms(quantile(&all, 0.5)),
        ms(quantile(&all, 0.99)),
        ms(quantile(&first, 0.99)),
        storm.put_off,
        ms(alone),
        cpu.as_secs_f64() * 1e6 / count as f64,
    ))
}

/// A device that is paired, and its token.
struct Device {
    me: Identity,
    token: String,
}

impl Device {
    fn pair(at: SocketAddr) -> Result<Self, Failure> {
        let me = stranger()?;
        let (client, hello) = Client::attach(at, &Offer { device: Some(&me), token: Some(TOKEN) })?;
        client.close()?;
        let token = field(&hello, "\"deviceToken\":\"").ok_or("no device token in hello-ok")?.into();
        Ok(Self { me, token })
    }

    fn offer(&self) -> Offer<'_> {
        Offer { device: Some(&self.me), token: Some(&self.token) }
    }
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

/// All come at once, each on a connection of its own that it keeps until the last one is in; and how many never are.
fn come(at: SocketAddr, devices: &[Device], began: Instant) -> Result<(Storm, usize), Failure> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut storm = Storm { times: vec![Duration::ZERO; devices.len()], put_off: 0 };
    let mut coming: Vec<Option<Coming>> = devices.iter().map(|_| None).collect();
    // Who comes next, and not before when.
    let mut outside: VecDeque<(usize, Instant)> = (0..devices.len()).map(|n| (n, began)).collect();
    let (mut inside, mut events) = (0, Vec::with_capacity(1024));
    while inside < devices.len() {
        if began.elapsed() > PATIENCE {
            break;
        }
        let now = Instant::now();
        let due = outside.iter().take(IN_A_ROW).take_while(|(_, at)| *at <= now).count();
        for (n, _) in outside.drain(..due).collect::<Vec<_>>() {
            let Ok(mut client) = Client::open(at) else {
                storm.put_off += 1;
                outside.push_back((n, now + PAUSE));
                continue;
            };
            client.wait_at_most(PATIENCE)?;
            epoll::add(&poll, client.raw(), epoll::EventData::new_u64(n as u64), epoll::EventFlags::IN)?;
            coming[n] = Some(Coming { client, answered: false });
        }
        let next = outside.front().map(|(_, at)| at.saturating_duration_since(Instant::now()));
        let wait = Timespec::try_from(next.unwrap_or(PAUSE).min(PAUSE))?;
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), Some(&wait))?;
        for event in &events {
            let n = event.data.u64() as usize;
            let Some(Coming { client, answered }) = &mut coming[n] else { continue };
            let done = match *answered {
                false => client.connect(&devices[n].offer()).map(|()| false),
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
                    outside.push_back((n, Instant::now() + PAUSE));
                }
            }
        }
    }
    Ok((storm, devices.len() - inside))
}

/// The same handshakes after the same kill, but each when the one before is done.
fn one_after_the_other(subject: &mut Subject, devices: &[Device]) -> Result<Duration, Failure> {
    let began = Instant::now();
    subject.kill_and_start()?;
    while attach(subject.at).is_err() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let clients = devices.iter().map(|device| Client::attach(subject.at, &device.offer()));
    let clients = clients.collect::<Result<Vec<_>, _>>()?;
    let time = began.elapsed();
    drop(clients);
    Ok(time)
}
