//! Room on the disk of the store, as `health` and `/readyz` ask for it.
//!
//! File systems of a local disk answer from memory. Others (of a network, of a program) may say nothing for as long as
//! they like, so they are asked by a worker thread, and what they said last counts.

use crate::{host::Disk, reactor::leave_to_worker};
use std::{
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Room that a change of a small registry takes, bytes.
const LEAST: u64 = 16 << 10;
/// The time in which a disk that works has answered.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is known of the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// There is room for a change.
    Room,
    /// There is none.
    None,
    /// It was asked so long ago, and has not answered.
    Silence(Duration),
}

/// Room on the disk of an open file.
pub(super) struct Room {
    local: bool,
    last: Arc<Mutex<Last>>,
}

/// The last answer.
struct Last {
    full: bool,
    /// Since when the next one is waited for.
    asked: Option<Instant>,
}

impl Room {
    /// Asks for the first time, and waits for the answer.
    pub fn of(lock: Option<&OwnedFd>) -> Self {
        let local = lock.and_then(|lock| rustix::fs::fstatfs(lock).ok()).map(|fs| is_local(fs.f_type as u64));
        let full = lock.is_some_and(is_full);
        Self { local: local.unwrap_or(true), last: Arc::new(Mutex::new(Last { full, asked: None })) }
    }

    /// Tells what is known now of the disk of `lock`, on which a change has waited for `waits`.
    pub fn find(&self, lock: Option<Arc<OwnedFd>>, waits: Option<Duration>) -> Found {
        let Some(lock) = lock else { return Found::Room };
        if self.local {
            return found(is_full(&lock), None, waits);
        }
        let mut last = locked(&self.last);
        let asked = last.asked.map(|at| at.elapsed());
        if asked.is_none() {
            last.asked = Some(Instant::now());
            let shared = self.last.clone();
            let ask = move || {
                let full = is_full(&lock);
                *locked(&shared) = Last { full, asked: None };
            };
            leave_to_worker(ask);
        }
        found(last.full, asked, waits)
    }
}

fn locked(last: &Mutex<Last>) -> MutexGuard<'_, Last> {
    last.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_full(lock: &OwnedFd) -> bool {
    Disk::of_file(lock).is_some_and(|disk| disk.no_inodes || disk.free < LEAST)
}

/// Judges a disk that was `full` when it last answered, was asked again `asked` ago, and keeps a change waiting for
/// `waits`.
fn found(full: bool, asked: Option<Duration>, waits: Option<Duration>) -> Found {
    match asked.max(waits) {
        Some(time) if time >= PATIENCE => Found::Silence(time),
        _ if full => Found::None,
        _ => Found::Room,
    }
}

/// Whether a file system of this type (statfs(2)) says from memory what is free.
fn is_local(f_type: u64) -> bool {
    const LOCAL: [u64; 12] = [
        0xef53,      // ext2, ext3, ext4
        0x5846_5342, // xfs
        0x9123_683e, // btrfs
        0xf2f5_2010, // f2fs
        0x0102_1994, // tmpfs
        0x8584_58f6, // ramfs
        0x794c_7630, // overlay
        0x4d44,      // fat
        0x2011_bab0, // exfat
        0x2405_1905, // ubifs
        0x72b6,      // jffs2
        0x2fc1_2fc1, // zfs
    ];
    LOCAL.contains(&(f_type & 0xffff_ffff))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_disk_is_found_to_be() {
        let ago = |seconds| Some(Duration::from_secs(seconds));
        let rows = [
            (false, None, None, Found::Room),
            (true, None, None, Found::None),
            (false, ago(4), ago(1), Found::Room),
            (true, ago(4), None, Found::None),
            (true, ago(5), None, Found::Silence(PATIENCE)),
            (false, None, ago(9), Found::Silence(Duration::from_secs(9))),
            (false, ago(9), ago(5), Found::Silence(Duration::from_secs(9))),
        ];
        for (full, asked, waits, expected) in rows {
            assert_eq!(found(full, asked, waits), expected, "{full} {asked:?} {waits:?}");
        }
    }

    #[test]
    fn file_systems_of_a_network_or_a_program_are_not_local() {
        let others = [("nfs", 0x6969), ("cifs", 0xff53_4d42), ("fuse", 0x6573_5546), ("9p", 0x0102_1997)];
        for (name, f_type) in others {
            assert!(!is_local(f_type), "{name}");
        }
        assert!(is_local(0xef53));
    }
}
