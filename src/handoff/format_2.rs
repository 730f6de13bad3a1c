//! Format 2, as Barnacle 0.1.0 up to b4befac wrote and read it: every field in a fixed order, nothing to skip.
//!
//! Read, so that a gateway of that version can be upgraded; written, if the program on disk reads nothing newer, so
//! that it can be put back. Its types are here as they were then; those it shares with the rest of the program
//! (a device's display data, a peer, the journal's lines …) may not change in a way that its fixture does not pass:
//! then they, too, get a copy here. What format 2 cannot hold is left out: see [`encode`].

use super::{memory::Memory, state::State};
use crate::{
    auth::{Basis, SharedAuth, limiter::SavedRecord},
    hub::{
        Challenged, ConnId, RestartReport, SavedConn, SavedInvocation, SavedPending, SavedSocket, Session,
        Stage, displays,
        session::{boxed, version},
    },
    journal,
    net::{Peer, wire::Close},
    packed::PackedList,
    protocol::{DeviceId, RequestId, Role, Scopes, TokenHash},
    reactor::Place,
    store::{Display, Surface},
};
use nanoserde::{DeBin, DeBinErr, SerBin};
use std::os::fd::RawFd;

/// The number in the frame.
pub(super) const FORMAT: u32 = 2;

#[derive(SerBin, DeBin)]
struct State2 {
    version: String,
    why: String,
    since_ns: u64,
    lock: Option<(String, RawFd)>,
    mode: String,
    secret: Option<TokenHash>,
    listeners: Vec<RawFd>,
    given: Vec<RawFd>,
    conns: Vec<RawFd>,
    pending_conns: Vec<RawFd>,
    cookies: Vec<u64>,
    epoll: Option<RawFd>,
    places: Vec<Place>,
    memory: Memory2,
}

#[derive(SerBin, DeBin)]
struct Memory2 {
    boot: u32,
    started_ns: u64,
    started_ms: u64,
    next: u64,
    presence: u64,
    presence_pending: bool,
    tick_ns: u64,
    late_ticks: u64,
    reloads: u64,
    contacts: Vec<(RequestId, u64)>,
    seen: Vec<(DeviceId, u64, Option<Display>)>,
    unknown_requests: (u32, Option<u64>),
    guesses: Vec<SavedRecord>,
    restarts: Restarts2,
    journal: journal::Kept,
    conns: List2,
    pending_conns: Vec<Pending2>,
    invocations: Vec<SavedInvocation>,
}

#[derive(SerBin, DeBin)]
struct Restarts2 {
    count: u64,
    last_ms: u64,
    took_us: u64,
    carried: u64,
    why: String,
}

/// Attached connections, one [`Conn2`] after the other.
struct List2 {
    count: usize,
    bytes: Vec<u8>,
}

#[derive(SerBin, DeBin)]
struct Conn2 {
    id: ConnId,
    protocol: u64,
    role: Role,
    requested: Scopes,
    scopes: Scopes,
    device: Option<DeviceId>,
    basis: Basis,
    client: Display,
    instance: Option<String>,
    declared: Surface,
    local: bool,
    connected_ms: u64,
    seq: u64,
    quiet: u8,
    input: Vec<u8>,
    output: Vec<u8>,
    close: Option<Close>,
}

#[derive(SerBin, DeBin)]
struct Pending2 {
    stage: Stage2,
    until_ns: u64,
    input: Vec<u8>,
    output: Vec<u8>,
    close: Option<Close>,
}

#[derive(SerBin, DeBin)]
enum Stage2 {
    Head,
    Challenged(Challenged2),
    Leaving,
}

#[derive(SerBin, DeBin)]
struct Challenged2 {
    peer: Peer,
    nonce: String,
    connect: Option<String>,
}

impl SerBin for List2 {
    fn ser_bin(&self, out: &mut Vec<u8>) {
        self.count.ser_bin(out);
        self.bytes.len().ser_bin(out);
        out.extend_from_slice(&self.bytes);
    }
}

impl DeBin for List2 {
    fn de_bin(at: &mut usize, bytes: &[u8]) -> Result<Self, DeBinErr> {
        let (count, length) = (usize::de_bin(at, bytes)?, usize::de_bin(at, bytes)?);
        let end = at.checked_add(length).filter(|end| *end <= bytes.len());
        let end = end.ok_or_else(|| DeBinErr::new(*at, length, bytes.len()))?;
        let list = Self { count, bytes: bytes[*at..end].to_vec() };
        *at = end;
        Ok(list)
    }
}

/// The sockets of a state's connections, in its order: first the attached ones.
struct Sockets2 {
    fds: std::vec::IntoIter<RawFd>,
    cookies: std::vec::IntoIter<u64>,
    places: std::vec::IntoIter<Place>,
}

impl Sockets2 {
    fn next(&mut self) -> Option<SavedSocket> {
        Some(SavedSocket {
            fd: self.fds.next()?,
            cookie: self.cookies.next(),
            place: self.places.next().unwrap_or_default(),
        })
    }
}

/// Reads the payload of format 2; `None` where it makes no sense.
pub(super) fn decode(payload: &[u8]) -> Option<State> {
    let mut end = 0;
    let State2 {
        version,
        why,
        since_ns,
        lock,
        mode,
        secret,
        listeners,
        given,
        conns,
        pending_conns,
        cookies,
        epoll,
        places,
        memory: m,
    } = State2::de_bin(&mut end, payload).ok().filter(|_| end == payload.len())?;
    let connections = conns.len() + pending_conns.len();
    let whole = conns.len() == m.conns.count
        && pending_conns.len() == m.pending_conns.len()
        && (cookies.is_empty() || cookies.len() == connections)
        && (places.is_empty() || places.len() == connections);
    // Where nothing is known of the places, the `epoll` cannot be gone on with.
    let epoll = epoll.filter(|_| places.len() == connections);
    let mut sockets = Sockets2 {
        fds: [conns, pending_conns].concat().into_iter(),
        cookies: cookies.into_iter(),
        places: places.into_iter(),
    };
    let (mut conns, mut at) = (PackedList::for_some(m.conns.count), 0);
    for _ in 0..m.conns.count {
        let saved = Conn2::de_bin(&mut at, &m.conns.bytes).ok()?.saved(sockets.next()?);
        conns.add(|out| saved.ser_bin(out));
    }
    let mut pending_conns = PackedList::default();
    for pending in m.pending_conns {
        let saved = pending.saved(sockets.next()?);
        pending_conns.add(|out| saved.ser_bin(out));
    }
    let Restarts2 { count, last_ms, took_us, carried, why: reason } = m.restarts;
    whole.then_some(State {
        version,
        why,
        since_ns,
        lock,
        shared_auth: SharedAuth { open: mode == "none", secret },
        listeners,
        given,
        epoll,
        memory: Memory {
            boot: m.boot,
            started_ns: m.started_ns,
            started_ms: m.started_ms,
            next: m.next,
            presence: m.presence,
            presence_pending: m.presence_pending,
            tick_ns: m.tick_ns,
            late_ticks: m.late_ticks,
            reloads: m.reloads,
            contacts: m.contacts,
            seen: m.seen,
            unknown_requests: m.unknown_requests,
            guesses: m.guesses,
            restarts: RestartReport { count, last_ms, took_us, carried, why: reason },
            journal: m.journal,
            conns,
            pending_conns,
            invocations: m.invocations,
            links: PackedList::default(),
            lost_runs: Vec::new(),
        },
    })
}

/// Writes the payload of format 2. What a [`State`] holds beyond it is left out: the subscriptions of connections, to
/// whose events that version has no methods. Whoever adds something that may not be lost refuses here.
pub(super) fn encode(state: &State) -> Vec<u8> {
    let m = &state.memory;
    let conns: Vec<SavedConn> = m.conns.read().flatten().collect();
    let pending_conns: Vec<SavedPending> = m.pending_conns.read().flatten().collect();
    let fds = |sockets: &mut dyn Iterator<Item = &SavedSocket>| sockets.map(|socket| socket.fd).collect();
    let sockets = || conns.iter().map(|c| &c.socket).chain(pending_conns.iter().map(|p| &p.socket));
    let mut list = List2 { count: conns.len(), bytes: Vec::new() };
    conns.iter().for_each(|saved| Conn2::of(saved).ser_bin(&mut list.bytes));
    let r = &m.restarts;
    let state = State2 {
        version: state.version.clone(),
        why: state.why.clone(),
        since_ns: state.since_ns,
        lock: state.lock.clone(),
        mode: if state.shared_auth.open { "none" } else { "token" }.into(),
        secret: state.shared_auth.secret,
        listeners: state.listeners.clone(),
        given: state.given.clone(),
        conns: fds(&mut conns.iter().map(|c| &c.socket)),
        pending_conns: fds(&mut pending_conns.iter().map(|p| &p.socket)),
        cookies: sockets().filter_map(|socket| socket.cookie).collect(),
        epoll: state.epoll,
        places: sockets().filter(|_| state.epoll.is_some()).map(|socket| socket.place).collect(),
        memory: Memory2 {
            boot: m.boot,
            started_ns: m.started_ns,
            started_ms: m.started_ms,
            next: m.next,
            presence: m.presence,
            presence_pending: m.presence_pending,
            tick_ns: m.tick_ns,
            late_ticks: m.late_ticks,
            reloads: m.reloads,
            contacts: m.contacts.clone(),
            seen: m.seen.clone(),
            unknown_requests: m.unknown_requests,
            guesses: m.guesses.clone(),
            restarts: Restarts2 {
                count: r.count,
                last_ms: r.last_ms,
                took_us: r.took_us,
                carried: r.carried,
                why: r.why.clone(),
            },
            journal: m.journal.clone(),
            conns: list,
            pending_conns: pending_conns.iter().map(Pending2::of).collect(),
            invocations: m.invocations.clone(),
        },
    };
    state.serialize_bin()
}

impl Conn2 {
    fn of(saved: &SavedConn) -> Self {
        let s = saved.session.clone();
        Self {
            id: s.id,
            protocol: s.protocol.into(),
            role: s.role,
            requested: s.requested,
            scopes: s.scopes,
            device: s.device,
            basis: s.basis,
            client: (*s.client).clone(),
            declared: s.declared().clone(),
            instance: s.instance.map(String::from),
            local: s.local,
            connected_ms: s.connected_ms,
            seq: saved.seq,
            quiet: saved.quiet,
            input: saved.input.clone(),
            output: saved.output.clone(),
            close: saved.close.clone(),
        }
    }

    fn saved(self, socket: SavedSocket) -> SavedConn {
        SavedConn {
            socket,
            session: Session {
                id: self.id,
                protocol: version(self.protocol),
                role: self.role,
                requested: self.requested,
                scopes: self.scopes,
                device: self.device,
                basis: self.basis,
                client: displays::shared(&self.client.fields()),
                instance: self.instance.map(String::into_boxed_str),
                declared: boxed(self.declared),
                local: self.local,
                connected_ms: self.connected_ms,
                subscriptions: Default::default(),
            },
            seq: self.seq,
            quiet: self.quiet,
            input: self.input,
            output: self.output,
            close: self.close,
        }
    }
}

impl Pending2 {
    fn of(saved: &SavedPending) -> Self {
        Self {
            stage: match saved.stage.clone() {
                Stage::Head => Stage2::Head,
                Stage::Challenged(challenged) => Stage2::Challenged(Challenged2 {
                    peer: challenged.peer.clone(),
                    nonce: challenged.nonce.clone(),
                    connect: challenged.connect_text(),
                }),
                Stage::Leaving => Stage2::Leaving,
            },
            until_ns: saved.until_ns,
            input: saved.input.clone(),
            output: saved.output.clone(),
            close: saved.close.clone(),
        }
    }

    fn saved(self, socket: SavedSocket) -> SavedPending {
        SavedPending {
            socket,
            stage: match self.stage {
                Stage2::Head => Stage::Head,
                Stage2::Challenged(Challenged2 { peer, nonce, connect }) => {
                    Stage::Challenged(Challenged::restored(peer, nonce, connect))
                }
                Stage2::Leaving => Stage::Leaving,
            },
            until_ns: self.until_ns,
            input: self.input,
            output: self.output,
            close: self.close,
        }
    }
}
