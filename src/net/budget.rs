//! What connections may hold before they have attached: a little each, beyond that a budget for all of them.

use super::scan::Excess;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

/// What a connection may hold before it has attached without being charged: an ordinary `connect` fits,
/// so nobody is refused one for what others hold, bytes.
const FREE: usize = 8 << 10;

/// Bytes that connections may hold together before they have attached, beyond [`FREE`] each.
pub struct Budget(Cell<usize>);

impl Budget {
    /// A budget of so many bytes.
    pub fn new(bytes: usize) -> Rc<Self> {
        Rc::new(Self(Cell::new(bytes)))
    }
}

/// What one connection is charged.
#[derive(Default)]
pub(super) struct Charge {
    budget: RefCell<Option<Rc<Budget>>>,
    held: Cell<usize>,
}

impl Charge {
    /// To `budget`, until it is refunded.
    pub fn to(&self, budget: Rc<Budget>) {
        *self.budget.borrow_mut() = Some(budget);
    }

    /// It has attached, or is gone.
    pub fn refund(&self) {
        if let Some(budget) = self.budget.borrow_mut().take() {
            budget.0.set(budget.0.get() + self.held.take().saturating_sub(FREE));
        }
    }

    /// It holds so many bytes more; of messages of up to `limit`.
    pub fn take(&self, bytes: usize, limit: usize) -> Result<(), Excess> {
        let budget = self.budget.borrow();
        let Some(budget) = &*budget else { return Ok(()) };
        let held = self.held.get() + bytes;
        // One frame is all it has to say: many small ones are no way around the limit.
        if held > limit.saturating_mul(2) + FREE {
            return Err(Excess::Message(limit));
        }
        let charge = held.saturating_sub(FREE) - self.held.get().saturating_sub(FREE);
        let left = budget.0.get().checked_sub(charge).ok_or(Excess::Budget)?;
        budget.0.set(left);
        self.held.set(held);
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.refund();
    }
}
