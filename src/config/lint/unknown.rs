//! Keys that neither OpenClaw nor Barnacle knows, and the keys that were meant.

use super::{
    dotted,
    known::{Known, pick},
    moved, near,
};
use crate::config::{
    keys::{self, Effect},
    text::node::Node,
};

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
    keys::OPENCLAW.exact(path).is_some_and(|key| key.effect != Effect::Unused)
}
