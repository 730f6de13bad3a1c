//! Settings in force: command line over environment over `.env` over file.
//!
//! Resolving only reads. While the file is broken, what ran last holds; where nothing ran yet, paired
//! devices get in as ever, nobody else does. Either way the gateway says so.

mod auth;
pub mod first_run;
mod guard;
mod listening;
pub mod load;
mod start_error;
pub(crate) mod upstream;

pub use start_error::StartError;
pub use upstream::Upstream;

use self::{
    auth::{auth_mode, placeholders, unresolved},
    first_run::NotStored,
    guard::{foreign_line, guard, handshake_timeout},
    listening::port,
    load::{FileState, Loaded, load},
    upstream::upstream_url,
};
use super::{
    ConfigError, Env, Paths, Warning,
    credentials::{
        in_force::{Before, SecretsInForce},
        secret::{Credential, Kind, Secret, Source as Place},
        secret_files::Held,
        shared::{Credentials, Search},
    },
    keys::words::{AuthMode, Bind},
    lint,
    model::{GatewayConfig, tls},
    own::{self, Own},
    redact,
    text::{file::Unreadable, source::Source},
};
use crate::{auth::limiter::Limits, journal::Levels, tls::Tls};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The command line of `barnacle gateway`.
#[derive(Clone, Default)]
pub struct Flags {
    /// `--port`.
    pub port: Option<u16>,
    /// `--bind`, as it was typed.
    pub bind: Option<String>,
    /// `--auth`.
    pub auth: Option<AuthMode>,
    /// `--token`.
    pub token: Option<Secret>,
    /// `--password`.
    pub password: Option<Secret>,
    /// `--token-file`.
    pub token_file: Option<PathBuf>,
    /// `--force`.
    pub force: bool,
    /// `--verbose`.
    pub verbose: bool,
    /// `--allow-unconfigured`.
    pub allow_unconfigured: bool,
    /// `--upstream`, as it was typed.
    pub upstream: Option<String>,
}

/// Inputs that settings are resolved from, kept to resolve them again when a file has changed.
#[derive(Clone)]
pub struct SettingsInput {
    pub(crate) process: Env,
    pub(crate) flags: Flags,
    /// The secrets of the gateway that runs.
    running: Option<Arc<SecretsInForce>>,
}

impl SettingsInput {
    /// The settings as the files have them now. They are for a gateway that runs: no token is made up for
    /// it, and `gateway.mode: "remote"` does not stop it.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn resolve(&self) -> Result<Settings, StartError> {
        self.resolve_with(None)
    }

    /// As [`resolve`](Self::resolve), with `instead` for the text of `openclaw.json`.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn resolve_with(&self, instead: Option<&str>) -> Result<Settings, StartError> {
        let flags = Flags { allow_unconfigured: true, ..self.flags.clone() };
        let mut settings =
            Settings::resolve_with(&self.process, &flags, instead, Before::of(self.running.as_deref()))?;
        settings.again = Self { running: None, ..self.clone() };
        if std::mem::take(&mut settings.wants_token) {
            settings.notices.push(format!(
                "there is no shared token any more, so paired devices only: set gateway.auth.token in {}",
                settings.paths.config_file.display()
            ));
            settings.close_what_is_open();
        }
        Ok(settings)
    }
}

/// Settings in use by a gateway.
pub struct Settings {
    /// Paths of the state directory and its files.
    pub paths: Paths,
    /// The port to listen on.
    pub port: u16,
    /// Listening addresses; reduced to loopback already where no credential is configured.
    pub bind: Bind,
    /// Credential that clients without a paired device need.
    pub auth: AuthMode,
    /// The shared credential and its source.
    pub credentials: Credentials,
    /// TLS for new connections.
    pub tls: Tls,
    /// Keys as the file has them; `port`, `bind` and `auth` above are the values in force.
    pub config: GatewayConfig,
    /// Limits for guesses of the shared secret.
    pub limits: Limits,
    /// Time-out of the handshake.
    pub handshake_timeout: Duration,
    /// Source that the keys were read from.
    pub source: Arc<Source>,
    /// Barnacle's own file; what it says of `auth` stands in `config`.
    pub own: Own,
    /// State in which `openclaw.json` was found.
    pub found: FileState,
    /// Whether what ran last holds, `openclaw.json` being broken.
    pub last: bool,
    /// Every file that was looked at, there or not: what to watch.
    pub files: Vec<PathBuf>,
    /// Keys of the file that are wrong.
    pub errors: Vec<ConfigError>,
    /// Lint warnings of the file's other keys.
    pub lint: Vec<Warning>,
    /// Notices for the person at the terminal, a line each.
    pub notices: Vec<String>,
    /// The `.env` file that could not be read: its variables count as unset.
    pub unread: Option<Unreadable>,
    /// Files of the configuration that belong to neither this user, root, nor their directory's owner.
    pub(crate) foreign: Vec<(PathBuf, u32)>,
    /// Secrets that stay as they were because their file cannot be read, or holds no whole value.
    pub held: Vec<String>,
    /// Whether a file with secrets may be half written: it is to be read again soon.
    pub settling: bool,
    /// Whether there is no token anywhere, and one may be made: see [`Settings::make_first_token`].
    pub wants_token: bool,
    /// The gateway behind this one, if there is one.
    pub upstream: Option<Upstream>,
    /// `--force`.
    pub force: bool,
    /// `--verbose`.
    pub verbose: bool,
    env: Env,
    /// Bind of the settings that ran last, where `gateway.bind` is invalid.
    pub(crate) last_bind: Option<Bind>,
    pub(crate) again: SettingsInput,
}

impl Settings {
    /// Puts together what `env`, `flags` and the files say. Writes nothing.
    ///
    /// # Errors
    /// [`StartError`], where going on would not be what was meant.
    pub fn resolve(env: &Env, flags: &Flags) -> Result<Self, StartError> {
        Self::resolve_with(env, flags, None, Before::Unknown)
    }

    /// As [`resolve`](Self::resolve), for a gateway that starts: a shared secret whose file is away is the one that
    /// ran last.
    ///
    /// # Errors
    /// [`StartError`].
    pub(crate) fn resolve_for_start(env: &Env, flags: &Flags) -> Result<Self, StartError> {
        Self::resolve_with(env, flags, None, Before::Kept)
    }

    /// As [`resolve`](Self::resolve), with `instead` for the text of `openclaw.json`, and the secrets of `before`.
    fn resolve_with(
        env: &Env,
        flags: &Flags,
        instead: Option<&str>,
        before: Before<'_>,
    ) -> Result<Self, StartError> {
        let mut paths = Paths::resolve(env)?;
        let mut notices = paths.old_names(env);
        let process = env;
        let mut unread = None;
        let env = process.with_dotenv(&paths).unwrap_or_else(|(path, e)| {
            let problem = format!("{} cannot be read ({e})", path.display());
            notices.push(format!("{problem}; its variables count as unset"));
            unread = Some(Unreadable { path, why: e });
            process.clone()
        });
        paths.follow_config_path(&env);
        let Loaded { mut config, source, mut errors, mut lint, found, last, last_tls, last_bind, mut files } =
            load(&paths, &env, instead);
        notices.extend(paths.exposed());
        let flag =
            flags.upstream.as_deref().map(upstream_url).transpose().map_err(StartError::BadUpstream)?;
        let beside = own::Beside { paths: &paths, env: &env, openclaw: &source };
        let ours = own::read(beside, flag.as_ref(), before.own());
        let (own, upstream) = (ours.own, ours.upstream);
        own.rule(&mut config);
        let documents = source.documents.iter().chain(&own.source.documents);
        let read = documents.map(|document| &document.path);
        let foreign = match instead {
            None => read.filter_map(|path| Some((path.clone(), Paths::foreign_owner(path)?))).collect(),
            Some(_) => Vec::new(),
        };
        notices.extend(foreign.iter().map(foreign_line));
        files.extend(paths.dotenvs());
        let tls = tls::found(&config.tls, if last_tls { &[] } else { &errors }, &paths);
        files.extend(config.tls.files(&paths).into_iter().flat_map(|files| [files.cert, files.key]));
        files.extend(flags.token_file.clone());
        guard(&found, last, &config, flags, &paths, &mut notices)?;
        let settling = env.held().contains(&Held::Settling);
        let mut held = before.keep_credentials(&paths, &mut config, &source, settling);

        let auth = auth_mode(flags, &env, &config, &mut notices);
        let kind = auth.secret_kind();
        let away = match &flags.token_file {
            Some(path) => match Secret::in_file(path, &env) {
                Ok(Some(_)) => None,
                _ if before.knows_file(&paths, path) => Some(path),
                found => return Err(StartError::TokenFile(path.clone(), found.err())),
            },
            None => None,
        };
        let search = Search {
            kind,
            env: process.clone(),
            paths: paths.clone(),
            flag: match kind {
                Kind::Token => flags.token.clone(),
                Kind::Password => flags.password.clone(),
            },
            token_file: flags.token_file.clone().filter(|_| kind == Kind::Token),
        };
        let mut credentials = search.credentials(&env, &config, auth != AuthMode::None);
        held.extend(before.keep_active(&paths, away, auth, &mut credentials));
        notices.extend(credentials.warnings());
        notices.extend(placeholders(&env, kind));
        if (last || matches!(found, FileState::Whole)) && auth != AuthMode::None {
            notices.extend(unresolved(config.auth.credential(kind)));
        }
        errors.extend(ours.errors);
        lint.extend(ours.lint);
        if upstream.is_some() {
            // The gateway behind this one has a use for them.
            lint.retain(|warning| warning.rule != lint::Rule::Unused);
        }
        notices.extend(ours.notices);
        files.extend(ours.files);
        let mut settling = false;
        for file in env.held() {
            match file {
                Held::Settling => settling = true,
                Held::Problem(line, passes) => {
                    settling |= passes;
                    held.push(line);
                }
            }
        }
        notices.extend(held.iter().cloned());
        // A token is absent only from a file that is not there or was read whole.
        let queued = config.auth.token == Credential::Absent && credentials.active.is_none();
        let mut settings = Self {
            port: port(flags, &env, &config, &mut notices),
            bind: match &flags.bind {
                Some(word) => Bind::parse(word, config.custom_bind_host)
                    .ok_or_else(|| StartError::BadBind(word.clone()))?,
                None => config.bind,
            },
            limits: config.auth.rate_limit,
            handshake_timeout: handshake_timeout(&env, &config, &mut notices),
            wants_token: queued && auth == AuthMode::Token,
            upstream,
            force: flags.force,
            verbose: flags.verbose,
            paths,
            auth,
            credentials,
            tls,
            config,
            source,
            own,
            found,
            last,
            files,
            errors,
            lint,
            notices,
            unread,
            foreign,
            held,
            settling,
            env,
            last_bind: last_bind.filter(|_| flags.bind.is_none()),
            again: SettingsInput { process: process.clone(), flags: flags.clone(), running: None },
        };
        let reported = settings.config.auth.credential(kind) != &Credential::Absent
            || matches!(settings.found, FileState::Broken(_));
        if auth == AuthMode::Password && settings.credentials.active.is_none() && !reported {
            settings.notices.push(format!(
                "there is no shared password, so paired devices only: set gateway.auth.password in {}",
                settings.paths.config_file.display()
            ));
        }
        settings.tls_notices();
        settings.close_what_is_open();
        Ok(settings)
    }

    /// Makes the first token and stores it, where [`Settings::wants_token`]; says where in a notice.
    /// To be called once the port is ours: a second gateway must leave the file alone.
    ///
    /// # Errors
    /// [`NotStored`]; the gateway then runs without a shared credential, and that is a notice too.
    pub fn make_first_token(&mut self) -> Result<(), NotStored> {
        if !std::mem::take(&mut self.wants_token) {
            return Ok(());
        }
        match first_run::make_token(&self.paths, &self.env) {
            Ok(token) => {
                let source = Place::ConfigFile(Kind::Token, self.paths.config_file.clone());
                self.notices.push(format!("no shared token was set; a random one is now {source}"));
                self.credentials.active = Some((token, source));
                let Loaded { mut config, source, found, .. } = load(&self.paths, &self.env, None);
                self.own.rule(&mut config);
                (self.config, self.source, self.found) = (config, source, found);
                Ok(())
            }
            Err(e) => {
                self.notices.push(e.to_string());
                self.close_what_is_open();
                Err(e)
            }
        }
    }

    /// Log levels in force: `--verbose` overrides the file.
    pub fn levels(&self) -> Levels {
        if self.verbose { Levels::VERBOSE } else { self.config.levels }
    }

    /// Whether the file of a gateway that runs with `old` has lost everything about it, the shared secret too:
    /// a file that was removed and begun anew.
    pub(crate) fn loses_gateway(&self, old: &Self) -> bool {
        let has = |settings: &Self| settings.source.root.get("gateway").is_some();
        let of_file = matches!(old.credentials.active, Some((_, Place::ConfigFile(..))));
        has(old) && !has(self) && of_file && self.credentials.active.is_none()
    }

    /// Why a gateway that runs with `old` does not apply them: a file belongs to somebody who may not decide.
    pub(crate) fn foreign_since(&self, old: &Self) -> Option<String> {
        self.foreign.iter().find(|file| !old.foreign.contains(file)).map(foreign_line)
    }

    /// Returns the inputs that a running gateway resolves its settings from again.
    pub fn again(&self) -> SettingsInput {
        SettingsInput { running: Some(Arc::new(SecretsInForce::of(self))), ..self.again.clone() }
    }

    /// The environment, `.env` included.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// Errors, notices and lint, a line each.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let lines = self.errors.iter().map(ConfigError::to_string).chain(self.notices.iter().cloned());
        let all = lines.chain(self.lint.iter().map(Warning::to_string));
        all.map(|line: String| redact::line(&line).into_owned())
    }

    /// The lines that `old` did not have. A warning whose place moved is not new.
    pub fn lines_new_since(&self, old: &Self) -> impl Iterator<Item = String> {
        let known: Vec<String> =
            old.errors.iter().map(ConfigError::to_string).chain(old.notices.iter().cloned()).collect();
        let lines = self.errors.iter().map(ConfigError::to_string).chain(self.notices.iter().cloned());
        let same = |a: &Warning, b: &Warning| (a.rule, &a.message) == (b.rule, &b.message);
        let odd = self.lint.iter().filter(move |c| !old.lint.iter().any(|o| same(o, c)));
        let shrunk = lint::shrunk(&old.source, &self.source).into_iter();
        lines
            .filter(move |line| !known.contains(line))
            .chain(odd.map(Warning::to_string))
            .chain(shrunk.map(|c| c.to_string()))
            .map(|line: String| redact::line(&line).into_owned())
    }

    /// Warnings about the file's keys: the key (empty where there are several), and the text.
    pub fn warnings(&self) -> impl Iterator<Item = (&str, String)> {
        let errors = self.errors.iter().map(|f| (&*f.path, f.to_string()));
        errors.chain(self.lint.iter().map(|c| (&*c.path, c.to_string())))
    }
}
