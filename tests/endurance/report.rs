//! What was seen: counters that clients and disturbances write to, and their summary.

use std::{
    collections::BTreeMap,
    fmt, fs,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Of failures, so many are kept word for word.
const KEPT: usize = 50;

pub struct Report {
    pub began: Instant,
    pub running: AtomicBool,
    /// How often the gateway was killed: a connection of an earlier life may close.
    pub life: AtomicU64,
    pub attached: AtomicU64,
    pub calls: AtomicU64,
    /// Answered `UNAVAILABLE` with `retryAfterMs`, and asked again.
    pub deferred: AtomicU64,
    pub events: AtomicU64,
    pub closed_by_kill: AtomicU64,
    pub acknowledged: AtomicU64,
    done: Mutex<BTreeMap<&'static str, u64>>,
    failures: Mutex<Vec<String>>,
    failed: AtomicU64,
    /// Milliseconds that calls took, while nothing was killed.
    waits: Mutex<Waits>,
    /// Milliseconds from a kill until a client was back.
    back: Mutex<Waits>,
    memory: Mutex<Range>,
    descriptors: Mutex<Range>,
}

/// A histogram of milliseconds by powers of 1.25.
#[derive(Default)]
struct Waits {
    counts: Vec<u64>,
    max: Duration,
}

impl Waits {
    fn add(&mut self, wait: Duration) {
        let at = ((wait.as_secs_f64() * 1e5).max(1.0).ln() / 1.25_f64.ln()) as usize;
        if self.counts.len() <= at {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] += 1;
        self.max = self.max.max(wait);
    }

    fn at(&self, part: f64) -> f64 {
        let wanted = (self.counts.iter().sum::<u64>() as f64 * part) as u64;
        let mut sum = 0;
        let at = self.counts.iter().position(|n| {
            sum += n;
            sum > wanted
        });
        1.25_f64.powi(at.unwrap_or(self.counts.len()) as i32 + 1) / 1e2
    }
}

#[derive(Default)]
struct Range {
    first: u64,
    last: u64,
    max: u64,
}

impl Range {
    fn add(&mut self, value: u64) {
        if self.first == 0 {
            self.first = value;
        }
        self.last = value;
        self.max = self.max.max(value);
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at first, {} at last, {} at most", self.first, self.last, self.max)
    }
}

impl Default for Report {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            running: AtomicBool::new(true),
            life: AtomicU64::new(0),
            attached: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            deferred: AtomicU64::new(0),
            events: AtomicU64::new(0),
            closed_by_kill: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            done: Mutex::default(),
            failures: Mutex::default(),
            failed: AtomicU64::new(0),
            waits: Mutex::default(),
            back: Mutex::default(),
            memory: Mutex::default(),
            descriptors: Mutex::default(),
        }
    }
}

impl Report {
    pub fn done(&self, what: &'static str) {
        *self.done.lock().unwrap().entry(what).or_default() += 1;
    }

    /// Something that must not happen.
    pub fn fail(&self, what: String) {
        if !self.running.load(Relaxed) {
            return;
        }
        self.failed.fetch_add(1, Relaxed);
        let at = self.began.elapsed().as_secs();
        println!("FAILED at {at} s: {what}");
        let mut failures = self.failures.lock().unwrap();
        if failures.len() < KEPT {
            failures.push(format!("{at} s: {what}"));
        }
    }

    pub fn waited(&self, wait: Duration) {
        self.waits.lock().unwrap().add(wait);
    }

    pub fn came_back(&self, wait: Duration) {
        self.back.lock().unwrap().add(wait);
    }

    /// Notes memory (kB) and descriptors of `pid`.
    pub fn sample(&self, pid: u32) {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let anon =
            status.lines().find_map(|l| l.strip_prefix("RssAnon:")?.trim().split(' ').next()?.parse().ok());
        if let Some(anon) = anon {
            self.memory.lock().unwrap().add(anon);
        }
        if let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) {
            self.descriptors.lock().unwrap().add(open.count() as u64);
        }
    }

    pub fn held(&self) -> bool {
        self.failed.load(Relaxed) == 0
    }

    /// The state of things in one line.
    pub fn line(&self) -> String {
        format!(
            "{} s: {} calls, {} kills, {} failures, {} kB",
            self.began.elapsed().as_secs(),
            self.calls.load(Relaxed),
            self.life.load(Relaxed),
            self.failed.load(Relaxed),
            self.memory.lock().unwrap().last,
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = |of: &AtomicU64| of.load(Relaxed);
        writeln!(f, "after {} s", self.began.elapsed().as_secs())?;
        writeln!(f, "clients attached        {}", n(&self.attached))?;
        writeln!(
            f,
            "calls answered          {} ({} of them once more, after UNAVAILABLE)",
            n(&self.calls),
            n(&self.deferred)
        )?;
        writeln!(f, "events heard            {}", n(&self.events))?;
        writeln!(f, "writes acknowledged     {}", n(&self.acknowledged))?;
        writeln!(f, "closed by a kill        {} in {} kills", n(&self.closed_by_kill), n(&self.life))?;
        let waits = self.waits.lock().unwrap();
        writeln!(
            f,
            "a call took, ms         p50 {:.2}, p99 {:.1}, at most {:.1}",
            waits.at(0.5),
            waits.at(0.99),
            waits.max.as_secs_f64() * 1e3
        )?;
        let back = self.back.lock().unwrap();
        writeln!(
            f,
            "back after a kill, ms   p50 {:.1}, p99 {:.1}, at most {:.1}",
            back.at(0.5),
            back.at(0.99),
            back.max.as_secs_f64() * 1e3
        )?;
        writeln!(f, "anonymous memory, kB    {}", self.memory.lock().unwrap())?;
        writeln!(f, "descriptors             {}", self.descriptors.lock().unwrap())?;
        for (what, count) in self.done.lock().unwrap().iter() {
            writeln!(f, "  {count:>7} x {what}")?;
        }
        writeln!(f, "FAILURES                {}", n(&self.failed))?;
        self.failures.lock().unwrap().iter().try_for_each(|failure| writeln!(f, "  {failure}"))
    }
}
