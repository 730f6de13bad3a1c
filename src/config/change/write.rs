//! Writing the configuration: one way for the command line, for clients, and for the first token.
//!
//! Under a lock that all our writers share, the files are read anew, what is wanted is worked out from
//! what they say now, and the one file that owns it is changed where it has to change. What comes out is
//! read as it would be read from disk, and judged, before anything is written.

use super::{
    diff::KeyPath,
    durable::{self, Lock, NotWritable},
    merge::{self, Edit, MergeError},
    owner::owner,
    refused::Refused,
};
use crate::config::{
    Env, Loaded, Paths,
    own::write::is_own,
    redact::REDACTED,
    settings::load::{FileState, decode},
    text::{
        edit::edited,
        file::{self, Document, Read},
        node::{Entry, Node, Value},
        source::{INCLUDE, ReadError, Source},
    },
};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The content that a write asks for.
pub enum WriteTarget {
    /// The content of all files together.
    Sum(Node),
    /// The root file is this text.
    Root(String),
}

/// Permissions and conditions of a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WriteOptions {
    /// The file may shrink by more than half.
    pub may_shrink: bool,
    /// Whether the write may remove `gateway.mode`.
    pub may_drop_mode: bool,
    /// The file is to be its owner's alone from then on.
    pub private: bool,
    /// All is done but the writing.
    pub dry: bool,
}

/// Result of a write.
pub struct Written {
    /// Path of the file that was written; `None` where it had the content already.
    pub file: Option<PathBuf>,
    /// Path of the former content.
    pub backup: Option<PathBuf>,
    /// The keys that changed, without their values.
    pub changed: Vec<KeyPath>,
    /// Configuration after the write. Its source has the digest that later readers see.
    pub now: Loaded,
}

/// A configuration that is about to be changed.
pub struct Present<'p> {
    /// Content of the files before the write.
    pub source: &'p Source,
    /// Whether there is a root file.
    pub exists: bool,
    /// Whether it is gone, and the source is what ran last.
    pub lost: bool,
}

/// Attempts against a writer that ignores our lock.
const ATTEMPTS: u32 = 4;
/// Bytes of a file that is soon written again by hand: it may shrink.
const SMALL: usize = 512;

/// Changes the configuration to what `want` makes of it, which is asked again if another program wrote
/// meanwhile. Waits for the disk: not for the main thread.
///
/// # Errors
/// [`Refused`], or `want`'s own; the files are then as they were.
pub fn write<E: From<Refused>>(
    paths: &Paths,
    env: &Env,
    options: WriteOptions,
    mut want: impl FnMut(&Present<'_>) -> Result<WriteTarget, E>,
) -> Result<Written, E> {
    let path = &paths.config_file;
    if ["OPENCLAW_CONFIG_READONLY", "OPENCLAW_NIX_MODE"].iter().any(|n| env.get(n) == Some("1")) {
        return Err(Refused::ManagedElsewhere(path.clone()).into());
    }
    let _lock = Lock::take(path).map_err(|e| match e.kind() {
        io::ErrorKind::TimedOut => Refused::Busy(path.clone()),
        _ => Refused::Io(path.clone(), e),
    })?;
    for _ in 0..ATTEMPTS {
        let before = Source::read(paths, env).source.map_err(Refused::Broken)?;
        let exists = before.is_some();
        let last = if exists { None } else { what_ran(paths, env) };
        let lost = last.is_some();
        let source = before.or(last).unwrap_or_else(|| Source::empty(path));
        let present = Present { source: &source, exists, lost };
        let next = Next::of(&present, want(&present)?, paths, env)?;
        let edits = merge::edits(&source.root, &next.now.source.root);
        let changed: Vec<_> = edits.into_iter().map(|c| c.path).collect();
        judge(&source, &next, &changed, options)?;
        let is_new = |key: &&KeyPath| {
            merge::at(&source.root, key).is_none() && merge::at(&next.now.source.root, key).is_some()
        };
        if let Some(key) = changed.iter().filter(|key| is_own(key)).find(is_new) {
            return Err(Refused::Own(key.clone(), paths.own_file()).into());
        }
        let Some(document) = next.document.filter(|_| !options.dry) else {
            return Ok(Written { file: None, backup: None, changed, now: next.now });
        };
        let old = source.documents.iter().find(|d| d.path == document.path && exists);
        if let Some(old) = old {
            check_open(old)?;
        }
        // Who heeds no lock may have written meanwhile.
        let old = old.map(Document::bytes);
        let io = |e| Refused::Io(document.path.clone(), e);
        if on_disk(&document.path).map_err(io)? != old {
            continue;
        }
        let was = old.as_deref();
        let backup =
            durable::replace(&document.path, was, &document.bytes(), options.private, paths).map_err(io)?;
        return Ok(Written { file: Some(document.path), backup, changed, now: next.now });
    }
    Err(Refused::Changed.into())
}

/// The configuration that ran last, as a text for the root file, which is gone: a write must not leave one key alone.
fn what_ran(paths: &Paths, env: &Env) -> Option<Source> {
    let last = paths.last_config();
    let Read::Text(document) = file::read(&last) else { return None };
    let document = Document::unwritten(&paths.config_file, &document.text);
    Source::of(document, paths, env).source.ok().flatten().filter(|_| !last.is_symlink())
}

/// Reads a file; `None` where there is none.
fn on_disk(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

/// Refuses a file that is not ours to write, or that could not be written back as it is.
pub(in crate::config) fn check_open(document: &Document) -> Result<(), Refused> {
    if !document.exact {
        return Err(Refused::NotText(document.path.clone()));
    }
    let path = fs::canonicalize(&document.path).unwrap_or_else(|_| document.path.clone());
    match fs::metadata(&path).map(|meta| durable::closed(&path, &meta)) {
        Ok(None) => Ok(()),
        Ok(Some(NotWritable::ReadOnly(mode))) => Err(Refused::ReadOnly { path, mode }),
        Ok(Some(NotWritable::Anothers { owner, us })) => Err(Refused::Anothers { path, owner, us }),
        Err(e) => Err(Refused::Io(path, e)),
    }
}

/// The document that is to be written, if one is, and what the files give then.
struct Next {
    document: Option<Document>,
    now: Loaded,
}

impl Next {
    fn of(present: &Present<'_>, wanted: WriteTarget, paths: &Paths, env: &Env) -> Result<Self, Refused> {
        let (document, sum) = match wanted {
            WriteTarget::Sum(sum) => (present.summing_up_to(&sum)?, Some(sum)),
            WriteTarget::Root(text) => present.with_root(&text)?,
        };
        let after = match &document {
            None => present.source.clone(),
            Some(document) => {
                present.source.changed(document, paths, env).map_err(|broken| match broken {
                    ReadError::Invalid(invalid) if invalid.path == document.path => Refused::BadText(invalid),
                    broken => Refused::Broken(broken),
                })?
            }
        };
        // Whatever the text says now, it must be what was asked for.
        if let (Some(sum), Some(document)) = (&sum, &document)
            && !after.root.same(sum)
        {
            return Err(Refused::NoPlace(document.path.clone()));
        }
        let files = after.documents.iter().map(|d| d.path.clone()).collect();
        Ok(Self { document, now: decode(after, paths, env, FileState::Whole, files) })
    }
}

impl Present<'_> {
    /// The document to write so that all together say `sum`; `None` if they do.
    fn summing_up_to(&self, sum: &Node) -> Result<Option<Document>, Refused> {
        let edits = merge::edits(&self.source.root, sum);
        if edits.is_empty() {
            return Ok(self.lost.then(|| self.source.documents[0].clone()));
        }
        let (n, root) = owner(self.source, &edits).map_err(Refused::Ownership)?;
        let document = &self.source.documents[usize::from(n)];
        let now = document.parse().map(|root| Node::of(&root, 0)).map_err(Refused::BadText)?;
        let wanted = edits.into_iter().try_fold(now, |node, Edit { path, to }| {
            merge::with(&node, &KeyPath(path.0[root.0.len()..].to_vec()), to)
        });
        self.saying(document, &wanted?).map(Some)
    }

    /// `document`, which is to say `wanted`.
    fn saying(&self, document: &Document, wanted: &Node) -> Result<Document, Refused> {
        let blank = document.with_text("{\n}\n".into());
        let text = edited(if self.exists || self.lost { document } else { &blank }, wanted);
        let text = text.ok_or_else(|| Refused::NoPlace(document.path.clone()))?;
        Ok(document.with_text(text))
    }

    /// The root document that says what `text` says, `None` if it does; and what all are to say together
    /// then, where that is known.
    ///
    /// A program that was shown a tree writes it back without comments and in a layout of its own; what a
    /// person typed has comments, or there was nothing before. Only the latter is taken as it stands.
    fn with_root(&self, text: &str) -> Result<(Option<Document>, Option<Node>), Refused> {
        let root = &self.source.documents[0];
        let mut typed = root.with_text(text.trim_start_matches('\u{feff}').into());
        typed.bom = text.starts_with('\u{feff}') || (root.bom && self.exists);
        let mut wanted = typed.parse().map(|root| Node::of(&root, 0)).map_err(Refused::BadText)?;
        let now = root.parse().map(|root| Node::of(&root, 0)).map_err(Refused::BadText)?;
        if typed.comments().next().is_some() || !self.exists {
            merge::restore(&mut wanted, &now)?;
            let text = edited(&typed, &wanted).ok_or_else(|| Refused::NoPlace(root.path.clone()))?;
            let text = match root.text.contains("\r\n") && !text.contains('\r') {
                true => text.replace('\n', "\r\n"),
                false => text,
            };
            let same = self.exists && text == root.text && typed.bom == root.bom;
            return Ok(((!same).then(|| typed.with_text(text)), None));
        }
        // Who was shown what the includes come to and writes that wants the change, not a copy.
        if !self.source.includes.is_empty() && !has_include(&wanted) {
            merge::restore(&mut wanted, &self.source.root)?;
            return Ok((self.summing_up_to(&wanted)?, Some(wanted)));
        }
        merge::restore(&mut wanted, &now)?;
        let document = (!now.same(&wanted)).then(|| self.saying(root, &wanted)).transpose()?;
        Ok((document, None))
    }
}

/// Whether `$include` stands anywhere in `node`.
pub fn has_include(node: &Node) -> bool {
    match &node.value {
        Value::Object(entries) => {
            entries.iter().any(|Entry { name, node, .. }| &**name == INCLUDE || has_include(node))
        }
        Value::List(items) => items.iter().any(has_include),
        _ => false,
    }
}

/// Refuses what makes no sense, and what looks like an accident.
fn judge(source: &Source, next: &Next, changed: &[KeyPath], options: WriteOptions) -> Result<(), Refused> {
    // What was wrong before, and is not touched, is no reason.
    let touched =
        |path: &KeyPath| changed.iter().any(|c| path.0.starts_with(&c.0) || c.0.starts_with(&path.0));
    let errors = next.now.errors.iter().filter(|f| KeyPath::parse(&f.path).is_ok_and(|path| touched(&path)));
    let errors: Vec<_> = errors.cloned().collect();
    if !errors.is_empty() {
        return Err(Refused::Invalid(errors));
    }
    let Some(document) = &next.document else { return Ok(()) };
    let before = source.documents.iter().find(|d| d.path == document.path).map_or("", |d| &d.text);
    if document.text.contains(REDACTED) && !before.contains(REDACTED) {
        return Err(MergeError::Placeholder(KeyPath::default()).into());
    }
    let clobber = |why| Err(Refused::Clobber { path: document.path.clone(), why });
    let mode = |source: &Source| source.root.find(["gateway", "mode"]).is_some();
    if !options.may_drop_mode && mode(source) && !mode(&next.now.source) {
        return clobber("gateway-mode-removed");
    }
    if !options.may_shrink && before.len() >= SMALL && document.text.len() * 2 < before.len() {
        return clobber("size-drop");
    }
    Ok(())
}
