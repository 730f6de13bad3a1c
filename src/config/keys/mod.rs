//! Configuration keys: one row a key.
//!
//! Everything that must agree about a key is read from its [`Key`]: the decoder's range, words and default
//! ([`super::model`]), `config.schema` ([`super::schema`]), what a change does to a running gateway
//! ([`super::change::plan`]), which keys the linter calls unused ([`super::lint`]), whether its value may be
//! shown, and `docs/configuration.md` ([`reference`]). A new key is a row here and a field of the model. The keys
//! of Barnacle's own file are a [`Table`] of their own ([`own`]).

mod agents;
mod auth;
pub(crate) mod effect;
mod gateway;
mod logging;
mod models;
pub(crate) mod own;
pub(crate) mod reference;
mod sources;
mod tls;
mod tools;
pub(crate) mod words;

pub use effect::Effect;
pub use gateway::{DEFAULT_HANDSHAKE_TIMEOUT, DEFAULT_PORT};

use super::change::diff::KeyPath;
use std::ops::RangeInclusive;
use words::Choice;

/// Values a key accepts, and the value that holds without it or instead of a wrong one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Any text.
    Text,
    /// A text that is never shown, or a reference to one.
    Secret,
    /// True or false.
    Flag {
        /// Value without the key.
        default: bool,
        /// Value in place of one that is neither.
        wrong: bool,
        /// Value while the file, or the section of the key, cannot be read.
        unreadable: bool,
    },
    /// A whole number within bounds; a wrong one counts as absent.
    Number {
        min: u64,
        max: u64,
        /// Value without the key.
        default: Option<u64>,
    },
    /// One of several words.
    Words {
        /// Words as `config.schema` offers them.
        words: fn() -> Vec<&'static str>,
        /// Word without the key.
        default: Option<&'static str>,
        /// Word in place of an unknown one; without it, a wrong value counts as absent.
        wrong: Option<&'static str>,
    },
    /// A list of texts.
    Texts,
    /// A list of objects.
    Objects,
    /// A value that OpenClaw's documentation describes: a text or an object, say.
    Any,
    /// An object whose keys have rows of their own; its effect covers those that have none.
    Section,
}

/// Whether the value of a key may be shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Visibility {
    /// A value that may be shown to everyone.
    Public,
    /// A value that is never shown.
    Secret,
    /// Undeclared: to be judged by name and shape.
    Unknown,
}

/// A key of the configuration.
#[derive(Debug)]
pub(crate) struct Key {
    /// Path from the root, dotted; `*` for any name, or any entry of a list.
    pub(crate) path: &'static str,
    /// Accepted values.
    pub(crate) kind: Kind,
    /// Effect of a change on a running gateway.
    pub(crate) effect: Effect,
    /// Whether the value may be shown.
    pub(crate) visibility: Visibility,
    /// Label in a form; empty for a section without one.
    pub(crate) title: &'static str,
    /// Help in a form and in the reference.
    pub(crate) help: &'static str,
}

const fn key(
    path: &'static str,
    kind: Kind,
    effect: Effect,
    visibility: Visibility,
    title: &'static str,
    help: &'static str,
) -> Key {
    Key { path, kind, effect, visibility, title, help }
}

/// A section without a value of its own; `effect` covers the keys in it that have no row.
const fn section(path: &'static str, effect: Effect) -> Key {
    key(path, Kind::Section, effect, Visibility::Unknown, "", "")
}

/// A switch whose wrong value, or unreadable section, means `closed`.
const fn flag(default: bool, closed: bool) -> Kind {
    Kind::Flag { default, wrong: closed, unreadable: closed }
}

/// A switch that is `wrong` for a wrong value, and its default in a file that cannot be read.
const fn flag_unless_wrong(default: bool, wrong: bool) -> Kind {
    Kind::Flag { default, wrong, unreadable: default }
}

const fn number(min: u64, max: u64, default: Option<u64>) -> Kind {
    Kind::Number { min, max, default }
}

const fn one_of<T: Choice>(default: Option<&'static str>, wrong: Option<&'static str>) -> Kind {
    Kind::Words { words: T::words, default, wrong }
}

/// Rows of one file's keys.
#[derive(Clone, Copy)]
pub(crate) struct Table(&'static [&'static [Key]]);

/// Keys of `openclaw.json`, in the order of the reference.
pub(crate) static OPENCLAW: Table = Table(&[
    gateway::KEYS,
    auth::KEYS,
    tls::KEYS,
    agents::KEYS,
    models::KEYS,
    tools::KEYS,
    tools::OF_ALL,
    tools::OF_ALL_WITH,
    tools::OF_ONE,
    tools::OF_ONE_WITH,
    tools::OF_LISTED,
    tools::OF_LISTED_WITH,
    logging::KEYS,
    sources::KEYS,
]);

impl Table {
    /// All rows, in the order of the reference.
    pub(crate) fn all(self) -> impl Iterator<Item = &'static Key> {
        self.0.iter().copied().flatten()
    }

    /// The row whose path is `pattern`.
    pub(crate) fn row(self, pattern: &str) -> Option<&'static Key> {
        self.all().find(|key| key.path == pattern)
    }

    /// The pattern of the key `name` in the object at `above`: literally, where a row says so, else `*`.
    pub(crate) fn step(self, above: &str, name: &str) -> String {
        let join = |name: &str| if above.is_empty() { name.to_owned() } else { format!("{above}.{name}") };
        let literal = join(name);
        let below = |path: &str| {
            path.strip_prefix(&*literal).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        if !name.contains('.') && self.all().any(|key| below(key.path)) { literal } else { join("*") }
    }

    /// The row of the key at `path` itself.
    pub(crate) fn exact<S: AsRef<str>>(self, path: &[S]) -> Option<&'static Key> {
        self.all().find(|key| covers(key.path, path) && begins(key.path, path))
    }

    /// The row that decides about `path`: its own, else that of the section it stands in.
    fn nearest<S: AsRef<str>>(self, path: &[S]) -> Option<&'static Key> {
        self.all().filter(|key| covers(key.path, path)).max_by_key(|key| key.path.split('.').count())
    }

    /// The effect of a change at `path`.
    pub(crate) fn effect_at<S: AsRef<str>>(self, path: &[S]) -> Effect {
        self.nearest(path).map_or(Effect::Unused, |key| key.effect)
    }

    /// Whether keys with rows stand below `path`.
    pub(crate) fn has_below<S: AsRef<str>>(self, path: &[S]) -> bool {
        self.all().any(|key| begins(key.path, path) && !covers(key.path, path))
    }

    /// The effects of a change of everything that stands in the value at `path`.
    pub(crate) fn effects_within(self, path: &KeyPath) -> impl Iterator<Item = Effect> {
        self.all().filter(|key| begins(key.path, &path.0)).map(|key| key.effect)
    }
}

/// The range of the number at `pattern`; every number where that is no number's row.
pub(crate) fn range(pattern: &str) -> RangeInclusive<u64> {
    match OPENCLAW.row(pattern).map(|key| key.kind) {
        Some(Kind::Number { min, max, .. }) => min..=max,
        _ => 0..=u64::MAX,
    }
}

/// The effect of a change of `openclaw.json` at `path`.
pub fn effect(path: &KeyPath) -> Effect {
    effect_at(&path.0)
}

pub(crate) fn effect_at<S: AsRef<str>>(path: &[S]) -> Effect {
    OPENCLAW.effect_at(path)
}

/// Whether the value at `path` may be shown. Nothing is known of what stands deeper than a row, but that all
/// of a secret is secret.
pub(crate) fn visibility<S: AsRef<str>>(path: &[S]) -> Visibility {
    match (OPENCLAW.exact(path), OPENCLAW.nearest(path)) {
        (Some(key), _) => key.visibility,
        // An entry of a list of texts.
        (_, Some(key)) if matches!(key.kind, Kind::Texts) => key.visibility,
        (_, Some(key)) if key.visibility == Visibility::Secret => Visibility::Secret,
        _ => Visibility::Unknown,
    }
}

/// Whether `path` is a beginning of `pattern`, or all of it.
pub(crate) fn begins<S: AsRef<str>>(pattern: &str, path: &[S]) -> bool {
    let mut steps = pattern.split('.');
    path.iter().all(|name| steps.next().is_some_and(|step| step == "*" || step == name.as_ref()))
}

/// Whether `pattern` is a beginning of `path`, or all of it.
fn covers<S: AsRef<str>>(pattern: &str, path: &[S]) -> bool {
    let mut names = path.iter();
    pattern.split('.').all(|step| names.next().is_some_and(|name| step == "*" || step == name.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Effect::*;
    use std::collections::HashSet;

    #[test]
    fn rows_are_whole() {
        let mut seen = HashSet::new();
        for key in OPENCLAW.all().chain(own::OWN.all()) {
            assert!(seen.insert(key.path), "{} has two rows", key.path);
            let section = matches!(key.kind, Kind::Section);
            assert!(section || !key.title.is_empty(), "{} has no title", key.path);
            assert_eq!(key.title.is_empty(), key.help.is_empty(), "{}", key.path);
            match key.kind {
                Kind::Words { words, default, wrong } => {
                    let known = |word: &&str| words().contains(word);
                    assert!(default.iter().chain(&wrong).all(known), "{}", key.path);
                }
                Kind::Number { min, max, default } => {
                    assert!(default.is_none_or(|n| (min..=max).contains(&n)), "{}", key.path);
                }
                Kind::Secret => assert_eq!(key.visibility, Visibility::Secret, "{}", key.path),
                _ => {}
            }
        }
    }

    #[test]
    fn the_nearest_row_decides() {
        let rows = [
            ("gateway.port", Listen),
            ("gateway.auth.rateLimit.maxAttempts", Limits),
            ("gateway.ports", Unused),
            ("gateway.controlUi.embedSandbox", Unused),
            ("gateway.auth.token.id", Credentials),
            ("channels.whatsapp.ackReaction.group", Unused),
            ("channels.whatsapp.allowFrom", Unused),
            ("channels.whatsapp.enabled", NextAnswer),
            ("agents.entries.main.anything", NextAnswer),
            ("meta.lastTouchedVersion", Silent),
            ("invented", Unused),
            ("logging.level", Log),
        ];
        for (path, expected) in rows {
            assert_eq!(effect(&KeyPath::dotted(path)), expected, "{path}");
        }
    }

    #[test]
    fn visibility_of_values() {
        let rows = [
            ("gateway.port", Visibility::Public),
            ("gateway.trustedProxies.0", Visibility::Public),
            ("gateway.auth.token", Visibility::Secret),
            ("gateway.auth.token.id", Visibility::Secret),
            ("env.vars.PATH", Visibility::Secret),
            ("gateway.remote.url", Visibility::Unknown),
            ("agents.entries.main.workspace", Visibility::Unknown),
            ("invented", Visibility::Unknown),
        ];
        for (path, expected) in rows {
            assert_eq!(visibility(&KeyPath::dotted(path).0), expected, "{path}");
        }
    }

    #[test]
    fn patterns() {
        assert_eq!(OPENCLAW.step("gateway", "port"), "gateway.port");
        assert_eq!(OPENCLAW.step("agents.entries", "main"), "agents.entries.*");
        assert_eq!(OPENCLAW.step("gateway", "auth.token"), "gateway.*");
        assert_eq!(OPENCLAW.step("agents.entries.*", "default"), "agents.entries.*.default");
    }
}
