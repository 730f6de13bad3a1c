//! Which sessions are archived or removed, so that there are not ever more of them.
//!
//! Nothing that a person said is removed for its age: what has long been left alone is archived, and stays to be read. Only
//! what runs without a person (jobs, hooks, sub-agents) is removed, and what was archived because there were too many, once the
//! disk is to be spared. Source: OpenClaw's `docs/reference/session-management-compaction/maintenance.md`.

use super::{Row, SessionKey};
use crate::config::model::{agents::Agents, upkeep::Upkeep};

/// What is done with a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tidied {
    /// It is archived, because it has not changed for long.
    Old,
    /// It is archived, because there are too many.
    Many,
    /// It is removed, as it runs without a person.
    Removed,
}

impl Tidied {
    /// Value of `archiveReason`, JSON.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Many => MANY,
            _ => "\"age-retention\"",
        }
    }
}

/// `archiveReason` of what may be removed to spare the disk.
pub const MANY: &str = "\"max-entries\"";

/// Decides what becomes of `sessions`; `busy` says which have a run.
pub fn tidy<I: Iterator<Item = (SessionKey, Row)>>(
    sessions: impl Fn() -> I,
    upkeep: &Upkeep,
    agents: &Agents,
    now_ms: u64,
    busy: impl Fn(&SessionKey) -> bool,
) -> Vec<(SessionKey, Tidied)> {
    let oldest = now_ms.saturating_sub(upkeep.prune_after.as_millis() as u64);
    let kept = |key: &SessionKey, row: &Row| {
        key.is_main(agents) || row.get("pinnedAt").is_some() || row.get("openRuns").is_some() || busy(key)
    };
    let fate = |key: &SessionKey, what| if key.is_background(agents) { Tidied::Removed } else { what };
    let (mut tidied, mut count) = (Vec::new(), 0);
    let there = || sessions().filter(|(_, row)| row.get("archivedAt").is_none());
    for (key, row) in there() {
        if row.times.updated < oldest && !kept(&key, &row) {
            let fate = fate(&key, Tidied::Old);
            tidied.push((key, fate));
        } else {
            count += 1;
        }
    }
    if count > upkeep.most {
        let left = there().filter(|(key, row)| row.times.updated >= oldest && !kept(key, row));
        let mut left: Vec<(u64, SessionKey)> = left.map(|(key, row)| (row.times.updated, key)).collect();
        left.sort();
        let many = left.into_iter().take(count - upkeep.most);
        tidied.extend(many.map(|(_, key)| {
            let fate = fate(&key, Tidied::Many);
            (key, fate)
        }));
    }
    tidied
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_old_or_too_much_is_put_away_and_what_counts_stays() {
        let agents = Agents {
            ids: vec!["main".into()],
            default: "main".into(),
            main_key: "main".into(),
            ..Agents::default()
        };
        let row = |updated: u64, field: Option<&str>| {
            let mut row = Row::new(updated).unwrap();
            field.into_iter().for_each(|name| row.set(name, Some("1")));
            row
        };
        let all = || {
            [
                ("main", row(1, None)),
                ("pinned", row(1, Some("pinnedAt"))),
                ("running", row(1, Some("openRuns"))),
                ("busy", row(1, None)),
                ("archived", row(1, Some("archivedAt"))),
                ("old", row(1, None)),
                ("cron:old", row(1, None)),
                ("a", row(9002, None)),
                ("b", row(9001, None)),
                ("cron:c", row(9003, None)),
                ("d", row(9004, None)),
            ]
            .into_iter()
            .map(|(name, row)| (SessionKey::of("main", name), row))
        };
        let upkeep =
            |most| Upkeep { enforced: true, prune_after: Duration::from_millis(1000), most, bytes: None };
        let old = [("old", Tidied::Old), ("cron:old", Tidied::Removed)];
        let rows = [
            (8, vec![]),
            (6, vec![("b", Tidied::Many), ("a", Tidied::Many)]),
            (5, vec![("b", Tidied::Many), ("a", Tidied::Many), ("cron:c", Tidied::Removed)]),
            // What is kept counts, and stays all the same.
            (
                0,
                vec![
                    ("b", Tidied::Many),
                    ("a", Tidied::Many),
                    ("cron:c", Tidied::Removed),
                    ("d", Tidied::Many),
                ],
            ),
        ];
        for (most, more) in rows {
            let tidied = tidy(all, &upkeep(most), &agents, 10_000, |key| key.wire().ends_with(":busy"));
            let expected: Vec<_> =
                old.iter().chain(&more).map(|(name, fate)| (SessionKey::of("main", name), *fate)).collect();
            assert_eq!(tidied, expected, "{most}");
        }
    }
}
