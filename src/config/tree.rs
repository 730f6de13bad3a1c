//! Reading values out of the parsed file, one key at a time, with faults that say where.
//!
//! There are no structs to deserialise into: a key that is wrong costs that key alone, and keys that
//! nobody asks for are never looked at. Each reader is told two values: the default, for a key that is
//! not there, and the closed one, for a key that is there and makes no sense.

use super::file::{Document, position};
use jsonc_parser::ast::{Object, Value};
use jsonc_parser::common::Ranged;
use std::cell::RefCell;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// A key whose value is not of its kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Which file.
    pub file: PathBuf,
    /// The key, dotted.
    pub path: String,
    /// Of the value, from 1.
    pub line: usize,
    /// Of the value, from 1.
    pub column: usize,
    /// What stands there; never a secret.
    pub found: String,
    /// What may stand there.
    pub expected: String,
    /// What holds instead.
    pub instead: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, path, line, column, found, expected, instead } = self;
        let file = file.display();
        write!(f, "{file}:{line}:{column}: {path} is {found}, must be {expected}; until then: {instead}")
    }
}

/// A parsed file, collecting faults while it is read.
pub struct Tree<'s> {
    source: &'s Document,
    faults: RefCell<Vec<Fault>>,
}

impl<'s> Tree<'s> {
    /// Reads values that stand in `source`.
    pub fn new(source: &'s Document) -> Self {
        Self { source, faults: RefCell::default() }
    }

    /// The root, to read from.
    pub fn root<'t>(&'t self, root: &'t Object<'s>) -> Section<'t> {
        Section { tree: self, path: String::new(), node: Node::Object(root) }
    }

    /// The root of a file that could not be read: every key holds its closed value.
    pub fn broken(&self) -> Section<'_> {
        Section { tree: self, path: String::new(), node: Node::Broken }
    }

    /// What was wrong, from the top of the file down.
    pub fn into_faults(self) -> Vec<Fault> {
        let mut faults = self.faults.into_inner();
        faults.sort_by_key(|fault| (fault.line, fault.column));
        faults.dedup();
        faults
    }

    fn fault(&self, path: String, at: &Value<'_>, found: String, expected: &str, instead: &str) {
        let (line, column) = position(&self.source.text, at.start());
        let (file, expected, instead) = (self.source.path.clone(), expected.into(), instead.into());
        self.faults.borrow_mut().push(Fault { file, path, line, column, found, expected, instead });
    }
}

#[derive(Clone, Copy)]
enum Node<'t> {
    Absent,
    /// It, or what it stands in, is no object: what it would have said is unknown.
    Broken,
    Object(&'t Object<'t>),
}

/// An object of the file, or the place where one would be.
pub struct Section<'t> {
    tree: &'t Tree<'t>,
    path: String,
    node: Node<'t>,
}

/// A word that is none of the valid ones, or that cannot be known because its section is broken.
pub struct NoSuchWord;

/// A list of texts.
#[derive(Default)]
pub struct List {
    /// Those that could be read.
    pub items: Vec<String>,
    /// Whether all could be.
    pub whole: bool,
}

impl<'t> Section<'t> {
    /// The value of a key; the last of equal ones, as JSON5 has it. `null` counts as absent.
    pub fn value(&self, name: &str) -> Option<&'t Value<'t>> {
        let Node::Object(object) = self.node else { return None };
        let last = object.properties.iter().rev().find(|p| p.name.as_str() == name)?;
        (!matches!(last.value, Value::NullKeyword(_))).then_some(&last.value)
    }

    /// Whether this, or what it stands in, is there and is no object.
    pub fn is_broken(&self) -> bool {
        matches!(self.node, Node::Broken)
    }

    /// Notes that the value `at` of key `name` is `found`, and what holds instead.
    pub fn fault(&self, name: &str, at: &Value<'_>, found: String, expected: &str, instead: &str) {
        self.tree.fault(self.path_of(name), at, found, expected, instead);
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.into() } else { format!("{}.{name}", self.path) }
    }

    /// The object under a key.
    pub fn section(&self, name: &str) -> Section<'t> {
        let node = match (self.node, self.value(name)) {
            (Node::Broken, _) => Node::Broken,
            (_, None) => Node::Absent,
            (_, Some(Value::Object(object))) => Node::Object(object),
            (_, Some(other)) => {
                self.fault(name, other, kind(other), "an object {…}", "its keys hold their safe values");
                Node::Broken
            }
        };
        Section { tree: self.tree, path: self.path_of(name), node }
    }

    /// A switch.
    pub fn flag(&self, name: &str, default: bool, closed: bool) -> bool {
        match self.value(name) {
            Some(Value::BooleanLit(lit)) => lit.value,
            Some(other) => {
                self.fault(name, other, kind(other), "true or false", &closed.to_string());
                closed
            }
            None if self.is_broken() => closed,
            None => default,
        }
    }

    /// A whole number within `range`.
    pub fn number(&self, name: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.value(name)?;
        let number = match value {
            Value::NumberLit(lit) => whole(lit.value).filter(|n| range.contains(n)),
            _ => None,
        };
        if number.is_none() {
            let found = match value {
                Value::NumberLit(lit) => lit.value.to_owned(),
                other => kind(other),
            };
            let expected = format!("a whole number from {} to {}", range.start(), range.end());
            self.fault(name, value, found, &expected, "its default");
        }
        number
    }

    /// A text.
    pub fn text(&self, name: &str) -> Option<&'t str> {
        match self.value(name)? {
            Value::StringLit(lit) => Some(lit.value.trim()).filter(|t| !t.is_empty()),
            other => {
                self.fault(name, other, kind(other), "a string in quotes", "as if it were not there");
                None
            }
        }
    }

    /// One word of several.
    ///
    /// # Errors
    /// [`NoSuchWord`] where it is none of them; the fault is noted.
    pub fn word<T: Copy>(
        &self,
        name: &str,
        words: &[(&str, T)],
        instead: &str,
    ) -> Result<Option<T>, NoSuchWord> {
        let Some(value) = self.value(name) else {
            return if self.is_broken() { Err(NoSuchWord) } else { Ok(None) };
        };
        let said = match value {
            Value::StringLit(lit) => Some(lit.value.trim()),
            _ => None,
        };
        if let Some((_, meant)) = words.iter().find(|(word, _)| Some(*word) == said) {
            return Ok(Some(*meant));
        }
        let valid: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let found = said.map_or_else(|| kind(value), |s| format!("{s:?}"));
        self.fault(name, value, found, &format!("one of {}", valid.join(", ")), instead);
        Err(NoSuchWord)
    }

    /// A list of texts.
    pub fn list(&self, name: &str, instead: &str) -> List {
        let mut list = List { items: Vec::new(), whole: !self.is_broken() };
        match self.value(name) {
            None => {}
            Some(Value::Array(array)) => {
                for (n, element) in array.elements.iter().enumerate() {
                    if let Value::StringLit(lit) = element {
                        list.items.push(lit.value.trim().to_owned());
                    } else {
                        self.fault(&format!("{name}[{n}]"), element, kind(element), "a string", instead);
                        list.whole = false;
                    }
                }
            }
            Some(other) => {
                self.fault(name, other, kind(other), "a list of strings", instead);
                list.whole = false;
            }
        }
        list
    }
}

/// What a value is, without saying what it says.
pub(super) fn kind(value: &Value<'_>) -> String {
    match value {
        Value::StringLit(_) => "a string",
        Value::NumberLit(_) => "a number",
        Value::BooleanLit(_) => "true or false",
        Value::Object(_) => "an object",
        Value::Array(_) => "a list",
        Value::NullKeyword(_) => "null",
    }
    .into()
}

/// A JSON5 number that is whole and not negative: `18789`, `+5`, `1e4`, `0x4965`.
fn whole(text: &str) -> Option<u64> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u64::from_str_radix(digits, 16).ok();
    }
    text.parse().ok().or_else(|| {
        let n: f64 = text.parse().ok()?;
        (n.fract() == 0.0 && (0.0..9e15).contains(&n)).then_some(n as u64)
    })
}
