//! A transcript of 2026.2: JSON, a line an entry, of which each names the one before it (`parentId`).
//!
//! What counts is the branch that the last entry ends. A line that is damaged costs itself alone: what names it as its parent
//! comes after the line before. The file is read twice, with the places of its lines in memory and no more.

use crate::{
    clock::parse_timestamp,
    protocol::json,
    sessions::{NewEntry, incoming::Draft, line},
};
use rustix::fs::{Mode, OFlags};
use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    os::unix::fs::FileExt,
    path::Path,
};

/// What came of a transcript.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Copied {
    pub messages: u64,
    /// Lines that are damaged, or too long to be read.
    pub damaged: u64,
    /// Entries of kinds that are not kept here: of extensions, and of branches that were given up.
    pub other: u64,
}

/// An open transcript.
pub struct Source {
    file: File,
    /// The lines of its branch, in order.
    branch: Vec<Line>,
    /// What is known of it so far.
    pub copied: Copied,
}

struct Line {
    at: u64,
    length: usize,
    parent: Option<usize>,
    is_message: bool,
}

impl Source {
    /// Opens the transcript at `path` and finds its branch.
    ///
    /// # Errors
    /// The system's; a link is not followed.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
        let mut copied = Copied::default();
        let mut all = lines(&file, &mut copied)?;
        let mut branch = Vec::new();
        while let Some(line) = all.pop() {
            copied.messages += u64::from(line.is_message);
            if let Some(parent) = line.parent {
                all.truncate(parent + 1);
            } else {
                all.clear();
            }
            branch.push(line);
        }
        branch.reverse();
        Ok(Self { file, branch, copied })
    }

    /// Writes the entries of the branch to `draft`.
    ///
    /// # Errors
    /// The system's.
    pub fn copy(mut self, draft: &mut Draft) -> io::Result<Copied> {
        let mut ids: HashMap<String, String> = HashMap::new();
        for line in &self.branch {
            let mut bytes = vec![0; line.length];
            self.file.read_exact_at(&mut bytes, line.at)?;
            let Some(object) = line::open(&bytes) else { continue };
            let there = text(object, "id").unwrap_or_default();
            match entry(object, &there, &ids) {
                Some(entry) => _ = ids.insert(there, draft.append(&entry)?),
                None if matches!(kind(object), "custom_message" | "branch_summary" | "compaction") => {
                    self.copied.other += 1;
                }
                None => {}
            }
        }
        Ok(self.copied)
    }
}

/// The lines of a transcript that are entries.
fn lines(file: &File, copied: &mut Copied) -> io::Result<Vec<Line>> {
    let mut reader = BufReader::with_capacity(64 << 10, file);
    let (mut all, mut ids): (Vec<Line>, HashMap<String, usize>) = (Vec::new(), HashMap::new());
    let (mut at, mut bytes) = (0, Vec::new());
    loop {
        bytes.clear();
        let length = reader.by_ref().take(line::LONGEST as u64).read_until(b'\n', &mut bytes)?;
        let start = at;
        at += length as u64;
        if length == 0 {
            return Ok(all);
        }
        if bytes.pop_if(|last| *last == b'\n').is_none() && length == line::LONGEST {
            at += reader.skip_until(b'\n')? as u64;
            copied.damaged += 1;
            continue;
        }
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        let Some(object) = line::open(&bytes) else {
            copied.damaged += 1;
            continue;
        };
        if kind(object) == "session" {
            continue;
        }
        // Before it had branches, a transcript was in order.
        let before = all.len().checked_sub(1);
        let parent = match json::members(object).find(|(name, _)| *name == "parentId") {
            Some((_, "null")) => None,
            Some((_, value)) => unquoted(value).and_then(|id| ids.get(&id).copied()).or(before),
            None => before,
        };
        if let Some(id) = text(object, "id") {
            ids.insert(id, all.len());
        }
        let is_message = kind(object) == "message" && message(object).is_some();
        all.push(Line { at: start, length: bytes.len(), parent, is_message });
    }
}

/// The entry here for one of there; `ids` are those of the entries before it.
fn entry(object: &str, there: &str, ids: &HashMap<String, String>) -> Option<NewEntry> {
    let member = |name: &str| json::members(object).find(|(known, _)| *known == name).map(|(_, value)| value);
    let at = || text(object, "timestamp").and_then(|text| parse_timestamp(&text));
    match kind(object) {
        "message" => {
            let message = message(object)?;
            let said = || json::members(message).find(|(name, _)| *name == "timestamp")?.1.parse().ok();
            Some(NewEntry::imported(at().or_else(said).unwrap_or_default(), message, there))
        }
        "compaction" => {
            let first = ids.get(&text(object, "firstKeptEntryId")?)?;
            let tokens = member("tokensBefore").and_then(|n| n.parse().ok()).unwrap_or_default();
            let summary = member("summary").filter(|summary| summary.starts_with('"')).unwrap_or("\"\"");
            Some(NewEntry::imported_compaction(at().unwrap_or_default(), first, tokens, summary, there))
        }
        _ => None,
    }
}

/// The message of an entry: an object with a role.
fn message(object: &str) -> Option<&str> {
    let message = json::members(object).find(|(name, _)| *name == "message")?.1;
    (message.starts_with('{') && json::members(message).any(|(name, _)| name == "role")).then_some(message)
}

fn kind(object: &str) -> &str {
    let kind = json::members(object).find(|(name, _)| *name == "type").map(|(_, value)| value);
    kind.and_then(|value| value.strip_prefix('"')?.strip_suffix('"')).unwrap_or_default()
}

fn text(object: &str, name: &str) -> Option<String> {
    unquoted(json::members(object).find(|(known, _)| *known == name)?.1)
}

fn unquoted(value: &str) -> Option<String> {
    Some(json::unescape(value.strip_prefix('"')?.strip_suffix('"')?).into_owned())
}
