//! A budget in use: a [`Ledger`], the holders that can be asked to make room, and the counts that an operator sees.

use super::{HolderId, Ledger, Source, Verdict};
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::{Rc, Weak},
    time::{Duration, Instant},
};

/// The time between two log lines about the same budget.
const LINE_EVERY: Duration = Duration::from_secs(60);

/// A holder that gives up what it holds.
pub trait MakeRoom {
    /// Gives up what is held.
    fn make_room(&self);
}

/// A limited resource: its total, its holders and its counts.
pub struct Budget {
    /// Name in log lines and in `status`.
    pub name: &'static str,
    ledger: RefCell<Ledger>,
    holders: RefCell<HashMap<HolderId, Weak<dyn MakeRoom>>>,
    next: Cell<HolderId>,
    counts: Cell<Counts>,
    lines: Cell<Lines>,
}

/// Number of times that a budget was reached since the start.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Counts {
    /// Holders that made room for others.
    pub made_room: u64,
    /// Requests that found no room.
    pub refused: u64,
}

/// When the last line was logged, what was counted then, and whom it was about last.
#[derive(Clone, Copy, Default)]
struct Lines {
    last: Option<Instant>,
    then: Counts,
    source: Option<Source>,
}

/// A share of a budget; given back when dropped.
pub struct Permit {
    budget: Rc<Budget>,
    id: HolderId,
    source: Source,
}

/// A share of one that never makes room, so that nobody has to find who holds it: it is counted and has no number.
/// Thousands are restored while nobody is served. Given back when dropped.
pub struct LastingPermit {
    budget: Rc<Budget>,
    source: Source,
}

impl Budget {
    /// A budget of `total`, of which a source may hold `share(source, total)`.
    pub fn new(name: &'static str, total: usize, share: fn(Source, usize) -> usize) -> Rc<Self> {
        Rc::new(Self {
            name,
            ledger: RefCell::new(Ledger::new(total, share)),
            holders: RefCell::default(),
            next: Cell::new(0),
            counts: Cell::default(),
            lines: Cell::default(),
        })
    }

    /// A permit for one, the first of its source to make room until others that came later; `None` where there is no
    /// room and nobody can make it.
    pub fn enter(self: &Rc<Self>, source: Source, holder: Weak<dyn MakeRoom>) -> Option<Permit> {
        self.find_room(source, 1, None).then(|| {
            let permit = self.permit(source, holder);
            permit.may_leave();
            permit
        })
    }

    /// A permit for one that keeps it; `None` where there is no room.
    pub fn enter_and_stay(self: &Rc<Self>, source: Source) -> Option<LastingPermit> {
        self.find_room(source, 1, None).then(|| self.restore_and_stay(source))
    }

    /// A permit for one that is here already. It has others make room, and is here even if nobody can.
    pub fn restore(self: &Rc<Self>, source: Source, holder: Weak<dyn MakeRoom>) -> Permit {
        self.find_room(source, 1, None);
        let permit = self.permit(source, holder);
        permit.may_leave();
        permit
    }

    /// Permit of a restored holder that never makes room.
    pub fn restore_and_stay(self: &Rc<Self>, source: Source) -> LastingPermit {
        self.ledger.borrow_mut().keep(source, 1);
        LastingPermit { budget: self.clone(), source }
    }

    /// A permit for an amount that changes, nothing yet.
    pub fn open(self: &Rc<Self>, source: Source, holder: Weak<dyn MakeRoom>) -> Permit {
        self.permit(source, holder)
    }

    fn permit(self: &Rc<Self>, source: Source, holder: Weak<dyn MakeRoom>) -> Permit {
        let id = self.next.get();
        self.next.set(id + 1);
        self.holders.borrow_mut().insert(id, holder);
        Permit { budget: self.clone(), id, source }
    }

    /// Finds room for `more`, where need be by having others make it; false if there is none, or if it is `own` that
    /// would have to.
    fn find_room(&self, source: Source, more: usize, own: Option<HolderId>) -> bool {
        loop {
            let verdict = self.ledger.borrow().ask(source, more);
            match verdict {
                Verdict::Room => return true,
                Verdict::MakeRoom(id) if own != Some(id) => {
                    self.ledger.borrow_mut().remove(id);
                    let holder = self.holders.borrow_mut().remove(&id);
                    if let Some(holder) = holder.and_then(|holder| holder.upgrade()) {
                        holder.make_room();
                    }
                    self.count(source, |counts| counts.made_room += 1);
                }
                Verdict::MakeRoom(_) | Verdict::Full => {
                    self.count(source, |counts| counts.refused += 1);
                    return false;
                }
            }
        }
    }

    fn count(&self, source: Source, count: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        count(&mut counts);
        self.counts.set(counts);
        self.lines.set(Lines { source: Some(source), ..self.lines.get() });
        self.report();
    }

    /// Logs what was counted, at most one line a minute.
    pub fn report(&self) {
        let (counts, lines) = (self.counts.get(), self.lines.get());
        let Some(source) = lines.source.filter(|_| counts != lines.then) else { return };
        if lines.last.is_some_and(|last| last.elapsed() < LINE_EVERY) {
            return;
        }
        self.lines.set(Lines { last: Some(Instant::now()), then: counts, ..lines });
        let made_room = counts.made_room - lines.then.made_room;
        let refused = counts.refused - lines.then.refused;
        let (used, total, here) = (self.used(), self.total(), self.ledger.borrow().used_by(source));
        log::warn!(
            "{} are at their limit ({used} of {total}): {made_room} made room and {refused} were refused, the last \
             for {source}, which has {here}",
            self.name
        );
    }

    /// Changes the total. Whoever is in stays, also beyond it.
    pub fn set_total(&self, total: usize) {
        self.ledger.borrow_mut().set_total(total);
    }

    /// The counts since the start.
    pub fn counts(&self) -> Counts {
        self.counts.get()
    }

    /// The amount that all hold.
    pub fn used(&self) -> usize {
        self.ledger.borrow().used()
    }

    /// The most that all may hold.
    pub fn total(&self) -> usize {
        self.ledger.borrow().total()
    }

    /// The most that a source may hold.
    pub fn share_of(&self, source: Source) -> usize {
        self.ledger.borrow().share_of(source)
    }

    /// The amount that a source holds.
    pub fn used_by(&self, source: Source) -> usize {
        self.ledger.borrow().used_by(source)
    }
}

impl Permit {
    /// Keeps the permit from making room, while what it is for is worked on.
    pub fn stay(&self) {
        self.budget.ledger.borrow_mut().set(self.id, self.source, 1, None);
    }

    /// Lets it make room again.
    pub fn may_leave(&self) {
        self.budget.ledger.borrow_mut().set(self.id, self.source, 1, Some(self.id));
    }

    /// Grows from `now` to `then`; the largest of a source makes room first. False if there is no room, or if it is
    /// this one that would have to make it.
    #[must_use]
    pub fn resize(&self, now: usize, then: usize) -> bool {
        if then > now && !self.budget.find_room(self.source, then - now, Some(self.id)) {
            return false;
        }
        let rank = Some(u64::MAX - then as u64).filter(|_| then > 0);
        self.budget.ledger.borrow_mut().set(self.id, self.source, then, rank);
        true
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.ledger.borrow_mut().remove(self.id);
        self.budget.holders.borrow_mut().remove(&self.id);
    }
}

impl Drop for LastingPermit {
    fn drop(&mut self) {
        self.budget.ledger.borrow_mut().give_back(self.source, 1);
    }
}
