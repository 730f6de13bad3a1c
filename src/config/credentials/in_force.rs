//! The secrets of a gateway that runs, or ran: they stay in force while what names them resolves to nothing.

use super::{
    kept,
    secret::{Credential, Kind, Secret, Source as Place, is_placeholder},
    shared::Credentials,
};
use crate::config::{
    AuthMode, Paths, Settings,
    model::GatewayConfig,
    own::OwnInForce,
    text::{node::Node, source::Source},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Secrets that the running gateway uses, those of its own file with it.
pub(crate) struct SecretsInForce {
    auth: AuthMode,
    active: Option<(Secret, Place)>,
    token: Credential,
    password: Credential,
    source: Arc<Source>,
    own: OwnInForce,
}

/// What is known of the secrets before.
#[derive(Clone, Copy)]
pub(crate) enum Before<'a> {
    /// Nothing: a command asks.
    Unknown,
    /// What was kept of the one that ran last.
    Kept,
    /// Those of the gateway that runs.
    Running(&'a SecretsInForce),
}

impl<'a> Before<'a> {
    pub(crate) fn of(running: Option<&'a SecretsInForce>) -> Self {
        running.map_or(Self::Unknown, Self::Running)
    }

    /// Barnacle's own file, as the gateway that runs has it in force.
    pub(crate) fn own(self) -> Option<&'a OwnInForce> {
        match self {
            Self::Running(running) => Some(running.own()),
            Self::Unknown | Self::Kept => None,
        }
    }

    /// Keeps credentials of the file that resolve no more; reports each.
    pub(crate) fn keep_credentials(
        self,
        paths: &Paths,
        config: &mut GatewayConfig,
        source: &Source,
        settling: bool,
    ) -> Vec<String> {
        match self {
            Self::Unknown => Vec::new(),
            Self::Kept => kept::stand_in_config(paths, source, config),
            Self::Running(running) => running.keep_credentials(config, source, settling),
        }
    }

    /// Whether a secret of the token file `path` is known.
    pub(crate) fn knows_file(self, paths: &Paths, path: &Path) -> bool {
        match self {
            Self::Unknown => false,
            Self::Kept => kept::recall(paths, &kept::token_file(path)).is_some(),
            Self::Running(running) => {
                matches!(&running.active, Some((_, Place::TokenFile(of))) if of == path)
            }
        }
    }

    /// Keeps the secret in force where its file has none any more; `away` is the token file that cannot be read.
    pub(crate) fn keep_active(
        self,
        paths: &Paths,
        away: Option<&PathBuf>,
        auth: AuthMode,
        credentials: &mut Credentials,
    ) -> Option<String> {
        if away.is_some() {
            credentials.others.extend(credentials.active.take());
        }
        match self {
            Self::Unknown => None,
            Self::Kept if auth == AuthMode::None => None,
            Self::Kept => kept::stand_in_active(paths, away.map(PathBuf::as_path), credentials),
            Self::Running(running) => running.keep_active(auth, credentials),
        }
    }
}

impl SecretsInForce {
    pub(crate) fn of(settings: &Settings) -> Self {
        Self {
            auth: settings.auth,
            active: settings.credentials.active.clone(),
            token: settings.config.auth.token.clone(),
            password: settings.config.auth.password.clone(),
            source: settings.source.clone(),
            own: OwnInForce::of(&settings.own, settings.upstream.as_ref()),
        }
    }

    /// Barnacle's own file, as it is in force.
    pub(crate) fn own(&self) -> &OwnInForce {
        &self.own
    }

    /// Keeps credentials of the file whose reference is the same and resolves no more, or that a placeholder
    /// was written over; reports each. While a file may be half written nothing is lost, or reported, yet.
    pub(crate) fn keep_credentials(
        &self,
        config: &mut GatewayConfig,
        source: &Source,
        settling: bool,
    ) -> Vec<String> {
        let mut lines = Vec::new();
        for (kind, before) in [(Kind::Token, &self.token), (Kind::Password, &self.password)] {
            let now = match kind {
                Kind::Token => &mut config.auth.token,
                Kind::Password => &mut config.auth.password,
            };
            let (Credential::Given(_), Credential::Unresolved { path, why, .. }) = (before, &*now) else {
                continue;
            };
            let node = |source: &Source| source.root.find(["gateway", "auth", kind.word()]).cloned();
            let (was, is) = (node(&self.source), node(source));
            let same = matches!((&was, &is), (Some(was), Some(is)) if was.same(is));
            if settling {
                *now = before.clone();
            } else if same || is.as_ref().and_then(Node::text).is_some_and(is_placeholder) {
                lines.push(format!(
                    "{path}: {why}; until it is fixed, the {} from before is used",
                    kind.word()
                ));
                *now = before.clone();
            }
        }
        lines
    }

    /// Keeps the secret in force where it came from a file that has none any more, and no other place has
    /// one; says so.
    pub(crate) fn keep_active(&self, auth: AuthMode, credentials: &mut Credentials) -> Option<String> {
        let (secret, place) = self.active.as_ref()?;
        let of_file = matches!(place, Place::DotEnv(..) | Place::TokenFile(_));
        if !of_file || auth != self.auth || auth == AuthMode::None || credentials.active.is_some() {
            return None;
        }
        credentials.active = Some((secret.clone(), place.clone()));
        let word = credentials.kind.word();
        Some(format!(
            "{place} is gone, and there is no other {word}; until there is, the {word} from before is used (for none, \
             barnacle gateway restart)"
        ))
    }
}
