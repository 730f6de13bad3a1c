//! The auth mode in force, and messages about the shared credential.

use super::{Flags, Settings};
use crate::config::{
    AuthMode, Credential, Env, Kind,
    credentials::secret::{Source as Place, is_placeholder, variable, why_not_literal},
    model::GatewayConfig,
};
use crate::reactor::{Timer, on_worker};
use smol::future;
use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

/// Searches for a secret that was refused at the same time: guesses on a disk that hangs take no more threads.
const SEARCHES: usize = 4;
/// Time for which a refusal waits for such a search.
const PATIENCE: Duration = Duration::from_secs(1);

/// A turn to search, until it is dropped.
struct SearchTurn;

static SEARCHING: AtomicUsize = AtomicUsize::new(0);

impl SearchTurn {
    fn take() -> Option<Self> {
        SEARCHING.fetch_update(Relaxed, Relaxed, |n| (n < SEARCHES).then_some(n + 1)).ok().map(|_| Self)
    }
}

impl Drop for SearchTurn {
    fn drop(&mut self) {
        SEARCHING.fetch_sub(1, Relaxed);
    }
}

impl Settings {
    /// Describes the source of the shared credential, for a message.
    pub fn credential_source(&self) -> String {
        match (&self.credentials.active, self.auth) {
            (_, AuthMode::None) => "no credential asked for".into(),
            (Some((_, source)), _) => source.to_string(),
            (None, _) => "no shared credential: paired devices only".into(),
        }
    }

    /// Why there is no shared credential to compare with, and what to do.
    pub fn not_configured(&self) -> String {
        match self.auth {
            AuthMode::TrustedProxy => {
                "gateway.auth.mode is \"trusted-proxy\", which this version does not do: it serves paired devices \
                 only; set it to \"token\""
                    .into()
            }
            AuthMode::Password => "set gateway.auth.password in openclaw.json; it counts as soon as it is saved".into(),
            _ => "set gateway.auth.token in openclaw.json, and it counts as soon as it is saved; the gateway's log says why it has \
             none"
                .into(),
        }
    }

    /// The other known place that holds `offered`, as far as can be found now, and what to do about it.
    pub async fn recognise(&self, offered: &str) -> Option<(String, String)> {
        if is_placeholder(offered) {
            let hint = "it stands for a secret that was hidden: send the secret itself, which `barnacle config get \
                        --reveal` shows on the gateway's host";
            return Some(("a placeholder and no secret".into(), hint.into()));
        }
        self.credentials.active.as_ref()?;
        if let Some(known) = self.credentials.elsewhere(offered) {
            return Some(known);
        }
        let (search, wanted) = (self.credentials.search.clone(), offered.to_owned());
        let turn = SearchTurn::take()?;
        let search = on_worker(move || {
            let _turn = turn;
            search.holder(&wanted)
        });
        let late = async {
            Timer::after(PATIENCE).await;
            None
        };
        let source = future::or(search, late).await?;
        Some((source.to_string(), self.credentials.fix(&source)))
    }
}

/// The notice for a credential that cannot be resolved.
pub(super) fn unresolved(credential: &Credential) -> Option<String> {
    match credential {
        Credential::Unresolved { path, place, why } => {
            let place =
                place.as_ref().map(|(file, line, column)| format!("{}:{line}:{column}: ", file.display()));
            Some(format!("{}{path} lets no one in: {why}", place.unwrap_or_default()))
        }
        _ => None,
    }
}

/// A notice for each variable that holds a placeholder in the place of a secret of `kind`.
pub(super) fn placeholders(env: &Env, kind: Kind) -> Vec<String> {
    let name = variable(kind);
    let process = env.process(name).map(|value| (value, Place::Env(kind)));
    let dotenv = env.dotenv(name).map(|(value, file)| (value, Place::DotEnv(kind, file.into())));
    let line = |(value, place)| Some(format!("{place} {}: it counts as unset", why_not_literal(value)?));
    process.into_iter().chain(dotenv).filter_map(line).collect()
}

/// The mode that flags and file ask for, else the one whose credential is there.
pub(super) fn auth_mode(
    flags: &Flags,
    env: &Env,
    config: &GatewayConfig,
    notices: &mut Vec<String>,
) -> AuthMode {
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
