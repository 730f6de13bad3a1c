//! The links of all clients to the gateway behind this one.

use super::{
    Owner,
    availability::Availability,
    client::{ClientLink, Shared},
    greeting::Greeting,
    hello::Merged,
    link::{Bounds, Link},
    ownership,
    remote::{Grants, Pairing},
    repeat,
    secrets::Secrets,
    serve, watch,
};
use crate::{
    admission::limits::RELAYED_BYTES,
    clock::monotonic_ns,
    config::{Running, Secret, Settings, Upstream},
    devices::Devices,
    hub::{Conn, ConnId},
    protocol::{DeviceId, ErrorShape, RequestFrame, Role, Scope},
    reactor::Tasks,
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    task::{Context, Poll, Waker},
};

/// Time after which a client may ask again for what waits for an approval, milliseconds.
const ASK_AGAIN_MS: u64 = 5000;
/// Most pairings that wait behind this gateway that are shown.
const PAIRINGS: usize = 20;

/// Relays requests to the gateway behind this one, if the settings name one.
pub struct Relay {
    pub(super) running: Rc<Running>,
    pub(super) devices: Rc<Devices>,
    pub(super) tasks: Tasks,
    pub(super) availability: Availability,
    pub(super) links: RefCell<BTreeMap<ConnId, Rc<ClientLink>>>,
    merged: RefCell<Option<Rc<Merged>>>,
    /// OpenClaw's last `health`, JSON.
    pub(super) health: RefCell<String>,
    pub(super) watching: Cell<bool>,
    /// Shared secrets for a gateway on this host.
    pub(super) secrets: Secrets,
    /// Tokens that a gateway on another host has issued.
    pub(super) grants: Rc<Grants>,
    /// The request for more than a gateway on another host has granted, which waits there.
    pub(super) more: RefCell<Option<Pairing>>,
    /// Whether the watcher is to look again at once, and the watcher.
    again: Cell<bool>,
    watcher: RefCell<Option<Waker>>,
    shared: Rc<Shared>,
}

impl Relay {
    /// Relays nothing yet; see [`start`](Self::start).
    pub(crate) fn new(running: &Rc<Running>, devices: &Rc<Devices>, tasks: &Tasks) -> Rc<Self> {
        Rc::new(Self {
            running: running.clone(),
            devices: devices.clone(),
            tasks: tasks.clone(),
            availability: Availability::default(),
            links: RefCell::default(),
            merged: RefCell::default(),
            health: RefCell::default(),
            watching: Cell::new(false),
            secrets: Secrets::default(),
            grants: Rc::default(),
            more: RefCell::default(),
            again: Cell::new(false),
            watcher: RefCell::default(),
            shared: Rc::new(Shared {
                own_part: RefCell::new(Box::new(String::new)),
                kept: Cell::new(0),
                lost: RefCell::default(),
            }),
        })
    }

    /// Watches the gateway behind this one from now on, if there is one; `own_part` is added to its `status`.
    pub(crate) fn start(self: &Rc<Self>, own_part: impl Fn() -> String + 'static) {
        *self.shared.own_part.borrow_mut() = Box::new(own_part);
        self.grants.load(&self.running.get().paths.barnacle_dir.join("upstream-tokens.json"));
        if self.is_on() {
            watch::remember(self);
            // A version that did not note it said what the file has.
            let links = self.links.borrow();
            let untold = links.values().filter(|link| link.told.borrow().is_empty());
            untold.for_each(|link| drop(link.told.replace(self.build())));
        }
        self.watch();
    }

    /// The secret that lets a request in behind this gateway, where it has one for that.
    pub(crate) fn secret(&self, settings: &Settings) -> Option<Secret> {
        let upstream = settings.upstream.as_ref()?;
        // This host's own secret is for this host.
        match upstream.is_local() {
            true => self.secrets.shown(settings, upstream).map(|(_, secret)| secret),
            false => upstream.token.clone(),
        }
    }

    fn watch(self: &Rc<Self>) {
        if self.is_on() && !self.watching.replace(true) {
            self.tasks.spawn(watch::run(self.clone()));
        }
    }

    /// Has the watcher look again at once whether the gateway behind this one is there, and who this one is there.
    pub(super) fn look_again(&self) {
        self.again.set(true);
        if let Some(waker) = self.watcher.take() {
            waker.wake();
        }
    }

    /// The watcher looks now.
    pub(super) fn look_no_more(&self) {
        self.again.set(false);
    }

    /// Ready once the watcher is to look again.
    pub(super) fn poll_again(&self, cx: &Context<'_>) -> Poll<()> {
        if self.again.replace(false) {
            return Poll::Ready(());
        }
        self.watcher.replace(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// The settings of the gateway behind this one, if there is one.
    pub(super) fn upstream(&self) -> Option<Upstream> {
        self.running.get().upstream.clone()
    }

    /// Whether there is a gateway behind this one.
    pub(crate) fn is_on(&self) -> bool {
        self.running.get().upstream.is_some()
    }

    /// What all links have in common.
    pub(super) fn shared(&self) -> Rc<Shared> {
        self.shared.clone()
    }

    /// The owner of a method.
    pub(crate) fn owner(&self, method: &str) -> Owner {
        match &self.running.get().upstream {
            None => Owner::Own,
            Some(upstream) => match ownership::owner(method, upstream.is_local()) {
                Owner::Merged if !self.availability.is_there() => Owner::Own,
                owner => owner,
            },
        }
    }

    /// Keeps how `conn` introduced itself; one that has to be heard from OpenClaw gets its connection now.
    pub(crate) fn greet(
        self: &Rc<Self>,
        conn: &Rc<Conn>,
        request: &RequestFrame,
        host: Option<&str>,
        origin: Option<&str>,
    ) {
        if !self.is_on() {
            return;
        }
        let Ok(params) = request.params() else { return };
        let link = self.insert(conn, Greeting::of(&params, host, origin));
        link.told.replace(self.build());
        if listens(conn) {
            self.serve(&link);
        }
    }

    fn insert(&self, conn: &Rc<Conn>, greeting: Greeting) -> Rc<ClientLink> {
        let prefix = getrandom::u64().map_or_else(|_| "barnacle-".into(), |n| format!("{n:016x}-"));
        let link = ClientLink::restored(conn, greeting, Link::new(prefix), None, self.shared());
        self.links.borrow_mut().insert(conn.id(), link.clone());
        link
    }

    /// Sees that a task serves `link`.
    pub(super) fn serve(self: &Rc<Self>, link: &Rc<ClientLink>) {
        if !link.running.replace(true) {
            self.tasks.spawn(serve::run(self.clone(), link.clone()));
        }
        link.wake();
    }

    /// Relays a request; it is answered on the connection of `conn` whenever OpenClaw does.
    ///
    /// # Errors
    /// The refusal: the client may not call the method, its frame is too large, or too much waits.
    pub(crate) fn call(self: &Rc<Self>, conn: &Rc<Conn>, request: &RequestFrame) -> Result<(), ErrorShape> {
        ownership::judge(conn, &request.method)?;
        let settings = self.running.get();
        let Some(upstream) = &settings.upstream else {
            return Err(ErrorShape::later("there is no upstream", 1000));
        };
        let known = self.links.borrow().get(&conn.id()).cloned();
        let link = known.unwrap_or_else(|| self.insert(conn, Greeting::of_session(&conn.session())));
        if let Some(pairing) = self.waits_for(&link) {
            link.link.borrow_mut().note_for_later(&request.method, request.text());
            return Err(ErrorShape::later(
                format!("OpenClaw does not let it in yet: {pairing}"),
                ASK_AGAIN_MS,
            ));
        }
        let most = link.max_payload.get();
        if request.text().len() > most {
            let size = request.text().len();
            return Err(ErrorShape::invalid(format!(
                "a frame of {size} bytes; OpenClaw takes {most} at most"
            )));
        }
        link.match_scopes();
        let bounds = Bounds {
            wait_ns: upstream.wait.as_nanos() as u64,
            requests: upstream.waiting,
            bytes: upstream
                .waiting_bytes
                .min(link.kept.get() + RELAYED_BYTES.saturating_sub(self.shared.kept.get())),
        };
        let repeat = repeat::classify(request);
        if let Some(answer) = self.shared.lost.borrow_mut().judge(request, &repeat) {
            link.answer(&answer);
            return Ok(());
        }
        let parts = (request.id.as_str(), request.method.as_str(), request.text());
        let effects = link.link.borrow_mut().request(parts, repeat, monotonic_ns(), &bounds)?;
        let waits = effects.is_empty();
        link.apply(effects);
        if waits || !link.running.get() {
            self.serve(&link);
        }
        Ok(())
    }

    /// The clients of `device` may have other scopes now: a connection to OpenClaw that was made with those before is
    /// made anew, also that of a client which only listens.
    pub(crate) fn regranted(&self, device: &DeviceId) {
        let links = self.links.borrow();
        let of_device = links.values().filter(|link| link.conn.session().device.as_ref() == Some(device));
        let of_device: Vec<Rc<ClientLink>> = of_device.cloned().collect();
        drop(links);
        of_device.iter().for_each(|link| link.match_scopes());
    }

    /// The client of a link has left.
    pub(crate) fn left(&self, id: ConnId) {
        if let Some(link) = self.links.borrow_mut().remove(&id) {
            link.left.set(true);
            link.wake();
        }
    }

    /// The gateway behind this one was changed in the settings: every connection to it is made anew.
    pub(crate) fn changed(self: &Rc<Self>, old: &Settings) {
        let now = self.running.get();
        if Upstream::is_same_peer(old.upstream.as_ref(), now.upstream.as_ref()) {
            return;
        }
        self.availability.forget();
        self.renew();
        self.reconnect("the settings of the upstream were changed");
        self.more.take();
        self.look_again();
        self.watch();
    }

    /// Pieces for this gateway's `hello-ok`, with its `own` methods; `None` where OpenClaw never said anything.
    pub(crate) fn merged<'a>(&self, own: impl Iterator<Item = &'a str>) -> Option<Rc<Merged>> {
        let hello = self.availability.hello().filter(|_| self.is_on())?;
        let mut merged = self.merged.borrow_mut();
        if merged.is_none() {
            *merged = Some(Rc::new(hello.merged(own)));
        }
        merged.clone()
    }

    /// Build of OpenClaw that a `hello-ok` names now; empty where OpenClaw never said anything.
    pub(super) fn build(&self) -> String {
        self.availability.hello().map(|hello| hello.build.clone()).unwrap_or_default()
    }

    /// OpenClaw said something new of itself.
    pub(super) fn renew(&self) {
        self.merged.borrow_mut().take();
    }

    /// OpenClaw's last `health`, a JSON object.
    pub(crate) fn health(&self) -> Option<String> {
        let health = self.health.borrow();
        let is_known = self.is_on() && health.len() > 2 && health.starts_with('{');
        is_known.then(|| health.clone())
    }

    /// State of the gateway behind this one, a JSON object; `None` where there is none.
    pub(crate) fn report(&self) -> Option<String> {
        let upstream = self.upstream()?;
        let links = self.links.borrow();
        let connected = links.values().filter(|link| link.wire.borrow().is_some()).count();
        let own = self.availability.pairing().into_iter().chain(self.more.borrow().clone());
        let own = own.map(|pairing| pairing.report("Barnacle"));
        let clients = links.values().filter_map(|link| {
            Some(link.pairing.borrow().as_ref()?.report(&link.conn.session().name().to_string()))
        });
        let pairings: Vec<String> = own.chain(clients).take(PAIRINGS).collect();
        Some(self.availability.report(&upstream.url.to_string(), self.waiting(), connected, &pairings))
    }

    /// The approval without which nothing of `link` goes on.
    fn waits_for(&self, link: &ClientLink) -> Option<Pairing> {
        self.availability.pairing().or_else(|| link.pairing.borrow().clone())
    }

    /// Gives every client's connection up; they make others.
    pub(super) fn reconnect(&self, why: &str) {
        let links: Vec<Rc<ClientLink>> = self.links.borrow().values().cloned().collect();
        for link in links {
            link.again.set(true);
            link.drop_connection(why);
        }
    }

    /// Answers what waits: only somebody who approves `pairing` helps.
    pub(super) fn refuse_waiting(&self, pairing: &Pairing) {
        let links: Vec<Rc<ClientLink>> = self.links.borrow().values().cloned().collect();
        links.iter().for_each(|link| link.refuse_waiting(pairing));
    }

    /// Requests that wait.
    pub(super) fn waiting(&self) -> usize {
        self.links.borrow().values().map(|link| link.link.borrow().waiting()).sum()
    }
}

/// Whether a client hears from OpenClaw without asking first: nodes, pages and apps, and who approves.
pub(super) fn listens(conn: &Conn) -> bool {
    let session = conn.session();
    session.role == Role::Node
        || matches!(session.mode(), "ui" | "webchat")
        || session.scopes.allows(Scope::Approvals) && !matches!(session.mode(), "cli" | "probe" | "backend")
}
