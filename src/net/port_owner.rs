//! The process that listens on a port of this host, read from proc(5).

use std::{fmt, fs, net::IpAddr, path::Path};

/// A process that listens on a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    /// Process id.
    pub pid: u32,
    /// Command line of the process, cut short; the value of an option that may hold a secret is left out.
    pub command: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.pid, self.command)
    }
}

/// Whether anyone listens on `port`, on whatever address.
pub fn is_held(port: u16) -> bool {
    !inodes(port).is_empty()
}

/// Finds the process that listens on `port`. `None` where no process does, or its files are not readable to us.
pub fn holder(port: u16) -> Option<Holder> {
    let wanted: Vec<String> = inodes(port).iter().map(|inode| format!("socket:[{inode}]")).collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pid = pids.find(|pid| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let mut links = files.filter_map(|file| fs::read_link(file.path()).ok());
        !wanted.is_empty() && links.any(|link| wanted.iter().any(|w| Path::new(w) == link))
    })?;
    Some(Holder { pid, command: command(pid) })
}

/// The addresses on which anyone listens on `port`: each in hexadecimal, words of 32 bits in this host's order.
pub fn addresses(port: u16) -> Vec<IpAddr> {
    let end = format!(":{port:04X}");
    let address = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let hex = fields.next()?.strip_suffix(&end)?;
        let listens = fields.nth(1)? == "0A";
        let words = (0..hex.len()).step_by(8).map(|at| u32::from_str_radix(hex.get(at..at + 8)?, 16).ok());
        let bytes: Vec<u8> = words.flatten().flat_map(u32::to_ne_bytes).collect();
        let v4 = <[u8; 4]>::try_from(bytes.as_slice()).map(IpAddr::from);
        v4.or_else(|_| <[u8; 16]>::try_from(bytes.as_slice()).map(IpAddr::from)).ok().filter(|_| listens)
    };
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    tables.iter().flat_map(|table| table.lines().filter_map(address).collect::<Vec<_>>()).collect()
}

/// The sockets that listen on `port`. The local address ends in the port, in hexadecimal; state 0A is
/// TCP_LISTEN; the tenth field is the inode.
fn inodes(port: u16) -> Vec<String> {
    let end = format!(":{port:04X}");
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let line = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let listens = fields.get(1)?.ends_with(&end) && *fields.get(3)? == "0A";
        listens.then(|| fields.get(9).copied().map(String::from))?
    };
    tables.iter().flat_map(|table| table.lines().filter_map(line).collect::<Vec<_>>()).collect()
}

fn command(pid: u32) -> String {
    const LONGEST: usize = 120;
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&bytes);
    let mut words = Vec::new();
    let mut hide = false;
    for word in line.split('\0').filter(|w| !w.is_empty()) {
        let (name, value) = word.split_once('=').map_or((word, None), |(n, v)| (n, Some(v)));
        let secret =
            name.starts_with('-') && ["token", "password", "secret", "key"].iter().any(|s| name.contains(s));
        words.push(match (hide, secret, value) {
            (true, ..) => "…".to_owned(),
            (false, true, Some(_)) => format!("{name}=…"),
            _ => word.to_owned(),
        });
        hide = secret && value.is_none();
    }
    let text: String = words.join(" ").chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    if text.is_empty() {
        fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().into()
    } else {
        text
    }
}
