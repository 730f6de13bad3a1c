//! Changing a text without touching what is not changed.
//!
//! The text's tree and the wanted one are walked side by side; where they differ, and only there, the
//! text is spliced. So comments, order, layout and line ends outside of a changed value stay byte for byte.

use super::{
    file::Document,
    layout::{Layout, indent, quoted},
    node::{Entry, Node, Value},
    trivia::{blanks, comment, trivia},
};
use jsonc_parser::ast;
use jsonc_parser::common::Ranged;
use std::ops::Range;

/// The text of `document` edited so that its root equals `wanted`. `None` where it is no JSON5, or has
/// no place for it.
pub fn edited(document: &Document, wanted: &Node) -> Option<String> {
    let Value::Object(entries) = &wanted.value else { return None };
    let root = document.parse().ok()?;
    let layout = Layout::of(document, &root);
    let mut editor = Editor { text: &document.text, layout, splices: Vec::new() };
    editor.object(&root, entries);
    let text = editor.spliced();
    let after = Document::unwritten(&document.path, &text);
    let same = after.parse().is_ok_and(|root| Node::of(&root, 0).same(wanted));
    same.then_some(text)
}

/// Text that stands for a range of the old one. What is taken away may overlap.
struct Splice {
    range: Range<usize>,
    with: String,
}

struct Editor<'t> {
    text: &'t str,
    layout: Layout,
    splices: Vec<Splice>,
}

/// What an object or a list comes to hold, in order.
enum Slot<'n> {
    /// The item that stood there.
    Old(usize),
    /// A new one, with its name in an object.
    New(Option<&'n str>, &'n Node),
}

/// An object or a list of the text.
struct Container {
    /// What stands between its brackets.
    inner: Range<usize>,
    items: Vec<Range<usize>>,
    /// Of each item, where its comma is.
    commas: Vec<Option<usize>>,
    /// Whether its items stand on lines of their own.
    lines: bool,
    /// Whether those that hold others have one line each.
    flat: bool,
    /// The blanks before its closing bracket, on a line of its own.
    around: String,
    /// Those before its items.
    indent: String,
}

impl Editor<'_> {
    fn splice(&mut self, range: Range<usize>, with: impl Into<String>) {
        self.splices.push(Splice { range, with: with.into() });
    }

    fn value(&mut self, old: &ast::Value<'_>, new: &Node) {
        match (old, &new.value) {
            (ast::Value::Object(object), Value::Object(entries)) => self.object(object, entries),
            (ast::Value::Array(list), Value::List(items)) => self.list(list, items),
            _ if Node::of_value(old, 0).same(new) => {}
            _ => {
                let text = self.replacement(old, new);
                self.splice(old.start()..old.end(), text);
            }
        }
    }

    /// `new` in the place of `old`; a text keeps its quotes.
    fn replacement(&self, old: &ast::Value<'_>, new: &Node) -> String {
        if let (ast::Value::StringLit(lit), Value::Text(text)) = (old, &new.value) {
            let single = self.text[lit.range.start..].starts_with('\'');
            return quoted(text, if single { '\'' } else { '"' });
        }
        self.layout.value(new, self.layout.lines.then(|| self.line_indent(old.start())))
    }

    /// The blanks at the start of the line of `at`.
    fn line_indent(&self, at: usize) -> &str {
        let start = self.text[..at].rfind(['\n', '\r']).map_or(0, |n| n + 1);
        let line = &self.text[start..at];
        &line[..blanks(line)]
    }

    fn object(&mut self, old: &ast::Object<'_>, new: &[Entry]) {
        let mut slots = Vec::new();
        for (n, property) in old.properties.iter().enumerate() {
            let name = property.name.as_str();
            let Some(entry) = new.iter().find(|e| &*e.name == name) else { continue };
            slots.push(Slot::Old(n));
            // The last of equal keys is the one that counts.
            if !old.properties[n + 1..].iter().any(|p| p.name.as_str() == name) {
                self.value(&property.value, &entry.node);
            }
        }
        let known = |entry: &&Entry| old.properties.iter().any(|p| p.name.as_str() == &*entry.name);
        slots.extend(new.iter().filter(|e| !known(e)).map(|e| Slot::New(Some(&e.name), &e.node)));
        let items = old.properties.iter().map(|p| p.start()..p.end()).collect();
        self.contain(old.start()..old.end(), items, &slots);
    }

    fn list(&mut self, old: &ast::Array<'_>, new: &[Node]) {
        let before: Vec<_> = old.elements.iter().map(|e| Node::of_value(e, 0)).collect();
        let mut slots = Vec::new();
        for (from, node) in aligned(&before, new) {
            match from {
                Some(n) => {
                    self.value(&old.elements[n], node);
                    slots.push(Slot::Old(n));
                }
                None => slots.push(Slot::New(None, node)),
            }
        }
        let items = old.elements.iter().map(|e| e.start()..e.end()).collect();
        self.contain(old.start()..old.end(), items, &slots);
    }

    /// Takes what is not among `slots` out of the container at `whole`, which holds `items`, and puts in
    /// what is new.
    fn contain(&mut self, whole: Range<usize>, items: Vec<Range<usize>>, slots: &[Slot<'_>]) {
        let kept = |n: usize| slots.iter().any(|s| matches!(s, Slot::Old(k) if *k == n));
        let gone: Vec<_> = (0..items.len()).filter(|n| !kept(*n)).collect();
        if gone.is_empty() && slots.len() == items.len() {
            return;
        }
        let container = self.container(whole, items);
        let trailing = container.commas.last().is_some_and(Option::is_some);
        gone.iter().for_each(|n| self.remove(&container, *n));
        let mut anchor = None;
        for (place, slot) in slots.iter().enumerate() {
            let last = place + 1 == slots.len();
            let comma = !last || trailing;
            match slot {
                Slot::Old(n) => {
                    let end = container.items[*n].end;
                    match container.commas[*n] {
                        None if comma => self.splice(end..end, ","),
                        Some(at) if !comma => self.splice(at..at + 1, ""),
                        _ => {}
                    }
                    anchor = Some(*n);
                }
                Slot::New(name, node) => {
                    let spread = container.lines && !container.flat;
                    let value = self.layout.value(node, spread.then_some(&container.indent));
                    let name = name.map(|n| format!("{}: ", self.layout.name(n))).unwrap_or_default();
                    let text = format!("{name}{value}{}", if comma { "," } else { "" });
                    self.insert(&container, anchor, last, &text);
                }
            }
        }
    }

    fn container(&self, whole: Range<usize>, items: Vec<Range<usize>>) -> Container {
        let mut before = whole.start;
        let mut lines = items.is_empty() && self.layout.lines;
        for item in &items {
            lines |= self.text[before..item.start].contains('\n');
            before = item.end;
        }
        let flat = items.iter().any(|item| self.text[item.clone()].contains(['{', '[']))
            && !items.iter().any(|item| self.text[item.clone()].contains('\n'));
        let around = self.line_indent(whole.start).to_owned();
        let own = items.iter().find_map(|item| indent(self.text, item.start));
        let indent = own.map_or_else(|| self.layout.deeper(&around), str::to_owned);
        let commas = items.iter().map(|item| self.comma(item.end)).collect();
        Container { inner: whole.start + 1..whole.end - 1, items, commas, lines, flat, around, indent }
    }

    /// Puts `text` behind the item `anchor`, or first.
    fn insert(&mut self, container: &Container, anchor: Option<usize>, last: bool, text: &str) {
        let Container { inner, items, commas, lines, around, indent, .. } = container;
        let after = anchor.map(|n| commas[n].map_or(items[n].end, |at| at + 1));
        if !lines {
            let first = if items.is_empty() { inner.start } else { items[0].start.min(inner.end) };
            let (at, text) = match after {
                Some(at) => (at, format!(" {text}")),
                None if last => (first, text.to_owned()),
                None => (first, format!("{text} ")),
            };
            return self.splice(at..at, text);
        }
        let at = self.line_end(after.unwrap_or(inner.start), inner.end);
        let newline = self.layout.newline;
        // The closing bracket of what was empty comes on a line of its own.
        let closes = last && items.is_empty() && !self.text[at..inner.end].contains('\n');
        let close = if closes { format!("{newline}{around}") } else { String::new() };
        self.splice(at..at, format!("{newline}{indent}{text}{close}"));
    }

    /// Where the comma after an item that ends at `at` stands.
    fn comma(&self, at: usize) -> Option<usize> {
        let at = at + trivia(&self.text[at..]);
        self.text[at..].starts_with(',').then_some(at)
    }

    /// Where what is written on a line behind `at` ends: comments there belong to it.
    fn line_end(&self, at: usize, end: usize) -> usize {
        let line = self.text[at..end].find(['\n', '\r']).map_or(end, |n| at + n);
        let mut last = at;
        loop {
            let begins = last + blanks(&self.text[last..line]);
            let length = comment(&self.text[begins..end]);
            if length == 0 || begins + length > line {
                return last;
            }
            last = begins + length;
        }
    }

    /// Takes out an item with its comma, and its line if nothing else is on it.
    fn remove(&mut self, container: &Container, n: usize) {
        let item = container.items[n].clone();
        let mut to = item.end;
        if let Some(at) = container.commas[n] {
            if self.text[to..at].trim().is_empty() {
                to = at + 1;
            } else {
                self.splice(at..at + 1, "");
            }
        }
        let after = to + blanks(&self.text[to..]);
        let newline = match &self.text[after..] {
            rest if rest.starts_with("\r\n") => 2,
            rest if rest.starts_with(['\n', '\r']) => 1,
            _ => 0,
        };
        let before = self.text[..item.start].trim_end_matches([' ', '\t']).len();
        let starts_line = indent(self.text, item.start).is_some();
        let previous = n.checked_sub(1).map_or(container.inner.start, |n| container.items[n].end);
        let comment = self.text[previous..item.start].contains("//");
        let range = match (starts_line, newline > 0) {
            // The bracket closes on its line: it comes up to the one before.
            (true, false) if after == container.inner.end && !comment => {
                self.text[..before].trim_end().len().max(previous)..to
            }
            (true, true) => before..after + newline,
            (false, false) if after < container.inner.end => item.start..after,
            (true, false) => item.start..after,
            _ => before..to,
        };
        self.splice(range, "");
    }

    /// The text with every splice made.
    fn spliced(mut self) -> String {
        // Of two at one place, what is put in goes before what is taken out.
        self.splices.sort_by_key(|s| (s.range.start, s.range.end));
        let (mut out, mut at) = (String::with_capacity(self.text.len() + 64), 0);
        for Splice { range, with } in &self.splices {
            out.push_str(&self.text[at..range.start.max(at)]);
            out.push_str(with);
            at = at.max(range.end);
        }
        out.push_str(&self.text[at..]);
        out
    }
}

/// Which old item becomes which new one: by their `id`s where they have any; else what is the same at
/// either end stays, and what is between is taken in order.
fn aligned<'n>(old: &[Node], new: &'n [Node]) -> Vec<(Option<usize>, &'n Node)> {
    let ids = |items: &[Node]| items.iter().map(id).collect::<Option<Vec<_>>>();
    if let (Some(was), Some(now)) = (ids(old), ids(new)) {
        let places: Vec<_> = now.iter().map(|id| was.iter().position(|w| w == id)).collect();
        let known: Vec<_> = places.iter().flatten().collect();
        if known.is_sorted_by(|a, b| a < b) {
            return places.into_iter().zip(new).collect();
        }
    }
    let same = |(a, b): &(&Node, &Node)| a.same(b);
    let head = old.iter().zip(new).take_while(same).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(same).count();
    let between = (head..old.len() - tail).map(Some).chain(std::iter::repeat(None));
    let (middle, end) = new[head..].split_at(new.len() - head - tail);
    (0..head)
        .map(Some)
        .zip(new)
        .chain(between.zip(middle))
        .chain((old.len() - tail..old.len()).map(Some).zip(end))
        .collect()
}

/// What tells an item of a list from the others.
pub(crate) fn id(item: &Node) -> Option<String> {
    match &item.get("id")?.value {
        Value::Text(text) => Some(text.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
