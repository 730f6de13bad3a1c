//! Tokens that runs use in a day, and what is left of the budget for it.
//!
//! They are counted as models say; what was used before a start is read from the transcripts of that day. A day is one of UTC.

use crate::config::Budget;
use std::{cell::RefCell, collections::BTreeMap};

const DAY_MS: u64 = 86_400_000;

/// Tokens that were used in one day.
#[derive(Default)]
struct Day {
    number: u64,
    /// Of each agent.
    agents: BTreeMap<String, u64>,
    /// Whether what was used before this start is among them.
    is_whole: bool,
}

/// What is used today.
#[derive(Default)]
pub struct Spending(RefCell<Day>);

/// What one agent and all have used today.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Used {
    /// Of the agent.
    pub agent: u64,
    /// Of all.
    pub all: u64,
}

impl Spending {
    /// Counts tokens of an agent at `now`, wall-clock milliseconds.
    pub fn add(&self, agent: &str, tokens: u64, now: u64) {
        let mut day = self.today(now);
        *day.agents.entry(agent.to_owned()).or_default() += tokens;
    }

    /// What was used today.
    pub fn used(&self, agent: &str, now: u64) -> Used {
        let day = self.today(now);
        Used { agent: day.agents.get(agent).copied().unwrap_or(0), all: day.agents.values().sum() }
    }

    /// Whether what was used before this start is still to be read; whoever asks first reads it.
    pub fn wants_past(&self, now: u64) -> bool {
        let mut day = self.today(now);
        !std::mem::replace(&mut day.is_whole, true)
    }

    fn today(&self, now: u64) -> std::cell::RefMut<'_, Day> {
        let number = now / DAY_MS;
        let mut day = self.0.borrow_mut();
        // A clock that is set back begins no new day.
        if number > day.number {
            // What was used on a day that begins while this runs is all counted here.
            *day = Day { number, agents: BTreeMap::new(), is_whole: day.number > 0 };
        }
        day
    }
}

/// Why an agent may ask no model now, if it may not.
pub fn refusal(budget: &Budget, agent: &str, used: Used) -> Option<String> {
    let again = "it begins again at 00:00 UTC, and barnacle.json says how much it is";
    let over = |used: u64, limit: u64| limit > 0 && used >= limit;
    if over(used.all, budget.day) {
        return Some(format!(
            "today's budget of {} tokens is used up ({} were used): {again} (budget.perDay)",
            budget.day, used.all
        ));
    }
    over(used.agent, budget.agent).then(|| {
        format!(
            "agent {agent}'s budget of {} tokens for today is used up ({} were used): {again} \
             (budget.perAgentDay)",
            budget.agent, used.agent
        )
    })
}

/// The part of a limit that is used, percent; 0 where there is no limit.
pub fn percent(used: u64, limit: u64) -> u64 {
    if limit == 0 { 0 } else { (u128::from(used) * 100 / u128::from(limit)).min(100) as u64 }
}

/// The time at which the day of `now` ends, wall-clock milliseconds.
pub fn ends(now: u64) -> u64 {
    (now / DAY_MS + 1) * DAY_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_and_a_clock_that_is_set_back_begins_none() {
        let spending = Spending::default();
        let noon = 20_000 * DAY_MS + DAY_MS / 2;
        assert!(spending.wants_past(noon) && !spending.wants_past(noon), "read once");
        spending.add("main", 5, noon);
        spending.add("other", 7, noon);
        assert_eq!(spending.used("main", noon), Used { agent: 5, all: 12 });
        assert_eq!(spending.used("main", noon - DAY_MS), Used { agent: 5, all: 12 });
        let next = noon + DAY_MS;
        assert_eq!(spending.used("main", next), Used { agent: 0, all: 0 });
        assert!(!spending.wants_past(next), "all of that day is counted here");
        assert_eq!(ends(noon), 20_001 * DAY_MS);
    }

    #[test]
    fn what_is_used_up_is_refused_in_words() {
        let budget = |day, agent| Budget { run: 0, day, agent };
        let rows = [
            (budget(100, 0), Used { agent: 99, all: 99 }, None),
            (budget(100, 0), Used { agent: 1, all: 100 }, Some("budget.perDay")),
            (budget(100, 50), Used { agent: 50, all: 60 }, Some("budget.perAgentDay")),
            (budget(100, 50), Used { agent: 49, all: 60 }, None),
            (budget(0, 0), Used { agent: u64::MAX, all: u64::MAX }, None),
        ];
        for (budget, used, expected) in rows {
            let refused = refusal(&budget, "main", used);
            assert_eq!(refused.is_some(), expected.is_some(), "{used:?}");
            assert!(refused.is_none_or(|why| why.contains(expected.unwrap_or_default())), "{used:?}");
        }
        assert_eq!((percent(1, 0), percent(50, 200), percent(u64::MAX, 3)), (0, 25, 100));
    }
}
