//! The accounts of one budget: how much each source holds, and which holder makes room when too much is asked for.

use super::Source;
use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
};

/// The number of a holder.
pub type HolderId = u64;

/// Outcome of a request for more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Granted without making room.
    Room,
    /// There is room once this holder has given up what it holds.
    MakeRoom(HolderId),
    /// There is no room, and no holder can be made to give up what it holds.
    Full,
}

/// A total, a share of each source, and the order in which holders make room.
///
/// A source that asks for more than its share makes room itself. Otherwise, where the total is reached, the source that
/// holds most does; of equal ones the one whose first holder comes first. Of a source's holders the one of the lowest
/// rank makes room.
pub struct Ledger {
    total: usize,
    share: fn(Source, usize) -> usize,
    used: usize,
    holders: HashMap<HolderId, Holder>,
    accounts: HashMap<Source, Account>,
    /// The accounts that have a holder which can make room, the one that is to do so last.
    order: BTreeSet<(usize, Reverse<Rank>, Source)>,
}

/// The rank of a holder, and its number where two have the same.
type Rank = (u64, HolderId);

#[derive(Clone, Copy)]
struct Holder {
    source: Source,
    amount: usize,
    /// `None` for one that keeps what it holds.
    rank: Option<u64>,
}

#[derive(Default)]
struct Account {
    used: usize,
    can_make_room: BTreeSet<Rank>,
}

impl Ledger {
    /// A ledger of `total`, of which a source may hold `share(source, total)`.
    pub fn new(total: usize, share: fn(Source, usize) -> usize) -> Self {
        Self {
            total,
            share,
            used: 0,
            holders: HashMap::new(),
            accounts: HashMap::new(),
            order: BTreeSet::new(),
        }
    }

    /// The amount that all hold.
    pub fn used(&self) -> usize {
        self.used
    }

    /// The most that all may hold.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Changes the total.
    pub fn set_total(&mut self, total: usize) {
        self.total = total;
    }

    /// The amount that a source holds.
    pub fn used_by(&self, source: Source) -> usize {
        self.accounts.get(&source).map_or(0, |account| account.used)
    }

    /// The most that a source may hold.
    pub fn share_of(&self, source: Source) -> usize {
        (self.share)(source, self.total)
    }

    /// Decides whether `source` may hold `more`; changes nothing.
    pub fn ask(&self, source: Source, more: usize) -> Verdict {
        let account = self.accounts.get(&source);
        if account.map_or(0, |a| a.used) + more > self.share_of(source) {
            let own = account.and_then(|a| a.can_make_room.first());
            return own.map_or(Verdict::Full, |(_, id)| Verdict::MakeRoom(*id));
        }
        if self.used + more > self.total {
            let largest = self.order.last();
            return largest.map_or(Verdict::Full, |(_, Reverse((_, id)), _)| Verdict::MakeRoom(*id));
        }
        Verdict::Room
    }

    /// Has a holder hold `amount` from now on; `rank` orders the holders of a source, the lowest makes room first and
    /// one without a rank never.
    pub fn set(&mut self, id: HolderId, source: Source, amount: usize, rank: Option<u64>) {
        self.remove(id);
        self.holders.insert(id, Holder { source, amount, rank });
        self.used += amount;
        self.change(source, |account| {
            account.used += amount;
            if let Some(rank) = rank {
                account.can_make_room.insert((rank, id));
            }
        });
    }

    /// Has `source` hold `amount` more that it never makes room with, and that belongs to no numbered holder.
    pub fn keep(&mut self, source: Source, amount: usize) {
        self.used += amount;
        self.change(source, |account| account.used += amount);
    }

    /// Takes back what `source` was to [`keep`](Self::keep).
    pub fn give_back(&mut self, source: Source, amount: usize) {
        self.used -= amount;
        self.change(source, |account| account.used -= amount);
    }

    /// Removes a holder.
    pub fn remove(&mut self, id: HolderId) {
        let Some(Holder { source, amount, rank }) = self.holders.remove(&id) else { return };
        self.used -= amount;
        self.change(source, |account| {
            account.used -= amount;
            if let Some(rank) = rank {
                account.can_make_room.remove(&(rank, id));
            }
        });
    }

    fn change(&mut self, source: Source, change: impl FnOnce(&mut Account)) {
        let account = self.accounts.entry(source).or_default();
        if let Some(first) = account.can_make_room.first() {
            self.order.remove(&(account.used, Reverse(*first), source));
        }
        change(account);
        match account.can_make_room.first() {
            Some(first) => _ = self.order.insert((account.used, Reverse(*first), source)),
            None if account.used == 0 => _ = self.accounts.remove(&source),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Source = Source::V4([192, 0, 2, 1]);
    const B: Source = Source::V4([192, 0, 2, 2]);
    const C: Source = Source::V4([192, 0, 2, 3]);
    const HERE: Source = Source::Loopback;

    fn share(source: Source, total: usize) -> usize {
        if source == HERE { total } else { 4 }
    }

    #[test]
    fn what_makes_room() {
        use Verdict::{Full, MakeRoom, Room};
        // Total 8, a share of 4 for all but this host. Holders: (source, amount, rank), numbered from 0.
        type Row = (&'static [(Source, usize, Option<u64>)], (Source, usize), Verdict);
        let rows: &[Row] = &[
            (&[], (A, 1), Room),
            (&[], (A, 5), Full),
            (&[(A, 1, Some(0)); 3], (A, 1), Room),
            // A source that has its share makes room itself, its lowest rank first.
            (&[(A, 2, Some(7)), (A, 2, Some(3))], (A, 1), MakeRoom(1)),
            (&[(A, 2, None), (A, 2, Some(3))], (A, 1), MakeRoom(1)),
            (&[(A, 2, None), (A, 2, None)], (A, 1), Full),
            // Where all is full, the largest source does, whoever asks.
            (&[(HERE, 3, Some(5)), (HERE, 2, Some(4)), (A, 3, Some(1))], (B, 1), MakeRoom(1)),
            (&[(HERE, 3, Some(5)), (HERE, 2, Some(4)), (A, 3, Some(1))], (A, 1), MakeRoom(1)),
            (&[(HERE, 2, Some(5)), (A, 3, Some(1)), (B, 3, Some(2))], (C, 1), MakeRoom(1)),
            // Equal ones: the one whose first holder comes first, not always the same address.
            (&[(A, 4, Some(2)), (B, 4, Some(1))], (C, 1), MakeRoom(1)),
            (&[(A, 4, Some(1)), (B, 4, Some(2))], (C, 1), MakeRoom(0)),
            // One that keeps what it holds does not hide the next.
            (&[(A, 4, None), (B, 3, Some(1)), (C, 1, Some(0))], (HERE, 1), MakeRoom(1)),
            (&[(A, 4, None), (B, 4, None)], (HERE, 1), Full),
        ];
        for (n, (holders, (source, more), expected)) in rows.iter().enumerate() {
            let mut ledger = Ledger::new(8, share);
            for (id, (source, amount, rank)) in holders.iter().enumerate() {
                ledger.set(id as u64, *source, *amount, *rank);
            }
            assert_eq!(ledger.ask(*source, *more), *expected, "row {n}");
        }
    }

    #[test]
    fn what_is_given_up_is_free_again() {
        let mut ledger = Ledger::new(8, share);
        for id in 0..8 {
            ledger.set(id, HERE, 1, Some(id));
        }
        assert_eq!((ledger.used(), ledger.ask(A, 2)), (8, Verdict::MakeRoom(0)));
        ledger.remove(0);
        assert_eq!(ledger.ask(A, 2), Verdict::MakeRoom(1));
        ledger.remove(1);
        assert_eq!(ledger.ask(A, 2), Verdict::Room);
        // One that begins to be worked on keeps what it holds.
        ledger.set(2, HERE, 1, None);
        assert_eq!((ledger.used(), ledger.ask(A, 3)), (6, Verdict::MakeRoom(3)));
        // What is kept counts for its source, and makes no room.
        ledger.keep(A, 3);
        assert_eq!((ledger.used_by(A), ledger.ask(A, 2)), (3, Verdict::Full));
        ledger.give_back(A, 3);
        (0..8).for_each(|id| ledger.remove(id));
        assert!(ledger.used() == 0 && ledger.accounts.is_empty() && ledger.order.is_empty());
    }
}
