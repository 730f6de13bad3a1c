//! What clients see of a restart, and of an edit that OpenClaw restarts for: how long they are not answered,
//! and how many of them are closed. Barnacle first, with ever more connections; then OpenClaw, if it is
//! installed. See `benches/README.md`.
//!
//! Some clients call all the time, a few milliseconds apart; whoever is closed comes back as fast as it can.
//! What is counted is the longest wait of each of them around each restart. The row without a restart says
//! what of that is the machine's.

mod rig;

use rig::{
    Client, Failure, Gateway, OF_ONE_DEVICE, Offer, TOKEN, attach, field,
    openclaw::{Words, end},
    quantile, raise_descriptor_limit, stranger,
};
use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Child,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    thread::{self, sleep},
    time::{Duration, Instant},
};

const HELP: &str = "\
cargo bench --bench restart -- [--restarts <n>] [--connections <n>] [--peer <node_modules> | --no-peer]

  --restarts <n>         of Barnacle, with each number of connections [30]
  --connections <n>      that only listen beside Barnacle's others [0, then 1000, 5000, 10000]
  --peer <node_modules>  where OpenClaw and its node are [tests/peers/node_modules, after tests/peers/install.sh]
  --no-peer              Barnacle alone
";

/// Clients that call all the time.
const BUSY: usize = 8;
/// How long each of them waits between two calls.
const PACE: Duration = Duration::from_millis(2);
/// Connections that only listen, beside them.
const IDLE: [usize; 4] = [0, 1_000, 5_000, 10_000];
/// How long what follows a restart is watched.
const AFTER: Duration = Duration::from_millis(50);
/// How often OpenClaw is restarted; each takes it some ten seconds.
const PEER_RESTARTS: usize = 3;
/// The same between two calls to OpenClaw while it is edited: it puts the restart off for minutes, until there
/// is a moment without a request.
const PEER_PACE: Duration = Duration::from_secs(1);
/// The longest that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(90);

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let (mut restarts, mut connections) = (30, IDLE.to_vec());
    let mut peer = Some(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/node_modules").into());
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--bench" => {}
            "--restarts" => restarts = args.next().ok_or(HELP)?.parse()?,
            "--connections" => connections = vec![args.next().ok_or(HELP)?.parse()?],
            "--peer" => peer = Some(PathBuf::from(args.next().ok_or(HELP)?)),
            "--no-peer" => peer = None,
            _ => {
                print!("{HELP}");
                return Ok(());
            }
        }
    }
    raise_descriptor_limit();
    println!(
        "{BUSY} clients call every {} ms; ms that one of them waits for an answer\n\n{:48}{:>7}{:>9}{:>9}{:>9}{:>24}",
        PACE.as_millis(),
        "",
        "closed",
        "p50",
        "p99",
        "longest",
        "nobody served",
    );
    for idle in connections {
        barnacle(idle, restarts)?;
    }
    match peer.as_deref().map(Peer::start) {
        Some(Ok(peer)) => openclaw(&peer)?,
        Some(Err(e)) => println!("\nOpenClaw is left out: {e}"),
        None => {}
    }
    Ok(())
}

fn barnacle(idle: usize, restarts: usize) -> Result<(), Failure> {
    let gateway = Gateway::start()?;
    let devices =
        (0..idle.div_ceil(OF_ONE_DEVICE)).map(|_| stranger()).collect::<Result<Vec<_>, Failure>>()?;
    let listening = (0..idle)
        .map(|n| {
            let offer = Offer { device: Some(&devices[n / OF_ONE_DEVICE]), token: Some(TOKEN) };
            Ok(Client::attach(gateway.at, &offer)?.0)
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    let memory = || gateway.figure("status", "VmRSS:");
    let before = memory()?;
    let busy = Busy::start(gateway.at)?;
    let mut admin = Admin(attach(gateway.at)?);
    let name = format!("Barnacle, {} connections", idle + BUSY + 1);
    for (what, times) in [(NOTHING, 10), (RESTART, restarts), (EDIT, 10)] {
        let mut row = Row::default();
        for turn in 0..times {
            busy.forget();
            let unserved = match what {
                RESTART => Some(admin.restart()?),
                EDIT => admin.bind(&gateway, if turn % 2 == 0 { "lan" } else { "loopback" })?,
                _ => None,
            };
            sleep(AFTER);
            row.add(&busy, unserved);
        }
        row.print(&format!("{name}, {what}"));
    }
    // Whoever only listens is still there: each answers.
    let mut lost = 0;
    for mut client in listening {
        client.wait_at_most(Duration::from_secs(10))?;
        lost += usize::from(client.call("health", "{}").is_err());
    }
    println!(
        "{:48}{lost:>7} of those that only listened; resident {before} kB before, {} kB after",
        "",
        memory()?
    );
    Ok(())
}

/// The rows of each gateway.
const NOTHING: &str = "nothing";
const RESTART: &str = "restart";
const EDIT: &str = "edit of gateway.bind";

/// Restarts and edits it as Barnacle was.
fn openclaw(peer: &Peer) -> Result<(), Failure> {
    let busy = Busy::start(peer.at)?;
    for what in [RESTART, EDIT] {
        let mut row = Row::default();
        if what == EDIT {
            busy.pace(PEER_PACE);
        }
        'row: for turn in 0..PEER_RESTARTS {
            busy.forget();
            let closed = busy.closed();
            match what {
                RESTART => drop(attach(peer.at)?.call("gateway.restart.request", "{}")?),
                _ => write_bind(&peer.home, peer.at, if turn % 2 == 0 { "lan" } else { "loopback" })?,
            }
            // Until all were closed and are back.
            let end = Instant::now() + PATIENCE;
            while busy.closed() < closed + BUSY as u64 || busy.is_away() {
                if Instant::now() > end {
                    println!("OpenClaw, {what}: not all were closed and back after {} s", PATIENCE.as_secs());
                    break 'row;
                }
                sleep(Duration::from_millis(10));
            }
            sleep(Duration::from_secs(2));
            row.add(&busy, None);
        }
        row.print(&format!("{}, {} connections, {what}", peer.name, BUSY));
    }
    Ok(())
}

/// What the busy clients saw around each restart.
#[derive(Default)]
struct Row {
    waits: Vec<Duration>,
    unserved: Vec<Duration>,
    closed: u64,
}

impl Row {
    fn add(&mut self, busy: &Busy, unserved: Option<Duration>) {
        self.waits.extend(busy.0.iter().map(|seen| Duration::from_micros(seen.longest_us.load(SeqCst))));
        self.closed += busy.0.iter().map(|seen| seen.closed_now.swap(0, SeqCst)).sum::<u64>();
        self.unserved.extend(unserved);
    }

    fn print(mut self, what: &str) {
        self.waits.sort();
        self.unserved.sort();
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let [p50, p99, longest] = [0.5, 0.99, 1.0].map(|share| ms(quantile(&self.waits, share)));
        let unserved = match self.unserved[..] {
            [] => String::new(),
            _ => {
                let [least, p50, most] = [0.0, 0.5, 1.0].map(|share| ms(quantile(&self.unserved, share)));
                format!("{p50:.1} ({least:.1} to {most:.1})")
            }
        };
        println!("{what:48}{:>7}{p50:>9.1}{p99:>9.1}{longest:>9.1}{unserved:>24}", self.closed);
    }
}

/// What one busy client sees.
#[derive(Default)]
struct Seen {
    longest_us: AtomicU64,
    closed: AtomicU64,
    closed_now: AtomicU64,
    away: AtomicBool,
    stop: AtomicBool,
    pace_us: AtomicU64,
}

/// The clients that call all the time.
struct Busy(Vec<&'static Seen>);

impl Busy {
    fn start(at: SocketAddr) -> Result<Self, Failure> {
        let seen: Vec<&Seen> = (0..BUSY).map(|_| &*Box::leak(Box::default())).collect();
        for seen in &seen {
            let client = attach(at)?;
            let seen = *seen;
            seen.pace_us.store(PACE.as_micros() as u64, SeqCst);
            thread::spawn(move || call_on(at, client, seen));
        }
        Ok(Self(seen))
    }

    /// From now on they wait that long between two calls.
    fn pace(&self, pace: Duration) {
        self.0.iter().for_each(|seen| seen.pace_us.store(pace.as_micros() as u64, SeqCst));
    }

    fn forget(&self) {
        self.0.iter().for_each(|seen| seen.longest_us.store(0, SeqCst));
    }

    fn closed(&self) -> u64 {
        self.0.iter().map(|seen| seen.closed.load(SeqCst)).sum()
    }

    fn is_away(&self) -> bool {
        self.0.iter().any(|seen| seen.away.load(SeqCst))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.iter().for_each(|seen| seen.stop.store(true, SeqCst));
    }
}

/// Calls until it is told to stop; from the last answer to the next is what it waits.
fn call_on(at: SocketAddr, mut client: Client, seen: &Seen) {
    let mut asked = Instant::now();
    while !seen.stop.load(SeqCst) {
        // What it began to ask before it was closed, it asks again.
        if !seen.away.load(SeqCst) {
            asked = Instant::now();
        }
        if client.call("health", "{}").is_ok_and(|answer| answer.contains("\"ok\":true")) {
            seen.away.store(false, SeqCst);
            seen.longest_us.fetch_max(asked.elapsed().as_micros() as u64, SeqCst);
            sleep(Duration::from_micros(seen.pace_us.load(SeqCst)));
            continue;
        }
        seen.away.store(true, SeqCst);
        seen.closed.fetch_add(1, SeqCst);
        seen.closed_now.fetch_add(1, SeqCst);
        while !seen.stop.load(SeqCst) {
            sleep(Duration::from_millis(10));
            if let Ok(new) = attach(at) {
                client = new;
                break;
            }
        }
    }
}

/// Who restarts and edits Barnacle.
struct Admin(Client);

impl Admin {
    fn status(&mut self, key: &str) -> Result<String, Failure> {
        let status = self.0.call("status", "{}")?.replace(":\"", ":");
        Ok(field(&status, &format!("\"{key}\":")).ok_or("no such figure in status")?.to_owned())
    }

    fn wait(&mut self, key: &str, so: impl Fn(&str) -> bool) -> Result<(), Failure> {
        let end = Instant::now() + PATIENCE;
        while !so(&self.status(key)?) {
            if Instant::now() > end {
                return Err(format!("{key} does not change").into());
            }
            sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Restarts it; how long nobody was served, by its own word.
    fn restart(&mut self) -> Result<Duration, Failure> {
        let before = self.status("restarts")?;
        self.0.call("gateway.restart.request", "{}")?;
        self.wait("restarts", |now| now != before)?;
        Ok(Duration::from_micros(self.status("unservedUs")?.parse()?))
    }

    /// Has it listen elsewhere.
    fn bind(&mut self, gateway: &Gateway, bind: &str) -> Result<Option<Duration>, Failure> {
        write_bind(gateway.home(), gateway.at, bind)?;
        self.wait("bind", |now| now == bind)?;
        Ok(None)
    }
}

/// Writes the configuration as an editor does: a new file in its place.
fn write_bind(home: &Path, at: SocketAddr, bind: &str) -> Result<(), Failure> {
    let config = format!(
        r#"{{"gateway":{{"mode":"local","bind":"{bind}","port":{},"auth":{{"mode":"token","token":"{TOKEN}"}},"controlUi":{{"allowedOrigins":["http://{at}"]}}}}}}"#,
        at.port()
    );
    let path = home.join(".openclaw/openclaw.json");
    let new = path.with_extension("new");
    fs::write(&new, config)?;
    Ok(fs::rename(new, path)?)
}

/// An OpenClaw in a home of its own.
struct Peer {
    child: Child,
    home: PathBuf,
    at: SocketAddr,
    name: String,
}

impl Peer {
    fn start(modules: &Path) -> Result<Self, Failure> {
        let words = Words::of_openclaw(modules)?;
        let home =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-peer-{}", std::process::id()));
        fs::create_dir_all(home.join(".openclaw"))?;
        let at = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        write_bind(&home, at, "loopback")?;
        let log = fs::File::create(home.join("log"))?;
        let child = words.start(&home, log.try_clone()?, log)?;
        let mut peer = Self { child, home, at, name: words.name };
        let end = Instant::now() + PATIENCE;
        while let Err(e) = attach(at) {
            if Instant::now() > end || peer.child.try_wait()?.is_some() {
                let log = fs::read_to_string(peer.home.join("log")).unwrap_or_default();
                return Err(format!("it does not start: {e}\n{log:.2000}").into());
            }
            sleep(Duration::from_millis(100));
        }
        Ok(peer)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        end(&mut self.child, &self.home);
        let _ = fs::remove_dir_all(&self.home);
    }
}
