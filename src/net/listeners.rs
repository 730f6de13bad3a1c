//! The listening sockets of a running gateway.
//!
//! Each socket has a task that accepts, and hands each connection to a function that does not wait. Where the
//! configuration says to listen elsewhere, the new sockets are opened first; only then do those that are not wanted any
//! more close. Connections stay.
//!
//! The kernel resets connections that are under way to a socket that closes. So one that a wildcard would only replace
//! stays beside it, and the others close a little later than the new ones open.

use super::{
    address_events::AddressEvents,
    listen::{self, Bind, ListenError},
    local_addr,
};
use crate::{
    reactor::leave_to_worker,
    reactor::{Async, Tasks, Timer},
};
use smol::{Task, future};
use std::{
    cell::{Cell, RefCell},
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    rc::{Rc, Weak},
    time::Duration,
};

/// Time for which a socket that is to be closed accepts connections under way.
const UNDER_WAY: Duration = Duration::from_millis(100);
/// Connections that are accepted in a row before everything else has its turn: a flood of them holds up nobody.
const IN_A_ROW: usize = 8;

/// Takes in an accepted connection.
type Accept = Rc<dyn Fn(Async<TcpStream>, SocketAddr)>;
/// Called with the sockets whenever they change.
type Changed = Box<dyn Fn(&Listeners)>;

/// The sockets that are listened on.
pub struct Listeners {
    open: RefCell<Vec<Listener>>,
    /// Sockets to be closed soon.
    unwanted: RefCell<Vec<Listener>>,
    me: Weak<Self>,
    serving: RefCell<Option<Serving>>,
    changed: RefCell<Option<Changed>>,
    bind: Cell<Bind>,
    /// The addresses that the configuration listens on.
    wanted: RefCell<Vec<IpAddr>>,
    warned: Cell<bool>,
    /// Follows the addresses of this host, as long as one that is wanted is not here.
    following: RefCell<Option<Task<()>>>,
}

/// A listening socket and its accept task.
#[derive(Clone)]
struct Serving {
    tasks: Tasks,
    accept: Accept,
}

struct Listener {
    at: SocketAddr,
    /// Whether it is a socket unit's: systemd holds it open, so it is never closed here either.
    given: bool,
    socket: Rc<Async<TcpListener>>,
    /// Dropped, it accepts no more.
    accepting: Option<Task<()>>,
}

impl Listeners {
    /// Listens where `bind` and `port` say, and accepts nothing yet; `own` are the sockets of the process before this
    /// one, `given` those of a socket unit.
    ///
    /// # Errors
    /// [`ListenError`], if it listens nowhere.
    pub fn start(
        own: Vec<OwnedFd>,
        given: Vec<OwnedFd>,
        bind: Bind,
        port: u16,
    ) -> Result<Rc<Self>, ListenError> {
        let taken = |given| {
            move |fd| {
                let socket = listen::taken(fd).inspect_err(|e| log::warn!("a socket from systemd: {e}"));
                Listener::new(socket.ok()?, given)
            }
        };
        let own = own.into_iter().filter_map(taken(false));
        let mut open: Vec<_> = own.chain(given.into_iter().filter_map(taken(true))).collect();
        let fresh = open.is_empty();
        if fresh {
            open.extend(
                listen::listen(bind, port)?.into_iter().filter_map(|socket| Listener::new(socket, false)),
            );
        }
        let listeners = Rc::new_cyclic(|me| Self {
            me: me.clone(),
            open: RefCell::new(open),
            unwanted: RefCell::default(),
            serving: RefCell::default(),
            changed: RefCell::default(),
            bind: Cell::new(bind),
            wanted: RefCell::new(listen::addresses(bind, port).iter().map(SocketAddr::ip).collect()),
            warned: Cell::new(false),
            following: RefCell::default(),
        });
        if !fresh && let Err(e) = listeners.open(bind, port) {
            log::error!("still listening where it was: {e}");
        }
        listeners.notices().iter().for_each(|notice| log::warn!("{notice}"));
        Ok(listeners)
    }

    /// Calls `changed` now and whenever the sockets change.
    pub fn on_change(&self, changed: impl Fn(&Self) + 'static) {
        changed(self);
        *self.changed.borrow_mut() = Some(Box::new(changed));
    }

    /// Begins to accept: each connection is handed to `accept`.
    pub fn serve(&self, tasks: Tasks, accept: impl Fn(Async<TcpStream>, SocketAddr) + 'static) {
        *self.serving.borrow_mut() = Some(Serving { tasks, accept: Rc::new(accept) });
        self.pause(false);
        self.close_later();
        self.follow();
    }

    /// Hands on a connection that was accepted before; `given` if by a socket unit's socket.
    pub fn take(&self, socket: Async<TcpStream>, remote: SocketAddr, given: bool) {
        let serving = self.serving.borrow().clone();
        if let Some(serving) = serving.filter(|_| !given || self.admits(socket.get_ref())) {
            (serving.accept)(socket, remote);
        }
    }

    /// Accepts nothing for a while: new connections wait in the kernel's backlog.
    pub fn pause(&self, pause: bool) {
        let serving = self.serving.borrow().clone().filter(|_| !pause);
        for listener in self.open.borrow_mut().iter_mut() {
            match &serving {
                Some(serving) => listener.accept(serving, &self.me),
                None => listener.accepting = None,
            }
        }
    }

    /// Whether a connection by a socket unit's socket came to an address that the configuration listens on: a unit
    /// never opens the gateway wider than the configuration does.
    fn admits(&self, socket: &TcpStream) -> bool {
        let Ok(own) = socket.local_addr().map(|at| at.ip().to_canonical()) else { return false };
        let wanted = self.wanted.borrow();
        let admits = own.is_loopback() || is_lan(&wanted) || wanted.contains(&own);
        if !admits && !self.warned.replace(true) {
            log::warn!("closed a connection to {own} by the socket unit: gateway.bind does not listen there");
        }
        admits
    }

    /// The sockets, as they are now, but for a socket unit's.
    pub fn sockets(&self) -> Vec<Rc<Async<TcpListener>>> {
        self.those(false)
    }

    /// Sockets of the socket unit.
    pub fn given(&self) -> Vec<Rc<Async<TcpListener>>> {
        self.those(true)
    }

    fn those(&self, given: bool) -> Vec<Rc<Async<TcpListener>>> {
        self.open
            .borrow()
            .iter()
            .filter(|listener| listener.given == given)
            .map(|listener| listener.socket.clone())
            .collect()
    }

    /// Addresses of the sockets, as far as this host has them now.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.open.borrow().iter().filter(|listener| listener.is_here()).map(|listener| listener.at).collect()
    }

    /// Port that the sockets listen on.
    pub fn port(&self) -> Option<u16> {
        self.open.borrow().first().map(|listener| listener.at.port())
    }

    /// Follows the addresses of this host where one that is wanted is not here: a tailnet's is not known before, and
    /// of another it is reported when it comes.
    fn follow(&self) {
        let absent = |listener: &Listener| listener.is_worth_waiting_for() && !listener.is_here();
        let waits = self.bind.get() == Bind::Tailnet || self.open.borrow().iter().any(absent);
        let Some(Serving { tasks, .. }) = self.serving.borrow().clone().filter(|_| waits) else {
            self.following.take();
            return;
        };
        let me = self.me.clone();
        let follow = async move {
            let events = AddressEvents::subscribe();
            let mut here = Vec::new();
            loop {
                let Some(listeners) = me.upgrade() else { return };
                listeners.addresses_changed(&mut here);
                drop(listeners);
                events.next().await;
            }
        };
        self.following.borrow_mut().get_or_insert_with(|| tasks.cancellable(follow));
    }

    /// Listens on the tailnet's address if that has come, and logs which addresses came; `here` are those that were
    /// here the last time.
    fn addresses_changed(&self, here: &mut Vec<SocketAddr>) {
        let new = |ip: &IpAddr| !self.wanted.borrow().contains(ip);
        if self.bind.get() == Bind::Tailnet
            && local_addr::in_tailnet().is_some_and(|ip| new(&ip))
            && let Err(e) = self.open(Bind::Tailnet, self.port().unwrap_or_default())
        {
            // Who has the port is looked for among all processes.
            leave_to_worker(move || log::warn!("{e}"));
        }
        let now = self.addresses();
        let came = now.iter().filter(|at| !here.is_empty() && !here.contains(at));
        came.for_each(|at| log::info!("this host has {} now: listening there", at.ip()));
        *here = now;
    }

    fn close_later(&self) {
        let Some(serving) = self.serving.borrow().clone() else { return };
        let mut unwanted = self.unwanted.borrow_mut();
        unwanted.iter_mut().for_each(|listener| listener.accept(&serving, &self.me));
        if unwanted.is_empty() {
            return;
        }
        let me = self.me.clone();
        let close = async move {
            Timer::after(UNDER_WAY).await;
            let Some(listeners) = me.upgrade() else { return };
            let unwanted = listeners.unwanted.take();
            unwanted.into_iter().for_each(|listener| listener.close(&listeners));
        };
        serving.tasks.spawn(close);
    }

    /// Listens where `bind` and `port` say: the new sockets first, then those that are not wanted any more are closed.
    /// Connections stay. Returns the port.
    ///
    /// # Errors
    /// [`ListenError`]; everything is then as it was.
    pub fn open(&self, bind: Bind, port: u16) -> Result<u16, ListenError> {
        let wanted = listen::addresses(bind, port);
        let mut before = self.open.take();
        let wanted_before = before.len();
        before.append(&mut self.unwanted.borrow_mut());
        let missing: Vec<_> = wanted
            .iter()
            .filter(|at| !before.iter().any(|listener| listener.covers(**at)))
            .copied()
            .collect();
        // A wildcard and an address of one port are in each other's way.
        let beside = before.iter().any(|listener| port != 0 && listener.at.port() == port && !listener.given);
        let share = |listeners: &[Listener], shared| {
            for listener in listeners.iter().filter(|listener| beside && !listener.given) {
                if let Err(e) = listen::share(listener.socket.get_ref(), shared) {
                    log::warn!("{}: {e}", listener.at);
                }
            }
        };
        share(&before, true);
        // One family of addresses may be missing, as at the start; an address that was asked for by name not.
        let kept = before.iter().any(|listener| listener.is_wanted(&wanted));
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
        let (mut listeners, unwanted): (Vec<_>, Vec<_>) =
            before.into_iter().partition(|listener| listener.is_wanted(&wanted));
        let serving = self.serving.borrow().clone();
        for mut listener in opened.into_iter().filter_map(|socket| Listener::new(socket, false)) {
            if listener.is_here() {
                log::info!("listening on {}", listener.at);
            }
            serving.iter().for_each(|serving| listener.accept(serving, &self.me));
            listeners.push(listener);
        }
        // The first one's port is the gateway's.
        listeners.sort_by_key(|listener| listener.given && listener.at.port() != port);
        *self.wanted.borrow_mut() = wanted.iter().map(SocketAddr::ip).collect();
        self.unwanted.replace(unwanted);
        self.bind.set(bind);
        share(&listeners, false);
        let port = listeners.first().map_or(port, |listener| listener.at.port());
        self.open.replace(listeners);
        self.close_later();
        // Not from within the task that follows: that one continues by itself.
        if self.following.borrow().is_none() || bind != Bind::Tailnet {
            self.follow();
        }
        if let Some(changed) = &*self.changed.borrow() {
            changed(self);
        }
        Ok(port)
    }

    /// Notices for the operator about the sockets, one line each.
    pub fn notices(&self) -> Vec<String> {
        let wanted = self.wanted.borrow();
        let listeners = self.open.borrow();
        let port = listeners.first().map_or(0, |listener| listener.at.port());
        let elsewhere = |listener: &&Listener| {
            listener.given
                && (listener.at.port() != port || !wanted.contains(&listener.at.ip()) && !is_lan(&wanted))
        };
        let elsewhere_text = |listener: &Listener| {
            format!(
                "the socket unit listens on {}, which is not where gateway.port and gateway.bind say: that \
                 port is served too, but only for the addresses of gateway.bind. Write the unit anew: barnacle \
                 gateway install --socket",
                listener.at
            )
        };
        let absent = |listener: &&Listener| listener.is_worth_waiting_for() && !listener.is_here();
        let not_here = |listener: &Listener| {
            format!(
                "{} is listened on, but this host does not have that address now: connections to it are served once \
                 it does",
                listener.at
            )
        };
        let no_tailnet = self.bind.get() == Bind::Tailnet && local_addr::in_tailnet().is_none();
        let no_tailnet = no_tailnet.then(|| {
            "gateway.bind is tailnet, and this host has no address in one now: it is listened on once it has"
                .to_owned()
        });
        listeners
            .iter()
            .filter(elsewhere)
            .map(elsewhere_text)
            .chain(listeners.iter().filter(absent).map(not_here))
            .chain(no_tailnet)
            .collect()
    }
}

impl Listener {
    /// Whether this host has the address now.
    fn is_here(&self) -> bool {
        self.at.ip().is_unspecified() || local_addr::is_own(self.at.ip())
    }

    fn new(socket: Async<TcpListener>, given: bool) -> Option<Self> {
        let at = socket.get_ref().local_addr().map_err(|e| log::error!("a listening socket: {e}")).ok()?;
        Some(Self { at, given, socket: Rc::new(socket), accepting: None })
    }

    /// Whether a connection to `at` is accepted by this socket. Beside one that this process opened, another can be
    /// opened for a part of its addresses; beside a socket unit's not.
    fn covers(&self, at: SocketAddr) -> bool {
        let all = self.given && self.at.port() == at.port() && self.at.ip().is_unspecified();
        self.at == at || all && (self.at.is_ipv4() == at.is_ipv4() || listen::is_dual(self.socket.get_ref()))
    }

    /// Whether it is one of `wanted`, or one of them would do its work.
    fn is_wanted(&self, wanted: &[SocketAddr]) -> bool {
        let covers = |at: &SocketAddr| {
            *at == self.at
                || at.ip().is_unspecified()
                    && at.is_ipv4() == self.at.is_ipv4()
                    && at.port() == self.at.port()
        };
        self.given || wanted.iter().any(covers)
    }

    /// Whether it is worth waiting for its address: many a container lacks the loopback of IPv6.
    fn is_worth_waiting_for(&self) -> bool {
        self.at.ip() != IpAddr::from(Ipv6Addr::LOCALHOST)
    }

    fn accept(&mut self, serving: &Serving, listeners: &Weak<Listeners>) {
        if self.accepting.is_some() {
            return;
        }
        let accepting = accept(listeners.clone(), self.socket.clone(), self.given);
        self.accepting = Some(serving.tasks.cancellable(accepting));
    }

    /// Closes the socket, once what waits on it is accepted.
    fn close(mut self, listeners: &Listeners) {
        self.accepting = None;
        while let Ok((socket, remote)) = self.socket.accept_now() {
            listeners.take(socket, remote, self.given);
        }
        log::info!("not listening on {} any more", self.at);
    }
}

async fn accept(listeners: Weak<Listeners>, listener: Rc<Async<TcpListener>>, given: bool) {
    for n in 1.. {
        match listener.accept().await {
            Ok((socket, remote)) => {
                let Some(listeners) = listeners.upgrade() else { return };
                listeners.take(socket, remote, given);
            }
            Err(e) => {
                log::warn!("accept: {e}");
                Timer::after(Duration::from_millis(50)).await;
            }
        }
        if n % IN_A_ROW == 0 {
            future::yield_now().await;
        }
    }
}

/// Whether every address is among `wanted`.
fn is_lan(wanted: &[IpAddr]) -> bool {
    wanted.iter().any(IpAddr::is_unspecified)
}
