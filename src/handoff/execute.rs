//! Handing over: until the last moment everything goes on, and if nothing comes of it everything goes on
//! afterwards, too.

use super::{
    VARIABLE,
    preflight::{Program, Which},
    state::{State, StateFormat},
};
use crate::{
    app::App,
    clock::monotonic_ns,
    gateway::{listeners::Listening, run::Signals},
    hub::{Conn, Proof, Restart},
    net::{fds, frame},
    protocol::{ErrorShape, Event, refusal},
    reactor::{self, Timer},
};
use smol::future;
use std::{
    cell::Cell,
    future::Future,
    os::{fd::AsRawFd, unix::process::CommandExt},
    pin::Pin,
    rc::Rc,
    time::Duration,
};

/// How long a moment is waited for at which nothing is under way that has to end here, while everything
/// goes on.
const QUIET: Duration = Duration::from_millis(500);
/// How long what is under way may then take, while nothing new is begun.
const FINISH: Duration = Duration::from_secs(2);
/// How often a program that is replaced while it is asked is asked again.
const TRIES: u32 = 5;
/// Ask again after so long, milliseconds: a request of which the outcome was not known in time.
const AGAIN_MS: u64 = 1000;
const UNKNOWN: &str = "the gateway restarts, and what comes of this is not known yet; look, then ask again";
/// How long those that are closed may take to read why.
const FAREWELL: Duration = Duration::from_secs(1);
/// Up to the end of the payload.
const RESTARTING: &str =
    r#"{"type":"event","event":"shutdown","payload":{"reason":"gateway restarting","restartExpectedMs":500}"#;

/// Hands this process over to the program that is on disk.
#[derive(Clone)]
pub struct Pass {
    /// What is handed over.
    pub app: Rc<App>,
    /// The sockets it listens on.
    pub doors: Rc<Listening>,
    /// The program.
    pub program: Program,
    /// How the state is written.
    pub state_format: &'static StateFormat,
    /// The signals that were heard and not yet acted upon.
    pub signals: Rc<Signals>,
    /// Which file said that it can go on.
    pub proven: Rc<Cell<Option<Which>>>,
}

impl Restart for Pass {
    fn prove(&self) -> Proof {
        let this = self.clone();
        Box::pin(async move {
            this.has_certificate().await?;
            // Whoever goes on reads it from there.
            this.app.devices.store.renew().await.map_err(|e| format!("the devices' file is gone: {e}"))?;
            let (mut state, sockets) =
                State::of(&this.app, &this.doors, this.state_format.version, "", |_| Vec::new());
            state.keep_places(&sockets);
            let state = this.state_format.seal(&state);
            let program = this.program.clone();
            let (version, which) = smol::unblock(move || program.prove(&state)).await?;
            this.proven.set(Some(which));
            Ok(version)
        })
    }

    fn hand_over(&self, why: &str) -> Pin<Box<dyn Future<Output = String>>> {
        let (this, why) = (self.clone(), why.to_owned());
        Box::pin(async move {
            // The file may be replaced after it was asked, even by a whole other one.
            for _ in 0..TRIES {
                let since = this.come_to_rest().await;
                match this.program.which() {
                    Ok(which) if this.proven.get() == Some(which) => {
                        if !this.dismiss().await {
                            return this.pass(&why, since);
                        }
                    }
                    Ok(_) => this.app.hub.pause(false),
                    Err(e) => return this.stay(e),
                }
                if let Err(e) = this.prove().await {
                    return e;
                }
            }
            this.stay(format!("{} changes all the time", this.program.path.display()))
        })
    }
}

impl Pass {
    /// The certificate that is served lives in this process: where its files cannot be read any more, the next
    /// one would let nobody in, or by another.
    async fn has_certificate(&self) -> Result<(), String> {
        let old = self.app.settings();
        let again = old.again();
        let new = smol::unblock(move || again.resolve()).await;
        // Nor does the next image know a secret whose file is away.
        if let Some(held) = new.as_ref().ok().and_then(|new| new.held.first()) {
            return Err(held.clone());
        }
        new.ok().and_then(|mut new| new.keep_tls(&old)).map_or(Ok(()), Err)
    }

    /// Waits until nothing is under way that has to end in this process image; since when nothing new is
    /// begun, nanoseconds of the monotonic clock.
    pub(super) async fn come_to_rest(&self) -> u64 {
        let app = &self.app;
        let rest = || async {
            while !app.at_rest() {
                Timer::after(Duration::from_millis(1)).await;
            }
            // A reload that is under way has connections to close yet.
            drop(app.reloads.turn().await);
        };
        let late = |time| async move {
            Timer::after(time).await;
        };
        future::or(rest(), late(QUIET)).await;
        let since = monotonic_ns();
        if !app.at_rest() {
            app.hub.pause(true);
            future::or(rest(), late(FINISH)).await;
        }
        since
    }

    /// Closes the connections that cannot be carried over, if there are any, and lets nobody in until the next
    /// process image does: who comes back at once waits in the kernel's backlog. Meanwhile everything else
    /// goes on.
    pub(super) async fn dismiss(&self) -> bool {
        let app = &self.app;
        let dismissed = app.hub.not_carried();
        if dismissed.is_empty() {
            return false;
        }
        self.doors.pause(true);
        app.hub.pause(false);
        log::info!("{} TLS connections cannot be carried over: closed (1012)", dismissed.len());
        for conn in dismissed {
            for id in conn.waiting() {
                conn.send(&refusal(&id, &ErrorShape::later(UNKNOWN, AGAIN_MS)));
            }
            conn.send_event(Event::Shutdown, RESTARTING, "");
            conn.wire.close(1012, "gateway restarting");
        }
        let left = || {
            app.hub
                .pending_conns
                .all()
                .iter()
                .all(|pending| !pending.wire.is_tls() || pending.wire.closing().is_none())
        };
        let gone = async {
            while !(app.hub.not_carried().is_empty() && left()) {
                Timer::after(Duration::from_millis(1)).await;
            }
        };
        future::or(gone, async { _ = Timer::after(FAREWELL).await }).await;
        true
    }

    /// Gives the process to the program on disk. From here to `exec` nothing else runs. Returns only if
    /// nothing came of it: why.
    fn pass(&self, why: &str, since: u64) -> String {
        if self.app.hub.is_stopping() {
            return self.stay("the gateway stops".into());
        }
        // A signal that nobody listens for ends the process; one that is held is there for the next.
        self.signals.hold(true);
        self.app.hub.events.flush();
        let (mut state, sockets) =
            State::of(&self.app, &self.doors, self.state_format.version, why, self.last_words());
        state.since_ns = since;
        state.keep_places(&sockets);
        let lock = self.app.devices.store.lock();
        let passed = || -> std::io::Result<()> {
            let file = self.state_format.seal(&state).memory_file()?;
            sockets.fds().try_for_each(fds::bequeath)?;
            lock.as_ref().map_or(Ok(()), fds::bequeath)?;
            reactor::with_epoll(|epoll| fds::bequeath(epoll))??;
            fds::bequeath(&file)?;
            if self.signals.heard_end() {
                return Err(std::io::Error::other("the gateway was told to stop"));
            }
            let at = format!("{}:{}", std::process::id(), file.as_raw_fd());
            Err(self.program.command().env(VARIABLE, at).exec())
        };
        let e = passed().err().map(|e| e.to_string()).unwrap_or_default();
        sockets.fds().for_each(fds::keep);
        let _ = reactor::with_epoll(|epoll| fds::keep(epoll));
        if let Some(lock) = &lock {
            fds::keep(lock);
        }
        self.signals.hold(false);
        self.stay(format!("{}: {e}", self.program.path.display()))
    }

    fn stay(&self, why: String) -> String {
        self.app.hub.pause(false);
        self.doors.pause(false);
        why
    }

    /// What is still under way has no outcome that anybody will know: whoever asked is told to ask again. It is
    /// told by the next process image, so that it is not told at all if there is none.
    pub(super) fn last_words(&self) -> impl Fn(&Conn) -> Vec<u8> + use<> {
        let carried = self.app.hub.invocations.save();
        let unknown = ErrorShape::later(UNKNOWN, AGAIN_MS);
        move |conn| {
            let goes_on =
                |id: &str| carried.iter().any(|i| i.asked.caller == conn.id() && i.asked.request == id);
            let lost = conn.waiting().into_iter().filter(|id| !goes_on(id));
            let mut words = Vec::new();
            lost.for_each(|id| frame::text(&refusal(&id, &unknown), &mut words));
            words
        }
    }
}
