//! A thousand edits and a thousand corruptions, with agents calling all along.

use super::json5::Config;
use crate::wire::{ADMIN, Client, Device, Home, Offer, READ, Server, flag, list, text};
use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
};

/// Agents that call without a pause; they are devices, so no edit here may close them.
const AGENTS: usize = 6;
/// How many edits and how many corruptions.
const TIMES: u64 = 1000;
/// After so many corruptions the gateway is waited for.
const CATCH_UP: u64 = 25;

/// Marsaglia's xorshift64: the same storm every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }

    fn pick<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.roll(of.len())]
    }
}

/// The agents, and how many answers they had.
struct Load {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    agents: Vec<JoinHandle<()>>,
}

impl Load {
    fn new(server: &Server) -> Self {
        let (stop, answers): (Arc<AtomicBool>, Arc<AtomicU64>) = Default::default();
        let agents = (0..AGENTS).map(|_| {
            let device = Device::pair(server, READ);
            let mut client = server.connect(&Offer::device(&device).token(device.token()));
            let (stop, answers) = (stop.clone(), answers.clone());
            std::thread::spawn(move || {
                while !stop.load(Relaxed) {
                    client.ok("health", "{}");
                    answers.fetch_add(1, Relaxed);
                }
            })
        });
        let agents = agents.collect();
        Self { stop, answers, agents }
    }

    /// Ends it; none of the agents was closed, or its thread would have panicked.
    fn end(self) -> u64 {
        self.stop.store(true, Relaxed);
        self.agents.into_iter().for_each(|agent| agent.join().expect("an agent was closed"));
        self.answers.load(Relaxed)
    }
}

struct Storm {
    home: Home,
    server: Server,
    admin: Client,
    config: Config,
    dice: Dice,
    marks: u64,
}

impl Storm {
    fn new(seed: u64) -> Self {
        let home = Home::empty();
        let config = Config::new(home.port);
        home.config(&config.text());
        let server = home.start();
        let device = Device::pair(&server, ADMIN);
        let admin = server.connect(&Offer::device(&device).token(device.token()).scopes(ADMIN));
        Self { home, server, admin, config, dice: Dice(seed), marks: 0 }
    }

    /// Saves `bytes` in one of the ways that files are saved in.
    fn save(&mut self, bytes: &[u8]) {
        let path = self.home.config_path();
        match self.dice.roll(3) {
            0 => fs::write(&path, bytes).unwrap(),
            1 => {
                fs::write(path.with_extension("new"), bytes).unwrap();
                fs::rename(path.with_extension("new"), &path).unwrap();
            }
            _ => in_halves(&path, bytes),
        }
    }

    /// Saves a whole configuration with a mark in it, and waits until the gateway runs with that.
    fn catch_up(&mut self) {
        self.marks += 1;
        let mark = format!("'{}'", self.marks);
        let text = self.config.set("env.vars.MARK", &mark).text();
        self.save(text.as_bytes());
        loop {
            let event = self.admin.event("config.reloaded");
            if list(&event, "payload.changed").contains(&"env.vars.MARK".to_string()) {
                assert!(flag(&event, "payload.ok"));
                break;
            }
        }
        assert_eq!(fs::read_to_string(self.home.config_path()).unwrap(), text, "the user's bytes");
    }

    /// Changes some key to something that makes sense.
    fn edit(&mut self) {
        let dice = &mut self.dice;
        let (path, value) = match dice.roll(10) {
            0 => (
                "gateway.auth.token",
                dice.pick(&["'T1'", "'T2'", "'${MARK}'", "{source: 'env', id: 'MARK'}"]),
            ),
            1 => ("gateway.auth.rateLimit.maxAttempts", dice.pick(&["5", "50", "0x10", "1e3"])),
            2 => ("gateway.nodes.commands.deny", dice.pick(&["[]", "['a']", "['a', 'b']"])),
            3 => ("gateway.controlUi.allowedOrigins", dice.pick(&["[]", "['https://a.example']"])),
            4 => ("gateway.trustedProxies", dice.pick(&["[]", "['10.0.0.0/8']", "['::1']"])),
            5 => ("channels.whatsapp.allowFrom", dice.pick(&["[]", "['*']", "['+1555']"])),
            6 => ("channels.whatsapp.ackReaction", dice.pick(&["{emoji: '👀', group: 'always'}", "{}"])),
            7 => ("gateway.auth.mode", dice.pick(&["'token'", "'none'", "'token'"])),
            8 => ("agents.defaults.model", dice.pick(&["'a/b'", "{primary: 'c/d'}"])),
            _ => ("someones.own", dice.pick(&["1", "{a: [1, {b: null}]}", "'text'"])),
        };
        if self.dice.roll(6) == 0 && path != "gateway.auth.token" {
            self.config.unset(path);
        } else {
            self.config.set(path, value);
        }
    }

    /// Saves something that a configuration may turn into when things go wrong.
    fn corrupt(&mut self) {
        let whole = self.config.text().into_bytes();
        let dice = &mut self.dice;
        let broken = match dice.roll(8) {
            0 => Vec::new(),
            1 => whole[..dice.roll(whole.len())].to_vec(),
            2 => {
                let mut flipped = whole.clone();
                flipped[dice.roll(whole.len())] ^= 1 << dice.roll(8);
                flipped
            }
            3 => (0..dice.roll(4096)).map(|_| dice.roll(256) as u8).collect(),
            4 => format!("{{a: {}", "[{b:".repeat(dice.roll(20_000))).into_bytes(),
            5 => [whole.clone(), whole].concat(),
            6 => vec![0; whole.len()],
            _ => {
                let from = dice.roll(whole.len());
                let to = from + dice.roll(whole.len() - from);
                [&whole[..from], &whole[to..]].concat()
            }
        };
        self.save(&broken);
        if self.dice.roll(200) == 0 {
            File::create(self.home.config_path()).unwrap().set_len(100 << 20).unwrap();
        }
    }

    fn resident_kb(&mut self) -> u64 {
        text(&self.admin.ok("status", "{}"), "barnacle.residentKb").parse().unwrap()
    }
}

fn in_halves(path: &Path, bytes: &[u8]) {
    let (one, two) = bytes.split_at(bytes.len() / 2);
    let mut file = File::create(path).unwrap();
    file.write_all(one).unwrap();
    file.sync_data().unwrap();
    file.write_all(two).unwrap();
}

#[test]
fn a_thousand_edits_and_a_thousand_corruptions() {
    let mut storm = Storm::new(0x5eed_ba12_acee);
    let load = Load::new(&storm.server);
    // What the first of everything takes is not growth.
    for _ in 0..CATCH_UP {
        storm.edit();
        storm.corrupt();
    }
    storm.catch_up();
    let before = storm.resident_kb();
    for _ in 0..TIMES {
        storm.edit();
        storm.catch_up();
    }
    for n in 1..=TIMES {
        storm.corrupt();
        if n % CATCH_UP == 0 {
            storm.catch_up();
        }
    }
    let after = storm.resident_kb();
    let answers = load.end();
    let log = storm.server.log();
    let reloads = log.matches("configuration reloaded").count();
    println!(
        "{TIMES} edits and {TIMES} corruptions · {reloads} reloads · {answers} answers to {AGENTS} agents, \
         none closed · resident {before} kB before, {after} kB after"
    );
    assert!(!log.contains("panicked"), "{log}");
    assert!(after < before + 4096, "memory grows: {before} kB before, {after} kB after");
    let last = fs::read_to_string(storm.home.config_path()).unwrap();
    assert_eq!(last, storm.config.text());
}
