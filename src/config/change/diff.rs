//! Differences between two sources, key by key.
//!
//! Source is compared with source, `${VAR}` as it is written: what a value resolves to is compared where
//! it is used.

use crate::config::text::node::{Entry, Node, Value};
use std::collections::BTreeMap;
use std::fmt;

/// The way to a value: its keys from the root.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct KeyPath(pub Vec<String>);

impl KeyPath {
    /// Parses a path written as `a.b.c`.
    pub fn dotted(text: &str) -> Self {
        Self(text.split('.').filter(|s| !s.is_empty()).map(str::to_owned).collect())
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("(the root)");
        }
        for (n, key) in self.0.iter().enumerate() {
            let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '-');
            match key.chars().all(plain) && !key.is_empty() {
                _ if key == Self::ITEM => f.write_str(key)?,
                true if n == 0 => f.write_str(key)?,
                true => write!(f, ".{key}")?,
                false => write!(f, "[{key:?}]")?,
            }
        }
        Ok(())
    }
}

/// A key that was added, removed, or whose value changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Path of the key that changed.
    pub path: KeyPath,
    /// Whether it was there before.
    pub was: bool,
    /// Whether it is there now.
    pub is: bool,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.was, self.is) {
            (false, _) => write!(f, "+{}", self.path),
            (true, false) => write!(f, "-{}", self.path),
            (true, true) => self.path.fmt(f),
        }
    }
}

/// Compares two sources; changes are in the order of the keys. Lists are one value.
pub(crate) fn diff(old: &Node, new: &Node) -> Vec<Change> {
    let mut changes = Vec::new();
    compare(Some(old), Some(new), &mut Vec::new(), &mut changes);
    changes
}

fn compare(old: Option<&Node>, new: Option<&Node>, path: &mut Vec<String>, changes: &mut Vec<Change>) {
    let object = |node: Option<&Node>| node.is_some_and(|n| matches!(n.value, Value::Object(_)));
    // An object that comes or goes is reported by its keys, which are what means something.
    let by_key = |one, other: Option<&Node>| object(one) && (other.is_none() || object(other));
    if by_key(old, new) || by_key(new, old) {
        let (old_entries, new_entries) = (entries(old), entries(new));
        if !(old_entries.is_empty() && new_entries.is_empty()) {
            let mut both: BTreeMap<&str, (Option<&Node>, Option<&Node>)> = BTreeMap::new();
            for Entry { name, node, .. } in old_entries {
                both.entry(name).or_default().0 = Some(node);
            }
            for Entry { name, node, .. } in new_entries {
                both.entry(name).or_default().1 = Some(node);
            }
            for (name, (old, new)) in both {
                path.push(name.to_owned());
                compare(old, new, path, changes);
                path.pop();
            }
            return;
        }
    }
    let same = match (old, new) {
        (Some(old), Some(new)) => old.same(new),
        (None, None) => true,
        _ => false,
    };
    if !same {
        changes.push(Change { path: KeyPath(path.clone()), was: old.is_some(), is: new.is_some() });
    }
}

fn entries(node: Option<&Node>) -> &[Entry] {
    node.map(Node::entries).unwrap_or_default()
}
