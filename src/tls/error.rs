//! Errors of TLS connections that this process opens.

use std::{error::Error, fmt, path::PathBuf};

/// Why a TLS connection to a peer could not be made. Each text is a clause about the peer, and says what to do.
#[derive(Clone, PartialEq, Eq)]
pub enum TlsError {
    /// Barnacle was built without TLS.
    NotBuilt,
    /// The file of trusted authorities cannot be used: its path, and the reason.
    Roots(PathBuf, String),
    /// The host of the URL can stand in no certificate.
    BadName(String),
    /// No trusted authority signed the certificate.
    UnknownIssuer,
    /// The certificate is for other names: the name asked for, and those it holds.
    WrongName(String, Vec<String>),
    /// The certificate is not the pinned one: the fingerprint shown, and the one expected.
    WrongFingerprint(String, String),
    /// The certificate's time is over.
    Expired,
    /// The certificate's time has not begun.
    NotYetValid,
    /// The certificate cannot be checked: the library's words.
    BadCertificate(String),
    /// The peer speaks no TLS.
    NotTls,
    /// The peer speaks no TLS 1.3.
    TooOld,
    /// Anything else: the library's words.
    Other(String),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBuilt => f.write_str(
                "this build of Barnacle has no TLS (cargo feature \"tls\"); use a build that has it, or an http:// or \
                 ws:// URL by way of a local TLS proxy",
            ),
            Self::Roots(path, why) => write!(
                f,
                "the trusted authorities in {} cannot be used: {why}. Name a PEM file of CA certificates, or pin the \
                 peer's fingerprint",
                path.display()
            ),
            Self::BadName(host) => {
                write!(f, "{host} is no host name that a certificate can hold; correct the URL")
            }
            Self::UnknownIssuer => f.write_str(
                "no authority trusted here signed its certificate; trust its CA file, or pin its SHA-256 fingerprint",
            ),
            Self::WrongName(host, names) if names.is_empty() => {
                write!(f, "its certificate is not for {host}; use the name that it is for")
            }
            Self::WrongName(host, names) => {
                write!(f, "its certificate is for {}, not for {host}; use one of its names", names.join(", "))
            }
            Self::WrongFingerprint(shown, expected) => write!(
                f,
                "it shows a certificate with the fingerprint {shown}, and the one that is trusted has {expected}. If \
                 the certificate was renewed, pin the new fingerprint; if not, somebody stands between"
            ),
            Self::Expired => {
                f.write_str("its certificate has expired; renew it there, or set this host's clock")
            }
            Self::NotYetValid => f.write_str("its certificate is not valid yet; set this host's clock"),
            Self::BadCertificate(why) => {
                write!(f, "its certificate cannot be checked ({why}); replace it there, or pin its fingerprint")
            }
            Self::NotTls => f.write_str("it speaks no TLS on this port; use http:// or ws://, or its TLS port"),
            Self::TooOld => f.write_str("it speaks no TLS 1.3, and nothing older is spoken here; update it"),
            Self::Other(why) => write!(f, "the TLS handshake failed: {why}"),
        }
    }
}

/// The TLS library shows the errors of a verifier this way in its own.
impl fmt::Debug for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for TlsError {}

impl TlsError {
    /// Whether only somebody who changes what is trusted, or the certificate, helps.
    pub fn is_of_trust(&self) -> bool {
        !matches!(self, Self::Other(_))
    }
}

#[cfg(feature = "tls")]
impl TlsError {
    /// The reason in `e`, if TLS is the reason.
    pub fn of(e: &std::io::Error) -> Option<Self> {
        let inner = e.get_ref()?;
        inner
            .downcast_ref::<Self>()
            .cloned()
            .or_else(|| inner.downcast_ref::<rustls::Error>().map(Self::from))
    }
}

#[cfg(not(feature = "tls"))]
impl TlsError {
    /// The reason in `e`, if TLS is the reason.
    pub fn of(e: &std::io::Error) -> Option<Self> {
        e.get_ref()?.downcast_ref::<Self>().cloned()
    }
}

#[cfg(feature = "tls")]
impl From<&rustls::Error> for TlsError {
    fn from(e: &rustls::Error) -> Self {
        use rustls::{
            AlertDescription,
            CertificateError::{self as C, *},
            Error as E, InvalidMessage,
        };
        match e {
            E::InvalidCertificate(why) => match why {
                UnknownIssuer => Self::UnknownIssuer,
                NotValidForName => Self::WrongName("this host name".into(), Vec::new()),
                NotValidForNameContext { expected, presented } => Self::WrongName(
                    expected.to_str().into(),
                    presented.iter().map(|n| plain_name(n)).collect(),
                ),
                Expired | ExpiredContext { .. } => Self::Expired,
                NotValidYet | NotValidYetContext { .. } => Self::NotYetValid,
                C::Other(other) => match other.0.downcast_ref::<Self>() {
                    Some(own) => own.clone(),
                    None => Self::BadCertificate(other.0.to_string()),
                },
                other => Self::BadCertificate(other.to_string()),
            },
            E::InvalidMessage(InvalidMessage::InvalidContentType) => Self::NotTls,
            E::PeerIncompatible(_) | E::AlertReceived(AlertDescription::ProtocolVersion) => Self::TooOld,
            other => Self::Other(other.to_string()),
        }
    }
}

/// The name within the library's `DnsName("example.org")`.
#[cfg(feature = "tls")]
fn plain_name(shown: &str) -> String {
    shown.split('"').nth(1).unwrap_or(shown).to_owned()
}
