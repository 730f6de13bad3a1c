//! The listening sockets of a running gateway, and who comes in by them.
//!
//! Each socket has a task that accepts. Where the configuration says to listen elsewhere, the new sockets
//! are opened first; only then do those that are not wanted any more close. Connections stay.
//!
//! The kernel resets whoever is on its way in by a socket that closes. So one that a wildcard would only
//! take the place of stays beside it, and the others close a little later than the new ones open.

use super::{
    accept,
    admission::{Place, Unattached, is_lan},
    boot_queue::Caller,
};
use crate::{
    app::App,
    net::{
        listen::{self, Bind, Doors, ListenError},
        local_addr,
    },
    reactor::{Async, Timer},
    sd_notify::Notify,
};
use smol::Task;
use std::{
    cell::{Cell, RefCell},
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    rc::{Rc, Weak},
    time::Duration,
};

/// How long a socket that is not wanted any more lets in who was on the way.
const ON_THE_WAY: Duration = Duration::from_millis(100);
/// How often the tailnet's address is looked for, where it is to be listened on.
const LOOK: Duration = Duration::from_secs(2);

/// The sockets that are listened on.
pub struct Listening {
    open: RefCell<Vec<Door>>,
    /// Not wanted any more, and not closed yet.
    unwanted: RefCell<Vec<Door>>,
    me: Weak<Self>,
    app: RefCell<Weak<App>>,
    unattached: Rc<Unattached>,
    keeper: RefCell<Option<Rc<Notify>>>,
    bind: Cell<Bind>,
    /// Follows the tailnet's address.
    following: RefCell<Option<Task<()>>>,
}

struct Door {
    at: SocketAddr,
    /// Whether it is a socket unit's: systemd holds it open, so it is never closed here either.
    given: bool,
    socket: Rc<Async<TcpListener>>,
    /// Dropped, it accepts no more.
    accepting: Option<Task<()>>,
}

impl Listening {
    /// Listens where `bind` and `port` say, and lets nobody in yet; `own` are the sockets of the process
    /// before this one, `given` those of a socket unit.
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
                Door::new(socket.ok()?, given)
            }
        };
        let own = own.into_iter().filter_map(taken(false));
        let mut open: Vec<_> = own.chain(given.into_iter().filter_map(taken(true))).collect();
        let fresh = open.is_empty();
        if fresh {
            open.extend(
                listen::listen(bind, port)?.into_iter().filter_map(|socket| Door::new(socket, false)),
            );
        }
        let doors = Rc::new_cyclic(|me| Self {
            me: me.clone(),
            open: RefCell::new(open),
            unwanted: RefCell::default(),
            app: RefCell::default(),
            unattached: Rc::default(),
            keeper: RefCell::default(),
            bind: Cell::new(bind),
            following: RefCell::default(),
        });
        if !fresh && let Err(e) = doors.open(bind, port) {
            log::error!("still listening where it was: {e}");
        }
        doors.notices().iter().for_each(|notice| log::warn!("{notice}"));
        Ok(doors)
    }

    /// From now on `keeper` keeps the sockets, so that the port stays open if this process is killed.
    pub fn keep_with(&self, keeper: &Rc<Notify>) {
        *self.keeper.borrow_mut() = Some(keeper.clone());
        self.keep();
    }

    fn keep(&self) {
        if let Some(keeper) = &*self.keeper.borrow() {
            keeper.keep_listening(self.sockets().iter().map(|socket| socket.get_ref()));
        }
    }

    /// Begins to let connections in to `app`.
    pub fn serve(self: &Rc<Self>, app: &Rc<App>) {
        *self.app.borrow_mut() = Rc::downgrade(app);
        self.open.borrow_mut().iter_mut().for_each(|door| door.accept(app, &self.unattached));
        self.close_later(app);
        self.follow(app);
    }

    /// Lets in who came before.
    pub fn let_in(&self, app: &Rc<App>, callers: Vec<Caller>) {
        for Caller { socket, remote, given, .. } in callers {
            welcome(app, socket, remote, &self.unattached, given);
        }
    }

    /// Lets nobody in for a while: who knocks waits in the kernel's backlog.
    pub fn pause(&self, pause: bool) {
        let app = self.app.borrow().upgrade().filter(|_| !pause);
        for door in self.open.borrow_mut().iter_mut() {
            match &app {
                Some(app) => door.accept(app, &self.unattached),
                None => door.accepting = None,
            }
        }
    }

    /// The sockets, as they are now, but for a socket unit's.
    pub fn sockets(&self) -> Vec<Rc<Async<TcpListener>>> {
        self.those(false)
    }

    /// The socket unit's.
    pub fn given(&self) -> Vec<Rc<Async<TcpListener>>> {
        self.those(true)
    }

    fn those(&self, given: bool) -> Vec<Rc<Async<TcpListener>>> {
        self.open.borrow().iter().filter(|door| door.given == given).map(|door| door.socket.clone()).collect()
    }

    /// Where they listen, as far as this host has the address now.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.open.borrow().iter().filter(|door| door.is_here()).map(|door| door.at).collect()
    }

    /// The port.
    pub fn port(&self) -> Option<u16> {
        self.open.borrow().first().map(|door| door.at.port())
    }

    /// Where the tailnet's address is to be listened on: looks for it, since it is not known before it is there.
    fn follow(&self, app: &Rc<App>) {
        if self.bind.get() != Bind::Tailnet {
            self.following.take();
            return;
        }
        let me = self.me.clone();
        let follow = async move {
            loop {
                Timer::after(LOOK).await;
                let Some(doors) = me.upgrade() else { return };
                let new = |ip: &IpAddr| !doors.unattached.wanted.borrow().contains(ip);
                if local_addr::in_tailnet().is_some_and(|ip| new(&ip))
                    && let Err(e) = doors.open(Bind::Tailnet, doors.port().unwrap_or_default())
                {
                    log::warn!("{e}");
                }
            }
        };
        self.following.borrow_mut().get_or_insert_with(|| app.tasks.cancellable(follow));
    }

    fn close_later(&self, app: &Rc<App>) {
        let mut unwanted = self.unwanted.borrow_mut();
        unwanted.iter_mut().for_each(|door| door.accept(app, &self.unattached));
        if unwanted.is_empty() {
            return;
        }
        let (this, app_then) = (self.me.clone(), app.clone());
        app.spawn(async move {
            Timer::after(ON_THE_WAY).await;
            let Some(this) = this.upgrade() else { return };
            let unwanted = this.unwanted.take();
            unwanted.into_iter().for_each(|door| door.close(&app_then, &this.unattached));
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
            wanted.iter().filter(|at| !before.iter().any(|door| door.covers(**at))).copied().collect();
        // A wildcard and an address of one port are in each other's way.
        let beside = before.iter().any(|door| port != 0 && door.at.port() == port && !door.given);
        let share = |doors: &[Door], shared| {
            for door in doors.iter().filter(|door| beside && !door.given) {
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
        let app = self.app.borrow().upgrade();
        for mut door in opened.into_iter().filter_map(|socket| Door::new(socket, false)) {
            if door.is_here() {
                log::info!("listening on {}", door.at);
            }
            app.iter().for_each(|app| door.accept(app, &self.unattached));
            doors.push(door);
        }
        // The first one's port is the gateway's.
        doors.sort_by_key(|door| door.given && door.at.port() != port);
        *self.unattached.wanted.borrow_mut() = wanted.iter().map(SocketAddr::ip).collect();
        self.unwanted.replace(unwanted);
        self.bind.set(bind);
        app.iter().for_each(|app| {
            self.close_later(app);
            self.follow(app);
        });
        share(&doors, false);
        let port = doors.first().map_or(port, |door| door.at.port());
        self.open.replace(doors);
        self.keep();
        Ok(port)
    }

    fn notices(&self) -> Vec<String> {
        let wanted = self.unattached.wanted.borrow();
        let doors = self.open.borrow();
        let port = doors.first().map_or(0, |door| door.at.port());
        let elsewhere = |door: &&Door| {
            door.given && (door.at.port() != port || !wanted.contains(&door.at.ip()) && !is_lan(&wanted))
        };
        let told = |door: &Door| {
            format!(
                "the socket unit listens on {}, which is not where gateway.port and gateway.bind say: that \
                 port is served too, but only for the addresses of gateway.bind. Write the unit anew: barnacle \
                 gateway install --socket",
                door.at
            )
        };
        // Many a container lacks the loopback of IPv6, and that is nothing to be mended.
        let absent = |door: &&Door| door.at.ip() != IpAddr::from(Ipv6Addr::LOCALHOST) && !door.is_here();
        let not_here = |door: &Door| {
            format!(
                "{} is listened on, but this host does not have that address now: whoever calls it gets in once \
                 it does",
                door.at
            )
        };
        let no_tailnet = self.bind.get() == Bind::Tailnet && local_addr::in_tailnet().is_none();
        let no_tailnet = no_tailnet.then(|| {
            "gateway.bind is tailnet, and this host has no address in one now: it is listened on once it has"
                .to_owned()
        });
        doors
            .iter()
            .filter(elsewhere)
            .map(told)
            .chain(doors.iter().filter(absent).map(not_here))
            .chain(no_tailnet)
            .collect()
    }
}

impl Door {
    /// Whether this host has the address now.
    fn is_here(&self) -> bool {
        self.at.ip().is_unspecified() || local_addr::is_own(self.at.ip())
    }

    fn new(socket: Async<TcpListener>, given: bool) -> Option<Self> {
        let at = socket.get_ref().local_addr().map_err(|e| log::error!("a listening socket: {e}")).ok()?;
        Some(Self { at, given, socket: Rc::new(socket), accepting: None })
    }

    /// Whether whoever connects to `at` comes in by it. Beside one that this process opened, another can be
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

    fn accept(&mut self, app: &Rc<App>, unattached: &Rc<Unattached>) {
        if self.accepting.is_some() {
            return;
        }
        let accepting = accept(app.clone(), self.socket.clone(), unattached.clone(), self.given);
        self.accepting = Some(app.tasks.cancellable(accepting));
    }

    /// Whoever has knocked is let in yet.
    fn close(mut self, app: &Rc<App>, unattached: &Rc<Unattached>) {
        self.accepting = None;
        while let Ok((socket, remote)) = self.socket.accept_now() {
            welcome(app, socket, remote, unattached, self.given);
        }
        log::info!("not listening on {} any more", self.at);
    }
}

fn welcome(
    app: &Rc<App>,
    socket: Async<TcpStream>,
    remote: SocketAddr,
    unattached: &Rc<Unattached>,
    given: bool,
) {
    let ip = remote.ip();
    if given && !unattached.admits(socket.get_ref()) {
        return;
    }
    if unattached.full_for(ip) {
        return log::warn!("{ip}: too many connections that have not attached; closed one");
    }
    accept::take_in(app, socket, remote, unattached.place(ip));
}

async fn accept(app: Rc<App>, listener: Rc<Async<TcpListener>>, unattached: Rc<Unattached>, given: bool) {
    loop {
        while unattached.full() {
            // Whoever comes now waits in the kernel's backlog.
            Timer::after(Duration::from_millis(20)).await;
        }
        match listener.accept().await {
            Ok((socket, remote)) => welcome(&app, socket, remote, &unattached, given),
            Err(e) => {
                log::warn!("accept: {e}");
                Timer::after(Duration::from_millis(50)).await;
            }
        }
    }
}
