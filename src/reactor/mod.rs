//! The reactor: the one thread waits in it for sockets, timers, and wake-ups by another thread.
//!
//! `smol`'s own (`async-io`) serves any number of threads. It keeps a helper thread that takes the waiting
//! over whenever the one that runs tasks is busy, and from then on each event costs a change of threads:
//! half of the time of a handshake, and a thread that wakes up by the clock. With one thread it is simpler:
//! `epoll`, edge-triggered, with each socket registered once; timers are the time-out of the wait.
//!
//! An edge is seen once, so an operation is tried first and waited for only when it would block. What is
//! made here stays on its thread, and runs only while that thread is in [`block_on`].

mod lateness;
mod socket;
mod tasks;
mod timer;
mod worker;

pub use lateness::lateness;
pub use socket::Async;
pub use tasks::Tasks;
pub use timer::Timer;
pub use worker::{leave_to_worker, on_worker};

use nanoserde::{DeBin, SerBin};
use rustix::{
    event::{EventfdFlags, Timespec, epoll, eventfd},
    fd::{AsFd, BorrowedFd, OwnedFd},
};
use smol::{LocalExecutor, future};
use std::{
    cell::{Cell, RefCell},
    future::Future,
    io,
    pin::pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};
use timer::{TIMERS, Timers};

thread_local! {
    static REACTOR: RefCell<Option<Rc<Reactor>>> = const { RefCell::new(None) };
    /// When the turn of the loop began.
    static TURN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Time after which a turn ends although there is more to do: what came meanwhile is looked at first.
const LONGEST_TURN: Duration = Duration::from_millis(1);

/// Events taken in one wait.
const EVENTS: usize = 128;
/// The number in `epoll` of the word from another thread.
const ALARM: u64 = u64::MAX;
/// Events that make a read worth trying, the end of the stream included.
const READ: epoll::EventFlags = epoll::EventFlags::IN.union(epoll::EventFlags::RDHUP);

struct Reactor {
    epoll: OwnedFd,
    alarm: Arc<Alarm>,
    slots: RefCell<Slots>,
}

/// Waiting tasks, by the number their socket has in `epoll`.
#[derive(Default)]
struct Slots {
    waiting: Vec<Waiting>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Waiting {
    reader: Option<Waker>,
    /// Few ever wait for it.
    writer: Option<Box<Waker>>,
    /// There is nothing to read until `epoll` says so.
    quiet: bool,
    /// `epoll` was asked to tell of room to write.
    asked: bool,
}

/// Wakes the thread: from itself by a flag, from another by an `eventfd` if it sleeps.
struct Alarm {
    rung: AtomicBool,
    asleep: AtomicBool,
    bell: OwnedFd,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rung.swap(true, SeqCst) && self.asleep.load(SeqCst) {
            // Never read, so it fails only after 2⁶⁴ times.
            let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
        }
    }
}

impl Reactor {
    /// Returns this thread's reactor.
    fn get() -> io::Result<Rc<Self>> {
        REACTOR.with_borrow_mut(|reactor| match reactor {
            Some(reactor) => Ok(reactor.clone()),
            None => Ok(reactor.insert(Rc::new(Self::new()?)).clone()),
        })
    }

    fn new() -> io::Result<Self> {
        Self::over(epoll::create(epoll::CreateFlags::CLOEXEC)?)
    }

    fn over(epoll: OwnedFd) -> io::Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let edges = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&epoll, &bell, epoll::EventData::new_u64(ALARM), edges)?;
        let alarm = Arc::new(Alarm { rung: AtomicBool::new(false), asleep: AtomicBool::new(false), bell });
        Ok(Self { epoll, alarm, slots: RefCell::default() })
    }

    /// Waits for the next events, and wakes the tasks that wait for them.
    fn wait(&self, events: &mut Vec<epoll::Event>) -> io::Result<()> {
        self.alarm.asleep.store(true, SeqCst);
        let timeout = match self.alarm.rung.load(SeqCst) {
            true => Some(Duration::ZERO),
            false => TIMERS.with(Timers::next),
        };
        let timeout = timeout.and_then(|t| Timespec::try_from(t).ok());
        events.clear();
        let waited = epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), timeout.as_ref());
        self.alarm.asleep.store(false, SeqCst);
        match waited {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        for event in &*events {
            let (data, flags) = (event.data.u64(), event.flags);
            let ended = flags.intersects(epoll::EventFlags::ERR | epoll::EventFlags::HUP);
            let (reader, writer) = match self.slots.borrow_mut().waiting.get_mut(data as usize) {
                Some(waiting) => {
                    let read = ended || flags.intersects(READ);
                    waiting.quiet &= !read;
                    (
                        waiting.reader.take_if(|_| read),
                        waiting
                            .writer
                            .take_if(|_| ended || flags.contains(epoll::EventFlags::OUT))
                            .map(|waker| *waker),
                    )
                }
                // The alarm: it has done its work.
                None => continue,
            };
            reader.into_iter().chain(writer).for_each(Waker::wake);
        }
        TIMERS.with(Timers::fire);
        Ok(())
    }
}

/// Runs `future`, and with it everything that waits on this thread, until it is done.
///
/// # Errors
/// When the kernel gives no `epoll`.
pub fn block_on<T>(future: impl Future<Output = T>) -> io::Result<T> {
    let reactor = Reactor::get()?;
    let waker = Waker::from(reactor.alarm.clone());
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    let mut events = Vec::with_capacity(EVENTS);
    loop {
        reactor.alarm.rung.store(false, SeqCst);
        let turn = Instant::now();
        TURN.set(Some(turn));
        if let Poll::Ready(done) = future.as_mut().poll(&mut cx) {
            TURN.set(None);
            return Ok(done);
        }
        lateness::record(turn.elapsed());
        reactor.wait(&mut events)?;
    }
}

/// Whether this turn has lasted long enough: who has more to do lets the others come first.
fn turn_is_over() -> bool {
    TURN.get().is_some_and(|turn| turn.elapsed() >= LONGEST_TURN)
}

/// Runs `main`, and with it the tasks of `executor`, in turns that are short however much there is to do.
pub async fn run<T>(executor: &LocalExecutor<'_>, main: impl Future<Output = T>) -> T {
    let tasks = async {
        loop {
            executor.tick().await;
            if turn_is_over() {
                future::yield_now().await;
            }
        }
    };
    future::or(main, tasks).await
}

/// Number of a socket in an `epoll` that another process image inherits.
#[derive(Clone, Copy, Default, PartialEq, Debug, SerBin, DeBin)]
pub struct Place {
    slot: u32,
    quiet: bool,
}

impl Place {
    /// No place.
    pub const NONE: Self = Self { slot: 0, quiet: false };
}

/// Lends the `epoll` of this thread.
///
/// # Errors
/// When the kernel gives none.
pub fn with_epoll<T>(look: impl FnOnce(BorrowedFd<'_>) -> T) -> io::Result<T> {
    Ok(look(Reactor::get()?.epoll.as_fd()))
}

/// Continues with the `epoll` of the process image before this one, in which some sockets have these `places`:
/// to let go of thousands and take them in again is half of what a hand-over costs. To be called before anything
/// else is waited for on this thread.
///
/// # Errors
/// When the kernel does not take it.
pub fn go_on(epoll: OwnedFd, places: &[Place]) -> io::Result<()> {
    let reactor = Reactor::over(epoll)?;
    let count = places.iter().map(|place| place.slot as usize + 1).max().unwrap_or_default();
    let mut taken = vec![false; count];
    places.iter().for_each(|place| taken[place.slot as usize] = true);
    {
        let mut slots = reactor.slots.borrow_mut();
        slots.waiting.resize_with(count, Waiting::default);
        slots.free = (0..count as u32).rev().filter(|slot| !taken[*slot as usize]).collect();
    }
    REACTOR.set(Some(Rc::new(reactor)));
    Ok(())
}
