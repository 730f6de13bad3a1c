//! `openclaw.json` as it stands: missing, unreadable, broken, or a text with its tree.
//!
//! The four are never taken for one another: a token is invented only over a file that is not there.
//! JSON5 is read by `jsonc-parser`, whose tree knows where each value stands and whose recursion is
//! bounded.

use jsonc_parser::ast::{Object, Value};
use jsonc_parser::{CollectOptions, ParseOptions};
use std::path::{Path, PathBuf};
use std::{fmt, io};

/// What was found at a path.
pub enum Read {
    /// No such file (ENOENT, and nothing else).
    Missing,
    /// There, but it cannot be read.
    Unreadable(Unreadable),
    /// Its text.
    Text(Source),
}

/// A file that is there and cannot be read.
#[derive(Debug)]
pub struct Unreadable {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub why: io::Error,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(f, "{path} cannot be read ({}); see `ls -l {path}` for its owner and mode", self.why)
    }
}

/// The text of a configuration file.
pub struct Source {
    /// Where it was read from.
    pub path: PathBuf,
    /// Without a byte-order mark.
    pub text: String,
    /// Whether it began with a byte-order mark.
    pub bom: bool,
}

/// A text that is no configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invalid {
    /// Which file.
    pub path: PathBuf,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What the parser says.
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

/// Reads the file at `path`.
pub fn read(path: &Path) -> Read {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Read::Missing,
        Err(why) => return Read::Unreadable(Unreadable { path: path.into(), why }),
    };
    // What is not UTF-8 becomes a replacement character, which is fine in a comment.
    let text = String::from_utf8_lossy(&bytes);
    let (text, bom) = match text.strip_prefix('\u{feff}') {
        Some(text) => (text.to_owned(), true),
        None => (text.into_owned(), false),
    };
    Read::Text(Source { path: path.into(), text, bom })
}

/// JSON5, and nothing laxer.
pub(super) fn options() -> ParseOptions {
    ParseOptions { allow_missing_commas: false, ..ParseOptions::default() }
}

impl Source {
    /// The root object.
    ///
    /// # Errors
    /// [`Invalid`] where the text is not JSON5, is empty, or is not an object.
    pub fn parse(&self) -> Result<Object<'_>, Invalid> {
        let parsed = jsonc_parser::parse_to_ast(&self.text, &CollectOptions::default(), &options());
        match parsed.map(|p| p.value) {
            Ok(Some(Value::Object(root))) => Ok(root),
            Ok(None) => Err(self.invalid(0, "the file is empty".into())),
            Ok(Some(_)) => Err(self.invalid(0, "the file does not hold an object {…}".into())),
            Err(e) => Err(self.invalid(e.range().start, e.kind().to_string())),
        }
    }

    fn invalid(&self, at: usize, message: String) -> Invalid {
        let (line, column) = position(&self.text, at);
        let start = self.text[..at].rfind(['\n', '\r']).map_or(0, |n| n + 1);
        let excerpt = self.text[start..].lines().next().map(mask).unwrap_or_default();
        Invalid { path: self.path.clone(), line, column, message, excerpt }
    }
}

/// Line and column, both from 1, of the byte at `at`.
pub(super) fn position(text: &str, at: usize) -> (usize, usize) {
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
