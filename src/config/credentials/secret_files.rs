//! Files that hold secrets: the last whole content of each counts until the file holds another whole one.
//!
//! Tools truncate and refill such a file, remove it and put it back, or write it in pieces. A content that is
//! missing, unreadable, empty or cut short therefore changes nothing, and one that may be half of something
//! counts only once it has stayed the same for [`STABLE`].

use super::dotenv;
use crate::config::text::file::may_pass;
use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Time for which a content that may be incomplete must stay the same before it counts.
pub(crate) const STABLE: Duration = Duration::from_secs(2);

/// Format of a file's content, which decides when it counts as whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// Lines of `NAME=value`.
    Variables,
    /// A single secret.
    Value,
    /// A JSON object.
    Json,
}

/// Why the content of before counts instead of the one on disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Held {
    /// The file may be half written; it counts once it stays the same.
    Settling,
    /// The sentence for the operator, and whether it may pass though nothing happens to the file.
    Problem(String, bool),
}

/// The last whole contents by path, shared by everything that resolves for one gateway.
#[derive(Clone, Default)]
pub(crate) struct SecretFiles(Arc<Mutex<HashMap<PathBuf, Content>>>);

#[derive(Default)]
struct Content {
    /// Content in force; empty where there was no file.
    whole: Vec<u8>,
    /// Another content, and since when it is there.
    next: Option<(Vec<u8>, Instant)>,
}

#[derive(PartialEq, Eq, Debug)]
enum Verdict {
    Take,
    Settle,
    Keep(String),
}

impl SecretFiles {
    /// The content of the file at `path` that counts, given what `read` finds there now, and why it is not
    /// the one on disk.
    ///
    /// # Errors
    /// Those of `read`, where no whole content is known.
    pub(crate) fn read(
        &self,
        path: &Path,
        form: Form,
        read: impl FnOnce() -> io::Result<Vec<u8>>,
    ) -> io::Result<(Vec<u8>, Option<Held>)> {
        let now = read();
        let mut all = self.lock();
        let Some(content) = all.get_mut(path) else {
            let whole = match &now {
                Ok(bytes) => bytes.clone(),
                Err(_) => Vec::new(),
            };
            all.insert(path.into(), Content { whole, next: None });
            return now.map(|bytes| (bytes, None));
        };
        let still = match (&now, &content.next) {
            (Ok(bytes), Some((next, since))) if bytes == next => since.elapsed(),
            (Ok(bytes), _) => {
                content.next = Some((bytes.clone(), Instant::now()));
                Duration::ZERO
            }
            (Err(_), _) => {
                content.next = None;
                Duration::ZERO
            }
        };
        let known = !is_blank(&content.whole);
        let passes = now.as_ref().err().is_some_and(may_pass);
        match (verdict(&content.whole, &now, form, still), now) {
            (Verdict::Take, Ok(bytes)) => {
                *content = Content { whole: bytes.clone(), next: None };
                Ok((bytes, None))
            }
            (Verdict::Settle, Ok(_)) if known => Ok((content.whole.clone(), Some(Held::Settling))),
            // Nothing was there before: as if it still were not.
            (Verdict::Settle, Ok(_)) => Ok((Vec::new(), Some(Held::Settling))),
            (Verdict::Keep(why), _) if known => {
                let line = format!(
                    "{} {why}; until it holds a whole value again: what it held before",
                    path.display()
                );
                Ok((content.whole.clone(), Some(Held::Problem(line, passes))))
            }
            (_, now) => now.map(|bytes| (bytes, None)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, Content>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Judges the content `now` of a file that held `whole` before; `now` has been there for `still`.
fn verdict(whole: &[u8], now: &io::Result<Vec<u8>>, form: Form, still: Duration) -> Verdict {
    let now = match now {
        Ok(now) => now,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Verdict::Keep("is gone".into()),
        Err(e) => return Verdict::Keep(format!("cannot be read ({e})")),
    };
    if now == whole {
        return Verdict::Take;
    }
    if is_blank(now) {
        return Verdict::Keep("is empty".into());
    }
    let ends = now.ends_with(b"\n");
    let cut = !ends && whole.starts_with(now) && !is_blank(&whole[now.len()..]) && whole[now.len()] != b'\n';
    if cut {
        return Verdict::Keep("holds only the beginning of what it held".into());
    }
    let complete = match form {
        Form::Variables => ends && !loses_variable(whole, now),
        Form::Value => ends,
        Form::Json => now.trim_ascii_end().ends_with(b"}"),
    };
    if complete || still >= STABLE { Verdict::Take } else { Verdict::Settle }
}

/// Whether a variable of `before` is not in `now`.
fn loses_variable(before: &[u8], now: &[u8]) -> bool {
    let variables = |bytes: &[u8]| dotenv::parse(&String::from_utf8_lossy(bytes));
    let now = variables(now);
    let set = |value: Option<&String>| value.is_some_and(|v| !v.trim().is_empty());
    variables(before).iter().any(|(name, value)| set(Some(value)) && !set(now.get(name)))
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.trim_ascii().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_content_means() {
        use Form::{Json, Value, Variables};
        let (keep, take, settle) = ("keep", "take", "settle");
        let rows: &[(&str, &str, Form, &str)] = &[
            ("abcdef\n", "ghi\n", Value, take),
            ("abcdef\n", "", Value, keep),
            ("abcdef\n", " \n", Value, keep),
            ("abcdef\n", "abc", Value, keep),
            ("abcdef\n", "abcdef", Value, settle),
            ("abcdef\n", "ghi", Value, settle),
            ("abcdef", "abc", Value, keep),
            ("abcdef", "ghi", Value, settle),
            ("abcdef\n", "abc\n", Value, take),
            ("A=1\nB=2\n", "A=1\nB=3\n", Variables, take),
            ("A=1\nB=2\n", "A=1\n", Variables, settle),
            ("A=1\nB=2\n", "A=1\nB=\n", Variables, settle),
            ("A=1\nB=2\n", "A=1\nB", Variables, keep),
            ("A=1\n", "A=1\nB=2\n", Variables, take),
            ("A=1\n", "A=1\nB=2", Variables, settle),
            ("", "A=1", Variables, settle),
            ("", "A=1\n", Variables, take),
            ("{\"a\":1}", "{\"a\":", Json, keep),
            ("{\"a\":1}", "{\"b\":2}", Json, take),
            ("{\"a\":1}", "{\"b\":", Json, settle),
        ];
        for (whole, now, form, expected) in rows {
            let at = |still| match verdict(whole.as_bytes(), &Ok(now.as_bytes().to_vec()), *form, still) {
                Verdict::Take => take,
                Verdict::Settle => settle,
                Verdict::Keep(_) => keep,
            };
            assert_eq!(at(Duration::ZERO), *expected, "{whole:?} {now:?}");
            let later = if *expected == settle { take } else { expected };
            assert_eq!(at(STABLE), later, "{whole:?} {now:?}, later");
        }
    }
}
