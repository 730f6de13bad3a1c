//! Merges a write into the configuration: pure functions over trees, without file access.
//!
//! A write says what the whole is to be ([`restore`] gives it back the secrets it was not shown), what is
//! to change in it ([`patched`]), or one value ([`with`]). [`edits`] is the difference, path by path.

use super::diff::KeyPath;
use crate::config::{
    redact::{self, REDACTED, Viewer},
    text::{
        edit::id,
        node::{At, Entry, Node, Value},
    },
};
use std::fmt;

/// Why a tree cannot be what was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MergeError {
    /// A placeholder stands where no secret did.
    Placeholder(KeyPath),
    /// A patch would take entries out of a list, and does not say that it means to.
    Shrinks(KeyPath),
    /// Part of the path is no object or list, or has no such item.
    NoSuchPlace(KeyPath),
}

impl fmt::Display for MergeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Placeholder(path) => write!(
                f,
                "{path} is {REDACTED}, which stands for a secret, and none is known there: give the secret itself"
            ),
            Self::Shrinks(path) => write!(
                f,
                "{path} would lose entries; if that is meant, name it in replacePaths: [{:?}]",
                path.to_string()
            ),
            Self::NoSuchPlace(path) => {
                write!(
                    f,
                    "there is no place for {path}: what it would stand in is neither an object nor a list that long"
                )
            }
        }
    }
}

impl std::error::Error for MergeError {}

/// A value that is to change.
#[derive(Clone, Debug)]
pub struct Edit {
    /// Path of the change; a list is changed as a whole.
    pub path: KeyPath,
    /// New value; `None` where the key is removed.
    pub to: Option<Node>,
}

/// Puts the secrets of `known` where `wanted` has their placeholders.
///
/// # Errors
/// [`MergeError::Placeholder`], where it is not sure which secret is meant.
pub fn restore(wanted: &mut Node, known: &Node) -> Result<(), MergeError> {
    let shown = redact::tree(known, Viewer::Admin);
    Restore::default().walk(wanted, Some((known, &shown)))
}

#[derive(Default)]
struct Restore {
    /// The keys on the way, and the numbers of items.
    path: Vec<String>,
}

impl Restore {
    /// `known` is the tree as it is and as it is shown.
    fn walk(&mut self, wanted: &mut Node, known: Option<(&Node, &Node)>) -> Result<(), MergeError> {
        match &mut wanted.value {
            Value::Text(text) if text.contains(REDACTED) => {
                let hidden = known.filter(|(_, shown)| &**text == REDACTED && shown.text() == Some(REDACTED));
                wanted.value = hidden.ok_or_else(|| self.unknown())?.0.value.clone();
            }
            Value::Object(entries) => {
                for Entry { name, node, .. } in entries {
                    self.path.push(name.to_string());
                    if name.contains(REDACTED) {
                        return Err(self.unknown());
                    }
                    self.walk(
                        node,
                        known.and_then(|(known, shown)| Some((known.get(name)?, shown.get(name)?))),
                    )?;
                    self.path.pop();
                }
            }
            Value::List(items) => {
                let items_of = |node: &'_ Node| match &node.value {
                    Value::List(old) => old.clone(),
                    _ => Vec::new(),
                };
                let old: Vec<(Node, Node)> = known.map_or_else(Vec::new, |(known, shown)| {
                    items_of(known).into_iter().zip(items_of(shown)).collect()
                });
                let as_many = old.len() == items.len();
                for (n, item) in items.iter_mut().enumerate() {
                    // Without an id an item is identified by its index, which is its own while none comes or goes.
                    let meant = match id(item) {
                        Some(own) => old.iter().find(|(o, _)| id(o).as_ref() == Some(&own)),
                        None => old.get(n).filter(|_| as_many),
                    };
                    self.path.push(n.to_string());
                    self.walk(item, meant.map(|(known, shown)| (known, shown)))?;
                    self.path.pop();
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn unknown(&self) -> MergeError {
        MergeError::Placeholder(KeyPath(self.path.clone()))
    }
}

/// `node` patched: objects go key by key, `null` takes a key away, lists of objects with ids go id by id,
/// anything else is replaced. A list that would lose entries must be among `replace`, by its exact path.
///
/// # Errors
/// [`MergeError::Shrinks`].
pub fn patched(node: &Node, patch: &Node, replace: &[KeyPath]) -> Result<Node, MergeError> {
    Patch { replace, path: Vec::new() }.merge(Some(node), patch)
}

struct Patch<'p> {
    replace: &'p [KeyPath],
    path: Vec<String>,
}

impl Patch<'_> {
    fn at<T>(&mut self, key: &str, then: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(key.into());
        let done = then(self);
        self.path.pop();
        done
    }

    fn meant(&self) -> bool {
        self.replace.iter().any(|p| p.0 == self.path)
    }

    fn shrinks(&self) -> MergeError {
        MergeError::Shrinks(KeyPath(self.path.clone()))
    }

    fn merge(&mut self, old: Option<&Node>, patch: &Node) -> Result<Node, MergeError> {
        match (old.map(|o| &o.value), &patch.value) {
            (was, Value::Object(changes)) => {
                let object = matches!(was, Some(Value::Object(_)));
                if !object {
                    self.gone(old)?;
                }
                let mut merged = old.filter(|_| object).cloned().unwrap_or_else(Node::empty);
                for Entry { name, node, .. } in changes {
                    let old = merged.get(name).cloned();
                    let new = self.at(name, |p| match node.value {
                        Value::Null => p.gone(old.as_ref()).map(|()| None),
                        _ => p.merge(old.as_ref(), node).map(Some),
                    })?;
                    put(&mut merged, name, new);
                }
                Ok(merged)
            }
            (Some(Value::List(old)), Value::List(new)) if !self.meant() => {
                if !old.is_empty() && old.iter().chain(new).all(|item| id(item).is_some()) {
                    return self.by_id(old, new, patch.at);
                }
                let mut left: Vec<_> = new.iter().collect();
                for item in old {
                    let same = left.iter().position(|n| n.same(item)).ok_or_else(|| self.shrinks())?;
                    left.swap_remove(same);
                }
                Ok(patch.clone())
            }
            (Some(Value::List(_)), Value::List(_)) => Ok(patch.clone()),
            _ => self.gone(old).map(|()| patch.clone()),
        }
    }

    fn by_id(&mut self, old: &[Node], new: &[Node], at: At) -> Result<Node, MergeError> {
        let mut items = old.to_vec();
        for patch in new {
            let known = items.iter().position(|item| id(item) == id(patch));
            let merged = self.at(KeyPath::ITEM, |p| p.merge(known.map(|n| &items[n]), patch))?;
            match known {
                Some(n) => items[n] = merged,
                None => items.push(merged),
            }
        }
        Ok(Node { at, value: Value::List(items) })
    }

    /// Checks that what stood here may go: every list in it by its own path.
    fn gone(&mut self, old: Option<&Node>) -> Result<(), MergeError> {
        match old.map(|o| &o.value) {
            Some(Value::List(_)) if !self.meant() => Err(self.shrinks()),
            Some(Value::Object(entries)) => {
                entries.iter().try_for_each(|e| self.at(&e.name, |p| p.gone(Some(&e.node))))
            }
            _ => Ok(()),
        }
    }
}

/// Sets or takes away a key of an object.
fn put(object: &mut Node, name: &str, to: Option<Node>) {
    let Value::Object(entries) = &mut object.value else { return };
    match (entries.iter().position(|e| &*e.name == name), to) {
        (Some(n), Some(node)) => entries[n].node = node,
        (Some(n), None) => _ = entries.remove(n),
        (None, Some(node)) => entries.push(Entry { name: name.into(), at: node.at, node }),
        (None, None) => {}
    }
}

/// `node` with `to` at `path`; objects on the way are made. `None` takes what is there away.
///
/// # Errors
/// [`MergeError::NoSuchPlace`], where a value on the way has no keys or items, or what is to go is not there.
pub fn with(node: &Node, path: &KeyPath, to: Option<Node>) -> Result<Node, MergeError> {
    fn set(node: &Node, path: &[String], to: Option<Node>) -> Option<Node> {
        let Some((key, rest)) = path.split_first() else { return to };
        let mut node = node.clone();
        match &mut node.value {
            Value::Object(_) => {
                let inner = match (node.get(key), rest) {
                    (None, _) if to.is_none() => return None,
                    (_, []) => to,
                    (old, rest) => Some(set(old.unwrap_or(&Node::empty()), rest, to)?),
                };
                put(&mut node, key, inner);
            }
            Value::List(items) => {
                let n: usize = key.parse().ok().filter(|n| *n <= items.len())?;
                match (items.get(n), rest, to) {
                    (Some(_), [], None) => _ = items.remove(n),
                    (None, _, None) => return None,
                    (Some(_), [], Some(new)) => items[n] = new,
                    (None, [], Some(new)) => items.push(new),
                    (Some(old), rest, to) => items[n] = set(old, rest, to)?,
                    (None, rest, to) => items.push(set(&Node::empty(), rest, to)?),
                }
            }
            _ => return None,
        }
        Some(node)
    }
    set(node, &path.0, to).ok_or_else(|| MergeError::NoSuchPlace(path.clone()))
}

/// Looks up the value at `path`, items of lists by their index.
pub fn at<'n>(node: &'n Node, path: &KeyPath) -> Option<&'n Node> {
    path.0.iter().try_fold(node, |node, key| match &node.value {
        Value::List(items) => items.get(key.parse::<usize>().ok()?),
        _ => node.get(key),
    })
}

/// Computes the smallest set of edits that turns `old` into `new`.
pub fn edits(old: &Node, new: &Node) -> Vec<Edit> {
    fn walk(old: &Node, new: &Node, path: &mut Vec<String>, out: &mut Vec<Edit>) {
        if !matches!((&old.value, &new.value), (Value::Object(_), Value::Object(_))) {
            if !old.same(new) {
                out.push(Edit { path: KeyPath(path.clone()), to: Some(new.clone()) });
            }
            return;
        }
        for Entry { name, node, .. } in old.entries() {
            path.push(name.to_string());
            match new.get(name) {
                Some(new) => walk(node, new, path, out),
                None => out.push(Edit { path: KeyPath(path.clone()), to: None }),
            }
            path.pop();
        }
        for Entry { name, node, .. } in new.entries().iter().filter(|e| old.get(&e.name).is_none()) {
            path.push(name.to_string());
            out.push(Edit { path: KeyPath(path.clone()), to: Some(node.clone()) });
            path.pop();
        }
    }
    let mut out = Vec::new();
    walk(old, new, &mut Vec::new(), &mut out);
    out
}
