//! A link as plain data, which another process image continues.

use super::{client::ClientLink, greeting::Greeting, link::Link, relay::Relay};
use crate::{
    hub::{Conn, ConnId, SavedSocket},
    net::Wire,
    packed::{Added, read_part, take_part, write_part},
    protocol::{MAX_PAYLOAD, Scopes},
    reactor::Async,
};
use nanoserde::{DeBin, DeBinErr, SerBin};
use std::{net::TcpStream, rc::Rc};

/// A link, and its connection to the gateway behind this one. Its record is made of parts, as that of a
/// [`SavedConn`](crate::hub::SavedConn) is, the socket first.
#[derive(Clone, Debug)]
pub struct SavedLink {
    /// The connection to the gateway behind this one; its descriptor is negative where there is none to carry.
    pub socket: SavedSocket,
    /// The client's connection.
    pub conn: ConnId,
    refused: u32,
    scopes: Scopes,
    max_payload: u64,
    told: Added<String>,
    greeting: Greeting,
    link: Link,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl SerBin for SavedLink {
    fn ser_bin(&self, out: &mut Vec<u8>) {
        write_part(out, |out| self.socket.ser_bin(out));
        write_part(out, |out| {
            self.conn.ser_bin(out);
            self.refused.ser_bin(out);
            self.scopes.ser_bin(out);
            self.max_payload.ser_bin(out);
            self.told.ser_bin(out);
        });
        write_part(out, |out| self.greeting.ser_bin(out));
        write_part(out, |out| self.link.ser_bin(out));
        write_part(out, |out| out.extend_from_slice(&self.input));
        write_part(out, |out| out.extend_from_slice(&self.output));
    }
}

impl DeBin for SavedLink {
    fn de_bin(at: &mut usize, bytes: &[u8]) -> Result<Self, DeBinErr> {
        let socket = read_part(at, bytes)?;
        let ((conn, refused, scopes), (max_payload, told)) = read_part(at, bytes)?;
        let (greeting, link) = (read_part(at, bytes)?, read_part(at, bytes)?);
        let (input, output) = (take_part(at, bytes)?.to_vec(), take_part(at, bytes)?.to_vec());
        Ok(Self { socket, conn, refused, scopes, max_payload, told, greeting, link, input, output })
    }
}

impl Relay {
    /// The connection to the gateway behind this one that is carried over for `conn`. One that speaks TLS is not: the
    /// kernel knows nothing of that.
    pub(crate) fn carried(&self, conn: ConnId) -> Option<Rc<Wire>> {
        self.links.borrow().get(&conn)?.wire.borrow().clone().filter(|wire| !wire.is_tls())
    }

    /// Ids of the runs that OpenClaw lost.
    pub(crate) fn lost_runs(&self) -> Vec<String> {
        self.shared().lost.borrow().ids()
    }

    /// Remembers the runs that an earlier process image knew to be lost.
    pub(crate) fn restore_lost_runs(&self, ids: &[String]) {
        let shared = self.shared();
        ids.iter().for_each(|id| shared.lost.borrow_mut().add(id.clone()));
    }

    /// Saves the link of `conn`, if it has one.
    pub(crate) fn save(&self, conn: ConnId, cookie: bool) -> Option<SavedLink> {
        let link = self.links.borrow().get(&conn)?.clone();
        let wire = self.carried(conn);
        let (input, output) = wire.as_ref().map(|wire| wire.copy()).unwrap_or_default();
        Some(SavedLink {
            socket: wire.map_or(SavedSocket::NONE, |wire| SavedSocket::of(&wire, cookie)),
            conn,
            refused: link.refused.get(),
            scopes: link.scopes.get(),
            max_payload: link.max_payload.get() as u64,
            told: Added(link.told.borrow().clone()),
            greeting: link.greeting.clone(),
            link: link.link.borrow().clone(),
            input,
            output,
        })
    }

    /// Continues the link of `conn`, by `socket` if its connection was carried over.
    pub(crate) fn restore(
        self: &Rc<Self>,
        conn: &Rc<Conn>,
        saved: SavedLink,
        socket: Option<Async<TcpStream>>,
    ) {
        if !self.is_on() {
            return;
        }
        let wire = socket.map(|socket| Wire::client(socket, None, saved.input, saved.output, MAX_PAYLOAD));
        let link = ClientLink::restored(conn, saved.greeting, saved.link, wire.clone(), self.shared());
        link.refused.set(saved.refused);
        link.scopes.set(saved.scopes);
        link.told.replace(saved.told.0);
        link.max_payload.set(usize::try_from(saved.max_payload).unwrap_or(usize::MAX));
        if wire.is_none() {
            let effects = link.link.borrow_mut().closed("Barnacle was restarted");
            link.apply(effects);
        }
        self.links.borrow_mut().insert(conn.id(), link.clone());
        if wire.is_some() || link.link.borrow().wants_connection() || super::relay::listens(conn) {
            self.serve(&link);
        }
    }
}
