//! The gateway to call, and the credential to send it.
//!
//! The URL: `--url`, else `OPENCLAW_GATEWAY_URL`, else `gateway.remote.url` where `gateway.mode` is `remote`,
//! else this host and the port where the gateway of this state directory says that it listens, be it another
//! than the configuration's; `OPENCLAW_GATEWAY_PORT` counts more. Where none runs, the port is the
//! configuration's. The secret: the command line, then the environment, then `gateway.remote.token` for a URL that
//! was named, then what the config says of this host's own gateway; that last one is shown to loopback
//! only, since it is no other host's business.

use crate::{
    config::{Env, Flags, Kind, Mode, Paths, Secret, Settings, Source, StartError},
    store::gateway_at,
    tls::{Certificate, Trust},
};
use std::{fmt, path::PathBuf, time::Duration};

pub use crate::net::url::{BadUrl, Url};

/// The options of a call.
#[derive(Default)]
pub struct Options {
    /// `--url`.
    pub url: Option<String>,
    /// `--token`.
    pub token: Option<Secret>,
    /// `--password`.
    pub password: Option<Secret>,
    /// `--tls-fingerprint`.
    pub trust: Option<Trust>,
    /// `--timeout`.
    pub timeout: Option<Duration>,
}

/// Time-out of the whole call, unless `--timeout` sets another.
const TIMEOUT: Duration = Duration::from_secs(10);

pub struct Target {
    pub url: Url,
    /// Whether nobody named it: it is the gateway of this host and this state directory.
    pub own: bool,
    /// The certificates to trust, where the URL asks for TLS.
    pub trust: Trust,
    /// The shared or device token to show.
    pub token: Option<Secret>,
    pub password: Option<Secret>,
    /// Source of the token or password; `None` if it was given, or there is none.
    pub sent: Option<Source>,
    /// Time-out of the whole call.
    pub timeout: Duration,
    pub dir: PathBuf,
    pub paths: Paths,
    /// Warnings about the configuration, a line each.
    pub notices: Vec<String>,
}

/// Why there is no gateway to call.
#[derive(Debug)]
pub enum BadTarget {
    /// The URL was typed so.
    Typed(BadUrl),
    /// `OPENCLAW_GATEWAY_URL`.
    Environment(BadUrl),
    /// `gateway.remote.url` of the config.
    Configured(BadUrl),
    /// `gateway.remote.tlsFingerprint` of the config.
    Fingerprint(String),
    /// The environment makes no sense.
    Settings(StartError),
}

impl BadTarget {
    /// 2 for the command line, 78 for the configuration.
    pub fn exit_code(&self) -> u8 {
        if matches!(self, Self::Typed(_)) { 2 } else { 78 }
    }
}

impl fmt::Display for BadTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Typed(e) => e.fmt(f),
            Self::Environment(e) => write!(f, "OPENCLAW_GATEWAY_URL: {e}"),
            Self::Configured(e) => write!(f, "gateway.remote.url: {e}"),
            Self::Fingerprint(text) => {
                write!(
                    f,
                    "gateway.remote.tlsFingerprint: {text:?} must be the 64 hexadecimal digits of a SHA-256"
                )
            }
            Self::Settings(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for BadTarget {}

impl Target {
    /// Finds the gateway that `options` and the configuration mean.
    pub fn find(env: &Env, options: Options) -> Result<Self, BadTarget> {
        let flags = Flags { allow_unconfigured: true, ..Flags::default() };
        let settings = Settings::resolve(env, &flags).map_err(BadTarget::Settings)?;
        let config = &settings.config;
        let remote = config.remote.url.as_deref().filter(|_| config.mode == Some(Mode::Remote));
        let by_env = settings.env().get("OPENCLAW_GATEWAY_URL").filter(|_| options.url.is_none());
        let url = match (&options.url, by_env, remote) {
            (Some(url), ..) => Url::parse(url).map_err(BadTarget::Typed)?,
            (_, Some(url), _) => Url::parse(url).map_err(BadTarget::Environment)?,
            (.., Some(url)) => Url::parse(url).map_err(BadTarget::Configured)?,
            _ => Url::own(&settings),
        };
        let remote_pin = || {
            let text = config.remote.tls_fingerprint.as_ref()?;
            Some(Trust::only(text).ok_or_else(|| BadTarget::Fingerprint(text.clone())))
        };
        // This host's own certificate is in its file, for who may read it.
        let own_pin = || {
            let files =
                config.tls.files(&settings.paths).filter(|_| url.is_loopback() && remote.is_none())?;
            Certificate::fingerprint_in(&files.cert).map(Trust::Only)
        };
        let trust = match (options.trust, remote.is_some()) {
            (Some(trust), _) => trust,
            (None, true) => remote_pin().transpose()?.unwrap_or(Trust::Authorities),
            (None, false) => own_pin().unwrap_or(Trust::Authorities),
        };
        let named = options.url.is_some() || by_env.is_some() || remote.is_some();
        let (mut token, mut password) = (options.token, options.password);
        let mut sent = None;
        if token.is_none() && password.is_none() {
            let kind = settings.credentials.kind;
            let secret = match settings.credentials.active.clone() {
                Some((secret, from @ (Source::Env(_) | Source::DotEnv(..)))) => Some((secret, kind, from)),
                active => {
                    let remote = config.remote.token.given().filter(|_| named && by_env.is_none());
                    let from = || Source::RemoteKey(settings.paths.config_file.clone());
                    let own = active.filter(|_| url.is_loopback());
                    remote
                        .map(|s| (s.clone(), Kind::Token, from()))
                        .or(own.map(|(secret, from)| (secret, kind, from)))
                }
            };
            if let Some((secret, kind, from)) = secret {
                match kind {
                    Kind::Token => token = Some(secret),
                    Kind::Password => password = Some(secret),
                }
                sent = Some(from);
            }
        }
        Ok(Self {
            url,
            trust,
            own: !named,
            token,
            password,
            sent,
            timeout: options.timeout.unwrap_or(TIMEOUT),
            notices: settings.lines().collect(),
            dir: settings.paths.barnacle_dir.clone(),
            paths: settings.paths,
        })
    }
}

impl Url {
    /// The gateway of this host and state directory: where the one that runs says, unless the environment
    /// names a port; else where one started with `settings` would be.
    pub fn own(settings: &Settings) -> Self {
        let running = || {
            let url = Self::parse(&gateway_at(&settings.paths.barnacle_dir)?).ok();
            url.filter(Self::is_loopback).filter(|_| settings.env().get("OPENCLAW_GATEWAY_PORT").is_none())
        };
        running().unwrap_or_else(|| Self::local(settings.port, settings.config.tls.enabled))
    }
}
