//! Reading a transcript: a page of it, what came after an entry, one entry.
//!
//! Each reads from the end backwards, from where the wanted part was found by halving the file, and holds no more than
//! what it returns.

use super::{
    Transcript,
    entry::{Entry, Place, seq_of},
};
use crate::sessions::{line, scan};
use std::{io, ops::ControlFlow};

/// Bytes within which looking at each line is quicker than halving.
const NEAR: u64 = 128 << 10;

/// Part of a transcript that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The newest shown entries that are passed over.
    pub offset: u64,
    /// Most entries.
    pub limit: usize,
    /// Most bytes of what `project` gives, of all of them; one entry is given whatever its size.
    pub bytes: usize,
}

/// Shown entries of a transcript since its last reset.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Page<T> {
    /// The oldest first.
    pub entries: Vec<T>,
    /// The number of all that there are.
    pub total: u64,
    /// How many newer and returned ones there are: the `offset` of the page before this one.
    pub next_offset: u64,
}

impl Transcript {
    /// Reads a page; `project` gives each entry's JSON.
    ///
    /// # Errors
    /// The system's.
    pub fn page(&self, wanted: Wanted, project: impl Fn(&Entry<'_>) -> String) -> io::Result<Page<String>> {
        let total = self.tail.place.shown;
        let mut page = Page { entries: Vec::new(), total, next_offset: wanted.offset.min(total) };
        let Some(newest) = total.checked_sub(wanted.offset).filter(|newest| *newest > 0) else {
            return Ok(page);
        };
        let since = self.tail.place.since;
        let mut bytes = 0;
        let from = self.end_of(|place| place.since == since && place.shown > newest)?;
        self.entries(from, |entry| {
            if !entry.is_shown() || entry.place.shown > newest {
                return ControlFlow::Continue(());
            }
            let json = project(entry);
            bytes += json.len();
            if page.entries.len() == wanted.limit || (bytes > wanted.bytes && !page.entries.is_empty()) {
                return ControlFlow::Break(());
            }
            page.entries.push(json);
            // Damaged ones between are passed over with it.
            page.next_offset = total - (entry.place.shown - 1).min(total);
            match entry.place.shown <= 1 || entry.place.seq == since {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })?;
        page.entries.reverse();
        Ok(page)
    }

    /// What was shown after entry `seq`; `None` where that is too much, or the conversation was reset or compacted.
    ///
    /// # Errors
    /// The system's.
    pub fn after(
        &self,
        seq: u64,
        wanted: Wanted,
        project: impl Fn(&Entry<'_>) -> String,
    ) -> io::Result<Option<Vec<String>>> {
        if seq > self.tail.place.seq {
            return Ok(None);
        }
        let (mut entries, mut bytes, mut fits) = (Vec::new(), 0, true);
        self.entries(self.last(), |entry| {
            if entry.place.seq <= seq {
                return ControlFlow::Break(());
            }
            if !entry.is_shown() {
                return ControlFlow::Continue(());
            }
            let json = project(entry);
            bytes += json.len();
            fits = entry.kind == "message" && entries.len() < wanted.limit && bytes <= wanted.bytes;
            entries.push(json);
            if fits { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        entries.reverse();
        Ok(fits.then_some(entries))
    }

    /// The entry with this id, as `project` gives it.
    ///
    /// # Errors
    /// The system's.
    pub fn find<T>(&self, id: &str, project: impl Fn(&Entry<'_>) -> T) -> io::Result<Option<T>> {
        let from = match seq_of(id) {
            Some(seq) if (1..=self.tail.place.seq).contains(&seq) => self.end_of(|place| place.seq > seq)?,
            _ => self.last(),
        };
        let mut found = None;
        self.entries(from, |entry| {
            if entry.id != id {
                return ControlFlow::Continue(());
            }
            found = Some(project(entry));
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// Visits the entries that end at `from` or before it, the last one first. One that another program wrote gets the
    /// place before the one after it.
    ///
    /// # Errors
    /// The system's.
    pub fn entries(&self, from: u64, mut visit: impl FnMut(&Entry<'_>) -> ControlFlow<()>) -> io::Result<()> {
        let mut next = Place { seq: self.tail.place.seq + 1, ..self.tail.place.clone() };
        let mut next_shown = self.tail.place.shown + 1;
        scan::backward(&self.file, from, |_, bytes| {
            let Some(mut entry) = line::open(bytes).map(Entry::read) else {
                return ControlFlow::Continue(());
            };
            if entry.kind == "session" {
                return ControlFlow::Continue(());
            }
            if entry.place.seq == 0 {
                let shown = next_shown.saturating_sub(u64::from(entry.is_shown()));
                entry.place = Place { seq: next.seq.saturating_sub(1), shown, since: next.since };
            }
            next = entry.place.clone();
            next_shown = if entry.is_shown() { next.shown } else { next.shown + 1 };
            visit(&entry)
        })
    }

    /// The end to begin from for the last entry.
    pub fn last(&self) -> u64 {
        self.tail.end + u64::from(self.is_unended())
    }

    /// A place in the file behind which every entry is `beyond`, and not far before which the last is that is not.
    fn end_of(&self, beyond: impl Fn(&Place) -> bool) -> io::Result<u64> {
        let (mut low, mut high) = (0, self.tail.end);
        while high - low > NEAR {
            let middle = low + (high - low) / 2;
            let found = scan::first_after(&self.file, middle, high)?;
            let entry = found.as_ref().and_then(|(at, bytes)| {
                let entry = Entry::read(line::open(bytes)?);
                (entry.place.seq > 0).then(|| (*at, beyond(&entry.place)))
            });
            match entry {
                Some((at, true)) => high = at,
                Some((_, false)) => low = middle,
                // No line begins there, or none that has a place: what is left is looked through.
                None => break,
            }
        }
        if high == self.tail.end { Ok(self.last()) } else { Ok(high) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sessions::{NewEntry, SessionId, transcript};

    const ALL: Wanted = Wanted { offset: 0, limit: 1000, bytes: 1 << 20 };

    fn name(entry: &Entry<'_>) -> String {
        match entry.kind {
            "message" => entry.message.unwrap_or_default().chars().filter(char::is_ascii_digit).collect(),
            kind => kind.to_owned(),
        }
    }

    fn message(n: usize, length: usize) -> NewEntry {
        let text = "x".repeat(length);
        NewEntry::message(1, &format!(r#"{{"role":"user","content":"{n}{text}"}}"#), None, None)
    }

    /// A transcript of 400 messages, some of them large, with a reset after the 100th.
    fn long() -> (Transcript, Vec<String>) {
        let id = SessionId::random().unwrap();
        let dir = std::env::temp_dir().join(format!("barnacle-history-{id}"));
        let path = transcript::path(&dir, "main", &id);
        let mut transcript = Transcript::open_or_begin(&path, &id, 1).unwrap();
        let mut ids = Vec::new();
        for n in 1..=400 {
            if n == 101 {
                transcript.append(&[NewEntry::reset(1)]).unwrap();
            }
            let length = if n % 50 == 0 { 300_000 } else { 3000 };
            ids.push(transcript.append(&[message(n, length)]).unwrap()[0].id.clone());
        }
        std::fs::remove_dir_all(dir).unwrap();
        (transcript, ids)
    }

    #[test]
    fn pages_are_the_same_however_they_are_cut() {
        let (transcript, _) = long();
        let expected: Vec<String> =
            ["reset".into()].into_iter().chain((101..=400).map(|n| n.to_string())).collect();
        for limit in [1, 7, 100, 301, 1000] {
            let (mut all, mut offset) = (Vec::new(), 0);
            loop {
                let page = transcript.page(Wanted { offset, limit, ..ALL }, name).unwrap();
                assert_eq!(page.total, 301);
                assert_eq!(page.next_offset, offset + page.entries.len() as u64);
                all.splice(..0, page.entries);
                offset = page.next_offset;
                if offset == page.total {
                    break;
                }
            }
            assert_eq!(all, expected, "{limit} at a time");
        }
        let none = transcript.page(Wanted { offset: 301, ..ALL }, name).unwrap();
        assert_eq!((none.entries.len(), none.next_offset), (0, 301));
        // However many bytes: at least one, so that whoever pages gets on.
        let one = transcript.page(Wanted { bytes: 1, ..ALL }, name).unwrap();
        assert_eq!(one.entries, ["400"]);
    }

    #[test]
    fn an_entry_is_found_by_its_id() {
        let (transcript, ids) = long();
        for n in [1, 2, 50, 100, 101, 250, 399, 400] {
            assert_eq!(transcript.find(&ids[n - 1], name).unwrap(), Some(n.to_string()));
        }
        assert_eq!(transcript.find("00000001-0000-4000-8000-000000000000", name).unwrap(), None);
        assert_eq!(transcript.find("nonsense", name).unwrap(), None);
    }

    #[test]
    fn what_came_after_is_given_or_too_much() {
        let (mut transcript, _) = long();
        let after = |t: &Transcript, seq, limit| t.after(seq, Wanted { limit, ..ALL }, name).unwrap();
        // The 400 messages and the reset.
        assert_eq!(after(&transcript, 401, 200), Some(vec![]));
        assert_eq!(after(&transcript, 399, 200), Some(vec!["399".into(), "400".into()]));
        assert!(after(&transcript, 200, 200).is_none(), "too many");
        assert_eq!(after(&transcript, 402, 200), None, "of a transcript that is gone");
        transcript.append(&[NewEntry::compaction(1, "x", 1)]).unwrap();
        assert_eq!(after(&transcript, 401, 200), None, "a compaction lies between");
        assert_eq!(after(&transcript, 402, 200), Some(vec![]));
    }
}
