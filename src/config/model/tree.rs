//! Reading values out of the source, one key at a time, with errors that say where.
//!
//! There are no structs to deserialise into: a key that is wrong costs that key alone, and keys that
//! nobody asks for are never looked at. Which values are right, which holds without the key and which in
//! place of a wrong one stands in the key's row ([`crate::config::keys`]).

use crate::config::{
    credentials::variables::Variables,
    keys::{Kind, OPENCLAW, Table, words::Choice},
    text::{
        node::{Node, Value},
        source::Source,
    },
};
use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::path::PathBuf;

/// A key whose value is not of its kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    /// Path of the file.
    pub file: PathBuf,
    /// Dotted path of the key.
    pub path: String,
    /// Line of the value, from 1.
    pub line: usize,
    /// Column of the value, from 1.
    pub column: usize,
    /// Value that was found; never a secret.
    pub found: String,
    /// Values that are accepted.
    pub expected: String,
    /// Value that is used instead.
    pub instead: String,
    /// Whether that is the value from before.
    pub kept: bool,
}

impl ConfigError {
    /// Expectation of a key that takes a text and nothing else.
    pub const TEXT: &str = "a string in quotes";

    /// Whether it is about the port.
    pub(crate) fn is_of_port(&self) -> bool {
        self.path == "gateway.port"
    }

    /// Whether it is about the address to listen on.
    pub(crate) fn is_of_bind(&self) -> bool {
        matches!(&*self.path, "gateway.bind" | "gateway.customBindHost")
    }

    /// Whether it is about where to listen.
    pub(crate) fn is_of_listening(&self) -> bool {
        self.is_of_port() || self.is_of_bind()
    }

    /// Whether it is about TLS.
    pub(crate) fn is_of_tls(&self) -> bool {
        self.path.starts_with("gateway.tls")
    }

    /// Notes that the value from before holds.
    pub(crate) fn keep(&mut self) {
        self.instead = "what it was before".into();
        self.kept = true;
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, path, line, column, found, expected, instead, .. } = self;
        let file = file.display();
        write!(f, "{file}:{line}:{column}: {path} is {found}, must be {expected}; until then: {instead}")
    }
}

/// A source, collecting errors while it is read.
pub struct Tree<'s> {
    source: &'s Source,
    variables: Variables<'s>,
    table: Table,
    errors: RefCell<Vec<(usize, ConfigError)>>,
}

impl<'s> Tree<'s> {
    /// Reads values that stand in `source`, with `${VAR}` in texts replaced from `variables`.
    pub(crate) fn new(source: &'s Source, variables: Variables<'s>) -> Self {
        Self::of(OPENCLAW, source, variables)
    }

    /// As [`new`](Self::new), for a file with the keys of `table`.
    pub(crate) fn of(table: Table, source: &'s Source, variables: Variables<'s>) -> Self {
        Self { source, variables, table, errors: RefCell::default() }
    }

    /// The root, to read from.
    pub(crate) fn root(&self) -> Section<'_> {
        self.at_root(Place::Object(&self.source.root))
    }

    /// The root of a file that could not be read: every key holds its closed value.
    pub(crate) fn broken(&self) -> Section<'_> {
        self.at_root(Place::Broken)
    }

    fn at_root<'t>(&'t self, place: Place<'t>) -> Section<'t> {
        Section { tree: self, path: String::new(), pattern: String::new(), place }
    }

    /// Errors, file by file from the top down.
    pub(crate) fn into_errors(self) -> Vec<ConfigError> {
        let mut errors = self.errors.into_inner();
        errors.sort_by_key(|(file, error)| (*file, error.line, error.column));
        errors.dedup();
        errors.into_iter().map(|(_, error)| error).collect()
    }

    fn error(&self, path: String, at: &Node, found: String, expected: &str, instead: &str) {
        let (file, line, column) = self.source.position(at.at);
        let (file, expected, instead) = (file.into(), expected.into(), instead.into());
        let error = ConfigError { file, path, line, column, found, expected, instead, kept: false };
        self.errors.borrow_mut().push((at.at.file.into(), error));
    }
}

#[derive(Clone, Copy)]
enum Place<'t> {
    Absent,
    /// The object, or one it stands in, is none: its values are unknown.
    Broken,
    Object(&'t Node),
}

/// An object of the source, or the place where one would be.
pub struct Section<'t> {
    tree: &'t Tree<'t>,
    path: String,
    /// Path in the rows of keys.
    pattern: String,
    place: Place<'t>,
}

/// A list of texts, as far as it could be decoded.
#[derive(Default)]
pub struct List {
    /// Items that could be decoded.
    pub items: Vec<String>,
    /// Whether every item could be decoded.
    pub whole: bool,
}

impl<'t> Section<'t> {
    /// The value of a key. `null` counts as absent.
    pub(crate) fn value(&self, name: &str) -> Option<&'t Node> {
        let Place::Object(object) = self.place else { return None };
        object.get(name).filter(|node| !matches!(node.value, Value::Null))
    }

    /// The names of its keys.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'t str> {
        let entries = match self.place {
            Place::Object(object) => object.entries(),
            _ => &[],
        };
        entries.iter().map(|e| &*e.name)
    }

    /// Values of `${VAR}` in its texts.
    pub(crate) fn variables(&self) -> Variables<'t> {
        self.tree.variables
    }

    /// Whether the object, or one it stands in, is there and is no object.
    pub(crate) fn is_broken(&self) -> bool {
        matches!(self.place, Place::Broken)
    }

    /// Notes an error: the value `at` of key `name` is `found`, not `expected`; `instead` holds.
    pub(crate) fn error(&self, name: &str, at: &Node, found: String, expected: &str, instead: &str) {
        self.tree.error(self.path_of(name), at, found, expected, instead);
    }

    /// Position of `node`, which is below it: file, line and column.
    pub(crate) fn place(&self, node: &Node) -> (PathBuf, usize, usize) {
        let (file, line, column) = self.tree.source.position(node.at);
        (file.into(), line, column)
    }

    fn pattern_of(&self, name: &str) -> String {
        self.tree.table.step(&self.pattern, name)
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.into() } else { format!("{}.{name}", self.path) }
    }

    /// The object under a key.
    pub(crate) fn section(&self, name: &str) -> Section<'t> {
        let place = match (self.place, self.value(name)) {
            (Place::Broken, _) => Place::Broken,
            (_, None) => Place::Absent,
            (_, Some(node)) if matches!(node.value, Value::Object(_)) => Place::Object(node),
            (_, Some(other)) => {
                let found = other.kind().into();
                self.error(name, other, found, "an object {…}", "its keys hold their safe values");
                Place::Broken
            }
        };
        self.below(name, place)
    }

    fn below(&self, name: &str, place: Place<'t>) -> Section<'t> {
        let pattern = self.pattern_of(name);
        Section { tree: self.tree, path: self.path_of(name), pattern, place }
    }

    /// The kind of the key `name`. Every key that is read has a row.
    fn kind(&self, name: &str) -> Kind {
        let row = self.tree.table.row(&self.pattern_of(name));
        debug_assert!(row.is_some(), "{} has no row", self.path_of(name));
        row.map_or(Kind::Any, |key| key.kind)
    }

    /// The object under a key that may also hold something else.
    pub(crate) fn object(&self, name: &str) -> Option<Section<'t>> {
        let node = self.value(name).filter(|node| matches!(node.value, Value::Object(_)))?;
        Some(self.below(name, Place::Object(node)))
    }

    /// The objects of a list.
    pub(crate) fn sections(&self, name: &str, instead: &str) -> Vec<Section<'t>> {
        let items = match self.value(name) {
            None => return Vec::new(),
            Some(Node { value: Value::List(items), .. }) => items,
            Some(other) => {
                self.error(name, other, other.kind().into(), "a list of objects", instead);
                return Vec::new();
            }
        };
        let pattern = self.tree.table.step(&self.pattern_of(name), "*");
        let mut sections = Vec::with_capacity(items.len());
        for (n, item) in items.iter().enumerate() {
            let name = format!("{name}[{n}]");
            match item.value {
                Value::Object(_) => {
                    let (path, pattern) = (self.path_of(&name), pattern.clone());
                    sections.push(Section { tree: self.tree, path, pattern, place: Place::Object(item) });
                }
                _ => self.error(&name, item, item.kind().into(), "an object {…}", instead),
            }
        }
        sections
    }

    /// The switch at a key.
    pub(crate) fn flag(&self, name: &str) -> bool {
        let Kind::Flag { default, wrong, unreadable } = self.kind(name) else { return false };
        self.flag_or(name, default, wrong, unreadable)
    }

    /// The switch at a key whose default depends on others.
    pub(crate) fn flag_with_default(&self, name: &str, default: bool) -> bool {
        let Kind::Flag { wrong, unreadable, .. } = self.kind(name) else { return false };
        self.flag_or(name, default, wrong, unreadable)
    }

    fn flag_or(&self, name: &str, default: bool, wrong: bool, unreadable: bool) -> bool {
        match self.value(name) {
            Some(Node { value: Value::Bool(on), .. }) => *on,
            Some(other) => {
                self.error(name, other, other.kind().into(), "true or false", &wrong.to_string());
                wrong
            }
            None if self.is_broken() => unreadable,
            None => default,
        }
    }

    /// The number written at a key, within the range of its row.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        let Kind::Number { min, max, .. } = self.kind(name) else { return None };
        let node = self.value(name)?;
        let written = match &node.value {
            Value::Number(written) => Some(&**written),
            _ => None,
        };
        let number = written.and_then(whole).filter(|n| (min..=max).contains(n));
        if number.is_none() {
            let found = written.unwrap_or_else(|| node.kind()).to_owned();
            self.error(name, node, found, &format!("a whole number from {min} to {max}"), "its default");
        }
        number
    }

    /// The number at a key, else the default of its row.
    pub(crate) fn number_or_default(&self, name: &str) -> u64 {
        let default = match self.kind(name) {
            Kind::Number { default, .. } => default,
            _ => None,
        };
        self.number(name).or(default).unwrap_or_default()
    }

    /// A text; blank counts as absent.
    pub(crate) fn text(&self, name: &str) -> Option<Cow<'t, str>> {
        let text = self.expanded(name, self.value(name)?, "as if it were not there")?;
        match text {
            Cow::Borrowed(text) => Some(Cow::Borrowed(text.trim())),
            Cow::Owned(text) => Some(Cow::Owned(text.trim().to_owned())),
        }
        .filter(|text| !text.is_empty())
    }

    /// The text `node` of key `name`, its variables replaced; `None` is noted.
    fn expanded(&self, name: &str, node: &'t Node, instead: &str) -> Option<Cow<'t, str>> {
        let Some(text) = node.text() else {
            self.error(name, node, node.kind().into(), ConfigError::TEXT, instead);
            return None;
        };
        let expanded = self.tree.variables.expand(text);
        expanded
            .map_err(|missing| {
                let found = format!("${{{}}}", missing.name);
                let expected = format!("set: it {}", missing.wanting());
                self.error(name, node, found, &expected, instead);
            })
            .ok()
    }

    /// The meaning of the word at a key: of its default without one, of what its row says in place of a wrong
    /// one.
    pub(crate) fn word<T: Choice>(&self, name: &str) -> Option<T> {
        let Kind::Words { words, default, wrong } = self.kind(name) else { return None };
        let Some(node) = self.value(name) else {
            return if self.is_broken() { wrong } else { default }.and_then(T::of);
        };
        let instead = wrong.map_or("as if it were not there".into(), |word| format!("{word:?}"));
        let written = match node.text() {
            Some(_) => match self.expanded(name, node, &instead) {
                Some(text) => Some(text.trim().to_owned()),
                None => return wrong.and_then(T::of),
            },
            None => None,
        };
        written.as_deref().and_then(T::of).or_else(|| {
            let expected: Vec<_> = words().iter().map(|word| format!("\"{word}\"")).collect();
            let found = written.map_or_else(|| node.kind().into(), |text| format!("{text:?}"));
            self.error(name, node, found, &format!("one of {}", expected.join(", ")), &instead);
            wrong.and_then(T::of)
        })
    }

    /// Decodes a list of texts.
    pub(crate) fn list(&self, name: &str, instead: &str) -> List {
        let mut list = List { items: Vec::new(), whole: !self.is_broken() };
        match self.value(name) {
            None => {}
            Some(Node { value: Value::List(items), .. }) => {
                for (n, item) in items.iter().enumerate() {
                    let name = format!("{name}[{n}]");
                    if item.text().is_none() {
                        self.error(&name, item, item.kind().into(), "a string", instead);
                        list.whole = false;
                    } else if let Some(text) = self.expanded(&name, item, instead) {
                        list.items.push(text.trim().to_owned());
                    } else {
                        list.whole = false;
                    }
                }
            }
            Some(other) => {
                self.error(name, other, other.kind().into(), "a list of strings", instead);
                list.whole = false;
            }
        }
        list
    }
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
