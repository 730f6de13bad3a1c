//! Runs: messages that a model is to answer, one at a time in each session.
//!
//! What a run is about is on disk before it is accepted: its message in the transcript, and its id in the session's row. Here
//! is only what is under way now, and how the last ones ended. [`conversation`] says what a model is sent, [`provider`] how
//! it is asked, and [`sse`] reads what it streams.

pub mod conversation;
mod open;
pub mod provider;
mod sse;

pub use open::{OpenRun, OpenRuns};

use crate::sessions::SessionKey;
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};

/// Runs that ask a model at once, of all sessions.
const AT_ONCE: usize = 4;
/// Runs of one session that wait.
pub const WAITING: usize = 20;
/// Runs that ended and are remembered.
const REMEMBERED: usize = 256;

/// A run that is accepted and has not ended.
pub struct Run {
    /// Its id: the client's `idempotencyKey`.
    pub id: String,
    /// Time of its acceptance, wall-clock milliseconds.
    pub accepted_ms: u64,
    /// The message that it answers.
    pub text: RefCell<String>,
    /// What the model has said so far.
    pub said: RefCell<String>,
    /// Number of its last event.
    seq: Cell<u64>,
    /// Times that its model was asked before this process began, or anew.
    pub tries: Cell<u32>,
    aborted: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

impl Run {
    /// A run of which a model was asked `tries` times before.
    pub fn new(id: &str, accepted_ms: u64, tries: u32) -> Rc<Self> {
        Rc::new(Self {
            id: id.into(),
            accepted_ms,
            text: RefCell::default(),
            said: RefCell::default(),
            seq: Cell::new(0),
            tries: Cell::new(tries),
            aborted: Cell::new(false),
            waiting: RefCell::default(),
        })
    }

    /// Number of its next event.
    pub fn next_seq(&self) -> u64 {
        self.seq.set(self.seq.get() + 1);
        self.seq.get()
    }

    /// Ends it as soon as it can.
    pub fn abort(&self) {
        self.aborted.set(true);
        self.waiting.take().into_iter().for_each(Waker::wake);
    }

    /// Waits until it is to end.
    pub async fn aborted(&self) {
        poll_fn(|cx| match self.aborted.get() {
            true => Poll::Ready(()),
            false => {
                self.waiting.borrow_mut().push(cx.waker().clone());
                Poll::Pending
            }
        })
        .await;
    }
}

/// How a run ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    /// Its id.
    pub id: String,
    /// `ok`, `error` or `aborted`.
    pub status: &'static str,
    /// Time of its end, wall-clock milliseconds.
    pub ended_ms: u64,
    /// What went wrong.
    pub error: Option<String>,
}

/// How busy the runs of a gateway are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Load {
    /// Runs that ask their models.
    pub asking: usize,
    /// Runs that wait.
    pub waiting: usize,
    /// Most runs that ask at once.
    pub most: usize,
}

/// The runs of this gateway.
#[derive(Default)]
pub struct Runs {
    /// The runs of each session that has some, the one that is under way first.
    lanes: RefCell<BTreeMap<SessionKey, VecDeque<Rc<Run>>>>,
    ended: RefCell<VecDeque<Ended>>,
    asking: Cell<usize>,
    waiting: RefCell<Vec<Waker>>,
}

impl Runs {
    /// Adds a run to a session; whether it is the only one there, so that somebody has to begin.
    pub fn add(&self, key: &SessionKey, run: &Rc<Run>) -> bool {
        let mut lanes = self.lanes.borrow_mut();
        let lane = lanes.entry(key.clone()).or_default();
        lane.push_back(run.clone());
        lane.len() == 1
    }

    /// Takes a run away that was not accepted after all, or has ended; the one that comes next, if that was the first.
    pub fn remove(&self, key: &SessionKey, id: &str) -> Option<Rc<Run>> {
        let mut lanes = self.lanes.borrow_mut();
        let lane = lanes.get_mut(key)?;
        let was_first = lane.front().is_some_and(|run| run.id == id);
        lane.retain(|run| run.id != id);
        let next = lane.front().cloned().filter(|_| was_first);
        if lane.is_empty() {
            lanes.remove(key);
        }
        next
    }

    /// The runs of a session, the one that is under way first.
    pub fn of(&self, key: &SessionKey) -> Vec<Rc<Run>> {
        self.lanes.borrow().get(key).map(|lane| lane.iter().cloned().collect()).unwrap_or_default()
    }

    /// The run with this id, and its session.
    pub fn find(&self, id: &str) -> Option<(SessionKey, Rc<Run>)> {
        let lanes = self.lanes.borrow();
        lanes
            .iter()
            .find_map(|(key, lane)| Some((key.clone(), lane.iter().find(|run| run.id == id)?.clone())))
    }

    /// Remembers how a run ended, and tells whoever waits.
    pub fn end(&self, ended: Ended) {
        let mut all = self.ended.borrow_mut();
        if all.len() == REMEMBERED {
            all.pop_front();
        }
        all.push_back(ended);
        drop(all);
        self.wake();
    }

    /// How the run with this id ended.
    pub fn ended(&self, id: &str) -> Option<Ended> {
        self.ended.borrow().iter().rfind(|ended| ended.id == id).cloned()
    }

    /// Waits until the run with this id has ended.
    pub async fn wait(&self, id: &str) -> Ended {
        poll_fn(|cx| match self.ended(id) {
            Some(ended) => Poll::Ready(ended),
            None => {
                self.watch(cx.waker());
                Poll::Pending
            }
        })
        .await
    }

    /// Waits until one more run may ask its model.
    pub async fn turn(self: &Rc<Self>) -> Turn {
        poll_fn(|cx| match self.asking.get() < AT_ONCE {
            true => Poll::Ready(()),
            false => {
                self.watch(cx.waker());
                Poll::Pending
            }
        })
        .await;
        self.asking.set(self.asking.get() + 1);
        Turn(self.clone())
    }

    /// How busy they are.
    pub fn load(&self) -> Load {
        let asking = self.asking.get();
        let all = self.lanes.borrow().values().map(VecDeque::len).sum::<usize>();
        Load { asking, waiting: all.saturating_sub(asking), most: AT_ONCE }
    }

    fn watch(&self, waker: &Waker) {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|known| known.will_wake(waker)) {
            waiting.push(waker.clone());
        }
    }

    fn wake(&self) {
        self.waiting.take().into_iter().for_each(Waker::wake);
    }
}

/// Permit to ask a model, which ends when this is dropped.
pub struct Turn(Rc<Runs>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.asking.set(self.0.asking.get() - 1);
        self.0.wake();
    }
}
