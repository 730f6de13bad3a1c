//! A session: everything that is known of an attached connection, as plain data.
//!
//! It holds no future and no handle, so `nanoserde` can write it and read it back; together with the
//! socket and the bytes under way ([`SavedConn`]) the connection continues in another process.

use super::displays;
use crate::{
    auth::Basis,
    net::{Wire, wire::Close},
    packed::{Added, read_part, take_part, write_part},
    protocol::{DeviceId, Role, Scopes},
    reactor::Place,
    store::{Display, Surface},
};
use nanoserde::{DeBin, DeBinErr, SerBin};
use rustix::net::sockopt::socket_cookie;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    os::fd::{AsRawFd, RawFd},
    rc::Rc,
};

/// A topic to subscribe to: a family of events and, where it has several, one of them; in use, the name of the method
/// that subscribes and the key of a session.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, SerBin, DeBin)]
pub struct Topic {
    /// Family of events.
    pub family: String,
    /// One topic of the family, or `None` for all of it.
    pub key: Option<String>,
}

impl Topic {
    /// The topic `key` of `family`.
    pub fn new(family: &str, key: Option<&str>) -> Self {
        Self { family: family.into(), key: key.map(str::to_owned) }
    }
}

/// The facts of an attached connection.
#[derive(Clone, PartialEq, Debug)]
pub struct Session {
    /// Id of the connection, unique among all processes of this gateway.
    pub id: super::ConnId,
    /// The protocol version agreed on.
    pub protocol: u8,
    /// Role of the connection.
    pub role: Role,
    /// Scopes that the client asked for.
    pub requested: Scopes,
    /// Scopes that the client was granted.
    pub scopes: Scopes,
    /// Id of the device, if its signature was verified.
    pub device: Option<DeviceId>,
    /// Credential that the connection depends on.
    pub basis: Basis,
    /// Display data that the client sent.
    pub client: Rc<Display>,
    /// `client.instanceId`.
    pub instance: Option<Box<str>>,
    /// See [`declared`](Self::declared).
    pub declared: Option<Box<Surface>>,
    /// Whether it is this host, speaking for itself.
    pub local: bool,
    /// Time of attaching, wall-clock milliseconds.
    pub connected_ms: u64,
    /// The topics whose events it is sent.
    pub subscriptions: BTreeSet<Topic>,
}

impl Session {
    /// Commands and permissions that a node declared; none of any other client.
    pub fn declared(&self) -> &Surface {
        static NONE: Surface =
            Surface { caps: Vec::new(), commands: Vec::new(), permissions: BTreeMap::new() };
        self.declared.as_deref().unwrap_or(&NONE)
    }

    /// Returns `client.mode`, or an empty text.
    pub fn mode(&self) -> &str {
        self.client.client_mode.as_deref().unwrap_or_default()
    }

    /// The words a log line calls it by.
    pub fn name(&self) -> Name<'_> {
        Name(self)
    }
}

/// A session in the words of a log line.
pub struct Name<'a>(&'a Session);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Session { role, id, device, client, .. } = self.0;
        write!(f, "{role} {id} (")?;
        match device {
            Some(device) => device.fmt_short(f)?,
            None => f.write_str("no device")?,
        }
        write!(f, ", {})", client.client_id.as_deref().unwrap_or("client"))
    }
}

/// The socket of a connection, as the next process finds it again.
#[derive(Clone, Copy, PartialEq, Debug, SerBin, DeBin)]
pub struct SavedSocket {
    /// Descriptor of the socket, if the process stays the same; another process has others.
    pub fd: RawFd,
    /// Cookie of the socket (SO_COOKIE), if another process inherits it.
    pub cookie: Option<u64>,
    /// Number in the `epoll`, if that is kept.
    pub place: Place,
}

impl SavedSocket {
    /// No socket.
    pub(crate) const NONE: Self = Self { fd: -1, cookie: None, place: Place::NONE };

    /// The socket of `wire`; `cookie` if another process is to find it.
    pub(crate) fn of(wire: &Wire, cookie: bool) -> Self {
        let socket = wire.socket();
        Self {
            fd: socket.get_ref().as_raw_fd(),
            cookie: cookie.then(|| socket_cookie(socket.get_ref()).unwrap_or_default()),
            place: socket.place(),
        }
    }
}

/// An attached connection as plain data: its session, and what is under way.
///
/// Its record is made of parts, in this order: the socket; the facts of the session, which seldom change; what
/// changes with every frame; the bytes read and not yet understood; the bytes not yet sent. It can become a slot in
/// shared memory, whose second half alone is written anew.
#[derive(Clone, PartialEq, Debug)]
pub struct SavedConn {
    /// Socket, with bytes that were read and not used yet.
    pub socket: SavedSocket,
    /// The session's data.
    pub session: Session,
    /// The `seq` of the last event it was sent.
    pub seq: u64,
    /// Ticks since it was last heard.
    pub quiet: u8,
    /// Bytes read and not yet understood.
    pub input: Vec<u8>,
    /// Bytes that are not sent yet.
    pub output: Vec<u8>,
    /// The close that was asked for.
    pub close: Option<Close>,
}

/// Writes the record of a connection; `output` in pieces.
pub(super) fn write_record(
    socket: SavedSocket,
    session: &Session,
    (seq, quiet, close): (u64, u8, &Option<Close>),
    (input, output): (&[u8], [&[u8]; 2]),
    out: &mut Vec<u8>,
) {
    write_part(out, |out| socket.ser_bin(out));
    write_part(out, |out| session.ser_bin(out));
    write_part(out, |out| {
        seq.ser_bin(out);
        quiet.ser_bin(out);
        close.ser_bin(out);
    });
    write_part(out, |out| out.extend_from_slice(input));
    write_part(out, |out| output.iter().for_each(|piece| out.extend_from_slice(piece)));
}

impl SerBin for SavedConn {
    fn ser_bin(&self, out: &mut Vec<u8>) {
        let Self { socket, session, seq, quiet, input, output, close } = self;
        write_record(*socket, session, (*seq, *quiet, close), (input, [output, &[]]), out);
    }
}

impl DeBin for SavedConn {
    fn de_bin(at: &mut usize, bytes: &[u8]) -> Result<Self, DeBinErr> {
        let socket = read_part(at, bytes)?;
        let session = read_part(at, bytes)?;
        let (seq, quiet, close) = read_part(at, bytes)?;
        let (input, output) = (take_part(at, bytes)?.to_vec(), take_part(at, bytes)?.to_vec());
        Ok(Self { socket, session, seq, quiet, input, output, close })
    }
}

/// The data that the device store's types are a part of stands in parts, since those types may grow.
impl SerBin for Session {
    fn ser_bin(&self, out: &mut Vec<u8>) {
        self.id.ser_bin(out);
        u64::from(self.protocol).ser_bin(out);
        self.role.ser_bin(out);
        self.requested.ser_bin(out);
        self.scopes.ser_bin(out);
        self.device.ser_bin(out);
        self.basis.ser_bin(out);
        write_part(out, |out| self.client.ser_bin(out));
        self.instance.as_deref().map(str::to_owned).ser_bin(out);
        write_part(out, |out| self.declared().ser_bin(out));
        self.local.ser_bin(out);
        self.connected_ms.ser_bin(out);
        self.subscriptions.ser_bin(out);
    }
}

/// A version of the protocol as it is kept; there are few.
pub(crate) fn version(protocol: u64) -> u8 {
    u8::try_from(protocol).unwrap_or(u8::MAX)
}

/// What a node declared; most clients declare nothing, and have no room for it.
pub(crate) fn boxed(declared: Surface) -> Option<Box<Surface>> {
    (declared != Surface::default()).then(|| Box::new(declared))
}

impl DeBin for Session {
    fn de_bin(at: &mut usize, bytes: &[u8]) -> Result<Self, DeBinErr> {
        Ok(Self {
            id: DeBin::de_bin(at, bytes)?,
            protocol: version(DeBin::de_bin(at, bytes)?),
            role: DeBin::de_bin(at, bytes)?,
            requested: DeBin::de_bin(at, bytes)?,
            scopes: DeBin::de_bin(at, bytes)?,
            device: DeBin::de_bin(at, bytes)?,
            basis: DeBin::de_bin(at, bytes)?,
            client: displays::shared(&read_part::<Display>(at, bytes)?.fields()),
            instance: Option::<String>::de_bin(at, bytes)?.map(String::into_boxed_str),
            declared: boxed(read_part(at, bytes)?),
            local: DeBin::de_bin(at, bytes)?,
            connected_ms: DeBin::de_bin(at, bytes)?,
            subscriptions: Added::de_bin(at, bytes)?.0,
        })
    }
}
