//! Opening the store: lock, key, file, and notices for the operator.
//!
//! Only a file that is not there means "no devices yet". What cannot be read is never taken for empty
//! and never written over; a damaged file is put aside and the one before it is used.

use super::{
    Key, atomic,
    codec::{self, Damage},
    key::Stored,
    lock::{self, LockError},
    registry::Registry,
};
use rustix::fs::Access;
use std::{
    fmt, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

/// Notice for the operator about an opened store.
#[derive(Debug)]
pub enum Notice {
    /// The newest file was damaged, and the one before it is used.
    Previous(PathBuf, String),
    /// The directory cannot be written.
    ReadOnly(String),
    /// The directory will not outlive a reboot.
    Volatile(PathBuf, &'static str),
    /// The key was gone while there are devices.
    KeyLost(PathBuf),
    /// The key's file held no key, why, and where it is kept now.
    KeyDamaged(PathBuf, String, Option<PathBuf>),
    /// There is no key and none can be kept.
    KeyPassing(PathBuf),
    /// A link was in the place of the lock.
    LockWasLink(PathBuf),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Previous(path, why) => write!(
                f,
                "{}: {why}; continuing with the state before the last change. What that change was (a pairing, \
                 a rotation, a revocation) is lost: check with barnacle devices list",
                path.display()
            ),
            Self::ReadOnly(why) => write!(f, "{why}: paired devices are served, new pairings are refused"),
            Self::Volatile(path, kind) => {
                write!(f, "{} is on {kind}: pairings will not survive a reboot", path.display())
            }
            Self::KeyLost(path) => write!(
                f,
                "{} was gone: a new one was made. Devices are let in by their own key and handed new tokens",
                path.display()
            ),
            Self::KeyDamaged(path, why, aside) => {
                write!(f, "{} {why}: no key. A new one was made", path.display())?;
                if let Some(aside) = aside {
                    write!(f, ", and what was there is {}", aside.display())?;
                }
                f.write_str(". Devices are let in by their own key and handed new tokens")
            }
            Self::LockWasLink(path) => write!(
                f,
                "{} was a link, and was removed: no link is followed in the state directory. Who put it there may \
                 write to the directory: ls -ld {}",
                path.display(),
                path.parent().unwrap_or(path).display()
            ),
            Self::KeyPassing(path) => write!(
                f,
                "{} cannot be written: until it can, device tokens end when the gateway stops",
                path.display()
            ),
        }
    }
}

/// Why the store cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has it; its pid, if that could be read.
    Locked(PathBuf, Option<u32>),
    /// The file exists and cannot be read.
    Unreadable(PathBuf, String),
    /// Neither the file nor the one before it is whole.
    Damaged(PathBuf, Damage),
    /// The file was written by a newer version.
    Newer(PathBuf, Damage),
    /// The credential that systemd passes is not a key, and why not.
    KeyDamaged(PathBuf, String),
    /// The system refuses something else.
    Io(PathBuf, io::Error),
}

impl OpenError {
    pub(super) fn unreadable(path: &Path, e: io::Error) -> Self {
        let uid = rustix::process::geteuid().as_raw();
        let owner = std::os::unix::fs::MetadataExt::uid;
        let dir = path.parent().unwrap_or(path);
        let of = std::fs::metadata(path).or_else(|_| std::fs::metadata(dir));
        let of = of.map(|m| format!(", the owner uid {}", owner(&m))).unwrap_or_default();
        let fix = match e.kind() {
            io::ErrorKind::PermissionDenied => format!(". To fix it: sudo chown -R {uid} {}", dir.display()),
            _ => String::new(),
        };
        Self::Unreadable(
            path.into(),
            format!("{e} (this process is uid {uid}{of}). Nothing was changed{fix}"),
        )
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked(dir, pid) => {
                let who = pid.map_or_else(|| "another process".into(), |pid| format!("process {pid}"));
                write!(
                    f,
                    "a gateway already runs on {} ({who}). Stop it, or give this one another state \
                     directory: OPENCLAW_STATE_DIR=<dir> barnacle gateway",
                    dir.display()
                )
            }
            Self::Unreadable(path, why) => write!(f, "{} cannot be read: {why}", path.display()),
            Self::Damaged(path, damage) => write!(
                f,
                "{}: {damage}, and there is no good one beside it. Nothing was changed. Restore tokens.bin from \
                 a backup, or begin without devices: mkdir -p {1}/damaged && mv {1}/tokens.bin* {1}/damaged/",
                path.display(),
                path.parent().unwrap_or(path).display()
            ),
            Self::Newer(path, damage) => write!(
                f,
                "{}: {damage}. Nothing was changed. Install the version of Barnacle that wrote it",
                path.display()
            ),
            Self::KeyDamaged(path, why) => write!(
                f,
                "{} {why}: no key. Nothing was changed. Have LoadCredential=barnacle-key: name a file of 32 random \
                 bytes (head -c 32 /dev/urandom), or remove that line from the unit",
                path.display()
            ),
            Self::Io(path, e) => write!(f, "{}: {e}", path.display()),
        }
    }
}

impl std::error::Error for OpenError {}

/// Content of the store's directory.
pub(super) struct Opened {
    pub lock: Option<OwnedFd>,
    pub key: Key,
    /// Whether the key is on disk.
    pub key_kept: bool,
    pub registry: Registry,
    pub counter: u64,
    /// Whether the newest file is the one that `registry` is from.
    pub intact: bool,
    pub read_only: Option<String>,
    pub notices: Vec<Notice>,
}

/// Whether what is there can be read.
pub(super) fn check(dir: &Path) -> Result<(), OpenError> {
    load(&dir.join("tokens.bin"))?;
    Key::stored(dir).map(drop)
}

/// `lock` is one that this process holds already.
pub(super) fn open(dir: &Path, lock: Option<OwnedFd>) -> Result<Opened, OpenError> {
    let mut notices = Vec::new();
    let mut read_only = make_directory(dir).err().map(|e| cannot_write(dir, &e));
    let held = lock.filter(|fd| lock::is_lock_of(fd, dir));
    let went_on = held.is_some();
    if dir.join("lock").is_symlink() {
        notices.push(Notice::LockWasLink(dir.join("lock")));
    }
    let lock = match held.map_or_else(|| lock::take(dir), Ok) {
        Ok(lock) => Some(lock),
        Err(LockError::By(pid)) => return Err(OpenError::Locked(dir.into(), pid)),
        Err(LockError::Io(e)) => {
            read_only.get_or_insert_with(|| cannot_write(dir, &e));
            None
        }
    };
    if read_only.is_none() {
        // Asked, not tried: a start must not cost the card a write.
        match rustix::fs::access(dir, Access::WRITE_OK | Access::EXEC_OK) {
            Ok(()) => remove_leftovers(dir),
            Err(e) => read_only = Some(cannot_write(dir, &e.into())),
        }
    }
    if let Some(kind) = volatile(dir) {
        notices.push(Notice::Volatile(dir.into(), kind));
    }
    let path = dir.join("tokens.bin");
    let (registry, counter, notice) = load(&path)?;
    let intact = notice.is_none();
    if intact && counter == 0 && !went_on {
        sync_ancestors(dir);
    }
    notices.extend(notice);
    notices.extend(read_only.clone().map(Notice::ReadOnly));
    let has_devices = registry.devices().len() > 0;
    let (key, key_kept) = Key::load_or_create(dir, lock.is_some(), has_devices, &mut notices)?;
    Ok(Opened { lock, key, key_kept, registry, counter, intact, read_only, notices })
}

/// Makes the directory anew, which was taken away, and has it locked for the gateway at `url`.
pub(super) fn lock_again(dir: &Path, url: &str) -> io::Result<OwnedFd> {
    make_directory(dir)?;
    let lock = lock::take(dir).map_err(|held| match held {
        LockError::Io(e) => e,
        LockError::By(pid) => {
            let pid = pid.map_or_else(|| "another process".into(), |pid| format!("process {pid}"));
            io::Error::other(format!("it was made anew, and {pid} has it now"))
        }
    })?;
    lock::tell(&lock, url);
    sync_ancestors(dir);
    log::warn!("{} was gone, and is written again", dir.display());
    Ok(lock)
}

/// Describes a directory that refuses a write, with the command that fixes it.
pub(super) fn cannot_write(dir: &Path, e: &io::Error) -> String {
    let uid = rustix::process::geteuid().as_raw();
    // The folder that is there and lacks the right, not one that is yet to be made.
    let there = dir.ancestors().find(|d| d.exists()).unwrap_or(dir);
    if there != dir && e.kind() == io::ErrorKind::PermissionDenied {
        let (dir, there) = (dir.display(), there.display());
        return format!(
            "{dir} cannot be made: uid {uid} may not write to {there}; name a directory that it may write to: \
             OPENCLAW_STATE_DIR=<directory>, or make this one: sudo install -d -o {uid} -m 700 {dir}"
        );
    }
    let dir = dir.display();
    let fix = match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("; free some space there: df -h {dir}")
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            format!("; make it writable: sudo mount -o remount,rw \"$(findmnt -no TARGET -T {dir})\"")
        }
        io::ErrorKind::PermissionDenied => format!("; give it to this user: sudo chown -R {uid} {dir}"),
        _ if e.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
            "; the disk may be failing: sudo dmesg | tail".into()
        }
        _ => String::new(),
    };
    format!("{dir} cannot be written by uid {uid} ({e}){fix}")
}

fn make_directory(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    let missing = !dir.is_dir();
    if missing {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let mode = std::fs::metadata(dir)?.permissions().mode();
    if mode & 0o077 != 0 || missing {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Makes the names of the directory and of those it is in safe, before the first commit rests on them:
/// whoever made them may have been killed before it came to that. What cannot be opened is not ours.
fn sync_ancestors(dir: &Path) {
    for ancestor in dir.ancestors() {
        let _ = atomic::sync_directory(ancestor);
    }
}

/// Removes files that a crash left half written.
fn remove_leftovers(dir: &Path) {
    for name in ["tokens.bin.tmp", "tokens.bin.prev.tmp", "key.tmp"] {
        let _ = std::fs::remove_file(dir.join(name));
    }
}

/// Reads the store in `dir` as a gateway would find it, and changes nothing: not for one that runs there, nor
/// for one that may.
///
/// # Errors
/// [`OpenError`].
pub fn inspect(dir: &Path) -> Result<(Registry, Vec<Notice>), OpenError> {
    let (registry, _, damaged) = load(&dir.join("tokens.bin"))?;
    let mut notices: Vec<_> = damaged.into_iter().collect();
    if dir.is_dir() {
        let writable = rustix::fs::access(dir, Access::WRITE_OK | Access::EXEC_OK);
        notices.extend(writable.err().map(|e| Notice::ReadOnly(cannot_write(dir, &e.into()))));
        match Key::stored(dir)? {
            Stored::Missing if registry.devices().len() > 0 => {
                notices.push(Notice::KeyLost(dir.join("key")));
            }
            Stored::Damaged(why) => notices.push(Notice::KeyDamaged(dir.join("key"), why, None)),
            _ => {}
        }
    }
    // Where the directory is yet to be made, it is what it will be made in that tells.
    let there = dir.ancestors().find(|d| d.exists()).unwrap_or(dir);
    notices.extend(volatile(there).map(|kind| Notice::Volatile(dir.into(), kind)));
    Ok((registry, notices))
}

/// File systems that forget: statfs(2).
fn volatile(dir: &Path) -> Option<&'static str> {
    const TMPFS: i64 = 0x0102_1994;
    const RAMFS: i64 = 0x8584_58f6;
    const OVERLAY: i64 = 0x794c_7630;
    match rustix::fs::statfs(dir).ok()?.f_type as i64 {
        TMPFS => Some("tmpfs"),
        RAMFS => Some("ramfs"),
        OVERLAY => Some("an overlay"),
        _ => None,
    }
}

fn load(path: &Path) -> Result<(Registry, u64, Option<Notice>), OpenError> {
    let previous = atomic::beside(path, ".prev");
    let damage = match read(path)? {
        Some(Ok((registry, counter))) => return Ok((registry, counter, None)),
        Some(Err(damage @ Damage::Newer(_))) => return Err(OpenError::Newer(path.into(), damage)),
        Some(Err(damage)) => Some(damage),
        None => None,
    };
    match (read(&previous)?, damage) {
        (Some(Ok((registry, counter))), damage) => {
            let why = damage.map_or_else(|| "it is gone".into(), |d| d.to_string());
            Ok((registry, counter, Some(Notice::Previous(path.into(), why))))
        }
        (Some(Err(damage @ Damage::Newer(_))), _) => Err(OpenError::Newer(previous, damage)),
        (None, None) => Ok((Registry::default(), 0, None)),
        (_, Some(damage)) => Err(OpenError::Damaged(path.into(), damage)),
        (Some(Err(damage)), None) => Err(OpenError::Damaged(previous, damage)),
    }
}

type Read = Option<Result<(Registry, u64), Damage>>;

fn read(path: &Path) -> Result<Read, OpenError> {
    match atomic::read(path) {
        Ok(bytes) => Ok(Some(codec::decode(&bytes))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(OpenError::unreadable(path, e)),
    }
}
