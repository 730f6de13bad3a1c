//! Selects the file that a key is written to.
//!
//! What one `$include` alone brings belongs to the file that it names; anything that several files have a
//! word in is left to whoever wrote them. Nothing that stands in one file is ever copied into another.
//! Source: OpenClaw's `docs/gateway/config-secrets-env.md`.

use super::{diff::KeyPath, merge::Edit};
use crate::config::text::source::{Include, Source};
use std::fmt;
use std::path::PathBuf;

/// Why a change is in no file's power, and where to make it by hand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnershipError {
    path: KeyPath,
    why: &'static str,
    files: Vec<PathBuf>,
}

impl fmt::Display for OwnershipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files: Vec<_> = self.files.iter().map(|f| f.display().to_string()).collect();
        write!(f, "{} {}; edit {} by hand", self.path, self.why, files.join(" or "))
    }
}

/// The document of `source` that all of `edits` belong to, and the path that its root has.
///
/// # Errors
/// [`OwnershipError`].
pub fn owner(source: &Source, edits: &[Edit]) -> Result<(u16, KeyPath), OwnershipError> {
    let mut owner: Option<(u16, KeyPath)> = None;
    for Edit { path, .. } in edits {
        let own = owner_of(source, path)?;
        match &owner {
            Some((first, _)) if *first != own.0 => {
                return Err(OwnershipError {
                    path: path.clone(),
                    why: "stands in another file than the rest of the change",
                    files: vec![file(source, *first), file(source, own.0)],
                });
            }
            _ => owner = Some(own),
        }
    }
    Ok(owner.unwrap_or_default())
}

fn file(source: &Source, document: u16) -> PathBuf {
    source.documents[usize::from(document)].path.clone()
}

fn owner_of(source: &Source, key: &KeyPath) -> Result<(u16, KeyPath), OwnershipError> {
    let no = |why, include: &Include| {
        let files = include.files.iter().copied().chain([include.by]).map(|n| file(source, n)).collect();
        Err(OwnershipError { path: key.clone(), why, files })
    };
    let real = |path: PathBuf| std::fs::canonicalize(&path).unwrap_or(path);
    let of = |document| real(file(source, document));
    let home = file(source, 0).parent().map_or_else(PathBuf::new, |dir| real(dir.into()));
    let (mut document, mut root) = (0, KeyPath::default());
    // From the root file inwards, one include after the other.
    while let Some(include) = source.includes.iter().find(|i| i.by == document && key.0.starts_with(&i.path))
    {
        if key.0.len() == include.path.len() {
            return no("is what $include brings", include);
        }
        if include.path.is_empty() {
            return no("is in a file that $include brings in for the whole of another", include);
        }
        if !include.whole {
            return no("comes from $include together with other keys", include);
        }
        let owner = include.files[0];
        if (0..source.documents.len() as u16).filter(|n| of(*n) == of(owner)).count() > 1 {
            return no("is in a file that is included more than once", include);
        }
        if !of(owner).starts_with(&home) {
            return no("is in a file outside of the configuration's directory", include);
        }
        (document, root) = (owner, KeyPath(include.path.clone()));
    }
    // What would be replaced or taken away may itself hold what other files bring.
    let below = |i: &&Include| i.path.len() > key.0.len() && i.path.starts_with(&key.0);
    match source.includes.iter().find(below) {
        Some(include) => no("holds what $include brings", include),
        None => Ok((document, root)),
    }
}
