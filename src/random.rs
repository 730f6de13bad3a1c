//! Random bytes for what is used once: nonces and masks. The kernel is asked for many of them at a time.

use std::cell::RefCell;

/// Bytes that the kernel is asked for at a time.
const TOGETHER: usize = 480;

thread_local! {
    /// Bytes that nobody was given yet.
    static STOCK: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Returns `N` bytes that nobody can foresee and nobody else is given; `N` is at most 480.
///
/// # Errors
/// When the kernel has no randomness to give.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    const { assert!(N <= TOGETHER) };
    STOCK.with_borrow_mut(|stock| {
        if stock.len() < N {
            stock.resize(TOGETHER, 0);
            if let Err(e) = getrandom::fill(stock) {
                // What it wrote so far may be nothing.
                stock.clear();
                return Err(e);
            }
        }
        let at = stock.len() - N;
        let mut bytes = [0; N];
        bytes.copy_from_slice(&stock[at..]);
        stock.truncate(at);
        Ok(bytes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_bytes_come_twice() {
        let nonces: HashSet<[u8; 24]> = (0..100).map_while(|_| bytes().ok()).collect();
        assert_eq!(nonces.len(), 100);
        // Of so few masks, two are the same once in 200 000 times, and never three pairs.
        let masks: HashSet<[u8; 4]> = (0..200).map_while(|_| bytes().ok()).collect();
        assert!(masks.len() > 197, "{}", masks.len());
    }
}
