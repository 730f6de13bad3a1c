//! Handing over: until the last moment everything goes on, and if nothing comes of it everything goes on
//! afterwards, too.

use super::{
    VARIABLE,
    prove::{Program, Which, memory_file},
    state::{Dialect, State},
};
use crate::{
    gateway::{doors::Listening, run::Signals},
    live::{Hub, Proof, Restart, monotonic_ns},
    net::{inherit, seam},
    protocol::{ErrorShape, refusal},
    reactor::Timer,
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

/// Hands this process over to the program that is on disk.
#[derive(Clone)]
pub struct Pass {
    /// What is handed over.
    pub hub: Rc<Hub>,
    /// The sockets it listens on.
    pub doors: Rc<Listening>,
    /// The program.
    pub program: Program,
    /// How the state is written.
    pub dialect: &'static Dialect,
    /// The signals that were heard and not yet acted upon.
    pub signals: Rc<Signals>,
    /// Which file said that it can go on.
    pub proven: Rc<Cell<Option<Which>>>,
}

impl Restart for Pass {
    fn prove(&self) -> Proof {
        let this = self.clone();
        Box::pin(async move {
            let (state, _) = State::of(&this.hub, &this.doors, this.dialect.version, "");
            let bytes = this.dialect.seal(&state);
            let program = this.program.clone();
            let (version, which) = smol::unblock(move || program.prove(&bytes)).await?;
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
                    Ok(which) if this.proven.get() == Some(which) => return this.pass(&why, since),
                    Ok(_) => this.hub.hold(false),
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
    /// Waits until nothing is under way that has to end in this process image; since when nothing new is
    /// begun, nanoseconds of the monotonic clock.
    pub(super) async fn come_to_rest(&self) -> u64 {
        let hub = &self.hub;
        let rest = || async {
            while !hub.at_rest() {
                Timer::after(Duration::from_millis(1)).await;
            }
            // A reload that is under way has connections to close yet.
            drop(hub.reloads.turn().await);
        };
        let late = |time| async move {
            Timer::after(time).await;
        };
        future::or(rest(), late(QUIET)).await;
        let since = monotonic_ns();
        if !hub.at_rest() {
            hub.hold(true);
            future::or(rest(), late(FINISH)).await;
        }
        since
    }

    /// Gives the process to the program on disk. From here to `exec` nothing else runs. Returns only if
    /// nothing came of it: why.
    fn pass(&self, why: &str, since: u64) -> String {
        if self.hub.is_leaving() {
            return self.stay("the gateway stops".into());
        }
        // A signal that nobody listens for ends the process; one that is held is there for the next.
        self.signals.hold(true);
        let (mut state, sockets) = State::of(&self.hub, &self.doors, self.dialect.version, why);
        state.since_ns = since;
        self.give_up(&mut state);
        let lock = self.hub.store.lock();
        let passed = || -> std::io::Result<()> {
            let file = memory_file(&self.dialect.seal(&state))?;
            sockets.fds().try_for_each(inherit::bequeath)?;
            lock.as_ref().map_or(Ok(()), inherit::bequeath)?;
            inherit::bequeath(&file)?;
            if self.signals.heard_end() {
                return Err(std::io::Error::other("the gateway was told to stop"));
            }
            let at = format!("{}:{}", std::process::id(), file.as_raw_fd());
            Err(self.program.command().env(VARIABLE, at).exec())
        };
        let e = passed().err().map(|e| e.to_string()).unwrap_or_default();
        sockets.fds().for_each(inherit::keep);
        if let Some(lock) = &lock {
            inherit::keep(lock);
        }
        self.signals.hold(false);
        self.stay(format!("{}: {e}", self.program.path.display()))
    }

    fn stay(&self, why: String) -> String {
        self.hub.hold(false);
        why
    }

    /// What is still under way has no outcome that anybody will know: whoever asked is told to ask again.
    /// It is told by the next process image, so that it is not told at all if there is none.
    pub(super) fn give_up(&self, state: &mut State) {
        let carried = |caller, id: &str| {
            let all = &state.memory.invocations;
            all.iter().any(|i| i.asked.caller == caller && i.asked.request == id)
        };
        let mut told = Vec::new();
        for (n, conn) in self.hub.conns().iter().enumerate() {
            for id in conn.waiting().iter().filter(|id| !carried(conn.id(), id)) {
                let why =
                    "the gateway restarts, and what comes of this is not known yet; look, then ask again";
                told.push((n, seam::text_frame(&refusal(id, &ErrorShape::later(why, AGAIN_MS)))));
            }
        }
        for (n, frame) in told {
            state.memory.conns[n].output.extend(frame);
        }
    }
}
