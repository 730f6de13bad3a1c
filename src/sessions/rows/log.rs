//! `sessions.log`: one line for each change of a row. The last line of a key counts.
//!
//! It is rewritten once most of it is out of date, beside the old one and then in its place.

use super::{Index, Row};
use crate::{sessions::line, store::atomic};
use rustix::fs::{Mode, OFlags};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

/// The newest format that this version writes and reads.
const FORMAT: u32 = 1;
/// The longest line that is read, bytes; a row has 4 KiB at most.
const LONGEST: u64 = 64 << 10;
/// Lines out of date that are worth a rewrite.
const LEAST_GARBAGE: u64 = 256;

/// The open log.
pub(in crate::sessions) struct RowLog {
    path: PathBuf,
    file: Option<File>,
    /// End of its last whole line.
    end: u64,
    /// Lines in it, and keys among them.
    lines: u64,
    keys: u64,
}

/// What was read of a log.
pub(in crate::sessions) struct Loaded {
    pub rows: Index,
    /// What there is to say of it, a line each.
    pub notices: Vec<String>,
}

fn header() -> String {
    line::seal(format!(r#"{{"log":"sessions","format":{FORMAT}"#))
}

impl RowLog {
    /// The log at `path`, which need not be there.
    ///
    /// # Errors
    /// It cannot be read, or a later version wrote it.
    pub fn load(path: &Path) -> io::Result<(Self, Loaded)> {
        let mut log = Self { path: path.into(), file: None, end: 0, lines: 0, keys: 0 };
        let mut loaded = Loaded { rows: Index::default(), notices: Vec::new() };
        let file = match open(path, OFlags::RDONLY) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((log, loaded)),
            file => file?,
        };
        // A process before this one may have been killed with lines that were not on disk; what is read here is relied upon.
        file.sync_data()?;
        let length = file.metadata()?.len();
        let (mut reader, mut bytes, mut damaged) = (BufReader::with_capacity(64 << 10, file), Vec::new(), 0);
        loop {
            bytes.clear();
            reader.by_ref().take(LONGEST).read_until(b'\n', &mut bytes)?;
            if bytes.pop_if(|last| *last == b'\n').is_none() {
                if bytes.len() as u64 == LONGEST {
                    // Too long to be one of ours: passed over up to its end.
                    log.end += LONGEST + skip_line(&mut reader)?;
                    damaged += 1;
                    continue;
                }
                break;
            }
            log.end += bytes.len() as u64 + 1;
            log.lines += 1;
            let Some(object) = line::open(&bytes) else {
                damaged += 1;
                continue;
            };
            match Row::read(object) {
                Some((key, row)) => loaded.rows.put(&key, row.as_ref()),
                None if log.lines == 1 => newer(object)?,
                None => damaged += 1,
            }
        }
        log.end = log.end.min(length);
        log.keys = loaded.rows.len() as u64;
        let path = path.display();
        if length > log.end {
            loaded.notices.push(format!(
                "{path}: its last {} bytes are no whole line: a change that was never acknowledged, left out",
                length - log.end
            ));
        }
        if damaged > 0 {
            loaded.notices.push(format!(
                "{path}: {damaged} of its lines are damaged and were passed over; what changed with them is lost, and \
                 transcripts are not: ls {}",
                log.path.parent().unwrap_or(Path::new(".")).display()
            ));
        }
        Ok((log, loaded))
    }

    /// Appends lines; they are on disk once [`sync`](Self::sync) has returned. `keys` of them there are now.
    ///
    /// # Errors
    /// The system's; the file is then as it was, as far as the disk allows.
    pub fn append(&mut self, lines: &str, keys: u64) -> io::Result<()> {
        let garbage = self.lines.saturating_sub(self.keys + 1);
        if garbage > LEAST_GARBAGE && garbage > self.keys {
            self.rewrite()?;
        }
        let file = match &self.file {
            Some(file) => file,
            None => {
                self.path.parent().map_or(Ok(()), atomic::make_directory)?;
                let file = open(&self.path, OFlags::RDWR | OFlags::CREATE)?;
                // What a crash left behind the last line is cut off.
                file.set_len(self.end)?;
                if self.end == 0 {
                    let header = header();
                    file.write_all_at(header.as_bytes(), 0)?;
                    atomic::sync_directory(&self.path)?;
                    (self.end, self.lines) = (header.len() as u64, 1);
                }
                self.file.insert(file)
            }
        };
        if file.metadata()?.nlink() == 0 {
            return Err(io::Error::other("it was removed while it was in use; start the gateway again"));
        }
        if let Err(e) = file.write_all_at(lines.as_bytes(), self.end) {
            let _ = file.set_len(self.end);
            return Err(e);
        }
        self.end += lines.len() as u64;
        self.lines += lines.lines().count() as u64;
        self.keys = keys;
        Ok(())
    }

    /// Where its last line ends.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Syncs what was appended.
    ///
    /// # Errors
    /// The system's.
    pub fn sync(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), File::sync_data)
    }

    /// Takes away what was appended after `end`.
    pub fn cut(&mut self, end: u64) {
        if let Some(file) = &self.file {
            let _ = file.set_len(end);
        }
        self.end = end;
    }

    /// Writes the rows alone to a new file, and puts it in the place of this one. They are read from the file, so that
    /// only those are copied that are on disk.
    fn rewrite(&mut self) -> io::Result<()> {
        let (_, Loaded { rows, .. }) = Self::load(&self.path)?;
        let mut text = header();
        for (key, row) in rows.all() {
            text.push_str(&Row::line(&key, Some(&row)));
        }
        atomic::replace(&self.path, text.as_bytes(), 0o600)?;
        (self.file, self.end) = (None, text.len() as u64);
        (self.lines, self.keys) = (rows.len() as u64 + 1, rows.len() as u64);
        Ok(())
    }
}

/// Reads on to the end of a line; how many bytes that were.
fn skip_line(reader: &mut impl BufRead) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let chunk = reader.fill_buf()?;
        let newline = chunk.iter().position(|b| *b == b'\n');
        let length = newline.map_or(chunk.len(), |at| at + 1);
        reader.consume(length);
        skipped += length as u64;
        if newline.is_some() || length == 0 {
            return Ok(skipped);
        }
    }
}

/// Refuses the log of a later version, which says so in its first line.
fn newer(object: &str) -> io::Result<()> {
    let format = crate::protocol::json::members(object).find(|(name, _)| *name == "format");
    match format.and_then(|(_, value)| value.parse::<u32>().ok()) {
        Some(format) if format > FORMAT => Err(io::Error::other(format!(
            "its format {format} is newer than this version of Barnacle reads ({FORMAT}); nothing was changed"
        ))),
        _ => Ok(()),
    }
}

fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    Ok(File::from(rustix::fs::open(path, flags, Mode::from_raw_mode(0o600))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sessions::{SessionId, SessionKey};

    fn path() -> PathBuf {
        std::env::temp_dir()
            .join(format!("barnacle-log-{}/agents/sessions.log", SessionId::random().unwrap()))
    }

    fn put(log: &mut RowLog, name: &str, updated: u64, keys: u64) {
        let line = Row::line(&SessionKey::of("main", name), Some(&Row::new(updated).unwrap()));
        log.append(&line, keys).unwrap();
    }

    #[test]
    fn it_stays_small_however_often_rows_change() {
        let path = path();
        let (mut log, _) = RowLog::load(&path).unwrap();
        for n in 0..5000 {
            put(&mut log, &format!("s{}", n % 10), n, 10.min(n + 1));
        }
        log.append(&Row::line(&SessionKey::of("main", "s3"), None), 9).unwrap();
        log.sync().unwrap();
        let (log, loaded) = RowLog::load(&path).unwrap();
        assert!(log.lines < 300, "{} lines", log.lines);
        let rows: Vec<_> =
            loaded.rows.all().map(|(key, row)| (key.wire().to_owned(), row.times.updated)).collect();
        let expected = (0..10).filter(|n| *n != 3).map(|n| (format!("agent:main:s{n}"), 4990 + n));
        assert_eq!(rows, expected.collect::<Vec<_>>());
        assert!(loaded.notices.is_empty(), "{:?}", loaded.notices);
        std::fs::remove_dir_all(path.parent().unwrap().parent().unwrap()).unwrap();
    }

    #[test]
    fn damage_costs_what_is_damaged() {
        let path = path();
        let (mut log, _) = RowLog::load(&path).unwrap();
        (0..3).for_each(|n| put(&mut log, &format!("s{n}"), n + 1, n + 1));
        let whole = std::fs::read(&path).unwrap();
        let keys = |loaded: &Loaded| {
            loaded.rows.all().map(|(key, _)| key.wire().to_owned()).collect::<Vec<_>>().join(" ")
        };
        // Cut anywhere, and written to again.
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let (mut log, loaded) = RowLog::load(&path).unwrap();
            let torn = whole[..length].last().is_some_and(|b| *b != b'\n');
            assert_eq!(loaded.notices.len(), usize::from(torn), "{:?}", loaded.notices);
            put(&mut log, "new", 9, 9);
            let (_, after) = RowLog::load(&path).unwrap();
            assert_eq!(keys(&after), format!("agent:main:new {}", keys(&loaded)).trim_end());
            assert!(after.notices.is_empty());
        }
        // A flipped bit in the middle, and a line of another's that is too long.
        let mut flipped = whole.clone();
        let at = whole.iter().position(|b| *b == b'\n').unwrap() + 20;
        flipped[at] ^= 1;
        flipped.extend(vec![b'x'; 3 * LONGEST as usize]);
        flipped.push(b'\n');
        std::fs::write(&path, &flipped).unwrap();
        let (mut log, loaded) = RowLog::load(&path).unwrap();
        assert_eq!(keys(&loaded), "agent:main:s1 agent:main:s2");
        assert!(loaded.notices[0].contains("2 of its lines"), "{:?}", loaded.notices);
        put(&mut log, "new", 9, 3);
        assert_eq!(keys(&RowLog::load(&path).unwrap().1), "agent:main:new agent:main:s1 agent:main:s2");
        std::fs::remove_dir_all(path.parent().unwrap().parent().unwrap()).unwrap();
    }

    #[test]
    fn the_log_of_a_later_version_is_left_alone() {
        let path = path();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let text = line::seal(r#"{"log":"sessions","format":2"#.into());
        std::fs::write(&path, &text).unwrap();
        assert!(RowLog::load(&path).is_err_and(|e| e.to_string().contains("format 2 is newer")));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        std::fs::remove_dir_all(path.parent().unwrap().parent().unwrap()).unwrap();
    }
}
