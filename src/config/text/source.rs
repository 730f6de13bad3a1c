//! The source: `openclaw.json` and every file it includes, put together as OpenClaw does it.
//!
//! `{$include: "./a.json5"}` stands for what is in the file; a list of files is merged in order, and keys
//! beside `$include` are merged over what it brings. In a merge objects go key by key, lists one after
//! the other, anything else is replaced. Paths are taken from the including file and may not lead out
//! of the root file's directory, but into those that `OPENCLAW_INCLUDE_ROOTS` names.
//! Source: OpenClaw's `docs/gateway/config-secrets-env.md`.

use super::{
    file::{self, Document, Invalid, Read, Unreadable},
    node::{At, Doubled, Entry, Node, Value},
};
use crate::config::{Env, Paths};
use jsonc_parser::ast;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt;
use std::path::{Component, Path, PathBuf};

/// Nesting limit of includes.
const DEEPEST: usize = 10;
/// Nesting limit of values once all files are merged; one file's own depth is bounded by the parser.
const DEEPEST_VALUE: usize = 512;
/// The largest included file, bytes, as in OpenClaw.
const LARGEST_INCLUDE: u64 = 2 << 20;
/// The largest `openclaw.json`, bytes.
const LARGEST: u64 = 8 << 20;
/// Most keys of one configuration, all files together. The largest seen have some hundreds; a damaged or a
/// generated one must not hold up whoever is attached while it is looked through.
const MOST_KEYS: usize = 20_000;
/// Most files of one configuration.
const MOST_FILES: usize = 1000;
pub const INCLUDE: &str = "$include";

/// Everything that was read for one configuration.
#[derive(Clone, Debug)]
pub struct Source {
    /// The files, the root first.
    pub documents: Vec<Document>,
    /// Tree that the documents are merged into.
    pub root: Node,
    /// Includes, in the order they were read.
    pub includes: Vec<Include>,
    /// Keys that stand twice in one object, document by document from the top down.
    pub(crate) doubled: Vec<Doubled>,
}

/// An object that is brought in by `$include`.
#[derive(Clone, Debug)]
pub struct Include {
    /// Path from the root.
    pub path: Vec<String>,
    /// Index of the document with the `$include`.
    pub by: u16,
    /// The documents it brings in.
    pub files: Vec<u16>,
    /// Whether they are the whole of it: one file, and no key beside `$include`.
    pub whole: bool,
}

/// Why there is no source.
#[derive(Debug)]
pub enum ReadError {
    /// A file is there and cannot be read.
    Unreadable(Unreadable),
    /// A file is no JSON5, or includes what cannot be included.
    Invalid(Invalid),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => error.fmt(f),
            Self::Invalid(error) => error.fmt(f),
        }
    }
}

/// Result of reading a configuration.
pub struct Gathered {
    /// The source; `None` where there is no file.
    pub source: Result<Option<Source>, ReadError>,
    /// Every file that was looked at, there or not: what to watch.
    pub files: Vec<PathBuf>,
}

impl Source {
    /// Source of an empty configuration.
    pub fn empty(path: &Path) -> Self {
        Self {
            documents: vec![Document::unwritten(path, "{}")],
            root: Node::empty(),
            includes: Vec::new(),
            doubled: Vec::new(),
        }
    }

    /// Reads the file at `paths.config_file` and what it includes.
    pub fn read(paths: &Paths, env: &Env) -> Gathered {
        let found = |source| Gathered { source, files: vec![paths.config_file.clone()] };
        match file::read_up_to(&paths.config_file, LARGEST) {
            Read::Missing => found(Ok(None)),
            Read::Unreadable(why) => found(Err(ReadError::Unreadable(why))),
            Read::Text(document) => Self::of(document, paths, env),
        }
    }

    /// Reads what `document`, whose text is the root's, includes.
    pub fn of(document: Document, paths: &Paths, env: &Env) -> Gathered {
        let mut files = vec![paths.config_file.clone()];
        let source = Self::put_together(document, paths, env, &mut files).map(Some);
        Gathered { source, files }
    }

    fn put_together(
        document: Document,
        paths: &Paths,
        env: &Env,
        files: &mut Vec<PathBuf>,
    ) -> Result<Self, ReadError> {
        Self::gather(document, None, paths, env, files)
    }

    /// The source as it is once `changed`, one of its documents, is written.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn changed(&self, changed: &Document, paths: &Paths, env: &Env) -> Result<Self, ReadError> {
        let root = if changed.path == self.documents[0].path { changed } else { &self.documents[0] };
        Self::gather(root.clone(), Some(changed), paths, env, &mut Vec::new())
    }

    fn gather(
        document: Document,
        instead: Option<&Document>,
        paths: &Paths,
        env: &Env,
        files: &mut Vec<PathBuf>,
    ) -> Result<Self, ReadError> {
        let mut reader = Reader {
            roots: roots(paths, env),
            documents: Vec::new(),
            includes: Vec::new(),
            doubled: Vec::new(),
            files,
            open: Vec::new(),
            keys: 0,
            instead,
        };
        let root = reader.document(document, &mut Vec::new(), 0)?;
        let Reader { documents, includes, doubled, .. } = reader;
        Ok(Self { documents, root, includes, doubled })
    }

    /// A digest of what stands in the files: two sources with the same one were read from the same bytes.
    pub fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for document in &self.documents {
            digest.update((document.text.len() as u64).to_le_bytes());
            digest.update([u8::from(document.bom)]);
            digest.update(&document.text);
        }
        digest.finalize().into()
    }

    /// Makes an error that points at `node`.
    pub(crate) fn invalid(&self, node: &Node, message: String) -> ReadError {
        let document = self.documents.get(usize::from(node.at.file)).unwrap_or(&self.documents[0]);
        ReadError::Invalid(document.invalid(node.at.start as usize, message))
    }

    /// File, line and column of `at`, the last two from 1.
    pub fn position(&self, at: At) -> (&Path, usize, usize) {
        let document = self.documents.get(usize::from(at.file)).unwrap_or(&self.documents[0]);
        let (line, column) = file::position(&document.text, at.start as usize);
        (&document.path, line, column)
    }

    /// Equivalent text in one file: the root's own, without includes.
    pub fn in_one_file(&self) -> String {
        match self.includes.is_empty() {
            true => self.documents[0].text.clone(),
            false => self.root.to_json(),
        }
    }
}

struct Reader<'r> {
    roots: Vec<PathBuf>,
    documents: Vec<Document>,
    includes: Vec<Include>,
    doubled: Vec<Doubled>,
    files: &'r mut Vec<PathBuf>,
    /// The files that are being read, each including the next.
    open: Vec<PathBuf>,
    /// Number of keys read so far.
    keys: usize,
    /// Stands for the file of its path.
    instead: Option<&'r Document>,
}

impl Reader<'_> {
    fn document(
        &mut self,
        document: Document,
        path: &mut Vec<String>,
        depth: usize,
    ) -> Result<Node, ReadError> {
        let file = self.documents.len() as u16;
        let value = document.parse_value().map_err(ReadError::Invalid)?;
        // An included file may hold a list, say; the root holds an object.
        if file == 0 && !matches!(value, ast::Value::Object(_)) {
            return Err(ReadError::Invalid(document.no_object()));
        }
        let root = Node::of_included(&value, file, path, &mut self.doubled);
        drop(value);
        self.open.push(std::fs::canonicalize(&document.path).unwrap_or_else(|_| document.path.clone()));
        self.documents.push(document);
        self.keys += root.keys();
        if self.keys > MOST_KEYS {
            let (at, keys) = (root.at, self.keys);
            return Err(self.invalid(at, format!("{keys} keys by here; no more than {MOST_KEYS} are read")));
        }
        let whole = self.resolve(root, path, depth);
        self.open.pop();
        whole
    }

    /// `node` with its includes replaced by what they bring.
    fn resolve(&mut self, node: Node, path: &mut Vec<String>, depth: usize) -> Result<Node, ReadError> {
        if path.len() > DEEPEST_VALUE {
            return Err(self.invalid(node.at, "values are nested too deeply".into()));
        }
        let Node { at, value } = node;
        let entries = match value {
            Value::Object(entries) => entries,
            Value::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for (n, item) in items.into_iter().enumerate() {
                    path.push(n.to_string());
                    list.push(self.resolve(item, path, depth)?);
                    path.pop();
                }
                return Ok(Node { at, value: Value::List(list) });
            }
            plain => return Ok(Node { at, value: plain }),
        };
        let (mut own, mut brought) = (Vec::with_capacity(entries.len()), None);
        for Entry { name, at, node } in entries {
            if &*name == INCLUDE {
                brought = Some(node);
                continue;
            }
            path.push(name.to_string());
            own.push(Entry { name, at, node: self.resolve(node, path, depth)? });
            path.pop();
        }
        let own = Node { at, value: Value::Object(own) };
        match brought {
            None => Ok(own),
            Some(include) => self.include(&include, own, path, depth),
        }
    }

    fn include(
        &mut self,
        include: &Node,
        own: Node,
        path: &mut Vec<String>,
        depth: usize,
    ) -> Result<Node, ReadError> {
        let names: Vec<&Node> = match &include.value {
            Value::Text(_) => vec![include],
            Value::List(items) if items.iter().all(|i| i.text().is_some()) => items.iter().collect(),
            _ => {
                let found = include.kind();
                return Err(self.invalid(
                    include.at,
                    format!("$include is {found}; it must be the path of a file, or a list of paths"),
                ));
            }
        };
        if depth >= DEEPEST {
            return Err(self.invalid(include.at, format!("files include one another {DEEPEST} deep")));
        }
        let (mut whole, mut files): (Option<Node>, _) = (None, Vec::new());
        for name in &names {
            files.push(self.documents.len() as u16);
            let node = self.file(name, path, depth)?;
            whole = Some(match whole {
                None => node,
                Some(before) => merge(before, node),
            });
        }
        let alone = own.entries().is_empty();
        let sole = names.len() == 1 && alone;
        self.includes.push(Include { path: path.clone(), by: include.at.file, files, whole: sole });
        Ok(match whole {
            Some(whole) if alone => whole,
            Some(whole) if !matches!(whole.value, Value::Object(_)) => {
                let found = whole.kind();
                return Err(self.invalid(
                    include.at,
                    format!("what it includes is {found}; with keys beside $include it must be an object"),
                ));
            }
            Some(whole) => merge(whole, own),
            None => own,
        })
    }

    /// Reads the file named by `name`.
    fn file(&mut self, name: &Node, path: &mut Vec<String>, depth: usize) -> Result<Node, ReadError> {
        let text = name.text().unwrap_or_default();
        let including = &self.documents[usize::from(name.at.file)].path;
        let wanted = plain(&including.parent().unwrap_or(Path::new("/")).join(text));
        let no = |reader: &Self, why: &str| {
            reader.invalid(name.at, format!("{} cannot be included: {why}", wanted.display()))
        };
        if text.is_empty() || text.contains('\0') || wanted.as_os_str().len() >= 4096 {
            return Err(no(self, "that is no path"));
        }
        self.files.push(wanted.clone());
        if self.documents.len() >= MOST_FILES {
            return Err(no(self, "there are too many files"));
        }
        // What a link leads to counts, if there is something.
        let real = std::fs::canonicalize(&wanted).unwrap_or_else(|_| wanted.clone());
        if !self.roots.iter().any(|root| real.starts_with(root)) {
            let most = self.roots[0].display();
            let what = match self.roots.iter().any(|root| wanted.starts_with(root)) {
                true => format!("it is a link to {}, which", real.display()),
                false => "it".into(),
            };
            let allow = real.parent().unwrap_or(&real).display();
            return Err(no(
                self,
                &format!(
                    "{what} is outside of {most}; to allow it: OPENCLAW_INCLUDE_ROOTS={allow} (in .env, say)"
                ),
            ));
        }
        if self.open.contains(&real) {
            return Err(no(self, "it is what includes this"));
        }
        let read = match self.instead.filter(|i| i.path == wanted) {
            Some(instead) => Read::Text(instead.clone()),
            None => file::read_up_to(&wanted, LARGEST_INCLUDE),
        };
        match read {
            Read::Missing => Err(no(self, "there is no such file")),
            Read::Unreadable(why) => Err(ReadError::Unreadable(why)),
            Read::Text(document) => self.document(document, path, depth + 1),
        }
    }

    fn invalid(&self, at: At, message: String) -> ReadError {
        ReadError::Invalid(self.documents[usize::from(at.file)].invalid(at.start as usize, message))
    }
}

/// Merges `over` into `under`.
fn merge(under: Node, over: Node) -> Node {
    match (under.value, over.value) {
        (Value::Object(mut entries), Value::Object(later)) => {
            let places: HashMap<_, _> =
                entries.iter().enumerate().map(|(n, e)| (e.name.clone(), n)).collect();
            for entry in later {
                match places.get(&entry.name) {
                    Some(&n) => {
                        let earlier = &mut entries[n];
                        let node = std::mem::replace(&mut earlier.node, Node::empty());
                        *earlier = Entry { node: merge(node, entry.node), ..entry };
                    }
                    None => entries.push(entry),
                }
            }
            Node { at: under.at, value: Value::Object(entries) }
        }
        (Value::List(mut items), Value::List(later)) => {
            items.extend(later);
            Node { at: under.at, value: Value::List(items) }
        }
        (_, value) => Node { at: over.at, value },
    }
}

/// The directories that files may be included from.
fn roots(paths: &Paths, env: &Env) -> Vec<PathBuf> {
    let own = paths.config_file.parent().unwrap_or(Path::new("/")).to_owned();
    let more = env.get("OPENCLAW_INCLUDE_ROOTS").unwrap_or_default();
    let more = more.split(':').map(str::trim).filter(|p| !p.is_empty()).map(|p| paths.expand(p));
    let real = |dir: PathBuf| std::fs::canonicalize(&dir).unwrap_or(dir);
    [own].into_iter().chain(more).map(real).collect()
}

/// `path` without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => _ = out.pop(),
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}
