//! What is handed over, and its frame: verified before anything in it is believed.
//!
//! ```text
//! "BARNHAND" · format u32 · length u64 · payload · SHA-256 of all before   (little endian)
//! ```

use super::Memory;
use crate::{
    app::App,
    auth::SharedAuth,
    config::{AuthMode, Settings},
    gateway::listeners::Listening,
    hub::{Conn, PendingConn},
    protocol::TokenHash,
    reactor::{self, Async, Place},
};
use nanoserde::{DeBin, SerBin};
use sha2::{Digest, Sha256};
use std::{
    fmt,
    fs::File,
    io::{self, Write},
    net::TcpListener,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    rc::Rc,
};

const MAGIC: &[u8; 8] = b"BARNHAND";
const HEAD: usize = 8 + 4 + 8;
const DIGEST: usize = 32;

/// A gateway, written down: what it knows, and the numbers of its descriptors.
#[derive(Clone, SerBin, DeBin)]
pub struct State {
    /// The version that wrote it.
    pub version: String,
    /// What asked for it.
    pub why: String,
    /// Since when nobody is served, nanoseconds of the monotonic clock.
    pub since_ns: u64,
    /// The store's directory, and the descriptor of its lock.
    pub lock: Option<(String, RawFd)>,
    /// Whom the configuration let in.
    pub admits: Admits,
    /// The sockets it listens on.
    pub listeners: Vec<RawFd>,
    /// Those of a socket unit.
    pub given: Vec<RawFd>,
    /// The sockets of the attached connections, in the order of [`Memory::conns`].
    pub conns: Vec<RawFd>,
    /// Those of the others, in the order of [`Memory::pending_conns`].
    pub pending_conns: Vec<RawFd>,
    /// The cookies of the sockets of all these connections, if systemd keeps them: a number is good only
    /// within this process.
    pub cookies: Vec<u64>,
    /// The `epoll` that all these sockets are in, and where each connection's stands in it: that lives on, too.
    pub epoll: Option<RawFd>,
    /// In the order of `conns`, then `pending_conns`.
    pub places: Vec<Place>,
    /// What it knows.
    pub memory: Memory,
}

/// Whom a configuration lets in by what is shared.
#[derive(Clone, PartialEq, Eq, Debug, SerBin, DeBin)]
pub struct Admits {
    /// `gateway.auth.mode`.
    pub mode: String,
    /// The hash of the shared secret.
    pub secret: Option<TokenHash>,
}

impl Admits {
    /// Of `settings`.
    pub fn of(settings: &Settings) -> Self {
        let secret = settings.credentials.active.as_ref();
        Self { mode: settings.auth.as_str().into(), secret: secret.map(|(secret, _)| secret.hash()) }
    }

    /// What they asked of a connection that has no device.
    pub fn shared_auth(&self) -> SharedAuth {
        let open = AuthMode::parse(&self.mode) == Some(AuthMode::None);
        SharedAuth { open, secret: self.secret }
    }
}

/// The sockets that a state speaks of, in its order.
pub struct Sockets {
    listeners: [Vec<Rc<Async<TcpListener>>>; 2],
    conns: Vec<Rc<Conn>>,
    pending_conns: Vec<Rc<PendingConn>>,
}

impl Sockets {
    /// All that must live on, but for the store's lock.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let listeners = self.listeners.iter().flatten().map(|l| l.get_ref().as_fd());
        listeners.chain(self.connections())
    }

    /// Those of connections.
    pub fn connections(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let conns = self.conns.iter().map(|c| c.wire.socket().get_ref().as_fd());
        conns.chain(self.pending_conns.iter().map(|g| g.wire.socket().get_ref().as_fd()))
    }
}

impl State {
    /// The gateway as it is now, and the sockets that it speaks of; `version` is this program's, and `more` is
    /// what a connection is sent besides.
    pub fn of(
        app: &Rc<App>,
        doors: &Listening,
        version: &str,
        why: &str,
        more: impl Fn(&Conn) -> Vec<u8>,
    ) -> (Self, Sockets) {
        let listeners = [doors.sockets(), doors.given()];
        let [own, given] = listeners.each_ref().map(|l| l.iter().map(|l| l.get_ref().as_raw_fd()).collect());
        let (conns, pending_conns) = app.hub.carried();
        let state = Self {
            version: version.into(),
            why: why.into(),
            since_ns: crate::clock::monotonic_ns(),
            lock: app
                .devices
                .store
                .lock()
                .map(|fd| (app.devices.store.dir().to_string_lossy().into(), fd.as_raw_fd())),
            admits: Admits::of(&app.settings()),
            listeners: own,
            given,
            conns: conns.iter().map(|c| c.wire.socket().get_ref().as_raw_fd()).collect(),
            pending_conns: pending_conns.iter().map(|g| g.wire.socket().get_ref().as_raw_fd()).collect(),
            cookies: Vec::new(),
            epoll: None,
            places: Vec::new(),
            memory: app.memory(&conns, &pending_conns, more),
        };
        (state, Sockets { listeners, conns, pending_conns })
    }

    /// Has the next process image go on with this one's `epoll`, in which its `sockets` stand.
    pub fn keep_places(&mut self, sockets: &Sockets) {
        self.epoll = reactor::with_epoll(|epoll| epoll.as_raw_fd()).ok();
        let (conns, pending_conns) = (sockets.conns.iter(), sockets.pending_conns.iter());
        let wires = conns.map(|c| &c.wire).chain(pending_conns.map(|g| &g.wire));
        self.places = wires.map(|wire| wire.socket().place()).collect();
    }
}

/// A way to write a state down. Each version of Barnacle has one, and may read more than that.
#[derive(Clone, Copy)]
pub struct StateFormat {
    /// The version whose way it is.
    pub version: &'static str,
    /// The number of the format that is written.
    pub format: u32,
    /// Writes the payload.
    pub encode: fn(&State) -> Vec<u8>,
    /// Reads the payload of a format; `None` where it makes no sense.
    pub decode: fn(&[u8]) -> Option<State>,
    /// Reads an older format, if this version knows it.
    pub older: fn(u32, &[u8]) -> Option<State>,
}

/// This version's.
pub const STATE_FORMAT: StateFormat = StateFormat {
    version: env!("CARGO_PKG_VERSION"),
    format: 2,
    encode: |state| state.serialize_bin(),
    decode: |payload| {
        let mut end = 0;
        let state = State::de_bin(&mut end, payload).ok()?;
        (end == payload.len()).then_some(state)
    },
    older: |_, _| None,
};

/// Why bytes are not a state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Damage {
    /// They are not what was written.
    Broken(&'static str),
    /// The format is not one that this version reads.
    Format(u32, &'static str),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(why) => write!(f, "the state {why}"),
            Self::Format(format, version) => {
                write!(f, "the state has format {format}, which Barnacle {version} does not read")
            }
        }
    }
}

impl StateFormat {
    /// The bytes of `state`.
    pub fn seal(&self, state: &State) -> Sealed {
        let payload = (self.encode)(state);
        let mut head = Vec::with_capacity(HEAD);
        head.extend_from_slice(MAGIC);
        head.extend_from_slice(&self.format.to_le_bytes());
        head.extend_from_slice(&(payload.len() as u64).to_le_bytes());
        let digest = Sha256::new().chain_update(&head).chain_update(&payload).finalize();
        Sealed([head, payload, digest.to_vec()])
    }

    /// The state that `bytes` are.
    ///
    /// # Errors
    /// [`Damage`].
    pub fn open(&self, bytes: &[u8]) -> Result<State, Damage> {
        let end = bytes.len().checked_sub(DIGEST).filter(|end| *end >= HEAD);
        let end = end.ok_or(Damage::Broken("is cut short"))?;
        if &bytes[..8] != MAGIC {
            return Err(Damage::Broken("does not begin as one"));
        }
        let payload = &bytes[HEAD..end];
        let length = bytes[12..HEAD].try_into().map_or(0, u64::from_le_bytes);
        if length != payload.len() as u64 || Sha256::digest(&bytes[..end])[..] != bytes[end..] {
            return Err(Damage::Broken("is not what was written: its length or checksum is wrong"));
        }
        let format = bytes[8..12].try_into().map_or(0, u32::from_le_bytes);
        let state = match format {
            f if f == self.format => (self.decode)(payload).ok_or(Damage::Broken("makes no sense"))?,
            f => (self.older)(f, payload).ok_or(Damage::Format(f, self.version))?,
        };
        let connections = state.conns.len() + state.pending_conns.len();
        let whole = state.conns.len() == state.memory.conns.len()
            && state.pending_conns.len() == state.memory.pending_conns.len()
            && (state.cookies.is_empty() || state.cookies.len() == connections)
            && (state.places.is_empty() || state.places.len() == connections);
        if whole { Ok(state) } else { Err(Damage::Broken("has a socket too many or too few")) }
    }
}

/// The bytes of a state, in three pieces: head, payload, digest.
pub struct Sealed([Vec<u8>; 3]);

impl Sealed {
    /// What tells it from another; see [`mark`].
    pub fn mark(&self) -> String {
        mark(&self.0[2])
    }

    /// A file in memory with it.
    ///
    /// # Errors
    /// The system's.
    pub fn memory_file(&self) -> io::Result<File> {
        let fd = rustix::fs::memfd_create("barnacle-state", rustix::fs::MemfdFlags::CLOEXEC)?;
        let mut file = File::from(fd);
        self.0.iter().try_for_each(|piece| file.write_all(piece))?;
        Ok(file)
    }
}

/// What tells one state from another: the end of its bytes, as hexadecimal digits.
pub fn mark(bytes: &[u8]) -> String {
    crate::protocol::hex(&bytes[bytes.len().saturating_sub(DIGEST)..])
}
