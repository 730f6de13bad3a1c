//! A transcript: a file of entries that is only ever appended to.
//!
//! The name is `<agent>/sessions/<session>.jsonl`. A last line without an end is what a crash left of an append that was
//! never acknowledged: readers pass over it, and the next append cuts it off. A damaged line elsewhere is passed over and
//! stays as it is.

pub(super) mod beside;
mod cursor;
pub(super) mod entry;
mod history;

pub use cursor::Cursor;
pub use entry::{Entry, NewEntry};
pub use history::{Page, Wanted};

use crate::{
    sessions::{SessionId, line, scan},
    store::atomic,
};
use entry::{Place, header};
use rustix::fs::{Mode, OFlags};
use std::{
    fs::File,
    io,
    ops::ControlFlow,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// Name of a session's transcript below the directory of all agents.
pub(in crate::sessions) fn path(agents: &Path, agent: &str, id: &SessionId) -> PathBuf {
    agents.join(agent).join("sessions").join(format!("{id}.jsonl"))
}

/// The end of a transcript.
#[derive(Clone, Default, Debug)]
pub struct Tail {
    /// End of the last line that counts.
    pub(in crate::sessions) end: u64,
    /// Bytes behind it.
    pub(in crate::sessions) torn: u64,
    /// Whether the last line that counts has no newline: another program wrote it.
    unended: bool,
    /// Place of the last entry.
    pub place: Place,
    /// Id of the last entry.
    pub id: Option<String>,
}

impl Tail {
    /// Bytes of the transcript.
    pub fn bytes(&self) -> u64 {
        self.end
    }
}

/// An entry that was appended.
#[derive(Clone, Debug)]
pub struct Appended {
    /// Its id.
    pub id: String,
    /// Its place.
    pub place: Place,
}

/// An open transcript.
pub struct Transcript {
    pub(in crate::sessions) file: File,
    /// Its end when it was opened, or last appended to.
    pub tail: Tail,
}

impl Transcript {
    /// Opens the transcript at `path` to read it; `None` if there is none.
    ///
    /// # Errors
    /// The system's; a link is not followed.
    pub(in crate::sessions) fn open(path: &Path) -> io::Result<Option<Self>> {
        match open(path, OFlags::RDONLY) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
            Ok(file) => Self::of(file).map(Some),
        }
    }

    /// Opens it to append to it, and begins it if there is none.
    ///
    /// # Errors
    /// The system's.
    pub(in crate::sessions) fn open_or_begin(path: &Path, id: &SessionId, now: u64) -> io::Result<Self> {
        match open(path, OFlags::RDWR) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
            Ok(file) => return Self::of(file),
        }
        path.parent().map_or(Ok(()), atomic::make_directory)?;
        let file = open(path, OFlags::RDWR | OFlags::CREATE)?;
        file.write_all_at(header(id, now).as_bytes(), 0)?;
        atomic::sync_directory(path)?;
        Self::of(file)
    }

    fn of(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let newline = scan::last_newline(&file, length)?;
        let mut tail = Tail { end: newline, torn: length - newline, ..Tail::default() };
        if (1..=line::LONGEST as u64).contains(&tail.torn) {
            let mut rest = vec![0; tail.torn as usize];
            file.read_exact_at(&mut rest, newline)?;
            // Whole but for its newline, as other programs end a file.
            if let Some(object) = line::open(&rest) {
                let entry = Entry::read(object);
                (tail.place, tail.id) = (entry.place, Some(entry.id.to_owned()).filter(|id| !id.is_empty()));
                (tail.end, tail.torn, tail.unended) = (length, 0, true);
            }
        }
        let mut transcript = Self { file, tail };
        transcript.find_place(newline)?;
        Ok(transcript)
    }

    /// Finds the place of the last entry: in its line, else by counting the entries before `newline`.
    fn find_place(&mut self, newline: u64) -> io::Result<()> {
        let Self { file, tail } = self;
        let (mut uncounted, mut last) = (u64::from(tail.unended && tail.place.seq == 0), Place::default());
        let mut shown = uncounted;
        if tail.place.seq > 0 {
            return Ok(());
        }
        scan::backward(file, newline, |_, line| {
            let Some(entry) = line::open(line).map(Entry::read) else { return ControlFlow::Continue(()) };
            if entry.kind == "session" {
                return ControlFlow::Continue(());
            }
            if tail.id.is_none() && !entry.id.is_empty() {
                tail.id = Some(entry.id.to_owned());
            }
            if entry.place.seq > 0 {
                last = entry.place;
                return ControlFlow::Break(());
            }
            uncounted += 1;
            shown += u64::from(entry.is_shown());
            ControlFlow::Continue(())
        })?;
        tail.place = Place { seq: last.seq + uncounted, shown: last.shown + shown, since: last.since };
        Ok(())
    }

    /// Appends entries; they are not on disk yet. On an error the file is as it was, as far as the disk allows.
    ///
    /// # Errors
    /// The system's.
    pub(in crate::sessions) fn append(&mut self, entries: &[NewEntry]) -> io::Result<Vec<Appended>> {
        let (mut place, mut parent) = (self.tail.place.clone(), self.tail.id.clone());
        let mut text = String::from(if self.tail.unended { "\n" } else { "" });
        let mut appended = Vec::with_capacity(entries.len());
        for entry in entries {
            let (line, id, next) =
                entry.line(&place, parent.as_deref()).map_err(|e| io::Error::other(e.to_string()))?;
            text.push_str(&line);
            appended.push(Appended { id: id.clone(), place: next.clone() });
            (place, parent) = (next, Some(id));
        }
        if self.tail.torn > 0 {
            self.file.set_len(self.tail.end)?;
            self.tail.torn = 0;
        }
        if let Err(e) = self.file.write_all_at(text.as_bytes(), self.tail.end) {
            let _ = self.file.set_len(self.tail.end);
            return Err(e);
        }
        self.tail = Tail { end: self.tail.end + text.len() as u64, place, id: parent, ..Tail::default() };
        Ok(appended)
    }

    /// Whether the last line that counts has no newline.
    pub(in crate::sessions) fn is_unended(&self) -> bool {
        self.tail.unended
    }
}

/// Takes what was appended to the transcript at `path` after `end` away again, as far as the disk allows.
pub(in crate::sessions) fn cut(path: &Path, end: u64) {
    if let Ok(file) = open(path, OFlags::RDWR) {
        let _ = file.set_len(end);
    }
}

fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::from_raw_mode(0o600))?);
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no regular file")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> NewEntry {
        NewEntry::message(1, &format!(r#"{{"role":"user","content":"{text}"}}"#), None, None)
    }

    fn directory() -> PathBuf {
        let name = format!("barnacle-transcript-{}", SessionId::random().unwrap());
        std::env::temp_dir().join(name)
    }

    #[test]
    fn whatever_a_crash_leaves_is_cut_at_the_next_append() {
        let (dir, id) = (directory(), SessionId::random().unwrap());
        let path = path(&dir, "main", &id);
        let mut transcript = Transcript::open_or_begin(&path, &id, 1).unwrap();
        transcript.append(&[message("one")]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        transcript.append(&[message("two")]).unwrap();
        let both = std::fs::read(&path).unwrap();
        for length in whole.len()..both.len() {
            for zeros in [0, 4096] {
                let left: Vec<u8> = both[..length].iter().copied().chain(vec![0; zeros]).collect();
                std::fs::write(&path, left).unwrap();
                let mut transcript = Transcript::open_or_begin(&path, &id, 1).unwrap();
                // All but the newline: the entry is whole.
                let kept = u64::from(length == both.len() - 1 && zeros == 0);
                assert_eq!(transcript.tail.place.seq, 1 + kept, "{length} bytes and {zeros}");
                let appended = transcript.append(&[message("three")]).unwrap();
                assert_eq!(appended[0].place.seq, 2 + kept);
                let text = std::fs::read_to_string(&path).unwrap();
                assert!(text.starts_with(std::str::from_utf8(&whole).unwrap()) && text.ends_with("\n"));
                assert!(text.lines().all(|l| line::open(l.as_bytes()).is_some()), "{text}");
                assert_eq!(text.lines().count() as u64, 3 + kept);
            }
        }
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_file_of_another_program_is_continued() {
        let (dir, id) = (directory(), SessionId::random().unwrap());
        let path = path(&dir, "main", &id);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let foreign = "{\"type\":\"session\",\"id\":\"x\"}\n{\"type\":\"message\",\"id\":\"a\",\"message\":{}}\nbroken\n\
                       {\"type\":\"custom\",\"id\":\"b\"}\n{\"type\":\"message\",\"id\":\"c\",\"message\":{}}";
        std::fs::write(&path, foreign).unwrap();
        let mut transcript = Transcript::open_or_begin(&path, &id, 1).unwrap();
        assert_eq!(transcript.tail.place, Place { seq: 3, shown: 2, since: 0 });
        let appended = transcript.append(&[message("new")]).unwrap();
        assert_eq!(appended[0].place, Place { seq: 4, shown: 3, since: 0 });
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(&format!("{foreign}\n")) && text.contains(r#""parentId":"c""#), "{text}");
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_link_is_not_followed() {
        let (dir, id) = (directory(), SessionId::random().unwrap());
        let path = path(&dir, "main", &id);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert!(Transcript::open(&path).is_err() && Transcript::open_or_begin(&path, &id, 1).is_err());
        std::fs::remove_dir_all(dir).unwrap();
    }
}
