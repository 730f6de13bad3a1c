//! Layout of a file (quotes, indentation, line ends), so that additions look like the rest of it.

use super::{
    file::Document,
    node::{Entry, Node, Value, to_json_number},
};
use jsonc_parser::ast::{self, ObjectPropName};
use jsonc_parser::common::Ranged;

/// The habits of a file.
pub struct Layout {
    /// Whether it is JSON, and nothing laxer: other programs may read it too.
    strict: bool,
    /// Quote character of texts.
    quote: char,
    /// Whether names that can do without quotes have none.
    bare_names: bool,
    step: String,
    /// Line ending.
    pub newline: &'static str,
    /// Whether it has more than one line.
    pub lines: bool,
}

/// Counts of the styles that names and texts of a file have.
#[derive(Default)]
struct Counts {
    bare: usize,
    quoted: usize,
    single: usize,
    double: usize,
}

impl Counts {
    fn value(&mut self, value: &ast::Value<'_>, text: &str) {
        match value {
            ast::Value::StringLit(lit) => self.literal(text, lit.range.start),
            ast::Value::Array(list) => list.elements.iter().for_each(|e| self.value(e, text)),
            ast::Value::Object(object) => self.object(object, text),
            _ => {}
        }
    }

    fn object(&mut self, object: &ast::Object<'_>, text: &str) {
        for property in &object.properties {
            match &property.name {
                ObjectPropName::Word(_) => self.bare += 1,
                ObjectPropName::String(name) => {
                    self.quoted += 1;
                    self.literal(text, name.range.start);
                }
            }
            self.value(&property.value, text);
        }
    }

    fn literal(&mut self, text: &str, at: usize) {
        match text[at..].starts_with('\'') {
            true => self.single += 1,
            false => self.double += 1,
        }
    }
}

impl Layout {
    /// Detects the layout of `document`, whose root is `root`.
    pub(crate) fn of(document: &Document, root: &ast::Object<'_>) -> Self {
        let text = &document.text;
        let mut counts = Counts::default();
        counts.object(root, text);
        let first = root.properties.first().map(|p| p.start());
        let step = first.and_then(|at| indent(text, at)).filter(|step| !step.is_empty());
        let strict = miniserde::json::from_str::<miniserde::json::Value>(text).is_ok();
        Self {
            strict,
            quote: if counts.single > counts.double { '\'' } else { '"' },
            bare_names: !strict && counts.bare > counts.quoted,
            step: step.unwrap_or("  ").into(),
            newline: if text.contains("\r\n") { "\r\n" } else { "\n" },
            lines: text.trim_end().contains('\n'),
        }
    }

    /// Returns `indent` plus one step.
    pub(crate) fn deeper(&self, indent: &str) -> String {
        format!("{indent}{}", self.step)
    }

    /// `name` as the name of a key.
    pub(crate) fn name(&self, name: &str) -> String {
        let start = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '$');
        let plain = name.starts_with(start) && name.chars().all(|c| start(c) || c.is_ascii_digit());
        match self.bare_names && plain {
            true => name.into(),
            false => quoted(name, self.quote),
        }
    }

    /// `node` over several lines, the first of which is indented by `indent`; on one line if `None`.
    pub(crate) fn value(&self, node: &Node, indent: Option<&str>) -> String {
        match &node.value {
            Value::Null => "null".into(),
            Value::Bool(on) => on.to_string(),
            Value::Number(written) if self.strict => to_json_number(written),
            Value::Number(written) => written.to_string(),
            Value::Text(text) => quoted(text, self.quote),
            Value::List(items) => {
                let plain = items.iter().all(|i| !matches!(i.value, Value::List(_) | Value::Object(_)));
                let indent = indent.filter(|_| self.strict || !plain);
                let deeper = indent.map(|indent| self.deeper(indent));
                let items = items.iter().map(|item| self.value(item, deeper.as_deref()));
                self.within('[', items.collect(), ']', indent)
            }
            Value::Object(entries) => {
                let deeper = indent.map(|indent| self.deeper(indent));
                let entry = |Entry { name, node, .. }: &Entry| {
                    format!("{}: {}", self.name(name), self.value(node, deeper.as_deref()))
                };
                self.within('{', entries.iter().map(entry).collect(), '}', indent)
            }
        }
    }

    fn within(&self, open: char, items: Vec<String>, close: char, indent: Option<&str>) -> String {
        match indent {
            Some(indent) if !items.is_empty() => {
                let (line, inner) = (self.newline, self.deeper(indent));
                let items = items.join(&format!(",{line}{inner}"));
                format!("{open}{line}{inner}{items}{line}{indent}{close}")
            }
            _ => format!("{open}{}{close}", items.join(", ")),
        }
    }
}

/// The blanks before `at`, if nothing else stands before it on its line.
pub(crate) fn indent(text: &str, at: usize) -> Option<&str> {
    let start = text[..at].rfind(['\n', '\r']).map(|n| n + 1)?;
    text[start..at].chars().all(|c| matches!(c, ' ' | '\t')).then_some(&text[start..at])
}

/// Quotes `text` with `quote`.
pub(crate) fn quoted(text: &str, quote: char) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                out.push_str(&format!("\\u{:04x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}
