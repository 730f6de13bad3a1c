//! Has the allocator give large blocks back to the system.
//!
//! glibc raises the size from which a block is one of its own (`M_MMAP_THRESHOLD`) whenever such a block is freed, up to
//! 32 MiB: after one large message all later ones would be kept in the heap. With the size fixed, a block that is freed
//! is gone.

#![allow(unsafe_code)]

/// A block from this size on is one of its own, bytes.
#[cfg(target_env = "gnu")]
const LARGE: i32 = 256 << 10;

/// Fixes the size from which a block is one of its own. Other allocators than glibc's do so by themselves.
pub(crate) fn return_large_blocks() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets two numbers of the allocator, under its own lock; it fails without effect.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 4 * LARGE);
    }
}
