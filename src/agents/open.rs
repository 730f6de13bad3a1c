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
}

/// The open runs of a row, the oldest first.
pub struct OpenRuns(pub Vec<OpenRun>);

impl OpenRuns {
    /// Reads those of `row`.
    pub fn of(row: &Row) -> Self {
        let list = row.get(FIELD).unwrap_or("[]");
        let read = |object: &str| {
            let member = |wanted: &str| {
                json::members(object).find(|(name, _)| *name == wanted).map(|(_, value)| value)
            };
            let id = member("id")?.strip_prefix('"')?.strip_suffix('"')?;
            Some(OpenRun {
                id: json::unescape(id).into_owned(),
                at: member("at")?.parse().ok()?,
                tries: member("tries")?.parse().ok()?,
            })
        };
        Self(json::items(list).filter_map(read).collect())
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
            OpenRun { id: "k\"1".into(), at: 5, tries: 1 },
            OpenRun { id: "k2".into(), at: 6, tries: 0 },
        ];
        OpenRuns(runs.clone()).put(&mut row);
        assert_eq!(OpenRuns::of(&row).0, runs);
        OpenRuns(Vec::new()).put(&mut row);
        assert_eq!((OpenRuns::of(&row).0.len(), row.get(FIELD)), (0, None));
    }
}
