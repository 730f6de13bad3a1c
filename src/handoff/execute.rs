//! Executes a hand-over: prepares it while everyone is served, then gives the process to the program on disk. On any
//! failure this process keeps serving.

use super::{
    VARIABLE,
    memory::Across,
    preflight::{Accepted, PATIENCE, Program},
    requests,
    sections::{Sealed, StateFormat},
    state::{Sockets, State},
};
use crate::{
    app::App,
    clock::monotonic_ns,
    hub::{Conn, Preflight, Restart},
    net::{Listeners, fds, frame},
    protocol::{ErrorShape, Event, refusal},
    reactor::{self, Timer, on_worker},
    signals::Signals,
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

/// Time to wait for a moment without requests under way, while everyone is served.
const QUIET: Duration = Duration::from_millis(500);
/// Time-out for requests under way after that, while no new one is begun.
const FINISH: Duration = Duration::from_secs(2);
/// Attempts at a preflight when the program is replaced meanwhile.
const TRIES: u32 = 5;
/// The delay after which a request of unknown outcome may be sent again, milliseconds.
const AGAIN_MS: u64 = 1000;
const UNKNOWN: &str =
    "the gateway restarts, and the outcome of this request is not known yet; look, then ask again";
/// Time-out for closed connections to read the reason.
const FAREWELL: Duration = Duration::from_secs(1);
/// The event up to the end of its payload.
const RESTARTING: &str =
    r#"{"type":"event","event":"shutdown","payload":{"reason":"gateway restarting","restartExpectedMs":500}"#;

/// Hands this process over to the program on disk.
#[derive(Clone)]
pub struct Handoff {
    pub(crate) app: Rc<App>,
    pub(crate) listeners: Rc<Listeners>,
    pub(crate) program: Program,
    pub(crate) state_format: &'static StateFormat,
    pub(crate) signals: Rc<Signals>,
    accepted: Rc<Cell<Option<Accepted>>>,
}

impl Restart for Handoff {
    fn preflight(&self) -> Preflight {
        let this = self.clone();
        Box::pin(async move {
            this.has_certificate().await?;
            // The next process image reads it from there.
            this.app.devices.store.renew().await.map_err(|e| format!("the devices' file is gone: {e}"))?;
            this.ask().await
        })
    }

    fn hand_over(&self, reason: &str) -> Pin<Box<dyn Future<Output = String>>> {
        let (this, reason) = (self.clone(), reason.to_owned());
        Box::pin(async move {
            // The file may be replaced after it was asked, even by a whole other one.
            for _ in 0..TRIES {
                let since = this.quiesce().await;
                match (this.program.file(), this.accepted.get()) {
                    (Ok(file), Some(accepted)) if accepted.file == file => {
                        if !this.close_tls().await {
                            return this.execute(&reason, since, accepted.format);
                        }
                    }
                    (Ok(_), _) => this.app.hub.pause(false),
                    (Err(e), _) => return this.abort(e),
                }
                if let Err(e) = this.preflight().await {
                    return e;
                }
            }
            this.abort(format!("{} changes all the time", this.program.path.display()))
        })
    }
}

impl Handoff {
    /// A hand-over of `app` and its listening sockets to `program`.
    pub(crate) fn new(
        app: &Rc<App>,
        listeners: &Rc<Listeners>,
        program: Program,
        state_format: &'static StateFormat,
        signals: &Rc<Signals>,
    ) -> Self {
        let (app, listeners, signals) = (app.clone(), listeners.clone(), signals.clone());
        Self { app, listeners, program, state_format, signals, accepted: Rc::default() }
    }

    /// Asks the program on disk whether it can take over, and in which format of the state; its version.
    pub(super) async fn ask(&self) -> Result<String, String> {
        let (state, _sockets) = self.state("", Across::Images, |_| Vec::new());
        let (program, state_format) = (self.program.clone(), self.state_format);
        let accepted = on_worker(move || program.preflight(state_format, &state)).await;
        let (version, accepted) = accepted?;
        self.accepted.set(Some(accepted));
        Ok(version)
    }

    /// The format that the program on disk reads, as far as it was asked.
    pub(super) fn format(&self) -> u32 {
        self.accepted.get().map_or(self.state_format.preferred(), |accepted| accepted.format)
    }

    pub(super) fn state(
        &self,
        reason: &str,
        across: Across,
        more: impl Fn(&Conn) -> Vec<u8>,
    ) -> (State, Sockets) {
        State::of(&self.app, &self.listeners, self.state_format.version, reason, across, more)
    }

    pub(super) fn seal<'a>(&self, state: &'a State, format: u32) -> Sealed<'a> {
        if format != self.state_format.preferred() {
            log::info!(
                "the program on disk reads only format {format} of the state: it is handed over in that"
            );
        }
        self.state_format.seal(state, format)
    }

    /// Checks that the certificate can be read again: it lives in this process, and without its files the next
    /// process image would let nobody in, or by another.
    async fn has_certificate(&self) -> Result<(), String> {
        let old = self.app.settings();
        let again = old.again();
        let read = async { Ok(on_worker(move || again.resolve()).await) };
        let late = async {
            Timer::after(PATIENCE).await;
            Err(format!(
                "the configuration cannot be read: its disk has said nothing for {} s",
                PATIENCE.as_secs()
            ))
        };
        let new = future::or(read, late).await?;
        // Nor does the next image know a secret whose file is away.
        if let Some(held) = new.as_ref().ok().and_then(|new| new.held.first()) {
            return Err(held.clone());
        }
        new.ok().and_then(|mut new| new.keep_tls(&old)).map_or(Ok(()), Err)
    }

    /// Waits until no request is under way that has to end in this process image. Returns since when no new one
    /// is begun, nanoseconds of the monotonic clock.
    pub(super) async fn quiesce(&self) -> u64 {
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
        // These can take long, so nobody else waits for them.
        requests::finish(&app.hub.pending_conns, FINISH).await;
        let since = monotonic_ns();
        if !app.at_rest() {
            app.hub.pause(true);
            future::or(rest(), late(FINISH)).await;
        }
        requests::give_up(&app.hub.pending_conns).await;
        since
    }

    /// Closes the TLS connections, which cannot be handed over, if there are any. Accepts nobody until the next
    /// process image does: whoever reconnects at once waits in the kernel's backlog. All others are served
    /// meanwhile.
    pub(super) async fn close_tls(&self) -> bool {
        let app = &self.app;
        let closed = app.hub.not_carried();
        if closed.is_empty() {
            return false;
        }
        self.listeners.pause(true);
        app.hub.pause(false);
        log::info!("{} TLS connections cannot be handed over: closed (1012)", closed.len());
        for conn in closed {
            for id in conn.waiting() {
                // One that is not delivered is small, and the connection is closed anyway.
                let _ = conn.send(&refusal(&id, &ErrorShape::later(UNKNOWN, AGAIN_MS)));
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

    /// Gives the process to the program on disk. From here to `exec` nothing else runs. Returns only on failure:
    /// why.
    fn execute(&self, reason: &str, since: u64, format: u32) -> String {
        if self.app.hub.is_stopping() {
            return self.abort("the gateway stops".into());
        }
        // A signal that nobody listens for ends the process; one that is blocked is there for the next.
        self.signals.block(true);
        self.app.hub.events.flush();
        let (mut state, sockets) = self.state(reason, Across::Images, self.unfinished_answers());
        let sockets = if format == StateFormat::FORMAT { sockets } else { sockets.without_links() };
        state.since_ns = since;
        let lock = self.app.devices.store.lock();
        let executed = || -> std::io::Result<()> {
            let file = self.seal(&state, format).memory_file()?;
            sockets.fds().try_for_each(fds::clear_cloexec)?;
            lock.as_ref().map_or(Ok(()), fds::clear_cloexec)?;
            reactor::with_epoll(|epoll| fds::clear_cloexec(epoll))??;
            fds::clear_cloexec(&file)?;
            if self.signals.heard_end() {
                return Err(std::io::Error::other("the gateway stops"));
            }
            self.app.journal.settle();
            let at = format!("{}:{}", std::process::id(), file.as_raw_fd());
            Err(self.program.command().env(VARIABLE, at).exec())
        };
        let e = executed().err().map(|e| e.to_string()).unwrap_or_default();
        self.app.journal.serve();
        sockets.fds().for_each(fds::set_cloexec);
        let _ = reactor::with_epoll(|epoll| fds::set_cloexec(epoll));
        if let Some(lock) = &lock {
            fds::set_cloexec(lock);
        }
        self.signals.block(false);
        self.abort(format!("{}: {e}", self.program.path.display()))
    }

    /// Resumes service after a failed hand-over.
    pub(super) fn abort(&self, why: String) -> String {
        self.app.hub.pause(false);
        self.listeners.pause(false);
        why
    }

    /// The answers to requests that are still under way and have no outcome that anybody will know: ask again. They
    /// are sent by the next process image, so that they are not sent at all if there is none.
    pub(super) fn unfinished_answers(&self) -> impl Fn(&Conn) -> Vec<u8> + use<> {
        let carried = self.app.hub.invocations.save();
        let unknown = ErrorShape::later(UNKNOWN, AGAIN_MS);
        move |conn| {
            let continues =
                |id: &str| carried.iter().any(|i| i.asked.caller == conn.id() && i.asked.request == id);
            let mut answers = Vec::new();
            for id in conn.waiting().into_iter().filter(|id| !continues(id)) {
                frame::text(&refusal(&id, &unknown), None, &mut answers);
            }
            answers
        }
    }
}
