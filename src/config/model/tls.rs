//! `gateway.tls`: whether new connections speak TLS, and with which certificate.
//!
//! Where TLS cannot be had, a start lets nobody in rather than without it, and a reload changes nothing.

use super::tree::Section;
use crate::{
    config::{ConfigError, Paths, Settings},
    tls::{Files, Tls},
};
use std::borrow::Cow;

/// `gateway.tls`, as it is written.
pub struct TlsKeys {
    /// Whether TLS is asked for.
    pub enabled: bool,
    /// Whether certificate and key are made where neither is there.
    pub generate: bool,
    /// Path of the certificate.
    pub cert: Option<String>,
    /// Path of its private key.
    pub key: Option<String>,
    /// Certificates that Node would complete the chain from.
    pub ca: Option<String>,
}

impl TlsKeys {
    pub(crate) fn decode(gateway: &Section<'_>) -> Self {
        let tls = gateway.section("tls");
        let path = |name| tls.text(name).map(Cow::into_owned);
        Self {
            enabled: tls.flag("enabled"),
            generate: tls.flag("autoGenerate"),
            cert: path("certPath"),
            key: path("keyPath"),
            ca: path("caPath"),
        }
    }

    /// The files, where TLS is asked for. Those that are not named are OpenClaw's own, so that who goes back and
    /// forth shows one certificate.
    pub fn files(&self, paths: &Paths) -> Option<Files> {
        let own = paths.state_dir.join("gateway/tls");
        let file = |named: &Option<String>, name| {
            named.as_ref().map_or_else(|| own.join(name), |path| paths.expand(path))
        };
        self.enabled.then(|| Files {
            cert: file(&self.cert, "gateway-cert.pem"),
            key: file(&self.key, "gateway-key.pem"),
            generate: self.generate,
        })
    }
}

/// TLS state that follows from the keys and their errors.
pub(crate) fn found(keys: &TlsKeys, errors: &[ConfigError], paths: &Paths) -> Tls {
    // A path that is none may have been meant for a certificate that clients trust: no other is made then.
    match errors.iter().find(|error| error.is_of_tls()) {
        Some(error) => Tls::Closed(error.to_string()),
        None => Tls::of(keys.files(paths)),
    }
}

impl Settings {
    /// Adds notices about TLS.
    pub(crate) fn tls_notices(&mut self) {
        let notice = match &self.tls {
            // The key's own error is reported already.
            Tls::Closed(_) if self.errors.iter().any(ConfigError::is_of_tls) => {
                Some(format!("gateway.tls makes no sense as it is; {NOBODY_LET_IN}"))
            }
            Tls::Closed(why) => Some(format!("{why}; {NOBODY_LET_IN}")),
            Tls::On(_) if self.config.tls.ca.is_some() => Some(CA_UNUSED.into()),
            _ => None,
        };
        self.notices.extend(notice);
    }

    /// Makes certificate and key where neither exists and they may be made, and logs it.
    pub fn make_certificate(&mut self) {
        if !matches!(self.tls, Tls::ToGenerate(_)) {
            return;
        }
        self.tls = std::mem::replace(&mut self.tls, Tls::Off).made();
        match self.tls.certificate() {
            Some(made) => log::info!(
                "made a self-signed certificate, {}: SHA-256 fingerprint {}",
                made.files().cert.display(),
                made.fingerprint()
            ),
            None => self.tls_notices(),
        }
    }

    /// Keeps the TLS state of `old` where the new one cannot be had, and returns why. A certificate that was served
    /// and is gone is no reason to make another: clients trust that one.
    pub fn keep_tls(&mut self, old: &Self) -> Option<String> {
        let gone = match (&self.tls, &old.tls) {
            (Tls::ToGenerate(files), Tls::On(_)) => format!("gateway.tls: {} is gone", files.cert.display()),
            (Tls::Closed(why), Tls::Off | Tls::On(_)) => why.clone(),
            _ => return None,
        };
        let before = match &old.tls {
            Tls::On(_) => "the certificate from before",
            _ => "ws:// as before, without TLS",
        };
        self.tls = old.tls.clone();
        self.notices.retain(|line| !line.ends_with(NOBODY_LET_IN));
        let mut errors = self.errors.iter_mut().filter(|error| error.is_of_tls()).peekable();
        if errors.peek().is_none() {
            self.notices.push(format!("{gone}; until it is fixed, the gateway goes on with {before}"));
        }
        errors.for_each(|error| error.instead = before.into());
        Some(gone)
    }
}

/// End of a notice about TLS that cannot be had.
pub const NOBODY_LET_IN: &str = "until it is fixed nobody is let in, since it would be without TLS";
/// Notice about a key that is not supported.
pub const CA_UNUSED: &str = "gateway.tls.caPath has no effect in this version: no client is asked for a \
                             certificate, and those between yours and the authority's belong into the file of gateway.tls.certPath, below yours";
