//! The runs of a session that have not ended, as its row says: what a gateway goes on with when it starts again.

use crate::{protocol::json, sessions::Row};
use nanoserde::SerJson;

/// Name of the row's field.
const FIELD: &str = "openRuns";

/// A run that was accepted and has not ended.
#[derive(Clone, PartialEq, Eq, Debug, SerJson)]
pub struct OpenRun {
    /// Its id.
    pub id: String,
    /// Time of its acceptance, wall-clock milliseconds.
    pub at: u64,
    /// Times that a gateway began it.
    pub tries: u32,
    /// Ids of the runs whose messages it took in.
    pub took: Vec<String>,
}

/// The open runs of a row, the oldest first.
pub struct OpenRuns(pub Vec<OpenRun>);

impl OpenRuns {
    /// Reads those of `row`.
    pub fn of(row: &Row) -> Self {
        let list = row.get(FIELD).unwrap_or("[]");
        let read = |object: &str| {
            let member = |name| json::member(object, name);
            let text = |value| Some(json::text(value)?.into_owned());
            Some(OpenRun {
                id: text(member("id")?)?,
                at: member("at")?.parse().ok()?,
                tries: member("tries")?.parse().ok()?,
                // A version before this one did not write it.
                took: json::items(member("took").unwrap_or("[]")).filter_map(text).collect(),
            })
        };
        Self(json::items(list).filter_map(read).collect())
    }

    /// Whether run `id` is among them, or was taken in by one of them.
    pub fn has(&self, id: &str) -> bool {
        self.0.iter().any(|run| run.id == id || run.took.iter().any(|took| took == id))
    }

    /// Writes them into `row`.
    pub fn put(&self, row: &mut Row) {
        let value = (!self.0.is_empty()).then(|| self.0.serialize_json());
        row.set(FIELD, value.as_deref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_back_as_they_went() {
        let mut row = Row::new(1).unwrap();
        let runs = vec![
            OpenRun { id: "k\"1".into(), at: 5, tries: 1, took: vec![] },
            OpenRun { id: "k2".into(), at: 6, tries: 0, took: vec!["a".into(), "b\"".into()] },
        ];
        OpenRuns(runs.clone()).put(&mut row);
        assert_eq!(OpenRuns::of(&row).0, runs);
        OpenRuns(Vec::new()).put(&mut row);
        assert_eq!((OpenRuns::of(&row).0.len(), row.get(FIELD)), (0, None));
    }
}
