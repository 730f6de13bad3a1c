//! A token or password, and its source.

use super::{secret_files::Form, variables::is_variable};
pub use crate::auth::refusal::SecretKind as Kind;
use crate::{
    config::{Env, redact::REDACTED, text::file},
    protocol::TokenHash,
};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A token or password. Can be compared and hashed, but is never shown.
#[derive(Clone)]
pub struct Secret {
    /// Nothing of one that was kept as a hash.
    value: Option<String>,
    hash: TokenHash,
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl Eq for Secret {}

impl Secret {
    /// Hashes the secret.
    pub fn hash(&self) -> TokenHash {
        self.hash
    }

    /// A secret of which no more than its hash is known.
    pub(crate) fn of_hash(hash: TokenHash) -> Self {
        Self { value: None, hash }
    }

    /// Takes `value`, trimmed. `None` where it is blank, one of the two words that a script writes when it had
    /// no value, or a placeholder.
    pub fn new(value: &str) -> Option<Self> {
        let value = value.trim();
        let given = !matches!(value, "" | "undefined" | "null") && !is_placeholder(value);
        given.then(|| Self { value: Some(value.into()), hash: TokenHash::of(value) })
    }

    /// As [`new`](Self::new), of a text in which nothing is replaced: a variable's name is no secret there.
    pub fn literal(value: &str) -> Option<Self> {
        Self::new(value).filter(|_| !is_variable_name(value))
    }

    /// The secret that a file holds and nothing else; the last whole one that `env` knows of it. A pipe is
    /// refused: a second reader would find it empty.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(crate) fn in_file(path: &Path, env: &Env) -> io::Result<Option<Self>> {
        let bytes = env.secret_file(path, Form::Value, || file::bytes(path, 1 << 16))?;
        let text = String::from_utf8(bytes)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))?;
        Ok(Self::literal(text.trim_start_matches('\u{feff}')))
    }

    /// Whether `offered` is this secret; takes the same time whatever the answer.
    pub fn matches(&self, offered: &str) -> bool {
        self.hash.matches(offered)
    }

    /// Eight digits to tell it by.
    pub fn fingerprint(&self) -> String {
        self.hash.fingerprint()
    }

    /// The secret itself, as far as it is known: for the client that has to send it, and for the file it is stored in.
    pub fn reveal(&self) -> Option<&str> {
        self.value.as_deref()
    }
}

/// Whether `value` is what programs and manuals write where they do not show a secret.
pub fn is_placeholder(value: &str) -> bool {
    let value = value.trim();
    let inner = [('<', '>'), ('[', ']'), ('(', ')'), ('{', '}')]
        .iter()
        .find_map(|(open, close)| value.strip_prefix(*open)?.strip_suffix(*close));
    let word = inner.unwrap_or(value).trim().trim_matches(['_', '*', '-', ' ']).to_ascii_lowercase();
    let masks = ['*', '•', '●', '…', '.', 'x', 'X'];
    let masked = value.chars().count() >= 3 && masks.iter().any(|mask| value.chars().all(|c| c == *mask));
    let hidden = matches!(
        &*word,
        "openclaw_redacted" | "redacted" | "masked" | "hidden" | "secret hidden" | "removed"
    );
    value.contains(REDACTED)
        || masked
        || hidden
        || inner.is_some_and(|_| is_described(&word) && value.starts_with('<'))
}

/// Whether a text in angle brackets is a description: words, no value.
fn is_described(word: &str) -> bool {
    !word.is_empty()
        && word.len() <= 40
        && word.chars().all(|c| c.is_ascii_alphabetic() || matches!(c, '-' | '_' | ' '))
}

/// Whether `value` is a variable that nobody replaced: `$NAME` or `${NAME}`.
fn is_variable_name(value: &str) -> bool {
    let name = value.trim().strip_prefix('$');
    name.is_some_and(|n| {
        let n = n.strip_prefix('{').and_then(|n| n.strip_suffix('}')).unwrap_or(n);
        n.len() > 1 && is_variable(n)
    })
}

/// Why `value`, taken as it stands, is no secret though it is not blank.
pub fn why_not_literal(value: &str) -> Option<&'static str> {
    if is_placeholder(value) {
        Some("holds a placeholder that stands for a hidden secret, and is none")
    } else if is_variable_name(value) {
        Some("holds the name of a variable that nobody replaced, and is no secret")
    } else {
        None
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "‹{}›", self.fingerprint())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.fingerprint())
    }
}

/// A credential as given in the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Credential {
    /// The key is not set.
    Absent,
    /// A value written in the file, or resolved from a reference.
    Given(Secret),
    /// Meant to be there, and cannot be read.
    Unresolved {
        /// Dotted path of the key.
        path: String,
        /// File, line and column, if it stands in one.
        place: Option<(PathBuf, usize, usize)>,
        /// Why the reference could not be resolved.
        why: String,
    },
}

impl Credential {
    /// The secret, where there is one.
    pub fn given(&self) -> Option<&Secret> {
        match self {
            Self::Given(secret) => Some(secret),
            _ => None,
        }
    }
}

/// The environment variable of a kind.
pub fn variable(kind: Kind) -> &'static str {
    match kind {
        Kind::Token => "OPENCLAW_GATEWAY_TOKEN",
        Kind::Password => "OPENCLAW_GATEWAY_PASSWORD",
    }
}

/// Source of a shared credential. Its `Display` fits after "the value of".
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// `--token` or `--password`.
    Flag(Kind),
    /// The file that `--token-file` names.
    TokenFile(PathBuf),
    /// Environment variable of the process.
    Env(Kind),
    /// `.env` in the state directory.
    DotEnv(Kind, PathBuf),
    /// `gateway.auth.*` in the configuration file.
    ConfigFile(Kind, PathBuf),
    /// `gateway.remote.token`, which clients send.
    RemoteKey(PathBuf),
    /// An `Environment=` line of a systemd unit or drop-in.
    Unit(Kind, PathBuf),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(kind) => write!(f, "--{} on the command line", kind.word()),
            Self::TokenFile(path) => write!(f, "the token file {}", path.display()),
            Self::Env(kind) => write!(f, "the environment variable {}", variable(*kind)),
            Self::DotEnv(kind, path) => write!(f, "{} in {}", variable(*kind), path.display()),
            Self::ConfigFile(kind, path) => write!(f, "gateway.auth.{} in {}", kind.word(), path.display()),
            Self::RemoteKey(path) => write!(f, "gateway.remote.token in {}", path.display()),
            Self::Unit(kind, path) => write!(f, "Environment={} in {}", variable(*kind), path.display()),
        }
    }
}
