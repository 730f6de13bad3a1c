//! Who is connected and has not attached: so many, and no more.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    net::{IpAddr, TcpStream},
    rc::Rc,
};

/// The most of them, in all.
const MOST: usize = 4096;
/// The most from one address that is not this host's.
const MOST_OF_ONE: usize = 64;

/// Who is connected and has not attached.
#[derive(Default)]
pub struct Unattached {
    by_address: RefCell<HashMap<IpAddr, usize>>,
    all: Cell<usize>,
    /// The addresses that the configuration listens on.
    pub wanted: RefCell<Vec<IpAddr>>,
    told: Cell<bool>,
}

/// A place among those that have not attached.
pub struct Place(Rc<Unattached>, IpAddr);

impl Unattached {
    /// Whether there are as many as there may be.
    pub fn full(&self) -> bool {
        self.all.get() >= MOST
    }

    /// Whether there are as many from `ip` as there may be.
    pub fn full_for(&self, ip: IpAddr) -> bool {
        let here = self.by_address.borrow().get(&ip).copied().unwrap_or_default();
        here >= MOST_OF_ONE && !ip.to_canonical().is_loopback()
    }

    /// Whether who came in by a socket unit's socket came to an address that the configuration listens on: a
    /// unit never opens the gateway wider than the configuration does.
    pub fn admits(&self, socket: &TcpStream) -> bool {
        let Ok(own) = socket.local_addr().map(|at| at.ip().to_canonical()) else { return false };
        let wanted = self.wanted.borrow();
        let admits = own.is_loopback() || is_lan(&wanted) || wanted.contains(&own);
        if !admits && !self.told.replace(true) {
            log::warn!("closed a connection to {own} by the socket unit: gateway.bind does not listen there");
        }
        admits
    }

    /// A place for one from `ip`.
    pub fn place(self: &Rc<Self>, ip: IpAddr) -> Place {
        *self.by_address.borrow_mut().entry(ip).or_default() += 1;
        self.all.set(self.all.get() + 1);
        Place(self.clone(), ip)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.all.set(self.0.all.get() - 1);
        let mut by_address = self.0.by_address.borrow_mut();
        if let Some(n) = by_address.get_mut(&self.1) {
            *n -= 1;
            if *n == 0 {
                by_address.remove(&self.1);
            }
        }
    }
}

/// Whether every address is among `wanted`.
pub fn is_lan(wanted: &[IpAddr]) -> bool {
    wanted.iter().any(IpAddr::is_unspecified)
}
