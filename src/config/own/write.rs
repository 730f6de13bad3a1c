//! Changes a key of Barnacle's own file. What is left of it stays as it is, and its previous content is kept.

use super::{Beside, OwnInForce, own_paths};
use crate::config::{
    Env, KeyPath, Paths, Refused,
    change::{
        durable::{self, Lock},
        merge::{self, MergeError},
        write::check_open,
    },
    keys::own::OWN,
    text::{
        edit::edited,
        file::{self, Document, Read},
        node::Node,
        source::{ReadError, Source},
    },
};
use std::{fs, io, path::PathBuf, sync::Arc};

/// Whether `path` is a key of Barnacle's own file, or the object that holds the gateway behind this one. The object
/// `auth` is OpenClaw's, too.
pub(crate) fn is_own(path: &KeyPath) -> bool {
    let whole = path.0.first().is_some_and(|name| name == "upstream");
    whole || OWN.exact(&path.0).is_some()
}

/// A change of the file.
pub(crate) struct OwnWritten {
    /// Path of the file; `None` where it was not written.
    pub(crate) file: Option<PathBuf>,
    /// Path of the former content.
    pub(crate) backup: Option<PathBuf>,
    /// Content before and after.
    pub(crate) before: Node,
    /// Content after it.
    pub(crate) now: Node,
}

/// Changes the file to what `to` makes of its content, and with `dry` only says what that would be. Waits for the disk.
///
/// # Errors
/// [`Refused`], also where a key would make no sense; the file is then as it was.
pub(crate) fn write_own(
    paths: &Paths,
    env: &Env,
    dry: bool,
    to: impl Fn(&Node) -> Result<Node, MergeError>,
) -> Result<OwnWritten, Refused> {
    let at = paths.own_file();
    let io = |e: io::Error| Refused::Io(at.clone(), e);
    let _lock = Lock::take(&at).map_err(|e| match e.kind() {
        io::ErrorKind::TimedOut => Refused::Busy(at.clone()),
        _ => io(e),
    })?;
    let (document, exists) = match file::read(&at) {
        Read::Text(document) => (document, true),
        Read::Missing => (Document::unwritten(&at, "{\n}\n"), false),
        Read::Unreadable(why) => return Err(Refused::Broken(ReadError::Unreadable(why))),
    };
    let parsed = document.parse().map(|root| Node::of(&root, 0));
    let before = parsed.map_err(|invalid| Refused::Broken(ReadError::Invalid(invalid)))?;
    let wanted = to(&before)?;
    let unwritten = OwnWritten { file: None, backup: None, before: before.clone(), now: wanted.clone() };
    if wanted.same(&before) {
        return Ok(unwritten);
    }
    let text = edited(&document, &wanted).ok_or_else(|| Refused::NoPlace(at.clone()))?;
    let next = document.with_text(text);
    judge(&before, Document::unwritten(&at, &next.text), paths, env)?;
    if dry {
        return Ok(unwritten);
    }
    let was = if exists {
        check_open(&document)?;
        Some(fs::read(&at).map_err(io)?)
    } else {
        None
    };
    // Who heeds no lock may have written meanwhile.
    if was.as_ref().is_some_and(|bytes| *bytes != document.bytes()) {
        return Err(Refused::Changed);
    }
    let backup = durable::replace(&at, was.as_deref(), &next.bytes(), true, &own_paths(paths)).map_err(io)?;
    Ok(OwnWritten { file: Some(at), backup, ..unwritten })
}

/// Judges the keys that differ from those `before`.
fn judge(before: &Node, next: Document, paths: &Paths, env: &Env) -> Result<(), Refused> {
    let openclaw = Source::read(paths, env).source.ok().flatten();
    let openclaw = openclaw.unwrap_or_else(|| Source::empty(&paths.config_file));
    let source = Source::of(next, &own_paths(paths), env).source.map_err(Refused::Broken)?;
    let Some(source) = source else { return Ok(()) };
    let (_, mut errors) = super::decode(&source, true, Beside { paths, env, openclaw: &openclaw });
    let edits = merge::edits(before, &source.root);
    errors.retain(|error| {
        let at = KeyPath::dotted(&error.path);
        edits.iter().any(|edit| at.0.starts_with(&edit.path.0) || edit.path.0.starts_with(&at.0))
    });
    if errors.is_empty() { Ok(()) } else { Err(Refused::Invalid(errors)) }
}

/// Whether a gateway that runs has taken `now`: it keeps beside its store what it runs with.
pub(crate) fn is_taken(paths: &Paths, now: &Node) -> bool {
    match file::read(&paths.last_own_file()) {
        Read::Text(last) => last.parse().is_ok_and(|root| Node::of(&root, 0).same(now)),
        _ => now.entries().is_empty(),
    }
}

/// Whether the files name a gateway on this host to stand in front of, which then uses the keys of `openclaw.json` that
/// this one has no use for.
pub(crate) fn is_in_front(paths: &Paths, env: &Env, openclaw: &Source) -> bool {
    let nothing = OwnInForce { source: Some(Arc::new(Source::empty(&paths.own_file()))), upstream: None };
    let read = super::read(Beside { paths, env, openclaw }, None, Some(&nothing));
    read.upstream.is_some_and(|upstream| upstream.is_local())
}
