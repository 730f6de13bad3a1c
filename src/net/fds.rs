//! State inherited from the process before: descriptors, environment variables, blocked signals.
//!
//! The only file with `unsafe` in it. A descriptor that lived through `exec` is one without `CLOEXEC`, and
//! everything that this program opens has the flag from the start: so the flag tells what was inherited and
//! not yet taken over, and setting it is the taking over. No number is ever owned twice.

#![allow(unsafe_code)]

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

/// Takes over the inherited descriptor `fd`.
///
/// # Errors
/// When there is none of that number, or it is not an inherited one.
pub fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    if fd <= 2 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a standard stream is nobody's to take"));
    }
    // SAFETY: borrowed for two calls, which report a number that is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    if fcntl_getfd(borrowed)?.contains(FdFlags::CLOEXEC) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not an inherited descriptor"));
    }
    fcntl_setfd(borrowed, FdFlags::CLOEXEC)?;
    // SAFETY: it is open, and without the flag it had no owner in this process; now it has one.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Closes every inherited descriptor that was not taken over.
pub fn close_rest() {
    // Of a process that is not dumpable the directory is root's: then every number is tried that may be open.
    const MOST: RawFd = 1 << 16;
    let numbers: Vec<RawFd> = match std::fs::read_dir("/proc/self/fd") {
        Ok(open) => open.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok()).collect(),
        Err(_) => (3..MOST).collect(),
    };
    numbers.into_iter().for_each(|fd| drop(adopt(fd)));
}

/// Keeps `fd` open over the next `exec`: clears its close-on-exec flag.
///
/// # Errors
/// The system's.
pub fn clear_cloexec(fd: impl AsFd) -> io::Result<()> {
    Ok(fcntl_setfd(fd, FdFlags::empty())?)
}

/// Marks `fd` close-on-exec again.
pub fn set_cloexec(fd: impl AsFd) {
    let _ = fcntl_setfd(fd, FdFlags::CLOEXEC);
}

/// Takes the variable `name` out of the environment, so that no child of this process finds it.
pub fn take_variable(name: &str) -> Option<String> {
    let value = std::env::var(name).ok()?;
    // Another thread might be reading the environment; with only one there is none.
    if std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1) {
        // SAFETY: this is the only thread.
        unsafe { std::env::remove_var(name) };
    }
    Some(value)
}

/// Holds back (or lets come) `signals` for this thread; what comes meanwhile is kept, and a mask lives
/// through `exec`.
pub fn hold_signals(signals: &[i32], hold: bool) {
    let how = if hold { libc::SIG_BLOCK } else { libc::SIG_UNBLOCK };
    // SAFETY: the set is made by sigemptyset before anything reads it, and outlives the calls.
    unsafe {
        let mut set = std::mem::MaybeUninit::uninit();
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        libc::pthread_sigmask(how, set.as_ptr(), std::ptr::null_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::{AsRawFd, IntoRawFd};

    #[test]
    fn only_what_was_inherited_and_only_once() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let fd = file.as_raw_fd();
        assert!(adopt(fd).is_err(), "opened here");
        clear_cloexec(&file).unwrap();
        assert_eq!(file.into_raw_fd(), fd);
        let taken = adopt(fd).unwrap();
        assert!(adopt(fd).is_err(), "taken already");
        drop(taken);
        assert!(adopt(fd).is_err() && adopt(2).is_err() && adopt(9999).is_err());
    }
}
