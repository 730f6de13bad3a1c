//! The plan: what a change of the configuration does to a running gateway. The effect of each key stands in
//! its row ([`crate::config::keys`]).

use super::diff::Change;
use crate::config::{
    keys::{Effect, OPENCLAW, Table},
    redact,
};
use std::collections::BTreeSet;

/// Effects of a set of changes.
#[derive(Clone, Default, Debug)]
pub struct Plan {
    /// Each change and its own effect.
    pub changes: Vec<(Change, Effect)>,
    /// Effects of all changed keys.
    pub effects: BTreeSet<Effect>,
}

/// The plan for `changes` of `openclaw.json`.
pub(crate) fn plan(changes: Vec<Change>) -> Plan {
    let mut plan = Plan::default();
    plan.add(OPENCLAW, changes);
    plan
}

impl Plan {
    /// Adds `changes` of the file with the keys of `table`. A value that holds others counts as all of them.
    pub(crate) fn add(&mut self, table: Table, changes: Vec<Change>) {
        for change in changes {
            let own = table.effect_at(&change.path.0);
            self.effects.extend(table.effects_within(&change.path).chain([own]));
            self.changes.push((change, own));
        }
    }

    /// The plan where the gateway behind this one reads the same file: what this one has no use for, that one uses.
    pub(crate) fn in_front(mut self) -> Self {
        let behind = |effect: Effect| if effect == Effect::Unused { Effect::Behind } else { effect };
        self.effects = self.effects.into_iter().map(behind).collect();
        self.changes.iter_mut().for_each(|(_, effect)| *effect = behind(*effect));
        self
    }

    /// The changes in a line, a few of them by name.
    pub(crate) fn paths(&self) -> String {
        const SHOWN: usize = 6;
        let reported = self.changes.iter().filter(|(_, effect)| *effect != Effect::Silent);
        let paths: Vec<String> =
            reported.map(|(change, _)| redact::line(&change.to_string()).into_owned()).collect();
        match paths.len() {
            0 => "nothing that is reported".into(),
            n if n > SHOWN => format!("{} and {} more", paths[..SHOWN].join(", "), n - SHOWN),
            _ => paths.join(", "),
        }
    }

    /// The effects in a line.
    pub(crate) fn done(&self) -> String {
        let words: Vec<_> = self.effects.iter().filter(|e| e.acts()).map(|e| e.done()).collect();
        match (words.is_empty(), self.effects.first()) {
            (false, _) => words.join(", "),
            (true, Some(effect)) => effect.done().into(),
            (true, None) => "nothing".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::change::diff::KeyPath;
    use Effect::*;

    #[test]
    fn in_front_of_openclaw_nothing_is_unused() {
        let change = |path| Change { path: KeyPath::dotted(path), was: true, is: true };
        for (paths, alone, in_front) in [
            (&["channels.whatsapp.allowFrom"][..], "nothing (not used)", "nothing here (OpenClaw uses it)"),
            (&["channels.whatsapp.allowFrom", "logging.level"], "log", "log"),
            (&["meta.lastTouchedVersion"], "nothing", "nothing"),
        ] {
            let plan = plan(paths.iter().map(|path| change(path)).collect());
            assert_eq!(
                (plan.done().as_str(), plan.in_front().done().as_str()),
                (alone, in_front),
                "{paths:?}"
            );
        }
    }

    #[test]
    fn a_value_that_holds_others_counts_as_all_of_them() {
        let whole = |path| Change { path: KeyPath::dotted(path), was: true, is: true };
        let effects = plan(vec![whole("gateway.auth")]).effects;
        assert_eq!(
            effects.into_iter().collect::<Vec<_>>(),
            [Credentials, Limits, NextConnect, Unsupported, Unused]
        );
        assert!(plan(vec![whole("")]).effects.contains(&Log));
    }
}
