//! Paths of the state directory and its files. One resolver for every path, so that no part of the
//! gateway looks elsewhere.
//!
//! Source: OpenClaw's `docs/help/environment.md` and `docs/gateway/multiple-gateways.md`.

use super::{Env, StartError};
use rustix::process::geteuid;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// The places of one gateway.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Paths {
    /// Home directory, for `~`: `OPENCLAW_HOME`, else `HOME`.
    pub home: PathBuf,
    /// The account's own home, whatever `OPENCLAW_HOME` says: systemd's user units are there.
    pub os_home: PathBuf,
    /// OpenClaw's state directory (`~/.openclaw`).
    pub state_dir: PathBuf,
    /// Path of `openclaw.json`.
    pub config_file: PathBuf,
    /// Barnacle's own state, inside the state directory.
    pub barnacle_dir: PathBuf,
    /// Directory of the system's units; `/etc/systemd/system` but in tests.
    pub system_units: PathBuf,
}

impl Paths {
    /// Resolves every path from `env`.
    ///
    /// # Errors
    /// [`StartError::NoHome`] where nothing says what home is and it is needed; [`StartError::BadProfile`] for a profile
    /// whose name is no name.
    pub fn resolve(env: &Env) -> Result<Self, StartError> {
        let os_home = word(env, "HOME").map(PathBuf::from);
        let home = match word(env, "OPENCLAW_HOME") {
            Some(own) => Some(expand(own, os_home.as_deref()).ok_or(StartError::NoHome)?),
            // Nothing but `~` needs a home where the state directory is given.
            None => os_home.clone().or_else(|| {
                env.process("OPENCLAW_STATE_DIR").filter(|d| !d.starts_with('~')).map(PathBuf::from)
            }),
        };
        let home = absolute(home.ok_or(StartError::NoHome)?);
        // Meant as the state directory itself by those who set it so: never `.openclaw/.openclaw`.
        let home = match home.parent() {
            Some(parent) if home.ends_with(".openclaw") => parent.to_owned(),
            _ => home,
        };
        let state_dir = match env.process("OPENCLAW_STATE_DIR") {
            Some(dir) => absolute(expand(dir, Some(&home)).ok_or(StartError::NoHome)?),
            None => home.join(default_state_dir(env)?),
        };
        let mut paths = Self {
            config_file: state_dir.join("openclaw.json"),
            barnacle_dir: state_dir.join("barnacle"),
            os_home: os_home.unwrap_or_else(|| home.clone()),
            system_units: "/etc/systemd/system".into(),
            home,
            state_dir,
        };
        paths.follow_config_path(env);
        Ok(paths)
    }

    /// Takes `OPENCLAW_CONFIG_PATH`, which may also stand in `.env`, and so be known only after the
    /// state directory is.
    pub fn follow_config_path(&mut self, env: &Env) {
        if let Some(path) = env.get("OPENCLAW_CONFIG_PATH").and_then(|p| expand(p, Some(&self.home))) {
            self.config_file = absolute(path);
        }
    }

    /// The text of `openclaw.json` that ran last.
    pub fn last_config(&self) -> PathBuf {
        self.barnacle_dir.join("openclaw.json.last")
    }

    /// Barnacle's own file, `barnacle.json`.
    pub fn own_file(&self) -> PathBuf {
        self.barnacle_dir.join("barnacle.json")
    }

    /// The text of it that ran last.
    pub fn last_own_file(&self) -> PathBuf {
        self.barnacle_dir.join("barnacle.json.last")
    }

    /// The shared secret that ran last, sealed.
    pub(crate) fn last_secret(&self) -> PathBuf {
        self.barnacle_dir.join("secret.last")
    }

    /// The `.env` file that is read.
    pub fn dotenv(&self) -> PathBuf {
        self.state_dir.join(".env")
    }

    /// Every file of that kind, the one that counts first. OpenClaw's installer leaves variables in `gateway.env` on
    /// Ubuntu, for the default state directory.
    pub fn dotenvs(&self) -> Vec<PathBuf> {
        let mut files = vec![self.dotenv()];
        if self.state_dir == self.home.join(".openclaw") {
            files.push(self.home.join(".config/openclaw/gateway.env"));
        }
        files
    }

    /// `path` with `~` replaced, from the working directory if relative.
    pub fn expand(&self, path: &str) -> PathBuf {
        absolute(expand(path, Some(&self.home)).unwrap_or_else(|| path.into()))
    }

    /// Reports directories that let another account take the gateway over: a line each, with the command.
    pub(crate) fn exposed(&self) -> Vec<String> {
        let us = geteuid().as_raw();
        let mut lines = Vec::new();
        for dir in [&self.state_dir, &self.barnacle_dir] {
            let Ok(meta) = std::fs::metadata(dir) else { continue };
            let (owner, mode, dir) = (meta.uid(), meta.mode() & 0o7777, dir.display());
            if owner != us && owner != 0 {
                lines.push(format!(
                    "{dir} belongs to uid {owner}, and this is uid {us}: another account can replace what is in it \
                     and take the gateway over; sudo chown {us} {dir}"
                ));
            }
            if mode & 0o022 != 0 {
                lines.push(format!(
                    "{dir} can be written by others (mode {mode:04o}): another account can replace what is in it and \
                     take the gateway over; chmod go-w {dir}"
                ));
            }
        }
        lines
    }

    /// The owner of the file at `path`, where that is neither this process's user, root, nor the owner of the
    /// directory that it is in.
    pub(crate) fn foreign_owner(path: &Path) -> Option<u32> {
        let real = std::fs::canonicalize(path).ok()?;
        let owner = std::fs::metadata(&real).ok()?.uid();
        let directory = std::fs::metadata(real.parent()?).ok()?.uid();
        (![geteuid().as_raw(), 0, directory].contains(&owner)).then_some(owner)
    }

    /// Names of OpenClaw's past that are set or there, and not read: one line each.
    pub fn old_names(&self, env: &Env) -> Vec<String> {
        let mut lines = Vec::new();
        for name in env.names() {
            if let Some(rest) = name.strip_prefix("CLAWDBOT_").or_else(|| name.strip_prefix("MOLTBOT_")) {
                lines.push(format!("{name} is set but not read; rename it to OPENCLAW_{rest}"));
            }
        }
        for old in [".clawdbot", ".moltbot"] {
            let dir = self.home.join(old);
            if dir.exists() {
                let (dir, state) = (dir.display(), self.state_dir.display());
                lines.push(format!(
                    "{dir} is there but not read; the state directory is {state} (`barnacle import --from \
                     {dir}` brings paired devices over)"
                ));
            }
        }
        lines
    }
}

/// A variable that names a home; scripts leave these two words behind, and OpenClaw skips them too.
fn word<'e>(env: &'e Env, name: &str) -> Option<&'e str> {
    env.process(name).filter(|v| !matches!(*v, "undefined" | "null"))
}

/// The profile's name, unless it is the default one.
pub(crate) fn profile(env: &Env) -> Option<&str> {
    env.process("OPENCLAW_PROFILE").filter(|p| !p.eq_ignore_ascii_case("default"))
}

fn default_state_dir(env: &Env) -> Result<String, StartError> {
    let Some(profile) = profile(env) else {
        return Ok(".openclaw".into());
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if profile.len() > 64 || !profile.chars().all(fits) || profile.starts_with(['_', '-']) {
        return Err(StartError::BadProfile(profile.to_owned()));
    }
    Ok(format!(".openclaw-{profile}"))
}

fn expand(path: &str, home: Option<&Path>) -> Option<PathBuf> {
    match path.strip_prefix('~') {
        Some("") => home.map(Path::to_owned),
        Some(rest) if rest.starts_with('/') => home.map(|h| h.join(rest.trim_start_matches('/'))),
        _ => Some(path.into()),
    }
}

/// `path` from the working directory, without `.`, `..` and trailing slashes. Links are not followed.
fn absolute(path: PathBuf) -> PathBuf {
    let mut out = PathBuf::new();
    for part in std::path::absolute(&path).unwrap_or(path).components() {
        match part {
            Component::ParentDir => _ = out.pop(),
            other => out.push(other),
        }
    }
    out
}
