//! Charges of a connection's unfinished message to its budget.

use super::message::ReadError;
use crate::admission::{Budget, MakeRoom, Permit, Source};
use std::rc::{Rc, Weak};

/// The charge of one connection: nothing, until a budget is named.
#[derive(Default)]
pub(super) struct Charge(Option<Charged>);

struct Charged {
    budget: Rc<Budget>,
    /// Bytes that are not charged.
    free: usize,
    /// Bytes that may yet be read in all.
    left: usize,
    /// Few ever have one, so that it has no room in each of thousands of connections.
    permit: Option<Box<Permit>>,
    held: usize,
}

impl Charge {
    /// Charges what is beyond `free` to `budget`; `whole` bytes may be read in all.
    pub fn new(budget: &Rc<Budget>, free: usize, whole: usize) -> Self {
        Self(Some(Charged { budget: budget.clone(), free, left: whole, permit: None, held: 0 }))
    }

    /// Counts `n` bytes that were read; one frame of up to `limit` is all that a connection has to say before it has
    /// attached, so many small ones are no way around the limit.
    ///
    /// # Errors
    /// [`ReadError::TooLarge`].
    pub fn read(&mut self, n: usize, limit: usize) -> Result<(), ReadError> {
        let Some(charged) = &mut self.0 else { return Ok(()) };
        charged.left = charged.left.checked_sub(n).ok_or(ReadError::TooLarge(limit))?;
        Ok(())
    }

    /// Charges `bytes`, in place of what was charged before; `holder` is who holds them, and on whose account.
    ///
    /// # Errors
    /// [`ReadError::NoRoom`].
    pub fn hold(
        &mut self,
        bytes: usize,
        holder: impl FnOnce() -> (Source, Weak<dyn MakeRoom>),
    ) -> Result<(), ReadError> {
        let Some(charged) = &mut self.0 else { return Ok(()) };
        let Charged { budget, free, permit, held, .. } = charged;
        let now = bytes.saturating_sub(*free);
        if now == *held {
            return Ok(());
        }
        let open = || {
            let (source, holder) = holder();
            Box::new(budget.open(source, holder))
        };
        let fits = permit.get_or_insert_with(open).resize(*held, now);
        *held = now;
        if now == 0 || !fits {
            *permit = None;
            *held = 0;
        }
        if fits { Ok(()) } else { Err(ReadError::NoRoom) }
    }
}
