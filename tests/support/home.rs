//! A home directory for each test, and the environment of a process that lives in it.

#![allow(dead_code)]

use barnacle::internals::config::{Env, Flags, Paths, Settings, StartError};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

pub struct Home(pub PathBuf);

impl Home {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("barnacle-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = fs::canonicalize(std::env::temp_dir()).unwrap().join(name);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    /// A home whose `openclaw.json` holds `text`.
    pub fn with(text: &str) -> Self {
        let home = Self::new();
        home.write(".openclaw/openclaw.json", text);
        home
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn config(&self) -> PathBuf {
        self.path(".openclaw/openclaw.json")
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    pub fn read(&self) -> String {
        fs::read_to_string(self.config()).unwrap()
    }

    pub fn env(&self, vars: &[(&str, &str)]) -> Env {
        let home = self.0.to_str().unwrap();
        vars.iter().copied().chain([("HOME", home)]).collect()
    }

    pub fn paths(&self, vars: &[(&str, &str)]) -> Paths {
        Paths::resolve(&self.env(vars)).unwrap()
    }

    pub fn start(&self, vars: &[(&str, &str)], flags: &Flags) -> Result<Settings, StartError> {
        Settings::resolve(&self.env(vars), flags)
    }

    /// The settings of a start that goes well.
    pub fn settings(&self) -> Settings {
        self.start(&[], &Flags::default()).unwrap()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

/// Every line the gateway would print.
pub fn lines(settings: &Settings) -> String {
    settings.lines().collect::<Vec<_>>().join("\n")
}

pub fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}
