//! Tasks of the one thread.

use smol::{LocalExecutor, Task};
use std::{future::Future, rc::Rc};

/// Spawns tasks on the executor of the one thread.
#[derive(Clone)]
pub struct Tasks(Rc<LocalExecutor<'static>>);

impl Tasks {
    /// Makes a spawner of tasks on `executor`.
    pub fn new(executor: Rc<LocalExecutor<'static>>) -> Self {
        Self(executor)
    }

    /// Runs `task` until it ends.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.0.spawn(task).detach();
    }

    /// Runs `task` until it ends or the handle is dropped.
    pub fn cancellable(&self, task: impl Future<Output = ()> + 'static) -> Task<()> {
        self.0.spawn(task)
    }
}
