//! The store in use: changes are staged, committed in groups, and seen only once they are on disk.
//!
//! There is no task behind it. A commit runs on a worker thread; whoever looks at the store next takes
//! in its result and starts the following one. So a caller that gives up midway holds up nobody.

use super::{
    Key, Notice, OpenError, codec, lock,
    open::{self, Opened},
    registry::Registry,
    replace::replace,
    room::{Found, Room},
};
use crate::reactor::{leave_to_worker, on_worker};
use std::{
    cell::{Cell, RefCell},
    fmt,
    future::poll_fn,
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    rc::Rc,
    sync::{Arc, Mutex},
    task::{Poll, Waker},
    time::Instant,
};

/// Why a change is not on disk. Memory is then as it was.
#[derive(Clone, Debug)]
pub struct DiskError(String);

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DiskError {}

/// Why a change did not happen.
#[derive(Debug)]
pub enum ChangeError<E> {
    /// The change itself was refused.
    Refused(E),
    /// Writing to disk failed.
    Disk(DiskError),
}

type Outcome = Result<(), DiskError>;

/// Changes that go to disk together.
#[derive(Default)]
struct Batch {
    outcome: RefCell<Option<Outcome>>,
}

/// Result of a worker thread.
#[derive(Default)]
struct Done {
    result: Option<io::Result<()>>,
    /// The lock of the directory that had to be made anew.
    lock: Option<OwnedFd>,
    waiting: Vec<Waker>,
}

struct Flight {
    registry: Rc<Registry>,
    batch: Rc<Batch>,
    done: Arc<Mutex<Done>>,
    since: Instant,
}

/// The token store of one state directory, owned by this process.
pub struct Store {
    dir: PathBuf,
    key: Key,
    key_kept: Cell<bool>,
    intact: Cell<bool>,
    read_only: RefCell<Option<String>>,
    /// Whether that was for want of room.
    full: Cell<bool>,
    live: RefCell<Rc<Registry>>,
    staged: RefCell<Option<(Registry, Rc<Batch>)>>,
    flight: RefCell<Option<Flight>>,
    counter: Cell<u64>,
    commits: Cell<u64>,
    // Shared with the commit under way: the directory stays locked until that has ended.
    lock: RefCell<Option<Arc<OwnedFd>>>,
    room: Room,
    /// URL of this gateway, as written in the lock.
    url: RefCell<String>,
}

impl Store {
    /// Opens the store in `dir`, making both if there is none.
    ///
    /// # Errors
    /// [`OpenError`]; nothing has been changed then.
    pub fn open(dir: &Path) -> Result<(Self, Vec<Notice>), OpenError> {
        Self::open_with(dir, None)
    }

    /// Opens it with the lock that the process image before this one held.
    ///
    /// # Errors
    /// [`OpenError`]; nothing has been changed then.
    pub fn open_with(dir: &Path, lock: Option<OwnedFd>) -> Result<(Self, Vec<Notice>), OpenError> {
        let Opened { lock, key, key_kept, registry, counter, intact, read_only, notices } =
            open::open(dir, lock)?;
        let store = Self {
            dir: dir.into(),
            key,
            key_kept: Cell::new(key_kept),
            intact: Cell::new(intact),
            read_only: RefCell::new(read_only),
            full: Cell::new(false),
            live: RefCell::new(Rc::new(registry)),
            staged: RefCell::new(None),
            flight: RefCell::new(None),
            counter: Cell::new(counter),
            commits: Cell::new(0),
            room: Room::of(lock.as_ref()),
            lock: RefCell::new(lock.map(Arc::new)),
            url: RefCell::default(),
        };
        Ok((store, notices))
    }

    /// Whether the store in `dir` could be opened. Only reads, and takes no lock.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn check(dir: &Path) -> Result<(), OpenError> {
        open::check(dir)
    }

    /// The store's lock, if it could be acquired.
    pub fn lock(&self) -> Option<Arc<OwnedFd>> {
        self.lock.borrow().clone()
    }

    /// Says in the lock where this gateway is to be called.
    pub fn tell_where(&self, url: &str) {
        *self.url.borrow_mut() = url.into();
        self.lock().iter().for_each(|lock| lock::tell(lock, url));
    }

    /// The same of a gateway that serves. A disk that hangs holds up only who waits for this.
    pub async fn moved(&self, url: &str) {
        *self.url.borrow_mut() = url.into();
        if let Some(lock) = self.lock() {
            let url = url.to_owned();
            on_worker(move || lock::tell(&lock, &url)).await;
        }
    }

    /// Whether every change that was made is on disk.
    pub fn is_settled(&self) -> bool {
        self.advance();
        self.flight.borrow().is_none() && self.staged.borrow().is_none()
    }

    /// The devices, as they stand on disk.
    pub fn registry(&self) -> Rc<Registry> {
        self.advance();
        self.live.borrow().clone()
    }

    /// The key tokens are derived from.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Directory of the store.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Commits since it was opened.
    pub fn commits(&self) -> u64 {
        self.commits.get()
    }

    /// Why it could not be written when that was last tried, if it could not.
    pub fn read_only(&self) -> Option<String> {
        self.read_only.borrow().clone()
    }

    /// Why a change could not be stored now: the disk is full, says nothing, or refused the last one for another cause.
    pub fn degraded(&self) -> Option<String> {
        let dir = self.dir.display();
        let waits = self.flight.borrow().as_ref().map(|flight| flight.since.elapsed());
        match self.room.find(self.lock(), waits) {
            Found::Room => self.read_only().filter(|_| !self.full.get()),
            Found::None => {
                Some(format!("the disk of {dir} is full: paired devices are served, changes fail"))
            }
            Found::Silence(time) => Some(format!(
                "the disk of {dir} has not answered for {} s: paired devices are served, changes wait",
                time.as_secs()
            )),
        }
    }

    /// Makes a change; done when it is on disk. `change` sees the changes staged before it; if it says
    /// no, or changes nothing, nothing of it remains.
    ///
    /// # Errors
    /// [`ChangeError`]; nothing has changed then.
    pub async fn change<T, E>(
        &self,
        change: impl FnOnce(&mut Registry) -> Result<T, E>,
    ) -> Result<T, ChangeError<E>> {
        self.advance();
        let mut registry = self.newest(Registry::clone);
        let value = change(&mut registry);
        let changed = value.is_ok() && registry.settle() && self.newest(|before| registry != *before);
        let batch = if changed { Some(self.stage(registry)?) } else { self.newest_batch() };
        if let Some(batch) = batch {
            self.outcome(&batch).await.map_err(ChangeError::Disk)?;
        }
        value.map_err(ChangeError::Refused)
    }

    /// Writes down anew what was taken away from disk while it was in use: whoever continues from there would
    /// find no devices, and without the lock another gateway could begin there. Done when it is there.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn renew(&self) -> Result<(), DiskError> {
        let Some(lock) = self.lock() else { return Ok(()) };
        // Nothing is lost of a registry that is empty, and a full disk may never have taken it.
        let empty = self.newest(|registry| *registry == Registry::default());
        let written = self.counter.get() > 0 && !empty;
        let (dir, key, key_kept) = (self.dir.clone(), self.key.clone(), self.key_kept.get());
        let gone = on_worker(move || {
            let file = || !dir.join("tokens.bin").exists() || key_kept && key.is_gone(&dir);
            !lock::is_at(&lock, &dir) || written && file()
        });
        if !gone.await {
            return Ok(());
        }
        self.key_kept.set(false);
        let registry = self.newest(Registry::clone);
        match self.stage::<()>(registry) {
            Ok(batch) => self.outcome(&batch).await,
            Err(ChangeError::Disk(e)) => Err(e),
            Err(ChangeError::Refused(())) => Ok(()),
        }
    }

    /// Applies `look` to the registry with every change that is under way.
    fn newest<T>(&self, look: impl FnOnce(&Registry) -> T) -> T {
        if let Some((registry, _)) = &*self.staged.borrow() {
            return look(registry);
        }
        if let Some(flight) = &*self.flight.borrow() {
            return look(&flight.registry);
        }
        look(&self.live.borrow())
    }

    /// The batch that a change which changed nothing, or was refused, has to wait for: it may rest on it.
    fn newest_batch(&self) -> Option<Rc<Batch>> {
        let staged = self.staged.borrow().as_ref().map(|(_, batch)| batch.clone());
        staged.or_else(|| self.flight.borrow().as_ref().map(|f| f.batch.clone()))
    }

    fn stage<E>(&self, registry: Registry) -> Result<Rc<Batch>, ChangeError<E>> {
        if self.lock.borrow().is_none() {
            let why = self.read_only().unwrap_or_default();
            return Err(ChangeError::Disk(DiskError(format!("{why}. Then start the gateway again"))));
        }
        let mut staged = self.staged.borrow_mut();
        let batch = staged.take().map_or_else(Rc::default, |(_, batch)| batch);
        *staged = Some((registry, batch.clone()));
        Ok(batch)
    }

    async fn outcome(&self, batch: &Rc<Batch>) -> Outcome {
        poll_fn(|cx| {
            loop {
                self.advance();
                if let Some(outcome) = &*batch.outcome.borrow() {
                    return Poll::Ready(outcome.clone());
                }
                let Some(done) = self.flight.borrow().as_ref().map(|f| f.done.clone()) else { continue };
                let mut done = done.lock().unwrap_or_else(|e| e.into_inner());
                if done.result.is_none() {
                    if !done.waiting.iter().any(|w| w.will_wake(cx.waker())) {
                        done.waiting.push(cx.waker().clone());
                    }
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    /// Takes in the commit that has landed, and starts the next.
    fn advance(&self) {
        let landed = self.flight.borrow().as_ref().and_then(|flight| {
            let mut done = flight.done.lock().unwrap_or_else(|e| e.into_inner());
            done.result.take().map(|result| (result, done.lock.take()))
        });
        if let Some((result, lock)) = landed
            && let Some(flight) = self.flight.take()
        {
            if let Some(lock) = lock {
                *self.lock.borrow_mut() = Some(Arc::new(lock));
            }
            self.land(flight, result);
        }
        if self.flight.borrow().is_none()
            && let Some((registry, batch)) = self.staged.take()
        {
            self.start(registry, batch);
        }
    }

    fn land(&self, flight: Flight, result: io::Result<()>) {
        match result {
            Ok(()) => {
                *self.live.borrow_mut() = flight.registry;
                self.key_kept.set(true);
                self.intact.set(true);
                *self.read_only.borrow_mut() = None;
                self.commits.set(self.commits.get() + 1);
                *flight.batch.outcome.borrow_mut() = Some(Ok(()));
            }
            Err(e) => {
                // Where only the last sync failed the disk may be a step ahead; the next commit says what
                // holds.
                let error = DiskError(open::cannot_write(&self.dir, &e));
                *self.read_only.borrow_mut() = Some(error.to_string());
                self.full.set(e.kind() == io::ErrorKind::StorageFull);
                // What was staged meanwhile rests on what was not written.
                if let Some((_, batch)) = self.staged.take() {
                    *batch.outcome.borrow_mut() = Some(Err(error.clone()));
                }
                *flight.batch.outcome.borrow_mut() = Some(Err(error));
            }
        }
    }

    fn start(&self, registry: Registry, batch: Rc<Batch>) {
        let counter = self.counter.get() + 1;
        self.counter.set(counter);
        let file = codec::encode(&registry, counter);
        let (dir, intact) = (self.dir.clone(), self.intact.get());
        let (key, key_kept) = (self.key.clone(), self.key_kept.get());
        let done = Arc::<Mutex<Done>>::default();
        let (report, lock, url) = (done.clone(), self.lock(), self.url.borrow().clone());
        *self.flight.borrow_mut() =
            Some(Flight { registry: Rc::new(registry), batch, done, since: Instant::now() });
        leave_to_worker(move || {
            let (path, file) = (dir.join("tokens.bin"), codec::seal(file));
            let put = |keep_key| {
                // No token may be handed out whose key a restart forgets.
                let kept = if keep_key { key.keep(&dir) } else { Ok(()) };
                kept.and_then(|()| replace(&path, &file, intact))
            };
            let mut again = None;
            // The directory was taken away, and what is in memory is all there is.
            let mut anew = || {
                again = Some(open::lock_again(&dir, &url)?);
                put(true)
            };
            let result = match lock.as_ref().is_some_and(|lock| lock::is_at(lock, &dir)) {
                false => anew(),
                true => match put(!key_kept || key.is_gone(&dir)) {
                    Err(e) if e.kind() == io::ErrorKind::NotFound => anew(),
                    result => result,
                },
            };
            drop(lock);
            let mut done = report.lock().unwrap_or_else(|e| e.into_inner());
            (done.result, done.lock) = (Some(result), again);
            done.waiting.drain(..).for_each(Waker::wake);
        });
    }
}
