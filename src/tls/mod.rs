//! TLS, `gateway.tls`: the certificate that is served, the one that is made where there is none, and the TLS
//! of one connection.
//!
//! A [`Certificate`] is read whole and checked against its key before anything is served with it. A [`Session`] has no socket
//! of its own: [`Wire`](crate::net::Wire) holds it beside the socket, or nothing at all on a plain
//! connection. Source of the keys and their defaults: OpenClaw's `docs/gateway/config-gateway.md`. Only
//! version 1.3 is spoken, as there. Without the feature `tls` there is no certificate that could be read.

#[cfg(not(feature = "tls"))]
mod absent;
#[cfg(feature = "tls")]
mod certificate;
mod channel;
#[cfg(feature = "tls")]
mod client;
#[cfg(feature = "tls")]
mod client_session;
mod error;
#[cfg(feature = "tls")]
mod make;
#[cfg(feature = "tls")]
mod roots;
#[cfg(feature = "tls")]
mod session;
mod x509;

#[cfg(not(feature = "tls"))]
pub use absent::{Certificate, ClientSession, Secured, Session, secure};
#[cfg(feature = "tls")]
pub use {
    certificate::Certificate,
    client::{Secured, secure},
    client_session::ClientSession,
    session::Session,
};

pub use channel::Channel;
pub use error::TlsError;
pub use x509::Validity;

use std::{fmt, io, path::PathBuf, sync::Arc};

/// The files of certificate and key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Files {
    /// `gateway.tls.certPath`: the certificate and those that vouch for it, PEM.
    pub cert: PathBuf,
    /// `gateway.tls.keyPath`: its private key, PEM.
    pub key: PathBuf,
    /// `gateway.tls.autoGenerate`: whether both are made where neither is there.
    pub generate: bool,
}

/// The certificates that a client trusts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trust {
    /// The one with this fingerprint.
    Only(String),
    /// Certificates issued by an authority that this host trusts; where it trusts none, by one of those built in.
    Authorities,
    /// Certificates issued by an authority in this PEM file.
    CaFile(PathBuf),
}

impl Trust {
    /// Trusts the certificate with this SHA-256 fingerprint, however it is written: `sha256:` before it, colons in
    /// it, in capitals. `None` if it is none.
    pub fn only(fingerprint: &str) -> Option<Self> {
        let text = fingerprint.trim().to_ascii_lowercase();
        let text = text.strip_prefix("sha256").unwrap_or(&text).replace([':', '-', ' '], "");
        (text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())).then_some(Self::Only(text))
    }
}

/// Why there is no certificate to serve.
#[derive(Debug)]
pub enum CertificateError {
    /// The file of this key cannot be read.
    Unreadable(&'static str, PathBuf, io::Error),
    /// The file of this key holds no such thing.
    NoPem(&'static str, PathBuf, &'static str),
    /// The key is not the certificate's.
    Mismatch(Files),
    /// The key is encrypted with a passphrase.
    Encrypted(PathBuf),
    /// The key is RSA of too few bits.
    WeakKey(PathBuf, usize),
    /// The TLS library rejects the certificate or the key.
    Refused(PathBuf, String),
    /// Only the first of the two files exists.
    Half(PathBuf, PathBuf),
    /// Neither is there, and `gateway.tls.autoGenerate` is `false`.
    Missing(Files),
    /// The certificate and its key cannot be made.
    NotMade(PathBuf, io::Error),
    /// Barnacle was built without TLS.
    NotBuilt,
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(key, path, e) => write!(f, "{key}: {} cannot be read: {e}", path.display()),
            Self::NoPem(key, path, what) => write!(f, "{key}: {} holds no {what} in PEM", path.display()),
            Self::Mismatch(Files { cert, key, .. }) => write!(
                f,
                "gateway.tls.keyPath: {} is not the key of the certificate {} (gateway.tls.certPath)",
                key.display(),
                cert.display()
            ),
            Self::Encrypted(path) => write!(
                f,
                "gateway.tls.keyPath: {} is encrypted with a passphrase, which nobody is there to type at a start",
                path.display()
            ),
            Self::WeakKey(path, bits) => {
                write!(f, "gateway.tls.keyPath: {} is an RSA key of {bits} bits; TLS takes 2048 or more", path.display())
            }
            Self::Refused(path, e) => write!(f, "gateway.tls: {}: {e}", path.display()),
            Self::Half(there, missing) => write!(
                f,
                "gateway.tls: {} exists and {} is missing. Put it there, or remove both and a new pair is made",
                there.display(),
                missing.display()
            ),
            Self::Missing(Files { cert, key, .. }) => write!(
                f,
                "gateway.tls: neither {} nor {} exists, and gateway.tls.autoGenerate is false",
                cert.display(),
                key.display()
            ),
            Self::NotMade(path, e) => write!(f, "gateway.tls: {} cannot be made: {e}", path.display()),
            Self::NotBuilt => f.write_str(
                "gateway.tls: this build of Barnacle has no TLS (cargo feature \"tls\"); set gateway.tls.enabled to \
                 false, and put it behind an SSH tunnel, a VPN or a TLS proxy",
            ),
        }
    }
}

impl std::error::Error for CertificateError {}

/// The TLS of new connections.
#[derive(Clone)]
pub enum Tls {
    /// Plain TCP.
    Off,
    /// TLS, with this certificate.
    On(Arc<Certificate>),
    /// TLS, once these files are made.
    ToGenerate(Files),
    /// TLS is configured and there is no certificate: nobody is admitted, for this reason.
    Closed(String),
}

impl Tls {
    /// Reads `files`; no TLS where there are none. Writes nothing.
    pub fn of(files: Option<Files>) -> Self {
        let Some(files) = files else { return Self::Off };
        match Certificate::read(&files) {
            Err(CertificateError::Missing(files)) if files.generate => Self::ToGenerate(files),
            read => Self::found(read),
        }
    }

    /// Makes the files of [`Self::ToGenerate`].
    #[must_use]
    pub fn made(self) -> Self {
        match self {
            Self::ToGenerate(files) => Self::found(Certificate::make(&files)),
            other => other,
        }
    }

    fn found(read: Result<Certificate, CertificateError>) -> Self {
        read.map_or_else(|e| Self::Closed(e.to_string()), |found| Self::On(Arc::new(found)))
    }

    /// The certificate that is served.
    pub fn certificate(&self) -> Option<&Certificate> {
        match self {
            Self::On(certificate) => Some(certificate),
            _ => None,
        }
    }

    /// Why TLS is configured and cannot be served.
    pub fn closed(&self) -> Option<&str> {
        match self {
            Self::Closed(why) => Some(why),
            _ => None,
        }
    }

    /// Whether a new connection is served the same.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Off, Self::Off) | (Self::Closed(_), Self::Closed(_)) => true,
            (Self::On(a), Self::On(b)) => a.is_same(b),
            _ => false,
        }
    }
}
