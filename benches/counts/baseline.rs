//! What was counted before, as it stands in `benches/baseline.json`, and how it compares.

use crate::{FLOORS, WAYS, rig::Failure};
use nanoserde::{DeJson, SerJson};
use std::{collections::BTreeMap, fmt, fmt::Write, fs, path::Path, process::Command};

/// What each count may grow by, or fall by, before it is reported; shares, and numbers of calls. Signatures are
/// random, so instructions differ from run to run, and the devices' file grows with each.
const INSTRUCTIONS: f64 = 0.03;
const WRITTEN: f64 = 0.03;
const ALLOCATIONS: f64 = 1.5;
const CALLS: f64 = 0.5;
/// What a call is counted as that had nothing to do yet.
pub const WOULD_BLOCK: &str = "would block";
/// Calls that are not compared: how often it waits is chance, and a machine's clock may need the kernel.
const CHANCE: [&str; 4] = [WOULD_BLOCK, "clock_gettime", "epoll_pwait", "futex"];

/// What one handshake takes, from the connection's coming to its end.
#[derive(Default, SerJson, DeJson)]
pub struct Counts {
    /// Instructions in user space.
    pub instructions: f64,
    /// Calls of the allocator that give memory.
    pub allocations: f64,
    /// Bytes handed to files.
    pub written: f64,
    /// System calls by name.
    pub calls: BTreeMap<String, f64>,
}

/// The counts of every way in, and of the floor.
#[derive(SerJson, DeJson)]
pub struct Baseline {
    /// The processor's kind and the compiler: others take other instructions.
    pub machine: String,
    ways: BTreeMap<String, Counts>,
    /// Instructions of the static builds for boards, by the name of the build.
    #[nserde(default)]
    pub boards: BTreeMap<String, Board>,
}

/// Instructions of the static build for a board.
#[derive(SerJson, DeJson)]
pub struct Board {
    /// The compiler, and the emulator with its processor.
    pub machine: String,
    instructions: BTreeMap<String, f64>,
}

/// A count that is not what it was.
pub struct Change {
    way: String,
    what: String,
    before: f64,
    now: f64,
}

impl Baseline {
    /// Without a count.
    pub fn of_this_machine() -> Self {
        Self { machine: machine(), ways: BTreeMap::new(), boards: BTreeMap::new() }
    }

    /// Reads one.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(DeJson::deserialize_json(&text).map_err(|e| format!("{}: {e}", path.display()))?)
    }

    /// The counts of one way in.
    pub fn of(&mut self, way: &str) -> &mut Counts {
        self.ways.entry(way.into()).or_default()
    }

    /// As JSON, one line a way, so that a change of it reads well.
    pub fn text(&self) -> String {
        let ways = self.ways.iter().map(|(way, counts)| format!("{way:?}:{}", counts.serialize_json()));
        let ways = ways.collect::<Vec<_>>().join(",\n");
        let boards = self.boards.iter().map(|(name, board)| format!("{name:?}:{}", board.serialize_json()));
        let boards = boards.collect::<Vec<_>>().join(",\n");
        format!("{{\"machine\":{:?},\"ways\":{{\n{ways}\n}},\"boards\":{{\n{boards}\n}}}}\n", self.machine)
    }

    /// For a reader.
    pub fn table(&self) -> String {
        let mut out = "one handshake   instructions  allocations  system calls  bytes to files\n".to_owned();
        for way in WAYS {
            let Some(counts) = self.ways.get(way) else { continue };
            let Counts { instructions, allocations, written, calls } = counts;
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "{way:14}{instructions:14} {allocations:12.1} {:13.1} {written:15.0}",
                calls.values().sum::<f64>()
            );
            let calls = calls.iter().filter(|(_, n)| **n >= 0.05).map(|(name, n)| format!("{name} {n:.1}"));
            let _ = writeln!(out, "    {}", calls.collect::<Vec<_>>().join(", "));
        }
        let instructions = self.ways.iter().map(|(way, counts)| (way.clone(), counts.instructions));
        out + &ratios(&instructions.collect())
    }

    /// What is not as it was.
    pub fn against(&self, before: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        let none = Counts::default();
        for way in WAYS.into_iter().chain(FLOORS.map(|(floor, _)| floor)) {
            let (was, now) = (before.ways.get(way).unwrap_or(&none), self.ways.get(way).unwrap_or(&none));
            let mut compare = |what: &str, before: f64, now: f64, tolerance: f64| {
                if (now - before).abs() > tolerance {
                    changes.push(Change { way: way.into(), what: what.into(), before, now });
                }
            };
            if before.machine == self.machine {
                let tolerance = was.instructions * INSTRUCTIONS;
                compare("instructions", was.instructions, now.instructions, tolerance);
            }
            compare("allocations", was.allocations, now.allocations, ALLOCATIONS);
            compare("bytes to files", was.written, now.written, was.written * WRITTEN);
            let names =
                was.calls.keys().chain(now.calls.keys().filter(|name| !was.calls.contains_key(*name)));
            for name in names.filter(|name| !CHANCE.contains(&name.as_str())) {
                let of = |counts: &Counts| counts.calls.get(name).copied().unwrap_or_default();
                compare(&format!("calls of {name}"), of(was), of(now), CALLS);
            }
        }
        changes
    }
}

impl Board {
    /// Without a count.
    pub fn new(machine: String) -> Self {
        Self { machine, instructions: BTreeMap::new() }
    }

    /// Notes what `way` took.
    pub fn put(&mut self, way: &str, instructions: f64) {
        self.instructions.insert(way.into(), instructions);
    }

    /// For a reader.
    pub fn table(&self) -> String {
        let mut out = "one handshake   instructions\n".to_owned();
        for way in WAYS {
            if let Some(n) = self.instructions.get(way) {
                // Writing to a String cannot fail.
                let _ = writeln!(out, "{way:14}{n:14}");
            }
        }
        out + &ratios(&self.instructions)
    }

    /// What is not as it was.
    pub fn against(&self, before: &Self) -> Vec<Change> {
        let changes = self.instructions.iter().filter_map(|(way, now)| {
            let before = before.instructions.get(way).copied().unwrap_or_default();
            let is_other = (now - before).abs() > before * INSTRUCTIONS;
            let what = "instructions".into();
            is_other.then(|| Change { way: way.clone(), what, before, now: *now })
        });
        changes.collect()
    }
}

/// Each way beside the floor that is of its kind.
fn ratios(instructions: &BTreeMap<String, f64>) -> String {
    let mut out = String::new();
    for (floor, ways) in FLOORS {
        let Some(least) = instructions.get(floor) else { continue };
        let beside = ways.iter().filter_map(|way| Some((way, instructions.get(*way)? / least)));
        let beside: Vec<_> = beside.map(|(way, ratio)| format!("; {way} {ratio:.2} of it")).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{floor:14}{least:14}{}", beside.concat());
    }
    out
}

/// `x86_64 with AVX2, rustc 1.95.0`: curve25519-dalek computes with AVX2 where it is there.
fn machine() -> String {
    #[cfg(target_arch = "x86_64")]
    let avx2 = if is_x86_feature_detected!("avx2") { " with AVX2" } else { "" };
    #[cfg(not(target_arch = "x86_64"))]
    let avx2 = "";
    format!("{}{avx2}, {}", std::env::consts::ARCH, compiler())
}

/// `rustc 1.95.0`.
pub fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output().map(|out| out.stdout).unwrap_or_default();
    let output = String::from_utf8_lossy(&output);
    format!("rustc {}", output.split_whitespace().nth(1).unwrap_or("of unknown version"))
}

impl Change {
    /// Whether there is more of it.
    pub fn is_growth(&self) -> bool {
        self.now > self.before
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { way, what, before, now } = self;
        let word = if self.is_growth() { "grew" } else { "fell" };
        let share =
            if *before > 0.0 { format!(" ({:+.1} %)", (now / before - 1.0) * 100.0) } else { String::new() };
        write!(f, "{way}: {what} {word} from {before} to {now}{share}")
    }
}
