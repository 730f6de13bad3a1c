//! The attached connections, by id.

use super::{Conn, ConnId};
use crate::{
    auth::Lost,
    protocol::{DeviceId, Role},
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

/// The attached connections. They belong to their ids, never to a device: a connection that closes late does
/// not take its device's newer ones along.
pub struct Connections {
    boot: u32,
    all: RefCell<BTreeMap<ConnId, Rc<Conn>>>,
    next: Cell<u64>,
}

impl Connections {
    /// No connections yet, of the start `boot`.
    pub(crate) fn new(boot: u32) -> Rc<Self> {
        Rc::new(Self { boot, all: RefCell::default(), next: Cell::new(1) })
    }

    /// The id of the next connection.
    pub(crate) fn next_id(&self) -> ConnId {
        let number = self.next.get();
        self.next.set(number + 1);
        ConnId { boot: self.boot, number }
    }

    /// The number that the next connection gets; saved over a hand-over.
    pub(crate) fn next_number(&self) -> u64 {
        self.next.get()
    }

    /// Restores [`next_number`](Self::next_number).
    pub(crate) fn set_next_number(&self, number: u64) {
        self.next.set(number);
    }

    pub(super) fn insert(&self, conn: &Rc<Conn>) {
        self.all.borrow_mut().insert(conn.id(), conn.clone());
    }

    pub(super) fn remove(&self, id: ConnId) {
        self.all.borrow_mut().remove(&id);
    }

    pub(crate) fn get(&self, id: ConnId) -> Option<Rc<Conn>> {
        self.all.borrow().get(&id).cloned()
    }

    /// Every connection, the oldest first.
    pub fn all(&self) -> Vec<Rc<Conn>> {
        self.all.borrow().values().cloned().collect()
    }

    /// The connections that `wanted` selects, the oldest first.
    pub(crate) fn select(&self, wanted: impl Fn(&Conn) -> bool) -> Vec<Rc<Conn>> {
        self.all.borrow().values().filter(|conn| wanted(conn)).cloned().collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.all.borrow().len()
    }

    /// Counts requests under way on all connections.
    pub(crate) fn in_flight(&self) -> usize {
        self.all.borrow().values().map(|conn| conn.in_flight() as usize).sum()
    }

    pub(super) fn wake(&self) {
        self.all.borrow().values().for_each(|conn| conn.wire.wake());
    }

    /// The connections of a device, the newest last.
    pub(crate) fn of(&self, device: &DeviceId) -> Vec<Rc<Conn>> {
        self.select(|conn| conn.device() == Some(*device))
    }

    /// The newest connection of a device as a node.
    pub(crate) fn node(&self, device: &DeviceId) -> Option<Rc<Conn>> {
        self.of(device).into_iter().rfind(|c| c.role() == Role::Node && c.wire.closing().is_none())
    }

    /// Closes the connections of a device, or those of one of its roles, and says why.
    pub(crate) fn close_device(&self, device: &DeviceId, role: Option<Role>, why: Lost) {
        let (code, reason) = why.close();
        let conns = self.of(device);
        let conns = conns.iter().filter(|conn| role.is_none_or(|role| conn.role() == role));
        conns.for_each(|conn| conn.wire.close(code, reason));
    }
}
