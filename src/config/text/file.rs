//! `openclaw.json` as it stands: missing, unreadable, broken, or a text with its tree.
//!
//! The four are never taken for one another: a token is invented only over a file that is not there.
//! JSON5 is read by `jsonc-parser`, whose tree knows where each value stands and whose recursion is
//! bounded.

use super::{json5, node::Node};
use crate::host;
use jsonc_parser::ast::{Object, Value};
use jsonc_parser::tokens::Token;
use jsonc_parser::{CollectOptions, ParseOptions};
use rustix::io::Errno;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::{fmt, io};

/// Limit of values in one file, counted by its commas and brackets. The largest configurations seen have some hundreds.
const MOST_VALUES: usize = 100_000;

/// Result of reading a path.
pub enum Read {
    /// No such file (ENOENT, and nothing else).
    Missing,
    /// There, but it cannot be read.
    Unreadable(Unreadable),
    /// Text and tree of the file.
    Text(Document),
}

/// A file that is there and cannot be read.
#[derive(Debug)]
pub struct Unreadable {
    /// Path of the file.
    pub path: PathBuf,
    /// Error of the system.
    pub why: io::Error,
}

impl Unreadable {
    /// Whether it may be readable the next moment though nothing is done to the file: descriptors or memory were
    /// short, a disk or a network was.
    pub fn may_pass(&self) -> bool {
        may_pass(&self.why)
    }
}

/// Whether reading may succeed the next moment though nothing is done to the file.
pub(crate) fn may_pass(why: &io::Error) -> bool {
    use io::ErrorKind::{IsADirectory, NotADirectory, NotFound, Other, PermissionDenied};
    !matches!(why.kind(), NotFound | PermissionDenied | IsADirectory | NotADirectory | Other)
        && Errno::from_io_error(why) != Some(Errno::LOOP)
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match std::fs::read_link(&self.path) {
            Ok(to) if self.why.kind() == io::ErrorKind::NotFound => {
                write!(f, "{path} is a link to {}, which is not there", to.display())
            }
            _ => write!(f, "{path} cannot be read ({}); see `ls -l {path}` for its owner and mode", self.why),
        }
    }
}

/// The text of a configuration file.
#[derive(Clone, Debug)]
pub struct Document {
    /// Path of the file.
    pub path: PathBuf,
    /// Text of the file without a byte-order mark.
    pub text: String,
    /// Whether it began with a byte-order mark.
    pub bom: bool,
    /// Whether the text is the file's, byte for byte: one that was not UTF-8 must not be written back.
    pub exact: bool,
    /// Text for the parser, where it differs.
    readable: Option<String>,
}

/// A text that is no configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invalid {
    /// Path of the file.
    pub path: PathBuf,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// Message of the parser.
    pub message: String,
    /// The line, with everything but its keys and punctuation masked.
    pub excerpt: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, column, message, excerpt } = self;
        write!(f, "{}:{line}:{column}: {message}", path.display())?;
        if excerpt.is_empty() { Ok(()) } else { write!(f, ", in `{excerpt}`") }
    }
}

/// Reads the file at `path`, of at most 8 MiB.
pub fn read(path: &Path) -> Read {
    read_up_to(path, 8 << 20)
}

/// Reads the file at `path` if it has at most `limit` bytes.
pub fn read_up_to(path: &Path, limit: u64) -> Read {
    let bytes = match bytes(path, limit) {
        Ok(bytes) => bytes,
        // A link that leads nowhere is no missing file: what it leads to may not be mounted yet.
        Err(why) if why.kind() == io::ErrorKind::NotFound && !path.is_symlink() => return Read::Missing,
        Err(why) => return Read::Unreadable(Unreadable { path: path.into(), why }),
    };
    // What is not UTF-8 becomes a replacement character, which is fine in a comment.
    let text = String::from_utf8_lossy(&bytes);
    let exact = matches!(text, std::borrow::Cow::Borrowed(_));
    let (text, bom) = match text.strip_prefix('\u{feff}') {
        Some(text) => (text.to_owned(), true),
        None => (text.into_owned(), false),
    };
    let readable = json5::readable(&text);
    Read::Text(Document { path: path.into(), text, bom, exact, readable })
}

/// The bytes of a regular file of at most `limit`.
pub(crate) fn bytes(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    // A pipe must not hold the reader up until somebody writes to it.
    let file = host::open_nonblocking(path)?;
    let meta = file.metadata()?;
    if meta.is_file() && meta.len() > limit {
        return Err(io::Error::other(format!("{} bytes, more than the {limit} that are read", meta.len())));
    }
    if !meta.is_file() && !meta.is_dir() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::with_capacity(meta.len() as usize);
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Options of the parser: JSON5 and nothing laxer.
pub(crate) fn options() -> ParseOptions {
    ParseOptions { allow_missing_commas: false, ..ParseOptions::default() }
}

impl Document {
    /// A text that stands in no file yet, or never will.
    pub fn unwritten(path: &Path, text: &str) -> Self {
        let readable = json5::readable(text);
        Self { path: path.into(), text: text.into(), bom: false, exact: true, readable }
    }

    /// The same file with another text.
    pub(crate) fn with_text(&self, text: String) -> Self {
        let readable = json5::readable(&text);
        Self { path: self.path.clone(), text, bom: self.bom, exact: self.exact, readable }
    }

    /// The root object.
    ///
    /// # Errors
    /// [`Invalid`] where the text is not JSON5, is empty, or is not an object.
    pub fn parse(&self) -> Result<Object<'_>, Invalid> {
        match self.parse_value()? {
            Value::Object(root) => Ok(root),
            _ => Err(self.no_object()),
        }
    }

    /// The error of a root that is no object.
    pub(crate) fn no_object(&self) -> Invalid {
        self.invalid(0, "the file does not hold an object {…}".into())
    }

    /// The root, whatever it is.
    ///
    /// # Errors
    /// [`Invalid`] where the text is not JSON5, is empty, or holds more than can be read.
    pub fn parse_value(&self) -> Result<Value<'_>, Invalid> {
        // Read into a tree, a text takes up to a hundred times its size, and a board has not got that.
        let values = self.text.bytes().filter(|b| matches!(b, b',' | b'[' | b'{')).count();
        if values > MOST_VALUES {
            let message = format!("up to {values} values; no more than {MOST_VALUES} are read");
            return Err(self.invalid(0, message));
        }
        let collect = CollectOptions { tokens: true, ..CollectOptions::default() };
        let parsed = jsonc_parser::parse_to_ast(self.readable(), &collect, &options())
            .map_err(|e| self.invalid(e.range().start, e.kind().to_string()))?;
        // The parser lets a string run over lines, which JSON5 does not: a quote was forgotten there.
        let strings = parsed.tokens.into_iter().flatten().filter(|t| matches!(t.token, Token::String(_)));
        if let Some(open) = strings.into_iter().find(|t| breaks_line(&self.text[t.range.start..t.range.end]))
        {
            return Err(self.invalid(open.range.start, "Unterminated string literal".into()));
        }
        parsed.value.ok_or_else(|| self.invalid(0, "the file is empty".into()))
    }

    /// The bytes it has, or is to have, on disk.
    pub fn bytes(&self) -> Vec<u8> {
        let bom: &[u8] = if self.bom { b"\xef\xbb\xbf" } else { b"" };
        [bom, self.text.as_bytes()].concat()
    }

    /// The comments in it, with their marks.
    pub fn comments(&self) -> impl Iterator<Item = &str> {
        json5::comments(&self.text)
    }

    fn readable(&self) -> &str {
        self.readable.as_deref().unwrap_or(&self.text)
    }

    pub(crate) fn invalid(&self, at: usize, message: String) -> Invalid {
        let (line, column) = position(&self.text, at);
        let start = self.text[..at].rfind(['\n', '\r']).map_or(0, |n| n + 1);
        let excerpt = self.text[start..].lines().next().map(mask).unwrap_or_default();
        Invalid { path: self.path.clone(), line, column, message, excerpt }
    }
}

/// The JSON5 value that `text` is.
///
/// # Errors
/// [`Invalid`], of no file.
pub fn value(text: &str) -> Result<Node, Invalid> {
    let document = Document::unwritten(Path::new(""), text);
    let parsed = jsonc_parser::parse_to_ast(document.readable(), &CollectOptions::default(), &options())
        .map_err(|e| document.invalid(e.range().start, e.kind().to_string()))?;
    let value = parsed.value.map(|value| Node::of_value(&value, 0));
    value.ok_or_else(|| document.invalid(0, "there is no value".into()))
}

/// Whether a line ends within `literal` without a backslash before it.
fn breaks_line(literal: &str) -> bool {
    let ends = |text: &str| text.contains(['\n', '\r']);
    let unescaped =
        |text: &str| ["\\\\", "\\\r\n", "\\\n", "\\\r"].iter().fold(text.to_owned(), |t, e| t.replace(e, ""));
    ends(literal) && ends(&unescaped(literal))
}

/// Line and column, both from 1, of the byte at `at`.
pub(crate) fn position(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// A line that may hold half a secret, fit to be shown: its leading key and its punctuation.
fn mask(line: &str) -> String {
    const WIDTH: usize = 80;
    let line = line.trim();
    let word = |s: &str| !s.is_empty() && s.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let key_end = match line.split_once(':') {
        Some((key, _)) if word(key.trim().trim_matches(['"', '\''])) => key.len(),
        _ => 0,
    };
    let (key, rest) = line.split_at(key_end);
    let mut out = key.to_owned();
    for c in rest.chars() {
        match c {
            '{' | '}' | '[' | ']' | ',' | ':' | ' ' => out.push(c),
            _ if out.ends_with('…') => {}
            _ => out.push('…'),
        }
    }
    out.chars().take(WIDTH).collect()
}
