//! Which shared secret a gateway on this host is shown: the one of the file, or the one that it took last.
//!
//! OpenClaw 2026.9.6 may go on with the secret before, when `gateway.auth` is edited soon after another key ("config reload
//! superseded by a newer runtime config source"). It then refuses the one that the file has until it is restarted.

use super::connect::Auth;
use crate::{
    config::{Kind, Secret, Settings, Upstream},
    net::url::Url,
};
use std::cell::{Cell, RefCell};

/// A secret, and whether it is a token or a password.
pub(crate) type Shown = (Kind, Secret);

/// The secrets that may be shown.
#[derive(Default)]
pub(super) struct Secrets {
    /// The one that was taken last, and by whom: it is for no other gateway.
    taken: RefCell<Option<(Url, Shown)>>,
    /// Whether that one is shown, and not the file's.
    before: Cell<bool>,
}

impl Secrets {
    /// The secret to show now, if there is one.
    pub fn shown(&self, settings: &Settings, upstream: &Upstream) -> Option<Shown> {
        self.choose(&upstream.url, of_file(settings, upstream))
    }

    fn choose(&self, url: &Url, of_file: Option<Shown>) -> Option<Shown> {
        match self.before.get() {
            true => self.taken_by(url).or(of_file),
            false => of_file,
        }
    }

    fn taken_by(&self, url: &Url) -> Option<Shown> {
        let taken = self.taken.borrow();
        taken.as_ref().filter(|(by, _)| by == url).map(|(_, shown)| shown.clone())
    }

    /// Whether the one before is shown.
    pub fn is_before(&self) -> bool {
        self.before.get()
    }

    /// Notes that `secret` was taken by the gateway at `url`.
    pub fn took(&self, url: &Url, secret: Option<Shown>) {
        self.taken.replace(secret.map(|secret| (url.clone(), secret)));
    }

    /// Notes that the one that is shown was refused; whether there is another to show at once.
    pub fn refused(&self, settings: &Settings, upstream: &Upstream) -> bool {
        self.turn(&upstream.url, of_file(settings, upstream).as_ref())
    }

    fn turn(&self, url: &Url, of_file: Option<&Shown>) -> bool {
        let another = self.taken_by(url).is_some_and(|taken| Some(&taken) != of_file);
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
        let [one, other] = [1, 2].map(|port| Url::local(port, false));
        let secrets = Secrets::default();
        assert_eq!(name(secrets.choose(&one, secret("a"))), Some("a".into()));
        // Nothing was taken yet, so there is no other.
        assert!(!secrets.turn(&one, secret("a").as_ref()));
        secrets.took(&one, secret("a"));
        assert!(!secrets.turn(&one, secret("a").as_ref()));
        assert!(secrets.turn(&one, secret("b").as_ref()));
        assert_eq!(name(secrets.choose(&one, secret("b"))), Some("a".into()));
        assert!(!secrets.turn(&one, secret("b").as_ref()));
        assert_eq!(name(secrets.choose(&one, secret("b"))), Some("b".into()));
        assert_eq!(name(secrets.choose(&one, None)), None);
        assert!(secrets.turn(&one, None));
        assert_eq!(name(secrets.choose(&one, None)), Some("a".into()));
        // It is shown to nobody else.
        assert_eq!(name(secrets.choose(&other, secret("c"))), Some("c".into()));
        secrets.before.set(false);
        assert!(!secrets.turn(&other, secret("c").as_ref()));
    }
}
