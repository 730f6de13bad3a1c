//! The configuration and lines about it, fit to be shown: without what is or may be a secret.
//!
//! Unknown is hidden: a value is shown if the key is known to hold no secret, or if neither its name, its
//! neighbours nor its shape speak of one. References (`${VAR}`, SecretRef objects) are no secrets and stay.

use super::{
    KeyPath,
    keys::{self, Visibility},
    lint::known::Known,
    text::{
        edit::edited,
        file::Document,
        node::{Entry, Node, Value},
    },
};
use std::borrow::Cow;

mod said;
mod shape;

pub use said::{is_credential_of, without_credentials};

/// Placeholder for a secret; OpenClaw's clients know it.
pub const REDACTED: &str = "__OPENCLAW_REDACTED__";

/// Reader of a redacted text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Viewer {
    /// A client that may change the configuration: names of keys stay, so that it can be written back.
    Admin,
    /// Any other client.
    Reader,
}

/// Copies `root` with every secret replaced.
pub fn tree(root: &Node, viewer: Viewer) -> Node {
    Redactor::of(viewer).node(root, Place::root())
}

/// The text of `document` with placeholders in the place of its secrets, for an administrator. `None` where
/// more than its tree may hold one: a comment that speaks of a secret, or a key that stands there twice.
pub fn text_of(document: &Document) -> Option<String> {
    let root = document.parse().map(|root| Node::of(&root, 0)).ok()?;
    if document.comments().any(|comment| shape::assigns_secret(comment) || shape::holds_secret(comment)) {
        return None;
    }
    let mut redactor = Redactor::of(Viewer::Admin);
    let shown = redactor.node(&root, Place::root());
    let text = edited(document, &shown)?;
    let left = redactor.hidden.iter().any(|secret| secret.len() >= SHORT && text.contains(&**secret));
    let bom = if document.bom { "\u{feff}" } else { "" };
    (!left).then(|| format!("{bom}{text}"))
}

/// `line`, which quotes from the configuration, without the words that look like a secret. The names in the path of a
/// key are judged one by one: in a section that is not known, a name may be a secret as well as a value.
pub fn line(line: &str) -> Cow<'_, str> {
    let ends_word =
        |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | ',' | ';' | '(' | ')' | '‹' | '›');
    let ends_name = |c: char| ends_word(c) || matches!(c, '.' | '+' | '[' | ']');
    let is_known = |path: &str| path.split(ends_name).all(|name| !Known::paths_of(name).is_empty());
    let hidden = |text: &str| shape::is_secret_word(text) && !is_known(text);
    if !line.split(ends_word).any(|word| hidden(word) || word.split(ends_name).any(hidden)) {
        return Cow::Borrowed(line);
    }
    let mut out = String::with_capacity(line.len());
    for word in line.split_inclusive(ends_word) {
        let text = word.trim_end_matches(ends_word);
        if hidden(text) {
            out.extend([REDACTED, &word[text.len()..]]);
            continue;
        }
        for part in word.split_inclusive(ends_name) {
            let name = part.trim_end_matches(ends_name);
            out.extend([if hidden(name) { REDACTED } else { name }, &part[name.len()..]]);
        }
    }
    Cow::Owned(out)
}

/// A secret this short may stand anywhere by chance, bytes.
const SHORT: usize = 4;

/// Context of a value, as far as it decides whether the value is a secret.
#[derive(Clone, Copy)]
struct Place<'p> {
    /// Nearest name above the value.
    name: &'p str,
    /// The key that is known there.
    known: Option<Known>,
    /// Whether a name above it speaks of a secret.
    below_secret: bool,
    /// Whether everything there may be one, whatever its name: variables, headers.
    all: bool,
    /// Whether a neighbour says that it is one: `{name: "Authorization", value: …}`, `["--api-key", …]`.
    beside_secret: bool,
}

impl<'p> Place<'p> {
    fn root() -> Self {
        Place { name: "", known: Some(Known::ROOT), below_secret: false, all: false, beside_secret: false }
    }

    fn key(self, name: &'p str) -> Self {
        Place {
            name,
            known: self.known.and_then(|known| known.child(name)),
            below_secret: self.below_secret || shape::names_secret(name),
            all: self.all
                || matches!(&*name.to_ascii_lowercase(), "env" | "vars" | "headers" | "environment"),
            beside_secret: false,
        }
    }

    fn item(self) -> Self {
        Place { known: self.known.and_then(|known| known.child("[]").or(leaf(known))), ..self }
    }
}

/// A list whose entries have no key of their own is known with its entries.
fn leaf(known: Known) -> Option<Known> {
    known.children().is_empty().then_some(known)
}

struct Redactor {
    viewer: Viewer,
    hidden: Vec<Box<str>>,
    /// The path of the value that is looked at.
    path: Vec<String>,
}

impl Redactor {
    fn of(viewer: Viewer) -> Self {
        Self { viewer, hidden: Vec::new(), path: Vec::new() }
    }

    /// Whether the value's row declares it a secret.
    fn is_declared_secret(&self) -> bool {
        keys::visibility(&self.path) == Visibility::Secret
    }

    fn node(&mut self, node: &Node, place: Place<'_>) -> Node {
        let value = match &node.value {
            Value::Text(text) if self.hides_text(text, place) => self.hide(text),
            Value::Number(number) if self.is_declared_secret() || hides_number(place) => self.hide(number),
            Value::Object(entries) => Value::Object(self.object(node, entries, place)),
            Value::List(items) => Value::List(self.list(items, place)),
            plain => plain.clone(),
        };
        Node { at: node.at, value }
    }

    fn hide(&mut self, text: &str) -> Value {
        self.hidden.push(text.into());
        Value::Text(REDACTED.into())
    }

    fn object(&mut self, node: &Node, entries: &[Entry], place: Place<'_>) -> Vec<Entry> {
        let reference = is_reference_object(node);
        // {name: "X-Api-Key", value: "…"}
        let naming = ["name", "key", "header", "variable", "option", "flag"];
        let named = naming.iter().filter_map(|name| node.get(name)?.text()).any(shape::names_secret);
        let mut numbered = 0;
        let mut entry = |Entry { name, at, node }: &Entry| {
            let below = place.key(name);
            let beside_secret = named && !naming.contains(&&**name);
            let node = match reference {
                true => node.clone(),
                false => {
                    self.path.push(name.to_string());
                    let shown = self.node(node, Place { beside_secret, ..below });
                    self.path.pop();
                    shown
                }
            };
            let known = below.known.is_some_and(|known| known.name == &**name);
            let name = match self.viewer == Viewer::Reader && !known && shape::is_secret_word(name) {
                true => {
                    numbered += 1;
                    format!("{REDACTED}{numbered}").into()
                }
                false => name.clone(),
            };
            Entry { name, at: *at, node }
        };
        entries.iter().map(&mut entry).collect()
    }

    fn list(&mut self, items: &[Node], place: Place<'_>) -> Vec<Node> {
        let mut before: Option<&str> = None;
        let item = |node: &Node, before: Option<&str>, this: &mut Self| {
            let flag = |text: &str| text.starts_with('-') || place.known.is_none();
            let beside = before.is_some_and(|b| b.len() <= 40 && flag(b) && shape::names_secret(b));
            this.node(node, Place { beside_secret: place.beside_secret || beside, ..place.item() })
        };
        let mut out = Vec::with_capacity(items.len());
        for node in items {
            self.path.push(KeyPath::ITEM.into());
            out.push(item(node, before, self));
            self.path.pop();
            before = node.text();
        }
        out
    }

    fn hides_text(&self, text: &str, place: Place<'_>) -> bool {
        if text.is_empty() || is_variable(text) {
            return false;
        }
        let known = place.known.is_some();
        let named = shape::names_secret(place.name);
        place.all
            || named
            || self.is_declared_secret()
            || place.beside_secret
            || place.below_secret && !known
            || shape::holds_secret(text)
            || if known { shape::is_random_word(text) } else { shape::looks_random(text) }
    }
}

fn hides_number(place: Place<'_>) -> bool {
    let counts = shape::counts(place.name);
    place.all
        || place.beside_secret
        || !counts && shape::names_secret(place.name)
        || place.below_secret && place.known.is_none() && !counts
}

/// `{source, provider, id}`: names a secret and is none, if `id` is a name.
fn is_reference_object(node: &Node) -> bool {
    let text = |name| node.get(name).and_then(Node::text);
    let all = node.entries().iter().all(|e| matches!(&*e.name, "source" | "provider" | "id"));
    let (Some(source), Some(id)) = (text("source"), text("id")) else { return false };
    let fits = match source {
        "env" => is_variable(&format!("${{{id}}}")),
        "file" => id == "value" || id.starts_with('/'),
        "exec" | "store" => true,
        _ => false,
    };
    let plain = |text: &str| !shape::holds_secret(text) && !text.split('/').any(shape::looks_random);
    all && fits && plain(id) && text("provider").is_none_or(plain)
}

fn is_variable(text: &str) -> bool {
    let name = text.strip_prefix("${").and_then(|t| t.strip_suffix('}'));
    name.is_some_and(|n| {
        !n.is_empty() && n.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_keys_stay_and_secrets_go() {
        for text in [
            "gateway.controlUi.dangerouslyAllowHostHeaderOriginFallback is a number, must be true or false",
            "configuration reloaded: +channels.whatsapp.allowFrom, -gateway.auth.rateLimit · 0.3 ms",
        ] {
            assert_eq!(line(text), text);
        }
        let secret = "jX3hT9vQ2LmN8pRs7KdZ5yWc4BfA6gUe";
        for text in
            [format!("+hooks1.url.{secret}"), format!("a [\"{secret}\"], b"), format!("x: {secret}; y")]
        {
            assert!(!line(&text).contains(secret), "{}", line(&text));
        }
    }
}
