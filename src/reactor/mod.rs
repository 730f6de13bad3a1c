//! The reactor: what the one thread waits for, which is sockets, timers, and a word from another thread.
//!
//! `smol`'s own (`async-io`) serves any number of threads. It keeps a helper thread that takes the waiting
//! over whenever the one that runs tasks is busy, and from then on each event costs a change of threads:
//! half of the time of a handshake, and a thread that wakes up by the clock. With one thread it is simpler:
//! `epoll`, edge-triggered, told of a socket once; timers are the time-out of the wait.
//!
//! An edge is seen once, so an operation is tried first and waited for only when it would block. What is
//! made here stays on its thread, and goes on only while that thread is in [`block_on`].

use nanoserde::{DeBin, SerBin};
use rustix::{
    event::{EventfdFlags, Timespec, epoll, eventfd},
    fd::{AsFd, BorrowedFd, OwnedFd},
    io::Errno,
    net::SocketFlags,
};
use smol::io::{AsyncRead, AsyncWrite};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::Future,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    pin::{Pin, pin},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

thread_local! {
    static REACTOR: RefCell<Option<Rc<Reactor>>> = const { RefCell::new(None) };
    static TIMERS: Timers = const { Timers { waiting: RefCell::new(BTreeMap::new()), next: Cell::new(0) } };
}

/// Events taken in one wait.
const EVENTS: usize = 128;
/// The number in `epoll` of the word from another thread.
const ALARM: u64 = u64::MAX;
/// What says that there is something to read, if only the end.
const READ: epoll::EventFlags = epoll::EventFlags::IN.union(epoll::EventFlags::RDHUP);

struct Reactor {
    epoll: OwnedFd,
    alarm: Arc<Alarm>,
    slots: RefCell<Slots>,
}

/// Who waits for which socket, by the number it has in `epoll`.
#[derive(Default)]
struct Slots {
    waiting: Vec<Waiting>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Waiting {
    reader: Option<Waker>,
    writer: Option<Waker>,
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
    /// This thread's.
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

    /// Waits for what comes first, and wakes who waited for it.
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
                        waiting.writer.take_if(|_| ended || flags.contains(epoll::EventFlags::OUT)),
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
        if let Poll::Ready(done) = future.as_mut().poll(&mut cx) {
            return Ok(done);
        }
        reactor.wait(&mut events)?;
    }
}

/// Where a socket stands in an `epoll` that another process image goes on with.
#[derive(Clone, Copy, Debug, SerBin, DeBin)]
pub struct Place {
    slot: u32,
    quiet: bool,
}

/// Lends the `epoll` of this thread.
///
/// # Errors
/// When the kernel gives none.
pub fn with_epoll<T>(look: impl FnOnce(BorrowedFd<'_>) -> T) -> io::Result<T> {
    Ok(look(Reactor::get()?.epoll.as_fd()))
}

/// Goes on with the `epoll` of the process image before this one, in which some sockets have these `places`:
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

/// A socket that is waited for instead of blocking.
pub struct Async<T> {
    socket: T,
    reactor: Rc<Reactor>,
    slot: u32,
}

impl<T: AsFd> Async<T> {
    /// Takes a socket in.
    ///
    /// # Errors
    /// The system's.
    pub fn new(socket: T) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Self::nonblocking(socket)
    }

    /// Takes in a socket that does not block as it is.
    ///
    /// # Errors
    /// The system's.
    pub fn nonblocking(socket: T) -> io::Result<Self> {
        let reactor = Reactor::get()?;
        let slot = {
            let mut slots = reactor.slots.borrow_mut();
            slots.free.pop().unwrap_or_else(|| {
                slots.waiting.push(Waiting::default());
                slots.waiting.len() as u32 - 1
            })
        };
        let it = Self { socket, reactor, slot };
        let (data, flags) = (epoll::EventData::new_u64(slot.into()), READ | epoll::EventFlags::ET);
        match epoll::add(&it.reactor.epoll, &it.socket, data, flags) {
            // It was there already, before this process image.
            Err(Errno::EXIST) => epoll::modify(&it.reactor.epoll, &it.socket, data, flags)?,
            added => added?,
        }
        Ok(it)
    }

    /// Takes in a socket that is in the `epoll` already; see [`go_on`].
    ///
    /// # Errors
    /// When there is no such place.
    pub fn in_place(socket: T, place: Place) -> io::Result<Self> {
        let reactor = Reactor::get()?;
        match reactor.slots.borrow_mut().waiting.get_mut(place.slot as usize) {
            Some(waiting) => waiting.quiet = place.quiet,
            None => return Err(io::ErrorKind::NotFound.into()),
        }
        Ok(Self { socket, reactor, slot: place.slot })
    }

    /// Takes in a socket that does not block as it is, and is not read until `epoll` says that there is
    /// something: it does so of what was there before, too.
    ///
    /// # Errors
    /// The system's.
    pub fn quiet(socket: T) -> io::Result<Self> {
        let it = Self::nonblocking(socket)?;
        it.reactor.slots.borrow_mut().waiting[it.slot as usize].quiet = true;
        Ok(it)
    }

    /// Has the task woken when there is room to write. Only for one whose write just blocked.
    pub fn wait_writable(&self, cx: &Context<'_>) {
        let mut slots = self.reactor.slots.borrow_mut();
        let waiting = &mut slots.waiting[self.slot as usize];
        waiting.writer = Some(cx.waker().clone());
        // Most sockets never block, and need not be looked at by the kernel for it.
        if !waiting.asked {
            let data = epoll::EventData::new_u64(self.slot.into());
            let flags = READ | epoll::EventFlags::OUT | epoll::EventFlags::ET;
            waiting.asked = epoll::modify(&self.reactor.epoll, &self.socket, data, flags).is_ok();
            if !waiting.asked {
                cx.waker().wake_by_ref();
            }
        }
    }
}

impl<T> Async<T> {
    /// The socket itself.
    pub fn get_ref(&self) -> &T {
        &self.socket
    }

    /// Where it stands. Who waits to read has seen that there is nothing, and `epoll` has said nothing since.
    pub fn place(&self) -> Place {
        let waiting = &self.reactor.slots.borrow().waiting[self.slot as usize];
        Place { slot: self.slot, quiet: waiting.quiet || waiting.reader.is_some() }
    }

    /// Whether there is nothing to read until `epoll` says so.
    pub fn is_quiet(&self) -> bool {
        self.reactor.slots.borrow().waiting[self.slot as usize].quiet
    }

    /// Has the task woken when there is something to read. Only for one that is quiet, or whose read just
    /// blocked.
    pub fn wait_readable(&self, cx: &Context<'_>) {
        self.reactor.slots.borrow_mut().waiting[self.slot as usize].reader = Some(cx.waker().clone());
    }

    /// Does `read`, and is pending as long as it would block.
    pub fn poll_with<R>(
        &self,
        cx: &Context<'_>,
        mut read: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        if self.is_quiet() {
            self.wait_readable(cx);
            return Poll::Pending;
        }
        loop {
            match read(&self.socket) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.wait_readable(cx);
                    return Poll::Pending;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

impl<T> Drop for Async<T> {
    fn drop(&mut self) {
        // Closing the socket takes it out of `epoll`. An event that is on its way may wake whoever has the
        // slot next: it tries, and waits again.
        let mut slots = self.reactor.slots.borrow_mut();
        slots.waiting[self.slot as usize] = Waiting::default();
        slots.free.push(self.slot);
    }
}

impl Async<TcpListener> {
    /// The next connection, and where it comes from.
    ///
    /// # Errors
    /// The system's; the listener can go on.
    pub async fn accept(&self) -> io::Result<(Async<TcpStream>, SocketAddr)> {
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// The same, to be polled.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Async<TcpStream>, SocketAddr)>> {
        self.poll_with(cx, accept)
    }

    /// The next connection, if it is there already.
    ///
    /// # Errors
    /// `WouldBlock` if it is not.
    pub fn accept_now(&self) -> io::Result<(Async<TcpStream>, SocketAddr)> {
        accept(&self.socket)
    }
}

fn accept(listener: &TcpListener) -> io::Result<(Async<TcpStream>, SocketAddr)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (socket, from) = rustix::net::acceptfrom_with(listener, flags)?;
    let from = from.and_then(|from| SocketAddr::try_from(from).ok()).ok_or(io::ErrorKind::NotConnected)?;
    Ok((Async::nonblocking(TcpStream::from(socket))?, from))
}

impl AsyncRead for Async<TcpStream> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_with(cx, |mut socket| socket.read(out))
    }
}

impl AsyncWrite for Async<TcpStream> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match (&self.socket).write(bytes) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.wait_writable(cx);
                    return Poll::Pending;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.shutdown(std::net::Shutdown::Write))
    }
}

/// Who waits until when; the number tells two of the same instant apart.
struct Timers {
    waiting: RefCell<BTreeMap<(Instant, u64), Waker>>,
    next: Cell<u64>,
}

impl Timers {
    /// How long until the next one.
    fn next(&self) -> Option<Duration> {
        let waiting = self.waiting.borrow();
        waiting.first_key_value().map(|((at, _), _)| at.saturating_duration_since(Instant::now()))
    }

    /// Wakes those whose time has come.
    fn fire(&self) {
        if self.waiting.borrow().is_empty() {
            return;
        }
        let later = self.waiting.borrow_mut().split_off(&(Instant::now(), u64::MAX));
        let due = self.waiting.replace(later);
        due.into_values().for_each(Waker::wake);
    }
}

/// A while, on the monotonic clock.
pub struct Timer {
    at: Instant,
    number: Option<u64>,
}

impl Timer {
    /// Done after `time`.
    pub fn after(time: Duration) -> Self {
        // A time beyond the clock's end is as good as a year.
        let now = Instant::now();
        let at = now.checked_add(time).unwrap_or(now + Duration::from_secs(365 * 86_400));
        Self { at, number: None }
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.at {
            return Poll::Ready(());
        }
        TIMERS.with(|timers| {
            let number = *self.number.get_or_insert_with(|| timers.next.replace(timers.next.get() + 1));
            timers.waiting.borrow_mut().insert((self.at, number), cx.waker().clone());
        });
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            // A thread that ends has no timers any more.
            let _ = TIMERS.try_with(|timers| timers.waiting.borrow_mut().remove(&(self.at, number)));
        }
    }
}
