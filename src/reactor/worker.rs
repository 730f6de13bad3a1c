//! Work that may block, away from the thread of the loop.

use smol::Task;
use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

/// Runs `work` on a worker thread, and resolves with what it gives. Dropped before a worker took it, it is never run.
///
/// All work is of one type for the worker threads, whose code would else be made once for each.
pub fn on_worker<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> impl Future<Output = T> {
    let done = Arc::new(Mutex::new(None));
    let task = {
        let done = done.clone();
        start(Box::new(move || *done.lock().unwrap_or_else(PoisonError::into_inner) = Some(work())))
    };
    async move {
        task.await;
        let result = done.lock().unwrap_or_else(PoisonError::into_inner).take();
        result.expect("a worker that has ended has left its result")
    }
}

/// Runs `work` on a worker thread, whoever waits or not.
pub fn leave_to_worker(work: impl FnOnce() + Send + 'static) {
    start(Box::new(work)).detach();
}

fn start(work: Box<dyn FnOnce() + Send>) -> Task<()> {
    smol::unblock(work)
}
