//! Sessions: conversations, each a row and a transcript.
//!
//! ```text
//! <state>/barnacle/agents/sessions.log                    rows: one line a change
//! <state>/barnacle/agents/<agent>/sessions/<session>.jsonl  transcripts: one line an entry
//! <state>/barnacle/agents/<agent>/sessions/<session>.results/  what is too large for one: a file a result
//! ```
//!
//! Both are only appended to, since an SD card is slow at anything else and a crash can spoil no more than the last line.
//! Rows are in memory, transcripts are not: what is asked of one is read from its file. All that touches a disk happens on
//! worker threads: changes are staged, written and synced in groups, and seen by others only once they are on disk, so
//! that an answer is never truer than the disk. What of them a power cut may take back says so ([`Draft`]). Where a gateway stands behind this one its sessions are the truth, and
//! nothing here is ever read or written.

mod disk;
mod draft;
pub mod incoming;
pub mod key;
pub(crate) mod line;
pub(crate) mod rows;
mod scan;
pub(crate) mod transcript;
pub mod upkeep;

pub use draft::Draft;
pub use key::{BadKey, SessionKey};
pub use rows::{Index, Query, Row, SessionId};
pub use transcript::{Appended, Cursor, Entry, NewEntry, Page, Transcript, Wanted};

use crate::{
    clock::wall_ms,
    protocol::ErrorShape,
    reactor::{Tasks, on_worker},
};
use disk::{Append, Disk, Done, Job, log_path};
use smol::future;
use std::{
    cell::{Cell, Ref, RefCell},
    collections::BTreeMap,
    future::poll_fn,
    io,
    path::PathBuf,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    task::{Poll, Waker},
};

/// Retry time where the disk prevents something, milliseconds.
const LATER_MS: u64 = 5000;

/// How far the rows are read.
enum Rows {
    NotRead,
    Reading(Vec<Waker>),
    Read(Index),
    Failed(String),
}

/// One who waits for the rows.
struct Passing<'a>(&'a Cell<usize>);

impl<'a> Passing<'a> {
    fn begin(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// A change that is staged or being written.
struct Staged {
    job: Job,
    /// The rows that it makes, each with the number of the change.
    rows: Vec<(SessionKey, Option<Row>)>,
    number: u64,
    outcome: Rc<Outcome>,
}

/// What became of a change, for who waits for it.
#[derive(Default)]
struct Outcome {
    done: RefCell<Option<Done>>,
    waiting: Cell<Option<Waker>>,
}

/// The sessions of this gateway.
pub struct Sessions {
    agents: PathBuf,
    tasks: Tasks,
    /// Why nothing may be written, if so.
    prevented: Box<dyn Fn() -> Option<String>>,
    rows: RefCell<Rows>,
    /// How many wait for the rows, or have waited and not gone on yet.
    passing: Cell<usize>,
    disk: Arc<Mutex<Disk>>,
    staged: RefCell<Vec<Staged>>,
    writing: Cell<bool>,
    /// Rows that are staged or being written, with the number of their last change.
    newest: RefCell<BTreeMap<SessionKey, (u64, Option<Row>)>>,
    changes: Cell<u64>,
    notices: RefCell<Vec<String>>,
}

impl Sessions {
    /// The sessions below `agents`, of which nothing is read yet. `prevented` says why nothing may be written.
    pub fn new(agents: PathBuf, tasks: &Tasks, prevented: impl Fn() -> Option<String> + 'static) -> Rc<Self> {
        Rc::new(Self {
            disk: Arc::new(Mutex::new(Disk::new(agents.clone()))),
            agents,
            tasks: tasks.clone(),
            prevented: Box::new(prevented),
            rows: RefCell::new(Rows::NotRead),
            passing: Cell::new(0),
            staged: RefCell::default(),
            writing: Cell::new(false),
            newest: RefCell::default(),
            changes: Cell::new(0),
            notices: RefCell::default(),
        })
    }

    /// Reads the rows now, if there are any, so that nobody waits for them later; whether there are.
    pub fn start(self: &Rc<Self>) -> bool {
        let there = log_path(&self.agents).exists();
        if there {
            self.read_rows();
        }
        there
    }

    fn read_rows(self: &Rc<Self>) {
        *self.rows.borrow_mut() = Rows::Reading(Vec::new());
        let (this, disk) = (self.clone(), self.disk.clone());
        self.tasks.spawn(async move {
            let loaded = on_worker(move || lock(&disk).load()).await;
            let rows = match loaded {
                Ok(loaded) => {
                    loaded.notices.iter().for_each(|notice| log::warn!("{notice}"));
                    this.notices.replace(loaded.notices);
                    Rows::Read(loaded.rows.packed())
                }
                Err(why) => {
                    log::error!("sessions: {why}");
                    Rows::Failed(why)
                }
            };
            if let Rows::Reading(waiting) = this.rows.replace(rows) {
                waiting.into_iter().for_each(Waker::wake);
            }
        });
    }

    /// Waits until the rows are read.
    ///
    /// # Errors
    /// `UNAVAILABLE`: they cannot be read. The next one who asks has them read again.
    pub async fn ready(self: &Rc<Self>) -> Result<(), ErrorShape> {
        let read = matches!(*self.rows.borrow(), Rows::Read(_));
        if read && self.passing.get() == 0 {
            return Ok(());
        }
        // Whoever waited first goes first, so that a client's messages stay in their order.
        let _passing = Passing::begin(&self.passing);
        if read {
            future::yield_now().await;
        }
        if matches!(*self.rows.borrow(), Rows::NotRead | Rows::Failed(_)) {
            self.read_rows();
        }
        poll_fn(|cx| match &mut *self.rows.borrow_mut() {
            Rows::Read(_) => Poll::Ready(Ok(())),
            Rows::Failed(why) => {
                Poll::Ready(Err(ErrorShape::later(format!("the sessions are not there: {why}"), LATER_MS)))
            }
            Rows::Reading(waiting) => {
                waiting.push(cx.waker().clone());
                Poll::Pending
            }
            Rows::NotRead => Poll::Pending,
        })
        .await
    }

    /// The rows as they stand on disk; `None` while they are not read.
    pub fn index(&self) -> Option<Ref<'_, Index>> {
        Ref::filter_map(self.rows.borrow(), |rows| match rows {
            Rows::Read(index) => Some(index),
            _ => None,
        })
        .ok()
    }

    /// The row of `key` as it stands on disk.
    pub fn row(&self, key: &SessionKey) -> Option<Row> {
        self.index()?.get(key)
    }

    /// Where the rows are.
    pub fn path(&self) -> PathBuf {
        log_path(&self.agents)
    }

    /// Notices for the operator, a line each.
    pub fn notices(&self) -> Vec<String> {
        self.notices.borrow().clone()
    }

    /// Whether every change that was made is on disk.
    pub fn is_settled(&self) -> bool {
        !self.writing.get() && self.staged.borrow().is_empty()
    }

    /// Reads a transcript on a worker thread; `read` is given `None` where there is none.
    ///
    /// # Errors
    /// `UNAVAILABLE`: the disk says no.
    pub async fn read<T: Send + 'static>(
        &self,
        key: &SessionKey,
        id: &SessionId,
        read: impl FnOnce(Option<Transcript>) -> io::Result<T> + Send + 'static,
    ) -> Result<T, ErrorShape> {
        let path = transcript::path(&self.agents, key.agent(), id);
        let name = path.clone();
        let result = on_worker(move || Transcript::open(&path).and_then(read)).await;
        result.map_err(|e| ErrorShape::later(format!("{} cannot be read: {e}", name.display()), LATER_MS))
    }

    /// Keeps a text that is too large for a transcript in a file beside it; where that is.
    ///
    /// # Errors
    /// The disk says no.
    pub async fn keep_beside(&self, key: &SessionKey, id: &SessionId, text: String) -> io::Result<PathBuf> {
        if let Some(why) = (self.prevented)() {
            return Err(io::Error::other(why));
        }
        let (agents, agent, id) = (self.agents.clone(), key.agent().to_owned(), *id);
        on_worker(move || transcript::beside::keep(&agents, &agent, &id, &text)).await
    }

    /// Makes a change; done when it is on disk. `make` sees the changes staged before it; if it says no, or changes
    /// nothing, nothing of it remains.
    ///
    /// # Errors
    /// `make`'s own, or `UNAVAILABLE` when the disk refuses. Nothing has changed then.
    pub async fn change<T>(
        self: &Rc<Self>,
        make: impl FnOnce(&mut Draft<'_>) -> Result<T, ErrorShape>,
    ) -> Result<(T, Vec<Appended>), ErrorShape> {
        self.ready().await?;
        let (value, draft) = {
            let mut draft = Draft {
                sessions: self,
                rows: Vec::new(),
                durable: false,
                append: None,
                lazy: false,
                remove: Vec::new(),
            };
            let value = make(&mut draft)?;
            let Draft { rows, durable, append, lazy, remove, .. } = draft;
            let append = append.map(|(key, id, entries)| (key, Append { id, entries, lazy }));
            (value, (rows, durable, append, remove))
        };
        let (rows, durable, append, remove) = draft;
        let is_empty = rows.is_empty() && append.is_none();
        if is_empty && self.is_settled() {
            return Ok((value, Vec::new()));
        }
        if let Some(why) = (self.prevented)().filter(|_| !is_empty) {
            return Err(not_saved(&why));
        }
        let outcome = self.stage(rows, durable, append, remove);
        let done = poll_fn(|cx| match outcome.done.take() {
            Some(done) => Poll::Ready(done),
            None => {
                outcome.waiting.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        });
        let appended = done.await.map_err(|why| not_saved(&why))?;
        Ok((value, appended))
    }

    fn stage(
        self: &Rc<Self>,
        rows: Vec<(SessionKey, Option<Row>)>,
        durable: bool,
        append: Option<(SessionKey, Append)>,
        remove: Vec<(String, SessionId)>,
    ) -> Rc<Outcome> {
        let number = self.changes.get() + 1;
        self.changes.set(number);
        let mut keys: Vec<SessionKey> = append.iter().map(|(key, _)| key.clone()).collect();
        keys.extend(rows.iter().map(|(key, _)| key.clone()));
        let lines = rows.iter().map(|(key, row)| Row::line(key, row.as_ref())).collect();
        let mut newest = self.newest.borrow_mut();
        for (key, row) in &rows {
            newest.insert(key.clone(), (number, row.clone()));
        }
        let on_disk = self.index().map_or(0, |index| index.len());
        let job = Job {
            keys,
            lines,
            durable,
            append: append.map(|(_, append)| append),
            remove,
            // Near enough to tell when the log is mostly out of date.
            count: (on_disk + newest.len()) as u64,
            now_ms: wall_ms(),
        };
        drop(newest);
        let outcome = Rc::<Outcome>::default();
        self.staged.borrow_mut().push(Staged { job, rows, number, outcome: outcome.clone() });
        if !self.writing.replace(true) {
            let this = self.clone();
            self.tasks.spawn(async move { this.write().await });
        }
        outcome
    }

    /// Writes what is staged, a group at a time, until nothing is.
    async fn write(self: Rc<Self>) {
        loop {
            let group = self.staged.take();
            if group.is_empty() {
                break self.writing.set(false);
            }
            let (jobs, changes): (Vec<Job>, Vec<_>) = group
                .into_iter()
                .map(|Staged { job, rows, number, outcome }| {
                    let keys = job.keys.clone();
                    (job, (keys, rows, number, outcome))
                })
                .unzip();
            let disk = self.disk.clone();
            let done = on_worker(move || lock(&disk).write(jobs)).await;
            for ((keys, rows, number, outcome), done) in changes.into_iter().zip(done) {
                self.land(&keys, rows, number, done.is_ok());
                if let Err(why) = &done {
                    log::error!("sessions: not saved, nothing changed: {why}");
                    self.fail_staged(&keys, why);
                }
                conclude(&outcome, done);
            }
        }
    }

    /// Takes the rows of a change in, or drops them.
    fn land(&self, keys: &[SessionKey], rows: Vec<(SessionKey, Option<Row>)>, number: u64, saved: bool) {
        let mut newest = self.newest.borrow_mut();
        for key in keys {
            if newest.get(key).is_some_and(|(last, _)| *last == number || !saved) {
                newest.remove(key);
            }
        }
        if let Rows::Read(index) = &mut *self.rows.borrow_mut()
            && saved
        {
            rows.iter().for_each(|(key, row)| index.put(key, row.as_ref()));
        }
    }

    /// Fails what was staged meanwhile and rests on what was not saved.
    fn fail_staged(&self, keys: &[SessionKey], why: &str) {
        let rests = |staged: &mut Staged| staged.job.keys.iter().any(|key| keys.contains(key));
        let failed: Vec<Staged> = self.staged.borrow_mut().extract_if(.., rests).collect();
        failed.into_iter().for_each(|staged| conclude(&staged.outcome, Err(why.to_owned())));
    }
}

fn conclude(outcome: &Outcome, done: Done) {
    *outcome.done.borrow_mut() = Some(done);
    outcome.waiting.take().into_iter().for_each(Waker::wake);
}

fn not_saved(why: &str) -> ErrorShape {
    ErrorShape::later(format!("not saved, nothing changed: {why}"), LATER_MS)
}

fn lock(disk: &Mutex<Disk>) -> std::sync::MutexGuard<'_, Disk> {
    disk.lock().unwrap_or_else(PoisonError::into_inner)
}
