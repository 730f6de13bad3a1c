//! Resolves the shared secret and reports conflicting sources.
//!
//! OpenClaw's users are locked out because a token stands in several places that disagree: in the unit,
//! in the environment, in the file. So each is looked at, the one in force is named with where it comes
//! from, and a refused token that stands in another place is answered with that place.

use super::{
    secret::{Credential, Kind, Secret, Source, variable},
    systemd_env,
};
use crate::config::{Env, Paths, model::GatewayConfig, settings::load::load};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// Places to search, kept to search again: files change while the gateway runs.
#[derive(Clone)]
pub struct Search {
    pub(crate) kind: Kind,
    pub(crate) env: Env,
    pub(crate) paths: Paths,
    pub(crate) flag: Option<Secret>,
    pub(crate) token_file: Option<PathBuf>,
}

impl Search {
    /// Every credential that could be in force, the one that is first; `env` with `.env`.
    fn ranked(&self, env: &Env, config: &GatewayConfig) -> Vec<(Secret, Source)> {
        let (kind, paths) = (self.kind, &self.paths);
        let file = self
            .token_file
            .as_ref()
            .and_then(|path| Some((Secret::in_file(path, env).ok()??, Source::TokenFile(path.clone()))));
        let configured = config.auth.credential(kind);
        let named = |value: Option<&str>, source| Some((Secret::literal(value?)?, source));
        [
            self.flag.clone().map(|secret| (secret, Source::Flag(kind))),
            file,
            named(env.process(variable(kind)), Source::Env(kind)),
            env.dotenv(variable(kind))
                .and_then(|(value, file)| named(Some(value), Source::DotEnv(kind, file.into()))),
            configured.given().map(|s| (s.clone(), Source::ConfigFile(kind, paths.config_file.clone()))),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Secrets that are never in force here, but that a client may send.
    fn elsewhere(&self, config: &GatewayConfig) -> Vec<(Secret, Source)> {
        let mut found = systemd_env::credentials(&self.paths, self.kind);
        if let (Kind::Token, Credential::Given(secret)) = (self.kind, &config.remote.token) {
            found.push((secret.clone(), Source::RemoteKey(self.paths.config_file.clone())));
        }
        found
    }

    pub(crate) fn credentials(self, env: &Env, config: &GatewayConfig, in_use: bool) -> Credentials {
        let mut ranked = self.ranked(env, config).into_iter();
        let active = if in_use { ranked.next() } else { None };
        let others = ranked.chain(self.elsewhere(config)).collect();
        Credentials { kind: self.kind, active, others, loaded_ms: now_ms(), search: self }
    }

    /// Reads every place anew (files: not for the main thread) and says where `offered` now stands.
    pub fn holder(&self, offered: &str) -> Option<Source> {
        let fresh = self.env.afresh();
        let env = fresh.with_dotenv(&self.paths).unwrap_or(fresh);
        let config = load(&self.paths, &env, None).config;
        let all = self.ranked(&env, &config).into_iter().chain(self.elsewhere(&config));
        all.into_iter().find(|(secret, _)| secret.matches(offered)).map(|(_, source)| source)
    }
}

/// The shared credential in force, and the others that are known.
#[derive(Clone)]
pub struct Credentials {
    /// Kind of secret: token or password.
    pub kind: Kind,
    /// The one that is compared with; `None` where no shared credential lets anyone in.
    pub active: Option<(Secret, Source)>,
    /// Every other place that holds one, its value differing or not.
    pub others: Vec<(Secret, Source)>,
    /// Time of reading, wall-clock milliseconds.
    pub loaded_ms: u64,
    /// Inputs of the search, to repeat it after a change.
    pub search: Search,
}

impl Credentials {
    /// Whether `offered` is the one in force.
    pub fn admits(&self, offered: &str) -> bool {
        self.active.as_ref().is_some_and(|(secret, _)| secret.matches(offered))
    }

    /// The other place that held `offered` when this gateway started, and what to do about it.
    pub fn elsewhere(&self, offered: &str) -> Option<(String, String)> {
        let (_, source) = self.others.iter().find(|(secret, _)| secret.matches(offered))?;
        Some((source.to_string(), self.fix(source)))
    }

    /// The places whose value differs from the one in force.
    pub fn conflicts(&self) -> impl Iterator<Item = &Source> {
        let active = self.active.as_ref().map(|(secret, _)| secret);
        let differs = move |secret: &Secret| active.is_some_and(|a| a != secret);
        self.others.iter().filter(move |(secret, _)| differs(secret)).map(|(_, source)| source)
    }

    /// A line for each place that disagrees: who wins, and the way out.
    pub fn warnings(&self) -> Vec<String> {
        let Some((_, winner)) = &self.active else { return Vec::new() };
        let word = self.kind.word();
        let line = |loser| format!("{winner} is the {word} in force; {loser} differs: {}", self.fix(loser));
        self.conflicts().map(line).collect()
    }

    /// Says how to fix a secret in `loser` that is not the one in force.
    pub fn fix(&self, loser: &Source) -> String {
        let word = self.kind.word();
        let Some((active, winner)) = &self.active else {
            return format!("no shared {word} is in force; see the gateway's first log lines");
        };
        match (winner, loser) {
            _ if winner == loser => "it was changed after this gateway read it, and gateway.reload.mode may be \"off\": barnacle gateway restart".into(),
            (_, Source::Unit(..)) => {
                format!("remove that line, run `systemctl daemon-reload`, and use {winner}")
            }
            (_, Source::RemoteKey(_)) => format!("remove it, or make it equal to {winner}"),
            (Source::Flag(_), _) => format!("to let it rule, start the gateway without --{word}"),
            (Source::TokenFile(_), _) => "to let it rule, start the gateway without --token-file".into(),
            (Source::Env(kind), _) => {
                let unit = self.others.iter().find(|(s, at)| s == active && matches!(at, Source::Unit(..)));
                let unit = unit.map(|(_, at)| format!(" ({at} sets it)")).unwrap_or_default();
                format!("to let it rule, unset {}{unit}, then stop and start the gateway", variable(*kind))
            }
            (Source::DotEnv(..), _) => format!("to let it rule, remove {winner}"),
            _ => format!("use {winner}"),
        }
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}
