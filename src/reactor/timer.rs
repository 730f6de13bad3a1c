//! Timers on the monotonic clock: the next one is the time-out of the reactor's wait.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

thread_local! {
    pub(super) static TIMERS: Timers = const { Timers { waiting: RefCell::new(BTreeMap::new()), next: Cell::new(0) } };
}

/// Timers by their time; the number tells two of the same instant apart.
pub(super) struct Timers {
    waiting: RefCell<BTreeMap<(Instant, u64), Waker>>,
    next: Cell<u64>,
}

impl Timers {
    /// Time until the next timer fires.
    pub(super) fn next(&self) -> Option<Duration> {
        let waiting = self.waiting.borrow();
        waiting.first_key_value().map(|((at, _), _)| at.saturating_duration_since(Instant::now()))
    }

    /// Wakes those whose time has come.
    pub(super) fn fire(&self) {
        // Mostly none: to part the map takes memory.
        let now = Instant::now();
        if self.waiting.borrow().first_key_value().is_none_or(|((at, _), _)| *at > now) {
            return;
        }
        let later = self.waiting.borrow_mut().split_off(&(now, u64::MAX));
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
    /// Makes a timer that fires after `time`.
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
