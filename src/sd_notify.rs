//! The notify protocol of systemd, and its descriptor store, without libsystemd.
//!
//! The gateway sends datagrams to `NOTIFY_SOCKET`: ready, reloading, stopping, alive, and descriptors to store for
//! the next start. It inherits descriptors that were stored before (`LISTEN_FDS`). Without `NOTIFY_SOCKET`
//! nothing is sent. Source: sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3).

use crate::net::fds;
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr, sockopt},
};
use std::{
    io::{self, IoSlice, Read},
    mem::MaybeUninit,
    os::unix::net::{UnixDatagram, UnixStream},
    time::Duration,
};

/// The first descriptor that is passed: SD_LISTEN_FDS_START.
const FIRST: i32 = 3;
/// Time-out for systemd to read what was sent.
const PATIENCE: Duration = Duration::from_secs(2);
/// Name of the descriptor that tests whether systemd stores any.
const PROBE: &str = "barnacle-probe";

/// The notify socket of the systemd that runs this process, if one does.
pub struct Notify {
    line: Option<(UnixDatagram, SocketAddrUnix)>,
    watchdog: Option<Duration>,
}

impl Notify {
    /// The line that the environment tells of. The variables stay for whom this process becomes by `exec`.
    pub fn of_process() -> Self {
        let number = |name| std::env::var(name).ok().and_then(|text| text.trim().parse::<u64>().ok());
        let mine = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|usec| mine && *usec > 0).map(Duration::from_micros);
        match std::env::var("NOTIFY_SOCKET") {
            Ok(name) if !name.is_empty() => {
                let line = open(&name).map_err(|e| log::warn!("NOTIFY_SOCKET={name}: {e}")).ok();
                Self { line, watchdog }
            }
            _ => Self { line: None, watchdog: None },
        }
    }

    /// Whether a service manager listens.
    pub fn is_there(&self) -> bool {
        self.line.is_some()
    }

    /// Interval for [`alive`](Self::alive): half of the watchdog's time-out.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog.filter(|_| self.is_there()).map(|limit| limit / 2)
    }

    /// Reports `READY=1`; `status` is shown by `systemctl status`.
    pub fn ready(&self, status: &str) {
        self.say(&format!("READY=1\nSTATUS={}", line_of(status)), SendFlags::empty());
    }

    /// Sets the text that `systemctl status` shows.
    pub fn status(&self, status: &str) {
        self.say(&format!("STATUS={}", line_of(status)), SendFlags::DONTWAIT);
    }

    /// Asks for more time before [`ready`](Self::ready): `longer`.
    pub fn not_yet(&self, status: &str, longer: Duration) {
        let usec = longer.as_micros();
        self.say(&format!("EXTEND_TIMEOUT_USEC={usec}\nSTATUS={}", line_of(status)), SendFlags::DONTWAIT);
    }

    /// Reports `RELOADING=1`; [`ready`](Self::ready) ends the reload.
    pub fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let usec = now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000;
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={usec}"), SendFlags::empty());
    }

    /// Reports `STOPPING=1`.
    pub fn stopping(&self, status: &str) {
        self.say(&format!("STOPPING=1\nSTATUS={}", line_of(status)), SendFlags::empty());
    }

    /// Reports `WATCHDOG=1`, if a watchdog is set.
    pub fn alive(&self) {
        if self.watchdog.is_some() {
            self.say("WATCHDOG=1", SendFlags::DONTWAIT);
        }
    }

    /// Stores a descriptor with systemd for the next start, under a name of at most 255 letters without
    /// `:`. Success does not mean that systemd kept it: see [`keeps`](Self::keeps).
    ///
    /// # Errors
    /// When the datagram cannot be sent.
    pub fn store(&self, name: &str, fd: impl AsFd) -> io::Result<()> {
        // Without FDPOLL=0 it would drop who hung up, and the count on return would not tell of a loss.
        let text = format!("FDSTORE=1\nFDPOLL=0\nFDNAME={name}");
        self.send(&text, Some(fd.as_fd()), SendFlags::empty())
    }

    /// Stores these listening sockets with systemd, and no others, so that the port stays open if this process is
    /// killed.
    pub(crate) fn keep_listening<Fd: AsFd>(&self, sockets: impl Iterator<Item = Fd>) {
        self.remove(LISTENING);
        for socket in sockets {
            if let Err(e) = self.store(LISTENING, socket) {
                log::warn!("a kill would close the port, as systemd does not keep it: {e}");
            }
        }
    }

    /// Removes descriptors from systemd's store by their name.
    pub fn remove(&self, name: &str) {
        self.say(&format!("FDSTOREREMOVE=1\nFDNAME={name}"), SendFlags::empty());
    }

    /// Whether systemd stores everything it was given so far, and would store one more. It has read it all
    /// when this returns.
    ///
    /// One end of a pair is given to it: if that is not kept, it is closed, and the other end tells.
    ///
    /// # Errors
    /// When a datagram cannot be sent, or systemd does not read in time.
    pub fn keeps(&self) -> io::Result<bool> {
        let (mut mine, its) = UnixStream::pair()?;
        self.store(PROBE, &its)?;
        drop(its);
        self.barrier()?;
        mine.set_nonblocking(true)?;
        let kept = matches!(mine.read(&mut [0]), Err(e) if e.kind() == io::ErrorKind::WouldBlock);
        self.remove(PROBE);
        Ok(kept)
    }

    /// Waits until systemd has read everything that was sent.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn barrier(&self) -> io::Result<()> {
        let (mut mine, its) = UnixStream::pair()?;
        // It closes its end when it has come to it (systemd 246 and later).
        self.send("BARRIER=1", Some(its.as_fd()), SendFlags::empty())?;
        drop(its);
        mine.set_read_timeout(Some(PATIENCE))?;
        match mine.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn say(&self, text: &str, flags: SendFlags) {
        if let Err(e) = self.send(text, None, flags) {
            log::debug!("notify {text:?}: {e}");
        }
    }

    /// Sends a datagram. With `DONTWAIT`, one that is sent again later anyway is dropped when systemd is busy.
    fn send(&self, text: &str, fd: Option<BorrowedFd<'_>>, flags: SendFlags) -> io::Result<()> {
        let Some((socket, to)) = &self.line else { return Ok(()) };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds: Vec<_> = fd.into_iter().collect();
        if !fds.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&fds));
        }
        sendmsg_addr(
            socket,
            to,
            &[IoSlice::new(text.as_bytes())],
            &mut control,
            flags | SendFlags::NOSIGNAL,
        )?;
        Ok(())
    }
}

fn open(name: &str) -> io::Result<(UnixDatagram, SocketAddrUnix)> {
    let to = match name.strip_prefix('@') {
        Some(name) => SocketAddrUnix::new_abstract_name(name.as_bytes())?,
        None => SocketAddrUnix::new(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    // A systemd that is busy must not hold the loop for good.
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(PATIENCE))?;
    Ok((socket, to))
}

/// A datagram's fields are its lines.
fn line_of(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

/// The name of the listening sockets in systemd's store.
pub(crate) const LISTENING: &str = "barnacle-listening";

/// A descriptor that systemd passed at the start.
pub struct Passed {
    /// `FDNAME=` of who stored it, or what the socket unit calls it; `unknown` where nobody gave a name.
    pub name: String,
    /// The descriptor itself.
    pub fd: OwnedFd,
}

/// Takes what systemd passed to this process, and the variables that tell of it out of the environment.
pub fn passed() -> Vec<Passed> {
    let [pid, count, names] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"].map(fds::take_variable);
    // Set for somebody else: what a parent left in the environment.
    if pid.and_then(|pid| pid.trim().parse().ok()) != Some(std::process::id()) {
        return Vec::new();
    }
    let count = count.and_then(|count| count.trim().parse::<i32>().ok()).unwrap_or_default();
    let names = names.unwrap_or_default();
    let mut names = names.split(':').filter(|name| !name.is_empty());
    let all = (FIRST..FIRST.saturating_add(count)).map(|number| {
        let name = names.next().unwrap_or("unknown").to_owned();
        match fds::adopt(number) {
            Ok(fd) => Some(Passed { name, fd }),
            Err(e) => {
                log::warn!("descriptor {number} ({name}) that systemd passed: {e}");
                None
            }
        }
    });
    all.flatten().collect()
}

/// Fate of this process's unit once the process has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// The unit ends too, and systemd closes what it stores for it.
    End,
    /// The unit is started again.
    Start,
}

/// Asks systemd what it is about to do: `stop` and `restart` both come as SIGTERM, and so does a `kill` by
/// hand, after which the unit's `Restart=` counts. Takes as long as a process or two take to start.
pub fn next() -> Next {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let Some(unit) = unit(&groups) else {
        // In a container of its own it cannot be asked. The environment shows whether it keeps descriptors.
        let keeps = std::env::var("FDSTORE").is_ok_and(|most| most.trim().parse() != Ok(0u64));
        return if keeps { Next::Start } else { Next::End };
    };
    // A user's systemd says so to what it starts; systemd.exec(5).
    let user = std::env::var_os("MANAGERPID").is_some();
    let ask = |args: &[&str]| {
        let mut systemctl = std::process::Command::new("systemctl");
        systemctl.args(if user { &["--user"][..] } else { &[] }).args(args).env_remove("NOTIFY_SOCKET");
        let output = systemctl.stdin(std::process::Stdio::null()).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let jobs = ask(&["list-jobs", "--no-legend", "--plain", "--no-pager"]);
    let job = jobs.and_then(|listed| job_of(&listed, &unit));
    job.or_else(|| ask(&["show", "-p", "Restart", "--value", &unit]).map(|policy| after_exit(&policy)))
        // It cannot be asked (a system unit on a host without D-Bus): a restart is likelier than a stop.
        .unwrap_or(Next::Start)
}

/// Effect of `Restart=` on a process that ends well.
fn after_exit(policy: &str) -> Next {
    if matches!(policy.trim(), "always" | "on-success") { Next::Start } else { Next::End }
}

/// The unit of a process by its control groups (cgroups(7)).
fn unit(groups: &str) -> Option<String> {
    // Under a mixed hierarchy both are there, and one of them is empty.
    let paths = groups
        .lines()
        .filter_map(|line| line.strip_prefix("0::").or(line.split_once(":name=systemd:").map(|l| l.1)));
    let mut leaves = paths.filter_map(|path| path.rsplit('/').next());
    leaves.find(|leaf| leaf.ends_with(".service")).map(str::to_owned)
}

/// The job of `unit` in what `systemctl list-jobs` prints: number, unit, kind, state.
fn job_of(listed: &str, unit: &str) -> Option<Next> {
    listed.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [_, name, "stop", ..] if name == unit => Some(Next::End),
            [_, name, "restart" | "try-restart" | "start", ..] if name == unit => Some(Next::Start),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_and_its_job() {
        let system = "0::/system.slice/barnacle.service\n";
        assert_eq!(unit(system), Some("barnacle.service".into()));
        let user = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/barnacle-gateway.service\n";
        assert_eq!(unit(user), Some("barnacle-gateway.service".into()));
        assert_eq!(unit("0::/user.slice/user-1000.slice/session-3.scope\n"), None);
        let mixed = "1:name=systemd:/\n0::/system.slice/barnacle.service\n";
        assert_eq!(unit(mixed), Some("barnacle.service".into()));
        let old = "2:cpu:/\n1:name=systemd:/system.slice/barnacle.service\n";
        assert_eq!(unit(old), Some("barnacle.service".into()));
        let jobs = " 812 other.service      stop    waiting\n 811 barnacle.service restart running\n";
        assert_eq!(job_of(jobs, "barnacle.service"), Some(Next::Start));
        assert_eq!(job_of(jobs, "other.service"), Some(Next::End));
        assert_eq!(job_of("No jobs running.\n", "barnacle.service"), None);
        assert_eq!(after_exit("always\n"), Next::Start);
        assert_eq!(after_exit("on-failure\n"), Next::End);
    }

    /// A systemd that keeps so many descriptors; it ends at `STOPPING=1` and returns the datagrams it received.
    fn systemd(socket: UnixDatagram, room: usize) -> std::thread::JoinHandle<(Vec<String>, usize)> {
        use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
        std::thread::spawn(move || {
            let (mut texts, mut kept) = (Vec::new(), Vec::new());
            loop {
                let mut bytes = [0; 1024];
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                let mut control = RecvAncillaryBuffer::new(&mut space);
                let mut into = [io::IoSliceMut::new(&mut bytes)];
                let n = recvmsg(&socket, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap().bytes;
                let text = String::from_utf8(bytes[..n].to_vec()).unwrap();
                let fds = control.drain().filter_map(|message| match message {
                    RecvAncillaryMessage::ScmRights(fds) => Some(fds.collect::<Vec<_>>()),
                    _ => None,
                });
                let fds: Vec<_> = fds.flatten().collect();
                let name =
                    text.lines().find_map(|l| l.strip_prefix("FDNAME=")).unwrap_or_default().to_owned();
                if text.starts_with("FDSTORE=1") && kept.len() < room {
                    kept.extend(fds.into_iter().map(|fd| (name.clone(), fd)));
                } else if text.starts_with("FDSTOREREMOVE=1") {
                    kept.retain(|(other, _)| *other != name);
                }
                let stops = text.starts_with("STOPPING=1");
                texts.push(text);
                if stops {
                    return (texts, kept.len());
                }
            }
        })
    }

    fn line() -> (Notify, UnixDatagram) {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("barnacle-notify-{}-{:?}", std::process::id(), std::thread::current().id());
        let at = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&at).unwrap();
        (
            Notify { line: Some(open(&format!("@{name}")).unwrap()), watchdog: Some(Duration::from_secs(3)) },
            socket,
        )
    }

    #[test]
    fn what_is_kept_is_known() {
        for (room, kept) in [(3, true), (2, false), (0, false)] {
            let (notify, socket) = line();
            let systemd = systemd(socket, room);
            let (one, two) = UnixStream::pair().unwrap();
            notify.store("c1", &one).unwrap();
            notify.store("c2", &two).unwrap();
            assert_eq!(notify.keeps().unwrap(), kept, "room for {room}");
            notify.stopping("");
            assert_eq!(systemd.join().unwrap().1, room.min(2));
        }
    }

    #[test]
    fn what_is_said() {
        let (notify, socket) = line();
        assert_eq!(notify.watchdog(), Some(Duration::from_millis(1500)));
        let systemd = systemd(socket, 0);
        notify.reloading();
        notify.ready("3 connections\nEXTRA=1");
        notify.alive();
        notify.stopping("bye");
        let (texts, _) = systemd.join().unwrap();
        assert!(texts[0].starts_with("RELOADING=1\nMONOTONIC_USEC="), "{texts:?}");
        assert_eq!(
            texts[1..],
            ["READY=1\nSTATUS=3 connections EXTRA=1", "WATCHDOG=1", "STOPPING=1\nSTATUS=bye"]
        );
        assert!(!Notify { line: None, watchdog: None }.is_there());
    }

    #[test]
    fn a_systemd_that_is_gone_costs_an_error_and_no_more() {
        let (notify, socket) = line();
        drop(socket);
        notify.ready("");
        assert!(notify.keeps().is_err());
    }
}
