//! Keys that neither OpenClaw nor Barnacle knows, and the keys that were meant.

use super::{
    dotted,
    known::{Known, pick},
    moved, near,
};
use crate::config::{
    KeyPath,
    keys::{self, Effect},
    text::node::Node,
};
use std::fmt;

/// Judgement of one name in a path.
pub(crate) enum Name {
    /// A key that OpenClaw knows.
    Known(Known),
    /// A key of Barnacle's own, or one that moved.
    Own,
    /// No key, but keys that moved stood below it.
    Above,
    /// No key; the dotted path of the key that was meant, where there is a likely one.
    Unknown(Option<String>),
}

/// Judges the last name of `path`, where the keys `siblings` may stand, in a configuration whose root is `root`.
/// `suggest` looks for what was meant, which takes time.
pub(crate) fn judge(path: &[&str], siblings: &[Known], root: &Node, suggest: bool) -> Name {
    let name = path.last().copied().unwrap_or_default();
    let near = || near::nearest(name, siblings.iter().map(|known| known.name));
    let beside = |name: &str| dotted(&[&path[..path.len().saturating_sub(1)], &[name]].concat());
    match pick(siblings, name) {
        Some(known) => {
            // Anything may stand here, but not something that is all but another key's name.
            let open = known.name == "*" && name.len() > 4;
            match open.then(near).flatten().filter(|(_, edits)| *edits == 1) {
                Some((meant, _)) => Name::Unknown(Some(beside(meant))),
                None => Name::Known(known),
            }
        }
        None if moved::newest(path).is_some() || is_own(path) => Name::Own,
        None if moved::above(path) => Name::Above,
        None if !suggest => Name::Unknown(None),
        None => {
            let meant = near().map(|(meant, _)| beside(meant));
            Name::Unknown(meant.or_else(|| near::elsewhere(name, path, root)))
        }
    }
}

/// Whether Barnacle knows the key at `path`, whatever OpenClaw does.
fn is_own(path: &[&str]) -> bool {
    keys::exact(path).is_some_and(|key| key.effect != Effect::Unused)
}

/// A key that neither OpenClaw nor Barnacle knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct UnknownKey {
    /// The path up to the unknown name, dotted.
    pub(crate) path: String,
    /// Full path of the key that was meant, where there is a likely one.
    pub(crate) meant: Option<String>,
}

impl fmt::Display for UnknownKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is no key of OpenClaw or Barnacle", self.path)?;
        self.meant.as_ref().map_or(Ok(()), |meant| write!(f, "; did you mean {meant}?"))
    }
}

/// The first name of `path` that is no key, for a value that is to be set there; `root` is the configuration as
/// it is. A path below a key that anything may stand in is known.
#[allow(dead_code)]
pub(crate) fn unknown(path: &KeyPath, root: &Node) -> Option<UnknownKey> {
    let names: Vec<&str> = path.0.iter().map(String::as_str).collect();
    let mut known = Known::ROOT;
    for n in 0..names.len() {
        let siblings = known.children();
        if siblings.is_empty() || keys::effect_at(&names[..=n]) == Effect::Silent {
            return None;
        }
        let is_entry = names[n] == KeyPath::ITEM || names[n].bytes().all(|b| b.is_ascii_digit());
        if let Some(entry) = siblings.iter().find(|known| known.name == KeyPath::ITEM && is_entry) {
            known = *entry;
            continue;
        }
        known = match judge(&names[..=n], &siblings, root, true) {
            Name::Known(known) => known,
            Name::Own | Name::Above => return None,
            Name::Unknown(meant) => {
                let rest = &names[n + 1..];
                let whole = |meant: String| dotted(&[&[meant.as_str()], rest].concat());
                return Some(UnknownKey { path: dotted(&names[..=n]), meant: meant.map(whole) });
            }
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h29_keys_to_set() {
        let root = Node::empty();
        // the path, the unknown part of it, what was meant
        let rows = [
            ("gateway.prot", "gateway.prot", "gateway.port"),
            ("gatway.port", "gatway", "gateway.port"),
            ("gateway.auth.tokn", "gateway.auth.tokn", "gateway.auth.token"),
            ("gateway.controlUI.allowedOrigins", "gateway.controlUI", "gateway.controlUi.allowedOrigins"),
            ("agents.list[0].thinking", "agents.list.0.thinking", "agents.list.0.thinkingDefault"),
            ("hot_cocoa", "hot_cocoa", ""),
        ];
        for (path, unknown_part, meant) in rows {
            let found = unknown(&KeyPath::parse(path).unwrap(), &root).unwrap_or_else(|| panic!("{path}"));
            assert_eq!(
                (&*found.path, found.meant.as_deref().unwrap_or_default()),
                (unknown_part, meant),
                "{path}"
            );
        }
        let known = [
            "gateway.port",
            "gateway.auth.deviceKeyProof",
            "gateway.auth.token.source",
            "gateway.nodes.denyCommands",
            "agents.entries.anybody.workspace",
            "agents.list[2].id",
            "channels.whatsapp.accounts.work.allowFrom",
            "env.vars.ANYTHING",
            "plugins.entries.x.config.anything.goes",
            "meta.lastTouchedVersion",
            "routing.allowFrom",
        ];
        for path in known {
            assert_eq!(unknown(&KeyPath::parse(path).unwrap(), &root), None, "{path}");
        }
    }
}
