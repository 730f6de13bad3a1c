//! Runs: messages that a model is to answer, one at a time in each session.
//!
//! What a run is about is on disk before it is accepted: its message in the transcript, and its id in the session's row. Here
//! is only what is under way now, and how the last ones ended. [`conversation`] says what a model is sent, [`model`] how
//! it is asked, [`client_tools`] what it may call for whoever asks, [`workspace`] what instructs it, [`cool_down`] which one
//! is left alone for a while, and [`guard`] when a run goes round in a circle.

pub mod budget;
pub mod client_tools;
pub mod compaction;
pub mod conversation;
pub mod cool_down;
pub mod guard;
pub mod model;
mod open;
pub mod selection;
pub mod workspace;

pub use open::{OpenRun, OpenRuns};

use crate::{config::QueueMode, sessions::SessionKey};
use budget::Spending;
use client_tools::ClientTools;
use cool_down::CoolDowns;
use model::Windows;
use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::{BTreeMap, BTreeSet, VecDeque},
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};

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
    /// Messages that its tools sent to its own session.
    pub sent: RefCell<Vec<String>>,
    /// Whether a gateway before this one had accepted it.
    pub restored: bool,
    /// The tools of the client that asks, which it carries out itself.
    pub client_tools: OnceCell<ClientTools>,
    /// Number of its last event.
    seq: Cell<u64>,
    /// Times that its model was asked before this process began, or anew.
    pub tries: Cell<u32>,
    /// What becomes of it while another run of its session is under way.
    pub mode: QueueMode,
    /// Whether its message is on disk; `None` while it is being written.
    accepted: Cell<Option<bool>>,
    /// The runs whose messages it took in, which end with it.
    pub took: RefCell<Vec<Rc<Run>>>,
    /// Whether its conversation takes much of what its model takes.
    pub crowded: Cell<bool>,
    aborted: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

impl Run {
    /// A run that a client asks for.
    pub fn new(id: &str, accepted_ms: u64, mode: QueueMode) -> Rc<Self> {
        Rc::new(Self::with(id, accepted_ms, mode, false))
    }

    /// A run that a gateway before this one had accepted.
    pub fn restore(open: &OpenRun) -> Rc<Self> {
        let run = Self::restore_id(&open.id, open.at);
        run.tries.set(open.tries);
        *run.took.borrow_mut() = open.took.iter().map(|id| Self::restore_id(id, open.at)).collect();
        run
    }

    /// The run `id`, which a gateway before this one had accepted.
    fn restore_id(id: &str, accepted_ms: u64) -> Rc<Self> {
        let run = Rc::new(Self::with(id, accepted_ms, QueueMode::Followup, true));
        run.settle(true);
        run
    }

    fn with(id: &str, accepted_ms: u64, mode: QueueMode, restored: bool) -> Self {
        Self {
            id: id.into(),
            accepted_ms,
            text: RefCell::default(),
            said: RefCell::default(),
            sent: RefCell::default(),
            restored,
            client_tools: OnceCell::new(),
            seq: Cell::new(0),
            tries: Cell::new(0),
            mode,
            accepted: Cell::new(None),
            took: RefCell::default(),
            crowded: Cell::new(false),
            aborted: Cell::new(false),
            waiting: RefCell::default(),
        }
    }

    /// Number of its next event.
    pub fn next_seq(&self) -> u64 {
        self.seq.set(self.seq.get() + 1);
        self.seq.get()
    }

    /// Whether a tool has sent this text to the run's own session: the answer does not repeat it.
    pub fn has_sent(&self, text: &str) -> bool {
        self.sent.borrow().iter().any(|sent| sent.trim() == text.trim())
    }

    /// Ends it as soon as it can.
    pub fn abort(&self) {
        self.aborted.set(true);
        self.wake();
    }

    /// Waits until it is to end.
    pub async fn aborted(&self) {
        self.until(|| self.aborted.get().then_some(())).await;
    }

    /// Notes whether its message is on disk.
    pub fn settle(&self, accepted: bool) {
        self.accepted.set(Some(accepted));
        self.wake();
    }

    /// Waits until its message is on disk, or is not to be; whether it is.
    pub async fn settled(&self) -> bool {
        self.until(|| self.accepted.get()).await
    }

    async fn until<T>(&self, ready: impl Fn() -> Option<T>) -> T {
        poll_fn(|cx| match ready() {
            Some(value) => Poll::Ready(value),
            None => {
                let mut waiting = self.waiting.borrow_mut();
                if !waiting.iter().any(|known| known.will_wake(cx.waker())) {
                    waiting.push(cx.waker().clone());
                }
                Poll::Pending
            }
        })
        .await
    }

    fn wake(&self) {
        self.waiting.take().into_iter().for_each(Waker::wake);
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
    /// Ids of commands that are being carried out.
    carried: RefCell<BTreeSet<String>>,
    /// Those who have a message for a session, in the order in which they came.
    arrived: RefCell<BTreeMap<SessionKey, VecDeque<u64>>>,
    arrivals: Cell<u64>,
    /// The models that are left alone for a while.
    pub cool_downs: CoolDowns,
    /// What servers say of the tokens that their models take.
    pub windows: Windows,
    /// Tokens that were used today.
    pub spending: Spending,
}

impl Runs {
    /// Waits until whoever came before with a message for this session has put it in its place.
    pub async fn arrive(self: &Rc<Self>, key: &SessionKey) -> Arrival {
        let number = self.arrivals.get() + 1;
        self.arrivals.set(number);
        self.arrived.borrow_mut().entry(key.clone()).or_default().push_back(number);
        let arrival = Arrival { runs: self.clone(), key: key.clone(), number };
        poll_fn(|cx| {
            let arrived = self.arrived.borrow();
            match arrived.get(key).and_then(VecDeque::front) == Some(&number) {
                true => Poll::Ready(()),
                false => {
                    self.watch(cx.waker());
                    Poll::Pending
                }
            }
        })
        .await;
        arrival
    }

    /// Adds a run to a session; whether it is the only one there, so that somebody has to begin.
    pub fn add(&self, key: &SessionKey, run: &Rc<Run>) -> bool {
        let mut lanes = self.lanes.borrow_mut();
        let lane = lanes.entry(key.clone()).or_default();
        lane.push_back(run.clone());
        let is_first = lane.len() == 1;
        drop(lanes);
        self.wake();
        is_first
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

    /// The run with this id, and its session; one that was taken in by another is found too.
    pub fn find(&self, id: &str) -> Option<(SessionKey, Rc<Run>)> {
        let within = |run: &Rc<Run>| match run.id == id {
            true => Some(run.clone()),
            false => run.took.borrow().iter().find(|other| other.id == id).cloned(),
        };
        let lanes = self.lanes.borrow();
        lanes.iter().find_map(|(key, lane)| Some((key.clone(), lane.iter().find_map(within)?)))
    }

    /// The runs of a session that wait behind the first and that it takes in: those of `mode`, as far as they stand next to
    /// it and are on disk.
    pub fn waiting(&self, key: &SessionKey, mode: QueueMode) -> Vec<Rc<Run>> {
        let lanes = self.lanes.borrow();
        let behind = lanes.get(key).into_iter().flatten().skip(1);
        behind.take_while(|run| run.mode == mode && run.accepted.get() == Some(true)).cloned().collect()
    }

    /// Moves runs that waited behind `by` into it.
    pub fn take_in(&self, key: &SessionKey, by: &Run, those: Vec<Rc<Run>>) {
        if let Some(lane) = self.lanes.borrow_mut().get_mut(key) {
            lane.retain(|run| those.iter().all(|other| other.id != run.id));
        }
        by.took.borrow_mut().extend(those);
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

    /// Waits until one more run may ask its model: `most` do so at once, of all sessions.
    pub async fn turn(self: &Rc<Self>, most: usize) -> Turn {
        poll_fn(|cx| match self.asking.get() < most {
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

    /// Begins to carry out the command `id`, unless that is done already.
    pub fn carry(self: &Rc<Self>, id: &str) -> Option<Carrying> {
        let is_new = self.carried.borrow_mut().insert(id.to_owned());
        is_new.then(|| Carrying(self.clone(), id.to_owned()))
    }

    /// Waits until a session has a run.
    pub async fn begun(&self, key: &SessionKey) {
        poll_fn(|cx| match self.lanes.borrow().contains_key(key) {
            true => Poll::Ready(()),
            false => {
                self.watch(cx.waker());
                Poll::Pending
            }
        })
        .await;
    }

    /// How busy they are.
    pub fn load(&self, most: usize) -> Load {
        let asking = self.asking.get();
        let all = self.lanes.borrow().values().map(VecDeque::len).sum::<usize>();
        Load { asking, waiting: all.saturating_sub(asking), most }
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

/// A place among those who have a message for a session, which the next one has when this is dropped.
pub struct Arrival {
    runs: Rc<Runs>,
    key: SessionKey,
    number: u64,
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let mut arrived = self.runs.arrived.borrow_mut();
        if let Some(line) = arrived.get_mut(&self.key) {
            line.retain(|number| *number != self.number);
            if line.is_empty() {
                arrived.remove(&self.key);
            }
        }
        drop(arrived);
        self.runs.wake();
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

/// A command that is being carried out, which ends when this is dropped.
pub struct Carrying(Rc<Runs>, String);

impl Drop for Carrying {
    fn drop(&mut self) {
        self.0.carried.borrow_mut().remove(&self.1);
    }
}
