//! The reference page of all keys, `docs/configuration.md`; `barnacle config plan --table` prints it.

use super::{Key, Kind, OPENCLAW, effect::Effect, own::OWN};
use std::fmt::Write;

const HEAD: &str = "\
# Configuration keys

Barnacle reads OpenClaw's `openclaw.json` (JSON5, with `$include` and `${VAR}`); how to edit it: [editing](editing.md). A changed file is applied as it is
saved; no key needs a restart. The last column says what a change does to a running gateway. A key with a wrong
value costs that key alone: the log, `barnacle config validate` and `barnacle doctor` name it by line and column.
`*` is any name, or any entry of a list. Every other key of OpenClaw's is kept as it is and not used by this
version. Barnacle's own keys stand in [a file of their own](#barnacles-own-file), since OpenClaw refuses all of an
`openclaw.json` that has a key it does not know.

This page is made from the rows in `src/config/keys/`: `barnacle config plan --table > docs/configuration.md`.
";

/// Head of the section about Barnacle's own file.
const OWN_FILE: &str = "
## Barnacle's own file

`barnacle/barnacle.json` in the state directory (`~/.openclaw/barnacle/barnacle.json`), JSON5, readable by its owner
alone. It need not be there: that is the same as `{}`. It is applied as it is saved; while it cannot be read, what ran
last holds. `${VAR}` and references are resolved as in `openclaw.json`, with that file's `env` and `secrets`.

```json5
{
  upstream: { url: \"ws://127.0.0.1:18790\" }, // the OpenClaw gateway that Barnacle stands in front of
}
```

Two of the keys were read from `openclaw.json` before, below `gateway`, and still are where this file has none:
`barnacle doctor --fix` moves them.

";

/// Sections of the page: beginnings of paths, and a title. A key stands under the longest one.
const SECTIONS: [(&str, &str); 12] = [
    ("gateway", "The gateway"),
    ("gateway.auth", "Who gets in"),
    ("gateway.tls", "TLS"),
    ("session", "Sessions"),
    ("agents", "Agents"),
    ("messages", "Messages"),
    ("tools", "Tools"),
    ("models", "Models"),
    ("channels", "Channels"),
    ("logging", "Logging"),
    ("secrets", "Secrets"),
    ("env", "Variables"),
];

/// The page, in Markdown.
pub(crate) fn page() -> String {
    let mut page = HEAD.to_owned();
    // Writing to a String cannot fail.
    for (prefix, title) in SECTIONS {
        let _ = write!(page, "\n## {title}\n\n");
        let keys = OPENCLAW.all().filter(|key| !key.title.is_empty() && section(key) == Some(prefix));
        rows(&mut page, keys);
    }
    page.push_str(
        "\n## Keys without a row of their own\n\n| keys in | a change takes effect |\n| --- | --- |\n",
    );
    for key in OPENCLAW.all().filter(|key| key.title.is_empty()) {
        let _ = writeln!(page, "| `{}` | {} |", key.path, key.effect.says());
    }
    let _ = writeln!(page, "| everything else | {} |", Effect::Unused.says());
    page.push_str(OWN_FILE);
    rows(&mut page, OWN.all());
    page
}

/// Adds a table of `keys`.
fn rows(page: &mut String, keys: impl Iterator<Item = &'static Key>) {
    page.push_str("| key | what it is | value | default | a change takes effect |\n");
    page.push_str("| --- | --- | --- | --- | --- |\n");
    for Key { path, help, kind, effect, .. } in keys {
        let (value, default) = (value(kind), default(kind));
        // Writing to a String cannot fail.
        let _ = writeln!(page, "| `{path}` | {help} | {value} | {default} | {} |", effect.says());
    }
}

/// The section of the page that `key` stands in.
fn section(key: &Key) -> Option<&'static str> {
    let prefixes = SECTIONS.iter().map(|(prefix, _)| *prefix);
    prefixes
        .filter(|prefix| super::covers(prefix, &key.path.split('.').collect::<Vec<_>>()))
        .max_by_key(|p| p.len())
}

fn value(kind: &Kind) -> String {
    match kind {
        Kind::Text => "text".into(),
        Kind::Secret => "secret: text, `${VAR}`, or a reference `{source, provider, id}`".into(),
        Kind::Flag { .. } => "`true`, `false`".into(),
        Kind::Number { min, max, .. } => format!("whole number, {min} to {max}"),
        Kind::Words { words, .. } => {
            words().iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
        }
        Kind::Texts => "list of texts".into(),
        Kind::Objects => "list of objects".into(),
        Kind::Any => "text or object".into(),
        Kind::Section => "object".into(),
    }
}

fn default(kind: &Kind) -> String {
    match kind {
        Kind::Flag { default, .. } => format!("`{default}`"),
        Kind::Number { default: Some(n), .. } => format!("`{n}`"),
        Kind::Words { default: Some(word), .. } => format!("`{word}`"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_stands_in_a_section() {
        for key in OPENCLAW.all().filter(|key| !key.title.is_empty()) {
            assert!(section(key).is_some(), "{}", key.path);
        }
        for key in OPENCLAW.all().chain(OWN.all()) {
            assert!(!key.help.contains('|'), "{}", key.path);
        }
    }
}
