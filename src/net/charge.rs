//! Charges of a connection's unfinished message to its budget.

use super::message::ReadError;
use crate::admission::{Budget, MakeRoom, Permit, Source};
use std::rc::{Rc, Weak};

/// The charge of one connection: nothing, until a budget is named.
#[derive(Default)]
pub(super) struct Charge(Option<Charged>);

struct Charged {
    budget: Rc<Budget>,
    source: Source,
    holder: Weak<dyn MakeRoom>,
    /// Bytes that are not charged.
    free: usize,
    /// Bytes that may yet be read in all.
    left: usize,
    permit: Option<Permit>,
    held: usize,
}

impl Charge {
    /// Charges what is beyond `free` to `budget`; `whole` bytes may be read in all.
    pub fn new(
        budget: &Rc<Budget>,
        free: usize,
        whole: usize,
        source: Source,
        holder: Weak<dyn MakeRoom>,
    ) -> Self {
        let budget = budget.clone();
        Self(Some(Charged { budget, source, holder, free, left: whole, permit: None, held: 0 }))
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

    /// Charges `bytes`, in place of what was charged before.
    ///
    /// # Errors
    /// [`ReadError::NoRoom`].
    pub fn hold(&mut self, bytes: usize) -> Result<(), ReadError> {
        let Some(charged) = &mut self.0 else { return Ok(()) };
        let Charged { budget, source, holder, free, permit, held, .. } = charged;
        let now = bytes.saturating_sub(*free);
        if now == *held {
            return Ok(());
        }
        let fits = permit.get_or_insert_with(|| budget.open(*source, holder.clone())).resize(*held, now);
        *held = now;
        if now == 0 || !fits {
            *permit = None;
            *held = 0;
        }
        if fits { Ok(()) } else { Err(ReadError::NoRoom) }
    }
}
