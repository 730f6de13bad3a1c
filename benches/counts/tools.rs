//! The gateway under a tool that counts.
//!
//! `callgrind` counts instructions and calls of the allocator; what it counted since the last time it is
//! asked for over `vgdb`. `strace` writes down every system call; what was called is what its file grew by. What is
//! built for another processor runs in an emulator ([`Machine`]), whose plugin counts instructions.

use crate::{
    Machine,
    baseline::{Counts, WOULD_BLOCK},
    rig::{Failure, wait_for},
};
use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// The allocator's functions that give memory.
const ALLOCATOR: [&str; 6] = ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc", "memalign"];
/// The longest that `callgrind` may take to write down its counts.
const DUMP: Duration = Duration::from_secs(60);

/// What is counted, and ends when it is dropped: the process of this id.
pub trait Subject {
    fn pid(&self) -> u32;
}

/// A subject that is counted.
pub struct Tool<S> {
    pub subject: S,
    kind: Kind,
    /// Goes when the gateway has.
    _scratch: Scratch,
}

enum Kind {
    /// How many times it has written down its counts, and its pipes to `vgdb`.
    Callgrind { dumps: usize, out: PathBuf, pipes: String },
    /// Where what is counted begins in its file.
    Strace { out: PathBuf, from: usize },
    /// Where the plugin counts, and what it had counted before.
    Emulator { out: PathBuf, from: u64 },
}

impl<S: Subject> Tool<S> {
    /// Instructions and allocations of what `start` starts by these words and its own.
    pub fn callgrind(start: impl FnOnce(&[String]) -> Result<S, Failure>) -> Result<Self, Failure> {
        let scratch = Scratch::new()?;
        let (out, pipes) = (scratch.0.join("callgrind"), scratch.0.join("vgdb"));
        let pipes = pipes.to_string_lossy().into_owned();
        let words = [
            "valgrind".into(),
            "--quiet".into(),
            "--tool=callgrind".into(),
            format!("--callgrind-out-file={}", out.display()),
            format!("--vgdb-prefix={pipes}"),
        ];
        Ok(Self {
            subject: start(&words)?,
            kind: Kind::Callgrind { dumps: 0, out, pipes },
            _scratch: scratch,
        })
    }

    /// System calls, and bytes handed to files.
    pub fn strace(start: impl FnOnce(&[String]) -> Result<S, Failure>) -> Result<Self, Failure> {
        let scratch = Scratch::new()?;
        let out = scratch.0.join("strace");
        // As a daemon, so that the child is the subject and ends when it is killed; strace then ends too.
        let words =
            ["strace", "--daemonize", "--follow-forks", "--decode-fds=path", "--string-limit=0", "--output"];
        let words = words.map(String::from).into_iter().chain([out.to_string_lossy().into_owned()]);
        let subject = start(&words.collect::<Vec<_>>())?;
        Ok(Self { subject, kind: Kind::Strace { out, from: 0 }, _scratch: scratch })
    }

    /// Instructions of what `start` starts by these words and its own, which are of another processor.
    pub fn emulator(
        machine: &Machine,
        start: impl FnOnce(&[String]) -> Result<S, Failure>,
    ) -> Result<Self, Failure> {
        let scratch = Scratch::new()?;
        let out = scratch.0.join("instructions");
        let plugin = scratch.0.join("instructions.so");
        machine.build_plugin(&plugin)?;
        let words = machine.words(&plugin, &out);
        Ok(Self { subject: start(&words)?, kind: Kind::Emulator { out, from: 0 }, _scratch: scratch })
    }

    /// Counts from now on.
    pub fn begin(&mut self) -> Result<(), Failure> {
        match &mut self.kind {
            Kind::Callgrind { .. } => self.dump().map(drop),
            Kind::Strace { out, from } => {
                *from = fs::metadata(out)?.len() as usize;
                Ok(())
            }
            Kind::Emulator { out, from } => {
                *from = counted(out)?;
                Ok(())
            }
        }
    }

    /// Puts what `times` handshakes took since then into `counts`, for one.
    pub fn end(&mut self, counts: &mut Counts, times: u32) -> Result<(), Failure> {
        let each = |n: u64| (n as f64 / f64::from(times) * 100.0).round() / 100.0;
        match &self.kind {
            Kind::Callgrind { .. } => {
                let (instructions, allocations) = totals(&self.dump()?)?;
                counts.instructions = each(instructions).round();
                counts.allocations = each(allocations);
            }
            Kind::Emulator { out, from } => counts.instructions = each(counted(out)? - from).round(),
            Kind::Strace { out, from } => {
                let text = fs::read(out)?;
                let text = String::from_utf8_lossy(text.get(*from..).ok_or("strace's file has shrunk")?);
                let (mut written, calls) = (0, &mut counts.calls);
                let lines = whole_lines(&text);
                for call in lines.iter().filter_map(|line| Call::read(line)) {
                    let name = if call.result.contains(" EAGAIN ") { WOULD_BLOCK } else { call.name };
                    *calls.entry(name.into()).or_default() += 1.0;
                    written += call.written();
                }
                calls.values_mut().for_each(|n| *n = each(*n as u64));
                counts.written = each(written);
            }
        }
        Ok(())
    }

    /// Has `callgrind` write down what it counted since the last time; the text.
    fn dump(&mut self) -> Result<String, Failure> {
        let pid = self.subject.pid();
        let Kind::Callgrind { dumps, out, pipes } = &mut self.kind else { return Err("no callgrind".into()) };
        let mut vgdb = Command::new("vgdb");
        vgdb.args([&format!("--vgdb-prefix={pipes}"), &format!("--pid={pid}"), "--max-invoke-ms=10", "dump"]);
        let child = vgdb.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        if !wait_for(child, DUMP)?.success() {
            return Err("vgdb: callgrind writes down nothing".into());
        }
        *dumps += 1;
        let file = format!("{}.{dumps}", out.display());
        let text = fs::read_to_string(&file).map_err(|e| format!("{file}: {e}"))?;
        fs::remove_file(file)?;
        Ok(text)
    }
}

/// What the plugin has counted so far.
fn counted(out: &Path) -> Result<u64, Failure> {
    let bytes = fs::read(out).map_err(|e| format!("{}: {e}", out.display()))?;
    Ok(u64::from_ne_bytes(bytes.try_into().map_err(|_| "the plugin's file is not of eight bytes")?))
}

/// Where the tools write.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, Failure> {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("counts-{}", std::process::id()));
        fs::create_dir_all(&dir)?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Instructions, and calls of the allocator, in a file of `callgrind`'s. A function's name stands beside its
/// number only where it comes first.
fn totals(text: &str) -> Result<(u64, u64), Failure> {
    let (mut instructions, mut allocations) = (None, 0);
    let (mut allocators, mut called) = (HashSet::new(), "");
    for line in text.lines() {
        let function = line.strip_prefix("fn=").or_else(|| line.strip_prefix("cfn="));
        if let Some(function) = function {
            let (number, name) = function.split_once(' ').unwrap_or((function, ""));
            if ALLOCATOR.contains(&name) {
                allocators.insert(number);
            }
            called = number;
        } else if let Some(calls) = line.strip_prefix("calls=").filter(|_| allocators.contains(called)) {
            allocations += calls.split(' ').next().unwrap_or_default().parse::<u64>()?;
        } else if let Some(total) = line.strip_prefix("totals: ") {
            instructions = Some(total.trim().parse()?);
        }
    }
    Ok((instructions.ok_or("callgrind's file has no total")?, allocations))
}

/// The lines of `strace` with a call each: one that another thread's interrupted stands in two.
fn whole_lines(text: &str) -> Vec<String> {
    const BEGUN: &str = " <unfinished ...>";
    let mut begun = HashMap::new();
    let whole = |line: &str| {
        let (thread, rest) = line.split_once(' ')?;
        if let Some(start) = line.strip_suffix(BEGUN) {
            begun.insert(thread.to_owned(), start.to_owned());
            return None;
        }
        match rest.trim_start().strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>")) {
            Some((_, end)) => Some(begun.remove(thread)? + end),
            None => Some(line.to_owned()),
        }
    };
    text.lines().filter_map(whole).collect()
}

/// A line of `strace`'s: `<pid> <name>(<fd><<path>>, …) = <result>`.
struct Call<'a> {
    name: &'a str,
    arguments: &'a str,
    result: &'a str,
}

impl<'a> Call<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let (_, line) = line.split_once(' ')?;
        let (name, rest) = line.trim_start().split_once('(')?;
        // The other lines tell of signals, ends, and calls that return after another thread's.
        name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_').then_some(())?;
        let (arguments, result) = rest.rsplit_once(" = ").unwrap_or((rest, ""));
        Some(Self { name, arguments, result })
    }

    /// Bytes that it handed to a file on a disk.
    fn written(&self) -> u64 {
        let path = self.arguments.split_once('<').map_or("", |(_, path)| path);
        let file = path.starts_with('/') && !path.starts_with("/dev/");
        let writes = matches!(self.name, "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2");
        if file && writes { self.result.parse().unwrap_or(0) } else { 0 }
    }
}
