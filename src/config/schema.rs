//! `config.schema`: the rows of [`keys`] as a JSON schema (draft 7), with hints for a form as OpenClaw's Control
//! UI draws it.
//!
//! It holds the keys of `openclaw.json` that Barnacle acts on; other names may stand beside them, since OpenClaw's are kept.

use super::{
    change::diff::KeyPath,
    keys::{self, Key, Kind},
};
use nanoserde::SerJson;
use std::fmt::Write;

/// A node of the schema: a key that has a row, or an object that such keys stand in.
#[derive(Default)]
pub(crate) struct Node {
    key: Option<&'static Key>,
    /// An entry of a list of texts, which has no row of its own.
    text: bool,
    inner: Vec<(&'static str, Node)>,
}

/// Hint for a form about a key.
#[derive(SerJson)]
#[allow(missing_docs)]
pub struct Hint {
    pub label: String,
    pub help: Option<String>,
    pub order: Option<u64>,
    pub advanced: bool,
    pub sensitive: Option<bool>,
}

/// Builds the JSON schema of all keys.
pub(crate) fn root() -> Node {
    let mut root = Node::default();
    // A form must not offer what OpenClaw refuses.
    let offered = |key: &&Key| key.effect.acts() && !key.title.is_empty() && !keys::own::is_moved(key.path);
    for key in keys::OPENCLAW.all().filter(offered) {
        let mut node = &mut root;
        for step in key.path.split('.') {
            let at = node.inner.iter().position(|(name, _)| *name == step).unwrap_or_else(|| {
                node.inner.push((step, Node::default()));
                node.inner.len() - 1
            });
            node = &mut node.inner[at].1;
        }
        node.key = Some(key);
        if matches!(key.kind, Kind::Texts) {
            node.inner.push(("*", Node { text: true, ..Node::default() }));
        }
    }
    root
}

impl Node {
    /// The node at `path` and its pattern, in which entries of a list and names of a record are `*`.
    pub(crate) fn find(&self, path: &KeyPath) -> Option<(&Self, KeyPath)> {
        let (mut node, mut named) = (self, Vec::new());
        for key in &path.0 {
            let fits = |want: &str| node.inner.iter().find(|(name, _)| *name == want);
            let (name, next) = fits(key).or_else(|| fits("*"))?;
            named.push((*name).to_owned());
            node = next;
        }
        Some((node, KeyPath(named)))
    }

    /// The nodes directly below, by name.
    pub(crate) fn children(&self) -> impl Iterator<Item = (&'static str, &Self)> {
        self.inner.iter().map(|(name, node)| (*name, node))
    }

    /// Whether there are nodes below.
    pub(crate) fn has_children(&self) -> bool {
        !self.inner.is_empty()
    }

    /// JSON schema's `type`, where one word is enough.
    pub(crate) fn word(&self) -> Option<&'static str> {
        match self.key.map(|key| key.kind) {
            None if self.text => Some("string"),
            None | Some(Kind::Section) => Some("object"),
            Some(Kind::Text | Kind::Words { .. }) => Some("string"),
            Some(Kind::Flag { .. }) => Some("boolean"),
            Some(Kind::Number { .. }) => Some("integer"),
            Some(Kind::Texts | Kind::Objects) => Some("array"),
            Some(Kind::Secret | Kind::Any) => None,
        }
    }

    /// The hint for the key `name`, the `order`-th at the root.
    pub(crate) fn hint(&self, name: &str, order: Option<u64>) -> Option<Hint> {
        if self.text || self.key.is_none() && name == "*" {
            return None;
        }
        let Some(key) = self.key else {
            let mut label = name.to_owned();
            label.get_mut(..1)?.make_ascii_uppercase();
            return Some(Hint { label, help: None, order, advanced: false, sensitive: None });
        };
        let sensitive = (key.visibility == keys::Visibility::Secret).then_some(true);
        Some(Hint { label: key.title.into(), help: Some(key.help.into()), order, advanced: false, sensitive })
    }

    /// The node as JSON schema; `deep` with the nodes below.
    pub(crate) fn json(&self, deep: bool) -> String {
        let mut members = Vec::new();
        if let Some(word) = self.word() {
            members.push(format!(r#""type":"{word}""#));
        }
        if let Some(Key { title, help, .. }) = self.key {
            let (title, help) = (title.serialize_json(), help.serialize_json());
            members.push(format!(r#""title":{title},"description":{help}"#));
        }
        match self.key.map(|key| key.kind) {
            Some(Kind::Number { min, max, .. }) => {
                members.push(format!(r#""minimum":{min},"maximum":{max}"#))
            }
            Some(Kind::Words { words, .. }) => members.push(format!(r#""enum":{:?}"#, words())),
            Some(Kind::Secret) => members.push(SECRET.into()),
            Some(Kind::Texts) => members.push(r#""items":{"type":"string"}"#.into()),
            Some(Kind::Objects) if deep => {
                let entry = self.inner.iter().find(|(name, _)| *name == "*");
                members.extend(entry.map(|(_, node)| format!(r#""items":{}"#, node.json(true))));
            }
            None | Some(Kind::Section) if deep && !self.text => members.push(self.within()),
            _ => {}
        }
        format!("{{{}}}", members.join(","))
    }

    /// `properties`, and what may stand beside them: anything in a section, for it is kept.
    fn within(&self) -> String {
        let (mut named, mut others) = (String::new(), String::from("true"));
        for (name, node) in &self.inner {
            match *name {
                "*" => others = node.json(true),
                // Writing to a String cannot fail.
                name => drop(write!(named, r#"{}"{name}":{}"#, comma(&named), node.json(true))),
            }
        }
        format!(r#""properties":{{{named}}},"additionalProperties":{others}"#)
    }

    /// The root's schema as a document, with the title that OpenClaw gives it.
    pub(crate) fn document(&self, deep: bool) -> String {
        let inner = self.json(deep);
        format!(
            r#"{{"$schema":"http://json-schema.org/draft-07/schema#","title":"OpenClawConfig",{}"#,
            &inner[1..]
        )
    }

    /// The hints of all keys below, by path, as JSON.
    pub(crate) fn hints(&self) -> String {
        let mut all = String::new();
        for (n, (name, node)) in self.inner.iter().enumerate() {
            node.add_hints(name, name, Some(n as u64), &mut all);
        }
        format!("{{{all}}}")
    }

    fn add_hints(&self, path: &str, name: &str, order: Option<u64>, all: &mut String) {
        if let Some(hint) = self.hint(name, order) {
            // Writing to a String cannot fail.
            let _ = write!(all, r#"{}"{path}":{}"#, comma(all), hint.serialize_json());
        }
        for (name, node) in &self.inner {
            node.add_hints(&format!("{path}.{name}"), name, None, all);
        }
    }
}

/// A secret as text, or as OpenClaw's SecretRef.
const SECRET: &str = r#""anyOf":[{"type":"string"},{"type":"object","properties":{"source":{"type":"string"},"provider":{"type":"string"},"id":{"type":"string"}},"required":["source","provider","id"]}]"#;

fn comma(before: &str) -> &'static str {
    if before.is_empty() { "" } else { "," }
}

/// OpenClaw's word for the effect of a change at `path`; nothing here needs a restart.
pub(crate) fn reload_kind(path: &KeyPath) -> &'static str {
    let within = keys::OPENCLAW.effects_within(path).any(keys::Effect::acts);
    if within || keys::effect(path).acts() { "hot" } else { "none" }
}
