//! Which shared secret a gateway on this host is shown: the one of the file, or the one that it took last.
//!
//! OpenClaw 2026.9.6 may go on with the secret before, when `gateway.auth` is edited soon after another key ("config reload
//! superseded by a newer runtime config source"). It then refuses the one that the file has until it is restarted.

use super::connect::Auth;
use crate::config::{Kind, Secret, Settings, Upstream};
use std::cell::{Cell, RefCell};

/// A secret, and whether it is a token or a password.
pub(crate) type Shown = (Kind, Secret);

/// The secrets that may be shown.
#[derive(Default)]
pub(super) struct Secrets {
    /// The one that was taken last.
    taken: RefCell<Option<Shown>>,
    /// Whether that one is shown, and not the file's.
    before: Cell<bool>,
}

impl Secrets {
    /// The secret to show now, if there is one.
    pub fn shown(&self, settings: &Settings, upstream: &Upstream) -> Option<Shown> {
        self.choose(of_file(settings, upstream))
    }

    fn choose(&self, of_file: Option<Shown>) -> Option<Shown> {
        match self.before.get() {
            true => self.taken.borrow().clone().or(of_file),
            false => of_file,
        }
    }

    /// Whether the one before is shown.
    pub fn is_before(&self) -> bool {
        self.before.get()
    }

    /// Notes that `secret` was taken.
    pub fn took(&self, secret: Option<Shown>) {
        self.taken.replace(secret);
    }

    /// Notes that the one that is shown was refused; whether there is another to show at once.
    pub fn refused(&self, settings: &Settings, upstream: &Upstream) -> bool {
        self.turn(of_file(settings, upstream).as_ref())
    }

    fn turn(&self, of_file: Option<&Shown>) -> bool {
        let another = self.taken.borrow().as_ref().is_some_and(|taken| Some(taken) != of_file);
        self.before.set(!self.before.get() && another);
        self.before.get()
    }
}

/// The secret of the same `openclaw.json`, unless another was given for it.
fn of_file(settings: &Settings, upstream: &Upstream) -> Option<Shown> {
    match (&upstream.token, &settings.credentials.active) {
        (Some(token), _) => Some((Kind::Token, token.clone())),
        (None, Some((secret, _))) => Some((settings.auth.secret_kind(), secret.clone())),
        (None, None) => None,
    }
}

/// The same as what a `connect` shows.
pub(super) fn auth(shown: &Option<Shown>) -> Auth<'_> {
    shown.as_ref().map_or(Auth::Nothing, |(kind, secret)| Auth::Shared(*kind, secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_before_is_shown_in_turn() {
        let secret = |text: &str| Secret::new(text).map(|secret| (Kind::Token, secret));
        let name = |shown: Option<Shown>| shown.and_then(|(_, secret)| secret.reveal().map(str::to_owned));
        let secrets = Secrets::default();
        assert_eq!(name(secrets.choose(secret("a"))), Some("a".into()));
        // Nothing was taken yet, so there is no other.
        assert!(!secrets.turn(secret("a").as_ref()));
        secrets.took(secret("a"));
        assert!(!secrets.turn(secret("a").as_ref()));
        assert!(secrets.turn(secret("b").as_ref()));
        assert_eq!(name(secrets.choose(secret("b"))), Some("a".into()));
        assert!(!secrets.turn(secret("b").as_ref()));
        assert_eq!(name(secrets.choose(secret("b"))), Some("b".into()));
        assert_eq!(name(secrets.choose(None)), None);
        assert!(secrets.turn(None));
        assert_eq!(name(secrets.choose(None)), Some("a".into()));
    }
}
