//! The configuration as one tree of plain values, each with the file and the place it was read from.
//!
//! The parser's own tree borrows one text; this one is what several files come to when `$include` puts
//! them together, and outlives them: a reload compares it with the next.

use jsonc_parser::ast;
use jsonc_parser::common::Ranged;
use nanoserde::{SerJson, SerJsonState};
use std::collections::HashMap;

/// Position of a value: file and offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct At {
    /// Index of the document in the source.
    pub file: u16,
    /// The byte it begins at.
    pub start: u32,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// Position of the value.
    pub at: At,
    /// The value itself.
    pub value: Value,
}

/// A value of JSON5.
#[derive(Clone, Debug)]
pub enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number as it is written.
    Number(Box<str>),
    /// A text, without its quotes; `${VAR}` in it is as it was written.
    Text(Box<str>),
    /// A list.
    List(Vec<Node>),
    /// An object, in the order of the file. A name stands in it once.
    Object(Vec<Entry>),
}

/// A key that stands again later in its object; the last of them counts.
#[derive(Clone, Debug)]
pub(crate) struct Doubled {
    /// Path from the root; an entry of a list is `[]`.
    pub(crate) path: Vec<String>,
    /// Position in its file.
    pub(crate) at: At,
}

/// A key of an object and its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Name of the key.
    pub name: Box<str>,
    /// Position of the key.
    pub at: At,
    /// Value of the key.
    pub node: Node,
}

impl Node {
    /// Makes an empty object, at the beginning of the file.
    pub fn empty() -> Self {
        Self { at: At { file: 0, start: 0 }, value: Value::Object(Vec::new()) }
    }

    /// A text that stands nowhere yet.
    pub fn of_text(text: &str) -> Self {
        Self { value: Value::Text(text.into()), ..Self::empty() }
    }

    /// The tree of the parsed object `root` of document `file`.
    pub fn of(root: &ast::Object<'_>, file: u16) -> Self {
        Builder { file, path: Vec::new(), doubled: None }.object(root)
    }

    /// The tree of the parsed `value` of document `file`.
    pub fn of_value(value: &ast::Value<'_>, file: u16) -> Self {
        Builder { file, path: Vec::new(), doubled: None }.node(value)
    }

    /// As [`of_value`](Self::of_value), for a document included at `path`, adding keys that stand twice to
    /// `doubled`.
    pub(crate) fn of_included(
        value: &ast::Value<'_>,
        file: u16,
        path: &[String],
        doubled: &mut Vec<Doubled>,
    ) -> Self {
        let path = path.iter().map(String::as_str).collect();
        Builder { file, path, doubled: Some(doubled) }.node(value)
    }

    /// How many keys stand in it, however deep.
    pub fn keys(&self) -> usize {
        match &self.value {
            Value::Object(entries) => entries.iter().map(|e| 1 + e.node.keys()).sum(),
            Value::List(items) => items.iter().map(Node::keys).sum(),
            _ => 0,
        }
    }

    /// The entries, if it is an object.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Object(entries) => entries,
            _ => &[],
        }
    }

    /// The value of key `name`, if it is an object that has one.
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.entries().iter().find(|e| &*e.name == name).map(|e| &e.node)
    }

    /// The value at `path`, key by key.
    pub fn find<'p>(&self, path: impl IntoIterator<Item = &'p str>) -> Option<&Node> {
        path.into_iter().try_fold(self, |node, name| node.get(name))
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Kind of value, in words, without the value.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Text(_) => "a string",
            Value::Number(_) => "a number",
            Value::Bool(_) => "true or false",
            Value::Object(_) => "an object",
            Value::List(_) => "a list",
            Value::Null => "null",
        }
    }

    /// Whether both values are equal, wherever they stand and in whatever order their keys are.
    pub fn same(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Number(a), Value::Number(b)) => a == b || same_number(a, b),
            (Value::Text(a), Value::Text(b)) => a == b,
            (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b)),
            (Value::Object(a), Value::Object(b)) => {
                let same = |(a, b): (&Entry, &Entry)| a.name == b.name && a.node.same(&b.node);
                a.len() == b.len() && sorted(a).into_iter().zip(sorted(b)).all(same)
            }
            _ => false,
        }
    }

    /// Serialises the value as JSON.
    pub fn to_json(&self) -> String {
        let mut out = SerJsonState::new(String::new());
        self.write_json(&mut out, &mut |_, _| None);
        out.out
    }

    /// Writes the value as JSON. `text` returns the replacement of a text or a number, given its keys from the
    /// root; `None` is the value itself.
    pub fn write_json(&self, out: &mut SerJsonState, text: &mut dyn FnMut(&[&str], &Self) -> Option<String>) {
        fn write<'n>(
            node: &'n Node,
            path: &mut Vec<&'n str>,
            out: &mut SerJsonState,
            text: &mut dyn FnMut(&[&str], &Node) -> Option<String>,
        ) {
            match &node.value {
                Value::Null => out.out.push_str("null"),
                Value::Bool(on) => on.ser_json(0, out),
                Value::Number(number) => match text(path, node) {
                    Some(instead) => instead.ser_json(0, out),
                    None => out.out.push_str(&to_json_number(number)),
                },
                Value::Text(own) => match text(path, node) {
                    Some(instead) => instead.ser_json(0, out),
                    None => own.to_string().ser_json(0, out),
                },
                Value::List(items) => {
                    out.out.push('[');
                    for (n, item) in items.iter().enumerate() {
                        if n > 0 {
                            out.out.push(',');
                        }
                        write(item, path, out, text);
                    }
                    out.out.push(']');
                }
                Value::Object(entries) => {
                    out.out.push('{');
                    for (n, entry) in entries.iter().enumerate() {
                        if n > 0 {
                            out.out.push(',');
                        }
                        entry.name.to_string().ser_json(0, out);
                        out.out.push(':');
                        path.push(&entry.name);
                        write(&entry.node, path, out, text);
                        path.pop();
                    }
                    out.out.push('}');
                }
            }
        }
        write(self, &mut Vec::new(), out, text);
    }
}

/// The entries in the order of their names.
fn sorted(entries: &[Entry]) -> Vec<&Entry> {
    let mut sorted: Vec<_> = entries.iter().collect();
    sorted.sort_unstable_by_key(|e| &e.name);
    sorted
}

/// Builds the tree of one document.
struct Builder<'b> {
    file: u16,
    path: Vec<&'b str>,
    doubled: Option<&'b mut Vec<Doubled>>,
}

impl<'b> Builder<'b> {
    fn at(&self, value: &impl Ranged) -> At {
        At { file: self.file, start: value.start() as u32 }
    }

    fn object(&mut self, object: &'b ast::Object<'_>) -> Node {
        let names = object.properties.iter().map(|property| property.name.as_str());
        // The last of equal keys counts, as JSON5 has it, in the place of the first.
        let last: HashMap<&str, usize> = names.enumerate().map(|(n, name)| (name, n)).collect();
        let mut places = HashMap::new();
        let mut entries: Vec<Entry> = Vec::with_capacity(last.len());
        for (n, property) in object.properties.iter().enumerate() {
            let name = property.name.as_str();
            let at = self.at(property);
            self.path.push(name);
            let value = if last.get(name) == Some(&n) {
                self.node(&property.value)
            } else {
                if let Some(doubled) = &mut self.doubled {
                    let path = self.path.iter().map(|key| (*key).to_owned()).collect();
                    doubled.push(Doubled { path, at });
                }
                Node { at, value: Value::Null }
            };
            self.path.pop();
            let entry = Entry { name: name.into(), at, node: value };
            match places.get(name) {
                Some(&earlier) => entries[earlier] = entry,
                None => {
                    places.insert(name, entries.len());
                    entries.push(entry);
                }
            }
        }
        Node { at: self.at(object), value: Value::Object(entries) }
    }

    fn node(&mut self, value: &'b ast::Value<'_>) -> Node {
        let plain = match value {
            ast::Value::Object(inner) => return self.object(inner),
            ast::Value::NullKeyword(_) => Value::Null,
            ast::Value::BooleanLit(lit) => Value::Bool(lit.value),
            ast::Value::NumberLit(lit) => Value::Number(lit.value.into()),
            ast::Value::StringLit(lit) => Value::Text(lit.value.as_ref().into()),
            ast::Value::Array(list) => {
                self.path.push("[]");
                let items = list.elements.iter().map(|item| self.node(item)).collect();
                self.path.pop();
                Value::List(items)
            }
        };
        Node { at: self.at(value), value: plain }
    }
}

/// Whether two numbers are one: `1000` and `1e3` are. Whole numbers beyond a float's precision are compared exactly.
fn same_number(a: &str, b: &str) -> bool {
    let (a, b) = (to_json_number(a), to_json_number(b));
    let whole = |text: &str| text.parse::<i128>().ok();
    let float = |text: &str| text.parse::<f64>().ok();
    match (whole(&a), whole(&b)) {
        (Some(a), Some(b)) => a == b,
        _ => a == b || float(&a).is_some_and(|n| float(&b) == Some(n)),
    }
}

/// JSON5's numbers in JSON: hexadecimal, a plus sign or a bare point are not in it, nor is infinity.
pub(crate) fn to_json_number(text: &str) -> String {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |t| ("-", t));
    let digits = digits.strip_prefix('+').unwrap_or(digits);
    if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        return format!("{sign}{}", u64::from_str_radix(hex, 16).unwrap_or_default());
    }
    if miniserde::json::from_str::<miniserde::json::Number>(text).is_ok() {
        return text.into();
    }
    match text.parse::<f64>().ok().filter(|n| n.is_finite()) {
        Some(n) => n.to_string(),
        None => "null".into(),
    }
}
