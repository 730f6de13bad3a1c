//! Facts about this host and its processes: proc(5), uname(2), statvfs(3).

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use std::{
    fs::{self, File},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// The name of this host.
pub(crate) fn name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The file that this process runs, as it is called now.
///
/// # Errors
/// The kernel does not say.
pub(crate) fn program() -> io::Result<PathBuf> {
    std::env::current_exe()
}

/// Memory of this process, bytes.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    /// Pages that are in memory.
    pub resident: u64,
    /// Shared pages among them: of files, mostly.
    pub shared: u64,
}

impl Memory {
    pub(crate) fn now() -> Option<Self> {
        let statm = fs::read_to_string("/proc/self/statm").ok()?;
        let mut pages = statm.split(' ').skip(1).map_while(|n| n.parse::<u64>().ok());
        let page = rustix::param::page_size() as u64;
        Some(Self { resident: pages.next()? * page, shared: pages.next()? * page })
    }
}

/// Memory of this machine, bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MachineMemory {
    /// All of it.
    pub total: u64,
    /// What can be had without swapping, as the kernel estimates it.
    pub available: u64,
}

impl MachineMemory {
    /// The memory of now; `None` where the kernel does not say.
    pub(crate) fn now() -> Option<Self> {
        Self::read(&fs::read_to_string("/proc/meminfo").ok()?)
    }

    fn read(meminfo: &str) -> Option<Self> {
        let bytes = |name: &str| {
            let value = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            value.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
        };
        Some(Self { total: bytes("MemTotal")?, available: bytes("MemAvailable")? })
    }
}

/// Counts for messages: `1 device`, `2 devices`.
pub(crate) fn count(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Names a process for messages: `process 12`.
pub(crate) fn process(pid: u32) -> String {
    format!("process {pid}")
}

/// The same, where the process may be unknown.
pub(crate) fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".into(), process)
}

/// Whether process `pid` is a Barnacle.
pub(crate) fn is_barnacle(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "barnacle")
}

/// Whether process `pid` was suspended (SIGSTOP, or a debugger has it).
pub(crate) fn is_suspended(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name before it may hold anything.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['T', 't']))
}

/// Keeps this process out of core files, which would hold its keys and tokens, and out of reach of other
/// processes' debuggers.
///
/// Not dumpable (prctl(2)): no core, whoever is to receive it, and `/proc/<pid>` belongs to root. So other
/// processes of this account can no longer read `environ`, `exe`, `fd` and `maps` of a running gateway, nor attach a
/// debugger or profiler; root can. What the gateway reads of itself stays readable. The limit of 0 holds for the
/// programs that it starts, too.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn forbid_core_dumps() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let limit = getrlimit(Resource::Core);
    if limit.current != Some(0) {
        setrlimit(Resource::Core, Rlimit { current: Some(0), ..limit })?;
    }
    Ok(())
}

/// Room on a file system.
#[derive(Clone, Copy)]
pub(crate) struct Disk {
    /// Free for this account, bytes.
    pub free: u64,
    /// Size of the file system, bytes.
    pub total: u64,
    /// Whether no file can be added, whatever is free.
    pub no_inodes: bool,
}

impl Disk {
    /// The file system that `path` is on, or would be.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let there = path.ancestors().find(|path| path.exists())?;
        Some(Self::from(rustix::fs::statvfs(there).ok()?))
    }

    /// The file system of an open file.
    pub(crate) fn of_file(file: impl std::os::fd::AsFd) -> Option<Self> {
        Some(Self::from(rustix::fs::fstatvfs(file).ok()?))
    }
}

impl From<rustix::fs::StatVfs> for Disk {
    fn from(disk: rustix::fs::StatVfs) -> Self {
        let no_inodes = disk.f_files > 0 && disk.f_favail == 0;
        Self { free: disk.f_bavail * disk.f_frsize, total: disk.f_blocks * disk.f_frsize, no_inodes }
    }
}

/// Opens a file for reading, without waiting for a writer where it is a pipe.
///
/// # Errors
/// As open(2).
pub(crate) fn open_nonblocking(path: &Path) -> io::Result<File> {
    const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    File::options().read(true).custom_flags(NONBLOCK).open(path)
}

/// Reads a regular file of at most `most` bytes.
///
/// # Errors
/// As open(2) and read(2); it is no regular file, or larger.
#[cfg(feature = "tls")]
pub(crate) fn read_small_file(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open_nonblocking(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, most + 1), &mut bytes)?;
    match bytes.len() as u64 > most {
        true => Err(io::Error::other(format!("it has more than {most} bytes"))),
        false => Ok(bytes),
    }
}

/// The longest beginning of `text` of at most `most` bytes that ends between two characters.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_ends_between_characters() {
        for (text, most, wanted) in
            [("", 3, ""), ("abc", 3, "abc"), ("abcd", 3, "abc"), ("aé€", 4, "aé"), ("€", 2, "")]
        {
            assert_eq!(cut(text, most), wanted, "{text} {most}");
        }
    }

    #[test]
    fn this_process_is_there_and_runs() {
        assert!(Memory::now().is_some_and(|m| m.resident > m.shared && m.shared > 0));
        assert!(!is_suspended(std::process::id()) && !is_suspended(u32::MAX));
        assert!(Disk::of(Path::new("/no/such/directory")).is_some_and(|disk| !disk.no_inodes));
    }

    #[test]
    fn memory_as_the_kernel_writes_it() {
        let text = "MemTotal:         439532 kB\nMemFree:           20480 kB\nMemAvailable:     102400 kB\n";
        let memory = MachineMemory { total: 439_532 << 10, available: 100 << 20 };
        assert_eq!(MachineMemory::read(text), Some(memory));
        assert_eq!(MachineMemory::read("MemTotal: 439532 kB\n"), None);
        assert!(MachineMemory::now().is_some_and(|now| now.available <= now.total));
    }
}
