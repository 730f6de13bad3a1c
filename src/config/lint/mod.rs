//! Lint: harmless problems in the configuration, reported once.
//!
//! A key that is wrong where it counts is a [`super::ConfigError`]. These are the rest: unknown names, keys that Barnacle
//! does not use, keys that moved, variables that are set nowhere. No value is ever shown.

pub(crate) mod known;
pub mod moved;
pub mod near;
pub(crate) mod unknown;

use self::{known::Known, unknown::Name};
use super::{
    credentials::variables::{self, Variables},
    keys::{self, Effect},
    text::{
        node::{At, Doubled, Node, Value},
        source::Source,
    },
};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::PathBuf;

/// Rule that a warning comes from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Rule {
    /// A key that neither OpenClaw nor Barnacle knows.
    Unknown,
    /// A key that stands twice in one object.
    Doubled,
    /// A key that newer releases of OpenClaw have elsewhere, or not at all.
    Moved,
    /// A key that belongs into Barnacle's own file.
    Own,
    /// A variable that is set nowhere.
    Unset,
    /// A text that resembles `${VAR}` and is no variable.
    Unlike,
    /// A list that let somebody in or kept somebody out, and is empty now.
    Shrunk,
    /// Keys of OpenClaw that Barnacle has no use for.
    Unused,
}

/// A harmless problem of the configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Warning {
    /// Rule it comes from.
    pub rule: Rule,
    /// Key, dotted; empty where it is about several.
    pub path: String,
    /// File, line and column, the last two from 1.
    pub place: Option<(PathBuf, usize, usize)>,
    /// Problem, in words.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((file, line, column)) = &self.place {
            write!(f, "{}:{line}:{column}: ", file.display())?;
        }
        f.write_str(&self.message)
    }
}

/// Most lines of one kind.
pub(crate) const MOST: usize = 25;
/// Most names in one line.
const NAMES: usize = 12;

/// Lints `source`: warnings rule by rule, each from the top down.
pub(crate) fn warnings(source: &Source, variables: Variables<'_>) -> Vec<Warning> {
    let (path, found) = Default::default();
    let mut walk = Walk { source, path, found, unknowns: 0, gone: Vec::new(), unused: Vec::new() };
    walk.object(&source.root, Some(Known::ROOT));
    let Walk { mut found, gone, unused, .. } = walk;
    found.extend(doubled(source));
    found.extend(unset(source, variables));
    found.extend(unlike_variables(source, is_used));
    let several = |rule, message| Warning { rule, path: String::new(), place: None, message };
    if !gone.is_empty() {
        let old = "of older releases of OpenClaw, not of 2026.9, and ignored";
        found.push(several(Rule::Moved, format!("{old}: {}", listed(gone.iter().cloned()))));
    }
    if !unused.is_empty() {
        found.push(several(Rule::Unused, format!("kept, not used by Barnacle: {}", sections(&unused))));
    }
    found.sort_by_key(|c| c.rule);
    let mut short = Vec::new();
    for kind in found.chunk_by(|a, b| a.rule == b.rule) {
        short.extend(kind.iter().take(MOST).cloned());
        if kind.len() > MOST {
            let more = kind.len() - MOST;
            short.push(several(kind[0].rule, format!("and {more} more like the line above")));
        }
    }
    short
}

/// Warns of keys that stand twice.
pub(crate) fn doubled(source: &Source) -> impl Iterator<Item = Warning> {
    source.doubled.iter().enumerate().map(|(n, Doubled { path, at })| {
        let path = dotted(&path.iter().map(String::as_str).collect::<Vec<_>>());
        let message = format!("{path} stands twice in its object: the last of them counts");
        let place = (n < MOST).then(|| placed(source, *at));
        Warning { rule: Rule::Doubled, path, place, message }
    })
}

/// Warns of lists that let somebody in or kept somebody out in `old`, and are empty or gone in `new`.
pub fn shrunk(old: &Source, new: &Source) -> Vec<Warning> {
    fn lists<'n>(node: &'n Node, path: &mut Vec<&'n str>, found: &mut Vec<(Vec<&'n str>, usize)>) {
        for entry in node.entries() {
            path.push(&entry.name);
            match &entry.node.value {
                Value::List(items) if guards(&entry.name) && !items.is_empty() => {
                    found.push((path.clone(), items.len()));
                }
                _ => lists(&entry.node, path, found),
            }
            path.pop();
        }
    }
    let mut before = Vec::new();
    lists(&old.root, &mut Vec::new(), &mut before);
    let gone = before.into_iter().filter_map(|(path, n)| {
        let now = new.root.find(path.iter().copied());
        let how = match now.map(|n| &n.value) {
            None | Some(Value::Null) => "is gone",
            Some(Value::List(items)) if items.is_empty() => "is empty",
            _ => return None,
        };
        let (path, place) = (dotted(&path), now.map(|node| placed(new, node.at)));
        let entries = if n == 1 { "1 entry".into() } else { format!("{n} entries") };
        let message = format!("{path} {how}: it had {entries} before; if that was not meant, put them back");
        Some(Warning { rule: Rule::Shrunk, path, place, message })
    });
    gone.take(MOST).collect()
}

/// Whether a list of this name decides who gets in, or what they may do.
fn guards(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let whole = ["allow", "deny", "allowcommands", "denycommands", "allowlist", "allowusers", "owners"];
    let more = ["allowedorigins", "trustedproxies", "autoapprovecidrs"];
    name.ends_with("allowfrom") || whole.contains(&&*name) || more.contains(&&*name)
}

struct Walk<'s> {
    source: &'s Source,
    path: Vec<&'s str>,
    found: Vec<Warning>,
    /// Number of warnings about unknown keys.
    unknowns: usize,
    /// Keys that OpenClaw no longer has.
    gone: Vec<String>,
    /// Keys that nothing here acts on.
    unused: Vec<String>,
}

impl<'s> Walk<'s> {
    /// Looks at what stands in an object whose key is `known`; `None` where only keys that moved are.
    fn object(&mut self, node: &'s Node, known: Option<Known>) {
        let siblings = known.map(Known::children).unwrap_or_default();
        for entry in node.entries() {
            self.path.push(&entry.name);
            // Notes of OpenClaw's own are no settings.
            if keys::effect_at(&self.path) != Effect::Silent {
                self.key(entry.at, &entry.node, &siblings);
            }
            self.path.pop();
        }
    }

    fn key(&mut self, at: At, node: &'s Node, siblings: &[Known]) {
        let moved = moved::newest(&self.path);
        if let Some(new) = moved {
            let path = dotted(&self.path);
            let there = new.split(' ').next().unwrap_or(new);
            let both = self.source.root.find(there.split('.')).is_some();
            let counts = if both { "; that is there too, and counts" } else { "" };
            self.note(Rule::Moved, at, format!("{path} is {new} in OpenClaw 2026.9{counts}"));
        }
        let suggest = self.unknowns < MOST;
        match unknown::judge(&self.path, siblings, &self.source.root, suggest) {
            Name::Known(known) => self.below(node, known, moved.is_some()),
            Name::Own => {}
            Name::Above if matches!(node.value, Value::Object(_)) => self.object(node, None),
            Name::Above => self.unknown(at, node, None),
            Name::Unknown(meant) => self.unknown(at, node, meant),
        }
    }

    fn below(&mut self, node: &'s Node, known: Known, moved: bool) {
        let leaf = known.children().is_empty();
        match &node.value {
            Value::Object(entries) if !leaf && (moved || !known.gone) => {
                if !entries.is_empty() {
                    self.object(node, Some(known));
                }
            }
            Value::List(items) if !leaf && (moved || !known.gone) => {
                if let Some(entry) = known.child("[]") {
                    self.path.push("[]");
                    items.iter().for_each(|item| self.object(item, Some(entry)));
                    self.path.pop();
                }
            }
            _ if moved => {}
            _ if is_used(&self.path) => {}
            _ if known.gone => self.gone.push(dotted(&self.path)),
            _ => self.unused.push(dotted(&self.path)),
        }
    }

    fn unknown(&mut self, at: At, node: &Node, meant: Option<String>) {
        self.unknowns += 1;
        let (path, kind) = (dotted(&self.path), node.kind());
        let meant = meant.map(|m| format!("; did you mean {m}?")).unwrap_or_default();
        let message = format!("{path} ({kind}) is no key of OpenClaw or Barnacle, and is ignored{meant}");
        self.note(Rule::Unknown, at, message);
    }

    fn note(&mut self, rule: Rule, at: At, message: String) {
        // To find a place is to count lines from the top. Of a flood nobody sees the rest.
        let shown = self.found.iter().filter(|c| c.rule == rule).take(MOST).count() < MOST;
        let place = shown.then(|| placed(self.source, at));
        self.found.push(Warning { rule, path: dotted(&self.path), place, message });
    }
}

/// Warns of unset variables in keys that nothing here acts on; in the others they are errors.
fn unset(source: &Source, variables: Variables<'_>) -> Vec<Warning> {
    struct Search<'s, 'v> {
        variables: Variables<'v>,
        path: Vec<&'s str>,
        /// By name: where it is first, where it was looked for, and which keys want it.
        missing: BTreeMap<String, (At, String, Vec<String>)>,
    }
    fn search<'s>(node: &'s Node, all: &mut Search<'s, '_>) {
        match &node.value {
            Value::Object(entries) => {
                for entry in entries {
                    all.path.push(&entry.name);
                    if !is_used(&all.path) {
                        search(&entry.node, all);
                    }
                    all.path.pop();
                }
            }
            Value::List(items) => items.iter().for_each(|item| search(item, all)),
            Value::Text(text) => {
                if let Err(missing) = all.variables.expand(text) {
                    let new = (node.at, missing.wanting(), Vec::new());
                    all.missing.entry(missing.name).or_insert(new).2.push(dotted(&all.path));
                }
            }
            _ => {}
        }
    }
    let mut all = Search { variables, path: Vec::new(), missing: BTreeMap::new() };
    search(&source.root, &mut all);
    let warnings = all.missing.into_iter().map(|(name, (at, wanting, paths))| {
        let path = paths.first().cloned().unwrap_or_default();
        let message = format!("${{{name}}} {wanting}; without it: {}", listed(paths.into_iter()));
        Warning { rule: Rule::Unset, path, place: Some(placed(source, at)), message }
    });
    warnings.collect()
}

/// Warns of `${name}` and `${NAME:-…}`, as a shell or a compose file has them, in keys that are `used`.
pub(crate) fn unlike_variables(source: &Source, used: fn(&[&str]) -> bool) -> Vec<Warning> {
    fn search<'s>(
        node: &'s Node,
        used: fn(&[&str]) -> bool,
        path: &mut Vec<&'s str>,
        found: &mut Vec<(At, String, String)>,
    ) {
        match &node.value {
            Value::Object(entries) => {
                for entry in entries {
                    path.push(&entry.name);
                    search(&entry.node, used, path, found);
                    path.pop();
                }
            }
            Value::List(items) => items.iter().for_each(|item| search(item, used, path, found)),
            Value::Text(text) if used(path) => {
                if let Some(meant) = variables::unlike_variable(text) {
                    found.push((node.at, dotted(path), meant));
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    search(&source.root, used, &mut Vec::new(), &mut found);
    let warnings = found.into_iter().map(|(at, path, meant)| {
        let message = format!(
            "{path} holds ${{…}} that is no variable, and is kept as written: only ${{NAME}} is replaced, in \
             capitals and without a default; did you mean ${{{meant}}}?"
        );
        Warning { rule: Rule::Unlike, path, place: Some(placed(source, at)), message }
    });
    warnings.collect()
}

/// Whether the gateway acts on the key at `path`, or warns that it cannot.
fn is_used(path: &[&str]) -> bool {
    keys::effect_at(path) != Effect::Unused
}

/// `paths` by section, each with how many keys of it there are.
fn sections(paths: &[String]) -> String {
    let mut counted: Vec<(String, usize, &str)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for path in paths {
        let deep = if path.starts_with("agents.defaults.") { 3 } else { 2 };
        let section = path.split('.').take(deep).collect::<Vec<_>>().join(".");
        match places.get(&section) {
            Some(&place) => counted[place].1 += 1,
            None => {
                places.insert(section.clone(), counted.len());
                counted.push((section, 1, path));
            }
        }
    }
    listed(counted.into_iter().map(|(section, n, sole)| match n {
        1 => sole.to_owned(),
        n => format!("{section} ({n} keys)"),
    }))
}

fn listed(items: impl ExactSizeIterator<Item = String>) -> String {
    let more = items.len().saturating_sub(NAMES);
    let mut text = items.take(NAMES).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

pub(crate) fn placed(source: &Source, at: At) -> (PathBuf, usize, usize) {
    let (file, line, column) = source.position(at);
    (file.into(), line, column)
}

/// The path as a person writes it, each name cut short: a line must stay one.
pub(crate) fn dotted(path: &[&str]) -> String {
    const LONGEST: usize = 80;
    let mut text = String::new();
    for name in path {
        if !text.is_empty() && *name != "[]" {
            text.push('.');
        }
        text.extend(name.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST));
        if name.chars().nth(LONGEST).is_some() {
            text.push('…');
        }
    }
    text
}
