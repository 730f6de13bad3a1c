//! What the gateway runs with: command line over environment over `.env` over file.
//!
//! Resolving only reads. While the file is broken, what ran last holds; where nothing ran yet, paired
//! devices get in as ever, nobody else does. Either way the gateway says so.

pub mod decode;
pub mod first_run;
pub mod input;
pub mod last_good;
pub mod load;
pub mod serve;

use self::{
    decode::{Found, Loaded},
    first_run::NotStored,
    input::SettingsInput,
    load::load,
};
use super::{
    ConfigError, Env, Paths, Warning,
    credentials::{
        secret::{Credential, Kind, Secret, Source as Place, variable},
        shared::{Credentials, Search},
    },
    keys::{
        self, DEFAULT_HANDSHAKE_TIMEOUT, DEFAULT_PORT,
        words::{AuthMode, Bind, Mode},
    },
    lint,
    model::{GatewayConfig, tls},
    text::{file::Unreadable, source::Source},
};
use crate::{auth::limiter::Limits, tls::Tls};
use std::fmt;
use std::io;
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
}

/// Why the gateway does not start.
#[derive(Debug)]
pub enum StartError {
    /// Neither `OPENCLAW_HOME` nor `HOME` is set.
    NoHome,
    /// `OPENCLAW_PROFILE` is no name.
    BadProfile(String),
    /// `--bind` is no word of ours.
    BadBind(String),
    /// The file of `--token-file` gives no token.
    TokenFile(PathBuf, Option<io::Error>),
    /// The config says that the gateway is on another host.
    Remote(PathBuf),
}

impl StartError {
    /// The process's exit code: 78 (`EX_CONFIG`), at which systemd does not try again.
    pub fn exit_code(&self) -> u8 {
        78
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHome => f.write_str("no home directory: HOME is not set; set HOME or OPENCLAW_HOME"),
            Self::BadProfile(name) => write!(
                f,
                "OPENCLAW_PROFILE={name:?} is no profile name; use letters, digits, - and _, at most 64"
            ),
            Self::BadBind(word) => write!(f, "--bind {word}: must be one of {}", Bind::expected()),
            Self::TokenFile(path, why) => {
                let why = why.as_ref().map_or_else(|| "it holds no token".into(), io::Error::to_string);
                let path = path.display();
                write!(
                    f,
                    "--token-file {path}: {why}; it must be a file that holds the token and nothing else"
                )
            }
            Self::Remote(path) => write!(
                f,
                "gateway.mode is \"remote\" in {}: this host's gateway is elsewhere; set it to \"local\", or \
                 start with `barnacle gateway --allow-unconfigured`",
                path.display()
            ),
        }
    }
}

impl std::error::Error for StartError {}

/// What the gateway runs with.
pub struct Settings {
    /// Where things are.
    pub paths: Paths,
    /// The port to listen on.
    pub port: u16,
    /// Where to listen; what would be open to strangers is already loopback here.
    pub bind: Bind,
    /// How clients without a paired device get in.
    pub auth: AuthMode,
    /// The shared credential.
    pub credentials: Credentials,
    /// What new connections speak.
    pub tls: Tls,
    /// What the file says; `port`, `bind` and `auth` above are what holds.
    pub config: GatewayConfig,
    /// How much guessing is let pass.
    pub limits: Limits,
    /// How long a client may take to connect.
    pub handshake_timeout: Duration,
    /// What the keys were read from.
    pub source: Arc<Source>,
    /// How `openclaw.json` was found.
    pub found: Found,
    /// Whether what ran last holds, `openclaw.json` being broken.
    pub last: bool,
    /// Every file that was looked at, there or not: what to watch.
    pub files: Vec<PathBuf>,
    /// Keys of the file that are wrong.
    pub errors: Vec<ConfigError>,
    /// What is odd about other keys of the file, and does no harm.
    pub lint: Vec<Warning>,
    /// What the person at the terminal should know, a line each.
    pub notices: Vec<String>,
    /// The `.env` file that could not be read: its variables count as unset.
    pub unread: Option<Unreadable>,
    /// Whether there is no token anywhere, and one may be made: see [`Settings::make_first_token`].
    pub wants_token: bool,
    /// `--force`.
    pub force: bool,
    /// `--verbose`.
    pub verbose: bool,
    env: Env,
    /// Where the gateway listened that ran last, where `gateway.bind` makes no sense.
    pub(crate) last_bind: Option<Bind>,
    pub(crate) again: SettingsInput,
}

impl Settings {
    /// Puts together what `env`, `flags` and the files say. Writes nothing.
    ///
    /// # Errors
    /// [`StartError`], where going on would not be what was meant.
    pub fn resolve(env: &Env, flags: &Flags) -> Result<Self, StartError> {
        Self::resolve_with(env, flags, None)
    }

    /// As [`resolve`](Self::resolve), with `instead` for the text of `openclaw.json`.
    pub(crate) fn resolve_with(env: &Env, flags: &Flags, instead: Option<&str>) -> Result<Self, StartError> {
        let mut paths = Paths::resolve(env)?;
        let mut notices = paths.old_names(env);
        let process = env;
        let mut unread = None;
        let env = process.with_dotenv(&paths).unwrap_or_else(|(path, e)| {
            let told = format!("{} cannot be read ({e})", path.display());
            notices.push(format!("{told}; its variables count as unset"));
            unread = Some(Unreadable { path, why: e });
            process.clone()
        });
        paths.follow_config_path(&env);
        let Loaded { config, source, errors, lint, found, last, last_tls, last_bind, mut files } =
            load(&paths, &env, instead);
        files.extend(paths.dotenvs());
        let tls = tls::found(&config.tls, if last_tls { &[] } else { &errors }, &paths);
        files.extend(config.tls.files(&paths).into_iter().flat_map(|files| [files.cert, files.key]));
        files.extend(flags.token_file.clone());
        guard(&found, last, &config, flags, &paths, &mut notices)?;

        let auth = auth_mode(flags, &env, &config, &mut notices);
        let kind = auth.secret_kind();
        if let Some(path) = &flags.token_file {
            let held = Secret::in_file(path).map_err(|e| StartError::TokenFile(path.clone(), Some(e)))?;
            held.ok_or_else(|| StartError::TokenFile(path.clone(), None))?;
        }
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
        let credentials = search.credentials(&env, &config, auth != AuthMode::None);
        notices.extend(credentials.warnings());
        if (last || matches!(found, Found::Whole)) && auth != AuthMode::None {
            notices.extend(unresolved(config.auth.credential(kind)));
        }
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
            force: flags.force,
            verbose: flags.verbose,
            paths,
            auth,
            credentials,
            tls,
            config,
            source,
            found,
            last,
            files,
            errors,
            lint,
            notices,
            unread,
            env,
            last_bind: last_bind.filter(|_| flags.bind.is_none()),
            again: SettingsInput { process: process.clone(), flags: flags.clone() },
        };
        let told = settings.config.auth.credential(kind) != &Credential::Absent
            || matches!(settings.found, Found::Broken(_));
        if auth == AuthMode::Password && settings.credentials.active.is_none() && !told {
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
                let Loaded { config, source, found, .. } = load(&self.paths, &self.env, None);
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

    /// What they were resolved from.
    pub fn again(&self) -> SettingsInput {
        self.again.clone()
    }

    /// The environment, `.env` included.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// Errors, notices and lint, a line each.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let told = self.errors.iter().map(ConfigError::to_string).chain(self.notices.iter().cloned());
        told.chain(self.lint.iter().map(Warning::to_string))
    }

    /// The lines that `old` did not have. A warning whose place moved is not new.
    pub fn lines_new_since(&self, old: &Self) -> impl Iterator<Item = String> {
        let said: Vec<String> =
            old.errors.iter().map(ConfigError::to_string).chain(old.notices.iter().cloned()).collect();
        let told = self.errors.iter().map(ConfigError::to_string).chain(self.notices.iter().cloned());
        let same = |a: &Warning, b: &Warning| (a.rule, &a.message) == (b.rule, &b.message);
        let odd = self.lint.iter().filter(move |c| !old.lint.iter().any(|o| same(o, c)));
        let shrunk = lint::shrunk(&old.source, &self.source).into_iter();
        told.filter(move |line| !said.contains(line))
            .chain(odd.map(Warning::to_string))
            .chain(shrunk.map(|c| c.to_string()))
    }

    /// What is to be said of the file's keys: of which (empty where it is of several), and what.
    pub fn warnings(&self) -> impl Iterator<Item = (&str, String)> {
        let errors = self.errors.iter().map(|f| (&*f.path, f.to_string()));
        errors.chain(self.lint.iter().map(|c| (&*c.path, c.to_string())))
    }

    /// Beyond loopback there must be something that keeps strangers out.
    pub(crate) fn close_what_is_open(&mut self) {
        if self.bind.is_loopback() {
            return;
        }
        let why = match self.auth {
            AuthMode::None => "gateway.auth.mode is \"none\"; set it to \"token\"",
            AuthMode::TrustedProxy if self.config.trusted_proxies.is_empty() => {
                "gateway.auth.mode is \"trusted-proxy\" and no proxy is trusted; set gateway.trustedProxies"
            }
            AuthMode::TrustedProxy => return,
            _ if self.credentials.active.is_some() || self.wants_token => return,
            AuthMode::Token => "there is no shared token; set gateway.auth.token",
            AuthMode::Password => "there is no shared password; set gateway.auth.password",
        };
        self.notices.push(format!("listening on loopback instead of {}: {why}", self.bind));
        self.bind = Bind::Loopback;
    }
}

/// Says what the state of the file means, and stops where it means another host.
fn guard(
    found: &Found,
    last: bool,
    config: &GatewayConfig,
    flags: &Flags,
    paths: &Paths,
    notices: &mut Vec<String>,
) -> Result<(), StartError> {
    let until = match last {
        true => "until it is mended: what ran last, and nothing is written to it",
        false => "until it is mended: loopback, paired devices only, and nothing is written to it",
    };
    let path = paths.config_file.display();
    match found {
        Found::Broken(error) => notices.push(format!("{error}; {until}")),
        Found::Missing if last => notices.push(format!("{path} is gone; {until}")),
        Found::Missing => {}
        Found::Whole => match config.mode {
            Some(Mode::Local) => {}
            Some(Mode::Remote) if !flags.allow_unconfigured => {
                return Err(StartError::Remote(paths.config_file.clone()));
            }
            Some(Mode::Remote) => {
                notices
                    .push(format!("gateway.mode is \"remote\" in {path}: clients here call another gateway"));
            }
            None if flags.allow_unconfigured => {}
            None => notices.push(format!(
                "gateway.mode is not set in {path}; OpenClaw would not start so: set it to \"local\""
            )),
        },
    }
    Ok(())
}

fn unresolved(credential: &Credential) -> Option<String> {
    match credential {
        Credential::Unresolved { path, place, why } => {
            let place =
                place.as_ref().map(|(file, line, column)| format!("{}:{line}:{column}: ", file.display()));
            Some(format!("{}{path} lets no one in: {why}", place.unwrap_or_default()))
        }
        _ => None,
    }
}

fn auth_mode(flags: &Flags, env: &Env, config: &GatewayConfig, notices: &mut Vec<String>) -> AuthMode {
    if let Some(mode) = flags.auth.or(config.auth.mode) {
        return mode;
    }
    let password = config.auth.password != Credential::Absent || env.get(variable(Kind::Password)).is_some();
    let token = config.auth.token != Credential::Absent;
    if flags.password.is_some() {
        AuthMode::Password
    } else if flags.token.is_some() || flags.token_file.is_some() || !password {
        AuthMode::Token
    } else {
        if token {
            notices
                .push("token and password are both set and gateway.auth.mode is not: password rules".into());
        }
        AuthMode::Password
    }
}

fn port(flags: &Flags, env: &Env, config: &GatewayConfig, notices: &mut Vec<String>) -> u16 {
    const NAME: &str = "OPENCLAW_GATEWAY_PORT";
    let said = env.get(NAME);
    // OpenClaw also takes `host:port` there, as container set-ups write it.
    let parsed = said.and_then(|text| text.rsplit(':').next()?.parse().ok()).filter(|port| *port != 0);
    if let (Some(text), None) = (said, parsed) {
        notices.push(format!("{NAME}={text:?} is no port and counts as unset"));
    }
    flags.port.or(parsed).or(config.port).unwrap_or_else(|| default_port(env))
}

/// A named profile has a port of its own, so that two run side by side: 20000 plus FNV-1a of its name,
/// within 40000, as `openclaw --profile <name> gateway status` (2026.9.6) shows it.
fn default_port(env: &Env) -> u16 {
    let Some(profile) = super::paths::profile(env) else { return DEFAULT_PORT };
    let hash = profile.bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    20_000 + (hash % 40_000) as u16
}

fn handshake_timeout(env: &Env, config: &GatewayConfig, notices: &mut Vec<String>) -> Duration {
    const NAME: &str = "OPENCLAW_HANDSHAKE_TIMEOUT_MS";
    let said = env.get(NAME);
    let range = keys::range("gateway.handshakeTimeoutMs");
    let parsed = said.and_then(|text| text.parse().ok()).filter(|ms| range.contains(ms));
    if let (Some(text), None) = (said, parsed) {
        let (min, max) = range.into_inner();
        notices.push(format!("{NAME}={text:?} is no number from {min} to {max} and counts as unset"));
    }
    parsed.map(Duration::from_millis).or(config.handshake_timeout).unwrap_or(DEFAULT_HANDSHAKE_TIMEOUT)
}
