//! The index of all sessions: their rows in memory, and lists of them.

use super::{
    at_rest::AtRest,
    row::{Row, SessionId},
};
use crate::sessions::key::{KeyText, SessionKey};
use std::{cmp::Reverse, collections::BTreeSet};

/// The rows of all sessions, by key.
#[derive(Default)]
pub struct Index {
    rows: BTreeSet<AtRest>,
}

/// Sessions that a list is asked for.
#[derive(Default)]
pub struct Query<'a> {
    /// Only those of this agent.
    pub agent: Option<&'a str>,
    /// Archived ones, others, or both.
    pub archived: Option<bool>,
    /// Only those with this label.
    pub label: Option<&'a str>,
    /// Only those that a key, label or name of which holds this, in lower case.
    pub search: Option<String>,
    /// Only those that were changed, or written to, since then.
    pub since_ms: u64,
    /// By the last message of a person.
    pub by_interaction: bool,
    /// Whether those that were never written to are left out.
    pub require_interaction: bool,
    /// Whether `global` and `unknown` are there.
    pub global: bool,
    /// See `global`.
    pub unknown: bool,
    /// Only those of these agents.
    pub of_agents: Option<&'a [String]>,
    /// Only those that this session began.
    pub parent: Option<&'a str>,
    pub offset: usize,
    pub limit: usize,
}

impl Index {
    /// The same rows in as little memory as there is.
    pub(in crate::sessions) fn packed(self) -> Self {
        // A tree that is built at once has no room left over.
        Self { rows: self.rows.into_iter().collect() }
    }

    /// The row of `key`.
    pub fn get(&self, key: &SessionKey) -> Option<Row> {
        self.rows.get(key.as_str()).map(AtRest::row)
    }

    pub(in crate::sessions) fn put(&mut self, key: &SessionKey, row: Option<&Row>) {
        match row {
            Some(row) => _ = self.rows.replace(AtRest::of(key, row)),
            None => _ = self.rows.remove(key.as_str()),
        }
    }

    /// Number of sessions.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// The key of the session with this id.
    pub fn by_id(&self, id: &SessionId) -> Option<SessionKey> {
        self.rows.iter().find(|row| row.id() == *id).map(|row| SessionKey::stored(row.key()))
    }

    /// Every session, by key.
    pub fn all(&self) -> impl Iterator<Item = (SessionKey, Row)> {
        self.rows.iter().map(unpacked)
    }

    /// The sessions whose field `name` is this text, or is set at all if it is `None`; by key.
    pub fn having(&self, name: &str, text: Option<&str>) -> impl Iterator<Item = (SessionKey, Row)> {
        let fits = move |row: &&AtRest| match text {
            Some(_) => row.text(name).as_deref() == text,
            None => row.get(name).is_some(),
        };
        self.rows.iter().filter(fits).map(unpacked)
    }

    /// A page of a list, pinned ones first, then by time, the newest first; and the number of all.
    pub fn list(&self, query: &Query<'_>) -> (Vec<(SessionKey, Row)>, usize) {
        let fitting = self.rows.iter().filter_map(|row| {
            let times = row.times();
            let time = if query.by_interaction { times.interaction } else { times.updated };
            let fits = query.fits(row, time, times.interaction);
            let pinned = || !query.by_interaction && row.get("pinnedAt").is_some();
            fits.then(|| (Reverse((pinned(), time)), row))
        });
        let mut found: Vec<_> = fitting.collect();
        let total = found.len();
        let end = query.offset.saturating_add(query.limit).min(total);
        if end > 0 && end < total {
            // Only what is shown need be in order.
            found.select_nth_unstable(end - 1);
        }
        found.truncate(end);
        found.sort_unstable();
        let page = found.split_off(query.offset.min(found.len()));
        (page.into_iter().map(|(_, row)| unpacked(row)).collect(), total)
    }
}

fn unpacked(row: &AtRest) -> (SessionKey, Row) {
    (SessionKey::stored(row.key()), row.row())
}

impl Query<'_> {
    fn fits(&self, row: &AtRest, time: u64, interaction: u64) -> bool {
        let key = KeyText(row.key());
        let within = |text: &str, part: &str| text.to_lowercase().contains(part);
        let text = |field: &str| row.text(field);
        let named = |part: &str| {
            let name = |field| text(field).is_some_and(|text| within(&text, part));
            within(key.wire(), part) || name("label") || name("displayName")
        };
        self.agent.is_none_or(|agent| key.agent() == agent)
            && self.archived.is_none_or(|archived| row.get("archivedAt").is_some() == archived)
            && time >= self.since_ms
            && (!self.require_interaction || interaction > 0)
            && (self.global || key.wire() != "global")
            && (self.unknown || key.wire() != "unknown")
            && self.of_agents.is_none_or(|agents| agents.iter().any(|agent| agent == key.agent()))
            && self.label.is_none_or(|label| text("label").as_deref() == Some(label))
            && self.parent.is_none_or(|parent| text("parentSessionKey").as_deref() == Some(parent))
            && self.search.as_deref().is_none_or(named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        let mut index = Index::default();
        for (name, updated, interaction) in [("a", 1, 9), ("b", 2, 0), ("c", 3, 7), ("d", 3, 0), ("e", 5, 1)]
        {
            let mut row = Row::new(updated).unwrap();
            row.times.interaction = interaction;
            row.set("label", Some(&format!("\"Label {name}\"")));
            match name {
                "a" => row.set("pinnedAt", Some("1")),
                "e" => row.set("archivedAt", Some("1")),
                _ => {}
            }
            index.put(&SessionKey::of(if name == "b" { "work" } else { "main" }, name), Some(&row));
        }
        index
    }

    #[test]
    fn lists() {
        let index = index().packed();
        let all = || Query { limit: 100, ..Query::default() };
        let rows = [
            (all(), "a e c d b", 5),
            (Query { archived: Some(false), ..all() }, "a c d b", 4),
            (Query { archived: Some(true), ..all() }, "e", 1),
            (Query { limit: 2, ..all() }, "a e", 5),
            (Query { limit: 2, offset: 2, ..all() }, "c d", 5),
            (Query { limit: 2, offset: 4, ..all() }, "b", 5),
            (Query { offset: 9, ..all() }, "", 5),
            (Query { limit: 0, ..all() }, "", 5),
            (Query { by_interaction: true, ..all() }, "a c e d b", 5),
            (Query { by_interaction: true, require_interaction: true, ..all() }, "a c e", 3),
            (Query { agent: Some("work"), ..all() }, "b", 1),
            (Query { since_ms: 3, ..all() }, "e c d", 3),
            (Query { label: Some("Label c"), ..all() }, "c", 1),
            (Query { search: Some("label d".into()), ..all() }, "d", 1),
            (Query { search: Some("work:".into()), ..all() }, "b", 1),
        ];
        for (n, (query, expected, total)) in rows.into_iter().enumerate() {
            let (found, all) = index.list(&query);
            let names: Vec<_> = found.iter().filter_map(|(key, _)| key.wire().rsplit(':').next()).collect();
            assert_eq!((names.join(" ").as_str(), all), (expected, total), "row {n}");
        }
    }
}
