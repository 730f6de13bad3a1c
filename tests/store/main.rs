//! The device registry on disk: commits, crashes, damaged files and full disks.

#[path = "../support/crash.rs"]
mod crash;
#[path = "../support/store_dir.rs"]
mod store_dir;

mod changes;
mod failures;
mod format;
mod full_disk;
mod power_cut;
