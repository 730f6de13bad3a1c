//! Nonces of the connect challenge: random bytes that a device signs, used once.

use std::cell::RefCell;

const LENGTH: usize = 24;
/// Nonces that the kernel is asked for at a time.
const TOGETHER: usize = 20;

/// Nonces in stock. The kernel is not asked for each.
#[derive(Default)]
pub struct Nonces(RefCell<Vec<[u8; LENGTH]>>);

impl Nonces {
    /// Returns a nonce that was never issued before.
    ///
    /// # Errors
    /// When the kernel has no randomness to give.
    pub fn next(&self) -> Result<[u8; LENGTH], getrandom::Error> {
        let mut stock = self.0.borrow_mut();
        if let Some(nonce) = stock.pop() {
            return Ok(nonce);
        }
        let mut fresh = [[0; LENGTH]; TOGETHER];
        getrandom::fill(fresh.as_flattened_mut())?;
        let [first, rest @ ..] = fresh;
        stock.extend(rest);
        Ok(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_nonce_comes_twice() {
        let nonces = Nonces::default();
        let mut all: Vec<_> = (0..TOGETHER * 3).map_while(|_| nonces.next().ok()).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), TOGETHER * 3);
    }
}
