//! A change of sessions that is being made.

use super::{NewEntry, Row, SessionId, Sessions, key::SessionKey};
use std::rc::Rc;

/// A change that is being made: sees what was staged before it.
pub struct Draft<'a> {
    pub(super) sessions: &'a Rc<Sessions>,
    pub(super) rows: Vec<(SessionKey, Option<Row>)>,
    pub(super) durable: bool,
    pub(super) append: Option<(SessionKey, SessionId, Vec<NewEntry>)>,
    pub(super) lazy: bool,
    pub(super) remove: Vec<(String, SessionId)>,
}

impl Draft<'_> {
    /// The row of `key`.
    pub fn get(&self, key: &SessionKey) -> Option<Row> {
        match self.sessions.newest.borrow().get(key) {
            Some((_, row)) => row.clone(),
            None => self.sessions.row(key),
        }
    }

    /// The session with this label, if there is one.
    pub fn labelled(&self, label: &str) -> Option<SessionKey> {
        let is = |row: &Row| row.text("label").as_deref() == Some(label);
        let newest = self.sessions.newest.borrow();
        let staged =
            newest.iter().find(|(_, (_, row))| row.as_ref().is_some_and(is)).map(|(key, _)| key.clone());
        staged.or_else(|| {
            let index = self.sessions.index()?;
            let mut there = index.having("label", Some(label)).map(|(key, _)| key);
            there.find(|key| !newest.contains_key(key))
        })
    }

    /// Puts a row, which is on disk before the change is done.
    pub fn put(&mut self, key: &SessionKey, row: Row) {
        self.durable = true;
        self.rows.push((key.clone(), Some(row)));
    }

    /// Puts a row of which nothing is new that a crash may not take back.
    pub fn touch(&mut self, key: &SessionKey, row: Row) {
        self.rows.push((key.clone(), Some(row)));
    }

    /// Removes a row, and with it the transcript if `transcript`.
    pub fn remove(&mut self, key: &SessionKey, id: SessionId, transcript: bool) {
        self.durable = true;
        self.rows.push((key.clone(), None));
        if transcript {
            self.remove.push((key.agent().to_owned(), id));
        }
    }

    /// Appends entries to the transcript of a session, all of which is on disk before the change is done.
    pub fn append(&mut self, key: &SessionKey, id: SessionId, entries: Vec<NewEntry>) {
        match &mut self.append {
            Some((known, _, before)) if known == key => before.extend(entries),
            _ => self.append = Some((key.clone(), id, entries)),
        }
    }

    /// Appends entries that a power cut may take back, up to the next change that has this transcript on disk. No other
    /// crash takes them.
    pub fn append_lazily(&mut self, key: &SessionKey, id: SessionId, entries: Vec<NewEntry>) {
        self.append(key, id, entries);
        self.lazy = true;
    }
}
