//! The environment, read once and handed down, so that nothing below reads the process's own.
//!
//! What `.env` in the state directory says comes after what the process was given, never over it; last comes the
//! `gateway.env` that OpenClaw's installer leaves on Ubuntu.

use super::{
    credentials::{
        dotenv,
        secret_files::{Form, Held, SecretFiles},
    },
    paths::Paths,
    text::file,
};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Environment variables with the file that adds to them. No `Debug`, since it holds secrets.
#[derive(Clone, Default)]
pub struct Env {
    process: BTreeMap<String, String>,
    /// Variables of files: the value, and the path of the file.
    dotenv: BTreeMap<String, (String, PathBuf)>,
    /// The last whole contents of files that hold secrets, for all environments made from one.
    files: SecretFiles,
    /// Why some of them count instead of what is on disk, for this environment.
    held: Arc<Mutex<Vec<Held>>>,
}

/// Most bytes of such a file.
const LARGEST: u64 = 1 << 20;

impl Env {
    /// The process's own environment; what is not UTF-8 is left out.
    pub fn of_process() -> Self {
        let text = |s: std::ffi::OsString| s.into_string().ok();
        std::env::vars_os().filter_map(|(k, v)| Some((text(k)?, text(v)?))).collect()
    }

    /// Value from the process's environment, trimmed; blank counts as unset.
    pub fn process(&self, name: &str) -> Option<&str> {
        non_blank(self.process.get(name))
    }

    /// Value from `.env`, trimmed, and the path of that file; blank counts as unset.
    pub fn dotenv(&self, name: &str) -> Option<(&str, &Path)> {
        let (value, file) = self.dotenv.get(name)?;
        Some((non_blank(Some(value))?, file))
    }

    /// Value in force: the process's environment, else `.env`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.process(name).or_else(|| Some(self.dotenv(name)?.0))
    }

    /// The names the process was given.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.process.keys().map(String::as_str)
    }

    /// The same environment with the variables of `.env` as they are now; where that cannot be read, with
    /// those that were read before.
    ///
    /// # Errors
    /// The file and why it could not be read. A missing one is no error.
    pub fn with_dotenv(&self, paths: &Paths) -> Result<Self, (PathBuf, io::Error)> {
        let mut env = Self { held: Arc::default(), dotenv: BTreeMap::new(), ..self.clone() };
        for path in paths.dotenvs() {
            let text = match env.secret_file(&path, Form::Variables, || file::bytes(&path, LARGEST)) {
                Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err((path, e)),
            };
            for (name, value) in
                dotenv::parse(&text).into_iter().filter(|(_, value)| !value.trim().is_empty())
            {
                env.dotenv.entry(name).or_insert_with(|| (value, path.clone()));
            }
        }
        Ok(env)
    }

    /// The same environment, which knows nothing of what files held before.
    pub(crate) fn afresh(&self) -> Self {
        Self { files: SecretFiles::default(), held: Arc::default(), ..self.clone() }
    }

    /// The content of a file that holds secrets, which `read` reads: the last whole one.
    ///
    /// # Errors
    /// Those of `read`, where none is known.
    pub(crate) fn secret_file(
        &self,
        path: &Path,
        form: Form,
        read: impl FnOnce() -> io::Result<Vec<u8>>,
    ) -> io::Result<Vec<u8>> {
        let (bytes, held) = self.files.read(path, form, read)?;
        if let Some(held) = held {
            let mut all = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            if !all.contains(&held) {
                all.push(held);
            }
        }
        Ok(bytes)
    }

    /// Files whose former content counts, so far.
    pub(crate) fn held(&self) -> Vec<Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(vars: I) -> Self {
        let process = vars.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        Self { process, ..Self::default() }
    }
}

fn non_blank(value: Option<&String>) -> Option<&str> {
    value.map(|v| v.trim()).filter(|v| !v.is_empty())
}
