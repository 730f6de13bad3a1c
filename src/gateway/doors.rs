//! The listening sockets of a running gateway, and who comes in by them.
//!
//! Each socket has a task that accepts. Where the configuration says to listen elsewhere, the new sockets
//! are opened first; only then do those that are not wanted any more close. Connections stay.
//!
//! The kernel resets whoever is on its way in by a socket that closes. So one that a wildcard would only
//! take the place of stays beside it, and the others close a little later than the new ones open.

use super::arrive;
use crate::{
    live::Hub,
    net::listen::{self, Bind, Doors, ListenError},
    reactor::{Async, Timer},
};
use smol::Task;
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    rc::{Rc, Weak},
    time::Duration,
};

/// Most connections that have not attached, in all.
const UNATTACHED: usize = 4096;
/// Most of them from one address that is not this host's.
const UNATTACHED_PER_ADDRESS: usize = 64;
/// How long a socket that is not wanted any more lets in who was on the way.
const ON_THE_WAY: Duration = Duration::from_millis(100);

/// The sockets that are listened on.
pub struct Listening {
    open: RefCell<Vec<Door>>,
    /// Not wanted any more, and not closed yet.
    unwanted: RefCell<Vec<Door>>,
    me: Weak<Self>,
    hub: RefCell<Weak<Hub>>,
    unattached: Rc<Unattached>,
}

struct Door {
    at: SocketAddr,
    socket: Rc<Async<TcpListener>>,
    /// Dropped, it accepts no more.
    accepting: Option<Task<()>>,
}

impl Listening {
    /// Listens on `sockets`, and lets nobody in yet.
    pub fn new(sockets: Vec<Async<TcpListener>>) -> Rc<Self> {
        Rc::new_cyclic(|me| Self {
            me: me.clone(),
            open: RefCell::new(sockets.into_iter().filter_map(Door::new).collect()),
            unwanted: RefCell::default(),
            hub: RefCell::default(),
            unattached: Rc::default(),
        })
    }

    /// Begins to let connections in to `hub`.
    pub fn serve(self: &Rc<Self>, hub: &Rc<Hub>) {
        *self.hub.borrow_mut() = Rc::downgrade(hub);
        self.open.borrow_mut().iter_mut().for_each(|door| door.accept(hub, &self.unattached));
        hub.set_doors(self.clone());
        self.close_later(hub);
    }

    /// The sockets, as they are now.
    pub fn sockets(&self) -> Vec<Rc<Async<TcpListener>>> {
        self.open.borrow().iter().map(|door| door.socket.clone()).collect()
    }

    /// Where they listen.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.open.borrow().iter().map(|door| door.at).collect()
    }

    /// The port.
    pub fn port(&self) -> Option<u16> {
        self.open.borrow().first().map(|door| door.at.port())
    }

    fn close_later(&self, hub: &Rc<Hub>) {
        let mut unwanted = self.unwanted.borrow_mut();
        unwanted.iter_mut().for_each(|door| door.accept(hub, &self.unattached));
        if unwanted.is_empty() {
            return;
        }
        let (this, hub_then) = (self.me.clone(), hub.clone());
        hub.spawn(async move {
            Timer::after(ON_THE_WAY).await;
            let Some(this) = this.upgrade() else { return };
            let unwanted = this.unwanted.take();
            unwanted.into_iter().for_each(|door| door.close(&hub_then, &this.unattached));
        });
    }

    /// A place among those that have not attached, for a connection that was let in before; it is given up
    /// when dropped.
    pub fn place(&self, socket: &TcpStream) -> Place {
        let ip = socket.peer_addr().map_or(IpAddr::from([0, 0, 0, 0]), |at| at.ip());
        self.unattached.place(ip)
    }
}

impl Doors for Listening {
    fn open(&self, bind: Bind, port: u16) -> Result<u16, ListenError> {
        let wanted = listen::addresses(bind, port);
        let mut before = self.open.take();
        let wanted_before = before.len();
        before.append(&mut self.unwanted.borrow_mut());
        let missing: Vec<_> =
            wanted.iter().filter(|at| !before.iter().any(|door| door.at == **at)).copied().collect();
        // A wildcard and an address of one port are in each other's way.
        let beside = before.iter().any(|door| port != 0 && door.at.port() == port);
        let share = |doors: &[Door], shared| {
            for door in doors.iter().filter(|_| beside) {
                if let Err(e) = listen::share(door.socket.get_ref(), shared) {
                    log::warn!("{}: {e}", door.at);
                }
            }
        };
        share(&before, true);
        // One family of addresses may be missing, as at the start; an address that was asked for by name not.
        let kept = before.iter().any(|door| door.is_wanted(&wanted));
        let named = |e: &ListenError| match e {
            ListenError::Io(at, _) => !at.ip().is_loopback() && !at.ip().is_unspecified(),
            ListenError::InUse(_) => true,
        };
        let opened = listen::open_all(&missing, beside).and_then(|mut opened| {
            let none = opened.sockets.is_empty() && !kept;
            match opened.missing.iter().position(|e| none || named(e)) {
                Some(at) => Err(opened.missing.swap_remove(at)),
                None => Ok(opened.sockets),
            }
        });
        let opened = match opened {
            Ok(sockets) => sockets,
            Err(e) => {
                share(&before, false);
                self.unwanted.replace(before.split_off(wanted_before));
                self.open.replace(before);
                return Err(e);
            }
        };
        let (mut doors, unwanted): (Vec<_>, Vec<_>) =
            before.into_iter().partition(|door| door.is_wanted(&wanted));
        let hub = self.hub.borrow().upgrade();
        for mut door in opened.into_iter().filter_map(Door::new) {
            log::info!("listening on {}", door.at);
            hub.iter().for_each(|hub| door.accept(hub, &self.unattached));
            doors.push(door);
        }
        self.unwanted.replace(unwanted);
        hub.iter().for_each(|hub| self.close_later(hub));
        share(&doors, false);
        let port = doors.first().map_or(port, |door| door.at.port());
        self.open.replace(doors);
        Ok(port)
    }
}

impl Door {
    fn new(socket: Async<TcpListener>) -> Option<Self> {
        let at = socket.get_ref().local_addr().map_err(|e| log::error!("a listening socket: {e}")).ok()?;
        Some(Self { at, socket: Rc::new(socket), accepting: None })
    }

    /// Whether it is one of `wanted`, or one of them would do its work.
    fn is_wanted(&self, wanted: &[SocketAddr]) -> bool {
        let covers = |at: &SocketAddr| {
            *at == self.at
                || at.ip().is_unspecified()
                    && at.is_ipv4() == self.at.is_ipv4()
                    && at.port() == self.at.port()
        };
        wanted.iter().any(covers)
    }

    fn accept(&mut self, hub: &Rc<Hub>, unattached: &Rc<Unattached>) {
        if self.accepting.is_some() {
            return;
        }
        let accepting = accept(hub.clone(), self.socket.clone(), unattached.clone());
        self.accepting = Some(hub.task(accepting));
    }

    /// Whoever has knocked is let in yet.
    fn close(mut self, hub: &Rc<Hub>, unattached: &Rc<Unattached>) {
        self.accepting = None;
        while let Ok((socket, remote)) = self.socket.accept_now() {
            welcome(hub, socket, remote, unattached);
        }
        log::info!("not listening on {} any more", self.at);
    }
}

/// Who is connected and has not attached.
#[derive(Default)]
struct Unattached {
    by_address: RefCell<HashMap<IpAddr, usize>>,
    all: Cell<usize>,
}

/// A place among those that have not attached.
pub struct Place(Rc<Unattached>, IpAddr);

impl Unattached {
    fn full(&self) -> bool {
        self.all.get() >= UNATTACHED
    }

    fn full_for(&self, ip: IpAddr) -> bool {
        let here = self.by_address.borrow().get(&ip).copied().unwrap_or_default();
        here >= UNATTACHED_PER_ADDRESS && !ip.to_canonical().is_loopback()
    }

    fn place(self: &Rc<Self>, ip: IpAddr) -> Place {
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

fn welcome(hub: &Rc<Hub>, socket: Async<TcpStream>, remote: SocketAddr, unattached: &Rc<Unattached>) {
    let ip = remote.ip();
    if unattached.full_for(ip) {
        return log::warn!("{ip}: too many connections that have not attached; closed one");
    }
    arrive::take_in(hub, socket, unattached.place(ip));
}

async fn accept(hub: Rc<Hub>, listener: Rc<Async<TcpListener>>, unattached: Rc<Unattached>) {
    loop {
        while unattached.full() {
            // Whoever comes now waits in the kernel's backlog.
            Timer::after(Duration::from_millis(20)).await;
        }
        match listener.accept().await {
            Ok((socket, remote)) => welcome(&hub, socket, remote, &unattached),
            Err(e) => {
                log::warn!("accept: {e}");
                Timer::after(Duration::from_millis(50)).await;
            }
        }
    }
}
