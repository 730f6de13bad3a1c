//! Masks of the frames that a client sends (RFC 6455 §5.3): random bytes, used once.

use super::frame::Mask;
use std::cell::RefCell;

/// Masks that the kernel is asked for at a time.
const TOGETHER: usize = 64;

thread_local! {
    /// Masks in stock. The kernel is not asked for each.
    static STOCK: RefCell<Vec<Mask>> = const { RefCell::new(Vec::new()) };
}

/// Returns a mask that nobody can foresee.
///
/// # Errors
/// When the kernel has no randomness to give.
pub fn next() -> Result<Mask, getrandom::Error> {
    STOCK.with_borrow_mut(|stock| {
        if let Some(mask) = stock.pop() {
            return Ok(mask);
        }
        let mut fresh = [Mask::default(); TOGETHER];
        getrandom::fill(fresh.as_flattened_mut())?;
        let [first, rest @ ..] = fresh;
        stock.extend(rest);
        Ok(first)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_differ() {
        let mut all: Vec<_> = (0..TOGETHER * 3).map_while(|_| next().ok()).collect();
        all.sort_unstable();
        all.dedup();
        // Of so few, two are the same once in 200 000 times, and never three pairs.
        assert!(all.len() > TOGETHER * 3 - 3, "{}", all.len());
    }
}
