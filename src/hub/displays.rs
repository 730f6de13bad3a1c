//! What clients say of themselves, once for all that say the same: of thousands of clients most are of a few kinds.

use crate::store::Display;
use std::{
    cell::RefCell,
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    rc::{Rc, Weak},
};

/// Numbers of entries below which nobody looks for those that are of no more use.
const FEW: usize = 64;

thread_local! {
    static DISPLAYS: RefCell<Displays> = RefCell::default();
}

#[derive(Default)]
struct Displays {
    by_hash: HashMap<u64, Weak<Display>>,
    /// The one that was asked for last: a client that comes back, or the next of its kind, finds it.
    last: Option<Rc<Display>>,
    hasher: RandomState,
    /// Entries that were left when it was tidied last.
    left: usize,
}

/// The display data of these fields, which are in the order of [`Display::fields`]: that of a client that is here, if
/// one says the same, so that nothing is copied for the next one.
pub fn shared(fields: &[Option<&str>; 8]) -> Rc<Display> {
    DISPLAYS.with_borrow_mut(|displays| {
        if let Some(last) = displays.last.as_ref().filter(|last| last.fields() == *fields) {
            return last.clone();
        }
        let hash = displays.hasher.hash_one(fields);
        let found = displays.by_hash.get(&hash).and_then(Weak::upgrade);
        // Of two that have one hash by chance, one is shared.
        if let Some(found) = found.filter(|found| found.fields() == *fields) {
            displays.last = Some(found.clone());
            return found;
        }
        let new = Rc::new(Display::of(fields));
        if displays.by_hash.len() >= FEW.max(2 * displays.left) {
            displays.by_hash.retain(|_, display| display.strong_count() > 0);
            displays.left = displays.by_hash.len();
            displays.by_hash.shrink_to(2 * displays.left);
        }
        displays.by_hash.insert(hash, Rc::downgrade(&new));
        displays.last = Some(new.clone());
        new
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_kept_once_and_goes_with_the_last() {
        fn fields(name: &str) -> [Option<&str>; 8] {
            [Some(name), None, Some("Mac"), None, Some("1"), Some("cli"), None, Some("::1")]
        }
        let (one, same, other) = (shared(&fields("a")), shared(&fields("a")), shared(&fields("b")));
        assert!(Rc::ptr_eq(&one, &same) && !Rc::ptr_eq(&one, &other) && other.name.as_deref() == Some("b"));
        assert_eq!(one.fields(), fields("a"));
        let many: Vec<_> = (0..200).map(|n| shared(&fields(&n.to_string()))).collect();
        assert!(Rc::ptr_eq(&one, &shared(&fields("a"))));
        drop(many);
        (0..1000).for_each(|n| drop(shared(&fields(&n.to_string()))));
        DISPLAYS.with_borrow(|displays| assert!(displays.by_hash.len() <= 404, "{}", displays.by_hash.len()));
    }
}
