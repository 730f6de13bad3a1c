//! Notices that a file of the configuration may have changed.
//!
//! Editors replace files, tools write into them, links are turned to other folders, and a file that is
//! mounted into a container changes without its folder's knowledge. So `inotify` looks at the folder of
//! every name on the way to a file, and at the file itself (inotify(7)). Only names of the configuration
//! count; a folder full of other things costs one watch. Where the system has no watch left to give, the
//! files are looked at every other second, until it has.
//!
//! Each of these calls waits for the disk that a name is on, so all of them are made on a worker thread.

use crate::{
    reactor::on_worker,
    reactor::{Async, Timer},
};
use rustix::{
    fd::OwnedFd,
    fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags},
    io::Errno,
};
use smol::future;
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    ffi::{OsStr, OsString},
    future::poll_fn,
    io,
    mem::MaybeUninit,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Interval of looking at files where they cannot be watched.
const LOOK: Duration = Duration::from_secs(2);
/// Looks until watching is tried again.
const TRY_AGAIN: u32 = 30;
/// Most links on the way to a file (`ELOOP` of path_resolution(7)).
const LINKS: usize = 40;

/// Watches a set of files.
pub struct Watch {
    files: Vec<PathBuf>,
    notify: Option<Notify>,
    /// Whether it was logged that the files cannot be watched.
    warned: bool,
    seen: Seen,
}

struct Notify {
    fd: Async<Arc<OwnedFd>>,
    watches: Watches,
}

/// The names that count, by the folder's watch; none for a file's own.
type Watches = HashMap<i32, BTreeSet<OsString>>;

/// Stamp that changes with a file: device, inode, size, and time of the last change.
type Stamp = Option<(u64, u64, u64, i64, i64)>;
type Seen = HashMap<PathBuf, Stamp>;

impl Watch {
    /// Makes a watcher that follows no file yet.
    pub fn new() -> Self {
        Self { files: Vec::new(), notify: None, warned: false, seen: Seen::new() }
    }

    /// Notes how the files look, right before they are read: [`follow`](Self::follow) tells what changed
    /// since.
    pub async fn note(&mut self) {
        self.seen = look(self.files.clone()).await;
    }

    /// Watches `files` from now on, there or not. Whether they have to be read again, since one of them is
    /// new, or looks different from when it was [noted](Self::note): until now nothing reported what
    /// happened where a link leads that was turned.
    pub async fn follow(&mut self, files: &[PathBuf]) -> bool {
        self.files = files.to_vec();
        if let Err(e) = self.watch().await {
            self.notify = None;
            if !std::mem::replace(&mut self.warned, true) {
                log::warn!(
                    "the configuration's files cannot be watched ({e}): they are looked at every {} s instead; \
                     see fs.inotify.max_user_instances and max_user_watches",
                    LOOK.as_secs()
                );
            }
        }
        // After the watches are there, so that no moment is left out.
        let now = look(self.files.clone()).await;
        let before = std::mem::replace(&mut self.seen, now);
        self.seen.iter().any(|(file, stamp)| before.get(file) != Some(stamp))
    }

    /// Sets the watches. Given up midway it has changed nothing here; events of a watch that is not known do not count.
    async fn watch(&mut self) -> io::Result<()> {
        let (files, before) = (self.files.clone(), self.notify.as_ref().map(|n| n.fd.get_ref().clone()));
        let stale: Vec<i32> = self.notify.iter().flat_map(|n| n.watches.keys().copied()).collect();
        let set = on_worker(move || {
            let fd = match before {
                Some(fd) => fd,
                None => Arc::new(inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?),
            };
            let watches = add_watches(&fd, &files)?;
            for stale in stale.iter().filter(|watch| !watches.contains_key(watch)) {
                // Gone by itself when what it watched is gone.
                let _ = inotify::remove_watch(&*fd, *stale);
            }
            Ok::<_, io::Error>((fd, watches))
        });
        let (fd, watches) = set.await?;
        match &mut self.notify {
            Some(notify) => notify.watches = watches,
            None => self.notify = Some(Notify { fd: Async::nonblocking(fd)?, watches }),
        }
        Ok(())
    }

    /// Done when a file may have changed since the last time.
    pub async fn changed(&mut self) {
        let mut looks = 0;
        loop {
            if let Some(notify) = &self.notify {
                match notify.event().await {
                    Ok(()) => return,
                    Err(e) => {
                        log::warn!("the configuration's files are not watched any more: {e}");
                        self.notify = None;
                    }
                }
            }
            Timer::after(LOOK).await;
            let now = look(self.files.clone()).await;
            if std::mem::replace(&mut self.seen, now.clone()) != now {
                return;
            }
            looks += 1;
            if looks % TRY_AGAIN == 0 && self.watch().await.is_ok() {
                log::info!("the configuration's files are watched again");
                self.warned = false;
            }
        }
    }

    /// Done when nothing has changed for `quiet`, or after `most`.
    pub async fn settled(&mut self, quiet: Duration, most: Duration) {
        let more = async {
            loop {
                let again = async {
                    self.changed().await;
                    true
                };
                let still = async {
                    Timer::after(quiet).await;
                    false
                };
                if !future::or(again, still).await {
                    break;
                }
            }
        };
        let late = async {
            Timer::after(most).await;
        };
        future::or(more, late).await;
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self::new()
    }
}

impl Notify {
    /// Waits for an event that counts, and takes all that came with it.
    async fn event(&self) -> io::Result<()> {
        poll_fn(|cx| {
            self.fd.poll_with(cx, |fd| {
                let mut buffer = [MaybeUninit::uninit(); 4096];
                let mut events = Reader::new(fd, &mut buffer);
                let mut counts = false;
                loop {
                    match events.next() {
                        Ok(event) => {
                            let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
                            let lost = event.events().contains(ReadFlags::QUEUE_OVERFLOW);
                            let watch = self.watches.get(&event.wd());
                            // A watch that was taken away still says that it was.
                            let known = watch.is_some_and(|names| name.is_none_or(|n| names.contains(n)));
                            counts |= lost || known && !event.events().contains(ReadFlags::IGNORED);
                        }
                        Err(Errno::WOULDBLOCK) if counts => return Ok(()),
                        Err(e) => return Err(e.into()),
                    }
                }
            })
        })
        .await
    }
}

/// Watches the way to each of `files`. Waits for their disks: not for the main thread.
fn add_watches(fd: &OwnedFd, files: &[PathBuf]) -> io::Result<Watches> {
    let mut watches = Watches::new();
    let folder = WatchFlags::CREATE
        | WatchFlags::CLOSE_WRITE
        | WatchFlags::MOVED_TO
        | WatchFlags::MOVED_FROM
        | WatchFlags::DELETE
        | WatchFlags::ATTRIB
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF
        | WatchFlags::ONLYDIR;
    let file = WatchFlags::CLOSE_WRITE | WatchFlags::ATTRIB | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
    let add = |path: &Path, flags| match inotify::add_watch(fd, path, flags) {
        Ok(watch) => Ok(Some(watch)),
        // Gone again, or not for us to see: the folder above tells when that changes.
        Err(Errno::NOENT | Errno::ACCESS | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(e) => Err(io::Error::from(e)),
    };
    for path in files {
        let (places, end) = way_to(path);
        for (dir, name) in places {
            if let Some(watch) = add(&dir, folder)? {
                watches.entry(watch).or_default().insert(name);
            }
        }
        if let Some(end) = end
            && let Some(watch) = add(&end, file)?
        {
            watches.entry(watch).or_default();
        }
    }
    Ok(watches)
}

/// The folders and names on which it depends what `path` leads to, and what it leads to if that is there.
fn way_to(path: &Path) -> (Vec<(PathBuf, OsString)>, Option<PathBuf>) {
    let names = |path: &Path| -> VecDeque<OsString> {
        let steps = path.components().filter(|c| matches!(c, Component::Normal(_) | Component::ParentDir));
        steps.map(|c| c.as_os_str().to_owned()).collect()
    };
    let (mut places, mut at, mut rest, mut links) = (Vec::new(), PathBuf::from("/"), names(path), 0);
    while let Some(name) = rest.pop_front() {
        if name == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&name);
        let found = std::fs::symlink_metadata(&next).ok();
        let link = found.as_ref().is_some_and(|meta| meta.is_symlink());
        if link || found.is_none() || rest.is_empty() {
            places.push((at.clone(), name));
        }
        match found {
            None => return (places, None),
            Some(_) if link => {
                links += 1;
                let Some(target) = std::fs::read_link(&next).ok().filter(|_| links <= LINKS) else {
                    return (places, None);
                };
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                let mut steps = names(&target);
                steps.append(&mut rest);
                rest = steps;
            }
            Some(_) => at = next,
        }
    }
    (places, Some(at))
}

async fn look(files: Vec<PathBuf>) -> Seen {
    on_worker(move || {
        let stamp = |path: &PathBuf| {
            let meta = std::fs::metadata(path).ok()?;
            Some((meta.dev(), meta.ino(), meta.size(), meta.ctime(), meta.ctime_nsec()))
        };
        files.into_iter().map(|path| (path.clone(), stamp(&path))).collect()
    })
    .await
}
