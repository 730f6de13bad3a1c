//! The keys that proved a paired device of late, kept prepared: their devices come back.
//!
//! Their number is bounded by the memory of the machine. Whoever comes when all places are taken pushes out nobody who
//! was here within [`STALE`], so that thousands that come back at once do not push each other out. They are let in all
//! the same, at the price of a first visit. What is kept saves work and nothing else: it is the first thing to go where
//! memory is short.

use super::prepared::PreparedKey;
use crate::{admission::limits::COMBS, host::MachineMemory, protocol::PublicKey};
use std::{
    collections::HashMap,
    rc::Rc,
    time::{Duration, Instant},
};

/// Memory from which on there may be [`COMBS`].
const ENOUGH: u64 = 256 << 20;
/// Combs, however small memory is.
const LEAST_COMBS: usize = 4;
/// Keys kept for each comb that may be: a decompressed key takes 300 bytes.
const KEYS_OF_COMB: usize = 16;
/// Time after which a key that proved nothing gives its place to another.
const STALE: Duration = Duration::from_secs(600);
/// The part of memory below which what is left of it is short.
const SHORT: u64 = 16;

/// Numbers of what may be kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Most {
    keys: usize,
    combs: usize,
}

impl Most {
    /// Those of a machine with so much memory, bytes.
    fn of(memory: u64) -> Self {
        let part = (COMBS as u64 * memory / ENOUGH).min(COMBS as u64) as usize;
        let combs = part.max(LEAST_COMBS);
        Self { keys: KEYS_OF_COMB * combs, combs }
    }
}

struct Known {
    key: Rc<PreparedKey>,
    /// When it proved its device last.
    last: Instant,
}

/// The keys that are kept.
pub struct KnownKeys {
    most: Most,
    keys: HashMap<PublicKey, Known>,
    combs: usize,
    /// Time before which none of them is stale, and none with a comb: nobody needs to look for one.
    none_stale_until: [Option<Instant>; 2],
    /// Nothing is kept while memory is short.
    short: bool,
}

impl KnownKeys {
    /// Keeps none yet, and no more than a machine of this memory has room for.
    pub fn new(memory: Option<MachineMemory>) -> Self {
        let most = Most::of(memory.map_or(0, |memory| memory.total));
        Self { most, keys: HashMap::new(), combs: 0, none_stale_until: [None; 2], short: false }
    }

    /// The prepared key, if it is kept.
    pub fn get(&self, key: &PublicKey) -> Option<Rc<PreparedKey>> {
        self.keys.get(key).map(|known| known.key.clone())
    }

    /// Whether there is anything to [tidy](Self::tidy).
    pub fn is_untidy(&self) -> bool {
        self.short || !self.keys.is_empty()
    }

    /// Notes that `key` just proved a paired device, and keeps it if there is a place; whether a comb is worth building
    /// for it now.
    pub fn proved(&mut self, key: &Rc<PreparedKey>, now: Instant) -> bool {
        if self.short {
            return false;
        }
        let id = key.public_key();
        if let Some(known) = self.keys.get_mut(&id) {
            known.last = now;
        } else {
            if self.keys.len() >= self.most.keys && !self.make_room(now, false) {
                return false;
            }
            self.keys.insert(id, Known { key: key.clone(), last: now });
        }
        let has = self.keys.get(&id).is_some_and(|known| known.key.has_comb());
        !has && (self.combs < self.most.combs || self.make_room(now, true))
    }

    /// Builds the comb of `key`, if it is still kept and there is a place for one.
    pub fn build(&mut self, key: &PublicKey) {
        if self.combs >= self.most.combs {
            return;
        }
        if let Some(known) = self.keys.get_mut(key).filter(|known| !known.key.has_comb()) {
            known.key = Rc::new(known.key.with_comb());
            self.combs += 1;
        }
    }

    /// Drops the one that is stale for longest, or of those with a comb if there is to be room for one; false if none is.
    fn make_room(&mut self, now: Instant, for_comb: bool) -> bool {
        if self.none_stale_until[usize::from(for_comb)].is_some_and(|until| now < until) {
            return false;
        }
        let among = self.keys.iter().filter(|(_, known)| !for_comb || known.key.has_comb());
        let Some((id, last)) = among.map(|(id, known)| (*id, known.last)).min_by_key(|(_, last)| *last)
        else {
            return false;
        };
        if now.saturating_duration_since(last) < STALE {
            self.none_stale_until[usize::from(for_comb)] = Some(last + STALE);
            return false;
        }
        self.remove(&id);
        true
    }

    fn remove(&mut self, id: &PublicKey) {
        if let Some(known) = self.keys.remove(id) {
            self.combs -= usize::from(known.key.has_comb());
        }
    }

    /// Drops those whose device is not paired any more, and all of them while memory is short.
    pub fn tidy(&mut self, memory: Option<MachineMemory>, is_paired: impl Fn(&PreparedKey) -> bool) {
        self.short = memory.is_some_and(|memory| memory.available < memory.total / SHORT);
        let short = self.short;
        self.keys.retain(|_, known| !short && is_paired(&known.key));
        self.keys.shrink_to_fit();
        self.combs = self.keys.values().filter(|known| known.key.has_comb()).count();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::identity::Identity;

    const MIB: u64 = 1 << 20;

    fn memory(total: u64, available: u64) -> Option<MachineMemory> {
        Some(MachineMemory { total, available })
    }

    fn key(n: usize) -> Rc<PreparedKey> {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&n.to_le_bytes());
        let key = PreparedKey::new(&Identity::from_seed(&seed).public_key());
        Rc::new(key.unwrap_or_else(|| panic!("a key")))
    }

    /// Lets it prove its device at that second, and builds its comb if it is to have one.
    fn visit(keys: &mut KnownKeys, start: Instant, n: usize, second: u64) -> bool {
        let built = keys.proved(&key(n), start + Duration::from_secs(second));
        if built {
            keys.build(&key(n).public_key());
        }
        built
    }

    fn combs(keys: &KnownKeys) -> usize {
        let combs = keys.keys.values().filter(|known| known.key.has_comb()).count();
        assert_eq!(combs, keys.combs);
        combs
    }

    #[test]
    fn fewer_where_memory_is_small() {
        let rows = [(0, 4), (16, 4), (64, 16), (128, 32), (255, 63), (256, 64), (512, 64), (1 << 20, 64)];
        for (mib, combs) in rows {
            assert_eq!(Most::of(mib * MIB), Most { keys: 16 * combs, combs }, "{mib} MiB");
        }
    }

    #[test]
    fn who_comes_later_pushes_out_nobody_who_was_here_of_late() {
        let (start, mut keys) = (Instant::now(), KnownKeys::new(memory(16 * MIB, 16 * MIB)));
        for n in 0..100 {
            assert_eq!(visit(&mut keys, start, n, 0), n < 4, "{n}");
        }
        assert_eq!((keys.keys.len(), combs(&keys)), (64, 4));
        // The first is here again, and the others were last here ten minutes ago.
        assert!(!visit(&mut keys, start, 0, 599));
        assert!(!visit(&mut keys, start, 70, 599));
        assert!(visit(&mut keys, start, 71, 600));
        assert_eq!(combs(&keys), 4);
        assert!(keys.get(&key(0).public_key()).is_some_and(|key| key.has_comb()));
        assert!(keys.get(&key(71).public_key()).is_some_and(|key| key.has_comb()));
    }

    #[test]
    fn a_comb_is_built_once_and_never_for_one_that_is_not_kept() {
        let (start, mut keys) = (Instant::now(), KnownKeys::new(memory(512 * MIB, 512 * MIB)));
        keys.build(&key(1).public_key());
        assert!(keys.keys.is_empty());
        assert!(visit(&mut keys, start, 1, 0));
        assert!(!visit(&mut keys, start, 1, 1));
        assert_eq!(combs(&keys), 1);
    }

    #[test]
    fn all_go_where_memory_is_short_and_a_removed_device_s_in_any_case() {
        let (start, mut keys) = (Instant::now(), KnownKeys::new(memory(512 * MIB, 512 * MIB)));
        (1..=3).for_each(|n| assert!(visit(&mut keys, start, n, 0)));
        let gone = key(2).device_id();
        keys.tidy(memory(512 * MIB, 32 * MIB), |key| key.device_id() != gone);
        assert_eq!((keys.keys.len(), combs(&keys)), (2, 2));
        keys.tidy(memory(512 * MIB, 31 * MIB), |_| true);
        assert!(keys.keys.is_empty());
        assert!(keys.is_untidy() && !visit(&mut keys, start, 1, 30));
        keys.tidy(memory(512 * MIB, 64 * MIB), |_| true);
        assert!(visit(&mut keys, start, 1, 60));
    }
}
