//! What a client may say of a session: one row a field.

use crate::protocol::{Scope, json};

/// Values that a field takes.
#[derive(Clone, Copy)]
enum Kind {
    /// A text of so many characters.
    Text(usize),
    /// One of these words.
    Word(&'static [&'static str]),
    /// Set by the gateway alone.
    Own,
}

/// A field of a session.
pub struct Field {
    /// Name on the wire.
    pub name: &'static str,
    kind: Kind,
    /// The scope that a change needs.
    pub scope: Scope,
}

const fn field(name: &'static str, kind: Kind, scope: Scope) -> Field {
    Field { name, kind, scope }
}

/// Every field; a row names them by their names, so that their order may change.
///
/// Those of OpenClaw that say how a session's runs are to be (permissions, worktree, node) are not among them, since nothing
/// here would heed them.
#[rustfmt::skip]
pub const FIELDS: &[Field] = {
    use Kind::{Own, Text, Word};
    use Scope::{Admin, Write};
    &[
        field("label",            Text(512),  Write),
        field("displayName",      Text(500),  Write),
        field("autoLabel",        Text(512),  Write),
        field("icon",             Text(64),   Write),
        field("color",            Text(64),   Write),
        field("category",         Text(512),  Write),
        field("statusNote",       Text(120),  Write),
        field("attention",        Word(&["hand", "key", "alert", "flag", "lock", "hourglass"]), Write),
        field("boardFace",        Word(&["chat", "dashboard"]), Write),
        field("modelOverride",    Own,        Admin),
        field("queueMode",        Own,        Admin),
        field("openRuns",         Own,        Admin),
        field("status",           Own,        Admin),
        field("lastRunId",        Own,        Admin),
        field("lastRunError",     Own,        Admin),
        field("parentSessionKey", Own,        Admin),
        field("archivedAt",       Own,        Admin),
        field("archiveReason",    Own,        Admin),
        field("pinnedAt",         Own,        Admin),
        field("markedUnreadAt",   Own,        Admin),
    ]
};

/// The field `name`, if a client may set it.
pub fn settable(name: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.name == name && !matches!(field.kind, Kind::Own))
}

/// Place of the field `name`.
pub(in crate::sessions) fn place(name: &str) -> Option<u8> {
    FIELDS.iter().position(|field| field.name == name).map(|at| at as u8)
}

impl Field {
    /// Checks a value, JSON; what it must be, if it is something else.
    pub fn refuse(&self, value: &str) -> Option<String> {
        let text = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).map(json::unescape);
        match (self.kind, text) {
            (Kind::Text(most), Some(text)) => match text.chars().count() {
                0 => Some("a non-empty string or null".into()),
                n if n > most => Some(format!("of {most} characters at most")),
                _ => None,
            },
            (Kind::Text(_), None) => Some("string or null".into()),
            (Kind::Word(words), text) => {
                let fits = text.is_some_and(|text| words.contains(&&*text));
                (!fits).then(|| format!("one of {}, or null", words.join(", ")))
            }
            (Kind::Own, _) => Some("left to the gateway".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_judged_by_their_row() {
        let rows = [
            ("label", r#""x""#, true),
            ("label", r#""""#, false),
            ("label", "1", false),
            ("statusNote", &format!("\"{}\"", "ä".repeat(120)), true),
            ("statusNote", &format!("\"{}\"", "ä".repeat(121)), false),
            ("attention", r#""key""#, true),
            ("attention", r#""no""#, false),
        ];
        for (name, value, fits) in rows {
            assert_eq!(settable(name).unwrap().refuse(value).is_none(), fits, "{name} {value}");
        }
        assert!(settable("parentSessionKey").is_none() && settable("execNode").is_none());
        let mut names: Vec<_> = FIELDS.iter().map(|field| field.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
